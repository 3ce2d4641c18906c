// The seams between the parts of the runtime. It is one translation unit: dit.c includes the parts in order, and the exporter writes them out as
// one file. Everything but the public calls is static.
//
//   memory.c    the allocator, errors                         sampling.c  schedules, plans, random numbers
//   check.c     what a weights file has to fulfil              api.c       the public calls: opening, asking
//   file.c      the mapped weights                             generate.c  requests, batches, images
//   threads.c   the pool                                       verify.c    golden vectors
//   tiles.c     latents cut into tiles, and their seams
//   engine "cpu":  plan.c (sizes), ops.h and simd_*.h with kernels.inc and lowbit.inc once for each set of instructions, model.c, decoder.c
//   engine "cuda": cuda.c
#ifndef DIT_INTERNAL_H
#define DIT_INTERNAL_H

#include "dit.h"
#include "file.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIT_ALIGNMENT 64u
#define DIT_TRAINING_STEPS 1000

typedef struct dit_engine dit_engine;
typedef struct dit_pool dit_pool;

// ---- sampling.c ----

// x ← latent·x + prediction·ε + σ·noise; with learned_variance σ = exp(½(f·max + (1 − f)·min)), f = (v + 1)/2, else sigma.
typedef struct dit_step {
    int32_t timestep;
    float latent, prediction, sigma, min_log_variance, max_log_variance;
    uint32_t learned_variance;
} dit_step;

static inline bool dit_step_needs_noise(const dit_step* s) { return s->learned_variance || s->sigma != 0; }

// PyTorch's CPU generator, as TorchGenerator.cs.
typedef struct dit_random {
    uint32_t state[624];
    uint32_t next;
    double cached;
    bool has_cached;
} dit_random;

// Fills steps[] from the noisiest timestep down. Fails with DIT_INVALID_ARGUMENT as the command line does (a count that no whole stride makes, eta with DDPM ...).
static dit_status dit_make_plan(dit_context* c, const dit_request* request, uint32_t count, dit_step* steps);
static void dit_random_seed(dit_random* r, uint64_t seed);
static void dit_random_normal(dit_random* r, float* values, size_t count);

// ---- engines ----

// Images sampled together. An engine keeps the pointer until the batch ends.
typedef struct dit_batch {
    uint32_t images, samples;  // samples: two an image where it is guided, its own row first, then the null class's
    const int32_t* labels;     // [images]
    const dit_step* steps;
    uint32_t step_count;
    float guidance_scale;
    const float* latents;      // [images, C, S, S]: initial noise
} dit_batch;

struct dit_engine {
    const char* (*describe)(const dit_context* c);
    uint64_t (*memory_bytes)(const dit_context* c);
    // Part `index` of those bytes as dit_memory_part() tells it; may be null where an engine has no more to tell.
    const char* (*memory_part)(const dit_context* c, uint32_t index, uint64_t* bytes, int* shared);
    dit_status (*begin)(dit_context* c, const dit_batch* batch);
    // noise: [images, C, S, S] where dit_step_needs_noise(step), else null. Calls may run ahead of the device.
    dit_status (*step)(dit_context* c, uint32_t step, const float* noise);
    dit_status (*read)(dit_context* c, float* latents);                             // [images, C, S, S]
    dit_status (*decode)(dit_context* c, const float* latent, float* pixels);       // one image: [side, side, channels], about -1 to 1
    // For verification: one pass of two samples; stages as in dit_golden_header. DIT_UNSUPPORTED where an engine cannot show them.
    dit_status (*pass)(dit_context* c, const dit_golden_header* golden, const float* latents, float* stages, float* prediction);
    void (*close)(dit_context* c);
};

// The engine of the target this runtime is built for (DIT_CUDA or not): sets c->engine, whose close() then copes with what is half open.
static dit_status dit_engine_open(dit_context* c);

// ---- the context ----

struct dit_context {
    dit_allocator allocator;
    char error[512];
    const uint8_t* file;  // mapped, checked
    uint64_t file_bytes;
    const dit_file_header* header;
    const dit_file_layer* layers;
    uint32_t threads, device;
    dit_simd simd;
    uint64_t max_memory, allocated;
    int cancelled;  // by __atomic operations
    const dit_engine* engine;
    void* state;  // the engine's own
    // api.c: a request's plan, generators, noise and latents; allocated when the model is opened.
    dit_step* steps;         // [DIT_TRAINING_STEPS]
    dit_random* generators;  // [max_batch]
    float *noise, *latents;  // [max_batch, C, S, S]
    float* pixels;           // one image
};

static inline bool dit_is_cancelled(const dit_context* c) { return __atomic_load_n(&c->cancelled, __ATOMIC_RELAXED) != 0; }

// ---- memory.c ----

// Zeroed and aligned to 64 bytes; null where the allocator refuses or max_memory would be passed. dit_release(null) is allowed.
static void* dit_allocate(dit_context* c, uint64_t bytes);
static void dit_release(dit_context* c, void* block);
// Leaves the reason and returns the status.
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
static dit_status dit_fail(dit_context* c, dit_status status, const char* format, ...);
static dit_status dit_no_memory(dit_context* c, uint64_t bytes, const char* purpose);  // after a null of dit_allocate()

// Hands a failure on.
#define DIT_TRY(call)                              \
    do {                                           \
        const dit_status dit_tried_ = (call);      \
        if (dit_tried_ != DIT_OK) return dit_tried_; \
    } while (0)

// ---- check.c, file.c ----

#ifdef DIT_CUDA
#define DIT_BUILT_TARGET DIT_TARGET_CUDA
#else
#define DIT_BUILT_TARGET DIT_TARGET_C
#endif

