// o = softmax(q k^T / sqrt(D)) v for each sample and head, stored as halves or, in groups of whole heads, quantized.
//
// Layouts: abi/attention.h. Constants: HEAD_SIZE = D, a multiple of 8 up to 128; KEY_TILES, tiles of 64 keys when all scores fit in
// registers (1 to 4), 0 for any number of them; QUERY_TILE 16, 32 or 64; QUANTIZED 0 or 1, and with it HEADS, HEADS_PER_BLOCK (as many as
// hold whole groups), GROUP, STATIC_RANGES.
//
// A warp owns 16 queries and keeps them, their scores and their sums in registers as mma fragments; the probabilities, rounded to halves,
// are the left operand of the second product as they lie. Keys and values pass through a ring of shared tiles that cp.async fills two
// tiles ahead. With one pass the maximum is known before the first exponential; else it grows and the sums are rescaled (Milakov &
// Gimelshein 2018). The depth of q k^T is padded with zeros to a multiple of 16, p v has exactly D columns.
//
// Bound: operations, 2 T (16 ceil(D/16) + D) fused multiply-adds a query and head. Compared with ReferenceBackend.Attention.
#include "abi/attention.h"
#include "common/reduce.cuh"
#include "quant/span_quantizer.cuh"

#if !QUANTIZED
#define HEADS_PER_BLOCK 1
#endif

constexpr int kWarps = QUERY_TILE / 16;
constexpr int kThreads = 32 * kWarps;
constexpr int kTileKeys = 64;
constexpr int kStages = 3;
constexpr bool kOnePass = KEY_TILES > 0;

// Rows in shared memory hold D halves and zeros up to the next multiple of 16, an odd number of 16-byte units apart, so that the eight rows
// of an ldmatrix lie in different banks.
constexpr int kUnits = HEAD_SIZE / 8;
constexpr int kDepthSteps = (HEAD_SIZE + 15) / 16;  // mma steps of q k^T
constexpr u32 kPitch = (2 * kDepthSteps | 1) * 16;
constexpr u32 kOutputPitch = (HEADS_PER_BLOCK * kUnits | 1) * 16;

// Shared memory: the ring, the queries, the output (over the queries when there is one head), what the quantizer needs.
constexpr u32 kStageBytes = kTileKeys * kPitch;
constexpr u32 kQueryOffset = kStages * kStageBytes;
constexpr u32 kOutputOffset = kQueryOffset + (HEADS_PER_BLOCK > 1 ? QUERY_TILE * kPitch : 0);

constexpr int kScoreTiles = kTileKeys / 8;  // mma columns of a tile of keys
constexpr int kKeySteps = kTileKeys / 16;   // mma steps of p v

// Rows of a [tokens, D] matrix to shared memory by `threads` threads, zeros from row `end` on. A thread keeps its column: the addresses of
// its rows differ by constants.
template <int rows, int threads> struct row_loader {
    static constexpr int step = threads / kUnits;
    u32 row, column;

    DIT_DEVICE explicit row_loader(u32 thread) : row(thread / kUnits), column(thread % kUnits) {}
    DIT_DEVICE void load(u32 offset, const f16* source, s32 end) const {
        if (row >= step) return;
        offset += row * kPitch + column * 16;
        source += row * HEAD_SIZE + column * 8;
#pragma unroll
        for (int i = 0; i < rows; i += step) {
            if (i + step <= rows || row < rows - i) cp_async_16(offset + i * kPitch, source + i * HEAD_SIZE, static_cast<s32>(row) + i < end);
        }
    }
};

// The order in which a block's tiles come: for each head keys and values in turn, or all keys and then all values; with the first keys of a
// head its queries. One commit group a tile.
struct tile_stream {
    const dit_attention& args;
    const f16* queries;     // of the head to load next
    long long part_values;  // from queries to keys to values
    s32 heads, first_query, tile;
    bool is_value;
    u32 fill, drain;  // stages
    row_loader<kTileKeys, kThreads> tile_loader;
    row_loader<16, 32> query_loader;

