// The engine "cuda": plays a plan. One batch shape's buffers are held at a time, beside those that every shape uses; the step is recorded as a
// graph the first time and replayed. The host is at most two steps ahead of the device.
#include "cuda_plan.h"
#include "internal.h"

#ifdef DIT_EMULATED
#include "cuda_emulator.h"
#else
#include "cuda_driver.h"
#endif
#include "cuda_check.c"

// A kernel's parameters are read by its own size: room behind the last, should a damaged file tell a smaller one.
#define DIT_ARGUMENT_SLACK 4096u

typedef struct dit_cuda {
    dit_gpu gpu;
    dit_plan_tables plan;
    dit_gpu_kernel* kernels;
    uint64_t* addresses;  // of buffers; 0: not held
    uint8_t* arguments;   // as in the file, with the pointers of what is held
    uint8_t* host;        // dit_host_bytes(): what is copied, one thing at a time
    uint64_t device_bytes, resident_bytes, pinned_bytes;
    uint64_t memory_bytes;  // of all, with the largest shape's buffers
    float *tile, *shares;   // of the decoder: one tile's latents, then its pixels; shares of rows, then of columns
    float* noise[DIT_GPU_MARKS];  // page-locked, [images, C, S, S] each
    uint32_t shape;         // whose buffers are held, or DIT_NONE
    const dit_batch* batch;
    char description[192];
} dit_cuda;

static dit_cuda* dit_cuda_of(const dit_context* c) { return c->state; }

// ---- halves ----

static uint16_t dit_to_half(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    uint32_t sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
    if (magnitude >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u);
    if (magnitude < 0x38800000u) {  // below 2^-14: a whole number of 2^-24, which adding ½ rounds to, to even
        float shifted;
        memcpy(&shifted, &magnitude, 4);
        shifted += 0.5f;
        memcpy(&bits, &shifted, 4);
        return (uint16_t)(sign | (bits - 0x3f000000u));
    }
    return (uint16_t)(sign | (((magnitude + 0xfffu + (magnitude >> 13 & 1)) >> 13) - (112u << 10)));
}

static float dit_from_half(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16, exponent = half >> 10 & 31u, fraction = half & 0x3ffu, bits;
    float value;
    if (exponent == 0) {
        value = (float)fraction * 0x1p-24f;
        return sign ? -value : value;
    }
    bits = sign | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) | fraction << 13;
    memcpy(&value, &bits, 4);
    return value;
}

// ---- buffers ----

// Device memory counts like the host's.
static dit_status dit_cuda_take(dit_context* c, uint32_t number) {
    dit_cuda* s = dit_cuda_of(c);
    const dit_plan_buffer* b = &s->plan.buffers[number];
    if (c->max_memory && (c->allocated > c->max_memory || b->bytes > c->max_memory - c->allocated))
        return dit_fail(c, DIT_OUT_OF_MEMORY, "%llu bytes of GPU memory go over the limit of %llu", (unsigned long long)b->bytes, (unsigned long long)c->max_memory);
    dit_status status = dit_gpu_allocate(c, &s->gpu, b->bytes, &s->addresses[number]);
    if (status) {
        s->addresses[number] = 0;
        return status;
    }
    c->allocated += b->bytes;
    s->device_bytes += b->bytes;
    if (b->contents.bytes) status = dit_gpu_write(c, &s->gpu, s->addresses[number], dit_at(c, b->contents), b->contents.bytes);
    // Rows are padded with zeros that no kernel writes.
    if (!status && b->contents.bytes < b->bytes) status = dit_gpu_clear(c, &s->gpu, s->addresses[number] + b->contents.bytes, b->bytes - b->contents.bytes);
    return status;
}

static void dit_cuda_give_back(dit_context* c, uint32_t shape) {
    dit_cuda* s = dit_cuda_of(c);
    for (uint32_t i = 0; i < s->plan.plan->buffer_count; i++) {
        if (s->plan.buffers[i].shape != shape || !s->addresses[i]) continue;
        dit_gpu_free(&s->gpu, s->addresses[i]);
        s->addresses[i] = 0;
        c->allocated -= s->plan.buffers[i].bytes;
        s->device_bytes -= s->plan.buffers[i].bytes;
    }
}

