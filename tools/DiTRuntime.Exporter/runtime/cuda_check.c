// Nothing that a plan says is used before it is looked at here.
#include "cuda_plan.h"
#include "internal.h"

#include <string.h>

#define DIT_MOST_BUFFER_BYTES ((uint64_t)1 << 40)
#define DIT_MOST_ARGUMENT_BYTES 4096u
#define DIT_MOST_SHARED_BYTES (1u << 20)

// The tables of one plan, in the mapped file.
typedef struct dit_plan_tables {
    const dit_plan* plan;
    const dit_plan_buffer* buffers;
    const dit_plan_kernel* kernels;
    const dit_plan_command* commands;
    const dit_plan_pointer* pointers;
    const dit_plan_shape* shapes;
} dit_plan_tables;

static bool dit_plan_section_fits(const dit_context* c, dit_section s) {
    return s.offset % 8 == 0 && s.offset <= c->file_bytes && s.bytes <= c->file_bytes - s.offset;
}

static const void* dit_plan_table(const dit_context* c, dit_section s, uint32_t count, size_t size) {
    return dit_plan_section_fits(c, s) && s.bytes == (uint64_t)count * size && count > 0 ? c->file + s.offset : NULL;
}

// The place is absent, or so many bytes of a buffer that is there whenever the shape is.
static bool dit_plan_place_fits(const dit_plan_tables* t, const dit_plan_place* p, uint32_t shape, uint64_t bytes) {
    if (p->buffer >= t->plan->buffer_count || p->bytes != bytes) return false;
    const dit_plan_buffer* b = &t->buffers[p->buffer];
    return p->offset <= b->bytes && bytes <= b->bytes - p->offset && (b->shape == DIT_NONE || b->shape == shape);
}

static dit_status dit_plan_check_buffers(dit_context* c, const dit_plan_tables* t) {
    for (uint32_t i = 0; i < t->plan->buffer_count; i++) {
        const dit_plan_buffer* b = &t->buffers[i];
        if (b->bytes == 0 || b->bytes > DIT_MOST_BUFFER_BYTES || b->contents.bytes > b->bytes || !dit_plan_section_fits(c, b->contents)
            || (b->shape != DIT_NONE && b->shape >= t->plan->shape_count))
            return dit_fail(c, DIT_BAD_FILE, "the plan's buffer %u makes no sense", i);
    }
    return DIT_OK;
}

static dit_status dit_plan_check_kernels(dit_context* c, const dit_plan_tables* t) {
    for (uint32_t i = 0; i < t->plan->kernel_count; i++) {
        const dit_plan_kernel* k = &t->kernels[i];
        if (!memchr(k->entry, 0, sizeof k->entry) || k->image.bytes == 0 || !dit_plan_section_fits(c, k->image) || k->argument_bytes == 0 || k->argument_bytes > DIT_MOST_ARGUMENT_BYTES
            || k->shared_bytes > DIT_MOST_SHARED_BYTES)
            return dit_fail(c, DIT_BAD_FILE, "the plan's kernel %u makes no sense", i);
    }
    return DIT_OK;
}

static bool dit_plan_launch_fits(const dit_plan_tables* t, const dit_plan_command* o) {
    if (o->kernel >= t->plan->kernel_count) return false;
    const dit_plan_kernel* k = &t->kernels[o->kernel];
    uint64_t arguments = t->plan->arguments.bytes;
    return o->grid_x > 0 && o->grid_x <= INT32_MAX && o->grid_y > 0 && o->grid_y <= 65535 && o->grid_z > 0 && o->grid_z <= 65535
        && o->threads > 0 && o->threads <= 1024 && o->shared_bytes <= k->shared_bytes
        && o->argument_offset % 8 == 0 && o->argument_offset <= arguments && k->argument_bytes <= arguments - o->argument_offset;
}

