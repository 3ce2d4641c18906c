// Decoder activations are f16, channels last, [B, Y, X, stride] with stride = channels rounded up to 8; what lies in the padding is arbitrary.
#ifndef DIT_ABI_CONVOLUTION_H
#define DIT_ABI_CONVOLUTION_H

#include "abi/types.h"

typedef struct {
    const f16* input;     // in f16 [B, Y, X, Cin stride], or half as high and wide where the kernel reads it upsampled
    const f16* weights;   // in f16 [Cout/16, K/16, 32 lanes, 8]: the fragments of mma_f16; K = k*k taps of Cin rounded up to 32
    const f32* bias;      // in f32 [Cout rounded up to 16]
    const f16* residual;  // in f16 like the output, which it may be; or null
    f16* output;          // out f16 [B, Y, X, Cout stride]
    s32 sample_count;     // B
    s32 height;           // Y of the output
    s32 width;            // X of the output
    s32 inputs;           // Cin
    s32 outputs;          // Cout
    s32 kernel_size;      // k, odd
} dit_convolution;

#endif
