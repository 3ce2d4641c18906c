// The program `dit`: images from the export that lies beside it. See usage(). Exit codes are those of dit_status.
#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64
#include "dit.h"

#include <ctype.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "arguments.c"
#include "png.c"
#include "sha256.c"

typedef struct session {
    arguments args;
    char folder[PATH_BYTES], weights[PATH_BYTES];
    dit_context* context;
    dit_info info;
    bool shows_progress;
} session;

// What Ctrl-C ends.
static dit_context* volatile interrupted;

static void on_interrupt(int signal) {
    (void)signal;
    dit_context* context = interrupted;
    if (context) dit_cancel(context);
}

static dit_status fail_context(const session* s, dit_status status) { return fail(status, "%s", dit_last_error(s->context)); }

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

// ---- opening ----

static bool use_folder(session* s, const char* folder, size_t length, const char* below) {
    if (snprintf(s->folder, PATH_BYTES, "%.*s%s", (int)length, folder, below) >= PATH_BYTES) return false;
    if (snprintf(s->weights, PATH_BYTES, "%.*s%s/weights.dit", (int)length, folder, below) >= PATH_BYTES) return false;
    return access(s->weights, R_OK) == 0;
}

// FOLDER or the weights themselves; else this folder, the program's (where it was built or installed), and the one above that.
static bool find_weights(session* s, const char* program) {
    const char *source = s->args.source, *last = strrchr(source ? source : program, '/');
    if (source) {
        if (use_folder(s, source, strlen(source), "")) return true;
        snprintf(s->weights, PATH_BYTES, "%s", source);
        if (last) snprintf(s->folder, PATH_BYTES, "%.*s", (int)(last - source), source);
        else snprintf(s->folder, PATH_BYTES, ".");
        const size_t length = strlen(source);
        return length > 4 && strcmp(source + length - 4, ".dit") == 0;
    }

    static const char* const below[] = {"", "/..", "/../..", "/../share/dit"};
    if (use_folder(s, ".", 1, "")) return true;
    for (size_t i = 0; i < sizeof below / sizeof *below; i++)
        if (last ? use_folder(s, program, (size_t)(last - program), below[i]) : use_folder(s, ".", 1, below[i])) return true;
    return false;
}

static dit_status open_session(session* s, const char* program) {
    const arguments* a = &s->args;
    char reason[512] = "";
    dit_options options;
    dit_options_init(&options);
    options.threads = (uint32_t)a->threads;
    options.device = (uint32_t)a->device;
    options.max_memory = (uint64_t)a->max_memory;
    options.error = reason;
    options.error_capacity = sizeof reason;
    const char* names[DIT_SIMD_NEON_I8MM + 1];
    for (int i = 0; i <= DIT_SIMD_NEON_I8MM; i++) names[i] = dit_simd_name((dit_simd)i);
    const int simd = find_name("--simd", a->simd, names, DIT_SIMD_NEON_I8MM + 1);
    if (simd < 0) return DIT_INVALID_ARGUMENT;
    options.simd = (dit_simd)simd;
    if (!find_weights(s, program)) return fail(DIT_ERROR, "no weights.dit %s%s", a->source ? "in " : "here or beside the program", a->source ? a->source : "");
    const dit_status status = dit_open(s->weights, &options, &s->context);
    if (status != DIT_OK) return fail(status, "%s", reason);
    dit_info_init(&s->info);
    s->shows_progress = !a->quiet && isatty(STDERR_FILENO);
    interrupted = s->context;
    signal(SIGINT, on_interrupt);
    return dit_get_info(s->context, &s->info);
}

// ---- generate ----

static int32_t find_class(const session* s, const char* word, size_t length) {
    char* end;
    const long number = strtol(word, &end, 10);
    if (length > 0 && isdigit((unsigned char)*word) && end == word + length) return number < (long)s->info.class_count ? (int32_t)number : -1;
    for (uint32_t i = 0; i < s->info.class_count; i++) {
        const char* name = dit_class_name(s->context, i);
        size_t at = 0;
        while (at < length && tolower((unsigned char)name[at]) == tolower((unsigned char)word[at])) at++;
        if (length > 0 && at == length && !name[at]) return (int32_t)i;
    }

    return -1;
}

