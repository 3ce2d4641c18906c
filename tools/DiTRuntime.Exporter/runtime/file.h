// What an export's weights file holds. Little-endian, structs as the C compiler lays them out (naturally aligned, no padding but what is
// spelled out); sections begin at multiples of 64 bytes, those of weights at multiples of 4096. tools/DiTRuntime.Exporter writes it;
// a test compares every offset. Nothing in here is trusted: dit_file_check() looks at all of it before anything is read.
#ifndef DIT_FILE_H
#define DIT_FILE_H

#include <stdint.h>

#define DIT_FILE_MAGIC "DITEXPT1"
#define DIT_FILE_VERSION 1u
#define DIT_NONE 0xffffffffu

typedef struct dit_section {
    uint64_t offset;  // from the file's beginning
    uint64_t bytes;   // 0: absent
} dit_section;

typedef enum dit_target { DIT_TARGET_C = 0, DIT_TARGET_CUDA = 1 } dit_target;
typedef enum dit_decoder_kind { DIT_DECODER_PIXELS = 0, DIT_DECODER_KL = 1, DIT_DECODER_TINY = 2 } dit_decoder_kind;
typedef enum dit_format { DIT_FORMAT_DENSE = 0, DIT_FORMAT_GROUP = 1, DIT_FORMAT_CODEBOOK = 2, DIT_FORMAT_PRODUCT = 3 } dit_format;
typedef enum dit_element { DIT_F32 = 0, DIT_F16 = 1, DIT_BF16 = 2 } dit_element;
typedef enum dit_activation { DIT_ACT_NONE = 0, DIT_ACT_RELU = 1, DIT_ACT_SILU = 2, DIT_ACT_GELU_TANH = 3 } dit_activation;

typedef struct dit_file_header {
    char magic[8];
    uint32_t version, header_bytes;
    uint64_t file_bytes;
    uint32_t target;  // dit_target

    // The architecture: S, p, C, Cout, H, depth, heads, MLP, classes (the null class is the last row of the label table), width of the timestep's features.
    uint32_t input_size, patch_size, in_channels, out_channels, hidden_size, depth, head_count, mlp_size, class_count, frequency_size;

    // The reading of the published code (--compat).
    uint32_t single_schedule;  // 1: noise schedule in single precision and diffusers' timesteps
    uint32_t guided_channels;  // channels that guidance acts on
    uint32_t round_nearest;    // 1: pixels rounded to nearest (diffusers), 0: truncated
    float attention_epsilon, mlp_epsilon, final_epsilon;

    // What the export was planned for.
    uint32_t max_batch;      // images sampled together
    uint32_t default_steps;
    uint32_t table_rows;     // rows of the modulation table held at once: (timestep, class) pairs
    uint32_t default_sampler, default_spacing;
    float default_guidance;

    // The decoder: tiles of tile_size positions a side, spread over input_size (one tile where they are equal).
    uint32_t decoder_kind, tile_size, upscale, image_channels;
    float scaling_factor, shift_factor;
    uint32_t decoder_input, decoder_output;  // numbers of tensors

    uint32_t layer_count, tensor_count, operation_count, reserved;
    dit_section layers;       // dit_file_layer [layer_count]: patch embed, t.0, t.2, label table, per block (adaLN, qkv, proj, fc1, fc2), final adaLN, final linear; then the decoder's
    dit_section positions;    // F32 [T, H]
    dit_section frequencies;  // F32 [frequency_size / 2]
    dit_section tensors;      // dit_file_tensor [tensor_count]: what the decoder works in
    dit_section operations;   // dit_file_operation [operation_count]: the decoder, in order
    dit_section class_names;  // class_count strings, each ended by a zero; or absent
    dit_section plan;         // of --target cuda: see cuda_plan.h
} dit_file_header;

