// PNG without a compressor: the pixels go into stored blocks.

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t png_crc(uint32_t crc, const uint8_t* bytes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (0xedb88320u & (0u - (crc & 1)));
    }

    return crc;
}

static uint8_t* png_number(uint8_t* at, uint32_t value) {
    for (int i = 0; i < 4; i++) at[i] = (uint8_t)(value >> (24 - 8 * i));
    return at + 4;
}

// Length, type, data, checksum of type and data.
static bool png_chunk(FILE* file, const char* type, const uint8_t* data, uint32_t count) {
    uint8_t head[8], tail[4];
    memcpy(png_number(head, count), type, 4);
    png_number(tail, ~png_crc(png_crc(~0u, head + 4, 4), data, count));
    return fwrite(head, 1, 8, file) == 8 && fwrite(data, 1, count, file) == count && fwrite(tail, 1, 4, file) == 4;
}

// A zlib stream [bytes] of stored blocks of up to 65535; each row begins with filter 0. Returns its length.
static uint32_t png_store(const uint8_t* pixels, uint32_t height, size_t row, uint8_t* stream) {
    uint8_t* at = stream;
    uint32_t a = 1, b = 0;
    size_t left = height * (row + 1), block = 0;
    *at++ = 0x78;
    *at++ = 0x01;
    for (uint32_t y = 0; y < height; y++)
        for (size_t x = 0; x <= row; x++, left--) {
            if (block == 0) {
                block = left < 65535 ? left : 65535;
                *at++ = block == left;
                *at++ = (uint8_t)block, *at++ = (uint8_t)(block >> 8);
                *at++ = (uint8_t)~block, *at++ = (uint8_t)(~block >> 8);
            }

            const uint8_t value = x == 0 ? 0 : pixels[y * row + x - 1];
            *at++ = value;
            block--;
            // Adler-32.
            a = (a + value) % 65521;
            b = (b + a) % 65521;
        }

    at = png_number(at, b << 16 | a);
    return (uint32_t)(at - stream);
}

// 8 bits a channel, grey or RGB. False where the file cannot be written.
static bool png_write(const char* path, uint32_t width, uint32_t height, uint32_t channels, const uint8_t* pixels) {
    const size_t row = (size_t)width * channels, raw = height * (row + 1);
    uint8_t* stream = raw > INT32_MAX ? NULL : malloc(raw + 5 * (raw / 65535 + 1) + 6);
    if (!stream) return false;
    uint8_t header[13] = {0};
    png_number(png_number(header, width), height);
    header[8] = 8;
    header[9] = channels == 3 ? 2 : 0;
    FILE* file = fopen(path, "wb");
    bool written = file && fwrite("\x89PNG\r\n\x1a\n", 1, 8, file) == 8 && png_chunk(file, "IHDR", header, 13) &&
                   png_chunk(file, "IDAT", stream, png_store(pixels, height, row, stream)) && png_chunk(file, "IEND", header, 0);
    if (file) written &= fclose(file) == 0;
    free(stream);
    return written;
}
