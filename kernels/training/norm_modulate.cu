// y = (x - mean)/sqrt(variance + epsilon) (1 + scale) + shift and its gradient, fp32. With n the normed value and g = dy (1 + scale):
//   dx += (g - mean(g) - n mean(g n)) / sqrt(variance + epsilon)
// dshift and dscale are sums over tokens: training/sums.cu, which takes mean and 1/deviation from here.
//
// Layouts: abi/training_norm.h.
//
// A warp walks over a token, a few times: it lies in the first-level cache after the first. Bound: bytes, forward 8H a token, gradient 16H.
// Compared with sums in double precision.
#include "abi/training_norm.h"
#include "common/reduce.cuh"

constexpr int kWarps = 8;

struct row_statistics {
    f32 mean, inverse;
};

DIT_DEVICE row_statistics statistics_of(const f32* x, s32 hidden, f32 epsilon) {
    const s32 lane = static_cast<s32>(lane_index());
    const f32 share = reciprocal(static_cast<f32>(hidden));
    f32 sum = 0;
#pragma unroll 4
    for (s32 c = lane; c < hidden; c += 32) sum += global_load_readonly(x + c);
    const f32 mean = team_sum<32>(sum) * share;
    f32 squares = 0;
#pragma unroll 4
    for (s32 c = lane; c < hidden; c += 32) {
        const f32 distance = global_load_readonly(x + c) - mean;
        squares = fused_multiply_add(distance, distance, squares);
    }
    return {mean, reciprocal_square_root(fused_multiply_add(team_sum<32>(squares), share, epsilon))};
}

DIT_KERNEL(training_norm_kernel, dit_training_norm, 32 * kWarps) {
    const s32 row = static_cast<s32>(block_x()) * kWarps + static_cast<s32>(warp_index());
    if (row >= args.rows) return;
    const long long first = static_cast<long long>(row) * args.hidden;
    const f32* x = args.x + first;
    const f32* shift = args.modulation + static_cast<long long>(row / args.tokens) * args.stride;
    const f32* scale = shift + args.hidden;
    const row_statistics s = statistics_of(x, args.hidden, args.epsilon);
#pragma unroll 4
    for (s32 c = static_cast<s32>(lane_index()); c < args.hidden; c += 32) {
        const f32 factor = fused_multiply_add(global_load_readonly(scale + c), s.inverse, s.inverse);
        global_store(args.result + first + c, fused_multiply_add(global_load_readonly(x + c) - s.mean, factor, global_load_readonly(shift + c)));
    }
}

DIT_KERNEL(training_norm_gradient_kernel, dit_training_norm, 32 * kWarps) {
    const s32 row = static_cast<s32>(block_x()) * kWarps + static_cast<s32>(warp_index());
    if (row >= args.rows) return;
    const s32 lane = static_cast<s32>(lane_index());
    const long long first = static_cast<long long>(row) * args.hidden;
    const f32 *x = args.x + first, *dy = args.output_gradient + first;
    const f32* scale = args.modulation + static_cast<long long>(row / args.tokens) * args.stride + args.hidden;
    const row_statistics s = statistics_of(x, args.hidden, args.epsilon);
    const auto gradient_at = [&](s32 c) {
        const f32 v = global_load_readonly(dy + c);
        return fused_multiply_add(v, global_load_readonly(scale + c), v);
    };
    const auto normed_at = [&](s32 c) { return (global_load_readonly(x + c) - s.mean) * s.inverse; };

    f32 sum = 0, product = 0;
#pragma unroll 4
    for (s32 c = lane; c < args.hidden; c += 32) {
        const f32 g = gradient_at(c);
        sum += g;
        product = fused_multiply_add(g, normed_at(c), product);
    }
    const f32 share = reciprocal(static_cast<f32>(args.hidden));
    const f32 mean = team_sum<32>(sum) * share, slope = team_sum<32>(product) * share;
#pragma unroll 4
    for (s32 c = lane; c < args.hidden; c += 32) {
        f32* dx = args.result + first + c;
        global_store(dx, fused_multiply_add(fused_multiply_add(-slope, normed_at(c), gradient_at(c) - mean), s.inverse, global_load(dx)));
    }
    if (lane == 0) global_store(reinterpret_cast<f32x2*>(args.statistics) + row, f32x2{s.mean, s.inverse});
}
