// Sixteen lanes: AVX-512 F, BW, VL, DQ and VNNI, thirty-two registers. simd_portable.h says what the names mean.
#include <immintrin.h>

#define ISA_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c,bmi2")))
#define ISA_NAME(name) dit_##name##_avx512
#define ISA_FN static ISA_TARGET
#define ISA_INLINE static inline __attribute__((always_inline)) ISA_TARGET
#define ISA_MANY ISA_INLINE
#define TILE_ROWS 8
#define VF_LANES 16
#define vf __m512
#define vi __m512i

#define vf_load(p) _mm512_loadu_ps(p)
#define vf_store(p, a) _mm512_storeu_ps(p, a)
#define vf_set1(x) _mm512_set1_ps(x)
#define vf_add(a, b) _mm512_add_ps(a, b)
#define vf_sub(a, b) _mm512_sub_ps(a, b)
#define vf_mul(a, b) _mm512_mul_ps(a, b)
#define vf_div(a, b) _mm512_div_ps(a, b)
#define vf_min(a, b) _mm512_min_ps(a, b)
#define vf_max(a, b) _mm512_max_ps(a, b)
#define vf_fma(a, b, c) _mm512_fmadd_ps(a, b, c)
#define vf_scale_pow2(v, s) _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(v), _mm512_slli_epi32(_mm512_castps_si512(s), 23)))
#define vf_from_vi(a) _mm512_cvtepi32_ps(a)

#define vi_load(p) _mm512_loadu_si512(p)
#define vi_store(p, a) _mm512_storeu_si512(p, a)
#define vi_set1(x) _mm512_set1_epi32(x)
#define vi_add(a, b) _mm512_add_epi32(a, b)
#define vi_sub(a, b) _mm512_sub_epi32(a, b)
#define vi_mul(a, b) _mm512_mullo_epi32(a, b)
#define vi_min(a, b) _mm512_min_epi32(a, b)
#define vi_max(a, b) _mm512_max_epi32(a, b)
#define vi_from_vf(a) _mm512_cvtps_epi32(a)
