// Packed weights, what every set of instructions shares: reading codes and codewords from the mapped file, and the arguments of an
// integer product. BitPacking.cs says how codes are packed: little-endian, without gaps, the first code in the lowest bits.
#ifndef DIT_LOWBIT_H
#define DIT_LOWBIT_H

#include "internal.h"

#include <string.h>

#define DIT_INTEGER_WIDTH 16   // columns of an integer panel
#define DIT_TASK_ROWS 16       // rows of a task where a row is little work
#define DIT_INTEGER_ROWS 16    // rows of a tile at most: as many can be read past the last
#define DIT_BYTE_OFFSET 128    // what codes of 8 bits lose to become signed
#define DIT_LINE_INPUTS 512    // inputs of a row that are looked up at a time: eight rows of halves stay in the first cache
#define DIT_LINE_BYTES (DIT_LINE_INPUTS * 2 + 64)
#define DIT_FILL_SCRATCH (16 * (DIT_LINE_INPUTS + 64) + DIT_LINE_INPUTS * 2)  // lines of 16 rows of bytes or 8 of halves, and a row's codes
#define DIT_EXPANDED_DEPTH 1152  // with 48 columns of fp32, 216 KB, which share the second cache with the sums of all rows of a task

static inline uint64_t dit_load64(const uint8_t* p) {
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

static inline float dit_float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// A half's bits 13 to the left are a float 2^112 times too small, subnormals included; an exponent of all ones stays one.
static inline float dit_half(uint16_t half) {
    const float magnitude = dit_float_of((uint32_t)(half & 0x7fff) << 13) * 0x1p112f;
    uint32_t bits;
    memcpy(&bits, &magnitude, sizeof bits);
    return dit_float_of(bits | (uint32_t)(half & 0x8000) << 16 | ((half & 0x7c00) == 0x7c00 ? 0x7f800000u : 0u));
}

static inline bool dit_is_codebook(const dit_layer* layer) { return layer->file->format == DIT_FORMAT_CODEBOOK || layer->file->format == DIT_FORMAT_PRODUCT; }

// Values of a row that share a scale in an integer product.
static inline int32_t dit_group_size(const dit_file_layer* f) {
    return (int32_t)(f->format == DIT_FORMAT_GROUP ? f->group_size : f->activation_group ? f->activation_group : f->inputs);
}

// Bits of a weight in an integer product: panels of up to 6 bits lie within ±(2^bits − 1), others in −128 to 127.
static inline int32_t dit_integer_bits(const dit_layer* layer) { return layer->file->format == DIT_FORMAT_GROUP ? (int32_t)layer->file->bits : 8; }

// Inputs of a block, at most `most` (512 or more, a multiple of 16): blocks begin where codes can be read, at a byte and at a whole vector.
static inline int32_t dit_block_depth(const dit_layer* layer, int32_t most) {
    const int32_t step = dit_is_codebook(layer) ? 16 * (int32_t)layer->file->vector_length : 16;
    return most / step * step;
}

// The zero point of a row's group, of codes packed without gaps over [N, G].
static inline int32_t dit_zero_point(const dit_layer* layer, int64_t index) {
    const int64_t bit = index * layer->file->bits;
    const uint8_t* at = layer->zeros + (bit >> 3);
    const int32_t shift = (int32_t)(bit & 7), bits = (int32_t)layer->file->bits;
    const int32_t word = shift + bits > 8 ? at[0] | at[1] << 8 : at[0];
    return word >> shift & ((1 << bits) - 1);
}

// Eight codes of `bits` bits, side by side in a word, to a byte each: halved three times.
static inline uint64_t dit_spread_eight(uint64_t word, int32_t bits) {
    const uint64_t one = (1u << bits) - 1, two = (1u << 2 * bits) - 1, four = (1ull << 4 * bits) - 1;
    const uint64_t even_pairs = two * 0x0000000100000001u, even_codes = one * 0x0001000100010001u;
    word = (word & four) | (word >> 4 * bits & four) << 32;
    word = (word & even_pairs) | (word >> 2 * bits & even_pairs) << 16;
    return (word & even_codes) | (word >> bits & even_codes) << 8;
}

// Codes of up to 6 bits, beginning at a byte, to a byte each. Reads their own bytes only; writes up to seven bytes past the last.
static void dit_unpack_bytes(const uint8_t* packed, int32_t bits, int32_t count, uint8_t* bytes) {
    int32_t left = (count * bits + 7) / 8;
    for (; count > 0; count -= 8, left -= bits, packed += bits, bytes += 8) {
        uint64_t word = 0;
        if (left >= 8) word = dit_load64(packed);
        else memcpy(&word, packed, (size_t)left);
        word = dit_spread_eight(word, bits);
        memcpy(bytes, &word, sizeof word);
    }
}

// Codes of 1 to 16 bits, from `first` on, of a row of `row_bytes` bytes.
static void dit_unpack_codes(const uint8_t* row, int32_t row_bytes, int32_t bits, int32_t first, int32_t count, uint16_t* codes) {
    const uint32_t mask = (1u << bits) - 1;
    int64_t bit = (int64_t)first * bits;
    int32_t i = 0;
    // Four codes from a word, where they cannot pass its end: their shift stays what it is or alternates between two values four apart.
    if (((int32_t)(bit & 7) | (4 * bits & 4)) + 4 * bits <= 64) {
        for (; i + 4 <= count && (bit >> 3) + 8 <= row_bytes; i += 4, bit += 4 * bits) {
            const uint64_t word = dit_load64(row + (bit >> 3)) >> (bit & 7);
            codes[i] = (uint16_t)(word & mask);
            codes[i + 1] = (uint16_t)(word >> bits & mask);
            codes[i + 2] = (uint16_t)(word >> 2 * bits & mask);
            codes[i + 3] = (uint16_t)(word >> 3 * bits & mask);
        }
    }
    for (; i < count; i++, bit += bits) {
        uint32_t word = 0;
        const int64_t at = bit >> 3;
        memcpy(&word, row + at, (size_t)(row_bytes - at < 3 ? row_bytes - at : 3));
        codes[i] = (uint16_t)(word >> (bit & 7) & mask);
    }
}

// Where a layer's codewords lie, [vectors] of `bytes` bytes each: halves as the file has them, or bytes q + 128 in slots.
typedef struct dit_codewords {
    const uint8_t* vectors;
    int32_t bytes;       // of a codeword: 4, 6, 8, 10, 12, 14, 16
    int32_t step;        // of a row, from one vector to the next: what a slot holds beyond is overwritten by the next one
    const uint8_t* table;  // [books, k]: which vector an entry is, or null where it is the entry's own number
    bool wide_table;
    int32_t book_step;   // k where each position along the row has the next codebook, else 0
} dit_codewords;

static inline dit_codewords dit_codewords_of(const dit_layer* layer) {
    const dit_file_layer* f = layer->file;
    const int32_t d = (int32_t)f->vector_length;
    return (dit_codewords){
        .vectors = layer->byte_vectors ? layer->byte_vectors : (const uint8_t*)layer->codebook,
        .bytes = !layer->byte_vectors ? 2 * d : d <= 4 ? 4 : 8,
        .step = layer->byte_vectors ? d : 2 * d,
        .table = layer->table,
        .wide_table = f->wide_table != 0,
        .book_step = f->format == DIT_FORMAT_PRODUCT ? (int32_t)f->codebook_size : 0,
    };
}

// The vectors of a row side by side. `entry` is the first vector's codebook times k; code_bytes, bytes and table_bytes are constants.
static inline __attribute__((always_inline)) void dit_copy_codewords(
    const dit_codewords* w, const void* codes, const int32_t code_bytes, int32_t count, int64_t entry, const int32_t bytes, const int32_t table_bytes, uint8_t* line) {
    for (int32_t i = 0; i < count; i++, line += w->step, entry += w->book_step) {
        int64_t vector = entry + (code_bytes == 1 ? ((const uint8_t*)codes)[i] : ((const uint16_t*)codes)[i]);
        if (table_bytes == 2) vector = ((const uint16_t*)(const void*)w->table)[vector];
        if (table_bytes == 4) vector = ((const uint32_t*)(const void*)w->table)[vector];
        memcpy(line, w->vectors + vector * bytes, (size_t)bytes);
    }
}

static inline __attribute__((always_inline)) void dit_look_up_size(
    const dit_codewords* w, const void* codes, int32_t code_bytes, int32_t count, int64_t entry, const int32_t bytes, uint8_t* line) {
    if (!w->table) {
        if (code_bytes == 1) dit_copy_codewords(w, codes, 1, count, entry, bytes, 0, line);
        else dit_copy_codewords(w, codes, 2, count, entry, bytes, 0, line);
    } else if (!w->wide_table) {
        if (code_bytes == 1) dit_copy_codewords(w, codes, 1, count, entry, bytes, 2, line);
        else dit_copy_codewords(w, codes, 2, count, entry, bytes, 2, line);
    } else if (code_bytes == 1) dit_copy_codewords(w, codes, 1, count, entry, bytes, 4, line);
    else dit_copy_codewords(w, codes, 2, count, entry, bytes, 4, line);
}

static void dit_look_up(const dit_codewords* w, const void* codes, int32_t code_bytes, int32_t count, int64_t entry, uint8_t* line) {
    switch (w->bytes) {
    case 4: dit_look_up_size(w, codes, code_bytes, count, entry, 4, line); break;
    case 6: dit_look_up_size(w, codes, code_bytes, count, entry, 6, line); break;
    case 8: dit_look_up_size(w, codes, code_bytes, count, entry, 8, line); break;
    case 10: dit_look_up_size(w, codes, code_bytes, count, entry, 10, line); break;
    case 12: dit_look_up_size(w, codes, code_bytes, count, entry, 12, line); break;
    case 14: dit_look_up_size(w, codes, code_bytes, count, entry, 14, line); break;
    default: dit_look_up_size(w, codes, code_bytes, count, entry, 16, line); break;
    }
}

// Codes are wanted after some thousand cycles, and rows lie too far apart for the machine to guess. Asking for what is not there does nothing.
static inline void dit_prefetch(const uint8_t* at, int32_t bytes) {
    for (int32_t i = 0; i < bytes + 63; i += 64) __builtin_prefetch(at + i);
}

// `count` inputs of row `row`, from `first` on, of a layer of codewords, as halves or as bytes q + 128; writes up to 8 bytes more.
static void dit_read_line(const dit_layer* layer, const dit_codewords* w, int32_t row, int32_t first, int32_t count, uint8_t* line, uint16_t* codes) {
    const dit_file_layer* f = layer->file;
    const int32_t d = (int32_t)f->vector_length, bits = (int32_t)f->bits, vectors = count / d, position = first / d;
    const uint8_t* source = layer->weight + (int64_t)row * layer->row_bytes;
    const int64_t book = f->format == DIT_FORMAT_PRODUCT ? position : row / (int32_t)(f->outputs / f->parts);
    dit_prefetch(source + ((int64_t)position + vectors) * bits / 8, vectors * bits / 8);
    if (bits == 8) {
        dit_look_up(w, source + position, 1, vectors, book * f->codebook_size, line);
    } else {
        dit_unpack_codes(source, layer->row_bytes, bits, position, vectors, codes);
        dit_look_up(w, codes, 2, vectors, book * f->codebook_size, line);
    }
}

// s of a row; 1 where the layer has none.
static inline float dit_row_scale(const dit_layer* layer, int32_t row) { return layer->scales ? dit_half(layer->scales[row]) : 1; }

// ---- integer products ----

// outputs += s_a s_w (Σ q_a q_w − Z_w Σ q_a − Z_a Σ (q_w − Z_w)) for some rows and one group of sixteen columns; the parenthesis is exact in 32 bits.
typedef struct dit_integer_product {
    const uint8_t* rows;          // [row_count, stride], 4·quads codes of each row are read
    int64_t stride;
    int32_t row_count, quads;
    const float* row_scales;      // s_a [row_count]
    const int32_t *row_zeros, *row_sums;  // Z_a, Σ q_a
    const int8_t* panel;          // [quads, 16, 4]
    int32_t bits;                 // of a weight: within ±(2^bits − 1), 8: any s8
    bool has_zeros;               // whether `zeros` are not all zero
    float scales[DIT_INTEGER_WIDTH];        // s_w
    int32_t zeros[DIT_INTEGER_WIDTH];       // what is left of Z_w
    int32_t sums[DIT_INTEGER_WIDTH];        // Σ (q_w − Z_w)
    int32_t panel_sums[DIT_INTEGER_WIDTH];  // Σ of the panel's values
    float* outputs;               // [row_count rounded up to tiles, 16]
} dit_integer_product;

// A way to compute it. Rows of the last tile that are not there are read and written too.
typedef struct dit_dot {
    int32_t tile_rows;
    void (*multiply)(const dit_integer_product* p);
} dit_dot;

// Corrections of a group of at most 128 values fit 16 bits each, so that one multiplication of pairs makes both.
static inline bool dit_is_short(const dit_integer_product* p) { return p->quads <= 32; }

#endif
