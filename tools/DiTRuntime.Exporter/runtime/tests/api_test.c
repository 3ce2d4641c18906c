// The C API under faults, on a small exported model: arguments that make no sense, files cut short and spoiled, runs cancelled from within and from
// without, memory that runs out at every allocation in turn. Each must end with a status, leak nothing and print nothing.
//
//   api_test EXPORT_FOLDER SCRATCH_FOLDER
#define _POSIX_C_SOURCE 200809L
#include "dit.h"

#include <fcntl.h>
#include <float.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// ---- what is found; nothing is printed while the library may run ----

static char s_failures[1 << 14];
static size_t s_failure_bytes;
static int s_failure_count;

static bool check(bool holds, int line, const char* format, ...) {
    if (holds) return true;
    s_failure_count++;
    const size_t left = sizeof s_failures - s_failure_bytes;
    int used = snprintf(s_failures + s_failure_bytes, left, "api_test.c:%d: ", line);
    if (used < 0 || (size_t)used >= left) return false;
    va_list arguments;
    va_start(arguments, format);
    const int more = vsnprintf(s_failures + s_failure_bytes + used, left - (size_t)used, format, arguments);
    va_end(arguments);
    if (more < 0 || (size_t)(used + more) + 1 >= left) return false;
    s_failure_bytes += (size_t)(used + more);
    s_failures[s_failure_bytes++] = '\n';
    return false;
}

