// Eight lanes: AVX2 with fused multiply-adds, sixteen registers. simd_portable.h says what the names mean.
#include <immintrin.h>

#define ISA_TARGET __attribute__((target("avx2,fma,f16c,bmi2")))
#define ISA_NAME(name) dit_##name##_avx2
#define ISA_FN static ISA_TARGET
#define ISA_INLINE static inline __attribute__((always_inline)) ISA_TARGET
#define ISA_MANY ISA_INLINE
#define TILE_ROWS 4
#define VF_LANES 8
#define vf __m256
#define vi __m256i

#define vf_load(p) _mm256_loadu_ps(p)
#define vf_store(p, a) _mm256_storeu_ps(p, a)
#define vf_set1(x) _mm256_set1_ps(x)
#define vf_add(a, b) _mm256_add_ps(a, b)
#define vf_sub(a, b) _mm256_sub_ps(a, b)
#define vf_mul(a, b) _mm256_mul_ps(a, b)
#define vf_div(a, b) _mm256_div_ps(a, b)
#define vf_min(a, b) _mm256_min_ps(a, b)
#define vf_max(a, b) _mm256_max_ps(a, b)
#define vf_fma(a, b, c) _mm256_fmadd_ps(a, b, c)
#define vf_scale_pow2(v, s) _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(v), _mm256_slli_epi32(_mm256_castps_si256(s), 23)))
#define vf_from_vi(a) _mm256_cvtepi32_ps(a)

#define vi_load(p) _mm256_loadu_si256((const __m256i*)(const void*)(p))
#define vi_store(p, a) _mm256_storeu_si256((__m256i*)(void*)(p), a)
#define vi_set1(x) _mm256_set1_epi32(x)
#define vi_add(a, b) _mm256_add_epi32(a, b)
#define vi_sub(a, b) _mm256_sub_epi32(a, b)
#define vi_mul(a, b) _mm256_mullo_epi32(a, b)
#define vi_min(a, b) _mm256_min_epi32(a, b)
#define vi_max(a, b) _mm256_max_epi32(a, b)
#define vi_from_vf(a) _mm256_cvtps_epi32(a)
