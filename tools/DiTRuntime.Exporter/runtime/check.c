// What a weights file has to fulfil. Nothing in it is believed: all that is read without a further look, here and in the engines, is looked at
// once: counts, extents, places and sizes of sections, numbers into tables. Weights themselves are not read, so that opening takes no longer
// for a large file; only codes that could lie beyond their codebook are, where its size is no power of two.
#include "internal.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

// Far above any DiT; they keep products of what a hostile file claims inside 64 bits, and those that an int32_t has to hold are checked.
#define DIT_MOST_EXTENT (1u << 24)
#define DIT_MOST_SIDE 4096u
#define DIT_MOST_TOKENS 16384u
#define DIT_MOST_DEPTH 1024u
#define DIT_MOST_HIDDEN 65536u
#define DIT_MOST_CLASSES (1u << 20)
#define DIT_MOST_BATCH 4096u
#define DIT_MOST_KERNEL 15u
#define DIT_MOST_UPSCALE 64u
#define DIT_MOST_LAYERS 65536u
#define DIT_MOST_NAME_BYTES (16u << 20)

// A product that no section has where it overflows.
static uint64_t dit_times(uint64_t a, uint64_t b) { return b != 0 && a > UINT64_MAX / b ? UINT64_MAX : a * b; }

static bool dit_fits_int(uint64_t value) { return value <= INT32_MAX; }
static bool dit_is_epsilon(float value) { return value >= 0 && value < 1; }

static uint64_t dit_packed_bytes(uint64_t codes, uint32_t bits) { return (codes * bits + 7) / 8; }
static uint32_t dit_group_count(uint32_t length, uint32_t size) { return (length + size - 1) / size; }

// A section that is to have so many bytes; 0: it is to be absent.
static dit_status dit_check_section(dit_context* c, const char* owner, const char* name, dit_section s, uint64_t expected) {
    if (s.bytes != expected)
        return dit_fail(c, DIT_BAD_FILE, "%s: section %s has %" PRIu64 " bytes; %" PRIu64 " were expected", owner, name, s.bytes, expected);
    if (s.bytes == 0) return DIT_OK;
    if (s.offset % DIT_ALIGNMENT != 0)
        return dit_fail(c, DIT_BAD_FILE, "%s: section %s begins at %" PRIu64 ", no multiple of %u", owner, name, s.offset, DIT_ALIGNMENT);
    if (s.offset > c->file_bytes || s.bytes > c->file_bytes - s.offset)
        return dit_fail(c, DIT_BAD_FILE, "%s: section %s, %" PRIu64 " bytes at %" PRIu64 ", ends beyond the file of %" PRIu64 " bytes", owner, name, s.bytes,
                        s.offset, c->file_bytes);
    return DIT_OK;
}

// Control characters in a name would garble the terminal that shows it.
static bool dit_is_printable(const char* text, size_t count) {
    for (size_t i = 0; i < count; i++)
        if ((uint8_t)text[i] < ' ' || text[i] == 0x7f) return false;
    return true;
}

// ---- the header ----

static dit_status dit_check_range(dit_context* c, const char* name, uint32_t value, uint32_t least, uint32_t most) {
    if (value >= least && value <= most) return DIT_OK;
    return dit_fail(c, DIT_BAD_FILE, "header: %s is %u; %u to %u were expected", name, value, least, most);
}

static dit_status dit_check_divides(dit_context* c, const char* name, uint32_t divisor, uint32_t value) {
    return value % divisor == 0 ? DIT_OK : dit_fail(c, DIT_BAD_FILE, "header: %s is %u, which does not divide %u", name, divisor, value);
}