#define CHECK(condition, ...) check(condition, __LINE__, __VA_ARGS__)
#define CHECK_STATUS(expected, call)                                                                              \
    do {                                                                                                          \
        const dit_status status_ = (call);                                                                        \
        CHECK(status_ == (expected), "%s is %s, expected %s", #call, dit_status_name(status_), dit_status_name(expected)); \
    } while (0)

// ---- an allocator that counts, and fails when told ----

typedef struct counter {
    pthread_mutex_t lock;
    long calls, live;
    long fail_at;  // this call and all after it find no memory; −1: none
    bool once;     // only this call
} counter;

static void* count_allocate(void* user, size_t bytes) {
    counter* c = user;
    pthread_mutex_lock(&c->lock);
    const long call = c->calls++;
    const bool fails = c->fail_at >= 0 && (c->once ? call == c->fail_at : call >= c->fail_at);
    void* block = fails ? NULL : malloc(bytes);
    if (block != NULL) c->live++;
    pthread_mutex_unlock(&c->lock);
    return block;
}

static void count_release(void* user, void* block) {
    counter* c = user;
    pthread_mutex_lock(&c->lock);
    CHECK(block != NULL, "released null");
    c->live--;
    pthread_mutex_unlock(&c->lock);
    free(block);
}

// ---- short ways to the usual ----

static char s_weights[4096], s_golden[4096], s_scratch[4096];

static dit_context* open_with(dit_options* options) {
    dit_context* context = NULL;
    char reason[512] = "";
    options->error = reason, options->error_capacity = sizeof reason;
    const dit_status status = dit_open(s_weights, options, &context);
    options->error = NULL, options->error_capacity = 0;
    CHECK(status == DIT_OK && context != NULL, "opening: %s (%s)", dit_status_name(status), reason);
    return context;
}

static dit_context* open_plainly(void) {
    dit_options options;
    dit_options_init(&options);
    options.threads = 2;
    return open_with(&options);
}

static const int32_t s_labels[] = {1, 0, 1, 0};

static dit_request request_of(uint32_t count, uint32_t steps) {
    dit_request request;
    dit_request_init(&request);
    request.count = count, request.labels = s_labels, request.steps = steps, request.seed = 7;
    return request;
}

static bool is_zeroed(const dit_image* images, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (images[i].pixels != NULL || images[i].latent != NULL || images[i].width != 0) return false;
    return true;
}

// ---- arguments ----

static void nulls_are_answered(void) {
    dit_context* context = (dit_context*)&context;
    dit_options options;
    dit_options_init(&options);
    CHECK_STATUS(DIT_INVALID_ARGUMENT, dit_open(NULL, &options, &context));
    CHECK(context == NULL, "a failed dit_open left a context");
    CHECK_STATUS(DIT_INVALID_ARGUMENT, dit_open(s_weights, &options, NULL));

    context = (dit_context*)&context;
    CHECK_STATUS(DIT_INVALID_ARGUMENT, dit_open(s_weights, NULL, &context));
    CHECK(context == NULL, "a failed dit_open left a context");

    context = open_plainly();
    if (context == NULL) return;
    dit_info info;
    dit_info_init(&info);
    dit_image image;
    const dit_request request = request_of(1, 1);
    CHECK_STATUS(DIT_INVALID_ARGUMENT, dit_get_info(context, NULL));
    CHECK_STATUS(DIT_INVALID_ARGUMENT, dit_get_info(NULL, &info));
    CHECK_STATUS(DIT_INVALID_ARGUMENT, dit_generate(NULL, &request, &image));
    CHECK_STATUS(DIT_INVALID_ARGUMENT, dit_generate(context, NULL, &image));
    CHECK_STATUS(DIT_INVALID_ARGUMENT, dit_generate(context, &request, NULL));
    dit_request unlabelled = request;
    unlabelled.labels = NULL;
    CHECK_STATUS(DIT_INVALID_ARGUMENT, dit_generate(context, &unlabelled, &image));
    CHECK_STATUS(DIT_INVALID_ARGUMENT, dit_verify(NULL, s_golden, NULL, NULL));
    CHECK_STATUS(DIT_INVALID_ARGUMENT, dit_verify(context, NULL, NULL, NULL));

    dit_options_init(NULL);
    dit_request_init(NULL);
    dit_info_init(NULL);
    dit_free_images(context, NULL, 3);
    dit_free_images(NULL, &image, 0);
    dit_cancel(NULL);
    CHECK(dit_stage_count(NULL) == 0, "stages without a context");
    CHECK(dit_last_error(NULL) != NULL && dit_describe(NULL) != NULL && dit_class_name(NULL, 0) != NULL, "null texts");
    CHECK(dit_class_name(context, UINT32_MAX)[0] == 0, "a class beyond the last has a name");
    CHECK(dit_status_name((dit_status)99) != NULL && dit_simd_name((dit_simd)99) != NULL, "null names");
    CHECK(dit_version()[0] != 0 && dit_describe(context)[0] != 0, "empty texts");
    dit_close(context);
    dit_close(NULL);
}

// A struct of a size that no version has; an older one, cut where newer members begin, would do.
static void sizes_are_checked(void) {
    static const uint32_t wrong[] = {0, 1, 4, 0xffffffffu};
    dit_context* kept = open_plainly();
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        dit_options options;
        dit_options_init(&options);
        options.struct_size = wrong[i];
        dit_context* context = NULL;
        CHECK_STATUS(DIT_INVALID_ARGUMENT, dit_open(s_weights, &options, &context));
        CHECK(context == NULL, "a failed dit_open left a context");

        dit_info info;
        dit_info_init(&info);
        info.struct_size = wrong[i];
        CHECK_STATUS(DIT_INVALID_ARGUMENT, dit_get_info(kept, &info));

        dit_request request = request_of(1, 1);
        request.struct_size = wrong[i];
        dit_image image;
        CHECK_STATUS(DIT_INVALID_ARGUMENT, dit_generate(kept, &request, &image));
        CHECK(dit_last_error(kept)[0] != 0, "no reason");
    }
    dit_close(kept);
}

static void expect_refusal(dit_context* context, const dit_request* request, const char* what) {
    dit_image images[4];
    memset(images, 0xab, sizeof images);
    const dit_status status = dit_generate(context, request, images);
    CHECK(status == DIT_INVALID_ARGUMENT, "%s: %s", what, dit_status_name(status));
    CHECK(dit_last_error(context)[0] != 0, "%s: no reason", what);
    CHECK(is_zeroed(images, request->count <= 4 ? request->count : 0), "%s: left an image", what);
    if (status == DIT_OK) dit_free_images(context, images, request->count);
}

