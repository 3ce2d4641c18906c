// The export's golden vectors, computed again here: one pass, looked at block by block, and a whole run of two images.

#include "internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct dit_golden {
    const uint8_t* bytes;
    uint64_t count;
    const dit_golden_header* header;
    const float *pass_latents, *stages, *prediction, *latents;
    const uint8_t* pixels;
    uint64_t stage_values, latent_values, prediction_values, pixel_values;  // of one sample or image
} dit_golden;

// ---- the file ----

static dit_status dit_golden_section(dit_context* c, const dit_golden* g, dit_section section, const char* name, uint64_t expected, const void** values) {
    if (section.bytes != expected)
        return dit_fail(c, DIT_BAD_FILE, "golden vectors: %s has %llu bytes, this model needs %llu", name, (unsigned long long)section.bytes, (unsigned long long)expected);
    if (section.offset % DIT_ALIGNMENT != 0 || section.offset > g->count || g->count - section.offset < expected)
        return dit_fail(c, DIT_BAD_FILE, "golden vectors: %s lies outside the file", name);
    *values = g->bytes + section.offset;
    return DIT_OK;
}

static bool dit_is_tolerance(float value) { return value >= 0 && value < INFINITY; }

static dit_status dit_check_golden_header(dit_context* c, const dit_golden_header* g) {
    const dit_file_header* h = c->header;
    if (g->stage_count != dit_stage_count(c)) return dit_fail(c, DIT_BAD_FILE, "golden vectors show %u stages, this model has %u", g->stage_count, dit_stage_count(c));
    if (g->token_stride == 0) return dit_fail(c, DIT_BAD_FILE, "golden vectors keep every 0th token");
    if (!dit_is_tolerance(g->stage_tolerance) || !dit_is_tolerance(g->latent_tolerance)) return dit_fail(c, DIT_BAD_FILE, "golden vectors: the tolerances are no numbers from 0 up");
    for (int i = 0; i < 2; i++) {
        if (g->timesteps[i] < 0 || g->timesteps[i] >= DIT_TRAINING_STEPS) return dit_fail(c, DIT_BAD_FILE, "golden vectors: timestep %d, expected 0 to 999", (int)g->timesteps[i]);
        if (g->pass_labels[i] < 0 || (uint32_t)g->pass_labels[i] > h->class_count) return dit_fail(c, DIT_BAD_FILE, "golden vectors: class %d, this model has %u", (int)g->pass_labels[i], h->class_count);
    }

    return DIT_OK;
}

static dit_status dit_open_golden(dit_context* c, const char* path, dit_golden* g) {
    const dit_file_header* h = c->header;
    DIT_TRY(dit_map(c, path, &g->bytes, &g->count));
    const dit_golden_header* header = (const dit_golden_header*)g->bytes;
    if (g->count < sizeof *header || memcmp(header->magic, DIT_GOLDEN_MAGIC, sizeof header->magic) != 0)
        return dit_fail(c, DIT_BAD_FILE, "%s holds no golden vectors", path);
    if (header->version != DIT_FILE_VERSION || header->header_bytes != sizeof *header)
        return dit_fail(c, DIT_BAD_FILE, "golden vectors of version %u, this runtime reads %u", header->version, DIT_FILE_VERSION);
    if (header->file_bytes != g->count)
        return dit_fail(c, DIT_BAD_FILE, "golden vectors: %llu bytes, their header says %llu", (unsigned long long)g->count, (unsigned long long)header->file_bytes);
    DIT_TRY(dit_check_golden_header(c, header));

    // The model's extents are checked, and small enough that these products fit 64 bits.
    const uint64_t side = h->input_size, patches = side / h->patch_size, tokens = patches * patches, image_side = side * h->upscale;
    g->header = header;
    g->stage_values = (tokens + header->token_stride - 1) / header->token_stride * h->hidden_size;
    g->latent_values = h->in_channels * side * side;
    g->prediction_values = h->out_channels * side * side;
    g->pixel_values = image_side * image_side * h->image_channels;
    DIT_TRY(dit_golden_section(c, g, header->pass_latents, "pass_latents", 2 * sizeof(float) * g->latent_values, (const void**)&g->pass_latents));
    DIT_TRY(dit_golden_section(c, g, header->stages, "stages", 2 * sizeof(float) * g->stage_values * header->stage_count, (const void**)&g->stages));
    DIT_TRY(dit_golden_section(c, g, header->prediction, "prediction", 2 * sizeof(float) * g->prediction_values, (const void**)&g->prediction));
    DIT_TRY(dit_golden_section(c, g, header->latents, "latents", 2 * sizeof(float) * g->latent_values, (const void**)&g->latents));
    return dit_golden_section(c, g, header->pixels, "pixels", 2 * g->pixel_values, (const void**)&g->pixels);
}

// ---- comparing ----

// Root mean square of the difference, as a share of that of what was expected. Not a number where a value is none.
static float dit_relative_error(const float* found, const float* expected, uint64_t count) {
    double difference = 0, total = 0;
    for (uint64_t i = 0; i < count; i++) {
        difference += ((double)found[i] - expected[i]) * ((double)found[i] - expected[i]);
        total += (double)expected[i] * expected[i];
    }

    return difference == 0 ? 0 : (float)sqrt(difference / total);
}

