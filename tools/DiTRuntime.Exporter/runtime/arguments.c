// The command line: what it may say, and where images go.

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_IMAGES = 100000, PATH_BYTES = 4096 };

// What the command line asks for. Numbers that it leaves out are negative.
typedef struct arguments {
    const char *command, *source;  // source: the export's folder, or its weights
    const char *labels, *out, *latents, *sampler, *spacing, *simd;
    double eta, guidance;
    int64_t count, seed, steps, batch, threads, device, max_memory;
    bool json, quiet, skip_hashes;
} arguments;

static dit_status fail(dit_status status, const char* format, ...) {
    va_list list;
    va_start(list, format);
    fputs("dit: ", stderr);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
    va_end(list);
    return status;
}

static int usage(FILE* file) {
    fputs(
        "dit COMMAND [FOLDER] [OPTIONS]    FOLDER holds weights.dit; without it, this folder or the program's\n"
        "\n"
        "generate   draw images\n"
        "  --class-labels LIST    classes by index or name, separated by commas [0]; also --labels\n"
        "  --count N              images; the labels are repeated in turn [one a label]\n"
        "  --seed N               image i is seeded with seed + i [0]\n"
        "  --steps N              sampling steps [as exported]\n"
        "  --cfg-scale X          guidance scale, 1 turns guidance off [as exported]; also --guidance\n"
        "  --sampler ddim|ddpm    --spacing leading|linspace|trailing    --eta X\n"
        "  --batch N              images sampled together; changes no bit of them\n"
        "  --out PATH             a .png, or a pattern with {index}, {seed}, {class}, {index:06d}, %03d [output.png]\n"
        "  --save-latents FILE    also the latents, as raw floats [images, channels, side, side]\n"
        "verify     compare hashes and golden vectors with the export's    --skip-hashes\n"
        "info       what the model is, and what its memory is for          --json\n"
        "bench      time of a step, and from the start to the first one    --steps, --batch, --cfg-scale\n"
        "\n"
        "all        --threads N    --simd auto|portable|avx2|avx-vnni|avx512|neon|neon-dotprod|neon-i8mm\n"
        "           --device N     --max-memory BYTES     --quiet\n",
        file);
    return file == stdout ? DIT_OK : DIT_INVALID_ARGUMENT;
}

static bool parse_number(const char* name, const char* text, double* value) {
    char* end;
    errno = 0;
    *value = strtod(text, &end);
    if (*text && !*end && !errno && *value >= 0 && *value <= 1e30) return true;
    return fail(DIT_INVALID_ARGUMENT, "%s %s: expected a number from 0 up", name, text), false;
}

static bool parse_whole(const char* name, const char* text, int64_t most, int64_t* value) {
    char* end;
    errno = 0;
    const intmax_t whole = strtoimax(text, &end, 10);
    if (*text && !*end && !errno && whole >= 0 && whole <= most) return *value = (int64_t)whole, true;
    return fail(DIT_INVALID_ARGUMENT, "%s %s: expected a whole number from 0 to %" PRId64, name, text, most), false;
}

static bool parse_option(arguments* a, const char* name, const char* text) {
    const struct { const char *name, *also; const char** text; double* number; int64_t* whole; int64_t most; } options[] = {
        {"--class-labels", "--labels", &a->labels, NULL, NULL, 0},
        {"--out", "-o", &a->out, NULL, NULL, 0},
        {"--save-latents", NULL, &a->latents, NULL, NULL, 0},
        {"--sampler", NULL, &a->sampler, NULL, NULL, 0},
        {"--spacing", NULL, &a->spacing, NULL, NULL, 0},
        {"--simd", NULL, &a->simd, NULL, NULL, 0},
        {"--eta", NULL, NULL, &a->eta, NULL, 0},
        {"--cfg-scale", "--guidance", NULL, &a->guidance, NULL, 0},
        {"--count", NULL, NULL, NULL, &a->count, MAX_IMAGES},
        {"--seed", NULL, NULL, NULL, &a->seed, INT64_MAX},
        {"--steps", NULL, NULL, NULL, &a->steps, 1000},
        {"--batch", NULL, NULL, NULL, &a->batch, MAX_IMAGES},
        {"--threads", NULL, NULL, NULL, &a->threads, 1024},
        {"--device", NULL, NULL, NULL, &a->device, 1024},
        {"--max-memory", NULL, NULL, NULL, &a->max_memory, INT64_MAX},
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        if (strcmp(name, options[i].name) != 0 && (!options[i].also || strcmp(name, options[i].also) != 0)) continue;
        if (!text) return fail(DIT_INVALID_ARGUMENT, "%s: a value is missing", name), false;
        if (options[i].number) return parse_number(name, text, options[i].number);
        if (options[i].whole) return parse_whole(name, text, options[i].most, options[i].whole);
        return *options[i].text = text, true;
    }

    return fail(DIT_INVALID_ARGUMENT, "%s is no option; see dit --help", name), false;
}