static void requests_are_checked(void) {
    dit_context* context = open_plainly();
    if (context == NULL) return;
    dit_info info;
    dit_info_init(&info);
    CHECK_STATUS(DIT_OK, dit_get_info(context, &info));

    dit_request request = request_of(0, 1);
    expect_refusal(context, &request, "no image");
    int32_t label = (int32_t)info.class_count;
    request = request_of(1, 1), request.labels = &label;
    expect_refusal(context, &request, "a class too many");
    label = -1;
    expect_refusal(context, &request, "a negative class");
    request = request_of(1, 1001);
    expect_refusal(context, &request, "1001 steps");
    request = request_of(1, 1), request.sampler = (dit_sampler)7;
    expect_refusal(context, &request, "an unknown sampler");
    request = request_of(1, 1), request.spacing = (dit_spacing)7;
    expect_refusal(context, &request, "an unknown spacing");
    request = request_of(1, 1), request.eta = (float)NAN;
    expect_refusal(context, &request, "eta NaN");
    request = request_of(1, 1), request.eta = -1;
    expect_refusal(context, &request, "eta -1");
    request = request_of(1, 1), request.guidance_scale = (float)INFINITY;
    expect_refusal(context, &request, "infinite guidance");
    request = request_of(1, 1), request.guidance_scale = -1;
    expect_refusal(context, &request, "negative guidance");

    // After all that the context still draws.
    request = request_of(1, 1);
    dit_image image;
    CHECK_STATUS(DIT_OK, dit_generate(context, &request, &image));
    CHECK(image.width == info.image_size && image.height == info.image_size && image.channels == info.image_channels, "an image of another size");
    dit_free_images(context, &image, 1);
    CHECK(is_zeroed(&image, 1), "freed images are zeroed");
    dit_close(context);
}

// ---- files ----

static void* read_file(const char* path, size_t* bytes) {
    FILE* file = fopen(path, "rb");
    struct stat facts;
    if (file == NULL || fstat(fileno(file), &facts) != 0) return NULL;
    *bytes = (size_t)facts.st_size;
    char* content = malloc(*bytes + 1);
    if (content != NULL && fread(content, 1, *bytes, file) != *bytes) {
        free(content);
        content = NULL;
    }
    fclose(file);
    return content;
}

static bool write_file(const char* path, const void* content, size_t bytes) {
    FILE* file = fopen(path, "wb");
    if (file == NULL) return false;
    const bool wrote = fwrite(content, 1, bytes, file) == bytes;
    return fclose(file) == 0 && wrote;
}

// Opens a file that may be damaged; the memory it may ask for is bounded.
static dit_status open_spoiled(const char* path, dit_context** context, char* reason, size_t capacity) {
    dit_options options;
    dit_options_init(&options);
    options.threads = 1, options.max_memory = 256u << 20, options.error = reason, options.error_capacity = capacity;
    reason[0] = 0;
    *context = NULL;
    return dit_open(path, &options, context);
}

static void absent_files_are_refused(void) {
    char reason[256], path[5000];
    dit_context* context;
    snprintf(path, sizeof path, "%s/absent.dit", s_scratch);
    CHECK_STATUS(DIT_ERROR, open_spoiled(path, &context, reason, sizeof reason));
    CHECK(context == NULL && strstr(reason, "absent.dit") != NULL, "the reason names no file: %s", reason);
    CHECK(open_spoiled(s_scratch, &context, reason, sizeof reason) != DIT_OK, "a folder was opened");
    CHECK(context == NULL && reason[0] != 0, "a folder: no reason");
    CHECK_STATUS(DIT_BAD_FILE, open_spoiled(s_golden, &context, reason, sizeof reason));

    // A buffer too small for the reason gets its beginning, and its end.
    char little[4] = {'x', 'x', 'x', 'x'};
    CHECK(open_spoiled(path, &context, little, sizeof little) != DIT_OK && memchr(little, 0, sizeof little) != NULL, "a reason without an end");

    dit_context* whole = open_plainly();
    CHECK_STATUS(DIT_ERROR, dit_verify(whole, path, NULL, NULL));
    CHECK_STATUS(DIT_BAD_FILE, dit_verify(whole, s_weights, NULL, NULL));
    dit_close(whole);
}

// Every length near the beginning, where the header and the tables are, and many beyond.
static void cut_weights_are_refused(const uint8_t* weights, size_t bytes) {
    char path[5000], reason[256];
    snprintf(path, sizeof path, "%s/cut.dit", s_scratch);
    if (!CHECK(write_file(path, weights, bytes), "cannot write %s", path)) return;
    for (size_t length = bytes - 1;; length = length > 1 << 12 ? length - length / 50 - 1 : length > 600 ? length - 37 : length - 1) {
        if (!CHECK(truncate(path, (off_t)length) == 0, "cannot cut %s", path)) return;
        dit_context* context;
        const dit_status status = open_spoiled(path, &context, reason, sizeof reason);
        CHECK(status == DIT_BAD_FILE && context == NULL && reason[0] != 0, "cut to %zu bytes: %s (%s)", length, dit_status_name(status), reason);
        dit_close(context);
        if (length == 0) return;
    }
}

