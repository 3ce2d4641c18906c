// Floating point of every set of instructions that this machine has: the same bits as the portable set's, which agrees with plain loops in double precision. Shapes lie
// across the widths of vectors, panels and tiles.
#define _POSIX_C_SOURCE 200809L

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif

// A test includes parts of the runtime, not all of it.
#pragma GCC diagnostic ignored "-Wunused-function"

#include "../internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "../memory.c"
#include "../ops.h"

// ---- what the operations stand on ----

// Tasks one after another, last first, each with scratch of exactly so many bytes that it finds full of NaN: a sanitizer sees reading past them, and what depends on
// another task's scratch or order shows.
struct dit_pool {
    size_t scratch_bytes;
};

static dit_status dit_pool_run(dit_context* c, dit_pool* p, dit_task* task, void* job, uint32_t count) {
    (void)c;
    for (uint32_t i = count; i-- > 0;) {
        void* scratch;
        if (posix_memalign(&scratch, DIT_ALIGNMENT, p->scratch_bytes ? p->scratch_bytes : 1)) abort();
        memset(scratch, 0xff, p->scratch_bytes);
        task(job, i, scratch);
        free(scratch);
    }
    return DIT_OK;
}

static dit_file_header header;
static dit_context context = {.header = &header, .threads = 3};
static dit_pool pool;
static int failures;

static uint32_t random_state = 1;

// Between -range and range.
static float next_float(float range) {
    random_state = random_state * 1664525u + 1013904223u;
    return ((float)(random_state >> 8) / 8388608.0f - 1) * range;
}

// Exactly so many values, so that a sanitizer sees reading past them.
static float* floats(size_t count, float range) {
    float* values = malloc((count ? count : 1) * sizeof(float));
    if (!values) abort();
    for (size_t i = 0; i < count; i++) values[i] = next_float(range);
    return values;
}

static float* copy(const float* from, size_t count) {
    float* values = floats(count, 0);
    memcpy(values, from, count * sizeof(float));
    return values;
}

// ---- judging ----

// The largest difference, as a share of the root mean square.
static void expect_near(const char* what, const float* found, const double* expected, size_t count) {
    double worst = 0, squares = 0;
    for (size_t i = 0; i < count; i++) {
        double difference = fabs(found[i] - expected[i]);
        if (!(difference <= worst)) worst = difference;
        squares += expected[i] * expected[i];
    }
    if (worst <= 1e-6 * (1 + sqrt(squares / (double)count))) return;
    printf("%s: %g from double precision, of %g\n", what, worst, sqrt(squares / (double)count));
    failures++;
}

static void expect_same(const char* what, dit_simd simd, const void* found, const void* expected, size_t bytes) {
    if (memcmp(found, expected, bytes) == 0) return;
    printf("%s: set %d differs from the portable one\n", what, (int)simd);
    failures++;
}

// ---- plain loops in double precision ----

static double activated(dit_activation activation, double x) {
    switch (activation) {
        case DIT_ACT_RELU: return x > 0 ? x : 0;
        case DIT_ACT_SILU: return x / (1 + exp(-x));
        case DIT_ACT_GELU_TANH: return 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
        default: return x;
    }
}

static double* naive_norm(const float* x, int32_t rows, int32_t width, const dit_modulation* m, int32_t shift_chunk, double epsilon) {
    double* y = malloc((size_t)rows * (size_t)width * sizeof *y);
    for (int32_t row = 0; row < rows; row++) {
        const float* v = x + row * width;
        const float* shift = m->table + m->row_of_sample[row / m->rows_per_sample] * m->stride + shift_chunk * width;
        double mean = 0, variance = 0;
        for (int32_t i = 0; i < width; i++) mean += v[i] / (double)width;
        for (int32_t i = 0; i < width; i++) variance += (v[i] - mean) * (v[i] - mean) / width;
        for (int32_t i = 0; i < width; i++) y[row * width + i] = (v[i] - mean) / sqrt(variance + epsilon) * (1 + (double)shift[width + i]) + shift[i];
    }
    return y;
}