static dit_status dit_check_kind(dit_context* c) {
    const dit_file_header* h = c->header;
    if (c->file_bytes < sizeof *h) return dit_fail(c, DIT_BAD_FILE, "header: the file has %" PRIu64 " bytes, too few for a header", c->file_bytes);
    if (memcmp(h->magic, DIT_FILE_MAGIC, sizeof h->magic) != 0) return dit_fail(c, DIT_BAD_FILE, "header: this is no weights file of an export");
    if (h->version != DIT_FILE_VERSION || h->header_bytes != sizeof *h)
        return dit_fail(c, DIT_BAD_FILE, "header: version %u with %u bytes; this runtime reads version %u with %zu", h->version, h->header_bytes,
                        DIT_FILE_VERSION, sizeof *h);
    if (h->file_bytes != c->file_bytes)
        return dit_fail(c, DIT_BAD_FILE, "header: the file has %" PRIu64 " bytes, its header says %" PRIu64 ": it is cut short or damaged", c->file_bytes,
                        h->file_bytes);
    if (h->target != DIT_BUILT_TARGET)
        return dit_fail(c, DIT_BAD_FILE, "header: target is %u; this runtime is built for %u (0: c, 1: cuda)", h->target, (uint32_t)DIT_BUILT_TARGET);
    return DIT_OK;
}

static dit_status dit_check_architecture(dit_context* c) {
    const dit_file_header* h = c->header;
    DIT_TRY(dit_check_range(c, "input_size", h->input_size, 1, DIT_MOST_SIDE));
    DIT_TRY(dit_check_range(c, "patch_size", h->patch_size, 1, 64));
    DIT_TRY(dit_check_divides(c, "patch_size", h->patch_size, h->input_size));
    DIT_TRY(dit_check_range(c, "the number of tokens", dit_token_count(h), 1, DIT_MOST_TOKENS));
    DIT_TRY(dit_check_range(c, "in_channels", h->in_channels, 1, 1024));
    if (h->out_channels != h->in_channels && h->out_channels != 2 * h->in_channels)
        return dit_fail(c, DIT_BAD_FILE, "header: out_channels is %u; %u or %u were expected", h->out_channels, h->in_channels, 2 * h->in_channels);
    DIT_TRY(dit_check_range(c, "hidden_size", h->hidden_size, 1, DIT_MOST_HIDDEN));
    DIT_TRY(dit_check_range(c, "depth", h->depth, 1, DIT_MOST_DEPTH));
    DIT_TRY(dit_check_range(c, "head_count", h->head_count, 1, h->hidden_size));
    DIT_TRY(dit_check_divides(c, "head_count", h->head_count, h->hidden_size));
    DIT_TRY(dit_check_range(c, "mlp_size", h->mlp_size, 1, 64 * DIT_MOST_HIDDEN));
    DIT_TRY(dit_check_range(c, "class_count", h->class_count, 1, DIT_MOST_CLASSES));
    DIT_TRY(dit_check_range(c, "frequency_size", h->frequency_size, 2, DIT_MOST_HIDDEN));
    if (h->frequency_size % 2 != 0) return dit_fail(c, DIT_BAD_FILE, "header: frequency_size is %u; an even number was expected", h->frequency_size);
    DIT_TRY(dit_check_range(c, "single_schedule", h->single_schedule, 0, 1));
    DIT_TRY(dit_check_range(c, "guided_channels", h->guided_channels, 0, h->in_channels));
    DIT_TRY(dit_check_range(c, "round_nearest", h->round_nearest, 0, 1));
    if (!dit_is_epsilon(h->attention_epsilon) || !dit_is_epsilon(h->mlp_epsilon) || !dit_is_epsilon(h->final_epsilon))
        return dit_fail(c, DIT_BAD_FILE, "header: an epsilon of a norm is no number from 0 to 1");
    return DIT_OK;
}