// Of commands that run while the buffers of a shape are held.
static bool dit_plan_pointers_fit(const dit_plan_tables* t, const dit_plan_command* o, uint32_t shape) {
    if (o->first_pointer > t->plan->pointer_count || o->pointer_count > t->plan->pointer_count - o->first_pointer) return false;
    for (uint32_t i = 0; i < o->pointer_count; i++) {
        const dit_plan_pointer* p = &t->pointers[o->first_pointer + i];
        uint32_t argument_bytes = t->kernels[o->kernel].argument_bytes;
        if (argument_bytes < 8 || p->argument_offset % 8 || p->argument_offset > argument_bytes - 8 || p->buffer >= t->plan->buffer_count) return false;
        const dit_plan_buffer* b = &t->buffers[p->buffer];
        if (p->offset > b->bytes || (b->shape != DIT_NONE && b->shape != shape)) return false;
    }
    return true;
}

static dit_status dit_plan_check_range(dit_context* c, const dit_plan_tables* t, dit_plan_range r, uint32_t shape, uint32_t stages) {
    if (r.first > t->plan->command_count || r.count > t->plan->command_count - r.first) return dit_fail(c, DIT_BAD_FILE, "the plan's list of commands is cut short");
    uint32_t found = 0;
    for (uint32_t i = r.first; i < r.first + r.count; i++) {
        const dit_plan_command* o = &t->commands[i];
        if (o->kind == DIT_PLAN_STAGE) found++;
        else if (o->kind != DIT_PLAN_LAUNCH || !dit_plan_launch_fits(t, o) || !dit_plan_pointers_fit(t, o, shape)) return dit_fail(c, DIT_BAD_FILE, "the plan's command %u makes no sense", i);
    }
    return found == stages ? DIT_OK : dit_fail(c, DIT_BAD_FILE, "the plan shows %u stages, the model has %u", found, stages);
}

static bool dit_plan_pass_fits(const dit_context* c, const dit_plan_tables* t, const dit_plan_shape* s, uint32_t number) {
    const dit_file_header* h = c->header;
    uint64_t side = h->input_size, tokens = dit_token_count(h);
    return s->images == 2 && s->samples == 2 && s->conditions == 2 && s->window_steps == 1 && s->token_stride >= h->hidden_size && s->token_stride < h->hidden_size + 8
        && dit_plan_place_fits(t, &s->tokens, number, 4 * tokens * s->token_stride)
        && dit_plan_place_fits(t, &s->prediction, number, 2 * h->out_channels * side * side * 4);
}

static bool dit_plan_sampling_fits(const dit_context* c, const dit_plan_tables* t, const dit_plan_shape* s, uint32_t number) {
    const dit_file_header* h = c->header;
    uint64_t values = (uint64_t)s->images * dit_latent_count(h);
    bool is_guided = s->samples == 2 * s->images;
    return (is_guided || s->samples == s->images) && s->conditions == s->images + is_guided
        && s->step_capacity > 0 && s->step_capacity <= DIT_TRAINING_STEPS && s->window_steps <= s->step_capacity
        && dit_plan_place_fits(t, &s->row_of_sample, number, (uint64_t)s->step_capacity * s->samples * 4)
        && dit_plan_place_fits(t, &s->updates, number, (uint64_t)s->step_capacity * s->images * sizeof(dit_plan_update))
        && dit_plan_place_fits(t, &s->counter, number, 4)
        && dit_plan_place_fits(t, &s->noise, number, 2 * values * 4);
}

