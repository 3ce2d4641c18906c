// o = softmax(q k^T / sqrt(D)) v for heads wider than 128, stored as halves: the decoder's attention, one head of 512.
//
// Layouts: abi/attention.h. Constant: HEAD_SIZE = D, a multiple of 8 up to 512.
//
// A head this wide does not fit one warp. Eight warps share 32 queries: for a tile of 32 keys each computes one 16 by 8 block of scores
// over the whole depth, with its 16 queries in registers; the probabilities meet in shared memory; then each adds p v to its own eighth of
// the columns for all 32 queries. Keys and values each have one tile in shared memory, and one is loaded while the other is used.
//
// Bound: operations, 4 T D fused multiply-adds a query; about as much shared memory traffic. Compared with ReferenceBackend.Attention.
#include "abi/attention.h"
#include "common/reduce.cuh"

constexpr int kWarps = 8;
constexpr int kThreads = 32 * kWarps;
constexpr int kQueries = 32;
constexpr int kTileKeys = 32;

// Rows hold D halves and zeros up to the next multiple of 16, an odd number of 16-byte units apart (no bank conflicts in ldmatrix).
constexpr int kUnits = HEAD_SIZE / 8;
constexpr int kDepthSteps = (HEAD_SIZE + 15) / 16;
constexpr u32 kPitch = (2 * kDepthSteps | 1) * 16;
constexpr u32 kProbabilityPitch = kTileKeys * 2 + 16;
constexpr int kWarpUnits = (kUnits + kWarps - 1) / kWarps;  // columns of the output that a warp owns, in eights

// Shared memory: keys | values (at first the queries, at last the output) | probabilities | four values of each query, one of each warp that
// has a part of its scores.
constexpr u32 kValueOffset = kTileKeys * kPitch;
constexpr u32 kProbabilityOffset = kValueOffset + kTileKeys * kPitch;
constexpr u32 kExchangeOffset = kProbabilityOffset + kQueries * kProbabilityPitch;

// 32 rows of a [tokens, D] matrix to shared memory, zeros from row `end` on.
DIT_DEVICE void load_rows(u32 offset, const f16* source, s32 end) {
    for (u32 i = thread_index(); i < 32 * kUnits; i += kThreads) {
        const u32 row = i / kUnits, unit = i % kUnits;
        cp_async_16(offset + row * kPitch + unit * 16, source + i * 8, static_cast<s32>(row) < end);
    }
}

DIT_KERNEL(attention_wide_kernel, dit_attention, kThreads) {
    const u32 lane = lane_index(), warp = warp_index();
    const s32 tokens = args.tokens;
    const s32 sample = static_cast<s32>(block_z()), head = static_cast<s32>(block_y());
    const s32 first_query = static_cast<s32>(block_x()) * kQueries;
    const long long head_values = static_cast<long long>(tokens) * HEAD_SIZE;
    const f16* queries = args.qkv + (sample * args.heads + head) * head_values;
    const f16* keys = queries + args.batch * args.heads * head_values;
    const f16* values = keys + args.batch * args.heads * head_values;

    if constexpr (HEAD_SIZE % 16 != 0) {
        if (thread_index() < 2 * kTileKeys) shared_store(thread_index() * kPitch + 2 * HEAD_SIZE, u32x4{});
    }
    load_rows(0, keys, tokens);
    load_rows(kValueOffset, queries + static_cast<long long>(first_query) * HEAD_SIZE, tokens - first_query);
    cp_async_commit();
    cp_async_wait<0>();
    block_sync();

    // The warp's block of scores: queries 16 (warp/4).., keys 8 (warp%4)..
    const u32 query_row = 16 * (warp / 4), key_column = 8 * (warp % 4);
    u32 q[kDepthSteps][4];
    const u32 query_address = kValueOffset + (query_row + lane % 16) * kPitch + lane / 16 * 16;
#pragma unroll
    for (int k = 0; k < kDepthSteps; k++) ldmatrix_x4(query_address + 32 * k, q[k]);

    // Rows lane/4 + 8 i of the output, columns from 8 kWarpUnits warp.
    f32 output[kQueries / 16][kWarpUnits][4] = {};
    f32 largest[4];
    f32 sums[2] = {};  // of this warp's block of scores
#pragma unroll
    for (int i = 0; i < 4; i++) largest[i] = bits_float(0xff800000);

    for (s32 first_key = 0; first_key < tokens; first_key += kTileKeys) {
        cp_async_wait<0>();
        block_sync();  // keys have come, values have been used
        load_rows(kValueOffset, values + static_cast<long long>(first_key) * HEAD_SIZE, tokens - first_key);
        cp_async_commit();

        f32 scores[2][4] = {};  // even and odd steps: half the latency
        const u32 key_address = (key_column + lane % 8) * kPitch + lane / 8 * 16;
#pragma unroll
        for (int k = 0; k + 1 < kDepthSteps; k += 2) {
            u32 b[4];
            ldmatrix_x4(key_address + 32 * k, b);
            mma_f16(scores[0], q[k], b[0], b[1]);
            mma_f16(scores[1], q[k + 1], b[2], b[3]);
        }
        if constexpr (kDepthSteps % 2 == 1) {
            u32 b[2];
            ldmatrix_x2((key_column + lane % 8) * kPitch + lane / 8 % 2 * 16 + 32 * (kDepthSteps - 1), b);
            mma_f16(scores[0], q[kDepthSteps - 1], b[0], b[1]);
        }
        f32 block_largest[2] = {bits_float(0xff800000), bits_float(0xff800000)};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const bool is_key = first_key + static_cast<s32>(key_column + 2 * (lane % 4)) + i % 2 < tokens;
            scores[0][i] = is_key ? scores[0][i] + scores[1][i] : bits_float(0xff800000);
            block_largest[i / 2] = maximum(block_largest[i / 2], scores[0][i]);
        }
#pragma unroll
        for (int i = 0; i < 2; i++) {
            block_largest[i] = team_maximum<4>(block_largest[i]);
            if (lane % 4 == 0) shared_store(kExchangeOffset + (query_row + lane / 4 + 8 * i) * 16 + warp % 4 * 4, block_largest[i]);
        }
        block_sync();  // maxima are known, keys have been used
        if (first_key + kTileKeys < tokens) load_rows(0, keys + (first_key + static_cast<long long>(kTileKeys)) * HEAD_SIZE, tokens - first_key - kTileKeys);
        cp_async_commit();

        f32 factor[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const f32x4 parts = shared_load<f32x4>(kExchangeOffset + (lane / 4 + 8 * i) * 16);
            const f32 grown = maximum(largest[i], maximum(maximum(parts.x, parts.y), maximum(parts.z, parts.w)));
            factor[i] = exp2_approximate((largest[i] - grown) * args.score_scale);
            largest[i] = grown;
        }
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const f32 maximum_of_row = warp < 4 ? largest[i] : largest[2 + i];
            const f32 shift = -maximum_of_row * args.score_scale;
            const f32 first = exp2_approximate(fused_multiply_add(scores[0][2 * i], args.score_scale, shift));
            const f32 second = exp2_approximate(fused_multiply_add(scores[0][2 * i + 1], args.score_scale, shift));
            sums[i] = fused_multiply_add(sums[i], warp < 4 ? factor[i] : factor[2 + i], first + second);
            shared_store(kProbabilityOffset + (query_row + lane / 4 + 8 * i) * kProbabilityPitch + 2 * key_column + lane % 4 * 4, floats_to_half2(first, second));
        }
        cp_async_wait<1>();
        block_sync();  // probabilities are known, values have come

        u32 p[2][2][4];