static dit_status dit_check_plan(dit_context* c) {
    const dit_file_header* h = c->header;
    DIT_TRY(dit_check_range(c, "max_batch", h->max_batch, 1, DIT_MOST_BATCH));
    DIT_TRY(dit_check_range(c, "default_steps", h->default_steps, 1, DIT_TRAINING_STEPS));
    DIT_TRY(dit_check_range(c, "default_sampler", h->default_sampler, DIT_SAMPLER_DDIM, DIT_SAMPLER_DDPM));
    DIT_TRY(dit_check_range(c, "default_spacing", h->default_spacing, DIT_SPACING_LEADING, DIT_SPACING_TRAILING));
    if (!(h->default_guidance >= 0) || isinf(h->default_guidance)) return dit_fail(c, DIT_BAD_FILE, "header: default_guidance is no number from 0 up");

    // A step needs a row of the table for every class of the batch, and for the null class.
    const uint32_t classes = h->max_batch < h->class_count ? h->max_batch : h->class_count;
    DIT_TRY(dit_check_range(c, "table_rows", h->table_rows, classes + 1, DIT_MOST_EXTENT));
    const uint64_t wide = h->mlp_size > 3 * h->hidden_size ? h->mlp_size : 3 * h->hidden_size;
    const uint64_t patches = (uint64_t)h->patch_size * h->patch_size * h->out_channels;
    const uint64_t rows = 2 * (uint64_t)h->max_batch * dit_token_count(h);
    const uint64_t latents = (uint64_t)h->max_batch * h->out_channels * h->input_size * h->input_size;
    if (!dit_fits_int(dit_times(rows, wide > patches ? wide : patches)) || !dit_fits_int(latents) ||
        !dit_fits_int(dit_times(h->table_rows, 6 * (uint64_t)h->hidden_size)))
        return dit_fail(c, DIT_BAD_FILE, "header: max_batch %u or table_rows %u is too large for this architecture", h->max_batch, h->table_rows);
    return DIT_OK;
}

static dit_status dit_check_decoder(dit_context* c) {
    const dit_file_header* h = c->header;
    DIT_TRY(dit_check_range(c, "decoder_kind", h->decoder_kind, DIT_DECODER_PIXELS, DIT_DECODER_TINY));
    if (h->image_channels != 1 && h->image_channels != 3) return dit_fail(c, DIT_BAD_FILE, "header: image_channels is %u; 1 or 3 were expected", h->image_channels);
    DIT_TRY(dit_check_range(c, "upscale", h->upscale, 1, DIT_MOST_UPSCALE));
    // A quarter of a tile is shared with its neighbour: at least a position.
    DIT_TRY(dit_check_range(c, "tile_size", h->tile_size, h->input_size < 4 ? h->input_size : 4, h->input_size));
    const uint64_t side = (uint64_t)h->input_size * h->upscale;
    if (!dit_fits_int(side * side * h->image_channels)) return dit_fail(c, DIT_BAD_FILE, "header: images of %" PRIu64 " pixels a side are too large", side);
    if (h->decoder_kind != DIT_DECODER_PIXELS) {
        if (!isfinite(h->scaling_factor) || h->scaling_factor == 0 || !isfinite(h->shift_factor))
            return dit_fail(c, DIT_BAD_FILE, "header: scaling_factor or shift_factor is no number to scale by");
    } else if (h->upscale != 1 || h->image_channels != h->in_channels || h->operation_count != 0) {
        return dit_fail(c, DIT_BAD_FILE, "header: pixels without a decoder: upscale %u, %u channels, %u operations; expected 1, %u, 0", h->upscale,
                        h->image_channels, h->operation_count, h->in_channels);
    }

    return DIT_OK;
}

// class_count strings, each ended by a zero.
static dit_status dit_check_class_names(dit_context* c) {
    const dit_section s = c->header->class_names;
    if (s.bytes == 0) return DIT_OK;
    if (s.bytes > DIT_MOST_NAME_BYTES) return dit_fail(c, DIT_BAD_FILE, "header: section class_names has %" PRIu64 " bytes", s.bytes);
    DIT_TRY(dit_check_section(c, "header", "class_names", s, s.bytes));
    const char *name = dit_at(c, s), *end = name + s.bytes;
    uint32_t count = 0;
    for (const char* zero; name < end && (zero = memchr(name, 0, (size_t)(end - name))) != NULL; name = zero + 1, count++)
        if (!dit_is_printable(name, (size_t)(zero - name))) return dit_fail(c, DIT_BAD_FILE, "header: class_names: control characters in name %u", count);
    if (name == end && count == c->header->class_count) return DIT_OK;
    return dit_fail(c, DIT_BAD_FILE, "header: class_names: %u names; %u were expected", count, c->header->class_count);
}

static dit_status dit_check_header(dit_context* c) {
    const dit_file_header* h = c->header;
    DIT_TRY(dit_check_kind(c));
    DIT_TRY(dit_check_architecture(c));
    DIT_TRY(dit_check_plan(c));
    DIT_TRY(dit_check_range(c, "tensor_count", h->tensor_count, 0, DIT_MOST_LAYERS));
    DIT_TRY(dit_check_range(c, "operation_count", h->operation_count, 0, DIT_MOST_LAYERS));
    DIT_TRY(dit_check_decoder(c));
    return dit_check_class_names(c);
}

