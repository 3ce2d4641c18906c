// The runtime's core without its engines: random numbers, plans, the checks of a file, threads, requests. The engine here is a stand-in that moves
// latents by the steps it is given. Prints nothing and returns 0 where all is well; else a line for each thing that is not, and 1.
#define _POSIX_C_SOURCE 200809L

// The seams name operations that are not here.
#pragma GCC diagnostic ignored "-Wunused-function"

#include "../internal.h"

// The n-th thread from now on that cannot be started; 0: none.
static int s_thread_to_fail;

static int test_pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*run)(void*), void* argument) {
    if (s_thread_to_fail > 0 && --s_thread_to_fail == 0) return 11;
    return pthread_create(thread, attributes, run, argument);
}

#include "../memory.c"
#include "../check.c"
#include "../file.c"
#define pthread_create test_pthread_create
#include "../threads.c"
#undef pthread_create
#include "../sampling.c"
#include "../api.c"
#include "../generate.c"

#include "core_file.h"
#include "core_numbers.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int s_failures;

static bool test_check(bool holds, int line, const char* text) {
    if (holds) return true;
    s_failures++;
    printf("core_test.c:%d: %s\n", line, text);
    return false;
}

#define CHECK(condition) test_check(condition, __LINE__, #condition)

// ---- the stand-in: x ← latent·x + prediction·(label + 1)/10 + σ·noise ----

typedef struct test_engine {
    dit_pool* pool;
    dit_batch batch;
    const dit_step* step;
    const float* noise;
    float* latents;
    uint32_t length;
} test_engine;

static void test_move(void* job, uint32_t image, uint8_t* scratch) {
    test_engine* e = job;
    float* x = e->latents + (size_t)image * e->length;
    memset(scratch, (int)image, 100);
    for (uint32_t i = 0; i < e->length; i++)
        x[i] = e->step->latent * x[i] + e->step->prediction * (float)(e->batch.labels[image] + 1) / 10 + (e->noise ? 0.1f * e->noise[image * e->length + i] : 0);
}

static dit_status test_begin(dit_context* c, const dit_batch* batch) {
    test_engine* e = c->state;
    e->batch = *batch;
    memcpy(e->latents, batch->latents, (size_t)batch->images * e->length * sizeof(float));
    return DIT_OK;
}

static dit_status test_step(dit_context* c, uint32_t step, const float* noise) {
    test_engine* e = c->state;
    e->step = &e->batch.steps[step];
    e->noise = noise;
    return dit_pool_run(c, e->pool, test_move, e, e->batch.images);
}

static dit_status test_read(dit_context* c, float* latents) {
    test_engine* e = c->state;
    memcpy(latents, e->latents, (size_t)e->batch.images * e->length * sizeof(float));
    return DIT_OK;
}

static dit_status test_decode(dit_context* c, const float* latent, float* pixels) {
    for (uint32_t i = 0; i < 8 * 8 * 3; i++) pixels[i] = latent[i % dit_latent_count(c->header)];
    return DIT_OK;
}

static void test_close(dit_context* c) {
    test_engine* e = c->state;
    if (e == NULL) return;
    dit_pool_close(c, e->pool);
    dit_release(c, e->latents);
    dit_release(c, e);
}

static const char* test_describe(const dit_context* c) { return c->state != NULL ? "stand-in" : ""; }
static uint64_t test_memory(const dit_context* c) { return c->allocated; }

static const dit_engine s_engine = {.describe = test_describe, .memory_bytes = test_memory, .begin = test_begin, .step = test_step, .read = test_read, .decode = test_decode, .close = test_close};

static dit_status dit_engine_open(dit_context* c) {
    c->engine = &s_engine;
    test_engine* e = c->state = dit_allocate(c, sizeof *e);
    if (e == NULL) return dit_no_memory(c, sizeof *e, "the engine");
    e->length = dit_latent_count(c->header);
    e->latents = dit_allocate(c, (uint64_t)c->header->max_batch * e->length * sizeof(float));
    if (e->latents == NULL) return dit_no_memory(c, e->length, "latents");
    return dit_pool_open(c, c->threads, 100, &e->pool);
}

// ---- numbers ----

static bool test_near(const float* values, const float* expected, size_t count, float tolerance) {
    for (size_t i = 0; i < count; i++)
        if (!(fabsf(values[i] - expected[i]) <= tolerance)) return false;
    return true;
}

