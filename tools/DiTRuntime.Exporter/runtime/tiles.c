// Latents to pixels, tile by tile, whatever runs the network: a latent is cut into tiles and the seams are blended. Neighbours share at least a
// quarter of a tile, over which the later one's share rises linearly from 0 to 1 (TileAxis.cs, LatentDecoder.cs).
#include "internal.h"

#include <math.h>
#include <string.h>

// ---- tiles: how one side of a latent is cut ----

typedef struct dit_axis {
    int32_t length, size, count;  // positions of the side, positions of each tile, tiles
} dit_axis;

static dit_axis dit_make_axis(int32_t length, int32_t largest_tile) {
    const int32_t stride = largest_tile - largest_tile / 4;
    return (dit_axis){
        .length = length,
        .size = length < largest_tile ? length : largest_tile,
        .count = length <= largest_tile ? 1 : 1 + (length - largest_tile + stride - 1) / stride,
    };
}

// Tiles are spread evenly, so that all have one size.
static int32_t dit_tile_start(const dit_axis* a, int32_t tile) {
    return a->count == 1 ? 0 : (int32_t)((int64_t)tile * (a->length - a->size) / (a->count - 1));
}

// 0 before a tile begins, rising to 1 where the tile before it ends.
static float dit_tile_rise(const dit_axis* a, int32_t tile, int32_t pixel, int32_t upscale) {
    if (tile == 0) return 1;
    const int32_t overlap = dit_tile_start(a, tile - 1) + a->size - dit_tile_start(a, tile);
    const float rise = (float)(pixel - dit_tile_start(a, tile) * upscale) / (float)(overlap * upscale);
    return rise < 0 ? 0 : rise > 1 ? 1 : rise;
}

// The share of a tile in each of its pixels, [size · upscale]; the shares of all tiles at a pixel add up to one.
static void dit_tile_shares(const dit_axis* a, int32_t tile, int32_t upscale, float* shares) {
    for (int32_t i = 0; i < a->size * upscale; i++) {
        const int32_t pixel = dit_tile_start(a, tile) * upscale + i;
        shares[i] = dit_tile_rise(a, tile, pixel, upscale);
        for (int32_t later = tile + 1; later < a->count && dit_tile_start(a, later) * upscale <= pixel; later++)
            shares[i] *= 1 - dit_tile_rise(a, later, pixel, upscale);
    }
}

// ---- decoding ----

// How an engine decodes a tile, and where it leaves it.
typedef struct dit_tiling {
    dit_status (*decode)(dit_context* c, const float* latent, int32_t top, int32_t left, int32_t size);  // from `top`, `left` of [C, S, S] on
    const float* pixels;                // [f·size, f·size, image channels]
    float *row_shares, *column_shares;  // [f·size], to work in
} dit_tiling;

// A latent value from the model's space to the network's.
static float dit_to_network(const dit_file_header* h, float value) {
    // The tiny autoencoders squash the latent into three standard deviations. In double precision and rounded once: the same in every C library.
    if (h->decoder_kind == DIT_DECODER_TINY) return 3 * (float)tanh(value / h->scaling_factor / 3);
    return value / h->scaling_factor + h->shift_factor;
}

// A tile of [C, S, S] as [size, size, C].
static void dit_cut_tile(const dit_file_header* h, const float* latent, int32_t top, int32_t left, int32_t size, float* tile) {
    const int64_t channels = h->in_channels, side = h->input_size;
    for (int64_t channel = 0; channel < channels; channel++)
        for (int64_t y = 0; y < size; y++)
            for (int64_t x = 0; x < size; x++)
                tile[(y * size + x) * channels + channel] = dit_to_network(h, latent[(channel * side + top + y) * side + left + x]);
}

// Adds a tile's share to the image.
static void dit_blend_tile(const dit_tiling* t, int32_t pixels, int32_t channels, float* image, int64_t image_row) {
    const int32_t tile_row = pixels * channels;
    const float* tile = t->pixels;
    for (int32_t y = 0; y < pixels; y++, tile += tile_row, image += image_row)
        for (int32_t x = 0; x < tile_row; x++) image[x] += t->row_shares[y] * t->column_shares[x / channels] * tile[x];
}

static dit_status dit_decode_tiles(dit_context* c, const dit_tiling* t, const float* latent, float* pixels) {
    const dit_file_header* h = c->header;
    const dit_axis axis = dit_make_axis((int32_t)h->input_size, (int32_t)h->tile_size);
    const int32_t upscale = (int32_t)h->upscale, channels = (int32_t)h->image_channels;
    const int64_t row = (int64_t)axis.length * upscale * channels;
    if (axis.count == 1) {
        DIT_TRY(t->decode(c, latent, 0, 0, axis.size));
        memcpy(pixels, t->pixels, (size_t)(row * axis.length * upscale) * sizeof(float));
        return DIT_OK;
    }

    memset(pixels, 0, (size_t)(row * axis.length * upscale) * sizeof(float));
    for (int32_t y = 0; y < axis.count; y++) {
        const int32_t top = dit_tile_start(&axis, y);
        dit_tile_shares(&axis, y, upscale, t->row_shares);
        for (int32_t x = 0; x < axis.count; x++) {
            const int32_t left = dit_tile_start(&axis, x);
            DIT_TRY(t->decode(c, latent, top, left, axis.size));
            dit_tile_shares(&axis, x, upscale, t->column_shares);
            dit_blend_tile(t, axis.size * upscale, channels, pixels + (int64_t)top * upscale * row + (int64_t)left * upscale * channels, row);
        }
    }

    return DIT_OK;
}

// One image, [C, S, S] to [side, side, channels].
static dit_status dit_decode_image(dit_context* c, const dit_tiling* t, const float* latent, float* pixels) {
    const dit_file_header* h = c->header;
    if (h->decoder_kind == DIT_DECODER_PIXELS) {
        // The model works on pixels: only the layout changes.
        const int64_t area = (int64_t)h->input_size * h->input_size, channels = h->in_channels;
        for (int64_t channel = 0; channel < channels; channel++)
            for (int64_t i = 0; i < area; i++) pixels[i * channels + channel] = latent[channel * area + i];
        return DIT_OK;
    }

    DIT_TRY(dit_decode_tiles(c, t, latent, pixels));
    if (h->decoder_kind != DIT_DECODER_TINY) return DIT_OK;
    // This network makes 0 to 1.
    const int64_t side = (int64_t)h->input_size * h->upscale;
    for (int64_t i = 0; i < side * side * h->image_channels; i++) pixels[i] = 2 * pixels[i] - 1;
    return DIT_OK;
}