static void dit_cuda_point(dit_cuda* s, dit_plan_range range) {
    for (uint32_t i = range.first; i < range.first + range.count; i++) {
        const dit_plan_command* o = &s->plan.commands[i];
        if (o->kind != DIT_PLAN_LAUNCH) continue;
        for (uint32_t j = 0; j < o->pointer_count; j++) {
            const dit_plan_pointer* p = &s->plan.pointers[o->first_pointer + j];
            uint64_t address = s->addresses[p->buffer] + p->offset;
            memcpy(s->arguments + o->argument_offset + p->argument_offset, &address, sizeof address);
        }
    }
}

static dit_status dit_cuda_take_all(dit_context* c, uint32_t shape) {
    dit_cuda* s = dit_cuda_of(c);
    dit_status status = DIT_OK;
    for (uint32_t i = 0; i < s->plan.plan->buffer_count && !status; i++)
        if (s->plan.buffers[i].shape == shape) status = dit_cuda_take(c, i);
    if (!status) status = dit_gpu_wait(c, &s->gpu);
    if (status) dit_cuda_give_back(c, shape);
    return status;
}

// Lets another shape's buffers take the place of those that are held.
static dit_status dit_cuda_use_shape(dit_context* c, uint32_t shape) {
    dit_cuda* s = dit_cuda_of(c);
    if (s->shape == shape) return DIT_OK;
    if (s->shape != DIT_NONE) {
        dit_gpu_forget(&s->gpu);
        dit_status drained = dit_gpu_wait(c, &s->gpu);
        dit_cuda_give_back(c, s->shape);
        s->shape = DIT_NONE;
        if (drained) return drained;
    }
    dit_status status = dit_cuda_take_all(c, shape);
    if (status) return status;
    s->shape = shape;
    dit_cuda_point(s, s->plan.shapes[shape].fill);
    dit_cuda_point(s, s->plan.shapes[shape].step);
    return DIT_OK;
}

// What lies in s->host goes to a place and is there when this returns.
static dit_status dit_cuda_put(dit_context* c, const dit_plan_place* place, uint64_t bytes) {
    dit_cuda* s = dit_cuda_of(c);
    dit_status status = dit_gpu_write(c, &s->gpu, s->addresses[place->buffer] + place->offset, s->host, bytes);
    return status ? status : dit_gpu_wait(c, &s->gpu);
}

static dit_status dit_cuda_get(dit_context* c, const dit_plan_place* place, void* to, uint64_t bytes) {
    dit_cuda* s = dit_cuda_of(c);
    return dit_gpu_read(c, &s->gpu, to, s->addresses[place->buffer] + place->offset, bytes);
}

static dit_status dit_cuda_play(dit_context* c, dit_plan_range range) {
    dit_cuda* s = dit_cuda_of(c);
    for (uint32_t i = range.first; i < range.first + range.count; i++) {
        const dit_plan_command* o = &s->plan.commands[i];
        dit_status status = dit_gpu_launch(c, &s->gpu, &s->plan.kernels[o->kernel], &s->kernels[o->kernel], o, s->arguments + o->argument_offset);
        if (status) return status;
    }
    return DIT_OK;
}

// ---- a batch ----

static const dit_plan_shape* dit_cuda_shape(const dit_cuda* s) { return &s->plan.shapes[s->shape]; }

// The smallest shape that holds the batch.
static dit_status dit_cuda_choose(dit_context* c, const dit_batch* batch, uint32_t* chosen) {
    const dit_plan_tables* t = &dit_cuda_of(c)->plan;
    bool is_guided = batch->samples > batch->images;
    *chosen = DIT_NONE;
    for (uint32_t i = 0; i < t->plan->shape_count; i++) {
        const dit_plan_shape* s = &t->shapes[i];
        if (s->kind != DIT_PLAN_SAMPLING || s->images < batch->images || (s->samples > s->images) != is_guided || s->step_capacity < batch->step_count) continue;
        if (*chosen == DIT_NONE || s->images < t->shapes[*chosen].images) *chosen = i;
    }
    return *chosen != DIT_NONE ? DIT_OK : dit_fail(c, DIT_INVALID_ARGUMENT, "%u images in %u steps: more than was exported", batch->images, batch->step_count);
}

// Images past the batch's own, up to the shape's, are computed and never looked at.
static int32_t dit_label_of(const dit_context* c, const dit_batch* batch, const dit_plan_shape* shape, uint32_t condition) {
    if (condition >= shape->images) return (int32_t)c->header->class_count;
    return batch->labels[condition < batch->images ? condition : 0];
}

