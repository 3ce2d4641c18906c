// The element-wise functions at the end of a decoder layer; the constants are those of Activation in C#.
#pragma once

#include "common/reduce.cuh"

constexpr int kActivationNone = 0, kActivationRelu = 1, kActivationSilu = 2, kActivationGeluTanh = 3;

// 1/(1 + exp(-v)). The exponent stops at 2^126, where the reciprocal is still a normal number.
DIT_DEVICE f32 sigmoid(f32 v) {
    constexpr f32 kLog2E = 1.44269504f;
    return reciprocal(1.0f + exp2_approximate(minimum(-kLog2E * v, 126.0f)));
}

template <int activation> DIT_DEVICE f32 activate(f32 v) {
    if constexpr (activation == kActivationRelu) return maximum(v, 0.0f);
    if constexpr (activation == kActivationSilu) return v * sigmoid(v);
    // (1 + tanh(u))/2 = sigmoid(2u), u = sqrt(2/pi) (v + 0.044715 v^3).
    if constexpr (activation == kActivationGeluTanh) return v * sigmoid(1.59576912f * v * fused_multiply_add(0.044715f * v, v, 1.0f));
    return v;
}

// Eight values as the halves of a 16-byte vector.
DIT_DEVICE u32x4 pack_halves(const f32 (&v)[8]) {
    return {floats_to_half2(v[0], v[1]), floats_to_half2(v[2], v[3]), floats_to_half2(v[4], v[5]), floats_to_half2(v[6], v[7])};
}
