// What the "cpu" engine works in: every buffer, its shape, and how large they are together. Letters: B samples (rows of a batch), T tokens,
// H hidden size, M of the MLP, C channels, S side of the latent, R rows of the modulation table. check.c has seen to it that a buffer's values
// can be counted in 31 bits, so that no sum of sizes here can pass 64.
//
// A layout is run twice: without memory, to count bytes, and over the block that is then allocated, so that sizes and places cannot disagree.
// What a run holds from step to step comes first; conditioning, a pass and decoding take turns in what follows it.

#include "internal.h"

// A tile of a product reads whole tiles of rows: no more than so many past the last.
#define DIT_PADDING_ROWS 16u

typedef struct dit_arena {
    uint8_t* base;  // null while bytes are counted
    uint64_t used;
} dit_arena;

// What layers read: floats, codes or both, as they ask.
typedef struct dit_input {
    float* values;          // [rows, length] or null
    uint8_t* codes;         // [rows + 16, length rounded up to 4] or null
    float* scales;          // [most groups, rows + 16]
    int32_t *zeros, *sums;  // likewise
    uint64_t code_bytes;
    int32_t length;
} dit_input;

enum { DIT_PART_REQUEST, DIT_PART_LAYERS, DIT_PART_THREADS, DIT_PART_RUN, DIT_PART_CONDITIONING, DIT_PART_PASS, DIT_PART_DECODING, DIT_PART_COUNT };

typedef struct dit_cpu {
    const dit_ops* ops;
    dit_pool* pool;
    dit_layer* layers;  // as the file lists them
    uint32_t open_layers;
    uint64_t bytes[DIT_PART_COUNT];
    char description[96];

    void* memory;
    int32_t token_count, table_rows, patch_length;  // T, R, values of a patch: C·p·p

    // Held through a run.
    dit_batch batch;
    int32_t images, samples;
    int32_t condition_count, window_steps;  // classes of the batch; steps that the table covers at once
    int32_t* conditions;                    // [images + 1]: the classes, then the null class where the run is guided
    int32_t *image_of_sample, *row_of_sample;  // [B]
    int32_t *timesteps, *labels;            // [R]: what each row of the table belongs to
    float* latents;                         // [images, C, S, S]
    float* block_tables;                    // [depth, R, 6H]
    float* final_table;                     // [R, 2H]

    // Conditioning.
    float *features, *timestep_hidden, *timestep, *condition;  // [R, F], [R, H], [R, H], [R, H]

    // A pass.
    float* tokens;      // [B, T, H]: the residual stream
    float* qkv;         // [B, T, 3H]
    float* patches;     // [B, T, p·p·Cout], and at the beginning [B, T, C·p·p]
    float* prediction;  // [B, Cout, S, S]
    float* staging;     // [B, T, M or H]: what is quantized only when all of it is there
    dit_input token_input, hidden_input;

    // Decoding, one tile.
    float** tensors;  // [tensor_count]
    float *row_shares, *column_shares;  // [pixels of a tile's side]
    float* moments;
} dit_cpu;

static dit_rows dit_floats(float* values, int32_t rows, int32_t length) {
    return (dit_rows){.values = values, .rows = rows, .length = length};
}

// ---- where layers lie in the file ----

enum { DIT_PATCH_EMBED, DIT_TIMESTEP_IN, DIT_TIMESTEP_OUT, DIT_LABEL_TABLE, DIT_FIRST_BLOCK };
enum { DIT_BLOCK_MODULATION, DIT_BLOCK_QKV, DIT_BLOCK_PROJECTION, DIT_BLOCK_FC1, DIT_BLOCK_FC2, DIT_BLOCK_LAYERS };

static inline uint32_t dit_final_modulation(const dit_file_header* h) { return DIT_FIRST_BLOCK + DIT_BLOCK_LAYERS * h->depth; }
static inline uint32_t dit_final_linear(const dit_file_header* h) { return dit_final_modulation(h) + 1; }

// ---- sizes ----

static void* dit_take(dit_arena* a, uint64_t bytes) {
    uint8_t* place = a->base ? a->base + a->used : NULL;
    a->used += (bytes + DIT_ALIGNMENT - 1) / DIT_ALIGNMENT * DIT_ALIGNMENT;
    return place;
}