static dit_status dit_cuda_put_rows(dit_context* c, const dit_plan_shape* shape) {
    const dit_batch* batch = dit_cuda_of(c)->batch;
    int32_t* rows = (int32_t*)dit_cuda_of(c)->host;
    uint32_t per_image = shape->samples / shape->images;
    for (uint32_t step = 0; step < batch->step_count; step++)
        for (uint32_t sample = 0; sample < shape->samples; sample++) {
            uint32_t condition = sample % per_image == 1 ? shape->images : sample / per_image;
            rows[step * shape->samples + sample] = (int32_t)(step % shape->window_steps * shape->conditions + condition);
        }
    return dit_cuda_put(c, &shape->row_of_sample, (uint64_t)batch->step_count * shape->samples * 4);
}

static dit_status dit_cuda_put_updates(dit_context* c, const dit_plan_shape* shape) {
    const dit_batch* batch = dit_cuda_of(c)->batch;
    dit_plan_update* updates = (dit_plan_update*)dit_cuda_of(c)->host;
    bool is_guided = shape->samples > shape->images;
    uint32_t channels = c->header->in_channels, guided = c->header->guided_channels < channels ? c->header->guided_channels : channels;
    for (uint32_t i = 0; i < batch->step_count * shape->images; i++) {
        const dit_step* step = &batch->steps[i / shape->images];
        int32_t image = (int32_t)(i % shape->images);
        updates[i] = (dit_plan_update){
            .image = image, .conditional_row = is_guided ? 2 * image : image, .unconditional_row = is_guided ? 2 * image + 1 : -1,
            .guidance_scale = batch->guidance_scale, .guided_channels = (int32_t)guided,
            .latent = step->latent, .prediction = step->prediction, .sigma = step->sigma,
            .learned_variance = (int32_t)step->learned_variance, .min_log_variance = step->min_log_variance, .max_log_variance = step->max_log_variance,
        };
    }
    return dit_cuda_put(c, &shape->updates, (uint64_t)batch->step_count * shape->images * sizeof *updates);
}

static dit_status dit_cuda_put_latents(dit_context* c, const dit_plan_shape* shape, const float* latents, uint32_t images) {
    dit_cuda* s = dit_cuda_of(c);
    uint64_t bytes = (uint64_t)images * dit_latent_count(c->header) * 4;
    memset(s->host, 0, (size_t)shape->latents.bytes);
    memcpy(s->host, latents, (size_t)bytes);
    return dit_cuda_put(c, &shape->latents, shape->latents.bytes);
}

static dit_status dit_cuda_prepare(dit_context* c, const dit_batch* batch) {
    dit_cuda* s = dit_cuda_of(c);
    uint32_t chosen;
    dit_status status = dit_cuda_choose(c, batch, &chosen);
    if (!status) status = dit_cuda_use_shape(c, chosen);
    if (status) return status;
    const dit_plan_shape* shape = dit_cuda_shape(s);
    s->batch = batch;
    // What an earlier batch that was broken off has left queued.
    status = dit_gpu_wait(c, &s->gpu);
    if (!status) status = dit_cuda_put_rows(c, shape);
    if (!status) status = dit_cuda_put_updates(c, shape);
    if (!status) status = dit_cuda_put_latents(c, shape, batch->latents, batch->images);
    memset(s->host, 0, 4);
    return status ? status : dit_cuda_put(c, &shape->counter, 4);
}

// One row for each timestep of the window and condition; steps past the run's end repeat its last one.
static dit_status dit_cuda_fill_window(dit_context* c, uint32_t first) {
    dit_cuda* s = dit_cuda_of(c);
    const dit_plan_shape* shape = dit_cuda_shape(s);
    const dit_batch* batch = s->batch;
    uint32_t rows = shape->window_steps * shape->conditions;
    int32_t* values = (int32_t*)s->host;
    dit_status status = dit_gpu_wait(c, &s->gpu);
    for (uint32_t row = 0; row < rows; row++) {
        uint32_t step = first + row / shape->conditions;
        values[row] = batch->steps[step < batch->step_count ? step : batch->step_count - 1].timestep;
    }
    if (!status) status = dit_cuda_put(c, &shape->timesteps, 4 * (uint64_t)rows);
    for (uint32_t row = 0; row < rows; row++) values[row] = dit_label_of(c, batch, shape, row % shape->conditions);
    if (!status) status = dit_cuda_put(c, &shape->labels, 4 * (uint64_t)rows);
    return status ? status : dit_cuda_play(c, shape->fill);
}