static void cut_golden_is_refused(void) {
    size_t bytes = 0;
    uint8_t* golden = read_file(s_golden, &bytes);
    char path[5000];
    snprintf(path, sizeof path, "%s/cut-golden.dit", s_scratch);
    if (!CHECK(golden != NULL && write_file(path, golden, bytes), "cannot copy %s", s_golden)) return;
    free(golden);
    dit_context* context = open_plainly();
    for (size_t length = bytes - 1;; length = length > 400 ? length - length / 5 - 1 : length - length / 20 - 1) {
        if (!CHECK(truncate(path, (off_t)length) == 0, "cannot cut %s", path)) break;
        const dit_status status = dit_verify(context, path, NULL, NULL);
        CHECK(status == DIT_BAD_FILE, "golden vectors cut to %zu bytes: %s", length, dit_status_name(status));
        if (length == 0) break;
    }
    dit_close(context);
}

static int stop_at_once(void* user, uint32_t done, uint32_t total) {
    (void)user, (void)done, (void)total;
    return 1;
}

// One byte after another of the header and the tables is changed. Some changes make another valid model; it may then run, but for a step.
static void spoiled_weights_harm_nothing(const uint8_t* weights, size_t bytes, size_t from, size_t to, size_t stride) {
    char path[5000], reason[256];
    snprintf(path, sizeof path, "%s/spoiled.dit", s_scratch);
    if (!CHECK(write_file(path, weights, bytes), "cannot write %s", path)) return;
    const int file = open(path, O_WRONLY);
    static const uint8_t masks[] = {0xff, 0x01, 0x80};
    for (size_t at = from; at < to && at < bytes; at += stride) {
        const uint8_t mask = masks[at / stride % sizeof masks], changed = weights[at] ^ mask;
        if (!CHECK(pwrite(file, &changed, 1, (off_t)at) == 1, "cannot write %s", path)) break;
        dit_context* context;
        const dit_status status = open_spoiled(path, &context, reason, sizeof reason);
        CHECK((status == DIT_OK) == (context != NULL), "byte %zu: %s with %s context", at, dit_status_name(status), context == NULL ? "no" : "a");
        CHECK(status == DIT_OK || reason[0] != 0, "byte %zu: no reason", at);
        if (context != NULL) {
            dit_request request = request_of(1, 1);
            request.progress = stop_at_once;
            dit_image image;
            if (dit_generate(context, &request, &image) == DIT_OK) dit_free_images(context, &image, 1);
            dit_close(context);
        }
        if (!CHECK(pwrite(file, &weights[at], 1, (off_t)at) == 1, "cannot write %s", path)) break;
    }
    close(file);
}

// ---- cancelling ----

typedef struct watch {
    dit_context* context;
    uint32_t stop_at, seen, total;
    int started;  // by __atomic operations
    bool ordered;
} watch;

static int on_progress(void* user, uint32_t done, uint32_t total) {
    watch* w = user;
    w->ordered = w->ordered && done == w->seen + 1 && (w->total == 0 || w->total == total);
    w->seen = done, w->total = total;
    __atomic_store_n(&w->started, 1, __ATOMIC_RELEASE);
    return done == w->stop_at;
}

static void* cancel_when_started(void* user) {
    watch* w = user;
    const struct timespec nap = {0, 1000000};
    while (!__atomic_load_n(&w->started, __ATOMIC_ACQUIRE)) nanosleep(&nap, NULL);
    dit_cancel(w->context);
    return NULL;
}