    DIT_DEVICE tile_stream(const dit_attention& arguments, s32 sample, s32 first_head, s32 head_count, s32 query)
        : args(arguments),
          heads(head_count),
          first_query(query),
          tile(0),
          is_value(false),
          fill(0),
          drain(0),
          tile_loader(thread_index()),
          query_loader(lane_index()) {
        const long long head_values = static_cast<long long>(args.tokens) * HEAD_SIZE;
        part_values = args.batch * args.heads * head_values;
        queries = args.qkv + (sample * args.heads + first_head) * head_values;
    }

    DIT_DEVICE void issue() {
        if (heads > 0) {
            const s32 first = kTileKeys * tile;
            tile_loader.load(fill * kStageBytes, queries + (is_value ? 2 : 1) * part_values + static_cast<long long>(first) * HEAD_SIZE, args.tokens - first);
            if (tile == 0 && !is_value) {
                const s32 row = first_query + 16 * static_cast<s32>(warp_index());
                query_loader.load(kQueryOffset + 16 * warp_index() * kPitch, queries + static_cast<long long>(row) * HEAD_SIZE, args.tokens - row);
            }
            advance();
        }
        fill = fill == kStages - 1 ? 0 : fill + 1;
        cp_async_commit();
    }

    // Waits for the oldest tile; after it the stage before may be filled again.
    DIT_DEVICE u32 acquire() {
        cp_async_wait<kStages - 2>();
        block_sync();
        const u32 offset = drain * kStageBytes;
        drain = drain == kStages - 1 ? 0 : drain + 1;
        return offset;
    }

private:
    DIT_DEVICE void advance() {
        const bool is_last = (tile + 1) * kTileKeys >= args.tokens;
        if (kOnePass ? is_last : true) is_value = !is_value;
        if (kOnePass || !is_value) tile = is_last ? 0 : tile + 1;
        if (tile == 0 && !is_value) {
            heads--;
            queries += static_cast<long long>(args.tokens) * HEAD_SIZE;
        }
    }
};

// Zeros behind the D values of each row, where no copy goes.
DIT_DEVICE void clear_depth_padding() {
    if constexpr (HEAD_SIZE % 16 != 0) {
        for (u32 row = thread_index(); row < kStages * kTileKeys + QUERY_TILE; row += kThreads) shared_store(row * kPitch + 2 * HEAD_SIZE, u32x4{});
    }
}

DIT_DEVICE void load_queries(u32 (&q)[kDepthSteps][4]) {
    const u32 lane = lane_index();
    const u32 row = kQueryOffset + (16 * warp_index() + lane % 16) * kPitch + lane / 16 * 16;
#pragma unroll
    for (int k = 0; k < kDepthSteps; k++) ldmatrix_x4(row + 32 * k, q[k]);
    warp_sync();  // the next head's queries may come
}

// scores = q k^T of 16 queries and a tile of keys; keys beyond the last count as -infinity.
DIT_DEVICE void score_tile(u32 stage, const u32 (&q)[kDepthSteps][4], f32 (*scores)[4], s32 keys_left) {
    const u32 lane = lane_index();
    const u32 row = stage + (lane / 16 * 8 + lane % 8) * kPitch + lane / 8 % 2 * 16;
#pragma unroll
    for (int n = 0; n < kScoreTiles; n += 2) {
#pragma unroll
        for (int i = 0; i < 4; i++) scores[n][i] = scores[n + 1][i] = 0.0f;
#pragma unroll
        for (int k = 0; k < kDepthSteps; k++) {
            u32 b[4];
            ldmatrix_x4(row + 8 * n * kPitch + 32 * k, b);
            mma_f16(scores[n], q[k], b[0], b[1]);
            mma_f16(scores[n + 1], q[k], b[2], b[3]);
        }
    }
    if (keys_left >= kTileKeys) return;
#pragma unroll
    for (int n = 0; n < kScoreTiles; n++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            if (8 * n + static_cast<s32>(2 * (lane % 4)) + i % 2 >= keys_left) scores[n][i] = bits_float(0xff800000);
        }
    }
}

// The largest score of this lane's two rows (g and g + 8), not below `largest`.
template <int count> DIT_DEVICE void row_maxima(const f32 (&scores)[count][4], f32 (&largest)[2]) {
#pragma unroll
    for (int n = 0; n < count; n++) {
#pragma unroll
        for (int i = 0; i < 4; i++) largest[i / 2] = maximum(largest[i / 2], scores[n][i]);
    }
    largest[0] = team_maximum<4>(largest[0]);
    largest[1] = team_maximum<4>(largest[1]);
}

