// The plan of --target cuda: what the C# engine did for one batch shape, written down once to be played again. An array of dit_plan lies in the
// file's section `plan`, one for each architecture that was exported. tools/DiTRuntime.Exporter/Cuda writes it; a test compares every offset.
//
// A plan is buffers (with the weights that lie in them, in kernel layout), kernels (compiled), and commands: launches whose argument structs
// hold zeros where pointers belong, and beside them which buffer each pointer means. The step's number stands in device memory, so that the
// same commands take every step.
#ifndef DIT_CUDA_PLAN_H
#define DIT_CUDA_PLAN_H

#include "file.h"

#define DIT_PLAN_VERSION 1u

// Bytes of a buffer that the host writes or reads.
typedef struct dit_plan_place {
    uint64_t offset, bytes;
    uint32_t buffer;  // DIT_NONE: absent
    uint32_t reserved;
} dit_plan_place;

typedef struct dit_plan_buffer {
    uint64_t bytes;
    dit_section contents;  // what it begins with; zeros where absent, and behind a shorter one
    uint32_t shape;        // the only shape that uses it, or DIT_NONE: held as long as the context
    uint32_t reserved;
} dit_plan_buffer;

typedef struct dit_plan_kernel {
    char entry[64];     // ended by a zero
    dit_section image;  // a cubin; for the emulator a shared library
    uint32_t shared_bytes;  // the most dynamic shared memory of its launches
    uint32_t argument_bytes;
} dit_plan_kernel;

typedef enum dit_plan_command_kind {
    DIT_PLAN_LAUNCH = 0,
    DIT_PLAN_STAGE = 1  // of a pass: the tokens are the next stage's
} dit_plan_command_kind;

typedef struct dit_plan_command {
    uint32_t kind;
    uint32_t kernel;
    uint32_t grid_x, grid_y, grid_z, threads, shared_bytes;
    uint32_t first_pointer, pointer_count;
    uint32_t reserved;
    uint64_t argument_offset;  // into `arguments`; the kernel says how many bytes
} dit_plan_command;

// A pointer in an argument struct.
typedef struct dit_plan_pointer {
    uint64_t offset;  // into the buffer
    uint32_t buffer;
    uint32_t argument_offset;  // where its eight bytes lie in the struct
} dit_plan_pointer;

typedef struct dit_plan_range {
    uint32_t first, count;  // commands
} dit_plan_range;

typedef enum dit_plan_shape_kind { DIT_PLAN_SAMPLING = 0, DIT_PLAN_PASS = 1 } dit_plan_shape_kind;

// One batch shape. Row w·conditions + c of the modulation table belongs to step w of the window and condition c: the images' own classes, then
// the null class where it is guided.
typedef struct dit_plan_shape {
    uint32_t kind;
    uint32_t images, samples;  // samples: two an image where it is guided
    uint32_t conditions;
    uint32_t window_steps;     // steps that the table holds at once
    uint32_t step_capacity;    // steps of a run, at most
    dit_plan_range fill;       // timesteps, labels -> the table
    dit_plan_range step;       // latents -> latents, and the counter moves on; of a pass: latents -> stages, prediction
    dit_plan_place timesteps, labels;  // s32 [window_steps·conditions]
    dit_plan_place row_of_sample;      // s32 [step_capacity, samples]
    dit_plan_place updates;            // dit_plan_update [step_capacity, images]
    dit_plan_place counter;            // s32 [1]
    dit_plan_place latents;            // f32 [images, C, S, S]
    dit_plan_place noise;              // f32 [2, images, C, S, S]; step s reads half s & 1
    dit_plan_place tokens;             // of a pass: f16 [samples, T, token_stride]
    dit_plan_place prediction;         // of a pass: f32 [samples, Cout, S, S]
    uint32_t token_stride, reserved;
} dit_plan_shape;

// As dit_sample_update in kernels/abi/sampler.h.
typedef struct dit_plan_update {
    int32_t image, conditional_row, unconditional_row;
    float guidance_scale;
    int32_t guided_channels;
    float latent, prediction, sigma;
    int32_t learned_variance;
    float min_log_variance, max_log_variance;
} dit_plan_update;

typedef struct dit_plan {
    uint32_t version, plan_bytes;  // of this struct
    uint32_t architecture;         // 87, 90: compute capability as one number; 0: the emulator
    uint32_t is_specific;          // 1: runs on that very architecture only ("sm_90a")
    uint32_t buffer_count, kernel_count, command_count, pointer_count, shape_count;
    uint32_t input_stride, output_stride;  // halves from one position of the decoder's tile to the next
    uint32_t reserved;
    dit_plan_range decode;         // decoder_input -> decoder_output
    dit_plan_place decoder_input;  // f16 [tile_size, tile_size, input_stride]
    dit_plan_place decoder_output; // f16 [upscale·tile_size, upscale·tile_size, output_stride]
    dit_section buffers, kernels, commands, pointers, shapes;
    dit_section arguments;  // bytes
} dit_plan;

#endif
