// Packed weights of every format, by every set of instructions that this machine has, against plain loops: panels of floats, quantized activations and
// linear layers, the same bits. Shapes lie across the widths of vectors, strips, tiles, panels and blocks.
#define _POSIX_C_SOURCE 200809L

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif

// A test includes parts of the runtime, not all of it.
#pragma GCC diagnostic ignored "-Wunused-function"

// Machines with AVX-512 have the instruction of AVX-VNNI in another form, which is what is tested here: few have both.
#if defined(__x86_64__)
#define DIT_AVX_VNNI "avx512vnni,avx512vl"
#define DIT_DPBUSD _mm256_dpbusd_epi32
#endif

#include "../internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "../memory.c"
#include "../layers.c"
#include "../ops.h"

// ---- a pool that runs tasks one by one, with no more scratch than was asked for ----

struct dit_pool { size_t scratch_bytes; };

static dit_status dit_pool_run(dit_context* c, dit_pool* pool, dit_task* task, void* job, uint32_t count) {
    (void)c;
    for (uint32_t i = 0; i < count; i++) {
        void* scratch = NULL;
        if (posix_memalign(&scratch, DIT_ALIGNMENT, pool->scratch_bytes)) abort();
        memset(scratch, 0xff, pool->scratch_bytes);
        task(job, i, scratch);
        free(scratch);
    }
    return DIT_OK;
}

static dit_file_header header;
static dit_context context = {.header = &header, .threads = 3};
static int failures;

typedef void fill_function(const dit_layer* layer, int32_t tap, int32_t first_output, int32_t outputs, int32_t first_input, int32_t depth, float* panel, int32_t width, uint8_t* scratch);
typedef void quantize_function(const float* x, int32_t width, const dit_codes* to, int64_t row);

typedef struct test_set {
    const dit_ops* ops;
    fill_function* fill;
    quantize_function* quantize;
    size_t (*scratch_bytes)(const dit_layer* layer);
} test_set;

static test_set sets[8];
static int set_count;

static void find_sets(void) {
    for (size_t i = 0; i < sizeof dit_all_ops / sizeof dit_all_ops[0]; i++) {
        const dit_ops* ops = &dit_all_ops[i];
        test_set set = {ops, dit_fill_floats_portable, dit_quantize_row_portable, dit_linear_scratch_bytes_portable};
        bool has = dit_has_simd(ops->simd);
#if defined(__x86_64__)
        if (ops->simd == DIT_SIMD_AVX_VNNI) has = dit_has_simd(DIT_SIMD_AVX512);
        if (ops->panel_width == 24) set = (test_set){ops, dit_fill_floats_avx2, dit_quantize_row_avx2, dit_linear_scratch_bytes_avx2};
        if (ops->panel_width == 48) set = (test_set){ops, dit_fill_floats_avx512, dit_quantize_row_avx512, dit_linear_scratch_bytes_avx512};
#elif defined(__aarch64__)
        if (ops->simd != DIT_SIMD_PORTABLE) set = (test_set){ops, dit_fill_floats_neon, dit_quantize_row_neon, dit_linear_scratch_bytes_neon};
#endif
        if (has) sets[set_count++] = set;
    }
    printf("sets:");
    for (int i = 0; i < set_count; i++) printf(" %d", (int)sets[i].ops->simd);
    printf("\n");
}

static uint32_t random_state = 1;

static uint32_t next_random(void) {
    random_state = random_state * 1664525u + 1013904223u;
    return random_state >> 8;
}

static float next_float(float range) { return ((float)next_random() / 8388608.0f - 1) * range; }

static void* allocate(size_t bytes) {
    void* block = malloc(bytes ? bytes : 1);
    if (!block) abort();
    return block;
}

static void expect_same(const char* what, const dit_file_layer* f, int set, const void* found, const void* expected, size_t bytes) {
    if (memcmp(found, expected, bytes) == 0) return;
    if (failures++ < 20)
        printf("%s: set %d: format %u bits %u group %u d %u k %u parts %u pool %u, [%u, %u], inputs by %u\n", what, (int)sets[set].ops->simd, f->format, f->bits, f->group_size,
               f->vector_length, f->codebook_size, f->parts, f->pool_size, f->outputs, f->inputs, f->activation_group);
}