static void test_random(void) {
    // Fewer than 16 agree to the bit; longer ones to 1e-6, because PyTorch approximates their functions.
    dit_random r;
    float values[64];
#define DRAW(expected, tolerance)                     \
    dit_random_normal(&r, values, COUNT(expected)); \
    CHECK(test_near(values, expected, COUNT(expected), tolerance))
    dit_random_seed(&r, 0);
    DRAW(s_seed0_5, 0);
    dit_random_seed(&r, 42);
    DRAW(s_seed42_17, 1e-6f);
    dit_random_seed(&r, UINT64_C(4294967301));
    DRAW(s_seed4294967301_16, 1e-6f);
    dit_random_seed(&r, 3);
    DRAW(s_seed3_a20, 1e-6f);
    DRAW(s_seed3_b7, 0);
    DRAW(s_seed3_c33, 1e-6f);
}

static void test_timesteps(void) {
    dit_context c = {0};
    int32_t t[DIT_TRAINING_STEPS];
    CHECK(dit_timesteps(&c, DIT_SPACING_LINSPACE, 10, false, t) == DIT_OK && memcmp(t, s_timesteps_10, sizeof s_timesteps_10) == 0);
    CHECK(dit_timesteps(&c, DIT_SPACING_LINSPACE, 50, false, t) == DIT_OK && memcmp(t, s_timesteps_50, sizeof s_timesteps_50) == 0);
    CHECK(dit_timesteps(&c, DIT_SPACING_LEADING, 25, false, t) == DIT_OK && memcmp(t, s_timesteps_ddim25, sizeof s_timesteps_ddim25) == 0);
    CHECK(dit_timesteps(&c, DIT_SPACING_LEADING, 60, true, t) == DIT_OK && t[59] == 944);
    CHECK(dit_timesteps(&c, DIT_SPACING_LEADING, 60, false, t) == DIT_INVALID_ARGUMENT && strstr(c.error, "59 and 63") != NULL);
    CHECK(dit_timesteps(&c, DIT_SPACING_TRAILING, 0, false, t) == DIT_INVALID_ARGUMENT);
    CHECK(dit_timesteps(&c, DIT_SPACING_TRAILING, 1001, false, t) == DIT_INVALID_ARGUMENT);
    CHECK(dit_timesteps(&c, (dit_spacing)3, 10, false, t) == DIT_INVALID_ARGUMENT);
}

static void test_plans(void) {
    static dit_step steps[DIT_TRAINING_STEPS];
    dit_file_header h = {.in_channels = 4};
    dit_context c = {.header = &h};
    dit_request r;
    dit_request_init(&r);
    for (size_t i = 0; i < COUNT(s_plans); i++) {
        const plan_number* p = &s_plans[i];
        h.out_channels = p->learned ? 8 : 4;
        h.single_schedule = p->single;
        r.sampler = (dit_sampler)p->sampler;
        r.spacing = (dit_spacing)p->spacing;
        r.eta = p->eta;
        if (!CHECK(dit_make_plan(&c, &r, p->count, steps) == DIT_OK)) continue;
        const dit_step* s = &steps[p->step];
        CHECK(s->timestep == p->timestep && s->latent == p->latent && s->prediction == p->prediction && s->sigma == p->sigma &&
              s->min_log_variance == p->min_log_variance && s->max_log_variance == p->max_log_variance && s->learned_variance == (p->min_log_variance != 0));
        CHECK(dit_step_needs_noise(s) == (p->sigma != 0 || p->min_log_variance != 0));
    }

    r.sampler = DIT_SAMPLER_DDPM;
    r.eta = 0.5;
    CHECK(dit_make_plan(&c, &r, 50, steps) == DIT_INVALID_ARGUMENT);
    r.sampler = DIT_SAMPLER_DDIM;
    r.eta = NAN;
    CHECK(dit_make_plan(&c, &r, 50, steps) == DIT_INVALID_ARGUMENT);
    r.eta = 1.5;
    CHECK(dit_make_plan(&c, &r, 50, steps) == DIT_INVALID_ARGUMENT);
    r.eta = 0;
    r.sampler = (dit_sampler)2;
    CHECK(dit_make_plan(&c, &r, 50, steps) == DIT_INVALID_ARGUMENT);
}

