// A weights file with something of everything, small enough to be cut short and spoiled at every place: a DiT of one block (a layer of each format, one
// with a quantized input of fixed ranges), class names, and a decoder with an operation of each kind.
#include "../internal.h"

#include <stdlib.h>
#include <string.h>

#define FILE_ROOM (96u << 10)

enum { LAYER_PATCH, LAYER_T0, LAYER_T2, LAYER_LABELS, LAYER_ADALN, LAYER_QKV, LAYER_PROJ, LAYER_FC1, LAYER_FC2, LAYER_FINAL_ADALN, LAYER_FINAL, LAYER_CONV_IN,
       LAYER_ATTEND, LAYER_ADD, LAYER_CONV_OUT, LAYER_COUNT };

typedef struct core_file {
    uint8_t* bytes;  // aligned to 64
    uint64_t used;
    dit_file_header* header;
    dit_file_layer* layers;
    dit_file_tensor* tensors;
    dit_file_operation* operations;
} core_file;

// Aligned, as a mapping is.
static uint8_t* core_room(uint64_t bytes) {
    void* room = NULL;
    if (posix_memalign(&room, DIT_ALIGNMENT, (size_t)bytes) != 0) abort();
    return memset(room, 0, (size_t)bytes);
}

static dit_section core_section(core_file* f, uint64_t bytes, uint8_t fill) {
    const dit_section s = {f->used, bytes};
    memset(f->bytes + f->used, fill, (size_t)bytes);
    f->used = (f->used + bytes + DIT_ALIGNMENT - 1) / DIT_ALIGNMENT * DIT_ALIGNMENT;
    return bytes == 0 ? (dit_section){0, 0} : s;
}

static dit_section core_floats(core_file* f, uint32_t count, float value) {
    const dit_section s = core_section(f, count * sizeof(float), 0);
    for (uint32_t i = 0; i < count; i++) memcpy(f->bytes + s.offset + i * sizeof value, &value, sizeof value);
    return s;
}

static dit_file_layer* core_dense(core_file* f, uint32_t number, const char* name, uint32_t outputs, uint32_t inputs, uint32_t kernel_size) {
    dit_file_layer* l = &f->layers[number];
    memcpy(l->name, name, strlen(name));
    l->outputs = outputs;
    l->inputs = inputs;
    l->kernel_size = kernel_size;
    l->element = number % 2 == 0 ? DIT_F32 : DIT_F16;
    const uint32_t taps = kernel_size != 0 ? kernel_size * kernel_size : 1;
    l->weight = core_section(f, (uint64_t)taps * outputs * inputs * (l->element == DIT_F32 ? 4 : 2), 0x11);
    l->bias = core_floats(f, number == LAYER_LABELS ? 0 : outputs, 0.25f);
    return l;
}

static void core_groups(core_file* f, dit_file_layer* l, uint32_t bits, uint32_t group_size, uint32_t activation_group) {
    const uint32_t groups = (l->inputs + group_size - 1) / group_size;
    l->format = DIT_FORMAT_GROUP;
    l->bits = bits;
    l->group_size = group_size;
    l->activation_group = activation_group;
    l->weight = core_section(f, l->outputs * ((l->inputs * bits + 7) / 8), 0x35);
    l->scales = core_section(f, 2 * l->outputs * groups, 0x2c);
    l->zeros = core_section(f, (l->outputs * groups * bits + 7) / 8, 0x44);
}

// 5 codewords of 3 bits: codes 5 to 7 do not exist. All codes are 1: 0b001001.
static void core_codebook(core_file* f, dit_file_layer* l) {
    l->format = DIT_FORMAT_CODEBOOK;
    l->bits = 3;
    l->vector_length = 4;
    l->codebook_size = 5;
    l->parts = 2;
    l->activation_group = 8;
    l->integer_scale = 0.01f;
    l->weight = core_section(f, l->outputs * ((l->inputs / 4 * 3 + 7) / 8), 0x09);
    l->scales = core_section(f, 2 * l->outputs, 0x3c);
    l->codebook = core_section(f, 2 * 2 * 5 * 4, 0x22);
}

static void core_product(core_file* f, dit_file_layer* l) {
    const uint32_t books = l->inputs / 2;
    l->format = DIT_FORMAT_PRODUCT;
    l->bits = 2;
    l->vector_length = 2;
    l->codebook_size = 4;
    l->parts = 1;
    l->pool_size = 3;
    l->weight = core_section(f, l->outputs * ((books * 2 + 7) / 8), 0x1b);
    l->codebook = core_section(f, 2 * 3 * 2, 0x22);
    l->table = core_section(f, books * 4 * 2, 0);
}

