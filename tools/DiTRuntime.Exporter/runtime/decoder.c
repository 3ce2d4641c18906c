// Latents to pixels on the processor: the file lists the decoder's operations for one tile.

#include "internal.h"

#include <math.h>
#include <string.h>

static dit_status dit_run_operation(dit_context* c, dit_cpu* s, const dit_file_operation* o) {
    const dit_file_tensor* shapes = dit_at(c, c->header->tensors);
    const dit_file_tensor *in = &shapes[o->input], *out = &shapes[o->output];
    const dit_activation act = (dit_activation)o->activation;
    const int32_t height = (int32_t)in->height, width = (int32_t)in->width, channels = (int32_t)in->channels, positions = height * width;
    const float* x = s->tensors[o->input];
    const float* residual = o->residual == DIT_NONE ? NULL : s->tensors[o->residual];
    float* y = s->tensors[o->output];
    switch ((dit_operation_kind)o->kind) {
    case DIT_OP_CONVOLUTION:
        return s->ops->convolution(c, s->pool, x, height, width, &s->layers[o->layer], o->upsamples != 0, act, residual, y);
    case DIT_OP_GROUP_NORM:
        return s->ops->group_norm(c, s->pool, x, height, width, channels, (int32_t)o->groups, o->epsilon, act, dit_at(c, o->gamma), dit_at(c, o->beta), s->moments, y);
    case DIT_OP_LINEAR: {
        const dit_rows input = dit_floats(s->tensors[o->input], positions, channels);
        dit_rows output = dit_floats(y, positions, (int32_t)out->channels);
        return s->ops->linear(c, s->pool, &input, &s->layers[o->layer], &(dit_epilogue){.activation = act, .adds = residual != NULL}, &output);
    }
    case DIT_OP_ATTENTION: {
        dit_rows output = dit_floats(y, positions, (int32_t)out->channels);
        return s->ops->attention(c, s->pool, x, 1, positions, (int32_t)out->channels, (int32_t)o->heads, &output, NULL);
    }
    }

    return dit_fail(c, DIT_BAD_FILE, "operation %u of the decoder is unknown", o->kind);
}

static dit_status dit_decode_tile(dit_context* c, const float* latent, int32_t top, int32_t left, int32_t size) {
    dit_cpu* s = c->state;
    const dit_file_operation* operations = dit_at(c, c->header->operations);
    dit_cut_tile(c->header, latent, top, left, size, s->tensors[c->header->decoder_input]);
    for (uint32_t i = 0; i < c->header->operation_count; i++) DIT_TRY(dit_run_operation(c, s, &operations[i]));
    return DIT_OK;
}

static dit_status dit_cpu_decode(dit_context* c, const float* latent, float* pixels) {
    const dit_cpu* s = c->state;
    const bool has_network = c->header->decoder_kind != DIT_DECODER_PIXELS;
    const dit_tiling tiling = {dit_decode_tile, has_network ? s->tensors[c->header->decoder_output] : NULL, s->row_shares, s->column_shares};
    return dit_decode_image(c, &tiling, latent, pixels);
}
