// Rows of a codebook weight as the products of halves and of bytes read them: w[n, j d + i] = C[book(n, j)][code(n, j)][i], into scratch memory.
// Halves are the codewords as they are; bytes are q + 128, for a zero point of 128. Row scales and biases are copied along.
//
// For weights whose codebooks do not fit into shared memory, or whose vectors do not fit a lane's registers. Layouts: abi/decode.h.
// A thread makes the 16 bytes of a lane and k step. Bound: bytes of the second cache, a sector of 32 for each code; 32 of them arrive for 16 that
// are written. Compared with CodebookWeight.CopyRows.
//
// VECTOR: d. ELEMENT: bytes of a value. CODE_BYTES. TABLE_BYTES: of a number into the pool, 0 without. PRODUCT: a book for every vector of a row.
#include "abi/decode.h"
#include "common/ptx.cuh"

constexpr int kThreads = 128;
constexpr int kWordValues = 4 / ELEMENT;

template <int bytes> struct number;
template <> struct number<1> { typedef u8 type; };
template <> struct number<2> { typedef u16 type; };
template <> struct number<4> { typedef u32 type; };

template <int bytes> DIT_DEVICE u32 load_number(const u8* numbers, u32 index) {
    return global_load_readonly(reinterpret_cast<const typename number<bytes>::type*>(numbers) + index);
}

struct row_reader {
    const dit_decode& args;
    const u8* codes;  // of the record, this row
    int part;

    DIT_DEVICE row_reader(const dit_decode& a, int record, int row)
        : args(a),
          codes(a.packed + static_cast<long long>(record) * a.packed_bytes + row * CODE_BYTES),
          part((record * 16 + row) / a.part_rows) {
        part = part < a.last_book ? part : a.last_book;
    }

    // Where value k lies among the codewords, counted in values.
    DIT_DEVICE u32 place(int k) const {
        const int position = k / VECTOR;
        const u32 code = load_number<CODE_BYTES>(codes, position * 16);
        u32 vector = (PRODUCT ? position : part) * args.book_size + code;
        if constexpr (TABLE_BYTES != 0) vector = load_number < TABLE_BYTES == 0 ? 1 : TABLE_BYTES > (args.table, vector);
        return vector * VECTOR + static_cast<u32>(k % VECTOR);
    }

    // The values of a word from padded column `first` on; zero beyond a group's end, where x is zero too.
    DIT_DEVICE u32 word(int first) const {
        const int group = first / args.group_pitch, offset = first % args.group_pitch, k = group * args.group_size + offset;
        if constexpr (VECTOR % kWordValues == 0) {
            if (offset >= args.group_size || k >= args.inputs) return 0;
            const u32 v = load_number<4>(args.books, place(k) / kWordValues);
            return ELEMENT == 1 ? v ^ 0x80808080 : v;
        }
        u32 v = 0;
#pragma unroll
        for (int i = 0; i < kWordValues; ++i)
            if (offset + i < args.group_size && k + i < args.inputs) v |= (load_number<ELEMENT>(args.books, place(k + i)) ^ (ELEMENT == 1 ? 0x80 : 0)) << i * 8 * ELEMENT;
        return v;
    }
};

DIT_KERNEL(decode_kernel, dit_decode, 128) {
    const int record = static_cast<int>(block_y()), lane = static_cast<int>(lane_index());
    const int step = static_cast<int>(block_x() * (kThreads / 32) + thread_index() / 32);
    u8* out = args.records + static_cast<long long>(record) * args.record_bytes;
    if (step < args.steps) {
        const row_reader upper(args, record, lane / 4), lower(args, record, lane / 4 + 8);
        const int first = (step * 8 + lane % 4) * kWordValues, second = first + 4 * kWordValues;
        global_store(reinterpret_cast<u32x4*>(out) + step * 32 + lane, u32x4{upper.word(first), upper.word(second), lower.word(first), lower.word(second)});
    }
    if (block_x() != 0) return;
    const u8* rest = args.packed + static_cast<long long>(record) * args.packed_bytes + args.packed_codes;
    for (int at = static_cast<int>(thread_index()) * 16; at < args.record_bytes - args.record_codes; at += kThreads * 16)
        global_store(reinterpret_cast<u32x4*>(out + args.record_codes + at), global_load_readonly(reinterpret_cast<const u32x4*>(rest + at)));
}
