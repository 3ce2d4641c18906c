// The "cpu" engine: the forward pass of Peebles and Xie (2023), section 3.2, with adaLN-Zero blocks, and the steps of a sampler.

#include "internal.h"

#include <math.h>
#include <string.h>

// Chunks of a block's modulation: shift, scale and gate of attention, then of the MLP.
enum { DIT_ATTENTION_SHIFT = 0, DIT_ATTENTION_GATE = 2, DIT_MLP_SHIFT = 3, DIT_MLP_GATE = 5 };

// A buffer as this layer reads it.
static dit_rows dit_input_of(const dit_context* c, const dit_input* input, const dit_layer* layer, int32_t rows) {
    const dit_file_layer* file = layer->file;
    if (file->activation_group == 0) return dit_floats(input->values, rows, input->length);
    return (dit_rows){
        .codes = {
            .codes = input->codes,
            .code_stride = (input->length + 3) / 4 * 4,
            .scales = input->scales,
            .zeros = input->zeros,
            .sums = input->sums,
            .row_stride = rows + (int64_t)DIT_PADDING_ROWS,
            .group_count = (int32_t)dit_groups(file),
            .group_size = (int32_t)file->activation_group,
            .static_scales = dit_at(c, file->static_scales),
            .static_zeros = dit_at(c, file->static_zeros),
        },
        .rows = rows,
        .length = input->length,
    };
}

// [R, 6H]
static float* dit_block_table(const dit_cpu* s, uint32_t block, int32_t hidden) { return s->block_tables + (int64_t)block * s->table_rows * 6 * hidden; }

// ---- conditioning: timestep and class to modulation ----

// [cos(t·w), sin(t·w)]: the angle in single precision, as the published code computes it, its cosine and sine in double.
static void dit_timestep_features(const dit_context* c, dit_cpu* s, int32_t rows) {
    const int32_t half = (int32_t)(c->header->frequency_size / 2);
    const float* frequencies = dit_at(c, c->header->frequencies);
    for (int32_t row = 0; row < rows; row++) {
        float* features = s->features + (int64_t)row * 2 * half;
        for (int32_t i = 0; i < half; i++) {
            const float angle = (float)s->timesteps[row] * frequencies[i];
            features[i] = (float)cos(angle);
            features[half + i] = (float)sin(angle);
        }
    }
}

// Row i of the tables for timesteps[i] and labels[i]. It depends on nothing else, so a window of steps takes one product per layer.
static dit_status dit_fill_tables(dit_context* c, dit_cpu* s, int32_t rows) {
    const dit_file_header* h = c->header;
    const dit_ops* ops = s->ops;
    const int32_t hidden = (int32_t)h->hidden_size;
    const dit_epilogue plain = {0}, silu = {.activation = DIT_ACT_SILU};
    const dit_rows features = dit_floats(s->features, rows, (int32_t)h->frequency_size), condition = dit_floats(s->condition, rows, hidden);
    dit_rows inner = dit_floats(s->timestep_hidden, rows, hidden), timestep = dit_floats(s->timestep, rows, hidden);
    dit_timestep_features(c, s, rows);
    DIT_TRY(ops->linear(c, s->pool, &features, &s->layers[DIT_TIMESTEP_IN], &silu, &inner));
    DIT_TRY(ops->linear(c, s->pool, &inner, &s->layers[DIT_TIMESTEP_OUT], &plain, &timestep));
    DIT_TRY(ops->condition(c, s->pool, s->timestep, &s->layers[DIT_LABEL_TABLE], s->labels, rows, s->condition));
    for (uint32_t i = 0; i < h->depth; i++) {
        dit_rows table = dit_floats(dit_block_table(s, i, hidden), rows, 6 * hidden);
        DIT_TRY(ops->linear(c, s->pool, &condition, &s->layers[DIT_FIRST_BLOCK + DIT_BLOCK_LAYERS * i + DIT_BLOCK_MODULATION], &plain, &table));
    }

    dit_rows table = dit_floats(s->final_table, rows, 2 * hidden);
    return ops->linear(c, s->pool, &condition, &s->layers[dit_final_modulation(h)], &plain, &table);
}

