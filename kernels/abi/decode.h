// Arguments of decode_kernel (codebook/decode.cu).
#ifndef DIT_ABI_DECODE_H
#define DIT_ABI_DECODE_H

#include "abi/types.h"

typedef struct {
    const u8* packed;  // in u8 [record_count, packed_bytes]: codes u8 or u16 [K/d][16 rows], then what follows a record's codes
    const u8* books;   // in f16 or s8 [books, k, d]; with a pool that [P, d]
    const u8* table;   // in u16 or u32 [books, k], numbers into the pool; null without one
    u8* records;       // out u8 [record_count, record_bytes], as abi/weight.h has them for f16 or w8a8
    s32 packed_bytes;  // of a record, and where its codes end; multiples of 16
    s32 packed_codes;
    s32 record_bytes;  // the same of what is written
    s32 record_codes;
    s32 steps;       // k steps of 32 bytes
    s32 group_size;  // values, all that one group has; its pitch
    s32 group_pitch;
    s32 inputs;     // K
    s32 part_rows;  // rows that share a codebook
    s32 last_book;  // of the parts
    s32 book_size;  // k
} dit_decode;

#endif
