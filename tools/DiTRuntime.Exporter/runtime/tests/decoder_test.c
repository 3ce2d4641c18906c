// Tiles of a latent: that they cover it, that their shares add up to one, and that a decoder which changes nothing gives back what was cut.
#define _POSIX_C_SOURCE 200809L

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif

// A test includes parts of the runtime, not all of it.
#pragma GCC diagnostic ignored "-Wunused-function"

#include "../internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "../memory.c"
#include "../plan.c"
#include "../tiles.c"
#include "../decoder.c"

static int failures;

static void check(bool holds, const char* what, int a, int b) {
    if (holds) return;
    failures++;
    printf("decoder_test: %s (%d, %d)\n", what, a, b);
}

// ---- how a side is cut ----

static void test_axis(int32_t length, int32_t largest, int32_t upscale) {
    const dit_axis axis = dit_make_axis(length, largest);
    const int32_t pixels = axis.size * upscale;
    float* shares = calloc((size_t)pixels, sizeof *shares);
    double* sums = calloc((size_t)(length * upscale), sizeof *sums);
    if (!shares || !sums) abort();
    check(axis.size <= largest && axis.size <= length, "a tile is larger than asked for", length, largest);
    check(dit_tile_start(&axis, 0) == 0 && dit_tile_start(&axis, axis.count - 1) + axis.size == length, "tiles do not reach from end to end", length, largest);
    for (int32_t tile = 0; tile < axis.count; tile++) {
        const int32_t start = dit_tile_start(&axis, tile);
        if (tile > 0) check(dit_tile_start(&axis, tile - 1) + axis.size - start >= largest / 4, "neighbours share less than a quarter", length, largest);
        dit_tile_shares(&axis, tile, upscale, shares);
        for (int32_t i = 0; i < pixels; i++) {
            check(shares[i] >= 0 && shares[i] <= 1, "a share is not from 0 to 1", length, largest);
            sums[start * upscale + i] += shares[i];
        }
    }

    for (int32_t i = 0; i < length * upscale; i++) check(fabs(sums[i] - 1) < 1e-6, "shares do not add up to one", length, largest);
    free(shares);
    free(sums);
}

// ---- a decoder that changes nothing ----

static dit_status copy(dit_context* c, dit_pool* p, const float* x, int32_t height, int32_t width, int32_t channels, int32_t groups, float epsilon, dit_activation act,
                       const float* gamma, const float* beta, float* moments, float* y) {
    (void)c, (void)p, (void)groups, (void)epsilon, (void)act, (void)gamma, (void)beta, (void)moments;
    memcpy(y, x, (size_t)height * (size_t)width * (size_t)channels * sizeof *x);
    return DIT_OK;
}

static void test_decoder(uint32_t side, uint32_t tile) {
    enum { CHANNELS = 3, SCALE = 4 };
    // What the context reads from its file lies in these instead.
    struct { dit_file_tensor tensors[2]; dit_file_operation operations[1]; } file = {
        .tensors = {{tile, tile, CHANNELS, 0}, {tile, tile, CHANNELS, 0}},
        .operations = {{.kind = DIT_OP_GROUP_NORM, .input = 0, .output = 1, .residual = DIT_NONE, .groups = 1}},
    };
    const dit_file_header header = {
        .input_size = side, .in_channels = CHANNELS, .image_channels = CHANNELS, .upscale = 1, .tile_size = tile, .decoder_kind = DIT_DECODER_KL,
        .scaling_factor = SCALE, .shift_factor = 1, .tensor_count = 2, .operation_count = 1, .decoder_output = 1,
        .tensors = {offsetof(__typeof__(file), tensors), sizeof file.tensors}, .operations = {offsetof(__typeof__(file), operations), sizeof file.operations},
    };
    const dit_ops ops = {.group_norm = copy};
    float* tensors[2];
    dit_cpu engine = {.ops = &ops, .tensors = tensors};
    dit_context context = {.header = &header, .file = (const uint8_t*)&file, .state = &engine};
    const size_t count = (size_t)side * side * CHANNELS;
    dit_arena arena = {0};
    dit_lay_out_decoding(&context, &engine, &arena);
    arena = (dit_arena){.base = dit_allocate(&context, arena.used)};
    float *latent = malloc(count * sizeof *latent), *pixels = malloc(count * sizeof *pixels);
    if (!arena.base || !latent || !pixels) abort();
    uint8_t* memory = arena.base;
    dit_lay_out_decoding(&context, &engine, &arena);

    for (size_t i = 0; i < count; i++) latent[i] = (float)(i * 7919 % 997) / 997;
    check(dit_cpu_decode(&context, latent, pixels) == DIT_OK, "decoding fails", (int)side, (int)tile);
    for (size_t i = 0; i < count; i++) {
        const float expected = latent[i % CHANNELS * side * side + i / CHANNELS] / SCALE + 1;
        check(fabsf(pixels[i] - expected) < 1e-6f, "a value is not where it was", (int)side, (int)tile);
    }

    free(latent);
    free(pixels);
    dit_release(&context, memory);
    check(context.allocated == 0, "memory is left", (int)side, (int)tile);
}

// A value whose hyperbolic tangent in single precision would be another.
static void test_squashing(void) {
    const dit_file_header header = {.decoder_kind = DIT_DECODER_TINY, .scaling_factor = 1};
    check(dit_to_network(&header, 0x1.815362p-1f) == 0x1.7970e6p-1f, "a latent is not squashed as by the exporter", 0, 0);
}

int main(void) {
    for (int32_t length = 1; length <= 40; length++)
        for (int32_t largest = 4; largest <= 20; largest++) test_axis(length, largest, 1 + length % 3);
    test_axis(128, 64, 8);
    test_squashing();
    test_decoder(8, 8);
    test_decoder(13, 5);
    test_decoder(32, 8);
    if (failures == 0) printf("decoder_test: passed\n");
    return failures != 0;
}