// labels [count]: the list, repeated in turn. Null, and a message, where a class does not exist.
static int32_t* make_labels(const session* s, uint32_t* count) {
    const char* list = s->args.labels ? s->args.labels : "0";
    uint32_t words = 1;
    for (const char* at = list; *at; at++) words += *at == ',';
    *count = s->args.count > 0 ? (uint32_t)s->args.count : words;
    int32_t* labels = malloc(*count * sizeof *labels);
    for (uint32_t i = 0; labels && i < *count; i++) {
        if (i >= words) {
            labels[i] = labels[i - words];
            continue;
        }

        const size_t length = strcspn(list, ",");
        labels[i] = find_class(s, list, length);
        if (labels[i] < 0) {
            fail(DIT_INVALID_ARGUMENT, "--class-labels '%.*s': no such class; there are %u, from 0", (int)length, list, s->info.class_count);
            return free(labels), NULL;
        }

        list += length + (list[length] != 0);
    }

    return labels;
}

static int show_progress(void* user, uint32_t done, uint32_t total) {
    const session* s = user;
    if (s->shows_progress) fprintf(stderr, "\r%u of %u%s", done, total, done == total ? "\r\x1b[K" : "");
    return 0;
}

static bool make_request(session* s, dit_request* request) {
    static const char *const samplers[] = {"ddim", "ddpm"}, *const spacings[] = {"leading", "linspace", "trailing"};
    const arguments* a = &s->args;
    const int sampler = a->sampler ? find_name("--sampler", a->sampler, samplers, 2) : (int)s->info.default_sampler;
    int spacing = a->spacing ? find_name("--spacing", a->spacing, spacings, 3) : (int)s->info.default_spacing;
    if (sampler < 0 || spacing < 0) return false;
    // Another sampler than the export's begins with the spacing that is its own.
    if (!a->spacing && sampler != (int)s->info.default_sampler) spacing = sampler == DIT_SAMPLER_DDPM ? DIT_SPACING_LINSPACE : DIT_SPACING_LEADING;
    dit_request_init(request);
    request->sampler = (dit_sampler)sampler;
    request->spacing = (dit_spacing)spacing;
    request->seed = (uint64_t)a->seed;
    if (a->steps > 0) request->steps = (uint32_t)a->steps;
    if (a->batch > 0) request->batch = (uint32_t)a->batch;
    if (a->eta >= 0) request->eta = a->eta;
    request->guidance_scale = a->guidance >= 0 ? (float)a->guidance : s->info.default_guidance;
    request->progress = show_progress;
    request->progress_user = s;
    return true;
}