static void test_pixels(void) {
    const float values[] = {-1.1f, -1.0f, 0.0f, 0.5f, 0.99999f, 1.0f, 7.0f, NAN, INFINITY, -INFINITY};
    const uint8_t truncated[] = {0, 0, 128, 191, 255, 255, 255, 0, 255, 0}, nearest[] = {0, 0, 128, 191, 255, 255, 255, 0, 255, 0};
    uint8_t bytes[COUNT(values)];
    dit_to_bytes(values, COUNT(values), false, bytes);
    CHECK(memcmp(bytes, truncated, sizeof bytes) == 0);
    dit_to_bytes(values, COUNT(values), true, bytes);
    CHECK(memcmp(bytes, nearest, sizeof bytes) == 0);
    // Halves round to even: 0.5·255 is 127.5, and (1/255)/2 + 1/2 is 128.
    const float half[] = {-1.0f / 255, 1.0f / 255};
    dit_to_bytes(half, 2, true, bytes);
    CHECK(bytes[0] == 127 && bytes[1] == 128);
}

// ---- hostile files ----

static dit_status test_look(dit_context* c, core_file* f, uint64_t bytes) {
    memset(c, 0, sizeof *c);
    c->file = f->bytes;
    c->file_bytes = bytes;
    return dit_file_check(c);
}

// A field that is not what it should be, and what the refusal has to name.
typedef struct test_spoil {
    void* field;
    uint32_t value;
    const char* named;
} test_spoil;