// The tables of the steps that follow, as many as they hold.
static dit_status dit_fill_window(dit_context* c, dit_cpu* s, uint32_t first_step) {
    const uint32_t left = s->batch.step_count - first_step;
    const int32_t steps = left < (uint32_t)s->window_steps ? (int32_t)left : s->window_steps, rows = steps * s->condition_count;
    for (int32_t row = 0; row < rows; row++) {
        s->timesteps[row] = s->batch.steps[first_step + (uint32_t)(row / s->condition_count)].timestep;
        s->labels[row] = s->conditions[row % s->condition_count];
    }

    return dit_fill_tables(c, s, rows);
}

// ---- the pass ----

// One sample: patches in (c, p, q) order, and tokens set to the positions, to which the projection adds.
static void dit_gather_patches(void* job, uint32_t sample, uint8_t* scratch) {
    const dit_context* c = job;
    const dit_cpu* s = c->state;
    (void)scratch;
    const int64_t side = c->header->input_size, p = c->header->patch_size, channels = c->header->in_channels;
    const int64_t values = (int64_t)s->token_count * c->header->hidden_size;
    const float* latent = s->latents + s->image_of_sample[sample] * channels * side * side;
    float* patch = s->patches + (int64_t)sample * s->token_count * s->patch_length;
    for (int64_t top = 0; top < side; top += p)
        for (int64_t left = 0; left < side; left += p)
            for (int64_t row = 0; row < channels * p; row++, patch += p)
                memcpy(patch, latent + (row / p * side + top + row % p) * side + left, (size_t)p * sizeof(float));
    memcpy(s->tokens + sample * values, dit_at(c, c->header->positions), (size_t)values * sizeof(float));
}

// One sample: per token (p, q, c) to [Cout, S, S].
static void dit_scatter_patches(void* job, uint32_t sample, uint8_t* scratch) {
    const dit_context* c = job;
    const dit_cpu* s = c->state;
    (void)scratch;
    const int64_t side = c->header->input_size, p = c->header->patch_size, channels = c->header->out_channels;
    const float* patch = s->patches + (int64_t)sample * s->token_count * p * p * channels;
    float* image = s->prediction + sample * channels * side * side;
    for (int64_t top = 0; top < side; top += p)
        for (int64_t left = 0; left < side; left += p)
            for (int64_t row = 0; row < p; row++)
                for (int64_t column = 0; column < p; column++)
                    for (int64_t channel = 0; channel < channels; channel++)
                        image[(channel * side + top + row) * side + left + column] = *patch++;
}

static dit_status dit_embed(dit_context* c, dit_cpu* s) {
    const int32_t rows = s->samples * s->token_count;
    const dit_rows patches = dit_floats(s->patches, rows, s->patch_length);
    dit_rows tokens = dit_floats(s->tokens, rows, (int32_t)c->header->hidden_size);
    DIT_TRY(dit_pool_run(c, s->pool, dit_gather_patches, c, (uint32_t)s->samples));
    return s->ops->linear(c, s->pool, &patches, &s->layers[DIT_PATCH_EMBED], &(dit_epilogue){.adds = true}, &tokens);
}