// Says what is wrong with --out before anything is drawn: names, folders, and that no image would take the place of another.
static dit_status check_paths(const session* s, const dit_request* r) {
    char path[PATH_BYTES], other[PATH_BYTES];
    if (!make_path(s->args.out, 0, r->seed, r->labels[0], path)) return DIT_INVALID_ARGUMENT;
    const char* slash = strrchr(path, '/');
    snprintf(other, sizeof other, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
    if (access(other, W_OK) != 0) return fail(DIT_ERROR, "%s cannot be written", path);
    // Whatever tells two images of one class apart, tells all apart.
    if (r->count == 1 || !make_path(s->args.out, 1, r->seed + 1, r->labels[0], other) || strcmp(path, other) != 0) return DIT_OK;
    bool* seen = calloc(s->info.class_count, sizeof *seen);
    bool distinct = seen != NULL;
    for (uint32_t i = 0; distinct && i < r->count; i++) {
        distinct = !seen[r->labels[i]];
        seen[r->labels[i]] = true;
    }

    free(seen);
    return distinct ? DIT_OK : fail(DIT_INVALID_ARGUMENT, "--out %s: several images would have one name; add {index}", s->args.out);
}

static dit_status save_images(const session* s, const dit_request* request, const dit_image* images) {
    char path[PATH_BYTES];
    for (uint32_t i = 0; i < request->count; i++) {
        if (!make_path(s->args.out, i, request->seed + i, request->labels[i], path)) return DIT_INVALID_ARGUMENT;
        if (!png_write(path, images[i].width, images[i].height, images[i].channels, images[i].pixels)) return fail(DIT_ERROR, "%s cannot be written", path);
        if (!s->args.quiet) printf("%s\n", path);
    }

    if (!s->args.latents) return DIT_OK;
    const size_t values = (size_t)s->info.latent_channels * s->info.latent_size * s->info.latent_size;
    FILE* file = fopen(s->args.latents, "wb");
    bool written = file != NULL;
    for (uint32_t i = 0; written && i < request->count; i++) written = fwrite(images[i].latent, sizeof(float), values, file) == values;
    if (file) written &= fclose(file) == 0;
    return written ? DIT_OK : fail(DIT_ERROR, "%s cannot be written", s->args.latents);
}

static dit_status generate(session* s) {
    dit_request request;
    if (!make_request(s, &request)) return DIT_INVALID_ARGUMENT;
    int32_t* labels = make_labels(s, &request.count);
    dit_image* images = labels ? calloc(request.count, sizeof *images) : NULL;
    dit_status status = labels ? DIT_OUT_OF_MEMORY : DIT_INVALID_ARGUMENT;
    if (images) {
        request.labels = labels;
        status = check_paths(s, &request);
        if (status == DIT_OK && (status = dit_generate(s->context, &request, images)) != DIT_OK) fail_context(s, status);
        if (status == DIT_OK) status = save_images(s, &request, images);
        dit_free_images(s->context, images, request.count);
    }

    free(images);
    free(labels);
    return status;
}

// ---- verify ----

static dit_status verify(session* s) {
    char path[PATH_BYTES + 16], message[PATH_BYTES + 128];
    snprintf(path, sizeof path, "%s/golden.dit", s->folder);
    const uint32_t stages = dit_stage_count(s->context);
    float *error = calloc(stages, sizeof *error), worst_pixel = 0, worst = 0;
    if (!error) return fail(DIT_OUT_OF_MEMORY, "no memory for %u errors", stages);
    const dit_status status = dit_verify(s->context, path, error, &worst_pixel);
    snprintf(message, sizeof message, "%s", dit_last_error(s->context));
    if (status == DIT_OK || status == DIT_MISMATCH) {
        if (error[0] >= 0 || error[0] != error[0]) printf("block      error\n");
        else printf("the recorded blocks show no outputs: images alone are compared\n");
        for (uint32_t i = 0; i < stages && !(error[i] < 0); i++) {
            if (i == 0) printf("embedding  %.3g\n", (double)error[i]);
            else printf("%-9u  %.3g\n", i - 1, (double)error[i]);
            if (!(error[i] <= worst)) worst = error[i];
        }
    }

    if (status == DIT_OK) printf("verified: worst error of a block %.3g, of a pixel %.0f of 255 (%s)\n", (double)worst, (double)worst_pixel, dit_describe(s->context));
    else fail(status, "not verified: %s", message);
    free(error);
    return status;
}

static dit_status verify_hashes(const session* s) {
    char message[PATH_BYTES + 128];
    const int count = manifest_check(s->folder, message, sizeof message);
    if (count < 0) return fail(DIT_MISMATCH, "not verified: %s", message);
    if (count == 0) printf("no SHA256SUMS beside the weights: no hash is compared\n");
    else printf("%d files have the hashes of SHA256SUMS\n", count);
    return DIT_OK;
}

// ---- info ----

static void print_text(const char* text) {
    putchar('"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') printf("\\%c", *text);
        else if ((unsigned char)*text < 0x20) printf("\\u%04x", *text);
        else putchar(*text);
    }

    putchar('"');
}

static dit_status print_json(const session* s) {
    const dit_info* i = &s->info;
    printf("{\"image_size\":%u,\"image_channels\":%u,\"latent_size\":%u,\"latent_channels\":%u,\"class_count\":%u,", i->image_size, i->image_channels, i->latent_size, i->latent_channels, i->class_count);
    printf("\"depth\":%u,\"hidden_size\":%u,\"token_count\":%u,\"max_batch\":%u,\"default_steps\":%u,", i->depth, i->hidden_size, i->token_count, i->max_batch, i->default_steps);
    printf("\"weight_bytes\":%" PRIu64 ",\"memory_bytes\":%" PRIu64 ",\"memory\":[", i->weight_bytes, i->memory_bytes);
    uint64_t bytes;
    int shared;
    const char* name;
    for (uint32_t part = 0; (name = dit_memory_part(s->context, part, &bytes, &shared)) != NULL; part++) {
        printf("%s{\"part\":", part ? "," : "");
        print_text(name);
        printf(",\"bytes\":%" PRIu64 ",\"shared\":%s}", bytes, shared ? "true" : "false");
    }

    printf("],\"device\":");
    print_text(dit_describe(s->context));
    printf(",\"version\":");
    print_text(dit_version());
    printf("}\n");
    return DIT_OK;
}