// ---- weights ----

typedef struct test_layer {
    dit_file_layer file;
    dit_layer layer;
    float* decoded;  // [taps, N, K]
    int32_t* codes;  // group, or codewords in 8 bits: q [N, K]
    float *scales;   // what an integer product multiplies by [N, G]
    int32_t* zeros;  // [N, G]
    void* owned[8];
    int owned_count;
} test_layer;

// Exactly so many bytes, so that a sanitizer sees reading past them.
static uint8_t* section(test_layer* t, dit_section* s, size_t bytes) {
    uint8_t* block = allocate(bytes);
    for (size_t i = 0; i < bytes; i++) block[i] = (uint8_t)next_random();
    s->bytes = bytes;
    t->owned[t->owned_count++] = block;
    return block;
}

// Bit by bit.
static uint32_t read_code(const uint8_t* packed, size_t index, uint32_t bits) {
    uint32_t code = 0;
    for (uint32_t i = 0; i < bits; i++) code |= (uint32_t)(packed[(index * bits + i) / 8] >> (index * bits + i) % 8 & 1) << i;
    return code;
}

static float naive_half(uint16_t half) {
    const int exponent = half >> 10 & 31;
    const float magnitude = exponent == 0 ? ldexpf((float)(half & 1023), -24) : exponent == 31 ? (half & 1023 ? NAN : INFINITY) : ldexpf((float)((half & 1023) | 1024), exponent - 25);
    return half & 0x8000 ? -magnitude : magnitude;
}

// Positive, finite and not too far from one.
static void make_scales(uint16_t* scales, size_t count) {
    for (size_t i = 0; i < count; i++) scales[i] = (uint16_t)((8 + next_random() % 8) << 10 | (next_random() & 1023));
    if (count > 3) scales[3] = 5;  // subnormal
}

static void make_finite(uint16_t* halves, size_t count) {
    for (size_t i = 0; i < count; i++)
        if ((halves[i] & 0x7c00) == 0x7c00) halves[i] &= 0x83ff;
}

static void begin_layer(test_layer* t, uint32_t format, uint32_t outputs, uint32_t inputs) {
    memset(t, 0, sizeof *t);
    t->file.format = format;
    t->file.outputs = outputs;
    t->file.inputs = inputs;
    t->decoded = allocate(sizeof(float) * outputs * inputs * 9);
    t->codes = allocate(sizeof(int32_t) * outputs * inputs);
}

// The layer as dit_layer_open() makes it, but for pointers into blocks that end where the sections do.
static void finish_layer(test_layer* t, uint8_t* weight, uint8_t* scales, uint8_t* zeros, uint8_t* codebook, uint8_t* table) {
    const size_t blocks[5] = {t->file.weight.bytes, t->file.scales.bytes, t->file.zeros.bytes, t->file.codebook.bytes, t->file.table.bytes};
    dit_section* sections[5] = {&t->file.weight, &t->file.scales, &t->file.zeros, &t->file.codebook, &t->file.table};
    const uint8_t* sources[5] = {weight, scales, zeros, codebook, table};
    size_t total = 64 + t->file.outputs * sizeof(float);
    for (int i = 0; i < 5; i++) total += blocks[i] + 64;
    uint8_t* file = allocate(total);
    t->file.bias = (dit_section){0, t->file.outputs * sizeof(float)};
    for (uint32_t n = 0; n < t->file.outputs; n++) ((float*)(void*)file)[n] = next_float(1);
    size_t at = (t->file.bias.bytes + 63) / 64 * 64;
    for (int i = 0; i < 5; i++) {
        sections[i]->offset = at;
        if (blocks[i]) memcpy(file + at, sources[i], blocks[i]);
        at += (blocks[i] + 63) / 64 * 64;
    }
    context.file = file;
    if (dit_layer_open(&context, &t->file, &t->layer) != DIT_OK) {
        printf("opening: %s\n", context.error);
        exit(1);
    }
    free(file);
    t->layer.weight = weight;
    t->layer.scales = (const uint16_t*)(void*)scales;
    t->layer.zeros = zeros;
    t->layer.codebook = (const uint16_t*)(void*)codebook;
    t->layer.table = table;
}

