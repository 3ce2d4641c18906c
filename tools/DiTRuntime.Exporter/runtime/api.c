// The public calls: structs of any age, opening, asking.
#include "internal.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DIT_MOST_THREADS 1024u

// Bytes of the structs as the first version had them. Later fields go to the end, so that these stay.
#define DIT_END_OF(type, member) (offsetof(type, member) + sizeof(((type*)NULL)->member))
#define DIT_OPTIONS_LEAST DIT_END_OF(dit_options, error_capacity)
#define DIT_REQUEST_LEAST DIT_END_OF(dit_request, progress_user)
#define DIT_INFO_LEAST DIT_END_OF(dit_info, memory_bytes)

#define DIT_TEXT_OF(x) #x
#define DIT_VERSION_TEXT(major, minor) DIT_TEXT_OF(major) "." DIT_TEXT_OF(minor)

void dit_options_init(dit_options* options) {
    if (options == NULL) return;
    memset(options, 0, sizeof *options);
    options->struct_size = sizeof *options;
}

void dit_request_init(dit_request* request) {
    if (request == NULL) return;
    memset(request, 0, sizeof *request);
    request->struct_size = sizeof *request;
    request->guidance_scale = 1;
}

void dit_info_init(dit_info* info) {
    if (info == NULL) return;
    memset(info, 0, sizeof *info);
    info->struct_size = sizeof *info;
}

static bool dit_is_size(uint32_t size, size_t ours, size_t least) { return size >= least && size <= ours; }

// Copies as much of a caller's struct as the caller has; what an older header lacks keeps its default. A newer one's is refused: nobody
// knows what it asks for.
static bool dit_take_struct(void* copy, size_t ours, size_t least, const void* theirs) {
    uint32_t size;
    memcpy(&size, theirs, sizeof size);
    if (!dit_is_size(size, ours, least)) return false;
    memcpy(copy, theirs, size);
    return true;
}

static uint32_t dit_processors(void) {
    const long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : (uint32_t)count;
}

static dit_status dit_check_options(dit_context* c, const char* path, const dit_options* o) {
    if (path == NULL) return dit_fail(c, DIT_INVALID_ARGUMENT, "weights_path is null");
    if (o->threads > DIT_MOST_THREADS) return dit_fail(c, DIT_INVALID_ARGUMENT, "threads %u: expected at most %u", o->threads, DIT_MOST_THREADS);
    if ((uint32_t)o->simd > DIT_SIMD_NEON_I8MM) return dit_fail(c, DIT_INVALID_ARGUMENT, "simd %d is unknown", (int)o->simd);
    if ((o->allocator.allocate == NULL) != (o->allocator.release == NULL))
        return dit_fail(c, DIT_INVALID_ARGUMENT, "an allocator has allocate and release, or neither");
    return DIT_OK;
}

// What generating needs beside the engine.
static dit_status dit_allocate_work(dit_context* c) {
    const dit_file_header* h = c->header;
    const uint64_t latents = (uint64_t)h->max_batch * dit_latent_count(h) * sizeof(float);
    const uint64_t side = (uint64_t)h->input_size * h->upscale, pixels = side * side * h->image_channels * sizeof(float);
    if ((c->steps = dit_allocate(c, DIT_TRAINING_STEPS * sizeof(dit_step))) == NULL) return dit_no_memory(c, DIT_TRAINING_STEPS * sizeof(dit_step), "the steps of a plan");
    if ((c->generators = dit_allocate(c, h->max_batch * sizeof(dit_random))) == NULL) return dit_no_memory(c, h->max_batch * sizeof(dit_random), "random numbers");
    if ((c->noise = dit_allocate(c, latents)) == NULL) return dit_no_memory(c, latents, "the noise of a step");
    if ((c->latents = dit_allocate(c, latents)) == NULL) return dit_no_memory(c, latents, "the latents of a batch");
    if ((c->pixels = dit_allocate(c, pixels)) == NULL) return dit_no_memory(c, pixels, "the pixels of an image");
    return DIT_OK;
}

static dit_status dit_prepare(dit_context* c, const char* path) {
    DIT_TRY(dit_file_open(c, path));
    DIT_TRY(dit_allocate_work(c));
    return dit_engine_open(c);
}

