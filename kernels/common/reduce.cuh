// Sums and extremes over teams of adjacent lanes of a warp; every lane gets the result, always in the same order of additions.
#pragma once

#include "common/ptx.cuh"

template <int lanes, class T> DIT_DEVICE T team_sum(T v) {
#pragma unroll
    for (u32 mask = lanes / 2; mask > 0; mask /= 2) v += shuffle_xor(v, mask);
    return v;
}

template <int lanes> DIT_DEVICE f32 team_minimum(f32 v) {
#pragma unroll
    for (u32 mask = lanes / 2; mask > 0; mask /= 2) v = minimum(v, shuffle_xor(v, mask));
    return v;
}

template <int lanes> DIT_DEVICE f32 team_maximum(f32 v) {
#pragma unroll
    for (u32 mask = lanes / 2; mask > 0; mask /= 2) v = maximum(v, shuffle_xor(v, mask));
    return v;
}

// Sixteen bytes of a row as eight values.
DIT_DEVICE void unpack_halves(const u32x4& packed, f32 (&values)[8]) {
    const u32 words[4] = {packed.x, packed.y, packed.z, packed.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const f32x2 pair = half2_to_floats(words[i]);
        values[2 * i] = pair.x;
        values[2 * i + 1] = pair.y;
    }
}

// Eight bytes of a row as four values.
DIT_DEVICE void unpack_halves(const u32x2& packed, f32 (&values)[4]) {
    const f32x2 low = half2_to_floats(packed.x), high = half2_to_floats(packed.y);
    values[0] = low.x;
    values[1] = low.y;
    values[2] = high.x;
    values[3] = high.y;
}