static void close_layer(test_layer* t) {
    dit_layer_close(&context, &t->layer);
    for (int i = 0; i < t->owned_count; i++) free(t->owned[i]);
    free(t->decoded);
    free(t->codes);
    free(t->scales);
    free(t->zeros);
}

static void make_dense(test_layer* t, uint32_t element, uint32_t outputs, uint32_t inputs, uint32_t kernel) {
    begin_layer(t, DIT_FORMAT_DENSE, outputs, inputs);
    t->file.element = element;
    t->file.kernel_size = kernel;
    const size_t count = (size_t)outputs * inputs * (kernel ? kernel * kernel : 1);
    uint8_t* weight = section(t, &t->file.weight, count * (element == DIT_F32 ? 4 : 2));
    for (size_t i = 0; i < count; i++) {
        if (element == DIT_F32) {
            ((float*)(void*)weight)[i] = next_float(1);
            t->decoded[i] = ((float*)(void*)weight)[i];
            continue;
        }
        uint16_t* value = &((uint16_t*)(void*)weight)[i];
        if (element == DIT_F16) {
            // Infinities are numbers to come through; of several bit patterns that are none, no one is promised.
            if ((*value & 0x7c00) == 0x7c00 && *value & 1023) *value = (uint16_t)(i % 2 ? 0x7c00 : 0xfc00);
            t->decoded[i] = naive_half(*value);
        } else {
            const uint32_t bits = (uint32_t)*value << 16;
            memcpy(&t->decoded[i], &bits, sizeof bits);
        }
    }
    finish_layer(t, weight, NULL, NULL, NULL, NULL);
}

static void make_group(test_layer* t, uint32_t bits, uint32_t group, uint32_t outputs, uint32_t inputs, bool quantized) {
    begin_layer(t, DIT_FORMAT_GROUP, outputs, inputs);
    t->file.bits = bits;
    t->file.group_size = group;
    t->file.activation_group = quantized ? group : 0;
    const size_t groups = (inputs + group - 1) / group, row_bytes = (inputs * bits + 7) / 8;
    uint8_t* weight = section(t, &t->file.weight, outputs * row_bytes);
    uint8_t* scales = section(t, &t->file.scales, outputs * groups * 2);
    uint8_t* zeros = section(t, &t->file.zeros, (outputs * groups * bits + 7) / 8);
    make_scales((uint16_t*)(void*)scales, outputs * groups);
    t->scales = allocate(outputs * groups * sizeof(float));
    t->zeros = allocate(outputs * groups * sizeof(int32_t));
    for (size_t n = 0; n < outputs; n++)
        for (size_t k = 0; k < inputs; k++) {
            const size_t g = n * groups + k / group;
            t->scales[g] = naive_half(((uint16_t*)(void*)scales)[g]);
            t->zeros[g] = (int32_t)read_code(zeros, g, bits);
            t->codes[n * inputs + k] = (int32_t)read_code(weight + n * row_bytes, k, bits);
            t->decoded[n * inputs + k] = t->scales[g] * (float)(t->codes[n * inputs + k] - t->zeros[g]);
        }
    finish_layer(t, weight, scales, zeros, NULL, NULL);
}

typedef struct books {
    uint32_t k, d, parts, pool;
    bool product, wide, scaled;
} books;