#pragma unroll
        for (int m = 0; m < 2; m++) {
#pragma unroll
            for (int k = 0; k < 2; k++) ldmatrix_x4(kProbabilityOffset + (16 * m + lane % 16) * kProbabilityPitch + 32 * k + lane / 16 * 16, p[m][k]);
        }
#pragma unroll
        for (int n = 0; n < kWarpUnits; n++) {
            const u32 unit = warp * kWarpUnits + n;
            if (unit >= kUnits) break;
            u32 b[4];
            ldmatrix_x4_transposed(kValueOffset + lane * kPitch + unit * 16, b);
#pragma unroll
            for (int m = 0; m < 2; m++) {
#pragma unroll
                for (int i = 0; i < 4; i++) output[m][n][i] *= factor[2 * m + i / 2];
                mma_f16(output[m][n], p[m][0], b[0], b[1]);
                mma_f16(output[m][n], p[m][1], b[2], b[3]);
            }
        }
    }

    // The maxima were last read before a barrier that all warps have passed.
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const f32 sum = team_sum<4>(sums[i]);
        if (lane % 4 == 0) shared_store(kExchangeOffset + (query_row + lane / 4 + 8 * i) * 16 + warp % 4 * 4, sum);
    }
    block_sync();  // sums are known, values have been used
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const f32x4 parts = shared_load<f32x4>(kExchangeOffset + (lane / 4 + 8 * i) * 16);
        const f32 inverse = reciprocal((parts.x + parts.y) + (parts.z + parts.w));
#pragma unroll
        for (int n = 0; n < kWarpUnits; n++) {
            const u32 unit = warp * kWarpUnits + n;
            if (unit >= kUnits) break;
            const f32(&o)[4] = output[i / 2][n];
            shared_store(kValueOffset + (lane / 4 + 8 * i) * kPitch + unit * 16 + lane % 4 * 4, floats_to_half2(o[i % 2 * 2] * inverse, o[i % 2 * 2 + 1] * inverse));
        }
    }
    block_sync();
    for (u32 i = thread_index(); i < kQueries * kUnits; i += kThreads) {
        const u32 row = i / kUnits, unit = i % kUnits;
        const s32 token = first_query + static_cast<s32>(row);
        if (token >= tokens) break;
        f16* out = args.output + ((static_cast<long long>(sample) * tokens + token) * args.heads + head) * HEAD_SIZE;
        global_store(reinterpret_cast<u32x4*>(out) + unit, shared_load<u32x4>(kValueOffset + row * kPitch + unit * 16));
    }
}