static float* dit_take_floats(dit_arena* a, uint64_t count) { return dit_take(a, count * sizeof(float)); }
static int32_t* dit_take_integers(dit_arena* a, uint64_t count) { return dit_take(a, count * sizeof(int32_t)); }

static uint64_t dit_groups(const dit_file_layer* layer) {
    return (layer->inputs + (uint64_t)layer->activation_group - 1) / layer->activation_group;
}

// The formats that some layers ask for: whether any reads floats, and the most groups where any reads codes.
typedef struct dit_formats {
    bool floats;
    uint64_t most_groups;
} dit_formats;

static void dit_add_format(dit_formats* f, const dit_file_layer* layer) {
    if (layer->activation_group == 0) f->floats = true;
    else if (f->most_groups < dit_groups(layer)) f->most_groups = dit_groups(layer);
}

static void dit_take_input(dit_arena* a, dit_formats f, uint64_t rows, uint64_t length, dit_input* input) {
    input->length = (int32_t)length;
    if (f.floats) input->values = dit_take_floats(a, rows * length);
    if (f.most_groups == 0) return;
    const uint64_t padded = rows + DIT_PADDING_ROWS;
    input->code_bytes = padded * ((length + 3) / 4 * 4);
    input->codes = dit_take(a, input->code_bytes);
    input->scales = dit_take_floats(a, f.most_groups * padded);
    input->zeros = dit_take_integers(a, f.most_groups * padded);
    input->sums = dit_take_integers(a, f.most_groups * padded);
}

// ---- layouts ----

typedef void dit_layout(const dit_context* c, dit_cpu* s, dit_arena* a);

static void dit_lay_out_run(const dit_context* c, dit_cpu* s, dit_arena* a) {
    const dit_file_header* h = c->header;
    // Verification passes two images without guidance, whatever the batch.
    const uint64_t images = h->max_batch < 2 ? 2 : h->max_batch, samples = 2 * images, rows = h->table_rows, hidden = h->hidden_size;
    s->conditions = dit_take_integers(a, images + 1);
    s->image_of_sample = dit_take_integers(a, samples);
    s->row_of_sample = dit_take_integers(a, samples);
    s->timesteps = dit_take_integers(a, rows);
    s->labels = dit_take_integers(a, rows);
    s->latents = dit_take_floats(a, images * dit_latent_count(h));
    s->block_tables = dit_take_floats(a, h->depth * rows * 6 * hidden);
    s->final_table = dit_take_floats(a, rows * 2 * hidden);
    s->tensors = dit_take(a, h->tensor_count * (uint64_t)sizeof(float*));
}

static void dit_lay_out_conditioning(const dit_context* c, dit_cpu* s, dit_arena* a) {
    const uint64_t rows = c->header->table_rows, hidden = c->header->hidden_size;
    s->features = dit_take_floats(a, rows * c->header->frequency_size);
    s->timestep_hidden = dit_take_floats(a, rows * hidden);
    s->timestep = dit_take_floats(a, rows * hidden);
    s->condition = dit_take_floats(a, rows * hidden);
}

static void dit_lay_out_pass(const dit_context* c, dit_cpu* s, dit_arena* a) {
    const dit_file_header* h = c->header;
    const uint64_t samples = 2 * (uint64_t)h->max_batch, rows = samples * dit_token_count(h), hidden = h->hidden_size;
    const uint64_t read = c->layers[DIT_PATCH_EMBED].inputs, written = c->layers[dit_final_linear(h)].outputs;
    dit_formats tokens = {0}, hiddens = {0};
    uint64_t staged = 0;
    for (uint32_t i = 0; i < h->depth; i++) {
        const dit_file_layer* block = c->layers + DIT_FIRST_BLOCK + DIT_BLOCK_LAYERS * i;
        dit_add_format(&tokens, block + DIT_BLOCK_QKV);
        dit_add_format(&tokens, block + DIT_BLOCK_PROJECTION);
        dit_add_format(&tokens, block + DIT_BLOCK_FC1);
        dit_add_format(&hiddens, block + DIT_BLOCK_FC2);
        if (block[DIT_BLOCK_PROJECTION].activation_group != 0 && staged < hidden) staged = hidden;
        if (block[DIT_BLOCK_FC2].activation_group != 0 && block[DIT_BLOCK_FC1].activation_group == 0 && staged < h->mlp_size) staged = h->mlp_size;
    }

    dit_add_format(&tokens, &c->layers[dit_final_linear(h)]);
    s->tokens = dit_take_floats(a, rows * hidden);
    s->qkv = dit_take_floats(a, rows * 3 * hidden);
    s->patches = dit_take_floats(a, rows * (read > written ? read : written));
    s->prediction = dit_take_floats(a, samples * h->out_channels * h->input_size * h->input_size);
    dit_take_input(a, tokens, rows, hidden, &s->token_input);
    dit_take_input(a, hiddens, rows, h->mlp_size, &s->hidden_input);
    s->staging = dit_take_floats(a, rows * staged);
}