static void make_codebook(test_layer* t, books b, uint32_t outputs, uint32_t inputs, uint32_t activation_group) {
    begin_layer(t, b.product ? DIT_FORMAT_PRODUCT : DIT_FORMAT_CODEBOOK, outputs, inputs);
    dit_file_layer* f = &t->file;
    f->codebook_size = b.k;
    f->vector_length = b.d;
    f->parts = b.parts;
    f->pool_size = b.pool;
    f->wide_table = b.wide;
    f->activation_group = activation_group;
    while (1u << f->bits < b.k) f->bits++;
    const size_t vectors = inputs / b.d, row_bytes = (vectors * f->bits + 7) / 8, entries = (b.product ? vectors : b.parts) * b.k, count = b.pool ? b.pool : entries;
    uint8_t* weight = section(t, &f->weight, outputs * row_bytes);
    uint16_t* codebook = (uint16_t*)(void*)section(t, &f->codebook, count * b.d * 2);
    uint8_t* table = b.pool ? section(t, &f->table, entries * (b.wide ? 4 : 2)) : NULL;
    uint16_t* scales = b.scaled ? (uint16_t*)(void*)section(t, &f->scales, outputs * 2) : NULL;
    make_finite(codebook, count * b.d);
    if (scales) make_scales(scales, outputs);
    for (size_t i = 0; table && i < entries; i++) {
        if (b.wide) ((uint32_t*)(void*)table)[i] = next_random() % b.pool;
        else ((uint16_t*)(void*)table)[i] = (uint16_t)(next_random() % b.pool);
    }

    float largest = 0;
    for (size_t i = 0; i < count * b.d; i++) largest = fmaxf(largest, fabsf(naive_half(codebook[i])));
    f->integer_scale = largest / 127;
    const size_t groups = activation_group ? (inputs + activation_group - 1) / activation_group : 1;
    t->scales = allocate(outputs * groups * sizeof(float));
    t->zeros = calloc(outputs * groups, sizeof(int32_t));
    for (size_t n = 0; n < outputs; n++) {
        const float row_scale = scales ? naive_half(scales[n]) : 1;
        for (size_t g = 0; g < groups; g++) t->scales[n * groups + g] = row_scale * f->integer_scale;
        for (size_t k = 0; k < inputs; k++) {
            // Where k is no power of two, files have only codes below it; here one that is beyond is wrapped around.
            const size_t j = k / b.d;
            uint32_t code = read_code(weight + n * row_bytes, j, f->bits);
            if (code >= b.k) {
                for (uint32_t i = 0; i < f->bits; i++) weight[n * row_bytes + (j * f->bits + i) / 8] &= (uint8_t)~(1u << (j * f->bits + i) % 8);
                code = 0;
            }
            size_t vector = (b.product ? j : n / (outputs / b.parts)) * b.k + code;
            if (table) vector = b.wide ? ((uint32_t*)(void*)table)[vector] : ((uint16_t*)(void*)table)[vector];
            const float value = naive_half(codebook[vector * b.d + k % b.d]);
            const int32_t q = (int32_t)nearbyintf(value / f->integer_scale);
            t->codes[n * inputs + k] = q;
            t->decoded[n * inputs + k] = (activation_group ? f->integer_scale * (float)q : value) * row_scale;
        }
    }
    finish_layer(t, weight, (uint8_t*)scales, NULL, (uint8_t*)codebook, table);
}

// ---- panels of floats ----

static void test_fill(const test_layer* t) {
    const dit_file_layer* f = &t->file;
    const int32_t outputs = (int32_t)f->outputs, inputs = (int32_t)f->inputs, taps = f->kernel_size ? (int32_t)(f->kernel_size * f->kernel_size) : 1;
    const int32_t block = dit_block_depth(&t->layer, 512);
    for (int set = 0; set < set_count; set++) {
        for (int32_t width = 1; width <= sets[set].ops->panel_width; width += sets[set].ops->panel_width - 1) {
            for (int32_t tap = 0; tap < taps; tap++)
                for (int32_t n = 0; n < outputs; n += width)
                    for (int32_t k = 0; k < inputs; k += block) {
                        const int32_t columns = dit_least(width, outputs - n), depth = dit_least(block, inputs - k);
                        float *panel = allocate(sizeof(float) * (size_t)(depth * width)), *expected = allocate(sizeof(float) * (size_t)(depth * width));
                        uint8_t* scratch = allocate(DIT_FILL_SCRATCH);
                        for (int32_t i = 0; i < depth; i++)
                            for (int32_t j = 0; j < width; j++)
                                expected[i * width + j] = panel[i * width + j] = j < columns ? t->decoded[((size_t)tap * f->outputs + (size_t)(n + j)) * f->inputs + (size_t)(k + i)] : -1;
                        for (int32_t i = 0; i < depth; i++)
                            for (int32_t j = 0; j < columns; j++) panel[i * width + j] = 77;
                        sets[set].fill(&t->layer, tap, n, columns, k, depth, panel, width, scratch);
                        expect_same("panel", f, set, panel, expected, sizeof(float) * (size_t)(depth * width));
                        free(scratch);
                        free(panel);
                        free(expected);
                    }
            if (sets[set].ops->panel_width == 1) break;
        }
    }
}