static void test_hostile_fields(core_file* f) {
    dit_file_header* h = f->header;
    dit_file_layer* l = f->layers;
    dit_file_tensor* t = f->tensors;
    dit_file_operation* o = f->operations;
    const uint32_t nan_bits = 0x7fc00000, huge = 0xfffffff0u;
    const test_spoil spoils[] = {
        {h->magic, 0, "no weights file"}, {&h->version, 2, "version"}, {&h->header_bytes, 8, "version"}, {&h->file_bytes, 64, "cut short"}, {&h->target, 1, "target"},
        {&h->input_size, 0, "input_size"}, {&h->input_size, 5, "patch_size"}, {&h->input_size, huge, "input_size"}, {&h->patch_size, 0, "patch_size"},
        {&h->patch_size, 1, "x_embedder.proj"}, {&h->in_channels, 0, "in_channels"}, {&h->in_channels, 2, "x_embedder"}, {&h->out_channels, 3, "out_channels"},
        {&h->hidden_size, 0, "hidden_size"}, {&h->hidden_size, huge, "hidden_size"}, {&h->hidden_size, 10, "x_embedder.proj"}, {&h->depth, 0, "depth"},
        {&h->depth, 2, "layer_count"}, {&h->depth, huge, "depth"}, {&h->head_count, 0, "head_count"}, {&h->head_count, 3, "head_count"}, {&h->mlp_size, 0, "mlp_size"},
        {&h->mlp_size, 15, "blocks.0.mlp.fc1"}, {&h->class_count, 0, "class_count"}, {&h->class_count, 2, "class_names"}, {&h->frequency_size, 3, "frequency_size"},
        {&h->frequency_size, 6, "t_embedder.mlp.0"}, {&h->single_schedule, 2, "single_schedule"}, {&h->guided_channels, 2, "guided_channels"},
        {&h->round_nearest, 2, "round_nearest"}, {&h->attention_epsilon, nan_bits, "epsilon"}, {&h->max_batch, 0, "max_batch"}, {&h->max_batch, huge, "max_batch"},
        {&h->default_steps, 0, "default_steps"}, {&h->default_steps, 1001, "default_steps"}, {&h->table_rows, 3, "table_rows"}, {&h->table_rows, huge, "table_rows"},
        {&h->default_sampler, 2, "default_sampler"}, {&h->default_spacing, 3, "default_spacing"}, {&h->default_guidance, nan_bits, "default_guidance"},
        {&h->decoder_kind, 3, "decoder_kind"}, {&h->decoder_kind, 0, "pixels"}, {&h->tile_size, 0, "tile_size"}, {&h->tile_size, 5, "tile_size"},
        {&h->tile_size, 2, "tile_size"}, {&h->upscale, 0, "upscale"}, {&h->upscale, 1, "decoder_output"}, {&h->image_channels, 2, "image_channels"},
        {&h->image_channels, 1, "decoder_output"}, {&h->scaling_factor, 0, "scaling_factor"}, {&h->shift_factor, nan_bits, "shift_factor"},
        {&h->decoder_input, 9, "decoder_input"}, {&h->decoder_output, huge, "decoder_output"}, {&h->layer_count, 10, "layer_count"}, {&h->layer_count, 14, "section layers"},
        {&h->tensor_count, 4, "section tensors"}, {&h->tensor_count, huge, "tensor_count"}, {&h->operation_count, 7, "section operations"},
        {&h->layers.offset, 32, "section layers"}, {&h->positions.bytes, 64, "section positions"}, {&h->frequencies.offset, FILE_ROOM, "section frequencies"},
        {&h->class_names.bytes, 5, "class_names"}, {&h->class_names.offset, 1u << 31, "class_names"},
        {&l[LAYER_PATCH].outputs, 0, "x_embedder.proj"}, {&l[LAYER_PATCH].inputs, huge, "x_embedder.proj"}, {&l[LAYER_PATCH].format, 4, "format"},
        {&l[LAYER_PATCH].element, 3, "x_embedder.proj"}, {&l[LAYER_PATCH].element, 1, "section weight"}, {&l[LAYER_PATCH].activation_group, 4, "x_embedder.proj"},
        {&l[LAYER_PATCH].kernel_size, 1, "x_embedder.proj"}, {&l[LAYER_PATCH].bias.bytes, 4, "section bias"}, {&l[LAYER_PATCH].bias.offset, huge, "section bias"},
        {&l[LAYER_PATCH].weight.bytes, 0, "section weight"}, {&l[LAYER_PATCH].weight.offset, 1, "section weight"}, {&l[LAYER_PATCH].scales.bytes, 64, "section scales"},
        {l[LAYER_T0].name, 0x0a6f6f66, "layer 1"}, {&l[LAYER_PROJ].bits, 7, "blocks.0.attn.proj"}, {&l[LAYER_PROJ].bits, 4, "section weight"},
        {&l[LAYER_PROJ].group_size, 0, "blocks.0.attn.proj"}, {&l[LAYER_PROJ].group_size, 9, "blocks.0.attn.proj"}, {&l[LAYER_PROJ].group_size, 4, "section scales"},
        {&l[LAYER_PROJ].activation_group, 4, "blocks.0.attn.proj"}, {&l[LAYER_PROJ].zeros.bytes, 4, "section zeros"}, {&l[LAYER_PROJ].table.bytes, 4, "section table"},
        {&l[LAYER_PROJ].kernel_size, 3, "convolution"}, {&l[LAYER_FC1].static_scales.bytes, 8, "static_scales"}, {&l[LAYER_FC1].static_zeros.bytes, 0, "static_zeros"},
        {&l[LAYER_FC1].activation_group, 0, "static_scales"}, {f->bytes + l[LAYER_FC1].static_scales.offset, nan_bits, "static_scales[0]"},
        {f->bytes + l[LAYER_FC1].static_scales.offset + 8, 0, "static_scales[2]"}, {&l[LAYER_FC2].codebook_size, 1, "fc2"}, {&l[LAYER_FC2].codebook_size, 70000, "fc2"},
        {&l[LAYER_FC2].codebook_size, 9, "bits"}, {&l[LAYER_FC2].codebook_size, 4, "bits"}, {&l[LAYER_FC2].codebook_size, 6, "section codebook"},
        {&l[LAYER_FC2].bits, 0, "bits"}, {&l[LAYER_FC2].bits, 33, "bits"}, {&l[LAYER_FC2].vector_length, 0, "fc2"}, {&l[LAYER_FC2].vector_length, 3, "fc2"},
        {&l[LAYER_FC2].vector_length, 16, "fc2"}, {&l[LAYER_FC2].parts, 0, "parts"}, {&l[LAYER_FC2].parts, 3, "parts"}, {&l[LAYER_FC2].pool_size, 4, "pool"},
        {&l[LAYER_FC2].activation_group, 6, "groups of its input"}, {&l[LAYER_FC2].activation_group, 32, "groups of its input"},
        {&l[LAYER_FC2].integer_scale, nan_bits, "integer_scale"}, {&l[LAYER_FC2].integer_scale, 0, "integer_scale"},
        {f->bytes + l[LAYER_FC2].weight.offset, 0x0e00, "code 7 in row 0"}, {f->bytes + l[LAYER_FC2].weight.offset + 12, 0x0a000000u, "code 5 in row 7"},
        {&l[LAYER_QKV].parts, 3, "parts"}, {&l[LAYER_QKV].pool_size, 17, "pool"}, {&l[LAYER_QKV].pool_size, 2, "section codebook"}, {&l[LAYER_QKV].wide_table, 1, "pool"},
        {&l[LAYER_QKV].pool_size, 0, "section codebook"}, {f->bytes + l[LAYER_QKV].table.offset + 28, 0x00030000, "table holds 3"},
        {&t[1].height, 0, "tensor 1"}, {&t[1].width, huge, "tensor 1"}, {&t[1].channels, huge, "tensor 1"}, {&t[2].channels, 9, "operation 2"}, {&t[4].height, 9, "operation 5"},
        {&o[0].kind, 4, "operation 0"}, {&o[0].input, 5, "operation 0"}, {&o[0].input, 1, "operation 0"}, {&o[0].output, huge, "operation 0"}, {&o[0].layer, 0, "operation 0"},
        {&o[0].layer, LAYER_ATTEND, "operation 0"}, {&o[0].layer, LAYER_COUNT, "operation 0"}, {&o[0].residual, 0, "residual"}, {&o[0].residual, 77, "operation 0"},
        {&o[0].activation, 4, "activation"}, {&o[0].upsamples, 2, "operation 0"}, {&o[0].upsamples, 0, "operation 0"}, {&o[1].groups, 0, "operation 1"},
        {&o[1].groups, 3, "operation 1"}, {&o[1].epsilon, nan_bits, "epsilon"}, {&o[1].gamma.bytes, 12, "section gamma"}, {&o[1].beta.offset, huge, "section beta"},
        {&o[1].output, 2, "operation 1"}, {&o[2].layer, LAYER_CONV_IN, "operation 2"}, {&o[2].residual, 1, "operation 2"}, {&o[2].output, 1, "operation 2"},
        {&o[3].heads, 0, "operation 3"}, {&o[3].heads, 3, "operation 3"}, {&o[3].output, 2, "operation 3"}, {&o[3].input, 1, "operation 3"}, {&o[4].residual, 3, "operation 4"},
    };
    dit_context c;
    CHECK(test_look(&c, f, f->used) == DIT_OK);
    for (size_t i = 0; i < COUNT(spoils); i++) {
        uint32_t before;
        memcpy(&before, spoils[i].field, sizeof before);
        memcpy(spoils[i].field, &spoils[i].value, sizeof before);
        const dit_status status = test_look(&c, f, f->used);
        if (!CHECK(status == DIT_BAD_FILE && strstr(c.error, spoils[i].named) != NULL))
            printf("  spoil %zu, value %u: %s, expected \"%s\", found \"%s\"\n", i, spoils[i].value, dit_status_name(status), spoils[i].named, c.error);
        memcpy(spoils[i].field, &before, sizeof before);
    }

    CHECK(test_look(&c, f, f->used) == DIT_OK);
}

