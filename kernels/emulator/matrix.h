// What a warp computes together, on operands laid out register by register: r[register][lane].
// f16 products are exact and are added to the accumulator one after another, k ascending, each sum rounded to fp32. (Tensor cores add
// several products at once, with their own rounding; kernels' tolerances allow for both.) Integer products and sums are exact.
#pragma once

#include <cstring>

#include "abi/types.h"

namespace emulator {

typedef f32 f32x8 __attribute__((vector_size(32)));
typedef s32 s32x8 __attribute__((vector_size(32)));

// acc[i][n] += sum over k of a[i][k] b[k][n], for 16 rows and 8 columns.
template <int depth> inline void multiply(const f32 (&a)[16][depth], const f32x8 (&b)[depth], f32x8 (&sum)[16]) {
    for (int half = 0; half < 16; half += 8) {
        f32x8 s[8];
        for (int i = 0; i < 8; i++) s[i] = sum[half + i];
        for (int k = 0; k < depth; k++) {
            const f32x8 row = b[k];
            for (int i = 0; i < 8; i++) s[i] += a[half + i][k] * row;
        }
        for (int i = 0; i < 8; i++) sum[half + i] = s[i];
    }
}

// d[0], d[1]: rows 0 to 7; d[2], d[3]: rows 8 to 15; lane 4g+t holds columns 2t and 2t+1 of row g.
template <class T, class Vector> inline void gather_accumulators(const u32 (&d)[4][32], Vector (&rows)[16]) {
    for (int i = 0; i < 16; i++)
        for (int n = 0; n < 8; n++) {
            T v;
            std::memcpy(&v, &d[2 * (i / 8) + n % 2][4 * (i % 8) + n / 2], 4);
            rows[i][n] = v;
        }
}
template <class T, class Vector> inline void scatter_accumulators(const Vector (&rows)[16], u32 (&d)[4][32]) {
    for (int i = 0; i < 16; i++)
        for (int n = 0; n < 8; n++) {
            const T v = rows[i][n];
            std::memcpy(&d[2 * (i / 8) + n % 2][4 * (i % 8) + n / 2], &v, 4);
        }
}

// Register r of A is an 8-row block of 8 halves (16 bytes) a row: rows 8*(r%2).., columns 8*(r/2).. (16*(r/2)..); register r of B is
// the same of B transposed.
template <class Element, int depth> inline void gather_left(const u32 (&a)[4][32], f32 (&left)[16][depth]) {
    constexpr int half = depth / 2;
    const Element* values = reinterpret_cast<const Element*>(a);
    for (int r = 0; r < 4; r++)
        for (int i = 0; i < 8; i++)
            for (int k = 0; k < half; k++) left[8 * (r % 2) + i][half * (r / 2) + k] = static_cast<f32>(values[(8 * r + i) * half + k]);
}
template <class Element, int depth> inline void gather_right(const u32 (&b)[2][32], f32x8 (&right)[depth]) {
    constexpr int half = depth / 2;
    const Element* values = reinterpret_cast<const Element*>(b);
    f32 wide[2][8][half];
    for (int i = 0; i < 16 * half; i++) (&wide[0][0][0])[i] = static_cast<f32>(values[i]);
    for (int r = 0; r < 2; r++)
        for (int k = 0; k < half; k++)
            for (int n = 0; n < 8; n++) right[half * r + k][n] = wide[r][n][k];
}

inline void multiply_f16(const u32 (&a)[4][32], const u32 (&b)[2][32], u32 (&d)[4][32]) {
    f32 left[16][16];
    f32x8 right[16], sum[16];
    gather_left<_Float16>(a, left);
    gather_right<_Float16>(b, right);
    gather_accumulators<f32>(d, sum);
    multiply(left, right, sum);
    scatter_accumulators<f32>(sum, d);
}

// In fp32, exactly: 32 products of bytes stay below 2^24.
template <class A, class B> inline void multiply_bytes(const u32 (&a)[4][32], const u32 (&b)[2][32], u32 (&d)[4][32]) {
    f32 left[16][32];
    f32x8 right[32], sum[16] = {};
    s32x8 total[16];
    gather_left<A>(a, left);
    gather_right<B>(b, right);
    multiply(left, right, sum);
    gather_accumulators<s32>(d, total);
    for (int i = 0; i < 16; i++) total[i] += __builtin_convertvector(sum[i], s32x8);
    scatter_accumulators<s32>(total, d);
}

// An 8 by 8 matrix of halves whose rows lie at 8 addresses, into one register of each lane.
inline void load_matrix(const u8* const (&rows)[8], bool transposed, u32 (&r)[32]) {
    if (!transposed) {
        for (int i = 0; i < 8; i++) std::memcpy(r + 4 * i, rows[i], 16);
        return;
    }
    u16 m[8][8], t[8][8];
    for (int i = 0; i < 8; i++) std::memcpy(m[i], rows[i], 16);
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < 8; j++) t[j][i] = m[i][j];
    std::memcpy(r, t, 128);
}

}  // namespace emulator