// One adaLN-Zero block: tokens in place.
static dit_status dit_run_block(dit_context* c, dit_cpu* s, uint32_t number) {
    const dit_file_header* h = c->header;
    const dit_ops* ops = s->ops;
    const dit_layer* block = &s->layers[DIT_FIRST_BLOCK + DIT_BLOCK_LAYERS * number];
    const int32_t rows = s->samples * s->token_count, hidden = (int32_t)h->hidden_size;
    const dit_modulation m = {dit_block_table(s, number, hidden), 6 * hidden, s->row_of_sample, s->token_count};
    dit_rows tokens = dit_floats(s->tokens, rows, hidden), qkv = dit_floats(s->qkv, rows, 3 * hidden);

    dit_rows normed = dit_input_of(c, &s->token_input, &block[DIT_BLOCK_QKV], rows);
    DIT_TRY(ops->norm_modulate(c, s->pool, s->tokens, rows, hidden, &m, DIT_ATTENTION_SHIFT, h->attention_epsilon, &normed));
    DIT_TRY(ops->linear(c, s->pool, &normed, &block[DIT_BLOCK_QKV], &(dit_epilogue){0}, &qkv));
    dit_rows attended = dit_input_of(c, &s->token_input, &block[DIT_BLOCK_PROJECTION], rows);
    DIT_TRY(ops->attention(c, s->pool, s->qkv, s->samples, s->token_count, hidden, (int32_t)h->head_count, &attended, s->staging));
    DIT_TRY(ops->linear(c, s->pool, &attended, &block[DIT_BLOCK_PROJECTION], &(dit_epilogue){.gate = &m, .gate_chunk = DIT_ATTENTION_GATE}, &tokens));

    normed = dit_input_of(c, &s->token_input, &block[DIT_BLOCK_FC1], rows);
    DIT_TRY(ops->norm_modulate(c, s->pool, s->tokens, rows, hidden, &m, DIT_MLP_SHIFT, h->mlp_epsilon, &normed));
    dit_rows inner = dit_input_of(c, &s->hidden_input, &block[DIT_BLOCK_FC2], rows);
    if (inner.codes.codes && !normed.codes.codes) inner.values = s->staging;
    DIT_TRY(ops->linear(c, s->pool, &normed, &block[DIT_BLOCK_FC1], &(dit_epilogue){.activation = DIT_ACT_GELU_TANH}, &inner));
    if (inner.codes.codes) inner.values = NULL;
    return ops->linear(c, s->pool, &inner, &block[DIT_BLOCK_FC2], &(dit_epilogue){.gate = &m, .gate_chunk = DIT_MLP_GATE}, &tokens);
}

// tokens → prediction.
static dit_status dit_predict(dit_context* c, dit_cpu* s) {
    const int32_t rows = s->samples * s->token_count, hidden = (int32_t)c->header->hidden_size;
    const dit_layer* layer = &s->layers[dit_final_linear(c->header)];
    const dit_modulation m = {s->final_table, 2 * hidden, s->row_of_sample, s->token_count};
    dit_rows normed = dit_input_of(c, &s->token_input, layer, rows), patches = dit_floats(s->patches, rows, (int32_t)layer->file->outputs);
    DIT_TRY(s->ops->norm_modulate(c, s->pool, s->tokens, rows, hidden, &m, 0, c->header->final_epsilon, &normed));
    DIT_TRY(s->ops->linear(c, s->pool, &normed, layer, &(dit_epilogue){0}, &patches));
    return dit_pool_run(c, s->pool, dit_scatter_patches, c, (uint32_t)s->samples);
}

// ---- the engine ----

// Codes are read up to whole groups of four and whole tiles of rows: what lies there is multiplied by nothing, or never stored, but it is there.
static void dit_clear_codes(dit_cpu* s) {
    if (s->token_input.codes) memset(s->token_input.codes, 0, s->token_input.code_bytes);
    if (s->hidden_input.codes) memset(s->hidden_input.codes, 0, s->hidden_input.code_bytes);
}

// The number of a class among those of the batch, which it joins if it is new.
static int32_t dit_condition_number(dit_cpu* s, int32_t label) {
    int32_t i = 0;
    while (i < s->condition_count && s->conditions[i] != label) i++;
    if (i == s->condition_count) s->conditions[s->condition_count++] = label;
    return i;
}

