// What a warp computes together, on operands laid out register by register: r[register][lane].
// f16 products are exact and are added to the accumulator one after another, k ascending, each sum rounded to fp32. (Tensor cores add
// several products at once, with their own rounding; kernels' tolerances allow for both.) Integer products and sums are exact.
#pragma once

#if defined(__F16C__) || defined(__AVX2__)
#include <immintrin.h>
#endif

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

// d[0], d[1] hold rows 0 to 7, d[2], d[3] rows 8 to 15; lane 4g+t holds columns 2t and 2t+1 of row g. So a row lies in two runs of four
// words, its even columns and its odd ones; all below keeps columns in that order: 0 2 4 6 1 3 5 7.
template <class Vector> inline void gather_accumulators(const u32 (&d)[4][32], Vector (&rows)[16]) {
    for (int i = 0; i < 16; i++) {
        std::memcpy(&rows[i], &d[2 * (i / 8)][4 * (i % 8)], 16);
        std::memcpy(reinterpret_cast<u8*>(&rows[i]) + 16, &d[2 * (i / 8) + 1][4 * (i % 8)], 16);
    }
}
template <class Vector> inline void scatter_accumulators(const Vector (&rows)[16], u32 (&d)[4][32]) {
    for (int i = 0; i < 16; i++) {
        std::memcpy(&d[2 * (i / 8)][4 * (i % 8)], &rows[i], 16);
        std::memcpy(&d[2 * (i / 8) + 1][4 * (i % 8)], reinterpret_cast<const u8*>(&rows[i]) + 16, 16);
    }
}

// Eight neighbouring elements.
template <class Element> inline f32x8 widen(const void* from);
template <> inline f32x8 widen<_Float16>(const void* from) {
#ifdef __F16C__
    __m128i h;
    std::memcpy(&h, from, 16);
    return reinterpret_cast<f32x8>(_mm256_cvtph_ps(h));
#else
    f32x8 v;
    _Float16 h[8];
    std::memcpy(h, from, 16);
    for (int i = 0; i < 8; i++) v[i] = static_cast<f32>(h[i]);
    return v;
#endif
}
template <class Element> inline f32x8 widen_bytes(const void* from) {
#ifdef __AVX2__
    const __m128i b = _mm_loadl_epi64(static_cast<const __m128i*>(from));
    return reinterpret_cast<f32x8>(_mm256_cvtepi32_ps(static_cast<Element>(-1) < 0 ? _mm256_cvtepi8_epi32(b) : _mm256_cvtepu8_epi32(b)));
#else
    f32x8 v;
    for (int i = 0; i < 8; i++) v[i] = static_cast<f32>(static_cast<const Element*>(from)[i]);
    return v;
#endif
}
template <> inline f32x8 widen<s8>(const void* from) { return widen_bytes<s8>(from); }
template <> inline f32x8 widen<u8>(const void* from) { return widen_bytes<u8>(from); }

inline void transpose(f32x8 (&m)[8]) {
    f32x8 p[8], q[8];
    for (int i = 0; i < 8; i += 2) {
        p[i] = __builtin_shufflevector(m[i], m[i + 1], 0, 8, 2, 10, 4, 12, 6, 14);
        p[i + 1] = __builtin_shufflevector(m[i], m[i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
    }
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; j++) {
            q[i + j] = __builtin_shufflevector(p[i + j], p[i + j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
            q[i + j + 2] = __builtin_shufflevector(p[i + j], p[i + j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        }
    for (int i = 0; i < 4; i++) {
        m[i] = __builtin_shufflevector(q[i], q[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        m[i + 4] = __builtin_shufflevector(q[i], q[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
}

// Register r of A is a block of 8 rows of 16 bytes: rows 8*(r%2).., elements from 16*(r/2) bytes on. Register r of B is the same of B
// transposed, bytes from 16*r on.
template <class Element, int depth> inline void gather_left(const u32 (&a)[4][32], f32 (&left)[16][depth]) {
    for (int i = 0; i < 16; i++)
        for (int k = 0; k < depth; k += 8) {
            const int r = i / 8 + 2 * (2 * k / depth), byte = k % (depth / 2) * static_cast<int>(sizeof(Element));
            const f32x8 v = widen<Element>(reinterpret_cast<const u8*>(&a[r][4 * (i % 8)]) + byte);
            std::memcpy(&left[i][k], &v, 32);
        }
}
template <class Element, int depth> inline void gather_right(const u32 (&b)[2][32], f32x8 (&right)[depth]) {
    constexpr int kColumns[8] = {0, 2, 4, 6, 1, 3, 5, 7};
    for (int k = 0; k < depth; k += 8) {
        const int r = 2 * k / depth, byte = k % (depth / 2) * static_cast<int>(sizeof(Element));
        f32x8 m[8];
        for (int n = 0; n < 8; n++) m[n] = widen<Element>(reinterpret_cast<const u8*>(&b[r][4 * kColumns[n]]) + byte);
        transpose(m);
        for (int n = 0; n < 8; n++) right[k + n] = m[n];
    }
}

inline void multiply_f16(const u32 (&a)[4][32], const u32 (&b)[2][32], u32 (&d)[4][32]) {
    f32 left[16][16];
    f32x8 right[16], sum[16];
    gather_left<_Float16>(a, left);
    gather_right<_Float16>(b, right);
    gather_accumulators(d, sum);
    multiply(left, right, sum);
    scatter_accumulators(sum, d);
}

// In fp32, exactly: 32 products of bytes stay below 2^24.
template <class A, class B> inline void multiply_bytes(const u32 (&a)[4][32], const u32 (&b)[2][32], u32 (&d)[4][32]) {
    f32 left[16][32];
    f32x8 right[32], sum[16] = {};
    s32x8 total[16];
    gather_left<A>(a, left);
    gather_right<B>(b, right);
    multiply(left, right, sum);
    gather_accumulators(d, total);
    for (int i = 0; i < 16; i++) total[i] += __builtin_convertvector(sum[i], s32x8);
    scatter_accumulators(total, d);
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