static inline uint32_t dit_token_count(const dit_file_header* h) { return h->input_size / h->patch_size * (h->input_size / h->patch_size); }
static inline uint32_t dit_latent_count(const dit_file_header* h) { return h->in_channels * h->input_size * h->input_size; }
static inline uint32_t dit_model_layers(const dit_file_header* h) { return 6 + 5 * h->depth; }  // the decoder's follow

static dit_status dit_file_open(dit_context* c, const char* path);  // maps and checks: DIT_BAD_FILE names the layer or section
static void dit_file_close(dit_context* c);
static dit_status dit_map(dit_context* c, const char* path, const uint8_t** bytes, uint64_t* count);
static void dit_unmap(const uint8_t* bytes, uint64_t count);
static inline const void* dit_at(const dit_context* c, dit_section s) { return s.bytes ? c->file + s.offset : NULL; }

#ifndef DIT_CUDA

// ---- threads.c ----

// task runs once for each number below count; scratch is the thread's own, of scratch_bytes. A task's number says all that it does: which
// thread runs it changes nothing.
typedef void dit_task(void* job, uint32_t task, uint8_t* scratch);
static dit_status dit_pool_open(dit_context* c, uint32_t threads, size_t scratch_bytes, dit_pool** pool);
static void dit_pool_close(dit_context* c, dit_pool* pool);
static dit_status dit_pool_run(dit_context* c, dit_pool* pool, dit_task* task, void* job, uint32_t count);  // DIT_CANCELLED between tasks

// ---- the processor's operations: ops.h, kernels.inc, lowbit.inc ----

// Quantized rows: codes, and per row and group a scale, a zero point and the sum of the codes, as CpuActivations.cs lays them out.
typedef struct dit_codes {
    uint8_t* codes;         // [rows + 16, code_stride]; null where values are floats
    int32_t code_stride;    // row length rounded up to 4
    float* scales;          // [groups, row_stride]
    int32_t *zeros, *sums;  // [groups, row_stride]
    int64_t row_stride;     // rows + 16
    int32_t group_count, group_size;
    const float* static_scales;  // [groups], or null
    const uint8_t* static_zeros;
} dit_codes;

// What a layer reads or an operation writes: rows of floats, or codes where codes.codes is set. `values` beside codes is where a linear
// layer with an input of floats puts its output before it is quantized; the other operations find it null.
typedef struct dit_rows {
    float* values;  // [rows, length]
    dit_codes codes;
    int32_t rows, length;
} dit_rows;

// A table row for each sample: chunk (number · width) of row row_of_sample[sample].
typedef struct dit_modulation {
    const float* table;  // [R, stride]
    int32_t stride;
    const int32_t* row_of_sample;  // [B]
    int32_t rows_per_sample;       // T
} dit_modulation;

// y = act(sum + b), y += sum + b (adds), or y += gate·(sum + b).
typedef struct dit_epilogue {
    dit_activation activation;
    bool adds;
    const dit_modulation* gate;  // or null
    int32_t gate_chunk;
} dit_epilogue;

// A layer, ready: pointers into the file and what is derived from it.
typedef struct dit_layer {
    const dit_file_layer* file;
    const uint8_t *weight, *zeros, *table;
    const uint16_t *scales, *codebook;
    const float* bias;           // [N], padded by 64 zeros
    const uint8_t* byte_vectors; // codebooks with a quantized input: q + 128 in slots of 4 or 8 bytes
    int32_t groups;              // of a row
    int32_t row_bytes;           // of a row's codes or values
} dit_layer;

// The operations, one set for each set of instructions; all give the same bits. See IDiTBackend.cs for what each computes, CpuBackend.*.cs for
// the order of additions.
typedef struct dit_ops {
    dit_simd simd;
    int32_t panel_width;
    size_t (*scratch_bytes)(const dit_context* c);  // of a thread, for this model
    dit_status (*linear)(dit_context* c, dit_pool* p, const dit_rows* x, const dit_layer* layer, const dit_epilogue* e, dit_rows* y);
    dit_status (*norm_modulate)(dit_context* c, dit_pool* p, const float* tokens, int32_t rows, int32_t width, const dit_modulation* m, int32_t shift_chunk, float epsilon, dit_rows* y);
    dit_status (*attention)(dit_context* c, dit_pool* p, const float* qkv, int32_t samples, int32_t tokens, int32_t width, int32_t heads, dit_rows* y, float* staging);
    dit_status (*condition)(dit_context* c, dit_pool* p, const float* timesteps, const dit_layer* label_table, const int32_t* labels, int32_t rows, float* y);
    dit_status (*update)(dit_context* c, dit_pool* p, const float* prediction, const dit_batch* batch, const dit_step* step, const float* noise, float* latents);
    dit_status (*convolution)(dit_context* c, dit_pool* p, const float* x, int32_t height, int32_t width, const dit_layer* layer, bool upsamples, dit_activation act, const float* residual, float* y);
    dit_status (*group_norm)(dit_context* c, dit_pool* p, const float* x, int32_t height, int32_t width, int32_t channels, int32_t groups, float epsilon, dit_activation act, const float* gamma, const float* beta, float* moments, float* y);
} dit_ops;

static const dit_ops* dit_find_ops(dit_simd wanted);  // null where this machine lacks the instructions
static dit_status dit_layer_open(dit_context* c, const dit_file_layer* file, dit_layer* layer);
static void dit_layer_close(dit_context* c, dit_layer* layer);

#endif  // DIT_CUDA

#endif
