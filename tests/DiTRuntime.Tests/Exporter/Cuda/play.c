// Draws images with the exported player, for the tests of the CUDA export: play WEIGHTS OUT STEPS SAMPLER GUIDANCE SEED LABEL...
// OUT receives each image's latent (f32) and pixels. The exit code is the status; the reason of a failure goes to standard error.
// Over the stub of the driver (PLAY_FAIL, PLAY_FAIL_SKIP, PLAY_FAIL_STATUS, PLAY_ARCHITECTURE) it tells what is left behind.
#define _POSIX_C_SOURCE 200809L
#include "dit.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_IMAGES 16

static int failed(dit_status status, const char* why) {
    fprintf(stderr, "%s: %s\n", dit_status_name(status), why);
    return (int)status;
}

static int number(const char* name, int otherwise) { return getenv(name) ? atoi(getenv(name)) : otherwise; }

// The stub, where it stands for the driver; it stays loaded until the end.
static void* stub;

static void find(void* function, const char* name) {
    void* found = dlsym(stub, name);
    memcpy(function, &found, sizeof found);
}

static void prepare_stub(void) {
    void (*reset)(void), (*set_architecture)(int), (*fail_next)(const char*, int, int);
    stub = dlopen("libcuda.so.1", RTLD_NOW);
    if (stub && !dlsym(stub, "stub_reset")) stub = NULL;
    if (!stub) return;
    find(&reset, "stub_reset");
    find(&set_architecture, "stub_set_architecture");
    find(&fail_next, "stub_fail_next");
    reset();
    set_architecture(number("PLAY_ARCHITECTURE", 90));
    if (getenv("PLAY_FAIL")) fail_next(getenv("PLAY_FAIL"), number("PLAY_FAIL_STATUS", 700), number("PLAY_FAIL_SKIP", 0));
}

static int stub_has_left(void) {
    static const char* const kinds[] = {"context", "stream", "event", "module", "graph", "executable", "memory", "pinned"};
    long (*live)(const char*), (*misuses)(void), left = 0;
    if (!stub) return 0;
    find(&live, "stub_live");
    find(&misuses, "stub_misuses");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (live(kinds[i])) fprintf(stderr, "left: %ld %s\n", live(kinds[i]), kinds[i]), left++;
    if (misuses()) fprintf(stderr, "left: %ld misuses\n", misuses()), left++;
    return left != 0;
}

static int play(int count, char** words) {
    char error[512] = "";
    if (count < 8 || count - 7 > MOST_IMAGES) return DIT_INVALID_ARGUMENT;
    dit_options options;
    dit_options_init(&options);
    options.threads = 2;
    options.error = error;
    options.error_capacity = sizeof error;
    const char* limit = getenv("PLAY_MAX_MEMORY");
    if (limit) options.max_memory = strtoull(limit, NULL, 10);

    dit_context* context;
    dit_status status = dit_open(words[1], &options, &context);
    if (status) return failed(status, error);

    int32_t labels[MOST_IMAGES];
    dit_image images[MOST_IMAGES];
    dit_request request;
    dit_request_init(&request);
    request.count = (uint32_t)(count - 7);
    request.labels = labels;
    request.steps = (uint32_t)atoi(words[3]);
    request.sampler = strcmp(words[4], "ddpm") ? DIT_SAMPLER_DDIM : DIT_SAMPLER_DDPM;
    request.spacing = request.sampler == DIT_SAMPLER_DDPM ? DIT_SPACING_LINSPACE : DIT_SPACING_LEADING;
    request.guidance_scale = (float)atof(words[5]);
    request.seed = strtoull(words[6], NULL, 10);
    for (uint32_t i = 0; i < request.count; i++) labels[i] = atoi(words[7 + i]);
    status = dit_generate(context, &request, images);
    if (status) {
        failed(status, dit_last_error(context));
        dit_close(context);
        return (int)status;
    }

    dit_info info;
    dit_info_init(&info);
    dit_get_info(context, &info);
    FILE* out = fopen(words[2], "wb");
    if (!out) return DIT_ERROR;
    for (uint32_t i = 0; i < request.count; i++) {
        fwrite(images[i].latent, sizeof(float), (size_t)info.latent_channels * info.latent_size * info.latent_size, out);
        fwrite(images[i].pixels, 1, (size_t)images[i].width * images[i].height * images[i].channels, out);
    }
    fclose(out);
    printf("%s, %llu bytes\n", dit_describe(context), (unsigned long long)info.memory_bytes);
    dit_free_images(context, images, request.count);
    dit_close(context);
    return 0;
}

int main(int count, char** words) {
    prepare_stub();
    int code = play(count, words);
    return stub_has_left() ? 98 : code;
}