// ---- layers ----

static dit_status dit_bad_layer(dit_context* c, const dit_file_layer* layer, const char* problem) {
    return dit_fail(c, DIT_BAD_FILE, "layer %s: %s", layer->name, problem);
}

static dit_status dit_check_dense(dit_context* c, const dit_file_layer* l) {
    if (l->element > DIT_BF16) return dit_bad_layer(c, l, "its elements are neither F32, F16 nor BF16");
    if (l->activation_group != 0) return dit_bad_layer(c, l, "a dense weight has no quantized input");
    const uint64_t taps = l->kernel_size > 0 ? (uint64_t)l->kernel_size * l->kernel_size : 1;
    const uint64_t values = taps * l->outputs * l->inputs;
    if (!dit_fits_int(values)) return dit_bad_layer(c, l, "its weight has more than 2^31 values");
    DIT_TRY(dit_check_section(c, l->name, "scales", l->scales, 0));
    DIT_TRY(dit_check_section(c, l->name, "zeros", l->zeros, 0));
    DIT_TRY(dit_check_section(c, l->name, "codebook", l->codebook, 0));
    DIT_TRY(dit_check_section(c, l->name, "table", l->table, 0));
    return dit_check_section(c, l->name, "weight", l->weight, values * (l->element == DIT_F32 ? 4 : 2));
}

static dit_status dit_check_groups(dit_context* c, const dit_file_layer* l) {
    if (l->bits < 2 || l->bits > 8 || l->bits == 7) return dit_bad_layer(c, l, "2, 3, 4, 5, 6 or 8 bits were expected");
    if (l->group_size < 1 || l->group_size > l->inputs) return dit_bad_layer(c, l, "its groups are not of 1 value to a row");
    if (l->activation_group != 0 && l->activation_group != l->group_size) return dit_bad_layer(c, l, "its input is not quantized in the weight's groups");
    const uint64_t groups = (uint64_t)l->outputs * dit_group_count(l->inputs, l->group_size);
    DIT_TRY(dit_check_section(c, l->name, "weight", l->weight, l->outputs * dit_packed_bytes(l->inputs, l->bits)));
    DIT_TRY(dit_check_section(c, l->name, "scales", l->scales, 2 * groups));
    DIT_TRY(dit_check_section(c, l->name, "zeros", l->zeros, dit_packed_bytes(groups, l->bits)));
    DIT_TRY(dit_check_section(c, l->name, "codebook", l->codebook, 0));
    return dit_check_section(c, l->name, "table", l->table, 0);
}

// Where k is no power of two, the bits of a code can say more than there is.
static dit_status dit_check_codes(dit_context* c, const dit_file_layer* l) {
    if ((l->codebook_size & (l->codebook_size - 1)) == 0) return DIT_OK;
    const uint64_t vectors = l->inputs / l->vector_length, row_bytes = dit_packed_bytes(vectors, l->bits);
    const uint8_t* row = dit_at(c, l->weight);
    for (uint32_t n = 0; n < l->outputs; n++, row += row_bytes) {
        uint32_t pending = 0, pending_bits = 0;
        for (uint64_t v = 0, at = 0; v < vectors; v++) {
            for (; pending_bits < l->bits; pending_bits += 8) pending |= (uint32_t)row[at++] << pending_bits;
            const uint32_t code = pending & ((1u << l->bits) - 1);
            if (code >= l->codebook_size)
                return dit_fail(c, DIT_BAD_FILE, "layer %s: code %u in row %u; the codebook has %u codewords", l->name, code, n, l->codebook_size);
            pending >>= l->bits;
            pending_bits -= l->bits;
        }
    }

    return DIT_OK;
}