static void runs_can_be_cancelled(void) {
    dit_context* context = open_plainly();
    if (context == NULL) return;
    dit_image images[2];

    // To the end: a call for every step and every image, in order.
    watch w = {.context = context, .ordered = true};
    dit_request request = request_of(2, 3);
    request.progress = on_progress, request.progress_user = &w;
    CHECK_STATUS(DIT_OK, dit_generate(context, &request, images));
    CHECK(w.ordered && w.seen == w.total && w.total >= 5, "progress ended at %u of %u", w.seen, w.total);
    const uint32_t total = w.total;
    uint8_t* pixels = images[0].pixels;
    const size_t pixel_bytes = (size_t)images[0].width * images[0].height * images[0].channels;
    uint8_t* kept = malloc(pixel_bytes);
    if (kept != NULL) memcpy(kept, pixels, pixel_bytes);
    dit_free_images(context, images, 2);

    for (uint32_t stop = 1; stop <= total; stop++) {
        w = (watch){.context = context, .ordered = true, .stop_at = stop};
        memset(images, 0xab, sizeof images);
        CHECK_STATUS(DIT_CANCELLED, dit_generate(context, &request, images));
        CHECK(w.seen == stop && is_zeroed(images, 2), "stopped at %u, asked at %u", w.seen, stop);
    }

    // From another thread, in the middle of a run that would take long.
    w = (watch){.context = context, .ordered = true};
    dit_request longer = request_of(1, 1000);
    longer.progress = on_progress, longer.progress_user = &w;
    pthread_t thread;
    if (CHECK(pthread_create(&thread, NULL, cancel_when_started, &w) == 0, "no thread")) {
        CHECK_STATUS(DIT_CANCELLED, dit_generate(context, &longer, images));
        pthread_join(thread, NULL);
        CHECK(w.seen < 1000 && is_zeroed(images, 1), "the run was not ended");
    }

    // Before a run: the next one ends, and only that.
    dit_cancel(context);
    CHECK_STATUS(DIT_CANCELLED, dit_generate(context, &request, images));
    w = (watch){.context = context, .ordered = true};
    CHECK_STATUS(DIT_OK, dit_generate(context, &request, images));
    CHECK(kept != NULL && images[0].pixels != NULL && memcmp(kept, images[0].pixels, pixel_bytes) == 0, "another image after the cancelled runs");
    dit_free_images(context, images, 2);
    free(kept);
    dit_close(context);
}

// ---- memory ----

static dit_status run_once(counter* memory, uint64_t max_memory, bool verifies) {
    dit_options options;
    dit_options_init(&options);
    options.threads = 2, options.max_memory = max_memory;
    options.allocator = (dit_allocator){count_allocate, count_release, memory};
    char reason[256] = "";
    options.error = reason, options.error_capacity = sizeof reason;
    dit_context* context = (dit_context*)&context;
    dit_status status = dit_open(s_weights, &options, &context);
    if (status != DIT_OK) {
        CHECK(context == NULL && reason[0] != 0, "a failed dit_open left a context, or no reason");
        return status;
    }

    dit_image images[2];
    memset(images, 0xab, sizeof images);
    const dit_request request = request_of(2, 1);
    status = dit_generate(context, &request, images);
    if (status != DIT_OK) CHECK(is_zeroed(images, 2) && dit_last_error(context)[0] != 0, "a failed run left an image, or no reason");
    else dit_free_images(context, images, 2);
    if (status == DIT_OK && verifies) status = dit_verify(context, s_golden, NULL, NULL);
    dit_close(context);
    return status;
}

static void every_allocation_may_fail(void) {
    for (int once = 0; once < 2; once++) {
        for (long n = 0;; n++) {
            counter memory = {.lock = PTHREAD_MUTEX_INITIALIZER, .fail_at = n, .once = once == 1};
            const dit_status status = run_once(&memory, 0, true);
            CHECK(memory.live == 0, "allocation %ld failed: %ld blocks were not released", n, memory.live);
            if (memory.calls <= n) {
                CHECK(status == DIT_OK, "with all memory: %s", dit_status_name(status));
                CHECK(n > 5, "only %ld allocations: the allocator is not asked", n);
                break;
            }
            CHECK(status == DIT_OUT_OF_MEMORY, "allocation %ld failed: %s", n, dit_status_name(status));
            if (n > 5000) {
                CHECK(false, "the allocations come to no end");
                break;
            }
        }
    }
}

