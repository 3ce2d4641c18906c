// Columns out of codebooks: a lane's codes come from the stage, and what they stand for from shared memory straight into the registers of
// the product (abi/weight.h has the order of the codes).
#pragma once

#include "gemm/configuration.cuh"

struct warp_place {
    int row, record;  // first row and first record of the warp inside the tile
    int lane;
    u32 same;  // the bytes of a word in their order, which compilers cannot know
    DIT_DEVICE explicit warp_place(const dit_gemm& args)
        : row(static_cast<int>(warp_index()) / WARPS_N * kRowTiles * 16),
          record(static_cast<int>(warp_index()) % WARPS_N * (kColumnTiles / 2)),
          lane(static_cast<int>(lane_index())),
          same(0x3210 + (static_cast<u32>(args.rows) >> 31)) {}
};

// A B step of two neighbouring n8 tiles, as it is stored.
template <class T> DIT_DEVICE T load_fragment(int stage, const warp_place& warp, int pair, int read) {
    return shared_load<T>(stage + kFragmentsAt + ((read * kRecords + warp.record + pair) * 32 + warp.lane) * static_cast<int>(sizeof(T)));
}

// ---- codebooks into shared memory ----

template <int bytes> struct word_of;
template <> struct word_of<2> { typedef u16 type; };
template <> struct word_of<4> { typedef u32 type; };
template <> struct word_of<8> { typedef u32x2 type; };
template <> struct word_of<16> { typedef u32x4 type; };

DIT_DEVICE u32x4 repeated(u32 v) { return {v, v, v, v}; }
DIT_DEVICE u32x4 repeated(const u32x2& v) { return {v.x, v.y, v.x, v.y}; }
DIT_DEVICE u32x4 repeated(const u32x4& v) { return v; }

// The part of the rows that a record lies in.
DIT_DEVICE int part_of(const dit_weight& weight, int record) {
    const int part = record / weight.part_records;
    return part < weight.book_count ? part : weight.book_count - 1;
}

// The books of a tile from its first record on. One copy comes by asynchronous copies, which the caller commits; several are stored.
template <int copies> DIT_DEVICE void copy_tile_books(const dit_weight& weight, int first_record) {
    typedef typename word_of<kBookSlot>::type word;
    constexpr u32 kChunks = copies == 1 ? kBookBytes / 16 : BOOK * copies * kBookSlot / 16, kSlotChunks = copies * kBookSlot / 16;
    const int first_part = part_of(weight, first_record);
#pragma unroll
    for (int book = 0; book < TILE_BOOKS; ++book) {
        const int part = first_part + book < weight.book_count ? first_part + book : weight.book_count - 1;
        const u8* source = weight.books + static_cast<long long>(part) * kBookBytes;
        const u32 at = book * kBookBytes * copies;
        for (u32 chunk = thread_index(); chunk < kChunks; chunk += kThreads) {
            if constexpr (copies == 1)
                cp_async_16(at + chunk * 16, source + chunk * 16);
            else
                shared_store(at + chunk * 16, repeated(global_load_readonly(reinterpret_cast<const word*>(source) + chunk / kSlotChunks)));
        }
    }
}

// ---- and out of it ----

// Where the lane finds the codewords of each of the warp's records; with a book for every position, where its own are inside a stage's.
struct book_places {
    static constexpr int kPlaces = kLookup && TILE_BOOKS > 1 ? kColumnTiles / 2 : 1;
    int at[kPlaces];

    DIT_DEVICE book_places(const dit_weight& weight, int first_record, const warp_place& warp) {
        if constexpr (kStageBooks) {
            at[0] = kBooksAt + warp.lane % 4 * ((CODEWORD == 2 ? 2 : 1) * kBookBytes);
        } else if constexpr (kLookup) {
#pragma unroll
            for (int pair = 0; pair < kPlaces; ++pair) {
                at[pair] = warp.lane % BOOK_COPIES * kBookSlot;
                if constexpr (kPlaces > 1) at[pair] += (part_of(weight, first_record + warp.record + pair) - part_of(weight, first_record)) * (kBookBytes * BOOK_COPIES);
            }
        }
    }

    // position: of the codeword in the stage, without the lane's own.
    template <class T> DIT_DEVICE T codeword(int stage, int pair, int position, u32 code) const {
        const int book = kStageBooks ? stage + at[0] + position * kBookBytes : at[pair % kPlaces];
        return shared_load<T>(book + static_cast<int>(code) * kCodeStride);
    }
};

// A lane's codes of a read, for the two columns of a record.
struct lane_codes {
    typedef typename word_of<kLookup ? kLaneBytes : 4>::type word;
    u32 words[4];

    DIT_DEVICE explicit lane_codes(const u16& v) : words{v} {}
    DIT_DEVICE explicit lane_codes(const u32& v) : words{v} {}
    DIT_DEVICE explicit lane_codes(const u32x2& v) : words{v.x, v.y} {}
    DIT_DEVICE explicit lane_codes(const u32x4& v) : words{v.x, v.y, v.z, v.w} {}

    DIT_DEVICE u32 operator[](int i) const {
        if constexpr (CODE_BYTES == 1) return byte_permute(words[i / 4], 0, 0x4440 + i % 4);
        return byte_permute(words[i / 2], 0, i % 2 == 0 ? 0x4410 : 0x4432);
    }
};

// The columns of a read's k steps.
DIT_DEVICE void load_codewords(int stage, const warp_place& warp, const book_places& books, int read, u32 (&b)[kStepsPerRead][kColumnTiles][2]) {
    constexpr int kGathers = CODEWORD >= 8 ? 1 : 8 / CODEWORD, kUnitPositions = kUnitBytes / CODEWORD;
#pragma unroll
    for (int pair = 0; pair < kColumnTiles / 2; ++pair) {
        const lane_codes codes(load_fragment<typename lane_codes::word>(stage, warp, pair, read));
#pragma unroll
        for (int unit = 0; unit < kStepsPerRead / kUnitSteps; ++unit)
#pragma unroll
            for (int column = 0; column < 2; ++column) {
                const int j = 2 * pair + column, first = (unit * 2 + column) * kGathers;
                const int position = (read * (kStepsPerRead / kUnitSteps) + unit) * kUnitPositions;
                if constexpr (CODEWORD == 16) {
                    const u32x4 v = books.codeword<u32x4>(stage, pair, position, codes[first]);
                    b[2 * unit][j][0] = v.x, b[2 * unit][j][1] = v.y, b[2 * unit + 1][j][0] = v.z, b[2 * unit + 1][j][1] = v.w;
                } else if constexpr (CODEWORD == 8) {
                    const u32x2 v = books.codeword<u32x2>(stage, pair, position, codes[first]);
                    b[unit][j][0] = v.x, b[unit][j][1] = v.y;
                } else if constexpr (CODEWORD == 4) {
                    b[unit][j][0] = books.codeword<u32>(stage, pair, position, codes[first]);
                    b[unit][j][1] = books.codeword<u32>(stage, pair, position + 4, codes[first + 1]);
                } else {
                    // Four bytes hold a codeword of two bytes twice.
                    b[unit][j][0] =
                        byte_permute(books.codeword<u32>(stage, pair, position, codes[first]), books.codeword<u32>(stage, pair, position + 1, codes[first + 1]), 0x5410);
                    b[unit][j][1] = byte_permute(books.codeword<u32>(stage, pair, position + 8, codes[first + 2]),
                                                 books.codeword<u32>(stage, pair, position + 9, codes[first + 3]), 0x5410);
                }
            }
    }
}