// A linear layer [N, K], or with kernel_size > 0 a convolution of kernel_size x kernel_size taps: taps outermost, each [N, K].
typedef struct dit_file_layer {
    char name[64];  // ended by a zero; for messages
    uint32_t outputs, inputs, kernel_size;
    uint32_t format;   // dit_format
    uint32_t element;  // dense: dit_element
    uint32_t bits;     // of a code: group 2, 3, 4, 5, 6, 8; codebooks 1 to 16
    uint32_t group_size;       // group: values of a row that share a scale and a zero point; inputs: the whole row
    uint32_t activation_group; // values of an input row that share a scale and a zero point; 0: the input stays in floating point
    uint32_t vector_length, codebook_size, parts;  // codebooks: d, k, equal parts of the rows that have a codebook each
    uint32_t pool_size;        // product: vectors of the pool, 0: codebooks are stored themselves
    uint32_t wide_table;       // 1: numbers into the pool are U32
    float integer_scale;       // codebooks with a quantized input: t of 8-bit codewords q = round(C/t)
    dit_section weight;        // dense values, or codes, packed little-endian, each row beginning at a byte
    dit_section scales;        // group: F16 [N, G]; codebooks: F16 [N] or absent
    dit_section zeros;         // group: codes packed without gaps over [N, G]
    dit_section codebook;      // F16 [books, k, d], or the pool [P, d]
    dit_section table;         // U16 or U32 [books, k]
    dit_section bias;          // F32 [N] or absent (zero)
    dit_section static_scales; // F32 [G] of the input's fixed ranges, or absent: found at run time
    dit_section static_zeros;  // U8 [G]
} dit_file_layer;

// Values [height, width, channels] of one tile.
typedef struct dit_file_tensor {
    uint32_t height, width, channels, reserved;
} dit_file_tensor;

typedef enum dit_operation_kind {
    DIT_OP_CONVOLUTION = 0,  // output = act(conv(upsample(input)) + b + residual)
    DIT_OP_GROUP_NORM = 1,   // output = act(GN(input)·gamma + beta)
    DIT_OP_LINEAR = 2,       // output = act(input Wᵀ + b), or output += input Wᵀ + b where residual is output
    DIT_OP_ATTENTION = 3     // output = softmax(q kᵀ/√D) v, input [T, 3·heads·D]
} dit_operation_kind;

typedef struct dit_file_operation {
    uint32_t kind;
    uint32_t input, output, residual;  // numbers of tensors, residual may be DIT_NONE
    uint32_t layer;                    // convolution, linear
    uint32_t activation;               // dit_activation
    uint32_t upsamples;                // convolution: the input is read twice as large, nearest
    uint32_t groups;                   // group norm
    uint32_t heads;                    // attention
    float epsilon;                     // group norm
    dit_section gamma, beta;           // group norm: F32 [channels]
} dit_file_operation;

// golden.dit: what `verify` compares with, made by the exporter's own engine.
#define DIT_GOLDEN_MAGIC "DITGOLD1"
typedef struct dit_golden_header {
    char magic[8];
    uint32_t version, header_bytes;
    uint64_t file_bytes;
    // Two images of a whole run: seed, seed + 1.
    uint64_t seed;
    int32_t labels[2];
    uint32_t steps, sampler, spacing;
    float eta, guidance_scale;
    // One forward pass of two samples (no guidance): latents in, stages out. Stage 0 is the embedding, then the blocks' outputs.
    int32_t timesteps[2], pass_labels[2];
    uint32_t stage_count, token_stride;  // every token_stride-th token of a sample is kept
    float stage_tolerance;               // largest allowed root mean square error of a stage, as a share of the stage's root mean square
    float latent_tolerance;              // the same of the final latents
    uint32_t pixel_tolerance;            // largest allowed difference of a pixel, of 255
    uint32_t reserved;
    dit_section pass_latents;  // F32 [2, C, S, S]
    dit_section stages;        // F32 [stage_count, 2, ceil(T / token_stride), H]
    dit_section prediction;    // F32 [2, Cout, S, S]
    dit_section latents;       // F32 [2, C, S, S]
    dit_section pixels;        // U8 [2, side, side, channels]
} dit_golden_header;

#endif