// Numbers into the pool: below its size.
static dit_status dit_check_table(dit_context* c, const dit_file_layer* l, uint64_t entries) {
    uint32_t largest = 0;
    if (l->wide_table) {
        const uint32_t* table = dit_at(c, l->table);
        for (uint64_t i = 0; i < entries; i++) largest = table[i] > largest ? table[i] : largest;
    } else {
        const uint16_t* table = dit_at(c, l->table);
        uint16_t most = 0;
        for (uint64_t i = 0; i < entries; i++) most = table[i] > most ? table[i] : most;
        largest = most;
    }

    return largest < l->pool_size ? DIT_OK
                                  : dit_fail(c, DIT_BAD_FILE, "layer %s: section table holds %u; the pool has %u vectors", l->name, largest, l->pool_size);
}

static dit_status dit_check_codebooks(dit_context* c, const dit_file_layer* l) {
    const uint32_t k = l->codebook_size, d = l->vector_length;
    if (k < 2 || k > 65536) return dit_bad_layer(c, l, "2 to 65536 codewords were expected");
    if (d < 2 || d > 8 || l->inputs % d != 0) return dit_bad_layer(c, l, "vectors of 2 to 8 values that divide a row were expected");
    if (l->bits < 1 || l->bits > 16 || k > 1u << l->bits || k <= 1u << (l->bits - 1)) return dit_bad_layer(c, l, "its codes have not as many bits as the codebook asks for");
    if (l->parts < 1 || l->outputs % l->parts != 0 || (l->format == DIT_FORMAT_PRODUCT && l->parts != 1))
        return dit_bad_layer(c, l, "its rows do not fall into equal parts");
    const uint64_t vectors = l->inputs / d, books = l->format == DIT_FORMAT_PRODUCT ? vectors : l->parts, entries = books * k;
    if (l->pool_size > entries || (l->pool_size != 0 && l->format != DIT_FORMAT_PRODUCT)) return dit_bad_layer(c, l, "its pool is larger than its codebooks");
    if (l->wide_table != (l->pool_size > 65536 ? 1u : 0u)) return dit_bad_layer(c, l, "numbers into its pool are not as wide as they have to be");
    if (!dit_fits_int(entries * d)) return dit_bad_layer(c, l, "its codebooks have more than 2^31 values");
    if (l->activation_group % d != 0 || l->activation_group > l->inputs) return dit_bad_layer(c, l, "groups of its input are no multiple of its vectors");
    if (l->activation_group != 0 && !(l->integer_scale > 0 && isfinite(l->integer_scale))) return dit_bad_layer(c, l, "integer_scale is not positive");

    DIT_TRY(dit_check_section(c, l->name, "weight", l->weight, l->outputs * dit_packed_bytes(vectors, l->bits)));
    DIT_TRY(dit_check_section(c, l->name, "scales", l->scales, l->scales.bytes == 0 ? 0 : 2 * (uint64_t)l->outputs));
    DIT_TRY(dit_check_section(c, l->name, "zeros", l->zeros, 0));
    DIT_TRY(dit_check_section(c, l->name, "codebook", l->codebook, 2 * d * (l->pool_size != 0 ? l->pool_size : entries)));
    DIT_TRY(dit_check_section(c, l->name, "table", l->table, l->pool_size == 0 ? 0 : entries * (l->wide_table ? 4 : 2)));
    DIT_TRY(dit_check_codes(c, l));
    return l->pool_size == 0 ? DIT_OK : dit_check_table(c, l, entries);
}

// The fixed ranges of a quantized input.
static dit_status dit_check_static(dit_context* c, const dit_file_layer* l) {
    const uint64_t groups = l->activation_group == 0 || l->static_scales.bytes == 0 ? 0 : dit_group_count(l->inputs, l->activation_group);
    DIT_TRY(dit_check_section(c, l->name, "static_scales", l->static_scales, 4 * groups));
    DIT_TRY(dit_check_section(c, l->name, "static_zeros", l->static_zeros, groups));
    const float* scales = dit_at(c, l->static_scales);
    for (uint64_t g = 0; g < groups; g++)
        if (!(scales[g] > 0) || isinf(scales[g])) return dit_fail(c, DIT_BAD_FILE, "layer %s: static_scales[%" PRIu64 "] is not positive and finite", l->name, g);
    return DIT_OK;
}