static double* naive_attention(const float* qkv, int32_t samples, int32_t tokens, int32_t width, int32_t heads) {
    int32_t size = width / heads;
    double* y = calloc((size_t)samples * (size_t)tokens * (size_t)width, sizeof *y);
    double* weights = malloc((size_t)tokens * sizeof *weights);
    for (int32_t job = 0; job < samples * tokens * heads; job++) {
        int32_t head = job % heads, token = job / heads;  // token: of all samples
        const float* sample = qkv + token / tokens * tokens * 3 * width + head * size;
        const float* q = sample + token % tokens * 3 * width;
        double total = 0;
        for (int32_t t = 0; t < tokens; t++) {
            double score = 0;
            for (int32_t d = 0; d < size; d++) score += (double)q[d] * sample[t * 3 * width + width + d];
            total += weights[t] = exp(score / sqrt(size));
        }
        for (int32_t t = 0; t < tokens; t++)
            for (int32_t d = 0; d < size; d++) y[token * width + head * size + d] += weights[t] / total * sample[t * 3 * width + 2 * width + d];
    }
    free(weights);
    return y;
}

static double* naive_convolution(const float* x, int32_t height, int32_t width, const dit_layer* layer, bool upsamples, dit_activation act, const float* residual) {
    int32_t inputs = (int32_t)layer->file->inputs, outputs = (int32_t)layer->file->outputs, side = (int32_t)layer->file->kernel_size, scale = upsamples ? 2 : 1;
    const float* weight = (const float*)(const void*)layer->weight;
    double* y = malloc((size_t)(height * width * outputs * scale * scale) * sizeof *y);
    for (int32_t at = 0; at < height * width * outputs * scale * scale; at++) {
        int32_t n = at % outputs, column = at / outputs % (width * scale), row = at / outputs / (width * scale);
        double sum = (double)layer->bias[n] + (residual ? residual[at] : 0);
        for (int32_t tap = 0; tap < side * side; tap++) {
            int32_t iy = row + tap / side - side / 2, ix = column + tap % side - side / 2;
            if (iy < 0 || iy >= height * scale || ix < 0 || ix >= width * scale) continue;
            for (int32_t k = 0; k < inputs; k++) sum += (double)weight[(tap * outputs + n) * inputs + k] * x[(iy / scale * width + ix / scale) * inputs + k];
        }
        y[at] = activated(act, sum);
    }
    return y;
}

static double* naive_group_norm(const float* x, int32_t area, int32_t channels, int32_t groups, double epsilon, dit_activation act, const float* gamma, const float* beta) {
    int32_t size = channels / groups;
    double* y = malloc((size_t)(area * channels) * sizeof *y);
    for (int32_t first = 0; first < channels; first += size) {
        double mean = 0, variance = 0, count = (double)area * size;
        for (int32_t i = 0; i < area * size; i++) mean += x[i / size * channels + first + i % size] / count;
        for (int32_t i = 0; i < area * size; i++) variance += pow(x[i / size * channels + first + i % size] - mean, 2) / count;
        for (int32_t i = 0; i < area * size; i++) {
            int32_t at = i / size * channels + first + i % size, channel = first + i % size;
            y[at] = activated(act, (x[at] - mean) / sqrt(variance + epsilon) * gamma[channel] + beta[channel]);
        }
    }
    return y;
}

// ---- layers ----

typedef struct test_layer {
    dit_file_layer file;
    dit_layer layer;
    float *weight, *bias;
} test_layer;

static void open_layer(test_layer* t, uint32_t outputs, uint32_t inputs, uint32_t kernel_size) {
    size_t taps = kernel_size ? kernel_size * kernel_size : 1;
    memset(t, 0, sizeof *t);
    t->file = (dit_file_layer){.name = "test", .outputs = outputs, .inputs = inputs, .kernel_size = kernel_size, .format = DIT_FORMAT_DENSE, .element = DIT_F32};
    t->weight = floats(taps * outputs * inputs, 1.0f / sqrtf((float)(taps * inputs)));
    t->bias = floats(outputs + 64, 1);
    memset(t->bias + outputs, 0, 64 * sizeof(float));
    t->layer = (dit_layer){.file = &t->file, .weight = (const uint8_t*)(const void*)t->weight, .bias = t->bias, .groups = 1, .row_bytes = (int32_t)(inputs * sizeof(float))};
}

static void close_layer(test_layer* t) {
    free(t->weight);
    free(t->bias);
}

// Codes [rows, width] as one group a row.
static dit_rows open_codes(int32_t rows, int32_t width) {
    dit_rows y = {.rows = rows, .length = width};
    int32_t padded = rows + 16;
    y.codes = (dit_codes){.code_stride = (width + 3) / 4 * 4, .row_stride = padded, .group_count = 1, .group_size = width};
    y.codes.codes = calloc((size_t)padded, (size_t)y.codes.code_stride);
    y.codes.scales = calloc((size_t)padded, sizeof(float));
    y.codes.zeros = calloc((size_t)padded, sizeof(int32_t));
    y.codes.sums = calloc((size_t)padded, sizeof(int32_t));
    return y;
}