static dit_status dit_cuda_play_step(dit_context* c) { return dit_cuda_play(c, dit_cuda_shape(dit_cuda_of(c))->step); }

static dit_status dit_cuda_take_step(dit_context* c, uint32_t step, const float* noise) {
    dit_cuda* s = dit_cuda_of(c);
    const dit_plan_shape* shape = dit_cuda_shape(s);
    uint32_t half = step % DIT_GPU_MARKS;
    dit_status status = step % shape->window_steps == 0 ? dit_cuda_fill_window(c, step) : DIT_OK;
    // The step before the last is done: its half of the noise is free, on both sides.
    if (!status) status = dit_gpu_wait_mark(c, &s->gpu, half);
    if (!status && noise) {
        uint64_t bytes = (uint64_t)s->batch->images * dit_latent_count(c->header) * 4;
        memcpy(s->noise[half], noise, (size_t)bytes);
        status = dit_gpu_write(c, &s->gpu, s->addresses[shape->noise.buffer] + shape->noise.offset + half * (shape->noise.bytes / 2), s->noise[half], bytes);
    }
    if (!status) status = dit_gpu_repeat(c, &s->gpu, dit_cuda_play_step);
    return status ? status : dit_gpu_mark(c, &s->gpu, half);
}

// ---- decoding ----

// latent [C, S, S] from (top, left) on -> s->tile.
static dit_status dit_cuda_decode_tile(dit_context* c, const float* latent, int32_t top, int32_t left, int32_t size) {
    dit_cuda* s = dit_cuda_of(c);
    const dit_file_header* h = c->header;
    const dit_plan* plan = s->plan.plan;
    const uint64_t positions = (uint64_t)size * (uint64_t)size, pixels = positions * h->upscale * h->upscale;
    uint16_t* halves = (uint16_t*)s->host;
    memset(halves, 0, (size_t)plan->decoder_input.bytes);
    dit_cut_tile(h, latent, top, left, size, s->tile);
    for (uint64_t i = 0; i < positions; i++)
        for (uint32_t ch = 0; ch < h->in_channels; ch++) halves[i * plan->input_stride + ch] = dit_to_half(s->tile[i * h->in_channels + ch]);
    DIT_TRY(dit_cuda_put(c, &plan->decoder_input, plan->decoder_input.bytes));
    DIT_TRY(dit_cuda_play(c, plan->decode));
    DIT_TRY(dit_cuda_get(c, &plan->decoder_output, s->host, plan->decoder_output.bytes));
    for (uint64_t i = 0; i < pixels; i++)
        for (uint32_t ch = 0; ch < h->image_channels; ch++) s->tile[i * h->image_channels + ch] = dit_from_half(halves[i * plan->output_stride + ch]);
    return DIT_OK;
}

static dit_status dit_cuda_decode_image(dit_context* c, const float* latent, float* pixels) {
    const dit_cuda* s = dit_cuda_of(c);
    const dit_tiling tiling = {dit_cuda_decode_tile, s->tile, s->shares, s->shares + c->header->tile_size * c->header->upscale};
    return dit_decode_image(c, &tiling, latent, pixels);
}

// ---- a pass that shows its stages ----

// Every token_stride-th token of a sample, as floats.
static dit_status dit_cuda_read_stage(dit_context* c, const dit_plan_shape* shape, uint32_t token_stride, float** stage) {
    dit_cuda* s = dit_cuda_of(c);
    const dit_file_header* h = c->header;
    uint32_t tokens = dit_token_count(h);
    dit_status status = dit_cuda_get(c, &shape->tokens, s->host, shape->tokens.bytes);
    if (status) return status;
    for (uint32_t sample = 0; sample < 2; sample++)
        for (uint32_t token = 0; token < tokens; token += token_stride) {
            const uint16_t* row = (const uint16_t*)s->host + ((uint64_t)sample * tokens + token) * shape->token_stride;
            for (uint32_t i = 0; i < h->hidden_size; i++) *(*stage)++ = dit_from_half(row[i]);
        }
    return DIT_OK;
}

