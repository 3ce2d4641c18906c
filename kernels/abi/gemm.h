// Arguments of gemm_kernel (gemm/gemm.cu). Pointers an epilogue does not use are null.
#ifndef DIT_ABI_GEMM_H
#define DIT_ABI_GEMM_H

#include "abi/activation.h"
#include "abi/modulation.h"
#include "abi/types.h"
#include "abi/weight.h"

typedef struct {
    dit_weight weight;
    const u8* input;               // in f16 [rows, input_stride/2], zero from K to the next multiple of 8; or u8 codes [rows, input_stride]
    const f32* input_scales;       // in f32 [rows, G], with codes
    const f16* input_corrections;  // in f16 [rows, 16*correction_steps], with codes
    u8* output;                    // out f16 or f32 [rows, output_stride]; heads: f16 [3, samples, heads, tokens, head size]
    dit_activation quantized;      // out [rows, N], where the epilogue quantizes
    dit_modulation modulation;     // in: the gate of the gated residual
    s32 rows;                      // M
    s32 input_stride;              // bytes
    s32 output_stride;             // elements
    s32 gate_offset;               // values from the start of a modulation row to the gate
    s32 tokens;                    // rows of a sample
    s32 head_count;
    s32 head_size;
} dit_gemm;

#endif