static void expect_same_codes(const char* what, dit_simd simd, const dit_rows* found, const dit_rows* expected) {
    size_t rows = (size_t)found->rows;
    expect_same(what, simd, found->codes.codes, expected->codes.codes, rows * (size_t)found->codes.code_stride);
    expect_same(what, simd, found->codes.scales, expected->codes.scales, rows * sizeof(float));
    expect_same(what, simd, found->codes.zeros, expected->codes.zeros, rows * sizeof(int32_t));
    expect_same(what, simd, found->codes.sums, expected->codes.sums, rows * sizeof(int32_t));
}

static void close_codes(dit_rows* y) {
    free(y->codes.codes);
    free(y->codes.scales);
    free(y->codes.zeros);
    free(y->codes.sums);
}

// ---- the fused multiply-add of the portable set ----

static float any_float(void) {
    uint32_t bits = (random_state = random_state * 1664525u + 1013904223u) >> 16;
    bits = bits << 16 | (random_state = random_state * 1664525u + 1013904223u) >> 16;
    // Half of them with few bits, for ties.
    if (bits & 1) bits &= 0xffff0000u;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void expect_fma(float a, float b, float c) {
    float found = dit_fma(a, b, c), expected = fmaf(a, b, c);
    if (memcmp(&found, &expected, sizeof found) == 0 || (found != found && expected != expected)) return;
    printf("fma: %a * %a + %a is %a, not %a\n", (double)a, (double)b, (double)c, (double)expected, (double)found);
    failures++;
}

// c of all sizes, and near −a·b, where most of the product cancels, or near half of its last bit.
static void test_fma(void) {
    for (int i = 0; i < 2000000; i++) {
        float a = any_float(), b = any_float(), c = any_float();
        int exponent = 0;
        if (i % 4 == 1) c = -(a * b);
        if (i % 4 == 2) c = a * b * ldexpf(1, i % 120 - 60);
        if (i % 4 == 3 && isfinite(a * b)) frexpf(a * b, &exponent);
        if (i % 4 == 3) c = ldexpf(c < 0 ? -1.0f : 1.0f, exponent + i % 64 - 32);
        expect_fma(a, b, c);
        if (failures) return;
    }
    // A subnormal and a little less than half of its last bit.
    expect_fma(0x1.00001p-75f, 0x1.ffffep-76f, 0x400001p-149f);
}

// ---- the operations, one shape each ----

// The sets, the portable one first; it is what the others are compared with.
static const dit_ops* sets[8];
static int set_count;

static void test_norm(int32_t samples, int32_t tokens, int32_t width) {
    int32_t rows = samples * tokens;
    size_t count = (size_t)rows * (size_t)width;
    float *x = floats(count, 3), *table = floats((size_t)(3 * 4 * width), 1), *portable = NULL;
    int32_t row_of_sample[8];
    for (int32_t i = 0; i < samples; i++) row_of_sample[i] = (i + 1) % 3;
    dit_modulation m = {table, 4 * width, row_of_sample, tokens};
    double* expected = naive_norm(x, rows, width, &m, 1, 1e-6);
    dit_rows codes = {0};
    for (int i = 0; i < set_count; i++) {
        dit_rows y = {.values = floats(count, 0), .rows = rows, .length = width}, quantized = open_codes(rows, width);
        header.hidden_size = (uint32_t)width;
        pool.scratch_bytes = sets[i]->scratch_bytes(&context);
        sets[i]->norm_modulate(&context, &pool, x, rows, width, &m, 1, 1e-6f, &y);
        sets[i]->norm_modulate(&context, &pool, x, rows, width, &m, 1, 1e-6f, &quantized);
        if (i == 0) {
            expect_near("norm", y.values, expected, count);
            portable = y.values;
            codes = quantized;
            continue;
        }
        expect_same("norm", sets[i]->simd, y.values, portable, count * sizeof(float));
        expect_same_codes("norm to codes", sets[i]->simd, &quantized, &codes);
        free(y.values);
        close_codes(&quantized);
    }
    close_codes(&codes);
    free(portable);
    free(expected);
    free(table);
    free(x);
}

static void test_attention(int32_t samples, int32_t side, int32_t heads, int32_t head_size) {
    int32_t tokens = side * side, width = heads * head_size, rows = samples * tokens;
    size_t count = (size_t)rows * (size_t)width;
    float *qkv = floats(3 * count, 2), *staging = floats(count, 0), *portable = NULL;
    double* expected = naive_attention(qkv, samples, tokens, width, heads);
    dit_rows codes = {0};
    header.input_size = (uint32_t)side;
    header.hidden_size = (uint32_t)width;
    header.head_count = (uint32_t)heads;
    for (int i = 0; i < set_count; i++) {
        dit_rows y = {.values = floats(count, 0), .rows = rows, .length = width}, quantized = open_codes(rows, width);
        pool.scratch_bytes = sets[i]->scratch_bytes(&context);
        sets[i]->attention(&context, &pool, qkv, samples, tokens, width, heads, &y, NULL);
        sets[i]->attention(&context, &pool, qkv, samples, tokens, width, heads, &quantized, staging);
        expect_same("attention's staging", sets[i]->simd, staging, y.values, count * sizeof(float));
        if (i == 0) {
            expect_near("attention", y.values, expected, count);
            portable = y.values;
            codes = quantized;
            continue;
        }
        expect_same("attention", sets[i]->simd, y.values, portable, count * sizeof(float));
        expect_same_codes("attention to codes", sets[i]->simd, &quantized, &codes);
        free(y.values);
        close_codes(&quantized);
    }
    header.input_size = header.head_count = 1;
    close_codes(&codes);
    free(portable);
    free(expected);
    free(staging);
    free(qkv);
}

static void test_condition(int32_t rows, int32_t width) {
    size_t count = (size_t)rows * (size_t)width;
    test_layer table;
    open_layer(&table, 5, (uint32_t)width, 0);
    context.layers = &table.file;
    header.layer_count = 1;
    int32_t labels[8];
    for (int32_t i = 0; i < rows; i++) labels[i] = (3 * i + 4) % 5;
    float *t = floats(count, 3), *portable = NULL;
    double* expected = malloc(count * sizeof *expected);
    for (size_t i = 0; i < count; i++) expected[i] = activated(DIT_ACT_SILU, (double)t[i] + table.weight[(size_t)labels[i / (size_t)width] * (size_t)width + i % (size_t)width]);
    for (int i = 0; i < set_count; i++) {
        float* y = floats(count, 0);
        pool.scratch_bytes = sets[i]->scratch_bytes(&context);
        sets[i]->condition(&context, &pool, t, &table.layer, labels, rows, y);
        if (i == 0) expect_near("condition", portable = y, expected, count);
        else expect_same("condition", sets[i]->simd, y, portable, count * sizeof(float));
        if (i != 0) free(y);
    }
    header.layer_count = 0;
    close_layer(&table);
    free(portable);
    free(expected);
    free(t);
}

static void test_update(int32_t side, uint32_t images, bool guided, dit_step step) {
    int32_t channels = 4, predicted = 8, plane = side * side;
    size_t count = images * (size_t)(channels * plane);
    dit_batch batch = {.images = images, .samples = guided ? 2 * images : images, .guidance_scale = 4};
    float *prediction = floats(batch.samples * (size_t)(predicted * plane), 1), *noise = floats(count, 2), *x = floats(count, 2), *portable = NULL;
    header.input_size = (uint32_t)side;
    header.in_channels = (uint32_t)channels;
    header.out_channels = (uint32_t)predicted;
    header.guided_channels = 3;
    double* expected = malloc(count * sizeof *expected);
    for (size_t i = 0; i < count; i++) {
        size_t image = i / (size_t)(channels * plane), within = i % (size_t)(channels * plane);
        const float* own = prediction + image * (guided ? 2 : 1) * (size_t)(predicted * plane) + within;
        double epsilon = *own, fraction = own[channels * plane] / 2.0 + 0.5;
        if (guided && within < 3 * (size_t)plane) epsilon = own[predicted * plane] + 4.0 * (epsilon - own[predicted * plane]);
        double sigma = step.learned_variance ? exp((fraction * step.max_log_variance + (1 - fraction) * step.min_log_variance) / 2) : step.sigma;
        expected[i] = (double)step.latent * x[i] + step.prediction * epsilon + sigma * noise[i];
    }
    for (int i = 0; i < set_count; i++) {
        float* y = copy(x, count);
        pool.scratch_bytes = sets[i]->scratch_bytes(&context);
        sets[i]->update(&context, &pool, prediction, &batch, &step, dit_step_needs_noise(&step) ? noise : NULL, y);
        if (i == 0) expect_near("update", portable = y, expected, count);
        else expect_same("update", sets[i]->simd, y, portable, count * sizeof(float));
        if (i != 0) free(y);
    }
    header.input_size = 1;
    free(portable);
    free(expected);
    free(x);
    free(noise);
    free(prediction);
}

static void test_convolution(int32_t height, int32_t width, uint32_t inputs, uint32_t outputs, uint32_t kernel_size, bool upsamples, dit_activation act, bool adds) {
    size_t count = (size_t)(height * width) * outputs * (upsamples ? 4 : 1);
    test_layer conv;
    open_layer(&conv, outputs, inputs, kernel_size);
    context.layers = &conv.file;
    header.layer_count = 1;
    float *x = floats((size_t)(height * width) * inputs, 2), *residual = floats(count, 1), *portable = NULL;
    double* expected = naive_convolution(x, height, width, &conv.layer, upsamples, act, adds ? residual : NULL);
    for (int i = 0; i < set_count; i++) {
        // The residual may be the output.
        float* y = copy(residual, count);
        pool.scratch_bytes = sets[i]->scratch_bytes(&context);
        sets[i]->convolution(&context, &pool, x, height, width, &conv.layer, upsamples, act, adds ? y : NULL, y);
        if (i == 0) expect_near("convolution", portable = y, expected, count);
        else expect_same("convolution", sets[i]->simd, y, portable, count * sizeof(float));
        if (i != 0) free(y);
    }
    header.layer_count = 0;
    close_layer(&conv);
    free(portable);
    free(expected);
    free(residual);
    free(x);
}

static void test_group_norm(int32_t height, int32_t width, int32_t channels, int32_t groups, dit_activation act) {
    size_t count = (size_t)(height * width * channels);
    float *x = floats(count, 2), *gamma = floats((size_t)channels, 2), *beta = floats((size_t)channels, 1), *moments = floats((size_t)((height + 2) * channels), 1), *portable = NULL;
    double* expected = naive_group_norm(x, height * width, channels, groups, 1e-6, act, gamma, beta);
    for (int i = 0; i < set_count; i++) {
        float* y = copy(x, count);
        pool.scratch_bytes = sets[i]->scratch_bytes(&context);
        sets[i]->group_norm(&context, &pool, y, height, width, channels, groups, 1e-6f, act, gamma, beta, moments, y);
        if (i == 0) expect_near("group norm", portable = y, expected, count);
        else expect_same("group norm", sets[i]->simd, y, portable, count * sizeof(float));
        if (i != 0) free(y);
    }
    free(portable);
    free(expected);
    free(moments);
    free(beta);
    free(gamma);
    free(x);
}

// The panel product and the epilogues, through the linear operation.
static void test_linear(int32_t rows, uint32_t inputs, uint32_t outputs, const dit_epilogue* e) {
    size_t count = (size_t)rows * outputs;
    test_layer linear;
    open_layer(&linear, outputs, inputs, 0);
    context.layers = &linear.file;
    header.layer_count = 1;
    dit_rows x = {.values = floats((size_t)rows * inputs, 2), .rows = rows, .length = (int32_t)inputs};
    float *before = floats(count, 1), *portable = NULL;
    double* expected = malloc(count * sizeof *expected);
    for (size_t at = 0; at < count; at++) {
        size_t row = at / outputs, n = at % outputs;
        double sum = linear.bias[n];
        for (size_t k = 0; k < inputs; k++) sum += (double)x.values[row * inputs + k] * linear.weight[n * inputs + k];
        if (e->gate) {
            const dit_modulation* m = e->gate;
            sum *= m->table[m->row_of_sample[(int32_t)row / m->rows_per_sample] * m->stride + e->gate_chunk * (int32_t)outputs + (int32_t)n];
        }
        expected[at] = (e->gate || e->adds ? before[at] : 0) + activated(e->gate ? DIT_ACT_NONE : e->activation, sum);
    }
    for (int i = 0; i < set_count; i++) {
        dit_rows y = {.values = copy(before, count), .rows = rows, .length = (int32_t)outputs};
        pool.scratch_bytes = sets[i]->scratch_bytes(&context);
        sets[i]->linear(&context, &pool, &x, &linear.layer, e, &y);
        if (i == 0) expect_near("linear", portable = y.values, expected, count);
        else expect_same("linear", sets[i]->simd, y.values, portable, count * sizeof(float));
        if (i != 0) free(y.values);
    }
    header.layer_count = 0;
    close_layer(&linear);
    free(portable);
    free(expected);
    free(before);
    free(x.values);
}

static void test_gated_linear(int32_t samples, int32_t tokens, uint32_t inputs, uint32_t outputs) {
    int32_t row_of_sample[8];
    for (int32_t i = 0; i < samples; i++) row_of_sample[i] = (2 * i + 1) % 3;
    float* table = floats(3 * 4 * outputs, 1);
    dit_modulation m = {table, 4 * (int32_t)outputs, row_of_sample, tokens};
    dit_epilogue e = {.gate = &m, .gate_chunk = 3};
    test_linear(samples * tokens, inputs, outputs, &e);
    free(table);
}

// ---- all of them ----

static void find_sets(void) {
    static const dit_simd all[] = {DIT_SIMD_PORTABLE, DIT_SIMD_AVX2, DIT_SIMD_AVX_VNNI, DIT_SIMD_AVX512, DIT_SIMD_NEON, DIT_SIMD_NEON_DOTPROD, DIT_SIMD_NEON_I8MM};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        const dit_ops* ops = dit_find_ops(all[i]);
        if (!ops) continue;
        if (ops->simd != all[i]) failures++;
        sets[set_count++] = ops;
    }
    printf("sets:");
    for (int i = 0; i < set_count; i++) printf(" %d", (int)sets[i]->simd);
    printf(", best %d\n", (int)dit_find_ops(DIT_SIMD_AUTO)->simd);
}