// The worse of two samples; one that is not a number is worst.
static float dit_pair_error(const float* found, const float* expected, uint64_t count) {
    const float first = dit_relative_error(found, expected, count), second = dit_relative_error(found + count, expected + count, count);
    return first >= second || first != first ? first : second;
}

static dit_status dit_judge(dit_context* c, const char* what, float error, float tolerance) {
    if (error <= tolerance) return DIT_OK;
    return dit_fail(c, DIT_MISMATCH, "%s: error %g, at most %g is allowed", what, (double)error, (double)tolerance);
}

static dit_status dit_compare_pass(dit_context* c, const dit_golden* g, float* values, float* error) {
    const dit_golden_header* h = g->header;
    float* prediction = values + 2 * g->stage_values * h->stage_count;
    const dit_status status = c->engine->pass(c, h, g->pass_latents, values, prediction);
    // An engine that replays what was recorded has no stages to show; its images are compared all the same.
    if (status != DIT_OK) return status == DIT_UNSUPPORTED ? DIT_OK : status;
    dit_status judged = DIT_OK;
    for (uint32_t i = 0; i < h->stage_count; i++) {
        const uint64_t at = 2 * g->stage_values * i;
        const float found = dit_pair_error(values + at, g->stages + at, g->stage_values);
        char name[32] = "embedding";
        if (i > 0) snprintf(name, sizeof name, "block %u", i - 1);
        if (judged == DIT_OK) judged = dit_judge(c, name, found, h->stage_tolerance);
        if (error) error[i] = found;
    }

    return judged != DIT_OK ? judged : dit_judge(c, "prediction", dit_pair_error(prediction, g->prediction, g->prediction_values), h->stage_tolerance);
}

static dit_status dit_run_pass(dit_context* c, const dit_golden* g, float* error) {
    const uint64_t bytes = 2 * sizeof(float) * (g->stage_values * g->header->stage_count + g->prediction_values);
    float* values = dit_allocate(c, bytes);
    if (!values) return dit_no_memory(c, bytes, "the outputs of a pass");
    const dit_status status = dit_compare_pass(c, g, values, error);
    dit_release(c, values);
    return status;
}

static dit_status dit_compare_images(dit_context* c, const dit_golden* g, const dit_image* images, float* worst_pixel) {
    const dit_golden_header* h = g->header;
    int worst = 0;
    dit_status judged = DIT_OK;
    for (uint64_t image = 0; image < 2; image++) {
        for (uint64_t i = 0; i < g->pixel_values; i++) {
            const int difference = abs((int)images[image].pixels[i] - g->pixels[image * g->pixel_values + i]);
            if (worst < difference) worst = difference;
        }

        const float error = dit_relative_error(images[image].latent, g->latents + image * g->latent_values, g->latent_values);
        if (judged == DIT_OK) judged = dit_judge(c, image == 0 ? "latent of the first image" : "latent of the second image", error, h->latent_tolerance);
    }

    if (worst_pixel) *worst_pixel = (float)worst;
    if (judged != DIT_OK || (uint32_t)worst <= h->pixel_tolerance) return judged;
    return dit_fail(c, DIT_MISMATCH, "a pixel is %d of 255 away, at most %u is allowed", worst, h->pixel_tolerance);
}

static dit_status dit_run_images(dit_context* c, const dit_golden* g, float* worst_pixel) {
    const dit_golden_header* h = g->header;
    dit_request request;
    dit_image images[2];
    dit_request_init(&request);
    request.count = 2;
    request.labels = h->labels;
    request.seed = h->seed;
    request.steps = h->steps;
    request.sampler = (dit_sampler)h->sampler;
    request.spacing = (dit_spacing)h->spacing;
    request.eta = h->eta;
    request.guidance_scale = h->guidance_scale;
    const dit_status status = dit_generate(c, &request, images);
    // What cannot be drawn is the file's fault here, not the caller's.
    if (status != DIT_OK) return status == DIT_INVALID_ARGUMENT ? DIT_BAD_FILE : status;
    const dit_status judged = dit_compare_images(c, g, images, worst_pixel);
    dit_free_images(c, images, 2);
    return judged;
}

// ---- the calls ----

uint32_t dit_stage_count(const dit_context* c) { return c ? c->header->depth + 1 : 0; }

dit_status dit_verify(dit_context* c, const char* golden_path, float* error, float* worst_pixel) {
    if (!c) return DIT_INVALID_ARGUMENT;
    for (uint32_t i = 0; error && i < dit_stage_count(c); i++) error[i] = -1;
    if (worst_pixel) *worst_pixel = 0;
    if (!golden_path) return dit_fail(c, DIT_INVALID_ARGUMENT, "no path of golden vectors");
    dit_golden golden = {0};
    dit_status status = dit_open_golden(c, golden_path, &golden);
    if (status == DIT_OK) {
        const dit_status pass = dit_run_pass(c, &golden, error);
        // The images are drawn where a stage differs too: how far they are off is told with it.
        char reason[sizeof c->error];
        memcpy(reason, c->error, sizeof reason);
        status = pass == DIT_OK || pass == DIT_MISMATCH ? dit_run_images(c, &golden, worst_pixel) : pass;
        if (pass == DIT_MISMATCH && (status == DIT_OK || status == DIT_MISMATCH)) status = dit_fail(c, pass, "%s", reason);
    }

    if (golden.bytes) dit_unmap(golden.bytes, golden.count);
    return status;
}
