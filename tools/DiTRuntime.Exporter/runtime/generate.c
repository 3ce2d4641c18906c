// A request: labels to images, batch after batch through the sampler and then through the decoder (DiTPipeline.cs, SamplingBatch.cs, ImageNoise.cs).
#include "internal.h"

#include <math.h>
#include <string.h>

// More images than anyone asks for at once; keeps what the caller says within what can be zeroed.
#define DIT_MOST_IMAGES (1u << 20)

typedef struct dit_run {
    const dit_request* request;
    dit_image* images;      // [request->count]
    uint32_t steps, batch;  // steps of the plan, images sampled together
    uint32_t done, total;   // steps of all batches, and images
} dit_run;

static dit_status dit_check_request(dit_context* c, const dit_request* r) {
    const dit_file_header* h = c->header;
    if (r->labels == NULL) return dit_fail(c, DIT_INVALID_ARGUMENT, "labels is null");
    for (uint32_t i = 0; i < r->count; i++)
        if (r->labels[i] < 0 || (uint32_t)r->labels[i] >= h->class_count)
            return dit_fail(c, DIT_INVALID_ARGUMENT, "class %d does not exist: this model knows 0 to %u", r->labels[i], h->class_count - 1);
    if (!(r->guidance_scale >= 0) || isinf(r->guidance_scale))
        return dit_fail(c, DIT_INVALID_ARGUMENT, "guidance scale %g: expected a number that is not negative", (double)r->guidance_scale);
    if (r->batch > h->max_batch)
        return dit_fail(c, DIT_INVALID_ARGUMENT, "batch %u: the export was planned for at most %u images at once", r->batch, h->max_batch);
    return DIT_OK;
}

static dit_status dit_report(dit_context* c, dit_run* run) {
    run->done++;
    if (run->request->progress == NULL || run->request->progress(run->request->progress_user, run->done, run->total) == 0) return DIT_OK;
    return dit_fail(c, DIT_CANCELLED, "cancelled by the progress callback after %u of %u steps and images", run->done, run->total);
}

static dit_status dit_go_on(dit_context* c) { return dit_is_cancelled(c) ? dit_fail(c, DIT_CANCELLED, "cancelled") : DIT_OK; }

// One generator an image, seeded with seed + index: an image does not depend on the batch it is made in.
static void dit_draw(dit_context* c, uint32_t count, float* values) {
    const uint32_t length = dit_latent_count(c->header);
    for (uint32_t i = 0; i < count; i++) dit_random_normal(&c->generators[i], values + (size_t)i * length, length);
}

// Latents of images first to first + count - 1, into c->latents.
static dit_status dit_sample(dit_context* c, dit_run* run, uint32_t first, uint32_t count) {
    const dit_request* r = run->request;
    for (uint32_t i = 0; i < count; i++) dit_random_seed(&c->generators[i], r->seed + first + i);
    dit_draw(c, count, c->latents);
    const dit_batch batch = {
        .images = count,
        .samples = r->guidance_scale != 1 ? 2 * count : count,
        .labels = r->labels + first,
        .steps = c->steps,
        .step_count = run->steps,
        .guidance_scale = r->guidance_scale,
        .latents = c->latents,
    };
    DIT_TRY(c->engine->begin(c, &batch));
    for (uint32_t s = 0; s < run->steps; s++) {
        const bool noisy = dit_step_needs_noise(&c->steps[s]);
        DIT_TRY(dit_go_on(c));
        if (noisy) dit_draw(c, count, c->noise);
        DIT_TRY(c->engine->step(c, s, noisy ? c->noise : NULL));
        // A GPU may still be at work: the last step is done once its latents are here.
        if (s + 1 == run->steps) DIT_TRY(c->engine->read(c, c->latents));
        DIT_TRY(dit_report(c, run));
    }

    return DIT_OK;
}