static dit_status dit_cuda_show(dit_context* c, const dit_golden_header* golden, const float* latents, float* stages, float* prediction) {
    dit_cuda* s = dit_cuda_of(c);
    uint32_t number = 0;
    while (number < s->plan.plan->shape_count && s->plan.shapes[number].kind != DIT_PLAN_PASS) number++;
    if (number == s->plan.plan->shape_count) return dit_fail(c, DIT_UNSUPPORTED, "the plan has no pass that shows its stages");
    dit_status status = dit_cuda_use_shape(c, number);
    if (status) return status;
    const dit_plan_shape* shape = dit_cuda_shape(s);
    memcpy(s->host, golden->timesteps, 8);
    status = dit_cuda_put(c, &shape->timesteps, 8);
    memcpy(s->host, golden->pass_labels, 8);
    if (!status) status = dit_cuda_put(c, &shape->labels, 8);
    if (!status) status = dit_cuda_put_latents(c, shape, latents, 2);
    if (!status) status = dit_cuda_play(c, shape->fill);
    for (uint32_t i = 0; i < shape->step.count && !status; i++) {
        dit_plan_range one = {shape->step.first + i, 1};
        status = s->plan.commands[one.first].kind == DIT_PLAN_STAGE ? dit_cuda_read_stage(c, shape, golden->token_stride, &stages) : dit_cuda_play(c, one);
    }
    return status ? status : dit_cuda_get(c, &shape->prediction, prediction, shape->prediction.bytes);
}

// ---- opening and closing ----

// The plan for this very architecture, or the newest of those whose code runs here.
static dit_status dit_cuda_find_plan(dit_context* c, const dit_plan** found) {
    dit_cuda* s = dit_cuda_of(c);
    dit_section section = c->header->plan;
    uint64_t count = section.bytes / sizeof(dit_plan);
    if (count == 0 || section.bytes % sizeof(dit_plan) || !dit_plan_section_fits(c, section)) return dit_fail(c, DIT_BAD_FILE, "the section `plan` is damaged, or of another version");
    const dit_plan* plans = (const dit_plan*)(c->file + section.offset);
    *found = NULL;
    for (uint64_t i = 0; i < count; i++)
        if (dit_gpu_runs(&s->gpu, &plans[i]) && (!*found || plans[i].architecture > (*found)->architecture)) *found = &plans[i];
    if (*found) return DIT_OK;
    if (plans[0].architecture == 0) return dit_fail(c, DIT_UNSUPPORTED, "%s is sm_%u; the export is for the emulated device", s->gpu.name, s->gpu.architecture);
    if (s->gpu.architecture == 0) return dit_fail(c, DIT_UNSUPPORTED, "this is the emulated device; the export is for sm_%u", plans[0].architecture);
    return dit_fail(c, DIT_UNSUPPORTED, "%s is sm_%u; the export is for sm_%u%s%s", s->gpu.name, s->gpu.architecture, plans[0].architecture, plans[0].is_specific ? "a" : "",
                    count > 1 ? " and others" : "");
}

static uint64_t dit_most(uint64_t a, uint64_t b) { return a > b ? a : b; }

static uint64_t dit_host_bytes(const dit_plan_tables* t) {
    uint64_t most = dit_most(t->plan->decoder_input.bytes, t->plan->decoder_output.bytes);
    for (uint32_t i = 0; i < t->plan->shape_count; i++) {
        const dit_plan_shape* s = &t->shapes[i];
        most = dit_most(most, dit_most(dit_most(s->timesteps.bytes, s->row_of_sample.bytes), dit_most(s->updates.bytes, dit_most(s->latents.bytes, s->tokens.bytes))));
    }
    return dit_most(most, DIT_ALIGNMENT);
}

