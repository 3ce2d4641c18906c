// Layers, ready for the processor: pointers into the mapped file, and what cannot stay there.
#include "lowbit.h"

#include <math.h>

// Codewords of a layer.
static uint64_t dit_codeword_count(const dit_file_layer* f) {
    if (f->pool_size) return f->pool_size;
    return (uint64_t)(f->format == DIT_FORMAT_PRODUCT ? f->inputs / f->vector_length : f->parts) * f->codebook_size;
}

static uint32_t dit_slot_bytes(const dit_file_layer* f) { return f->vector_length <= 4 ? 4 : 8; }

static bool dit_has_byte_vectors(const dit_file_layer* f) {
    return (f->format == DIT_FORMAT_CODEBOOK || f->format == DIT_FORMAT_PRODUCT) && f->activation_group;
}

// q = C/t to the nearest, ties to even, as bytes q + 128 in slots.
static void dit_make_byte_vectors(const dit_layer* layer, uint8_t* bytes) {
    const dit_file_layer* f = layer->file;
    const uint64_t count = dit_codeword_count(f);
    const uint32_t d = f->vector_length, slot = dit_slot_bytes(f);
    for (uint64_t v = 0; v < count; v++)
        for (uint32_t i = 0; i < d; i++) {
            const float q = rintf(dit_half(layer->codebook[v * d + i]) / f->integer_scale);
            bytes[v * slot + i] = (uint8_t)((q > -127 ? q < 127 ? (int32_t)q : 127 : -127) + DIT_BYTE_OFFSET);
        }
}

// What this engine cannot run, though the file may say it.
static dit_status dit_check_runnable(dit_context* c, const dit_file_layer* f) {
    const uint32_t group = f->format == DIT_FORMAT_GROUP ? f->group_size : f->activation_group;
    if (f->format == DIT_FORMAT_DENSE)
        return f->activation_group ? dit_fail(c, DIT_UNSUPPORTED, "%.64s: quantized inputs of a layer that is not", f->name) : DIT_OK;
    if (f->format != DIT_FORMAT_GROUP)
        return group % f->vector_length ? dit_fail(c, DIT_UNSUPPORTED, "%.64s: inputs in groups of %u, codewords of %u; a multiple was expected", f->name, group, f->vector_length) : DIT_OK;
    if (group < f->inputs && group % 8)
        return dit_fail(c, DIT_UNSUPPORTED, "%.64s: groups of %u; multiples of 8, or whole rows, were expected", f->name, group);
    if (f->activation_group && f->activation_group != group)
        return dit_fail(c, DIT_UNSUPPORTED, "%.64s: weights in groups of %u, inputs in groups of %u; they must be equal", f->name, group, f->activation_group);
    return DIT_OK;
}

static int32_t dit_row_bytes(const dit_file_layer* f) {
    if (f->format == DIT_FORMAT_DENSE) return (int32_t)(f->inputs * (f->element == DIT_F32 ? 4 : 2));
    return (int32_t)(((uint64_t)f->inputs / (f->format == DIT_FORMAT_GROUP ? 1 : f->vector_length) * f->bits + 7) / 8);
}

static dit_status dit_layer_open(dit_context* c, const dit_file_layer* f, dit_layer* layer) {
    memset(layer, 0, sizeof *layer);
    dit_status status = dit_check_runnable(c, f);
    if (status != DIT_OK) return status;
    layer->file = f;
    layer->weight = dit_at(c, f->weight);
    layer->zeros = dit_at(c, f->zeros);
    layer->table = dit_at(c, f->table);
    layer->scales = dit_at(c, f->scales);
    layer->codebook = dit_at(c, f->codebook);
    layer->groups = ((int32_t)f->inputs + dit_group_size(f) - 1) / dit_group_size(f);
    layer->row_bytes = dit_row_bytes(f);

    float* bias = dit_allocate(c, ((uint64_t)f->outputs + 64) * sizeof(float));
    layer->bias = bias;
    if (!bias) return dit_fail(c, DIT_OUT_OF_MEMORY, "%.64s: no memory for %u biases", f->name, f->outputs);
    if (f->bias.bytes) memcpy(bias, dit_at(c, f->bias), f->outputs * sizeof(float));
    if (!dit_has_byte_vectors(f)) return DIT_OK;

    uint8_t* bytes = dit_allocate(c, dit_codeword_count(f) * dit_slot_bytes(f));
    layer->byte_vectors = bytes;
    if (!bytes) {
        dit_layer_close(c, layer);
        return dit_fail(c, DIT_OUT_OF_MEMORY, "%.64s: no memory for its codewords", f->name);
    }
    dit_make_byte_vectors(layer, bytes);
    return DIT_OK;
}

static void dit_layer_close(dit_context* c, dit_layer* layer) {
    dit_release(c, (void*)(uintptr_t)layer->bias);
    dit_release(c, (void*)(uintptr_t)layer->byte_vectors);
    memset(layer, 0, sizeof *layer);
}
