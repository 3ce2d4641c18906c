// The operations of each set of instructions, and which of them this machine has.
#ifndef DIT_OPS_H
#define DIT_OPS_H

#include "internal.h"

#include <math.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

// ---- small things that all sets share ----

// Running sums of a long sum, whatever the vector's width.
#define DIT_SUMS 16

static inline int32_t dit_least(int32_t a, int32_t b) { return a < b ? a : b; }
static inline size_t dit_most(size_t a, size_t b) { return a > b ? a : b; }
static inline float dit_larger(float a, float b) { return a > b ? a : b; }
static inline int32_t dit_parts(int32_t whole, int32_t part) { return whole / part + (whole % part != 0); }

// What follows in a task's scratch begins at a cache line.
static inline size_t dit_round_scratch(size_t bytes) { return (bytes + DIT_ALIGNMENT - 1) / DIT_ALIGNMENT * DIT_ALIGNMENT; }

static inline float dit_add_pairwise(float* sums) {
    for (int32_t half = DIT_SUMS / 2; half > 0; half /= 2)
        for (int32_t i = 0; i < half; i++) sums[i] += sums[i + half];
    return sums[0];
}

typedef enum dit_norm_pass { DIT_PASS_SUM, DIT_PASS_SQUARES, DIT_PASS_APPLY } dit_norm_pass;

// The average over a group of channels of row_sums [height, channels], which begin at the group.
static inline double dit_group_average(const float* row_sums, int32_t height, int32_t width, int32_t channels, int32_t size) {
    double total = 0;
    for (int32_t y = 0; y < height; y++)
        for (int32_t i = 0; i < size; i++) total += (double)row_sums[(ptrdiff_t)y * channels + i];
    return total / (double)((int64_t)height * width * size);
}

// ---- the sets ----

#include "simd_portable.h"
#include "kernels_base.inc"
#include "lowbit.inc"
#include "kernels_image.inc"
#include "kernels.inc"
#include "simd_end.h"

#if defined(__x86_64__)
#include "simd_avx2.h"
#include "kernels_base.inc"
#include "lowbit.inc"
#include "kernels_image.inc"
#include "kernels.inc"
#include "simd_end.h"

#include "simd_avx512.h"
#include "kernels_base.inc"
#include "lowbit.inc"
#include "kernels_image.inc"
#include "kernels.inc"
#include "simd_end.h"
#elif defined(__aarch64__)
#include "simd_neon.h"
#include "kernels_base.inc"
#include "lowbit.inc"
#include "kernels_image.inc"
#include "kernels.inc"
#include "simd_end.h"
#endif

// simd: as callers name it; set: whose floating point; products: whose integer products.
#define DIT_OPS(simd, lanes, set, products) \
    {simd, 3 * lanes, dit_scratch_bytes_##set, dit_linear_##products, dit_norm_modulate_##set, dit_attention_##set, dit_condition_##set, dit_update_##set, \
     dit_convolution_##set, dit_group_norm_##set}

// From the plainest to the best.
static const dit_ops dit_all_ops[] = {
    DIT_OPS(DIT_SIMD_PORTABLE, 4, portable, portable),
#if defined(__x86_64__)
    DIT_OPS(DIT_SIMD_AVX2, 8, avx2, avx2),
    DIT_OPS(DIT_SIMD_AVX_VNNI, 8, avx2, avx_vnni),
    DIT_OPS(DIT_SIMD_AVX512, 16, avx512, avx512),
#elif defined(__aarch64__)
    DIT_OPS(DIT_SIMD_NEON, 4, neon, neon),
    DIT_OPS(DIT_SIMD_NEON_DOTPROD, 4, neon, neon_dotprod),
    DIT_OPS(DIT_SIMD_NEON_I8MM, 4, neon, neon_i8mm),
#endif
};

// ---- what this machine has ----

#if defined(__x86_64__)
// Registers of a leaf of CPUID; zeros where there is no such leaf.
typedef struct dit_cpuid { unsigned a, b, c, d; } dit_cpuid;

static dit_cpuid dit_read_cpuid(unsigned leaf, unsigned subleaf) {
    dit_cpuid r = {0, 0, 0, 0};
    if (!__get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d)) return (dit_cpuid){0, 0, 0, 0};
    return r;
}

// __builtin_cpu_supports also asks whether the system keeps the wide registers; names that not every compiler knows are read from CPUID.
static bool dit_has_simd(dit_simd simd) {
    __builtin_cpu_init();
    bool f16c = dit_read_cpuid(1, 0).c & 1u << 29;
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") && f16c;
    switch (simd) {
        case DIT_SIMD_PORTABLE: return true;
        case DIT_SIMD_AVX2: return avx2;
        case DIT_SIMD_AVX_VNNI: return avx2 && dit_read_cpuid(7, 1).a & 1u << 4;
        case DIT_SIMD_AVX512:
            return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                   __builtin_cpu_supports("avx512dq") && dit_read_cpuid(7, 0).c & 1u << 11;
        default: return false;
    }
}
#elif defined(__aarch64__)
static bool dit_has_simd(dit_simd simd) {
#if defined(__linux__)
    // HWCAP_ASIMDDP and HWCAP2_I8MM, which older headers lack.
    bool dotprod = getauxval(AT_HWCAP) & 1ul << 20, i8mm = getauxval(AT_HWCAP2) & 1ul << 13;
#else
    bool dotprod = false, i8mm = false;
#endif
    switch (simd) {
        case DIT_SIMD_PORTABLE:
        case DIT_SIMD_NEON: return true;
        case DIT_SIMD_NEON_DOTPROD: return dotprod;
        case DIT_SIMD_NEON_I8MM: return dotprod && i8mm;
        default: return false;
    }
}
#else
static bool dit_has_simd(dit_simd simd) { return simd == DIT_SIMD_PORTABLE; }
#endif

static const dit_ops* dit_find_ops(dit_simd wanted) {
    for (size_t i = sizeof dit_all_ops / sizeof dit_all_ops[0]; i-- > 0;) {
        const dit_ops* ops = &dit_all_ops[i];
        if ((wanted == DIT_SIMD_AUTO || wanted == ops->simd) && dit_has_simd(ops->simd)) return ops;
    }
    return NULL;
}

#endif
