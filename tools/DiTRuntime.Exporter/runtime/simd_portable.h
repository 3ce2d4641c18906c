// Four lanes in plain C: for every machine, and what the other sets are compared with.
//
// What every simd_*.h defines, and simd_end.h takes back:
//   ISA_NAME(x)  x with the set's name                ISA_FN      a function for these instructions
//   ISA_INLINE   a helper, always inlined             TILE_ROWS   rows of a tile of the panel product
//   ISA_MANY     a helper of many operations on vectors: inlined but here, where each is many instructions
//   vf           VF_LANES floats; every operation is the IEEE operation per lane, so that all sets give the same bits
//   vi           as many int32
// vf_min and vf_max are a < b ? a : b and a > b ? a : b. vf_scale_pow2(v, s) multiplies by 2^n, n in the low bits of s's mantissa.
// vi_from_vf rounds to nearest, ties to even; its argument lies within int32.
#ifndef DIT_SIMD_PORTABLE_H
#define DIT_SIMD_PORTABLE_H

#include <math.h>
#include <string.h>

typedef struct dit_vf4 { float lane[4]; } dit_vf4;
typedef struct dit_vi4 { int32_t lane[4]; } dit_vi4;

#define DIT_LANES for (int i = 0; i < 4; i++)
#define DIT_INLINE static inline __attribute__((always_inline, unused))

// a·b + c, rounded once. Where the compiler has no instruction for it, fmaf() is a call, of a hundred cycles where the processor has none either. In double
// precision the product is exact, and rounding twice is rounding once but where the sum came to lie halfway between two floats, or the float is a subnormal.
#if defined(__FP_FAST_FMAF) || defined(__FMA__) || defined(__aarch64__)
#define dit_fma(a, b, c) fmaf(a, b, c)
#else
DIT_INLINE float dit_fma(float a, float b, float c) {
    double sum = (double)a * (double)b + (double)c;
    uint64_t bits;
    memcpy(&bits, &sum, sizeof bits);
    bool halfway = (bits & 0x1fffffff) == 0x10000000, subnormal = (bits << 1) - 1 < UINT64_C(0x7020000000000000) - 1;  // below 2^-126, not zero
    return __builtin_expect(halfway || subnormal, 0) ? fmaf(a, b, c) : (float)sum;
}
#endif

DIT_INLINE dit_vf4 dit_vf4_load(const float* p) { dit_vf4 r; memcpy(&r, p, sizeof r); return r; }
DIT_INLINE void dit_vf4_store(float* p, dit_vf4 a) { memcpy(p, &a, sizeof a); }
DIT_INLINE dit_vf4 dit_vf4_set1(float x) { dit_vf4 r; DIT_LANES r.lane[i] = x; return r; }
DIT_INLINE dit_vf4 dit_vf4_add(dit_vf4 a, dit_vf4 b) { DIT_LANES a.lane[i] += b.lane[i]; return a; }
DIT_INLINE dit_vf4 dit_vf4_sub(dit_vf4 a, dit_vf4 b) { DIT_LANES a.lane[i] -= b.lane[i]; return a; }
DIT_INLINE dit_vf4 dit_vf4_mul(dit_vf4 a, dit_vf4 b) { DIT_LANES a.lane[i] *= b.lane[i]; return a; }
DIT_INLINE dit_vf4 dit_vf4_div(dit_vf4 a, dit_vf4 b) { DIT_LANES a.lane[i] /= b.lane[i]; return a; }
DIT_INLINE dit_vf4 dit_vf4_min(dit_vf4 a, dit_vf4 b) { DIT_LANES a.lane[i] = a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]; return a; }
DIT_INLINE dit_vf4 dit_vf4_max(dit_vf4 a, dit_vf4 b) { DIT_LANES a.lane[i] = a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; return a; }

// Lane by lane: gcc leaves a loop with branches a loop.
DIT_INLINE dit_vf4 dit_vf4_fma(dit_vf4 a, dit_vf4 b, dit_vf4 c) {
    c.lane[0] = dit_fma(a.lane[0], b.lane[0], c.lane[0]);
    c.lane[1] = dit_fma(a.lane[1], b.lane[1], c.lane[1]);
    c.lane[2] = dit_fma(a.lane[2], b.lane[2], c.lane[2]);
    c.lane[3] = dit_fma(a.lane[3], b.lane[3], c.lane[3]);
    return c;
}

