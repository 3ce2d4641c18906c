// What is done to single values in training, fp32: biases, GELU (tanh form) and the gate, forward and back.
//
// Layouts: abi/training_pointwise.h.
//
// A block takes a row. Bound: bytes, 8 to 12 a value. Compared with the formulas in double precision.
#include "abi/training_pointwise.h"
#include "conv/activation.cuh"

constexpr int kThreads = 256;

// change(place of the value, column) for every value of the block's row.
template <class Change> DIT_DEVICE void each_value(const dit_training_pointwise& args, Change change) {
    const long long first = static_cast<long long>(block_x()) * args.columns;
#pragma unroll 4
    for (s32 c = static_cast<s32>(thread_index()); c < args.columns; c += kThreads) change(first + c, c);
}

// The factors of the block's sample.
DIT_DEVICE const f32* sample_factors(const dit_training_pointwise& args) {
    return args.factor + static_cast<long long>(static_cast<s32>(block_x()) / args.tokens) * args.stride;
}

// y += b.
DIT_KERNEL(add_bias_kernel, dit_training_pointwise, kThreads) {
    each_value(args, [&](long long i, s32 c) { global_store(args.result + i, global_load(args.result + i) + global_load_readonly(args.factor + c)); });
}

// y = GELU(x).
DIT_KERNEL(training_gelu_kernel, dit_training_pointwise, kThreads) {
    each_value(args, [&](long long i, s32) { global_store(args.result + i, activate<kActivationGeluTanh>(global_load(args.input + i))); });
}

// dx = dy GELU'(x), x the factor. With s = sigmoid(v), v = 2 sqrt(2/pi) (x + 0.044715 x^3): GELU = x s, GELU' = s + x s (1 - s) v'.
DIT_KERNEL(gelu_gradient_kernel, dit_training_pointwise, kThreads) {
    each_value(args, [&](long long i, s32) {
        constexpr f32 kSlope = 1.59576912f;
        const f32 x = global_load_readonly(args.factor + i);
        const f32 square = 0.044715f * x * x;
        const f32 v = kSlope * x * (1.0f + square);
        const f32 s = sigmoid(v), rest = sigmoid(-v);  // 1 - s without cancellation
        const f32 slope = fused_multiply_add(x * s * rest, kSlope * fused_multiply_add(3.0f, square, 1.0f), s);
        global_store(args.result + i, slope * global_load(args.input + i));
    });
}

// x += gate y.
DIT_KERNEL(gate_kernel, dit_training_pointwise, kThreads) {
    const f32* gate = sample_factors(args);
    each_value(args, [&](long long i, s32 c) {
        global_store(args.result + i, fused_multiply_add(global_load_readonly(gate + c), global_load_readonly(args.input + i), global_load(args.result + i)));
    });
}

// dy = gate d.
DIT_KERNEL(gate_gradient_kernel, dit_training_pointwise, kThreads) {
    const f32* gate = sample_factors(args);
    each_value(args, [&](long long i, s32 c) { global_store(args.result + i, global_load_readonly(gate + c) * global_load(args.input + i)); });
}