// Decoded values, about -1 to 1, to bytes; what lies outside is clamped, NaN is black (PixelConversion.cs).
static void dit_to_bytes(const float* values, size_t count, bool nearest, uint8_t* bytes) {
    for (size_t i = 0; i < count; i++) {
        float value;
        if (nearest) {
            value = values[i] / 2 + 0.5f;
            value = value > 1 ? 1 : value;
            value = rintf(value * 255.0f);
        } else {
            value = 127.5f * values[i];
            value = value + 128.0f;
        }

        bytes[i] = !(value > 0) ? 0 : value >= 255 ? 255 : (uint8_t)value;
    }
}

// latent [C, S, S] to an image of its own memory.
static dit_status dit_finish(dit_context* c, const float* latent, dit_image* image) {
    const dit_file_header* h = c->header;
    const uint32_t side = h->input_size * h->upscale, values = dit_latent_count(h);
    const size_t pixels = (size_t)side * side * h->image_channels;
    image->pixels = dit_allocate(c, pixels);
    image->latent = dit_allocate(c, values * sizeof(float));
    if (image->pixels == NULL || image->latent == NULL) return dit_no_memory(c, pixels + values * sizeof(float), "an image");
    image->width = image->height = side;
    image->channels = h->image_channels;
    memcpy(image->latent, latent, values * sizeof(float));
    DIT_TRY(c->engine->decode(c, latent, c->pixels));
    dit_to_bytes(c->pixels, pixels, h->round_nearest != 0, image->pixels);
    return DIT_OK;
}

static dit_status dit_run_batches(dit_context* c, dit_run* run) {
    const uint32_t images = run->request->count;
    for (uint32_t first = 0; first < images; first += run->batch) {
        const uint32_t count = images - first < run->batch ? images - first : run->batch;
        DIT_TRY(dit_sample(c, run, first, count));
        for (uint32_t i = 0; i < count; i++) {
            DIT_TRY(dit_go_on(c));
            DIT_TRY(dit_finish(c, c->latents + (size_t)i * dit_latent_count(c->header), &run->images[first + i]));
            DIT_TRY(dit_report(c, run));
        }
    }

    return DIT_OK;
}

static dit_status dit_plan_run(dit_context* c, dit_run* run) {
    const dit_request* r = run->request;
    DIT_TRY(dit_check_request(c, r));
    run->steps = r->steps != 0 ? r->steps : c->header->default_steps;
    DIT_TRY(dit_make_plan(c, r, run->steps, c->steps));
    run->batch = r->batch != 0 ? r->batch : c->header->max_batch;
    if (run->batch > r->count) run->batch = r->count;
    // At most 2^20 batches of 1000 steps: it fits.
    run->total = (r->count + run->batch - 1) / run->batch * run->steps + r->count;
    return DIT_OK;
}

dit_status dit_generate(dit_context* c, const dit_request* request, dit_image* images) {
    if (c == NULL) return DIT_INVALID_ARGUMENT;
    c->error[0] = 0;
    dit_request r;
    dit_request_init(&r);
    if (request == NULL || images == NULL || !dit_take_struct(&r, sizeof r, DIT_REQUEST_LEAST, request))
        return dit_fail(c, DIT_INVALID_ARGUMENT, "the request or images is null, or the request's struct_size is none: dit_request_init() sets it");
    if (r.count < 1 || r.count > DIT_MOST_IMAGES) return dit_fail(c, DIT_INVALID_ARGUMENT, "count %u: expected 1 to %u", r.count, DIT_MOST_IMAGES);
    memset(images, 0, r.count * sizeof *images);
    dit_run run = {.request = &r, .images = images};
    dit_status status = dit_plan_run(c, &run);
    if (status == DIT_OK) {
        status = dit_run_batches(c, &run);
        // What was to be cancelled has ended.
        __atomic_store_n(&c->cancelled, 0, __ATOMIC_RELAXED);
    }

    if (status != DIT_OK) dit_free_images(c, images, r.count);
    return status;
}

void dit_free_images(dit_context* c, dit_image* images, uint32_t count) {
    if (c == NULL || images == NULL) return;
    for (uint32_t i = 0; i < count; i++) {
        dit_release(c, images[i].pixels);
        dit_release(c, images[i].latent);
        memset(&images[i], 0, sizeof images[i]);
    }
}