static dit_status dit_check_layer(dit_context* c, uint32_t number) {
    const dit_file_layer* l = &c->layers[number];
    if (memchr(l->name, 0, sizeof l->name) == NULL || !dit_is_printable(l->name, strlen(l->name)))
        return dit_fail(c, DIT_BAD_FILE, "layer %u: its name does not end, or holds control characters", number);
    if (l->outputs < 1 || l->outputs > DIT_MOST_EXTENT || l->inputs < 1 || l->inputs > DIT_MOST_EXTENT || !dit_fits_int((uint64_t)l->outputs * l->inputs))
        return dit_fail(c, DIT_BAD_FILE, "layer %s: %u x %u is no shape of a weight", l->name, l->outputs, l->inputs);
    if (l->kernel_size > DIT_MOST_KERNEL || (l->kernel_size != 0 && (l->kernel_size % 2 == 0 || l->format != DIT_FORMAT_DENSE)))
        return dit_fail(c, DIT_BAD_FILE, "layer %s: a convolution of %u x %u in format %u", l->name, l->kernel_size, l->kernel_size, l->format);
    DIT_TRY(dit_check_section(c, l->name, "bias", l->bias, l->bias.bytes == 0 ? 0 : 4 * (uint64_t)l->outputs));
    DIT_TRY(dit_check_static(c, l));
    switch (l->format) {
        case DIT_FORMAT_DENSE: return dit_check_dense(c, l);
        case DIT_FORMAT_GROUP: return dit_check_groups(c, l);
        case DIT_FORMAT_CODEBOOK:
        case DIT_FORMAT_PRODUCT: return dit_check_codebooks(c, l);
        default: return dit_fail(c, DIT_BAD_FILE, "layer %s: format %u is unknown", l->name, l->format);
    }
}

// A layer of the DiT has the shape that the architecture gives it.
static dit_status dit_check_shape(dit_context* c, uint32_t number, uint32_t outputs, uint64_t inputs, bool quantizes) {
    const dit_file_layer* l = &c->layers[number];
    if (l->outputs != outputs || l->inputs != inputs || l->kernel_size != 0)
        return dit_fail(c, DIT_BAD_FILE, "layer %s (number %u): [%u, %u]; [%u, %" PRIu64 "] was expected", l->name, number, l->outputs, l->inputs, outputs, inputs);
    return l->activation_group == 0 || quantizes ? DIT_OK : dit_bad_layer(c, l, "only layers of attention and MLP have a quantized input");
}

static dit_status dit_check_shapes(dit_context* c) {
    const dit_file_header* h = c->header;
    const uint32_t hidden = h->hidden_size, area = h->patch_size * h->patch_size;
    uint32_t number = 0;
    DIT_TRY(dit_check_shape(c, number++, hidden, (uint64_t)h->in_channels * area, false));
    DIT_TRY(dit_check_shape(c, number++, hidden, h->frequency_size, false));
    DIT_TRY(dit_check_shape(c, number++, hidden, hidden, false));
    DIT_TRY(dit_check_shape(c, number++, h->class_count + 1, hidden, false));
    for (uint32_t block = 0; block < h->depth; block++) {
        DIT_TRY(dit_check_shape(c, number++, 6 * hidden, hidden, false));
        DIT_TRY(dit_check_shape(c, number++, 3 * hidden, hidden, true));
        DIT_TRY(dit_check_shape(c, number++, hidden, hidden, true));
        DIT_TRY(dit_check_shape(c, number++, h->mlp_size, hidden, true));
        DIT_TRY(dit_check_shape(c, number++, hidden, h->mlp_size, true));
    }

    DIT_TRY(dit_check_shape(c, number++, 2 * hidden, hidden, false));
    return dit_check_shape(c, number, area * h->out_channels, hidden, false);
}

static dit_status dit_check_layers(dit_context* c) {
    const dit_file_header* h = c->header;
    const uint32_t least = dit_model_layers(h);
    DIT_TRY(dit_check_range(c, "layer_count", h->layer_count, least, h->decoder_kind == DIT_DECODER_PIXELS ? least : least + DIT_MOST_LAYERS));
    DIT_TRY(dit_check_section(c, "header", "layers", h->layers, h->layer_count * (uint64_t)sizeof(dit_file_layer)));
    c->layers = dit_at(c, h->layers);
    for (uint32_t i = 0; i < h->layer_count; i++) DIT_TRY(dit_check_layer(c, i));
    DIT_TRY(dit_check_shapes(c));
    DIT_TRY(dit_check_section(c, "header", "positions", h->positions, 4 * (uint64_t)dit_token_count(h) * h->hidden_size));
    return dit_check_section(c, "header", "frequencies", h->frequencies, 4 * (uint64_t)(h->frequency_size / 2));
}