static void core_model(core_file* f) {
    const uint32_t hidden = 8, mlp = 16;
    core_dense(f, LAYER_PATCH, "x_embedder.proj", hidden, 4, 0);
    core_dense(f, LAYER_T0, "t_embedder.mlp.0", hidden, 4, 0);
    core_dense(f, LAYER_T2, "t_embedder.mlp.2", hidden, hidden, 0);
    core_dense(f, LAYER_LABELS, "y_embedder.embedding_table", 3 + 1, hidden, 0);
    core_dense(f, LAYER_ADALN, "blocks.0.adaLN_modulation.1", 6 * hidden, hidden, 0);
    core_product(f, core_dense(f, LAYER_QKV, "blocks.0.attn.qkv", 3 * hidden, hidden, 0));
    core_groups(f, core_dense(f, LAYER_PROJ, "blocks.0.attn.proj", hidden, hidden, 0), 3, 8, 0);
    dit_file_layer* fc1 = core_dense(f, LAYER_FC1, "blocks.0.mlp.fc1", mlp, hidden, 0);
    core_groups(f, fc1, 4, 3, 3);
    fc1->static_scales = core_floats(f, 3, 0.1f);
    fc1->static_zeros = core_section(f, 3, 7);
    core_codebook(f, core_dense(f, LAYER_FC2, "blocks.0.mlp.fc2", hidden, mlp, 0));
    core_dense(f, LAYER_FINAL_ADALN, "final_layer.adaLN_modulation.1", 2 * hidden, hidden, 0);
    core_dense(f, LAYER_FINAL, "final_layer.linear", 8, hidden, 0);
}

static void core_decoder(core_file* f) {
    const dit_file_tensor tensors[] = {{4, 4, 1, 0}, {8, 8, 4, 0}, {8, 8, 12, 0}, {8, 8, 4, 0}, {8, 8, 3, 0}};
    memcpy(f->tensors, tensors, sizeof tensors);
    core_dense(f, LAYER_CONV_IN, "decoder.conv_in", 4, 1, 3);
    core_dense(f, LAYER_ATTEND, "decoder.qkv", 12, 4, 0);
    core_dense(f, LAYER_ADD, "decoder.out", 4, 4, 0);
    core_dense(f, LAYER_CONV_OUT, "decoder.conv_out", 3, 4, 3);
    const dit_section gamma = core_floats(f, 4, 1), beta = core_floats(f, 4, 0);
    const dit_file_operation operations[] = {
        {.kind = DIT_OP_CONVOLUTION, .input = 0, .output = 1, .residual = DIT_NONE, .layer = LAYER_CONV_IN, .activation = DIT_ACT_SILU, .upsamples = 1},
        {.kind = DIT_OP_GROUP_NORM, .input = 1, .output = 1, .residual = DIT_NONE, .groups = 2, .epsilon = 1e-6f, .gamma = gamma, .beta = beta},
        {.kind = DIT_OP_LINEAR, .input = 1, .output = 2, .residual = DIT_NONE, .layer = LAYER_ATTEND},
        {.kind = DIT_OP_ATTENTION, .input = 2, .output = 3, .residual = DIT_NONE, .heads = 1},
        {.kind = DIT_OP_LINEAR, .input = 3, .output = 1, .residual = 1, .layer = LAYER_ADD},
        {.kind = DIT_OP_CONVOLUTION, .input = 1, .output = 4, .residual = DIT_NONE, .layer = LAYER_CONV_OUT},
    };
    memcpy(f->operations, operations, sizeof operations);
}

static void core_header(core_file* f) {
    *f->header = (dit_file_header){
        .version = DIT_FILE_VERSION, .header_bytes = sizeof(dit_file_header),
        .input_size = 4, .patch_size = 2, .in_channels = 1, .out_channels = 2, .hidden_size = 8, .depth = 1, .head_count = 2, .mlp_size = 16, .class_count = 3,
        .frequency_size = 4, .guided_channels = 1, .attention_epsilon = 1e-6f, .mlp_epsilon = 1e-6f, .final_epsilon = 1e-6f,
        .max_batch = 4, .default_steps = 10, .table_rows = 40, .default_spacing = DIT_SPACING_LEADING, .default_guidance = 4,
        .decoder_kind = DIT_DECODER_TINY, .tile_size = 4, .upscale = 2, .image_channels = 3, .scaling_factor = 1, .decoder_input = 0, .decoder_output = 4,
        .layer_count = LAYER_COUNT, .tensor_count = 5, .operation_count = 6,
    };
    memcpy(f->header->magic, DIT_FILE_MAGIC, 8);
}

static core_file core_make(void) {
    static const char names[] = "grey\0white\0";  // and the end of the text: three names, the last one empty
    core_file f = {0};
    f.bytes = core_room(FILE_ROOM);
    f.header = (dit_file_header*)(void*)f.bytes;
    core_header(&f);
    f.used = (sizeof *f.header + 63) / 64 * 64;
    f.header->layers = core_section(&f, LAYER_COUNT * sizeof(dit_file_layer), 0);
    f.header->tensors = core_section(&f, 5 * sizeof(dit_file_tensor), 0);
    f.header->operations = core_section(&f, 6 * sizeof(dit_file_operation), 0);
    f.layers = (dit_file_layer*)(void*)(f.bytes + f.header->layers.offset);
    f.tensors = (dit_file_tensor*)(void*)(f.bytes + f.header->tensors.offset);
    f.operations = (dit_file_operation*)(void*)(f.bytes + f.header->operations.offset);
    core_model(&f);
    core_decoder(&f);
    f.header->positions = core_floats(&f, 4 * 8, 0.5f);
    f.header->frequencies = core_floats(&f, 2, 1);
    f.header->class_names = core_section(&f, sizeof names, 0);
    memcpy(f.bytes + f.header->class_names.offset, names, sizeof names);
    f.header->file_bytes = f.used;
    return f;
}
