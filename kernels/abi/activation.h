// A quantized activation tensor: what producers (norm, GELU, attention) write and the integer products read.
//
// With group size g, G = ceil(K/g) groups in a row, pitch P = g rounded up to 32 (for one group a row: K rounded up to 32):
//   codes        u8 q at [row, group*P + offset]; the padding between groups is zero (allocated zeroed, never written)
//   scales       s
//   corrections  per group six halves {m hi, m hi, m lo, z hi, z hi, z lo} with m = s(sum q - n Z)/n, the mean of the group's
//                dequantized values, and z = s Z; hi = half(v), lo = half(v - hi). Zero beyond 6G. With the weight's
//                {b hi, b lo, b hi, c hi, c lo, c hi} an f16 product of depth 6G adds what the zero points contribute, to 2^-21.
#ifndef DIT_ABI_ACTIVATION_H
#define DIT_ABI_ACTIVATION_H

#include "abi/types.h"

typedef struct {
    u8* codes;                 // u8 [rows, G*P]
    f32* scales;               // f32 [rows, G]
    f16* corrections;          // f16 [rows, 6G rounded up to 16]
    const f32* static_scales;  // f32 [G], or null: ranges are found at run time
    const f32* static_zeros;   // f32 [G], with static_scales
} dit_activation;

#endif
