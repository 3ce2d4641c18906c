// Golden vectors: what equals them passes, what differs is told, and a file of them that is cut short, spoiled or of another model is refused before anything is computed.
// The engine and the sampler are replaced by functions that return the golden values, but for what a test spoils.
//
//   verify_test SCRATCH_FILE
#define _POSIX_C_SOURCE 200809L

// A test includes parts of the runtime, not all of it.
#pragma GCC diagnostic ignored "-Wunused-function"

#include "../internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../memory.c"
#include "../check.c"
#include "../file.c"

enum { SIDE = 4, TOKENS = 4, HIDDEN = 6, DEPTH = 2, STAGES = DEPTH + 1, STRIDE = 3, KEPT = 2, LATENT = SIDE * SIDE, PREDICTION = 2 * LATENT };

// A golden file, sections at multiples of 64 bytes.
typedef struct golden_file {
    dit_golden_header header;
    uint8_t gap[256 - sizeof(dit_golden_header) % 64 - sizeof(dit_golden_header) / 64 * 64];
    float pass_latents[2 * LATENT];             // 128 bytes
    float stages[STAGES * 2 * KEPT * HIDDEN];   // 288
    float gap_after_stages[8];                  // to 320
    float prediction[2 * PREDICTION];           // 256
    float latents[2 * LATENT];                  // 128
    uint8_t pixels[2 * LATENT];
} golden_file;

static const dit_file_header model = {
    .input_size = SIDE, .patch_size = 2, .in_channels = 1, .out_channels = 2, .hidden_size = HIDDEN, .depth = DEPTH, .class_count = 3, .upscale = 1, .image_channels = 1,
};

static golden_file golden;
static float pass_change, latent_change;  // added to the last value of the last stage, of a latent
static int pixel_change;
static bool shows_stages = true;
static int failures;

static dit_status make_pass(dit_context* c, const dit_golden_header* header, const float* latents, float* stages, float* prediction) {
    (void)header;
    if (!shows_stages) return dit_fail(c, DIT_UNSUPPORTED, "no stages");
    if (memcmp(latents, golden.pass_latents, sizeof golden.pass_latents) != 0) failures++, printf("verify_test: other latents are passed\n");
    memcpy(stages, golden.stages, sizeof golden.stages);
    memcpy(prediction, golden.prediction, sizeof golden.prediction);
    stages[STAGES * 2 * KEPT * HIDDEN - 1] += pass_change;
    return DIT_OK;
}

void dit_request_init(dit_request* request) { memset(request, 0, sizeof *request); }

dit_status dit_generate(dit_context* c, const dit_request* request, dit_image* images) {
    if (request->count != 2 || request->labels[0] < 0) return dit_fail(c, DIT_INVALID_ARGUMENT, "class %d", (int)request->labels[0]);
    for (int i = 0; i < 2; i++) {
        images[i] = (dit_image){SIDE, SIDE, 1, dit_allocate(c, LATENT), dit_allocate(c, LATENT * sizeof(float))};
        if (!images[i].pixels || !images[i].latent) abort();
        memcpy(images[i].pixels, golden.pixels + i * LATENT, LATENT);
        memcpy(images[i].latent, golden.latents + i * LATENT, LATENT * sizeof(float));
        images[i].pixels[5] = (uint8_t)(images[i].pixels[5] + pixel_change);
        images[i].latent[5] += latent_change;
    }

    return DIT_OK;
}

void dit_free_images(dit_context* c, dit_image* images, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) dit_release(c, images[i].pixels), dit_release(c, images[i].latent);
}

#include "../verify.c"

static const dit_engine engine = {.pass = make_pass};
static const char* scratch;

#define SECTION(name) {offsetof(golden_file, name), sizeof golden.name}

static void make_golden(void) {
    memset(&golden, 0, sizeof golden);
    golden.header = (dit_golden_header){
        .version = DIT_FILE_VERSION, .header_bytes = sizeof(dit_golden_header), .file_bytes = sizeof golden, .labels = {0, 2}, .steps = 4, .guidance_scale = 2,
        .timesteps = {0, 999}, .pass_labels = {1, 3}, .stage_count = STAGES, .token_stride = STRIDE, .stage_tolerance = 1e-3f, .latent_tolerance = 1e-3f, .pixel_tolerance = 1,
        .pass_latents = SECTION(pass_latents), .stages = SECTION(stages), .prediction = SECTION(prediction), .latents = SECTION(latents), .pixels = SECTION(pixels),
    };
    memcpy(golden.header.magic, DIT_GOLDEN_MAGIC, 8);
    for (int i = 0; i < 2 * LATENT; i++) golden.pass_latents[i] = golden.latents[i] = (float)i / 8 - 2, golden.pixels[i] = (uint8_t)(7 * i);
    for (int i = 0; i < STAGES * 2 * KEPT * HIDDEN; i++) golden.stages[i] = (float)(i % 11) - 5;
    for (int i = 0; i < 2 * PREDICTION; i++) golden.prediction[i] = (float)(i % 5) - 2;
}