static void dit_lay_out_decoding(const dit_context* c, dit_cpu* s, dit_arena* a) {
    const dit_file_header* h = c->header;
    if (h->decoder_kind == DIT_DECODER_PIXELS) return;
    const dit_file_tensor* tensors = dit_at(c, h->tensors);
    const dit_file_operation* operations = dit_at(c, h->operations);
    s->row_shares = dit_take_floats(a, (uint64_t)h->tile_size * h->upscale);
    s->column_shares = dit_take_floats(a, (uint64_t)h->tile_size * h->upscale);
    for (uint32_t i = 0; i < h->tensor_count; i++) {
        float* values = dit_take_floats(a, (uint64_t)tensors[i].height * tensors[i].width * tensors[i].channels);
        if (a->base) s->tensors[i] = values;
    }

    // Sums of each image row, means and factors.
    uint64_t moments = 0;
    for (uint32_t i = 0; i < h->operation_count; i++) {
        if (operations[i].kind != DIT_OP_GROUP_NORM) continue;
        const dit_file_tensor* x = &tensors[operations[i].input];
        const uint64_t needed = ((uint64_t)x->height + 2) * x->channels;
        if (moments < needed) moments = needed;
    }

    s->moments = dit_take_floats(a, moments);
}

// ---- the memory itself ----

static dit_status dit_plan_memory(dit_context* c, dit_cpu* s) {
    static dit_layout* const phases[] = {dit_lay_out_conditioning, dit_lay_out_pass, dit_lay_out_decoding};
    s->token_count = (int32_t)dit_token_count(c->header);
    s->table_rows = (int32_t)c->header->table_rows;
    s->patch_length = (int32_t)c->layers[DIT_PATCH_EMBED].inputs;
    dit_arena arena = {0};
    dit_lay_out_run(c, s, &arena);
    const uint64_t held = arena.used;
    uint64_t shared = 0;
    for (int i = 0; i < 3; i++) {
        dit_arena phase = {0};
        phases[i](c, s, &phase);
        s->bytes[DIT_PART_CONDITIONING + i] = phase.used;
        if (shared < phase.used) shared = phase.used;
    }

    const uint64_t before = c->allocated;
    s->memory = dit_allocate(c, held + shared);
    if (!s->memory) return dit_no_memory(c, held + shared, "a batch and its tables");
    s->bytes[DIT_PART_RUN] = c->allocated - before - shared;
    arena = (dit_arena){.base = s->memory};
    dit_lay_out_run(c, s, &arena);
    for (int i = 0; i < 3; i++) {
        dit_arena phase = {.base = arena.base + held};
        phases[i](c, s, &phase);
    }

    return DIT_OK;
}

static const char* dit_cpu_memory_part(const dit_context* c, uint32_t index, uint64_t* bytes, int* shared) {
    static const char* const names[DIT_PART_COUNT] = {"noise, latents and pixels of a request", "biases and codewords", "scratch of the threads", "latents and modulation of a batch", "conditioning", "sampling", "decoding"};
    if (index >= DIT_PART_COUNT) return NULL;
    *bytes = ((const dit_cpu*)c->state)->bytes[index];
    *shared = index >= DIT_PART_CONDITIONING;
    return names[index];
}

static uint64_t dit_cpu_memory_bytes(const dit_context* c) {
    const uint64_t* bytes = ((const dit_cpu*)c->state)->bytes;
    uint64_t total = 0, shared = 0;
    for (int i = 0; i < DIT_PART_CONDITIONING; i++) total += bytes[i];
    for (int i = DIT_PART_CONDITIONING; i < DIT_PART_COUNT; i++)
        if (shared < bytes[i]) shared = bytes[i];
    return total + shared;
}
