// Four lanes: what every aarch64 has, thirty-two registers. simd_portable.h says what the names mean.
#include <arm_neon.h>

#define ISA_NAME(name) dit_##name##_neon
#define ISA_FN static
#define ISA_INLINE static inline __attribute__((always_inline))
#define ISA_NEON
#define ISA_MANY ISA_INLINE
#define TILE_ROWS 8
#define VF_LANES 4
#define vf float32x4_t
#define vi int32x4_t

#define vf_load(p) vld1q_f32(p)
#define vf_store(p, a) vst1q_f32(p, a)
#define vf_set1(x) vdupq_n_f32(x)
#define vf_add(a, b) vaddq_f32(a, b)
#define vf_sub(a, b) vsubq_f32(a, b)
#define vf_mul(a, b) vmulq_f32(a, b)
#define vf_div(a, b) vdivq_f32(a, b)
#define vf_min(a, b) vbslq_f32(vcltq_f32(a, b), a, b)
#define vf_max(a, b) vbslq_f32(vcgtq_f32(a, b), a, b)
#define vf_fma(a, b, c) vfmaq_f32(c, a, b)
#define vf_scale_pow2(v, s) vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(v), vshlq_n_s32(vreinterpretq_s32_f32(s), 23)))
#define vf_from_vi(a) vcvtq_f32_s32(a)

#define vi_load(p) vld1q_s32(p)
#define vi_store(p, a) vst1q_s32(p, a)
#define vi_set1(x) vdupq_n_s32(x)
#define vi_add(a, b) vaddq_s32(a, b)
#define vi_sub(a, b) vsubq_s32(a, b)
#define vi_mul(a, b) vmulq_s32(a, b)
#define vi_min(a, b) vminq_s32(a, b)
#define vi_max(a, b) vmaxq_s32(a, b)
#define vi_from_vf(a) vcvtnq_s32_f32(a)