int main(void) {
    header.patch_size = header.head_count = header.input_size = header.hidden_size = 1;
    find_sets();
    test_fma();

    static const int32_t widths[] = {1, 3, 4, 7, 15, 16, 17, 31, 33, 48, 63, 129, 384};
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
        test_norm(3, 7, widths[i]);
        test_condition(4, widths[i]);
        for (uint32_t act = DIT_ACT_NONE; act <= DIT_ACT_GELU_TANH; act++) test_linear(9, 37, (uint32_t)widths[i], &(dit_epilogue){.activation = (dit_activation)act});
        test_linear(23, (uint32_t)widths[i], 50, &(dit_epilogue){.adds = true});
        test_gated_linear(3, 5, 20, (uint32_t)widths[i]);
    }

    static const int32_t sides[] = {1, 2, 3, 4, 5, 7, 8}, head_sizes[] = {1, 5, 16, 72};
    for (size_t i = 0; i < sizeof sides / sizeof sides[0]; i++)
        for (size_t j = 0; j < sizeof head_sizes / sizeof head_sizes[0]; j++) test_attention(2, sides[i], j == 2 ? 1 : 3, head_sizes[j]);

    for (int32_t side = 1; side <= 7; side += 2) {
        test_update(side, 3, true, (dit_step){.latent = 1.1f, .prediction = -0.3f});
        test_update(side, 2, true, (dit_step){.latent = 1.1f, .prediction = -0.3f, .sigma = 0.2f});
        test_update(side, 3, false, (dit_step){.latent = 1.1f, .prediction = -0.3f, .learned_variance = 1, .min_log_variance = -6, .max_log_variance = -2});
        test_update(side, 1, true, (dit_step){.latent = 1.1f, .prediction = -0.3f, .learned_variance = 1, .min_log_variance = -6, .max_log_variance = -2});
    }

    test_convolution(1, 1, 3, 1, 3, false, DIT_ACT_NONE, false);
    test_convolution(5, 7, 4, 50, 3, false, DIT_ACT_RELU, true);
    test_convolution(5, 7, 17, 33, 3, true, DIT_ACT_NONE, false);
    test_convolution(9, 4, 20, 12, 1, false, DIT_ACT_SILU, false);
    test_convolution(6, 6, 8, 3, 5, true, DIT_ACT_NONE, true);
    test_convolution(40, 33, 6, 5, 3, false, DIT_ACT_NONE, false);
    test_group_norm(4, 5, 6, 3, DIT_ACT_NONE);
    test_group_norm(3, 7, 32, 32, DIT_ACT_SILU);
    test_group_norm(8, 8, 40, 4, DIT_ACT_SILU);
    test_group_norm(1, 1, 17, 1, DIT_ACT_RELU);

    printf("%s\n", failures ? "failed" : "passed");
    return failures != 0;
}