// ---- rows of codes ----

static dit_codes make_codes(int32_t rows, int32_t width, int32_t group) {
    const int32_t groups = (width + group - 1) / group;
    dit_codes c = {.code_stride = (width + 3) / 4 * 4, .row_stride = rows + 16, .group_count = groups, .group_size = group};
    const size_t per_group = (size_t)groups * (size_t)c.row_stride;
    c.codes = allocate((size_t)c.row_stride * (size_t)c.code_stride);
    memset(c.codes, 0xa5, (size_t)c.row_stride * (size_t)c.code_stride);
    c.scales = allocate(per_group * 4);
    c.zeros = allocate(per_group * 4);
    c.sums = allocate(per_group * 4);
    for (size_t i = 0; i < per_group; i++) {
        c.scales[i] = 1;
        c.zeros[i] = c.sums[i] = 7;
    }
    return c;
}

static void free_codes(dit_codes* c) {
    free(c->codes);
    free(c->scales);
    free(c->zeros);
    free(c->sums);
}

static void expect_same_codes(const char* what, const dit_file_layer* f, int set, const dit_codes* found, const dit_codes* expected) {
    const size_t groups = (size_t)found->group_count * (size_t)found->row_stride * 4;
    expect_same(what, f, set, found->codes, expected->codes, (size_t)found->row_stride * (size_t)found->code_stride);
    expect_same(what, f, set, found->scales, expected->scales, groups);
    expect_same(what, f, set, found->zeros, expected->zeros, groups);
    expect_same(what, f, set, found->sums, expected->sums, groups);
}

static float clamp(float x, float least, float most) { return x < least ? least : x > most ? most : x; }

// ActivationQuantizer.cs.
static void naive_quantize(const float* x, int32_t width, const dit_codes* to, int32_t row) {
    for (int32_t g = 0; g < to->group_count; g++) {
        const int32_t start = g * to->group_size, count = dit_least(to->group_size, width - start);
        const int64_t at = g * to->row_stride + row;
        float min = 0, max = 0;
        for (int32_t i = 0; i < count; i++) {
            min = fminf(min, x[start + i]);
            max = fmaxf(max, x[start + i]);
        }
        float scale = fmaxf(max - min, 1e-5f) / 255, zero = clamp(nearbyintf(-min * (1 / scale)), 0, 255);
        if (to->static_scales) {
            scale = to->static_scales[g];
            zero = to->static_zeros[g];
        }
        to->scales[at] = scale;
        to->zeros[at] = (int32_t)zero;
        to->sums[at] = 0;
        for (int32_t i = 0; i < count; i++) {
            const float code = clamp(nearbyintf(x[start + i] * (1 / scale)) + zero, 0, 255);
            to->codes[(int64_t)row * to->code_stride + start + i] = (uint8_t)code;
            to->sums[at] += (int32_t)code;
        }
    }
}