// Whatever bits turn over: a status, and nothing read outside (the sanitizer watches).
static void test_hostile_bits(core_file* f) {
    core_file copy = {.bytes = core_room(f->used), .used = f->used};
    dit_context c;
    const uint64_t end = (uint8_t*)(f->operations + 6) - f->bytes;
    uint32_t random = 1;
    memcpy(copy.bytes, f->bytes, f->used);
    for (int i = 0; i < 200000; i++) {
        uint64_t at[3];
        for (int j = 0; j < 3; j++) {
            random = random * 1664525u + 1013904223u;
            at[j] = (random >> 8) % end;
            copy.bytes[at[j]] ^= (uint8_t)(1u << (random >> 5 & 7));
            if (i % 2 == 0) copy.bytes[at[j]] = (uint8_t)(random >> 3 & 1 ? 0xff : 0);
        }

        const dit_status status = test_look(&c, &copy, copy.used);
        if (status != DIT_OK && status != DIT_BAD_FILE) CHECK(false);
        if (status == DIT_BAD_FILE && c.error[0] == 0) CHECK(false);
        for (int j = 0; j < 3; j++) copy.bytes[at[j]] = f->bytes[at[j]];
    }

    free(copy.bytes);
}

// ---- requests ----

typedef struct test_memory_state {
    uint32_t calls, fail_at;  // 0: none fails
    int64_t live;
} test_memory_state;

static void* test_allocate(void* user, size_t bytes) {
    test_memory_state* m = user;
    if (++m->calls == m->fail_at) return NULL;
    m->live++;
    // Neither aligned nor zeroed.
    uint8_t* block = malloc(bytes + 24);
    memset(block, 0xa5, bytes + 24);
    return block + 24;
}

static void test_release(void* user, void* block) {
    ((test_memory_state*)user)->live--;
    free((uint8_t*)block - 24);
}

static const char* s_path;
static const int32_t s_labels[] = {0, 2, 1, 1, 0, 2, 2};

static dit_options test_options(test_memory_state* memory, char* error, size_t capacity) {
    dit_options o;
    dit_options_init(&o);
    o.threads = 3;
    o.error = error;
    o.error_capacity = capacity;
    if (memory != NULL) o.allocator = (dit_allocator){test_allocate, test_release, memory};
    return o;
}

