// A linear layer's weight as the products read it: ceil(N/16) records one after another, each for 16 rows of W, each
//   codes        [B steps][32 lanes][16 or 8 bytes]: what each lane of a warp holds of the 16 rows, in the order of mma fragments
//   corrections  f16 [correction steps][32 lanes][8]: per row and group {b hi, b lo, b hi, c hi, c lo, c hi}, b = -n s Z, c = -s sum q
//                with n the group's length: the other factor of dit_activation's corrections (integer products only)
//   scales       [G][16]: f32 s for integer products; {f16 s, f16 1024 + Z} for floating-point products of codes; none for f16 weights
//                codebook weights: f32 [16], what the sums of a row are multiplied by
//   bias         f32 [16]
// Rows beyond N are zero. With t = lane % 4 and r = lane / 4 a lane holds, for row r and then for row r + 8:
//   f16    a B step is 16 values:  2t 2t+1 2t+8 2t+9, halves
//   w8a8   a B step is 32 codes:   4t..4t+3 4t+16..4t+19, bytes
//   w4a8   a B step is 32 codes:   four bytes, 4t+i in the low nibble of byte i, 4t+16+i in the high one
//   w8a16  a B step is 32 codes:   2t 2t+1 2t+8 2t+9, bytes; and after both rows the same of values 16 to 31
//   w4a16  a B step is 32 codes:   pairs p = 0..3 of values 2t+8p 2t+8p+1 at bits 4p and 4p + 16
// Codebook weights, w = s C[book][code] with codewords of d values, hold codes; `books` holds the codewords, of halves or of bytes with signs:
//   books      one for every part of part_records records: [book_count][k][d], or one for every vector along the row, padding included; each
//              filled up to 16 bytes. A codeword of two bytes lies there twice.
//   lookup     a B step is one read of READ_STEPS k steps of 32 input bytes, codes of CODE_BYTES. A unit is a k step, or two where a codeword has 16
//              bytes; for each unit, and in it for row r and then for row r + 8, the codes of vectors
//              t (codewords of 8 and 16 bytes); t, t+4 (of 4 bytes); 2t, 2t+1, 2t+8, 2t+9 (of 2)
//   In a unit of the first kind a lane's products are those of vector t: the product's K is permuted, and x is read to match. With codewords of bytes,
//   in units u = 2^-8, corrections are b = 0, c = -u sum q, input scales are multiplied by u, and the scales are s t/u.
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
    s32 part_records;      // records that share a codebook
    s32 book_count;        // codebooks
    const u8* books;       // u8 [book_count, k d values up to 16 bytes]; null without codebooks
} dit_weight;

#endif
