// SHA-256 (FIPS 180-4), and manifests as sha256sum writes them: "<64 hexadecimal digits>  <name>" a line.

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef struct sha256 {
    uint32_t state[8];
    uint64_t bytes;
    uint8_t block[64];
} sha256;

// The first 32 bits of the fractions of the cube roots of the first 64 primes.
static const uint32_t sha256_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74,
    0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d,
    0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e,
    0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5,
    0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t sha256_rotate(uint32_t x, int bits) { return x >> bits | x << (32 - bits); }

static void sha256_block(uint32_t* state, const uint8_t* block) {
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; i++) w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        const uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + w[i - 7] + (sha256_rotate(a, 7) ^ sha256_rotate(a, 18) ^ a >> 3) + (sha256_rotate(b, 17) ^ sha256_rotate(b, 19) ^ b >> 10);
    }

    memcpy(s, state, sizeof s);
    for (int i = 0; i < 64; i++) {
        const uint32_t choice = (s[4] & s[5]) ^ (~s[4] & s[6]), majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
        const uint32_t t1 = s[7] + (sha256_rotate(s[4], 6) ^ sha256_rotate(s[4], 11) ^ sha256_rotate(s[4], 25)) + choice + sha256_constants[i] + w[i];
        const uint32_t t2 = (sha256_rotate(s[0], 2) ^ sha256_rotate(s[0], 13) ^ sha256_rotate(s[0], 22)) + majority;
        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += t1;
        s[0] = t1 + t2;
    }

    for (int i = 0; i < 8; i++) state[i] += s[i];
}

static void sha256_begin(sha256* h) {
    // The first 32 bits of the fractions of the square roots of the first 8 primes.
    *h = (sha256){.state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}};
}

static void sha256_add(sha256* h, const uint8_t* bytes, size_t count) {
    while (count > 0) {
        const size_t held = h->bytes % 64, part = count < 64 - held ? count : 64 - held;
        memcpy(h->block + held, bytes, part);
        h->bytes += part;
        bytes += part;
        count -= part;
        if (held + part == 64) sha256_block(h->state, h->block);
    }
}

static void sha256_end(sha256* h, char text[65]) {
    const uint64_t bits = 8 * h->bytes;
    uint8_t tail[72] = {0x80};
    const size_t padding = 1 + (119 - h->bytes % 64) % 64;
    for (int i = 0; i < 8; i++) tail[padding + (size_t)i] = (uint8_t)(bits >> (56 - 8 * i));
    sha256_add(h, tail, padding + 8);
    for (int i = 0; i < 8; i++) snprintf(text + 8 * i, 9, "%08x", (unsigned)h->state[i]);
}

// The hash of a file as 64 digits; false where it cannot be read.
static bool sha256_file(const char* path, char text[65]) {
    static uint8_t bytes[1 << 16];
    FILE* file = fopen(path, "rb");
    if (!file) return false;
    sha256 h;
    sha256_begin(&h);
    size_t count;
    while ((count = fread(bytes, 1, sizeof bytes, file)) > 0) sha256_add(&h, bytes, count);
    const bool read = !ferror(file);
    fclose(file);
    sha256_end(&h, text);
    return read;
}

// Hashes one file of a manifest's line. False and a message where the line or the file is wrong.
static bool manifest_check_line(const char* folder, char* line, char* message, size_t capacity) {
    const char* name = line + 66;
    if (strspn(line, "0123456789abcdefABCDEF") != 64 || line[64] != ' ' || (line[65] != ' ' && line[65] != '*') || *name == 0 || *name == '/' || strstr(name, ".."))
        return snprintf(message, capacity, "SHA256SUMS: '%.80s' is no line of a manifest", line), false;
    char path[4096], found[65];
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path || !sha256_file(path, found))
        return snprintf(message, capacity, "%s cannot be read, though SHA256SUMS lists it", name), false;
    for (int i = 0; i < 64; i++)
        if (tolower((unsigned char)line[i]) != found[i]) return snprintf(message, capacity, "%s is not the file that was exported: its SHA-256 differs", name), false;
    return true;
}

// Hashes every file that folder/SHA256SUMS lists. Returns their number, 0 where there is no manifest, -1 and a message where one differs.
static int manifest_check(const char* folder, char* message, size_t capacity) {
    char line[4096];
    if (snprintf(line, sizeof line, "%s/SHA256SUMS", folder) >= (int)sizeof line) return 0;
    FILE* manifest = fopen(line, "rb");
    if (!manifest) return 0;
    int count = 0;
    while (count >= 0 && fgets(line, sizeof line, manifest)) {
        line[strcspn(line, "\r\n")] = 0;
        if (strlen(line) < 67) count = -1, snprintf(message, capacity, "SHA256SUMS: '%.60s' is no line of a manifest", line);
        else count = manifest_check_line(folder, line, message, capacity) ? count + 1 : -1;
    }

    fclose(manifest);
    if (count == 0) count = -1, snprintf(message, capacity, "SHA256SUMS lists no file");
    return count;
}
