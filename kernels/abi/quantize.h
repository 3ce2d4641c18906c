#ifndef DIT_ABI_QUANTIZE_H
#define DIT_ABI_QUANTIZE_H

#include "abi/activation.h"

typedef struct {
    const f16* input;          // in f16 [rows, K rounded up to 8]
    dit_activation quantized;  // out
    s32 rows;
} dit_quantize_rows;

#endif
