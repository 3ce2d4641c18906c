// A linear layer's weight as the products read it: ceil(N/16) records one after another, each for 16 rows of W, each
//   codes        [B steps][32 lanes][16 or 8 bytes]: what each lane of a warp holds of the 16 rows, in the order of mma fragments
//   corrections  f16 [correction steps][32 lanes][8]: per row and group {b hi, b lo, b hi, c hi, c lo, c hi}, b = -n s Z, c = -s sum q
//                with n the group's length: the other factor of dit_activation's corrections (integer products only)
//   scales       [G][16]: f32 s for integer products; {f16 s, f16 1024 + Z} for floating-point products of codes; none for f16 weights
//   bias         f32 [16]
// Rows beyond N are zero. With t = lane % 4 and r = lane / 4 a lane holds, for row r and then for row r + 8:
//   f16    a B step is 16 values:  2t 2t+1 2t+8 2t+9, halves
//   w8a8   a B step is 32 codes:   4t..4t+3 4t+16..4t+19, bytes
//   w4a8   a B step is 32 codes:   four bytes, 4t+i in the low nibble of byte i, 4t+16+i in the high one
//   w8a16  a B step is 32 codes:   2t 2t+1 2t+8 2t+9, bytes; and after both rows the same of values 16 to 31
//   w4a16  a B step is 32 codes:   pairs p = 0..3 of values 2t+8p 2t+8p+1 at bits 4p and 4p + 16
// Codes lie group by group at a pitch of g rounded up to 32, as those of dit_activation; padding is 0, in w8a16 and w4a16 Z.
#ifndef DIT_ABI_WEIGHT_H
#define DIT_ABI_WEIGHT_H

#include "abi/types.h"

typedef struct {
    const u8* records;   // u8 [record_count, record_bytes]
    s32 record_bytes;    // a multiple of 16, as the three below
    s32 corrections_at;  // offsets inside a record
    s32 scales_at;
    s32 bias_at;
    s32 record_count;      // ceil(N/16)
    s32 steps;             // B steps of a row's codes
    s32 correction_steps;  // 6G rounded up to 16, over 16; 0 without
    s32 group_count;       // G
    s32 outputs;           // N
    s32 inputs;            // K
} dit_weight;

#endif
