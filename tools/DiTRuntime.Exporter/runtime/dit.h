// DiTRuntime: images from an exported diffusion transformer. One context runs one model; see the README beside this file.
//
// Every call returns a status, prints nothing and never ends the process. A context is used by one thread at a time, but for
// dit_cancel(), which any thread may call; different contexts are independent. Structs begin with struct_size, set by their
// *_init function, so that a program built against an older header keeps working.
#ifndef DIT_H
#define DIT_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32) && defined(DIT_SHARED)
#ifdef DIT_BUILDING
#define DIT_API __declspec(dllexport)
#else
#define DIT_API __declspec(dllimport)
#endif
#elif defined(__GNUC__) && defined(DIT_SHARED)
#define DIT_API __attribute__((visibility("default")))
#else
#define DIT_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define DIT_VERSION_MAJOR 1
#define DIT_VERSION_MINOR 0

// What a call came to. The values are the exit codes of the `dit` program.
typedef enum dit_status {
    DIT_OK = 0,
    DIT_ERROR = 1,             // it failed for a reason of its own: an unreadable file, a thread that cannot be started
    DIT_INVALID_ARGUMENT = 2,  // the caller asked for what cannot be
    DIT_BAD_FILE = 3,          // the weights are damaged, cut short, or of another version
    DIT_OUT_OF_MEMORY = 4,     // the allocator refused, or max_memory is too small
    DIT_UNSUPPORTED = 5,       // this machine lacks what the export needs
    DIT_MISMATCH = 6,          // a verification found other values than the export's
    DIT_CANCELLED = 130        // dit_cancel() or the progress callback asked for it
} dit_status;

// Instructions that the products use. Each path gives the same bits.
typedef enum dit_simd {
    DIT_SIMD_AUTO = 0,
    DIT_SIMD_PORTABLE = 1,
    DIT_SIMD_AVX2 = 2,
    DIT_SIMD_AVX_VNNI = 3,
    DIT_SIMD_AVX512 = 4,
    DIT_SIMD_NEON = 5,
    DIT_SIMD_NEON_DOTPROD = 6,
    DIT_SIMD_NEON_I8MM = 7
} dit_simd;

typedef enum dit_sampler { DIT_SAMPLER_DDIM = 0, DIT_SAMPLER_DDPM = 1 } dit_sampler;

// Which of the 1000 training timesteps a run visits: multiples of a whole stride from 0, evenly from 0 to 999, evenly down from 999.
typedef enum dit_spacing { DIT_SPACING_LEADING = 0, DIT_SPACING_LINSPACE = 1, DIT_SPACING_TRAILING = 2 } dit_spacing;

typedef struct dit_context dit_context;

// Where memory comes from. Blocks are aligned to 64 bytes by the library, whatever the allocator's alignment.
typedef struct dit_allocator {
    void* (*allocate)(void* user, size_t bytes);  // null: there is none
    void (*release)(void* user, void* block);     // never called with null
    void* user;
} dit_allocator;

// How a model is opened.
typedef struct dit_options {
    uint32_t struct_size;
    uint32_t threads;         // 0: one a processor
    dit_simd simd;            // DIT_SIMD_AUTO: the best this machine has
    uint32_t device;          // which GPU, for exports of --target cuda
    uint64_t max_memory;      // bytes that the context may allocate beside the mapped weights; 0: no limit
    dit_allocator allocator;  // zeroed: malloc
    char* error;              // receives the reason when opening fails, cut to error_capacity; may be null
    size_t error_capacity;
} dit_options;

// What the model is.
typedef struct dit_info {
    uint32_t struct_size;
    uint32_t image_size;      // pixels of a side
    uint32_t image_channels;  // 1 or 3
    uint32_t latent_size, latent_channels;
    uint32_t class_count;
    uint32_t depth, hidden_size, token_count;
    uint32_t max_batch;      // images sampled together, as planned at export
    uint32_t default_steps;  // of --steps
    dit_sampler default_sampler;
    dit_spacing default_spacing;
    float default_guidance;
    uint64_t weight_bytes;   // of the mapped file
    uint64_t memory_bytes;   // allocated beside it, at most
} dit_info;

// How far a run is. Return non-zero to end it; the call then returns DIT_CANCELLED.
typedef int (*dit_progress)(void* user, uint32_t done, uint32_t total);

// What is to be drawn.
typedef struct dit_request {
    uint32_t struct_size;
    uint32_t count;         // images
    const int32_t* labels;  // [count]: a class each
    uint64_t seed;          // image i draws its noise from seed + i, as `dit generate --seed` does
    uint32_t steps;         // 0: as exported
    dit_sampler sampler;
    dit_spacing spacing;
    double eta;             // DDIM: 0 deterministic, 1 as noisy as the posterior
    float guidance_scale;   // 1: none
    uint32_t batch;         // images sampled together; 0: as many as planned. Changes no bit of an image
    dit_progress progress;  // called after every step and every decoded image; may be null
    void* progress_user;
} dit_request;

// An image: 8 bits a channel, rows from the top, channels last. Memory of the context's allocator, freed by dit_free_images().
typedef struct dit_image {
    uint32_t width, height, channels;
    uint8_t* pixels;
    float* latent;  // [latent channels, S, S], as the sampler left it
} dit_image;

DIT_API void dit_options_init(dit_options* options);
DIT_API void dit_request_init(dit_request* request);
DIT_API void dit_info_init(dit_info* info);

// Maps the weights and allocates everything that generating needs. On failure *context is null and options->error says why.
DIT_API dit_status dit_open(const char* weights_path, const dit_options* options, dit_context** context);
DIT_API void dit_close(dit_context* context);  // null is allowed

DIT_API dit_status dit_get_info(const dit_context* context, dit_info* info);

// Draws request->count images. On any failure images[] is zeroed and nothing is left to free.
DIT_API dit_status dit_generate(dit_context* context, const dit_request* request, dit_image* images);
DIT_API void dit_free_images(dit_context* context, dit_image* images, uint32_t count);

// Ends the run that is going on, or the next one: from any thread.
DIT_API void dit_cancel(dit_context* context);

// Runs the export's golden vectors; `error` receives the worst deviation of each stage (the embedding, then the blocks), as a share of the
// stage's root mean square: dit_stage_count() values, negative where the engine does not show its stages, or null. DIT_MISMATCH where one is beyond what the export allows.
DIT_API uint32_t dit_stage_count(const dit_context* context);
DIT_API dit_status dit_verify(dit_context* context, const char* golden_path, float* error, float* worst_pixel);

// What info.memory_bytes are for, part by part: a name and its bytes, null past the last. Shared parts lie in the same memory, as they are
// needed one after the other: the largest of them counts.
DIT_API const char* dit_memory_part(const dit_context* context, uint32_t index, uint64_t* bytes, int* shared);

// The reason of the last failure of this context; valid until its next call.
DIT_API const char* dit_last_error(const dit_context* context);
DIT_API const char* dit_class_name(const dit_context* context, uint32_t label);  // "" where the export knows none
DIT_API const char* dit_describe(const dit_context* context);                    // device or instructions, threads
DIT_API const char* dit_version(void);
DIT_API const char* dit_status_name(dit_status status);
DIT_API const char* dit_simd_name(dit_simd simd);

#ifdef __cplusplus
}
#endif
#endif