dit_status dit_open(const char* weights_path, const dit_options* options, dit_context** context) {
    if (context == NULL) return DIT_INVALID_ARGUMENT;
    *context = NULL;
    dit_options o;
    dit_options_init(&o);
    if (options == NULL || !dit_take_struct(&o, sizeof o, DIT_OPTIONS_LEAST, options)) return DIT_INVALID_ARGUMENT;

    // The context lies in its allocator's memory too: until it does, this one counts and collects the error.
    dit_context first;
    memset(&first, 0, sizeof first);
    first.allocator = o.allocator;
    first.max_memory = o.max_memory;
    first.device = o.device;
    first.simd = o.simd;
    first.threads = o.threads != 0 ? o.threads : dit_processors();
    if (first.threads > DIT_MOST_THREADS) first.threads = DIT_MOST_THREADS;

    dit_context* c = NULL;
    dit_status status = dit_check_options(&first, weights_path, &o);
    if (status == DIT_OK) {
        c = dit_allocate(&first, sizeof *c);
        if (c == NULL) status = dit_no_memory(&first, sizeof *c, "the context");
    }

    if (c != NULL) {
        *c = first;
        status = dit_prepare(c, weights_path);
    }

    if (status == DIT_OK) {
        *context = c;
    } else {
        if (o.error != NULL && o.error_capacity > 0) snprintf(o.error, o.error_capacity, "%s", c != NULL ? c->error : first.error);
        dit_close(c);
    }

    return status;
}

void dit_close(dit_context* c) {
    if (c == NULL) return;
    if (c->engine != NULL) c->engine->close(c);
    dit_release(c, c->pixels);
    dit_release(c, c->latents);
    dit_release(c, c->noise);
    dit_release(c, c->generators);
    dit_release(c, c->steps);
    dit_file_close(c);
    dit_context last = *c;
    dit_release(&last, c);
}

dit_status dit_get_info(const dit_context* c, dit_info* info) {
    if (c == NULL || info == NULL || !dit_is_size(info->struct_size, sizeof *info, DIT_INFO_LEAST)) return DIT_INVALID_ARGUMENT;
    const dit_file_header* h = c->header;
    const dit_info all = {
        .struct_size = info->struct_size,
        .image_size = h->input_size * h->upscale,
        .image_channels = h->image_channels,
        .latent_size = h->input_size,
        .latent_channels = h->in_channels,
        .class_count = h->class_count,
        .depth = h->depth,
        .hidden_size = h->hidden_size,
        .token_count = dit_token_count(h),
        .max_batch = h->max_batch,
        .default_steps = h->default_steps,
        .default_sampler = (dit_sampler)h->default_sampler,
        .default_spacing = (dit_spacing)h->default_spacing,
        .default_guidance = h->default_guidance,
        .weight_bytes = c->file_bytes,
        .memory_bytes = c->engine->memory_bytes(c),
    };
    memcpy(info, &all, info->struct_size);
    return DIT_OK;
}

void dit_cancel(dit_context* c) {
    if (c != NULL) __atomic_store_n(&c->cancelled, 1, __ATOMIC_RELAXED);
}

const char* dit_last_error(const dit_context* c) { return c != NULL ? c->error : "the context is null"; }

const char* dit_class_name(const dit_context* c, uint32_t label) {
    if (c == NULL || label >= c->header->class_count) return "";
    const char* name = dit_at(c, c->header->class_names);
    if (name == NULL) return "";
    for (; label > 0; label--) name += strlen(name) + 1;
    return name;
}

const char* dit_describe(const dit_context* c) { return c != NULL ? c->engine->describe(c) : ""; }

const char* dit_memory_part(const dit_context* c, uint32_t index, uint64_t* bytes, int* shared) {
    if (c == NULL || bytes == NULL || shared == NULL) return NULL;
    return c->engine->memory_part != NULL ? c->engine->memory_part(c, index, bytes, shared) : NULL;
}

const char* dit_version(void) { return DIT_VERSION_TEXT(DIT_VERSION_MAJOR, DIT_VERSION_MINOR); }

const char* dit_status_name(dit_status status) {
    switch (status) {
        case DIT_OK: return "ok";
        case DIT_ERROR: return "error";
        case DIT_INVALID_ARGUMENT: return "invalid argument";
        case DIT_BAD_FILE: return "bad file";
        case DIT_OUT_OF_MEMORY: return "out of memory";
        case DIT_UNSUPPORTED: return "unsupported";
        case DIT_MISMATCH: return "mismatch";
        case DIT_CANCELLED: return "cancelled";
    }

    return "unknown status";
}

const char* dit_simd_name(dit_simd simd) {
    switch (simd) {
        case DIT_SIMD_AUTO: return "auto";
        case DIT_SIMD_PORTABLE: return "portable";
        case DIT_SIMD_AVX2: return "avx2";
        case DIT_SIMD_AVX_VNNI: return "avx-vnni";
        case DIT_SIMD_AVX512: return "avx512";
        case DIT_SIMD_NEON: return "neon";
        case DIT_SIMD_NEON_DOTPROD: return "neon-dotprod";
        case DIT_SIMD_NEON_I8MM: return "neon-i8mm";
    }

    return "unknown";
}