// p = 2^(scale (score - largest)) as the left operand of p v, and this lane's share of the row sums.
template <int count> DIT_DEVICE void probabilities(const f32 (&scores)[count][4], const f32 (&largest)[2], f32 scale, u32 (&p)[count / 2][4], f32 (&sums)[2]) {
    const f32 shift[2] = {-largest[0] * scale, -largest[1] * scale};
#pragma unroll
    for (int n = 0; n < count; n++) {
        f32 e[4];
#pragma unroll
        for (int i = 0; i < 4; i++) e[i] = exp2_approximate(fused_multiply_add(scores[n][i], scale, shift[i / 2]));
        sums[0] += e[0] + e[1];
        sums[1] += e[2] + e[3];
        p[n / 2][n % 2 * 2] = floats_to_half2(e[0], e[1]);
        p[n / 2][n % 2 * 2 + 1] = floats_to_half2(e[2], e[3]);
    }
}

// output += p v of a tile.
DIT_DEVICE void value_tile(u32 stage, const u32 (*p)[4], f32 (&output)[kUnits][4]) {
    const u32 lane = lane_index();
    const u32 row = stage + lane % 16 * kPitch + lane / 16 * 16;
#pragma unroll
    for (int k = 0; k < kKeySteps; k++) {
#pragma unroll
        for (int n = 0; n + 1 < kUnits; n += 2) {
            u32 b[4];
            ldmatrix_x4_transposed(row + 16 * k * kPitch + 16 * n, b);
            mma_f16(output[n], p[k], b[0], b[1]);
            mma_f16(output[n + 1], p[k], b[2], b[3]);
        }
        if constexpr (kUnits % 2 == 1) {
            u32 b[2];
            ldmatrix_x2_transposed(stage + (16 * k + lane % 16) * kPitch + 16 * (kUnits - 1), b);
            mma_f16(output[kUnits - 1], p[k], b[0], b[1]);
        }
    }
}

// One head of 16 queries.
DIT_DEVICE void attend(tile_stream& stream, f32 (&output)[kUnits][4], f32 (&sums)[2]) {
    const s32 tokens = stream.args.tokens;
    const f32 scale = stream.args.score_scale;
    u32 q[kDepthSteps][4];
    f32 largest[2] = {bits_float(0xff800000), bits_float(0xff800000)};
#if KEY_TILES > 0
    f32 scores[KEY_TILES * kScoreTiles][4];
#pragma unroll
    for (int tile = 0; tile < KEY_TILES; tile++) {
        const u32 stage = stream.acquire();
        if (tile == 0) load_queries(q);
        stream.issue();
        score_tile(stage, q, scores + kScoreTiles * tile, tokens - kTileKeys * tile);
    }
    row_maxima(scores, largest);
    u32 p[KEY_TILES * kKeySteps][4];
    probabilities(scores, largest, scale, p, sums);
#pragma unroll
    for (int tile = 0; tile < KEY_TILES; tile++) {
        const u32 stage = stream.acquire();
        stream.issue();
        value_tile(stage, p + kKeySteps * tile, output);
    }
#else
    for (s32 tile = 0; tile * kTileKeys < tokens; tile++) {
        u32 stage = stream.acquire();
        if (tile == 0) load_queries(q);
        stream.issue();
        f32 scores[kScoreTiles][4];
        score_tile(stage, q, scores, tokens - kTileKeys * tile);
        const f32 before[2] = {largest[0], largest[1]};
        row_maxima(scores, largest);
        const f32 factor[2] = {exp2_approximate((before[0] - largest[0]) * scale), exp2_approximate((before[1] - largest[1]) * scale)};
        sums[0] *= factor[0];
        sums[1] *= factor[1];
#pragma unroll
        for (int n = 0; n < kUnits; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) output[n][i] *= factor[i / 2];
        }
        u32 p[kKeySteps][4];
        probabilities(scores, largest, scale, p, sums);
        stage = stream.acquire();
        stream.issue();
        value_tile(stage, p, output);
    }