static dit_status dit_cpu_begin(dit_context* c, const dit_batch* batch) {
    const dit_file_header* h = c->header;
    dit_cpu* s = c->state;
    s->batch = *batch;
    s->images = (int32_t)batch->images;
    s->samples = (int32_t)batch->samples;
    s->condition_count = 0;
    for (int32_t i = 0; i < s->images; i++) dit_condition_number(s, batch->labels[i]);
    if (s->samples > s->images) dit_condition_number(s, (int32_t)h->class_count);
    s->window_steps = s->table_rows / s->condition_count;
    for (int32_t i = 0; i < s->samples; i++) s->image_of_sample[i] = i / (s->samples / s->images);
    memcpy(s->latents, batch->latents, (size_t)batch->images * h->in_channels * h->input_size * h->input_size * sizeof(float));
    dit_clear_codes(s);
    return DIT_OK;
}

static dit_status dit_cpu_step(dit_context* c, uint32_t step, const float* noise) {
    dit_cpu* s = c->state;
    const int32_t of_window = (int32_t)(step % (uint32_t)s->window_steps), each = s->samples / s->images;
    if (of_window == 0) DIT_TRY(dit_fill_window(c, s, step));
    for (int32_t i = 0; i < s->samples; i++) {
        const int32_t label = i % each == 1 ? (int32_t)c->header->class_count : s->batch.labels[i / each];
        s->row_of_sample[i] = of_window * s->condition_count + dit_condition_number(s, label);
    }

    DIT_TRY(dit_embed(c, s));
    for (uint32_t i = 0; i < c->header->depth; i++) DIT_TRY(dit_run_block(c, s, i));
    DIT_TRY(dit_predict(c, s));
    return s->ops->update(c, s->pool, s->prediction, &s->batch, &s->batch.steps[step], noise, s->latents);
}

static dit_status dit_cpu_read(dit_context* c, float* latents) {
    const dit_file_header* h = c->header;
    const dit_cpu* s = c->state;
    memcpy(latents, s->latents, (size_t)s->images * h->in_channels * h->input_size * h->input_size * sizeof(float));
    return DIT_OK;
}

// The tokens that a verification looks at, [2, kept, H].
static void dit_show_stage(const dit_context* c, const dit_cpu* s, uint32_t stride, float** stages) {
    const size_t hidden = c->header->hidden_size;
    for (int32_t sample = 0; sample < s->samples; sample++)
        for (uint32_t token = 0; token < (uint32_t)s->token_count; token += stride, *stages += hidden)
            memcpy(*stages, s->tokens + ((size_t)sample * (size_t)s->token_count + token) * hidden, hidden * sizeof(float));
}

static dit_status dit_cpu_pass(dit_context* c, const dit_golden_header* golden, const float* latents, float* stages, float* prediction) {
    const dit_file_header* h = c->header;
    dit_cpu* s = c->state;
    const size_t plane = (size_t)h->input_size * h->input_size;
    s->images = s->samples = 2;
    for (int32_t i = 0; i < 2; i++) {
        s->image_of_sample[i] = s->row_of_sample[i] = i;
        s->timesteps[i] = golden->timesteps[i];
        s->labels[i] = golden->pass_labels[i];
    }

    memcpy(s->latents, latents, 2 * h->in_channels * plane * sizeof(float));
    dit_clear_codes(s);
    DIT_TRY(dit_fill_tables(c, s, 2));
    DIT_TRY(dit_embed(c, s));
    dit_show_stage(c, s, golden->token_stride, &stages);
    for (uint32_t i = 0; i < h->depth; i++) {
        DIT_TRY(dit_run_block(c, s, i));
        dit_show_stage(c, s, golden->token_stride, &stages);
    }

    DIT_TRY(dit_predict(c, s));
    memcpy(prediction, s->prediction, 2 * h->out_channels * plane * sizeof(float));
    return DIT_OK;
}