static bool parse_arguments(int count, char** words, arguments* a) {
    *a = (arguments){.command = words[1], .out = "output.png", .eta = -1, .guidance = -1, .count = -1, .steps = -1, .batch = -1};
    for (int i = 2; i < count; i++) {
        if (strcmp(words[i], "--json") == 0) a->json = true;
        else if (strcmp(words[i], "--quiet") == 0) a->quiet = true;
        else if (strcmp(words[i], "--skip-hashes") == 0) a->skip_hashes = true;
        else if (words[i][0] != '-' && !a->source) a->source = words[i];
        else if (words[i][0] != '-') return fail(DIT_INVALID_ARGUMENT, "%s: one folder is enough", words[i]), false;
        else if (!parse_option(a, words[i], i + 1 < count ? words[i + 1] : NULL)) return false;
        else i++;
    }

    return true;
}

// The number of a name in a list; -1 and a message where it is not there. No name is the first.
static int find_name(const char* option, const char* name, const char* const* names, int count) {
    for (int i = 0; i < count; i++)
        if (!name || strcmp(name, names[i]) == 0) return i;
    return fail(DIT_INVALID_ARGUMENT, "%s %s is unknown; see dit --help", option, name), -1;
}

// ---- names of images ----

// A field of a pattern: {index}, {seed}, {class}, also {index:06d}; %d, %03d is the index. Returns its length, or 0.
static size_t parse_field(const char* text, char* name, int* width) {
    int length = 0;
    *width = 0;
    if (sscanf(text, "{%5[a-z]}%n", name, &length) == 1 && length > 0) return (size_t)length;
    if (sscanf(text, "{%5[a-z]:0%2dd}%n", name, width, &length) == 2 && length > 0) return (size_t)length;
    strcpy(name, "index");
    if (strncmp(text, "%d", 2) == 0) return 2;
    if (sscanf(text, "%%0%2dd%n", width, &length) == 1 && length > 0) return (size_t)length;
    return 0;
}

static bool value_of_field(const char* name, uint32_t i, uint64_t seed, int32_t label, uint64_t* value) {
    *value = strcmp(name, "seed") == 0 ? seed : strcmp(name, "class") == 0 ? (uint64_t)label : i;
    return strcmp(name, "index") == 0 || strcmp(name, "seed") == 0 || strcmp(name, "class") == 0;
}

// Where image i goes. A name without a field takes the first image, and the others get _2, _3 before the extension.
static bool make_path(const char* pattern, uint32_t i, uint64_t seed, int32_t label, char* path) {
    const char* extension = strrchr(pattern, '.');
    bool has_field = false;
    size_t at = 0;
    for (const char* text = pattern; *text;) {
        char name[6];
        int width;
        uint64_t value;
        const size_t length = parse_field(text, name, &width);
        // A number and its padding: up to 99 digits.
        if (at > PATH_BYTES - 128) return fail(DIT_INVALID_ARGUMENT, "--out: the name is too long"), false;
        if (text == extension && !has_field && i > 0) at += (size_t)sprintf(path + at, "_%" PRIu32, i + 1);
        if (length == 0) {
            path[at++] = *text++;
            continue;
        }

        if (!value_of_field(name, i, seed, label, &value)) return fail(DIT_INVALID_ARGUMENT, "--out %s: unknown field {%s}", pattern, name), false;
        at += (size_t)sprintf(path + at, "%0*" PRIu64, width, value);
        text += length;
        has_field = true;
    }

    path[at] = 0;
    return extension && strcmp(extension, ".png") == 0 ? true : (fail(DIT_INVALID_ARGUMENT, "--out %s: expected a .png", pattern), false);
}