#endif
}

DIT_KERNEL(attention_kernel, dit_attention, kThreads) {
    const u32 lane = lane_index();
    const s32 sample = static_cast<s32>(block_z());
    const s32 first_head = static_cast<s32>(block_y()) * HEADS_PER_BLOCK;
    const s32 heads_left = args.heads - first_head;
    const s32 heads = heads_left < HEADS_PER_BLOCK ? heads_left : HEADS_PER_BLOCK;
    const s32 first_query = static_cast<s32>(block_x()) * QUERY_TILE;

    tile_stream stream(args, sample, first_head, heads, first_query);
    clear_depth_padding();
#pragma unroll 1
    for (int i = 0; i < kStages - 1; i++) stream.issue();
#pragma unroll 1
    for (s32 head = 0; head < heads; head++) {
        f32 output[kUnits][4] = {};
        f32 sums[2] = {};
        attend(stream, output, sums);
        const f32 inverse[2] = {reciprocal(team_sum<4>(sums[0])), reciprocal(team_sum<4>(sums[1]))};
        const u32 row = kOutputOffset + (16 * warp_index() + lane / 4) * kOutputPitch + static_cast<u32>(head) * (2 * HEAD_SIZE) + lane % 4 * 4;
#pragma unroll
        for (int n = 0; n < kUnits; n++) {
            shared_store(row + 16 * n, floats_to_half2(output[n][0] * inverse[0], output[n][1] * inverse[0]));
            shared_store(row + 8 * kOutputPitch + 16 * n, floats_to_half2(output[n][2] * inverse[1], output[n][3] * inverse[1]));
        }
    }
    warp_sync();  // a warp reads its own rows

    const s32 warp_query = first_query + 16 * static_cast<s32>(warp_index());
    const u32 warp_row = kOutputOffset + 16 * warp_index() * kOutputPitch;
    const long long first_row = static_cast<long long>(sample) * args.tokens + warp_query;
#if QUANTIZED
    constexpr u32 scratch = kOutputOffset + QUERY_TILE * (HEADS_PER_BLOCK > 1 ? kOutputPitch : kPitch);
    using grid = group_grid<HEADS * HEAD_SIZE, GROUP>;
    using quantizer = span_quantizer<grid, HEADS_PER_BLOCK * HEAD_SIZE, STATIC_RANGES != 0>;
    static_assert(HEADS_PER_BLOCK == HEADS || HEADS_PER_BLOCK * HEAD_SIZE % grid::size == 0, "a block holds whole groups");
    const u32 unit_count = static_cast<u32>(heads) * (HEAD_SIZE / quantizer::unit);
#pragma unroll 1
    for (s32 row = 0; row < 16 && warp_query + row < args.tokens; row++) {
        u32 words[quantizer::rounds][quantizer::unit / 2];
#pragma unroll
        for (int r = 0; r < quantizer::rounds; r++) {
            const u32 unit = 32 * r + lane;
#pragma unroll
            for (int i = 0; i < quantizer::unit / 2; i += 2) {
                const u32x2 pair = unit < unit_count ? shared_load<u32x2>(warp_row + row * kOutputPitch + unit * (2 * quantizer::unit) + 4 * i) : u32x2{};
                words[r][i] = pair.x;
                words[r][i + 1] = pair.y;
            }
        }
        quantizer::run(args.quantized, first_row + row, first_head * HEAD_SIZE / grid::size, unit_count, scratch + warp_index() * quantizer::scratch_bytes,
                       [&](int r, int i) {
                           const f32x2 pair = half2_to_floats(words[r][i / 2]);
                           return i % 2 == 0 ? pair.x : pair.y;
                       });
    }
#else
    for (u32 i = lane; i < 16 * kUnits; i += 32) {
        const u32 row = i / kUnits, unit = i % kUnits;
        if (warp_query + static_cast<s32>(row) >= args.tokens) break;
        f16* out = args.output + ((first_row + row) * args.heads + first_head) * HEAD_SIZE;
        global_store(reinterpret_cast<u32x4*>(out) + unit, shared_load<u32x4>(warp_row + row * kOutputPitch + unit * 16));
    }
#endif
}