static void test_quantize(int32_t rows, int32_t width, int32_t group, bool fixed) {
    const dit_file_layer none = {.inputs = (uint32_t)width, .activation_group = (uint32_t)group};
    const size_t count = (size_t)rows * (size_t)width;
    float* x = allocate(count * sizeof(float));
    for (size_t i = 0; i < count; i++) x[i] = i / (size_t)width % 4 == 3 ? -2.5f : next_float(1) * (i % 7 == 0 ? 1000.0f : 3.0f);
    for (int32_t i = 0; i < width && rows > 5; i++) x[5 * width + i] = i % 2 ? 0.0f : 1e30f;
    const int32_t groups = (width + group - 1) / group;
    float* scales = allocate((size_t)groups * 4);
    uint8_t* zeros = allocate((size_t)groups);
    for (int32_t g = 0; g < groups; g++) {
        scales[g] = 0.01f * (float)(g + 1);
        zeros[g] = (uint8_t)(100 + g);
    }
    dit_codes expected = make_codes(rows, width, group);
    if (fixed) {
        expected.static_scales = scales;
        expected.static_zeros = zeros;
    }
    for (int32_t row = 0; row < rows; row++) naive_quantize(x + row * width, width, &expected, row);
    for (int set = 0; set < set_count; set++) {
        dit_codes found = make_codes(rows, width, group);
        found.static_scales = expected.static_scales;
        found.static_zeros = expected.static_zeros;
        for (int32_t row = 0; row < rows; row++) sets[set].quantize(x + row * width, width, &found, row);
        expect_same_codes("codes", &none, set, &found, &expected);
        free_codes(&found);
    }
    free_codes(&expected);
    free(scales);
    free(zeros);
    free(x);
}

// ---- linear layers ----

static void expect_ok(dit_status status) {
    if (status != DIT_OK) failures++;
}

static float* make_input(int32_t rows, int32_t inputs) {
    float* x = allocate(sizeof(float) * (size_t)rows * (size_t)inputs);
    for (int32_t i = 0; i < rows * inputs; i++) x[i] = next_float(1) * (i % 97 == 0 ? 20.0f : 2.0f);
    return x;
}

// Chains of fused multiply-adds over ascending inputs.
static void naive_float_linear(const test_layer* t, const float* x, int32_t rows, float* y) {
    const int32_t outputs = (int32_t)t->file.outputs, inputs = (int32_t)t->file.inputs;
    for (int32_t row = 0; row < rows; row++)
        for (int32_t n = 0; n < outputs; n++) {
            float sum = 0;
            for (int32_t k = 0; k < inputs; k++) sum = fmaf(x[row * inputs + k], t->decoded[n * inputs + k], sum);
            y[row * outputs + n] = sum + t->layer.bias[n];
        }
}

// Groups in ascending order, each of an exact integer.
static void naive_integer_linear(const test_layer* t, const dit_codes* x, int32_t rows, float* y) {
    const int32_t outputs = (int32_t)t->file.outputs, inputs = (int32_t)t->file.inputs, groups = x->group_count;
    for (int32_t row = 0; row < rows; row++)
        for (int32_t n = 0; n < outputs; n++) {
            float sum = 0;
            for (int32_t g = 0; g < groups; g++) {
                const int64_t at = g * x->row_stride + row;
                int64_t total = 0;
                for (int32_t k = g * x->group_size; k < dit_least((g + 1) * x->group_size, inputs); k++)
                    total += (int64_t)(x->codes[row * x->code_stride + k] - x->zeros[at]) * (t->codes[n * inputs + k] - t->zeros[n * groups + g]);
                sum = fmaf(x->scales[at] * t->scales[n * groups + g], (float)total, sum);
            }
            y[row * outputs + n] = sum + t->layer.bias[n];
        }
}