static dit_request test_request(uint32_t count) {
    dit_request r;
    dit_request_init(&r);
    r.count = count;
    r.labels = s_labels;
    r.seed = 5;
    r.sampler = DIT_SAMPLER_DDPM;
    r.spacing = DIT_SPACING_LINSPACE;
    r.guidance_scale = 4;
    return r;
}

static void test_batches(void) {
    char error[200] = "";
    dit_options o = test_options(NULL, error, sizeof error);
    dit_context* c = NULL;
    if (!CHECK(dit_open(s_path, &o, &c) == DIT_OK)) {
        printf("  %s\n", error);
        return;
    }

    dit_info info;
    dit_info_init(&info);
    CHECK(dit_get_info(c, &info) == DIT_OK && info.image_size == 8 && info.image_channels == 3 && info.latent_size == 4 && info.class_count == 3 && info.token_count == 4 &&
          info.max_batch == 4 && info.default_steps == 10 && info.default_guidance == 4 && info.memory_bytes == c->allocated);
    CHECK(strcmp(dit_class_name(c, 0), "grey") == 0 && strcmp(dit_class_name(c, 1), "white") == 0 && strcmp(dit_class_name(c, 2), "") == 0 && strcmp(dit_class_name(c, 3), "") == 0);

    // An image depends neither on its batch nor on the threads.
    dit_image together[7], alone[7];
    dit_request r = test_request(7);
    const uint64_t before = c->allocated;
    CHECK(dit_generate(c, &r, together) == DIT_OK);
    r.batch = 3;
    o.threads = 1;
    dit_context* single = NULL;
    CHECK(dit_open(s_path, &o, &single) == DIT_OK && dit_generate(single, &r, alone) == DIT_OK);
    for (int i = 0; i < 7; i++) CHECK(memcmp(together[i].latent, alone[i].latent, 16 * sizeof(float)) == 0 && memcmp(together[i].pixels, alone[i].pixels, 192) == 0);
    CHECK(memcmp(together[0].latent, together[4].latent, 16 * sizeof(float)) != 0);
    dit_free_images(single, alone, 7);
    r.count = 1;
    r.seed = 9;
    r.labels = s_labels + 4;
    CHECK(dit_generate(single, &r, alone) == DIT_OK && memcmp(together[4].latent, alone[0].latent, 16 * sizeof(float)) == 0);
    dit_free_images(single, alone, 1);
    dit_close(single);
    dit_free_images(c, together, 7);
    CHECK(together[3].pixels == NULL && together[3].latent == NULL && together[3].width == 0 && c->allocated == before);
    dit_close(c);
}

static bool test_is_zero(const dit_image* images, size_t count) {
    const uint8_t* bytes = (const uint8_t*)images;
    for (size_t i = 0; i < count * sizeof *images; i++)
        if (bytes[i] != 0) return false;
    return true;
}

static void test_arguments(void) {
    dit_options o = test_options(NULL, NULL, 0);
    dit_context* c = (dit_context*)&o;
    char error[200] = "";
    CHECK(dit_open(s_path, NULL, &c) == DIT_INVALID_ARGUMENT && c == NULL);
    CHECK(dit_open(s_path, &o, NULL) == DIT_INVALID_ARGUMENT);
    CHECK(dit_open(NULL, &o, &c) == DIT_INVALID_ARGUMENT);
    const uint32_t sizes[] = {0, 4, sizeof o - 1, sizeof o + 1, 0xffffffffu};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        o.struct_size = sizes[i];
        CHECK(dit_open(s_path, &o, &c) == DIT_INVALID_ARGUMENT && c == NULL);
    }

    o = test_options(NULL, error, 12);
    CHECK(dit_open("/no/such/file", &o, &c) == DIT_ERROR && c == NULL && strlen(error) == 11);
    CHECK(dit_open("/", &o, &c) == DIT_ERROR && c == NULL);
    o.threads = 100000;
    CHECK(dit_open(s_path, &o, &c) == DIT_INVALID_ARGUMENT);
    o = test_options(NULL, NULL, 0);
    o.simd = (dit_simd)99;
    CHECK(dit_open(s_path, &o, &c) == DIT_INVALID_ARGUMENT);
    o = test_options(NULL, NULL, 0);
    o.allocator.allocate = test_allocate;
    CHECK(dit_open(s_path, &o, &c) == DIT_INVALID_ARGUMENT);
    o = test_options(NULL, NULL, 0);
    o.max_memory = 4096;
    CHECK(dit_open(s_path, &o, &c) == DIT_OUT_OF_MEMORY && c == NULL);

    o = test_options(NULL, NULL, 0);
    CHECK(dit_open(s_path, &o, &c) == DIT_OK);
    dit_info info = {.struct_size = 8};
    CHECK(dit_get_info(c, &info) == DIT_INVALID_ARGUMENT && dit_get_info(c, NULL) == DIT_INVALID_ARGUMENT && dit_get_info(NULL, &info) == DIT_INVALID_ARGUMENT);
    dit_image images[4];
    dit_request good = test_request(4), r = good;
    CHECK(dit_generate(NULL, &r, images) == DIT_INVALID_ARGUMENT && dit_generate(c, NULL, images) == DIT_INVALID_ARGUMENT && dit_generate(c, &r, NULL) == DIT_INVALID_ARGUMENT);
    r.struct_size = 16;
    CHECK(dit_generate(c, &r, images) == DIT_INVALID_ARGUMENT);
    const int32_t wrong_labels[][4] = {{0, 1, 2, 3}, {0, -1, 0, 0}};