// ---- the decoder ----

static bool dit_same_extent(const dit_file_tensor* a, const dit_file_tensor* b) { return a->height == b->height && a->width == b->width; }

static dit_status dit_bad_operation(dit_context* c, uint32_t number, const char* problem) {
    return dit_fail(c, DIT_BAD_FILE, "section operations: operation %u: %s", number, problem);
}

static dit_status dit_check_convolution(dit_context* c, uint32_t number, const dit_file_operation* o, const dit_file_tensor* tensors) {
    const dit_file_tensor *in = &tensors[o->input], *out = &tensors[o->output];
    const dit_file_layer* l = &c->layers[o->layer];
    const uint32_t scale = 1 + o->upsamples;
    if (o->upsamples > 1 || l->kernel_size == 0) return dit_bad_operation(c, number, "it is no convolution of a convolution's weight");
    if (o->input == o->output) return dit_bad_operation(c, number, "a convolution overwrites its input");
    if (out->height != scale * in->height || out->width != scale * in->width || in->channels != l->inputs || out->channels != l->outputs)
        return dit_bad_operation(c, number, "the shapes of a convolution's tensors and weight disagree");
    if (o->residual != DIT_NONE && (!dit_same_extent(&tensors[o->residual], out) || tensors[o->residual].channels != out->channels))
        return dit_bad_operation(c, number, "the residual has another shape than the output");
    return DIT_OK;
}

static dit_status dit_check_group_norm(dit_context* c, uint32_t number, const dit_file_operation* o, const dit_file_tensor* tensors) {
    const dit_file_tensor *in = &tensors[o->input], *out = &tensors[o->output];
    if (!dit_same_extent(in, out) || in->channels != out->channels) return dit_bad_operation(c, number, "a norm's output has another shape than its input");
    if (o->groups < 1 || in->channels % o->groups != 0) return dit_bad_operation(c, number, "channels do not fall into a norm's groups");
    if (!dit_is_epsilon(o->epsilon)) return dit_bad_operation(c, number, "a norm's epsilon is no number from 0 to 1");
    if (o->residual != DIT_NONE) return dit_bad_operation(c, number, "a norm has no residual");
    DIT_TRY(dit_check_section(c, "group norm", "gamma", o->gamma, 4 * (uint64_t)in->channels));
    return dit_check_section(c, "group norm", "beta", o->beta, 4 * (uint64_t)in->channels);
}

static dit_status dit_check_linear(dit_context* c, uint32_t number, const dit_file_operation* o, const dit_file_tensor* tensors) {
    const dit_file_tensor *in = &tensors[o->input], *out = &tensors[o->output];
    const dit_file_layer* l = &c->layers[o->layer];
    if (l->kernel_size != 0 || l->activation_group != 0) return dit_bad_operation(c, number, "a linear layer's weight is a convolution's, or takes codes");
    if (o->input == o->output) return dit_bad_operation(c, number, "a linear layer overwrites its input");
    if (!dit_same_extent(in, out) || in->channels != l->inputs || out->channels != l->outputs)
        return dit_bad_operation(c, number, "the shapes of a linear layer's tensors and weight disagree");
    return o->residual == DIT_NONE || o->residual == o->output ? DIT_OK : dit_bad_operation(c, number, "a linear layer adds to its output or to nothing");
}

static dit_status dit_check_attention(dit_context* c, uint32_t number, const dit_file_operation* o, const dit_file_tensor* tensors) {
    const dit_file_tensor *in = &tensors[o->input], *out = &tensors[o->output];
    if (o->input == o->output || o->residual != DIT_NONE) return dit_bad_operation(c, number, "attention overwrites its input, or has a residual");
    if (o->heads < 1 || out->channels % o->heads != 0 || in->channels != 3 * out->channels || !dit_same_extent(in, out))
        return dit_bad_operation(c, number, "the shapes of attention's tensors and heads disagree");
    return in->height * in->width <= DIT_MOST_TOKENS ? DIT_OK : dit_bad_operation(c, number, "attention over too many positions");
}