static dit_status dit_cuda_allocate_host(dit_context* c) {
    dit_cuda* s = dit_cuda_of(c);
    const dit_plan* plan = s->plan.plan;
    const dit_file_header* h = c->header;
    uint64_t made = (uint64_t)h->tile_size * h->upscale, noise_bytes = 0;
    for (uint32_t i = 0; i < plan->shape_count; i++) noise_bytes = dit_most(noise_bytes, s->plan.shapes[i].noise.bytes / 2);
    s->kernels = dit_allocate(c, plan->kernel_count * sizeof *s->kernels);
    s->addresses = dit_allocate(c, plan->buffer_count * sizeof *s->addresses);
    s->arguments = dit_allocate(c, plan->arguments.bytes + DIT_ARGUMENT_SLACK);
    s->host = dit_allocate(c, dit_host_bytes(&s->plan));
    if (!s->kernels || !s->addresses || !s->arguments || !s->host) return dit_fail(c, DIT_OUT_OF_MEMORY, "no memory to play the plan in");
    s->tile = dit_allocate(c, dit_most(made * made * h->image_channels, (uint64_t)h->tile_size * h->tile_size * h->in_channels) * sizeof(float));
    s->shares = dit_allocate(c, 2 * made * sizeof(float));
    if (!s->tile || !s->shares) return dit_fail(c, DIT_OUT_OF_MEMORY, "no memory for the decoder's tiles");
    memcpy(s->arguments, c->file + plan->arguments.offset, (size_t)plan->arguments.bytes);
    for (int i = 0; i < DIT_GPU_MARKS; i++) {
        void* pinned = NULL;
        DIT_TRY(dit_gpu_allocate_pinned(c, &s->gpu, noise_bytes, &pinned));
        s->noise[i] = pinned;
        s->pinned_bytes += noise_bytes;
    }
    return DIT_OK;
}

static uint64_t dit_shape_bytes(const dit_plan_tables* t, uint32_t shape) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < t->plan->buffer_count; i++)
        if (t->buffers[i].shape == shape) bytes += t->buffers[i].bytes;
    return bytes;
}

static uint32_t dit_largest_shape(const dit_plan_tables* t) {
    uint32_t largest = 0;
    for (uint32_t i = 1; i < t->plan->shape_count; i++)
        if (dit_shape_bytes(t, i) > dit_shape_bytes(t, largest)) largest = i;
    return largest;
}

// Everything a run takes is taken here: the largest shape's buffers too, in whose place smaller ones fit later.
static dit_status dit_cuda_start(dit_context* c) {
    dit_cuda* s = dit_cuda_of(c);
    const dit_plan* plan = s->plan.plan;
    dit_status status = dit_gpu_start(c, &s->gpu);
    if (!status) status = dit_cuda_allocate_host(c);
    for (uint32_t i = 0; i < plan->kernel_count && !status; i++) status = dit_gpu_load(c, &s->gpu, &s->plan.kernels[i], &s->kernels[i]);
    if (!status) status = dit_cuda_take_all(c, DIT_NONE);
    if (status) return status;
    s->resident_bytes = s->device_bytes;
    dit_cuda_point(s, plan->decode);
    return dit_cuda_use_shape(c, dit_largest_shape(&s->plan));
}

// The GPU's context is current.
static void dit_cuda_stop(dit_context* c) {
    dit_cuda* s = dit_cuda_of(c);
    if (s->addresses) {
        dit_gpu_wait(c, &s->gpu);
        dit_gpu_forget(&s->gpu);
        if (s->shape != DIT_NONE) dit_cuda_give_back(c, s->shape);
        dit_cuda_give_back(c, DIT_NONE);
    }
    for (uint32_t i = 0; s->kernels && i < s->plan.plan->kernel_count; i++) dit_gpu_unload(&s->gpu, &s->kernels[i]);
    for (int i = 0; i < DIT_GPU_MARKS; i++)
        if (s->noise[i]) dit_gpu_free_pinned(&s->gpu, s->noise[i]);
    dit_gpu_stop(&s->gpu);
}

static void dit_cuda_close(dit_context* c) {
    dit_cuda* s = dit_cuda_of(c);
    if (dit_gpu_is_started(&s->gpu) && dit_gpu_enter(c, &s->gpu) == DIT_OK) {
        dit_cuda_stop(c);
        dit_gpu_leave(&s->gpu);
    }
    dit_gpu_close(&s->gpu);
    void* const blocks[] = {s->kernels, s->addresses, s->arguments, s->host, s->tile, s->shares, s};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) dit_release(c, blocks[i]);
    c->state = NULL;
}

// ---- the engine's calls: the work above, with the GPU's context current ----

static dit_status dit_cuda_left(dit_context* c, dit_status status) {
    dit_gpu_leave(&dit_cuda_of(c)->gpu);
    return status;
}

