// The arithmetic of quantized activations, for every kernel that produces them; agrees with ActivationQuantizer in C#:
// s = (max - min)/255 with 0 in the range, Z = round(-min/s), q = clamp(round(x/s) + Z, 0, 255) (Q-DiT, Chen et al. 2024, equation 1).
// Layout: abi/activation.h.
#pragma once

#include "abi/activation.h"
#include "common/ptx.cuh"

// A narrower range is widened to this, so that a constant group has a scale.
constexpr f32 kSmallestRange = 1e-5f;

// How rows of K values fall into groups; all known when a kernel is compiled.
template <int length, int requested> struct group_grid {
    static constexpr int size = requested == 0 || requested > length ? length : requested;
    static constexpr int count = (length + size - 1) / size;
    static constexpr bool is_ragged = length % size != 0;
    static constexpr int pitch = (size + 31) / 32 * 32;
    static constexpr int code_stride = count * pitch;
    static constexpr int correction_stride = (6 * count + 15) / 16 * 16;
    DIT_DEVICE static int length_of(int group) { return group < count - 1 ? size : length - (count - 1) * size; }
    // Where the code of value k lies in its row.
    DIT_DEVICE static int code_at(int k) { return k / size * pitch + k % size; }
};

struct quantization_range {
    f32 scale, inverse, zero;
};

DIT_DEVICE quantization_range range_of(f32 smallest, f32 largest) {
    smallest = minimum(smallest, 0.0f);
    largest = maximum(largest, 0.0f);
    const f32 width = maximum(largest - smallest, kSmallestRange);
    // width / 255, correctly rounded: a product, and its remainder once.
    f32 scale = width * (1.0f / 255.0f);
    scale = fused_multiply_add(fused_multiply_add(-255.0f, scale, width), 1.0f / 255.0f, scale);
    const f32 inverse = reciprocal(scale);
    const f32 zero = static_cast<f32>(round_to_int(-smallest * inverse));
    return {scale, inverse, minimum(maximum(zero, 0.0f), 255.0f)};
}

DIT_DEVICE quantization_range static_range(const dit_activation& target, int group) {
    const f32 scale = global_load_readonly(target.static_scales + group);
    return {scale, reciprocal(scale), global_load_readonly(target.static_zeros + group)};
}

// Four codes in a register, the first in the low byte. The zero point is added before rounding, so that from sm_86 on conversion,
// clamping and packing are one instruction for two values (F2IP); a code differs from C#'s only where x/s lies within an ulp of a half.
DIT_DEVICE u32 quantize4(f32 a, f32 b, f32 c, f32 d, const quantization_range& range) {
    return pack_saturated_u8(round_to_int(fused_multiply_add(a, range.inverse, range.zero)), round_to_int(fused_multiply_add(b, range.inverse, range.zero)),
                             round_to_int(fused_multiply_add(c, range.inverse, range.zero)), round_to_int(fused_multiply_add(d, range.inverse, range.zero)));
}

// Scale and corrections of one group of one row, by one thread.
template <class grid> DIT_DEVICE void store_group(const dit_activation& target, long long row, int group, const quantization_range& range, u32 code_sum) {
    const int count = grid::length_of(group);
    const f32 mean = range.scale * (static_cast<f32>(code_sum) - static_cast<f32>(count) * range.zero) * reciprocal(static_cast<f32>(count));
    const f32 offset = range.scale * range.zero;
    global_store(target.scales + row * grid::count + group, range.scale);
    const f16 mean_high = float_to_half(mean), offset_high = float_to_half(offset);
    const f16 mean_low = float_to_half(mean - half_to_float(mean_high)), offset_low = float_to_half(offset - half_to_float(offset_high));
    u32* out = reinterpret_cast<u32*>(target.corrections + row * grid::correction_stride + 6 * group);
    global_store(out, static_cast<u32>(mean_high) | static_cast<u32>(mean_high) << 16);
    global_store(out + 1, static_cast<u32>(mean_low) | static_cast<u32>(offset_high) << 16);
    global_store(out + 2, static_cast<u32>(offset_high) | static_cast<u32>(offset_low) << 16);
}
