// What the attention kernels of training share: a block keeps 16 rows a warp of its own (queries or keys of one head) and walks over the
// others, 32 at a time. A thread has 4 of its warp's rows, lane / 8 + 4i, and of the others lane % 8 + 8j.
#pragma once

#include "abi/training_attention.h"
#include "common/reduce.cuh"

constexpr int kThreads = 32 * WARPS;
constexpr int kOwn = 16 * WARPS, kOthers = 32;
constexpr int kUnits = HEAD / 4;  // 16 bytes each
constexpr int kRounds = (kUnits + 7) / 8;
constexpr f32 kLog2E = 1.44269504f;

// Rows of tokens lie an odd number of units apart, so that lanes which read adjacent rows meet different banks; rows of scores 40 values,
// so that a warp's 4 rows of 8 do.
constexpr u32 kPitch = 16 * (kUnits | 1), kScorePitch = 160;
constexpr u32 kOwnBytes = kOwn * kPitch, kOthersBytes = kOthers * kPitch, kScoreBytes = kOwn * kScorePitch;

// One part (q, k, v or the output) of one head: row of token t at data + t stride.
template <class T> struct head_rows {
    T* data;
    s32 stride;

    DIT_DEVICE T* row(s32 token) const { return data + static_cast<long long>(token) * stride; }
};

// block_y is (sample, head). `parts` lie side by side in a token: 3 in qkv, 1 in the output.
template <class T> DIT_DEVICE head_rows<T> head_of(const dit_training_attention& args, T* tensor, s32 parts, s32 part) {
    const s32 sample = static_cast<s32>(block_y()) / args.heads, head = static_cast<s32>(block_y()) % args.heads;
    const s32 width = args.heads * HEAD;
    return {tensor + static_cast<long long>(sample) * args.tokens * parts * width + part * width + head * HEAD, parts * width};
}

// The block's statistics of token t at [t].
DIT_DEVICE f32x4* statistics_of(const dit_training_attention& args) {
    return reinterpret_cast<f32x4*>(args.statistics) + static_cast<long long>(block_y()) * args.tokens;
}

// Starts to bring rows first.. to shared memory; zeros beyond the last token.
template <int count> DIT_DEVICE void copy_rows(u32 offset, const head_rows<const f32>& source, s32 first, s32 tokens) {
    for (s32 i = static_cast<s32>(thread_index()); i < count * kUnits; i += kThreads) {
        const s32 row = i / kUnits, unit = i % kUnits;
        const bool valid = first + row < tokens;
        cp_async_16(offset + static_cast<u32>(row) * kPitch + static_cast<u32>(unit) * 16, source.row(valid ? first + row : 0) + 4 * unit, valid);
    }
}

// Whether the thread's j-th of the others from first on is a token.
DIT_DEVICE bool other_exists(const dit_training_attention& args, s32 first, int j) { return first + static_cast<s32>(lane_index() % 8) + 8 * j < args.tokens; }

DIT_DEVICE void wait_for_rows() {
    cp_async_commit();
    cp_async_wait<0>();
    block_sync();
}

DIT_DEVICE f32 add_products(const f32x4& a, const f32x4& b, f32 sum) {
    return fused_multiply_add(a.w, b.w, fused_multiply_add(a.z, b.z, fused_multiply_add(a.y, b.y, fused_multiply_add(a.x, b.x, sum))));
}

// scores[i][j] = the thread's own row i times the other row j; own is the offset of the warp's rows.
DIT_DEVICE void multiply_rows(u32 own, u32 others, f32 (&scores)[4][4]) {
    const u32 first_own = own + lane_index() / 8 * kPitch, first_other = others + lane_index() % 8 * kPitch;
#pragma unroll
    for (int i = 0; i < 4; i++) {
#pragma unroll
        for (int j = 0; j < 4; j++) scores[i][j] = 0;
    }
#pragma unroll 2
    for (int unit = 0; unit < kUnits; unit++) {
        f32x4 a[4], b[4];
#pragma unroll
        for (int i = 0; i < 4; i++) a[i] = shared_load<f32x4>(first_own + static_cast<u32>(4 * i) * kPitch + static_cast<u32>(unit) * 16);
#pragma unroll
        for (int j = 0; j < 4; j++) b[j] = shared_load<f32x4>(first_other + static_cast<u32>(8 * j) * kPitch + static_cast<u32>(unit) * 16);
#pragma unroll
        for (int i = 0; i < 4; i++) {
#pragma unroll
            for (int j = 0; j < 4; j++) scores[i][j] = add_products(a[i], b[j], scores[i][j]);
        }
    }
}

// Columns 4u.. of the thread's four rows, u = lane % 8 + 8r.
using row_parts = f32x4[4][kRounds];

DIT_DEVICE u32 unit_of(int round) { return lane_index() % 8 + static_cast<u32>(8 * round); }

// sums += scores times the other rows. The scores go through shared memory, at the offset of the warp's; nobody else touches them.
DIT_DEVICE void add_weighted_rows(const f32 (&scores)[4][4], u32 exchange, u32 others, row_parts& sums) {
    const u32 row = exchange + lane_index() / 8 * kScorePitch;
    warp_sync();
#pragma unroll
    for (int i = 0; i < 4; i++) {
#pragma unroll
        for (int j = 0; j < 4; j++) shared_store(row + static_cast<u32>(4 * i) * kScorePitch + (lane_index() % 8 + static_cast<u32>(8 * j)) * 4, scores[i][j]);
    }
    warp_sync();
    // A lane without a unit in the last round goes along with the last one's.
    u32 columns[kRounds];
#pragma unroll
    for (int r = 0; r < kRounds; r++) columns[r] = others + (unit_of(r) < kUnits ? unit_of(r) : kUnits - 1) * 16;
#pragma unroll 1
    for (u32 n = 0; n < kOthers; n += 4) {
        f32 weights[4][4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const f32x4 v = shared_load<f32x4>(row + static_cast<u32>(4 * i) * kScorePitch + n * 4);
            weights[i][0] = v.x;
            weights[i][1] = v.y;
            weights[i][2] = v.z;
            weights[i][3] = v.w;
        }
#pragma unroll
        for (int m = 0; m < 4; m++) {
#pragma unroll
            for (int r = 0; r < kRounds; r++) {
                const f32x4 v = shared_load<f32x4>(columns[r] + (n + static_cast<u32>(m)) * kPitch);
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    f32x4& sum = sums[i][r];
                    sum.x = fused_multiply_add(weights[i][m], v.x, sum.x);
                    sum.y = fused_multiply_add(weights[i][m], v.y, sum.y);
                    sum.z = fused_multiply_add(weights[i][m], v.z, sum.z);
                    sum.w = fused_multiply_add(weights[i][m], v.w, sum.w);
                }
            }
        }
    }
}

// The warp's rows of the block's, times a factor each.
DIT_DEVICE void store_rows(const head_rows<f32>& target, s32 tokens, const row_parts& sums, const f32 (&factors)[4]) {
    const s32 first = static_cast<s32>(block_x() * kOwn + warp_index() * 16 + lane_index() / 8);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        if (first + 4 * i >= tokens) continue;
        f32x4* row = reinterpret_cast<f32x4*>(target.row(first + 4 * i));
#pragma unroll
        for (int r = 0; r < kRounds; r++) {
            const f32x4& v = sums[i][r];
            if (unit_of(r) < kUnits) global_store(row + unit_of(r), f32x4{v.x * factors[i], v.y * factors[i], v.z * factors[i], v.w * factors[i]});
        }
    }
}