static dit_status dit_plan_check_shape(dit_context* c, const dit_plan_tables* t, uint32_t number) {
    const dit_plan_shape* s = &t->shapes[number];
    const dit_file_header* h = c->header;
    bool is_pass = s->kind == DIT_PLAN_PASS;
    uint64_t rows = (uint64_t)s->window_steps * s->conditions, values = (uint64_t)s->images * dit_latent_count(h);
    if (s->kind > DIT_PLAN_PASS || s->images == 0 || s->images > 65535 || s->window_steps == 0 || s->window_steps > DIT_TRAINING_STEPS
        || !(is_pass ? dit_plan_pass_fits(c, t, s, number) : dit_plan_sampling_fits(c, t, s, number))
        || !dit_plan_place_fits(t, &s->timesteps, number, rows * 4) || !dit_plan_place_fits(t, &s->labels, number, rows * 4) || !dit_plan_place_fits(t, &s->latents, number, values * 4))
        return dit_fail(c, DIT_BAD_FILE, "the plan's shape %u makes no sense", number);
    dit_status status = dit_plan_check_range(c, t, s->fill, number, 0);
    return status ? status : dit_plan_check_range(c, t, s->step, number, is_pass ? h->depth + 1 : 0);
}

static dit_status dit_plan_check_decoder(dit_context* c, const dit_plan_tables* t) {
    const dit_file_header* h = c->header;
    const dit_plan* p = t->plan;
    if (h->decoder_kind == DIT_DECODER_PIXELS) return DIT_OK;
    uint64_t tile = h->tile_size, side = tile * h->upscale;
    if (p->input_stride < h->in_channels || p->output_stride < h->image_channels || p->input_stride > 4096 || p->output_stride > 4096
        || !dit_plan_place_fits(t, &p->decoder_input, DIT_NONE, tile * tile * p->input_stride * 2)
        || !dit_plan_place_fits(t, &p->decoder_output, DIT_NONE, side * side * p->output_stride * 2))
        return dit_fail(c, DIT_BAD_FILE, "the plan's decoder makes no sense");
    return dit_plan_check_range(c, t, p->decode, DIT_NONE, 0);
}

// A batch of every size up to the header's, guided or not.
static dit_status dit_plan_check_shapes(dit_context* c, const dit_plan_tables* t) {
    uint32_t largest[2] = {0, 0};
    for (uint32_t i = 0; i < t->plan->shape_count; i++) {
        const dit_plan_shape* s = &t->shapes[i];
        dit_status status = dit_plan_check_shape(c, t, i);
        if (status) return status;
        bool is_guided = s->samples > s->images;
        if (s->kind == DIT_PLAN_SAMPLING && s->images > largest[is_guided]) largest[is_guided] = s->images;
    }
    if (largest[0] < c->header->max_batch || largest[1] < c->header->max_batch) return dit_fail(c, DIT_BAD_FILE, "the plan has no batch of %u images", c->header->max_batch);
    return DIT_OK;
}

static dit_status dit_plan_check(dit_context* c, const dit_plan* plan, dit_plan_tables* t) {
    if (plan->version != DIT_PLAN_VERSION || plan->plan_bytes != sizeof *plan) return dit_fail(c, DIT_BAD_FILE, "the plan is of version %u, this runtime plays %u", plan->version, DIT_PLAN_VERSION);
    *t = (dit_plan_tables){
        .plan = plan,
        .buffers = dit_plan_table(c, plan->buffers, plan->buffer_count, sizeof(dit_plan_buffer)),
        .kernels = dit_plan_table(c, plan->kernels, plan->kernel_count, sizeof(dit_plan_kernel)),
        .commands = dit_plan_table(c, plan->commands, plan->command_count, sizeof(dit_plan_command)),
        .pointers = dit_plan_table(c, plan->pointers, plan->pointer_count, sizeof(dit_plan_pointer)),
        .shapes = dit_plan_table(c, plan->shapes, plan->shape_count, sizeof(dit_plan_shape)),
    };
    if (!t->buffers || !t->kernels || !t->commands || !t->pointers || !t->shapes || !dit_plan_section_fits(c, plan->arguments))
        return dit_fail(c, DIT_BAD_FILE, "a table of the plan is cut short");
    dit_status status = dit_plan_check_buffers(c, t);
    if (!status) status = dit_plan_check_kernels(c, t);
    if (!status) status = dit_plan_check_shapes(c, t);
    return status ? status : dit_plan_check_decoder(c, t);
}