DIT_INLINE dit_vi4 dit_vi4_load(const int32_t* p) { dit_vi4 r; memcpy(&r, p, sizeof r); return r; }
DIT_INLINE void dit_vi4_store(int32_t* p, dit_vi4 a) { memcpy(p, &a, sizeof a); }
DIT_INLINE dit_vi4 dit_vi4_set1(int32_t x) { dit_vi4 r; DIT_LANES r.lane[i] = x; return r; }
DIT_INLINE dit_vi4 dit_vi4_min(dit_vi4 a, dit_vi4 b) { DIT_LANES a.lane[i] = a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]; return a; }
DIT_INLINE dit_vi4 dit_vi4_max(dit_vi4 a, dit_vi4 b) { DIT_LANES a.lane[i] = a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; return a; }
DIT_INLINE dit_vf4 dit_vf4_from_vi(dit_vi4 a) { dit_vf4 r; DIT_LANES r.lane[i] = (float)a.lane[i]; return r; }
DIT_INLINE dit_vi4 dit_vi4_from_vf(dit_vf4 a) { dit_vi4 r; DIT_LANES r.lane[i] = (int32_t)rintf(a.lane[i]); return r; }

// Integers wrap around, as vector instructions do: by way of unsigned ones.
DIT_INLINE dit_vi4 dit_vi4_add(dit_vi4 a, dit_vi4 b) { DIT_LANES a.lane[i] = (int32_t)((uint32_t)a.lane[i] + (uint32_t)b.lane[i]); return a; }
DIT_INLINE dit_vi4 dit_vi4_sub(dit_vi4 a, dit_vi4 b) { DIT_LANES a.lane[i] = (int32_t)((uint32_t)a.lane[i] - (uint32_t)b.lane[i]); return a; }
DIT_INLINE dit_vi4 dit_vi4_mul(dit_vi4 a, dit_vi4 b) { DIT_LANES a.lane[i] = (int32_t)((uint32_t)a.lane[i] * (uint32_t)b.lane[i]); return a; }

DIT_INLINE dit_vf4 dit_vf4_scale_pow2(dit_vf4 value, dit_vf4 shifted) {
    uint32_t v[4], s[4];
    memcpy(v, &value, sizeof v);
    memcpy(s, &shifted, sizeof s);
    DIT_LANES v[i] += s[i] << 23;
    memcpy(&value, v, sizeof v);
    return value;
}

#undef DIT_LANES
#endif

#define ISA_NAME(name) dit_##name##_portable
#define ISA_FN static
#define ISA_INLINE static inline __attribute__((always_inline))
#define ISA_MANY static
#define TILE_ROWS 4
#define VF_LANES 4
#define vf dit_vf4
#define vi dit_vi4

#define vf_load(p) dit_vf4_load(p)
#define vf_store(p, a) dit_vf4_store(p, a)
#define vf_set1(x) dit_vf4_set1(x)
#define vf_add(a, b) dit_vf4_add(a, b)
#define vf_sub(a, b) dit_vf4_sub(a, b)
#define vf_mul(a, b) dit_vf4_mul(a, b)
#define vf_div(a, b) dit_vf4_div(a, b)
#define vf_min(a, b) dit_vf4_min(a, b)
#define vf_max(a, b) dit_vf4_max(a, b)
#define vf_fma(a, b, c) dit_vf4_fma(a, b, c)
#define vf_scale_pow2(v, s) dit_vf4_scale_pow2(v, s)
#define vf_from_vi(a) dit_vf4_from_vi(a)

#define vi_load(p) dit_vi4_load(p)
#define vi_store(p, a) dit_vi4_store(p, a)
#define vi_set1(x) dit_vi4_set1(x)
#define vi_add(a, b) dit_vi4_add(a, b)
#define vi_sub(a, b) dit_vi4_sub(a, b)
#define vi_mul(a, b) dit_vi4_mul(a, b)
#define vi_min(a, b) dit_vi4_min(a, b)
#define vi_max(a, b) dit_vi4_max(a, b)
#define vi_from_vf(a) dit_vi4_from_vf(a)