static dit_status dit_check_operation(dit_context* c, uint32_t number, const dit_file_operation* o, const dit_file_tensor* tensors) {
    const dit_file_header* h = c->header;
    if (o->input >= h->tensor_count || o->output >= h->tensor_count || (o->residual != DIT_NONE && o->residual >= h->tensor_count))
        return dit_bad_operation(c, number, "a tensor that does not exist");
    if (o->activation > DIT_ACT_GELU_TANH) return dit_bad_operation(c, number, "an unknown activation");
    if ((o->kind == DIT_OP_CONVOLUTION || o->kind == DIT_OP_LINEAR) && (o->layer < dit_model_layers(h) || o->layer >= h->layer_count))
        return dit_bad_operation(c, number, "a layer that is none of the decoder's");
    switch (o->kind) {
        case DIT_OP_CONVOLUTION: return dit_check_convolution(c, number, o, tensors);
        case DIT_OP_GROUP_NORM: return dit_check_group_norm(c, number, o, tensors);
        case DIT_OP_LINEAR: return dit_check_linear(c, number, o, tensors);
        case DIT_OP_ATTENTION: return dit_check_attention(c, number, o, tensors);
        default: return dit_bad_operation(c, number, "an unknown kind");
    }
}

static dit_status dit_check_end(dit_context* c, const char* name, uint32_t number, const dit_file_tensor* tensors, uint32_t side, uint32_t channels) {
    if (number >= c->header->tensor_count) return dit_fail(c, DIT_BAD_FILE, "header: %s is tensor %u, which does not exist", name, number);
    const dit_file_tensor* t = &tensors[number];
    if (t->height == side && t->width == side && t->channels == channels) return DIT_OK;
    return dit_fail(c, DIT_BAD_FILE, "header: %s is [%u, %u, %u]; [%u, %u, %u] was expected", name, t->height, t->width, t->channels, side, side, channels);
}

static dit_status dit_check_operations(dit_context* c) {
    const dit_file_header* h = c->header;
    DIT_TRY(dit_check_section(c, "header", "tensors", h->tensors, h->tensor_count * (uint64_t)sizeof(dit_file_tensor)));
    DIT_TRY(dit_check_section(c, "header", "operations", h->operations, h->operation_count * (uint64_t)sizeof(dit_file_operation)));
    if (h->decoder_kind == DIT_DECODER_PIXELS) return DIT_OK;
    const dit_file_tensor* tensors = dit_at(c, h->tensors);
    const dit_file_operation* operations = dit_at(c, h->operations);
    for (uint32_t i = 0; i < h->tensor_count; i++) {
        const dit_file_tensor* t = &tensors[i];
        const uint32_t most = DIT_MOST_SIDE * DIT_MOST_UPSCALE;
        if (t->height < 1 || t->height > most || t->width < 1 || t->width > most || t->channels < 1 || !dit_fits_int(dit_times((uint64_t)t->height * t->width, t->channels)))
            return dit_fail(c, DIT_BAD_FILE, "section tensors: tensor %u is [%u, %u, %u]", i, t->height, t->width, t->channels);
    }

    for (uint32_t i = 0; i < h->operation_count; i++) DIT_TRY(dit_check_operation(c, i, &operations[i], tensors));
    DIT_TRY(dit_check_end(c, "decoder_input", h->decoder_input, tensors, h->tile_size, h->in_channels));
    return dit_check_end(c, "decoder_output", h->decoder_output, tensors, h->tile_size * h->upscale, h->image_channels);
}

// Everything that the engines rely on. c->file is mapped.
static dit_status dit_file_check(dit_context* c) {
    c->header = (const dit_file_header*)(const void*)c->file;
    DIT_TRY(dit_check_header(c));
    // The plan of a GPU names its weights itself: cuda.c checks it.
    if (DIT_BUILT_TARGET == DIT_TARGET_CUDA) return dit_check_section(c, "header", "plan", c->header->plan, c->header->plan.bytes);
    DIT_TRY(dit_check_layers(c));
    return dit_check_operations(c);
}