static void max_memory_holds(void) {
    dit_context* context = open_plainly();
    dit_info info;
    dit_info_init(&info);
    CHECK_STATUS(DIT_OK, dit_get_info(context, &info));
    dit_close(context);

    // What dit_info says is enough for all that the export was planned for, but for the images that are handed over.
    const uint64_t pixels = (uint64_t)info.image_size * info.image_size * info.image_channels;
    const uint64_t latent = (uint64_t)info.latent_size * info.latent_size * info.latent_channels * sizeof(float);
    counter memory = {.lock = PTHREAD_MUTEX_INITIALIZER, .fail_at = -1};
    CHECK_STATUS(DIT_OK, run_once(&memory, info.memory_bytes + 2 * (pixels + latent + 256), false));
    CHECK(memory.live == 0, "blocks were not released");
    for (uint64_t limit = info.memory_bytes / 2; limit > 0; limit /= 4) {
        CHECK_STATUS(DIT_OUT_OF_MEMORY, run_once(&memory, limit, false));
        CHECK(memory.live == 0, "blocks were not released");
    }
}

// ---- two at once ----

typedef struct twin {
    dit_context* context;
    dit_image image;
    dit_status status;
} twin;

static void* draw(void* user) {
    twin* t = user;
    const dit_request request = request_of(1, 2);
    t->status = dit_generate(t->context, &request, &t->image);
    return NULL;
}

static void contexts_are_independent(void) {
    twin twins[2] = {{.context = open_plainly()}, {.context = open_plainly()}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        if (!CHECK(pthread_create(&threads[i], NULL, draw, &twins[i]) == 0, "no thread")) return;
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    if (CHECK(twins[0].status == DIT_OK && twins[1].status == DIT_OK, "two at once: %s, %s", dit_status_name(twins[0].status), dit_status_name(twins[1].status))) {
        const dit_image *a = &twins[0].image, *b = &twins[1].image;
        CHECK(memcmp(a->pixels, b->pixels, (size_t)a->width * a->height * a->channels) == 0, "two contexts drew two images");
    }
    for (int i = 0; i < 2; i++) {
        dit_free_images(twins[i].context, &twins[i].image, 1);
        dit_close(twins[i].context);
    }
}

// ---- all of it, with both streams caught ----

static int catch_stream(int stream, int into) {
    const int kept = dup(stream);
    return kept < 0 || dup2(into, stream) < 0 ? -1 : kept;
}

int main(int count, char** words) {
    if (count != 3) {
        fprintf(stderr, "usage: api_test EXPORT_FOLDER SCRATCH_FOLDER\n");
        return 2;
    }
    snprintf(s_weights, sizeof s_weights, "%.4000s/weights.dit", words[1]);
    snprintf(s_golden, sizeof s_golden, "%.4000s/golden.dit", words[1]);
    snprintf(s_scratch, sizeof s_scratch, "%.4000s", words[2]);
    mkdir(s_scratch, 0777);
    size_t bytes = 0;
    uint8_t* weights = read_file(s_weights, &bytes);
    if (weights == NULL) {
        fprintf(stderr, "api_test: cannot read %s\n", s_weights);
        return 1;
    }

    char path[5000];
    snprintf(path, sizeof path, "%s/printed.txt", s_scratch);
    const int printed = open(path, O_RDWR | O_CREAT | O_TRUNC, 0666);
    fflush(NULL);
    const int out = catch_stream(STDOUT_FILENO, printed), error = catch_stream(STDERR_FILENO, printed);

    nulls_are_answered();
    sizes_are_checked();
    requests_are_checked();
    absent_files_are_refused();
    cut_weights_are_refused(weights, bytes);
    cut_golden_is_refused();
    spoiled_weights_harm_nothing(weights, bytes, 0, 1024, 1);
    spoiled_weights_harm_nothing(weights, bytes, 1024, 1 << 15, 31);
    runs_can_be_cancelled();
    every_allocation_may_fail();
    max_memory_holds();
    contexts_are_independent();

    fflush(NULL);
    CHECK(lseek(printed, 0, SEEK_END) == 0, "the library printed something: see %s", path);
    dup2(out, STDOUT_FILENO), dup2(error, STDERR_FILENO);
    close(out), close(error), close(printed);
    free(weights);
    fwrite(s_failures, 1, s_failure_bytes, stderr);
    printf("api_test: %d failures\n", s_failure_count);
    return s_failure_count == 0 ? 0 : 1;
}