#define REFUSED(change)                                                                                            \
    r = good;                                                                                                      \
    change;                                                                                                        \
    memset(images, 0xee, sizeof images);                                                                           \
    CHECK(dit_generate(c, &r, images) == DIT_INVALID_ARGUMENT && dit_last_error(c)[0] != 0 && test_is_zero(images, 4))
    REFUSED(r.labels = NULL);
    REFUSED(r.labels = wrong_labels[0]);
    REFUSED(r.labels = wrong_labels[1]);
    REFUSED(r.guidance_scale = NAN);
    REFUSED(r.guidance_scale = -1);
    REFUSED(r.guidance_scale = INFINITY);
    REFUSED(r.batch = 5);
    REFUSED(r.steps = 1001);
    REFUSED(r.eta = 0.1);
    REFUSED(r.spacing = DIT_SPACING_LEADING; r.steps = 60);
    r = good;
    r.count = 0;
    CHECK(dit_generate(c, &r, images) == DIT_INVALID_ARGUMENT);
    r.count = 0xffffffffu;
    CHECK(dit_generate(c, &r, images) == DIT_INVALID_ARGUMENT);
    CHECK(dit_generate(c, &good, images) == DIT_OK && dit_last_error(c)[0] == 0);
    dit_free_images(c, images, 4);
    dit_free_images(c, NULL, 4);
    dit_free_images(NULL, images, 4);
    dit_close(c);
    dit_close(NULL);
    dit_cancel(NULL);
}

typedef struct test_stop {
    dit_context* context;
    uint32_t calls, total, stop_at, cancel_at;
    bool ordered;
} test_stop;

static int test_progress(void* user, uint32_t done, uint32_t total) {
    test_stop* s = user;
    s->ordered = s->ordered && done == ++s->calls;
    s->total = total;
    if (done == s->cancel_at) dit_cancel(s->context);
    return done == s->stop_at;
}

static void test_cancel(void) {
    test_memory_state memory = {0};
    dit_options o = test_options(&memory, NULL, 0);
    dit_context* c = NULL;
    if (!CHECK(dit_open(s_path, &o, &c) == DIT_OK)) return;
    const int64_t live = memory.live;
    dit_image images[6];
    dit_request r = test_request(6);
    r.progress = test_progress;
    // Two batches of 10 steps and 6 images.
    for (uint32_t at = 1; at <= 26; at++) {
        test_stop s = {.context = c, .stop_at = at, .ordered = true};
        r.progress_user = &s;
        CHECK(dit_generate(c, &r, images) == DIT_CANCELLED && s.calls == at && s.total == 26 && s.ordered && test_is_zero(images, 6) && memory.live == live);
        s = (test_stop){.context = c, .cancel_at = at, .ordered = true};
        // What is done already when the last image is reported is not undone.
        const dit_status status = dit_generate(c, &r, images);
        CHECK(status == (at < 26 ? DIT_CANCELLED : DIT_OK) && s.calls == at);
        if (status == DIT_OK) dit_free_images(c, images, 6);
        CHECK(memory.live == live && test_is_zero(images, 6));
    }

    // The next run is cancelled where none is going on; a refused request is no run.
    dit_cancel(c);
    r.progress = NULL;
    r.labels = NULL;
    CHECK(dit_generate(c, &r, images) == DIT_INVALID_ARGUMENT);
    r.labels = s_labels;
    CHECK(dit_generate(c, &r, images) == DIT_CANCELLED && test_is_zero(images, 6));
    CHECK(dit_generate(c, &r, images) == DIT_OK);
    dit_free_images(c, images, 6);
    dit_close(c);
    CHECK(memory.live == 0);
}