static dit_status info(const session* s) {
    if (s->args.json) return print_json(s);
    const dit_info* i = &s->info;
    printf("images      %ux%u, %u channel%s, of %u classes\n", i->image_size, i->image_size, i->image_channels, i->image_channels == 1 ? "" : "s", i->class_count);
    printf("model       %u blocks of %u, %u tokens, latents %ux%ux%u\n", i->depth, i->hidden_size, i->token_count, i->latent_channels, i->latent_size, i->latent_size);
    printf("planned     %u steps, up to %u image%s together\n", i->default_steps, i->max_batch, i->max_batch == 1 ? "" : "s");
    printf("runs on     %s\n", dit_describe(s->context));
    printf("weights     %10.2f MB, mapped\n", (double)i->weight_bytes / 1e6);
    printf("memory      %10.2f MB beside them\n", (double)i->memory_bytes / 1e6);
    uint64_t bytes;
    int shared;
    const char* name;
    for (uint32_t part = 0; (name = dit_memory_part(s->context, part, &bytes, &shared)) != NULL; part++)
        printf("            %10.2f    %s%s\n", (double)bytes / 1e6, name, shared ? " (in turn)" : "");
    return DIT_OK;
}

// ---- bench ----

typedef struct clock_marks {
    double times[1000];
    uint32_t count;
} clock_marks;

static int mark_step(void* user, uint32_t done, uint32_t total) {
    clock_marks* m = user;
    (void)done, (void)total;
    if (m->count < 1000) m->times[m->count++] = now();
    return 0;
}

static int compare_times(const void* a, const void* b) {
    const double difference = *(const double*)a - *(const double*)b;
    return (difference > 0) - (difference < 0);
}

static dit_status bench(session* s, double start) {
    static clock_marks marks;
    const double opened = now();
    const uint32_t images = s->args.batch > 0 ? (uint32_t)s->args.batch : 1;
    dit_request request;
    if (!make_request(s, &request)) return DIT_INVALID_ARGUMENT;
    if (s->args.steps <= 0) request.steps = 20;
    if (request.steps < 2) return fail(DIT_INVALID_ARGUMENT, "--steps %u: expected 2 or more", request.steps);
    int32_t* labels = calloc(images, sizeof *labels);
    dit_image* results = calloc(images, sizeof *results);
    dit_status status = DIT_OUT_OF_MEMORY;
    if (labels && results) {
        request.count = request.batch = images;
        request.labels = labels;
        request.progress = mark_step;
        request.progress_user = &marks;
        status = dit_generate(s->context, &request, results);
        if (status != DIT_OK) fail_context(s, status);
        dit_free_images(s->context, results, images);
    }

    free(results);
    free(labels);
    if (status != DIT_OK) return status;
    const uint32_t steps = request.steps - 1;
    const double first = marks.times[0] - start;
    for (uint32_t i = 0; i < steps; i++) marks.times[i] = marks.times[i + 1] - marks.times[i];
    qsort(marks.times, steps, sizeof *marks.times, compare_times);
    printf("%s\n", dit_describe(s->context));
    printf("start-up                 %10.2f ms\n", opened - start);
    printf("to the end of a step     %10.2f ms from the start\n", first);
    printf("step of %3u image%s      %10.2f ms, median of %u (%.2f to %.2f)\n", images, images == 1 ? " " : "s", marks.times[steps / 2], steps, marks.times[0], marks.times[steps - 1]);
    return DIT_OK;
}

// ---- the program ----

static dit_status run(session* s, const char* program) {
    static const char* const commands[] = {"generate", "verify", "info", "bench"};
    int command = 0;
    while (command < 4 && strcmp(s->args.command, commands[command]) != 0) command++;
    if (command == 4) return fail(DIT_INVALID_ARGUMENT, "%s is no command; see dit --help", s->args.command);
    const double start = now();
    if (command == 1 && !s->args.skip_hashes && find_weights(s, program)) {
        const dit_status status = verify_hashes(s);
        if (status != DIT_OK) return status;
    }

    const dit_status status = open_session(s, program);
    if (status != DIT_OK) return status;
    return command == 0 ? generate(s) : command == 1 ? verify(s) : command == 2 ? info(s) : bench(s, start);
}

int main(int count, char** words) {
    static session s;
    if (count < 2) return usage(stderr);
    if (strcmp(words[1], "--help") == 0 || strcmp(words[1], "-h") == 0 || strcmp(words[1], "help") == 0) return usage(stdout);
    if (strcmp(words[1], "--version") == 0) return printf("dit %s\n", dit_version()), DIT_OK;
    if (!parse_arguments(count, words, &s.args)) return DIT_INVALID_ARGUMENT;
    dit_status status = run(&s, words[0]);
    interrupted = NULL;
    if (s.context) dit_close(s.context);
    if (fflush(stdout) != 0 && status == DIT_OK) status = fail(DIT_ERROR, "the output cannot be written");
    return (int)status;
}