// Verifies `bytes` of the golden file as it is now, and holds the outcome against what is expected.
static void expect(const char* what, dit_status expected, size_t bytes) {
    FILE* file = fopen(scratch, "wb");
    if (!file || fwrite(&golden, 1, bytes, file) != bytes || fclose(file) != 0) abort();
    dit_context context = {.header = &model, .engine = &engine};
    float error[STAGES], worst_pixel;
    const dit_status status = dit_verify(&context, scratch, error, &worst_pixel);
    if (status != expected) failures++, printf("verify_test: %s: status %d (%s), expected %d\n", what, status, context.error, expected);
    if (status != DIT_OK && context.error[0] == 0) failures++, printf("verify_test: %s: no reason\n", what);
    if (context.allocated != 0) failures++, printf("verify_test: %s: memory is left\n", what);
    if (dit_verify(&context, scratch, NULL, NULL) != expected) failures++, printf("verify_test: %s: another status without results\n", what);
}

static void expect_now(const char* what, dit_status expected) { expect(what, expected, sizeof golden); }

static void test_values(void) {
    make_golden();
    expect_now("equal values", DIT_OK);
    pass_change = 1;
    expect_now("a block that differs", DIT_MISMATCH);
    pass_change = NAN;
    expect_now("a block that is no number", DIT_MISMATCH);
    pass_change = 0, latent_change = 0.1f;
    expect_now("a latent that differs", DIT_MISMATCH);
    latent_change = 0, pixel_change = 1;
    expect_now("a pixel within the tolerance", DIT_OK);
    pixel_change = 2;
    expect_now("a pixel beyond the tolerance", DIT_MISMATCH);
    pixel_change = 0, shows_stages = false;
    expect_now("an engine without stages", DIT_OK);
    shows_stages = true;
}

#define REFUSED(what, change)                \
    do {                                     \
        make_golden();                       \
        change;                              \
        expect_now(what, DIT_BAD_FILE);      \
    } while (0)

static void test_files(void) {
    make_golden();
    for (size_t bytes = 0; bytes < sizeof golden; bytes += 13) expect("a file cut short", DIT_BAD_FILE, bytes);
    dit_golden_header* h = &golden.header;
    REFUSED("another magic", h->magic[3] ^= 1);
    REFUSED("another version", h->version++);
    REFUSED("another header", h->header_bytes -= 8);
    REFUSED("other stages", h->stage_count--);
    REFUSED("no stride", h->token_stride = 0);
    REFUSED("another stride", h->token_stride = 1);
    REFUSED("a timestep of 1000", h->timesteps[1] = 1000);
    REFUSED("a timestep below 0", h->timesteps[0] = -1);
    REFUSED("a class beyond the null class", h->pass_labels[0] = 4);
    REFUSED("a class below 0", h->pass_labels[1] = -1);
    REFUSED("an image that cannot be drawn", h->labels[0] = -1);
    REFUSED("a tolerance that is no number", h->stage_tolerance = NAN);
    REFUSED("a tolerance without end", h->latent_tolerance = INFINITY);
    dit_section* const sections[] = {&h->pass_latents, &h->stages, &h->prediction, &h->latents, &h->pixels};
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        REFUSED("a section beyond the end", sections[i]->offset = sizeof golden / 64 * 64 + 64);
        REFUSED("a section far away", sections[i]->offset = UINT64_MAX / 64 * 64);
        REFUSED("a section that is not aligned", sections[i]->offset += 4);
        REFUSED("a section of other bytes", sections[i]->bytes += 4);
        REFUSED("no section", sections[i]->bytes = 0);
    }
}

int main(int count, char** words) {
    scratch = count > 1 ? words[1] : "verify_test.dit";
    test_values();
    test_files();
    dit_context context = {.header = &model, .engine = &engine};
    if (dit_verify(NULL, scratch, NULL, NULL) != DIT_INVALID_ARGUMENT || dit_verify(&context, NULL, NULL, NULL) != DIT_INVALID_ARGUMENT || dit_stage_count(NULL) != 0)
        failures++, printf("verify_test: null is taken\n");
    remove(scratch);
    if (dit_verify(&context, scratch, NULL, NULL) != DIT_ERROR) failures++, printf("verify_test: a missing file is no error\n");
    if (failures == 0) printf("verify_test: passed\n");
    return failures != 0;
}
