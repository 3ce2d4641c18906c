// The "cpu" engine: opened, described, closed.

#include "internal.h"

#include <stdio.h>

static const char* dit_cpu_describe(const dit_context* c) { return ((const dit_cpu*)c->state)->description; }

static void dit_cpu_close(dit_context* c) {
    dit_cpu* s = c->state;
    if (!s) return;
    if (s->pool) dit_pool_close(c, s->pool);
    dit_release(c, s->memory);
    for (uint32_t i = 0; i < s->open_layers; i++) dit_layer_close(c, &s->layers[i]);
    dit_release(c, s->layers);
    dit_release(c, s);
    c->state = NULL;
    c->engine = NULL;
}

static const dit_engine dit_cpu_engine = {
    .describe = dit_cpu_describe,
    .memory_bytes = dit_cpu_memory_bytes,
    .memory_part = dit_cpu_memory_part,
    .begin = dit_cpu_begin,
    .step = dit_cpu_step,
    .read = dit_cpu_read,
    .decode = dit_cpu_decode,
    .pass = dit_cpu_pass,
    .close = dit_cpu_close,
};

static dit_status dit_open_layers(dit_context* c, dit_cpu* s) {
    s->layers = dit_allocate(c, c->header->layer_count * (uint64_t)sizeof(dit_layer));
    if (!s->layers) return dit_no_memory(c, c->header->layer_count * (uint64_t)sizeof(dit_layer), "the layers");
    for (; s->open_layers < c->header->layer_count; s->open_layers++) DIT_TRY(dit_layer_open(c, &c->layers[s->open_layers], &s->layers[s->open_layers]));
    return DIT_OK;
}

static dit_status dit_cpu_open(dit_context* c, dit_cpu* s) {
    s->ops = dit_find_ops(c->simd);
    if (!s->ops) return dit_fail(c, DIT_UNSUPPORTED, "this machine does not have the instructions %s", dit_simd_name(c->simd));
    c->simd = s->ops->simd;
    uint64_t before = c->allocated;
    DIT_TRY(dit_open_layers(c, s));
    s->bytes[DIT_PART_LAYERS] = c->allocated - before;
    before = c->allocated;
    DIT_TRY(dit_pool_open(c, c->threads, s->ops->scratch_bytes(c), &s->pool));
    s->bytes[DIT_PART_THREADS] = c->allocated - before;
    return dit_plan_memory(c, s);
}

static dit_status dit_engine_open(dit_context* c) {
    dit_cpu* s = dit_allocate(c, sizeof(dit_cpu));
    if (!s) return dit_no_memory(c, sizeof(dit_cpu), "the engine");
    c->state = s;
    s->bytes[DIT_PART_REQUEST] = c->allocated;
    const dit_status status = dit_cpu_open(c, s);
    if (status != DIT_OK) {
        dit_cpu_close(c);
        return status;
    }

    snprintf(s->description, sizeof s->description, "cpu: %u thread%s, %s", c->threads, c->threads == 1 ? "" : "s", dit_simd_name(c->simd));
    c->engine = &dit_cpu_engine;
    return DIT_OK;
}