static dit_status dit_cuda_begin(dit_context* c, const dit_batch* batch) {
    DIT_TRY(dit_gpu_enter(c, &dit_cuda_of(c)->gpu));
    return dit_cuda_left(c, dit_cuda_prepare(c, batch));
}

static dit_status dit_cuda_step(dit_context* c, uint32_t step, const float* noise) {
    DIT_TRY(dit_gpu_enter(c, &dit_cuda_of(c)->gpu));
    return dit_cuda_left(c, dit_cuda_take_step(c, step, noise));
}

static dit_status dit_cuda_read(dit_context* c, float* latents) {
    dit_cuda* s = dit_cuda_of(c);
    DIT_TRY(dit_gpu_enter(c, &s->gpu));
    return dit_cuda_left(c, dit_cuda_get(c, &dit_cuda_shape(s)->latents, latents, (uint64_t)s->batch->images * dit_latent_count(c->header) * 4));
}

static dit_status dit_cuda_decode(dit_context* c, const float* latent, float* pixels) {
    DIT_TRY(dit_gpu_enter(c, &dit_cuda_of(c)->gpu));
    return dit_cuda_left(c, dit_cuda_decode_image(c, latent, pixels));
}

static dit_status dit_cuda_pass(dit_context* c, const dit_golden_header* golden, const float* latents, float* stages, float* prediction) {
    DIT_TRY(dit_gpu_enter(c, &dit_cuda_of(c)->gpu));
    return dit_cuda_left(c, dit_cuda_show(c, golden, latents, stages, prediction));
}

static const char* dit_cuda_describe(const dit_context* c) { return dit_cuda_of(c)->description; }

static uint64_t dit_cuda_memory_bytes(const dit_context* c) {
    return dit_cuda_of(c)->memory_bytes;
}

static const char* dit_cuda_memory_part(const dit_context* c, uint32_t index, uint64_t* bytes, int* shared) {
    static const char* const names[] = {"batch", "guided batch", "verification"};
    const dit_cuda* s = dit_cuda_of(c);
    *shared = index > 1;
    *bytes = index == 0 ? s->memory_bytes - s->resident_bytes - dit_shape_bytes(&s->plan, dit_largest_shape(&s->plan)) : s->resident_bytes;
    if (index < 2) return index == 0 ? "host memory" : "weights and decoder on the GPU";
    if (index - 2 >= s->plan.plan->shape_count) return NULL;
    const dit_plan_shape* shape = &s->plan.shapes[index - 2];
    *bytes = dit_shape_bytes(&s->plan, index - 2);
    return names[shape->kind == DIT_PLAN_PASS ? 2 : shape->samples > shape->images];
}

static const dit_engine dit_cuda_engine = {
    .describe = dit_cuda_describe, .memory_bytes = dit_cuda_memory_bytes, .memory_part = dit_cuda_memory_part,
    .begin = dit_cuda_begin, .step = dit_cuda_step, .read = dit_cuda_read, .decode = dit_cuda_decode, .pass = dit_cuda_pass, .close = dit_cuda_close,
};

static dit_status dit_engine_open(dit_context* c) {
    dit_cuda* s = c->state = dit_allocate(c, sizeof *s);
    if (!s) return dit_fail(c, DIT_OUT_OF_MEMORY, "no memory for the engine");
    s->shape = DIT_NONE;
    const dit_plan* plan = NULL;
    dit_status status = dit_gpu_open(c, &s->gpu);
    if (!status) status = dit_cuda_find_plan(c, &plan);
    if (!status) status = dit_plan_check(c, plan, &s->plan);
    if (!status) status = dit_cuda_start(c);
    if (dit_gpu_is_started(&s->gpu)) dit_gpu_leave(&s->gpu);
    if (status) {
        // What closing comes upon is not the reason.
        char reason[sizeof c->error];
        memcpy(reason, c->error, sizeof reason);
        dit_cuda_close(c);
        memcpy(c->error, reason, sizeof reason);
        return status;
    }
    if (s->gpu.architecture == 0) snprintf(s->description, sizeof s->description, "cuda: %s", s->gpu.name);
    else snprintf(s->description, sizeof s->description, "cuda: %s, sm_%u", s->gpu.name, s->gpu.architecture);
    s->memory_bytes = c->allocated + s->pinned_bytes;
    c->engine = &dit_cuda_engine;
    return DIT_OK;
}