static dit_status test_whole(test_memory_state* memory) {
    char error[300] = "";
    dit_options o = test_options(memory, error, sizeof error);
    dit_context* c = NULL;
    dit_image images[6];
    dit_status status = dit_open(s_path, &o, &c);
    CHECK((status == DIT_OK) == (c != NULL) && (status == DIT_OK) == (error[0] == 0));
    if (status != DIT_OK) return status;
    const dit_request r = test_request(6);
    status = dit_generate(c, &r, images);
    CHECK((status == DIT_OK) == (dit_last_error(c)[0] == 0) && (status == DIT_OK || test_is_zero(images, 6)));
    dit_free_images(c, images, 6);
    dit_close(c);
    return status;
}

static void test_out_of_memory(void) {
    test_memory_state whole = {0};
    CHECK(test_whole(&whole) == DIT_OK && whole.live == 0 && whole.calls > 20);
    for (uint32_t n = 1; n <= whole.calls; n++) {
        test_memory_state m = {.fail_at = n};
        CHECK(test_whole(&m) == DIT_OUT_OF_MEMORY && m.live == 0);
    }

    for (int n = 1; n <= 3; n++) {
        test_memory_state m = {0};
        s_thread_to_fail = n;
        CHECK(test_whole(&m) == (n < 3 ? DIT_ERROR : DIT_OK) && m.live == 0);
        s_thread_to_fail = 0;
    }
}

// ---- the pool ----

typedef struct test_sum {
    dit_context* context;
    uint32_t cancel_at;
    uint32_t counts[64];
} test_sum;

static void test_count(void* job, uint32_t task, uint8_t* scratch) {
    test_sum* s = job;
    memset(scratch, 1, 1000);
    if (task == s->cancel_at) dit_cancel(s->context);
    __atomic_add_fetch(&s->counts[task], 1, __ATOMIC_RELAXED);
}

static void test_pool(void) {
    for (uint32_t threads = 1; threads <= 5; threads += 2) {
        dit_context c = {.threads = threads};
        dit_pool* pool = NULL;
        if (!CHECK(dit_pool_open(&c, threads, 1000, &pool) == DIT_OK)) return;
        test_sum s = {.context = &c, .cancel_at = DIT_NONE};
        uint32_t expected[64] = {0};
        for (uint32_t job = 0; job < 3000; job++) {
            CHECK(dit_pool_run(&c, pool, test_count, &s, job % 65) == DIT_OK);
            for (uint32_t i = 0; i < job % 65; i++) expected[i]++;
        }

        CHECK(memcmp(s.counts, expected, sizeof expected) == 0);
        s.cancel_at = 3;
        CHECK(dit_pool_run(&c, pool, test_count, &s, 64) == DIT_CANCELLED);
        if (threads == 1) CHECK(s.counts[3] == expected[3] + 1 && s.counts[4] == expected[4]);
        dit_pool_close(&c, pool);
        CHECK(c.allocated == 0);
        CHECK(dit_pool_open(&c, threads, SIZE_MAX / 2, &pool) == DIT_OUT_OF_MEMORY && c.allocated == 0);
    }
}

static bool test_write(const core_file* f, uint64_t bytes) {
    FILE* file = fopen(s_path, "wb");
    if (file == NULL) return false;
    const bool written = fwrite(f->bytes, 1, (size_t)bytes, file) == bytes;
    return fclose(file) == 0 && written;
}

static void test_cut_short(const core_file* f) {
    dit_options o = test_options(NULL, NULL, 0);
    o.threads = 1;
    for (uint64_t bytes = 0; bytes < f->used; bytes += bytes < 800 ? 1 : 61) {
        dit_context* c = NULL;
        CHECK(test_write(f, bytes) && dit_open(s_path, &o, &c) == DIT_BAD_FILE && c == NULL);
    }

    CHECK(test_write(f, f->used));
}

// core_test [FILE]: the weights file that it writes.
int main(int count, char** arguments) {
    s_path = count > 1 ? arguments[1] : "core_test.weights";
    core_file f = core_make();
    test_random();
    test_timesteps();
    test_plans();
    test_pixels();
    test_hostile_fields(&f);
    test_hostile_bits(&f);
    test_cut_short(&f);
    test_pool();
    test_batches();
    test_arguments();
    test_cancel();
    test_out_of_memory();
    free(f.bytes);
    remove(s_path);
    return s_failures == 0 ? 0 : 1;
}