// The linear operation into floats, which `expected` says, and into codes, which are those of the activated floats.
static void test_linear(const test_layer* t, dit_rows* x, const float* expected, int32_t output_group) {
    const size_t count = (size_t)x->rows * t->file.outputs;
    const dit_epilogue none = {DIT_ACT_NONE, false, NULL, 0}, gelu = {DIT_ACT_GELU_TANH, false, NULL, 0};
    const int32_t outputs = (int32_t)t->file.outputs;
    dit_codes portable = {0};
    for (int set = 0; set < set_count; set++) {
        dit_pool pool = {sets[set].scratch_bytes(&(dit_layer){.file = &t->file})};
        dit_rows y = {.values = allocate(count * sizeof(float)), .rows = x->rows, .length = outputs};
        expect_ok(sets[set].ops->linear(&context, &pool, x, &t->layer, &none, &y));
        expect_same("linear", &t->file, set, y.values, expected, count * sizeof(float));

        expect_ok(sets[set].ops->linear(&context, &pool, x, &t->layer, &gelu, &y));
        dit_rows codes = {.values = x->codes.codes ? NULL : allocate(count * sizeof(float)), .codes = make_codes(x->rows, outputs, output_group), .rows = x->rows, .length = outputs};
        dit_codes wanted = make_codes(x->rows, outputs, output_group);
        for (int32_t row = 0; row < x->rows; row++) naive_quantize(y.values + row * outputs, outputs, &wanted, row);
        expect_ok(sets[set].ops->linear(&context, &pool, x, &t->layer, &gelu, &codes));
        expect_same_codes("linear to codes", &t->file, set, &codes.codes, &wanted);
        if (set == 0) portable = wanted;
        else {
            expect_same_codes("codes of all sets", &t->file, set, &codes.codes, &portable);
            free_codes(&wanted);
        }
        free_codes(&codes.codes);
        free(codes.values);
        free(y.values);
    }
    free_codes(&portable);
}

static void test_float_linear(const test_layer* t, int32_t rows, int32_t output_group) {
    const int32_t inputs = (int32_t)t->file.inputs;
    dit_rows x = {.values = make_input(rows, inputs), .rows = rows, .length = inputs};
    float* expected = allocate(sizeof(float) * (size_t)rows * t->file.outputs);
    naive_float_linear(t, x.values, rows, expected);
    test_linear(t, &x, expected, output_group);
    free(expected);
    free(x.values);
}

static void test_integer_linear(const test_layer* t, int32_t rows, int32_t output_group) {
    const int32_t inputs = (int32_t)t->file.inputs;
    float *values = make_input(rows, inputs), *expected = allocate(sizeof(float) * (size_t)rows * t->file.outputs);
    dit_rows x = {.codes = make_codes(rows, inputs, (int32_t)t->file.activation_group), .rows = rows, .length = inputs};
    for (int32_t row = 0; row < rows; row++) naive_quantize(values + row * inputs, inputs, &x.codes, row);
    // The extremes that sums in 16 bits have to bear.
    memset(x.codes.codes, 255, (size_t)inputs);
    if (rows > 1) memset(x.codes.codes + x.codes.code_stride, 0, (size_t)inputs);
    for (int32_t row = 0; row < dit_least(rows, 2); row++)
        for (int32_t g = 0; g < x.codes.group_count; g++)
            x.codes.sums[g * x.codes.row_stride + row] = (row ? 0 : 255) * dit_least(x.codes.group_size, inputs - g * x.codes.group_size);
    naive_integer_linear(t, &x.codes, rows, expected);
    test_linear(t, &x, expected, output_group);
    free(expected);
    free_codes(&x.codes);
    free(values);
}

// Codes all zero or all ones in some rows, and zero points at the other end: the extremes of q − Z.
static void make_extreme(test_layer* t) {
    const dit_file_layer* f = &t->file;
    const size_t groups = (size_t)t->layer.groups;
    for (size_t n = 0; n < dit_most(2, 0) && n < f->outputs; n++) {
        memset((void*)(uintptr_t)(t->layer.weight + n * (size_t)t->layer.row_bytes), n ? 255 : 0, (size_t)t->layer.row_bytes);
        for (size_t k = 0; k < f->inputs; k++) t->codes[n * f->inputs + k] = n ? (1 << f->bits) - 1 : 0;
        for (size_t g = n * groups; g < (n + 1) * groups; g++)
            for (uint32_t i = 0; i < f->bits; i++) {
                uint8_t* at = (uint8_t*)(uintptr_t)(t->layer.zeros + (g * f->bits + i) / 8);
                const uint8_t bit = (uint8_t)(1u << (g * f->bits + i) % 8);
                *at = (uint8_t)(n ? *at & ~bit : *at | bit);
                t->zeros[g] = n ? 0 : (1 << f->bits) - 1;
            }
    }
}

// ---- all of them ----

static void test_all_dense(void) {
    static const uint32_t inputs[] = {1, 3, 15, 33, 130, 1200};
    for (uint32_t element = DIT_F32; element <= DIT_BF16; element++)
        for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
            test_layer t;
            make_dense(&t, element, 51, inputs[i], 0);
            test_fill(&t);
            close_layer(&t);
            make_dense(&t, element, 7, inputs[i] % 100 + 1, 3);
            test_fill(&t);
            close_layer(&t);
        }
    test_layer t;
    make_dense(&t, DIT_F32, 51, 1190, 0);
    test_float_linear(&t, 9, 17);
    test_float_linear(&t, 1, 51);
    close_layer(&t);
}

static void test_all_groups(void) {
    static const uint32_t bits[] = {2, 3, 4, 5, 6, 8}, shapes[][3] = {{8, 33, 24}, {16, 17, 100}, {40, 50, 130}, {128, 16, 300}, {136, 1, 272}, {37, 20, 37}, {1210, 18, 1210}};
    for (size_t b = 0; b < sizeof bits / sizeof bits[0]; b++)
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
            const uint32_t* s = shapes[i];
            const int32_t output_group = i % 2 ? (int32_t)s[1] : 24;
            test_layer t;
            make_group(&t, bits[b], s[0], s[1], s[2], false);
            test_fill(&t);
            test_float_linear(&t, 5, output_group);
            close_layer(&t);
            make_group(&t, bits[b], s[0], s[1], s[2], true);
            make_extreme(&t);
            test_integer_linear(&t, i == 0 ? 131 : i == 1 ? 1 : (int32_t)(13 + 4 * i), dit_least(output_group, (int32_t)s[1]));
            close_layer(&t);
        }
}

static void test_all_codebooks(void) {
    for (uint32_t d = 2; d <= 8; d++)
        for (uint32_t bits = 1; bits <= 16; bits += d == 4 ? 1 : 5) {
            const uint32_t k = bits % 3 == 2 ? (1u << bits) - 1 : 1u << bits, parts = bits % 2 ? 3 : 1, inputs = d * (bits == 8 ? 301 : 67);
            const books b = {.k = k, .d = d, .parts = parts, .scaled = bits % 2};
            test_layer t;
            make_codebook(&t, b, 21, inputs, 0);
            test_fill(&t);
            if (bits == 8 || d == 3) test_float_linear(&t, 5, 8);
            close_layer(&t);
            make_codebook(&t, b, 33, inputs, bits % 4 == 0 ? inputs : 8 * d);
            test_fill(&t);
            test_integer_linear(&t, 19, 16);
            close_layer(&t);
        }

    for (uint32_t d = 2; d <= 8; d++)
        for (int kind = 0; kind < 3; kind++) {
            const books b = {.k = d == 4 ? 256 : 50, .d = d, .parts = 1, .product = true, .pool = kind == 0 ? 0 : kind == 1 ? 300 : 70000, .wide = kind == 2, .scaled = d % 2};
            test_layer t;
            make_codebook(&t, b, 21, 45 * d, 0);
            test_fill(&t);
            close_layer(&t);
            make_codebook(&t, b, 21, 45 * d, d % 2 ? 9 * d : 16 * d);
            test_fill(&t);
            test_integer_linear(&t, 7, 21);
            close_layer(&t);
        }
}

int main(void) {
    find_sets();
    static const int32_t widths[] = {1, 3, 4, 7, 8, 15, 16, 17, 31, 33, 64, 129, 200};
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++)
        for (int32_t group = 1; group <= 256; group = group * 2 + 1) {
            test_quantize(7, widths[i], dit_least(group, widths[i]), false);
            test_quantize(7, widths[i], dit_least(group, widths[i]), true);
        }
    test_all_dense();
    test_all_groups();
    test_all_codebooks();
    printf("%s\n", failures ? "failed" : "passed");
    return failures != 0;
}
