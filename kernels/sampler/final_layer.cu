// The end of a sampling step in one kernel: LayerNorm and modulation of the tokens, the final linear layer, unpatchify, guidance, and the
// sampler's update of the latents in place (DiT, Peebles and Xie 2023, section 3.2; Ho and Salimans 2022, equation 6).
//   m = LN(x) (1 + scale) + shift;  out = m Wt + b;  eps = u + s (c - u);  x <- latent x + prediction eps + sigma noise
//
// A block takes 8 tokens of one image. The product is one m16n8k16 tile high: rows 0 to 7 are the tokens of the conditional row of the
// batch, rows 8 to 15 the same tokens of the unconditional row (zero without one). Warp w normalizes token w of both. Then the warps share
// the product: four along K (depth chunks of 32, taken in turn; their sums meet in the order 0 to 3) by two along N.
// Inside a chunk of 32 the order along K is free as long as both operands agree: lane t of a quad takes the values 8t to 8t+7, so that
// fragments of both are loads of 16 bytes. W is read through the first cache, 74 kB for DiT-XL/2; the rows in shared memory are 64 bytes
// more than a multiple of 128 apart, which keeps those loads free of bank conflicts.
// Bound: bytes; tokens once (1.2 MB a guided image at 256 x 256). Compared with NormModulate, Linear, Unpatchify and GuideAndUpdate of
// the reference backend.
//
// HIDDEN (a multiple of 8), PATCH, CHANNELS (of the latent), OUT_CHANNELS.
#include "abi/final_layer.h"
#include "common/reduce.cuh"
#include "sampler/update.cuh"

constexpr int kThreads = 256, kTokens = 8, kRows = 2 * kTokens;
constexpr int kOutputs = PATCH * PATCH * OUT_CHANNELS;
constexpr int kVectors = HIDDEN / 8;                // of 16 bytes in a row
constexpr int kLaneVectors = (kVectors + 31) / 32;  // of them in a lane
constexpr int kChunks = (HIDDEN + 31) / 32;         // of the product's depth
constexpr int kDepthWarps = 4, kPassColumns = 32;
constexpr u32 kRowBytes = (64 * kChunks + 127) / 128 * 128 + 64;
constexpr u32 kPartialsAt = kRows * kRowBytes;                                    // f32 [4, 16, 32]
constexpr u32 kResultsAt = kPartialsAt + kDepthWarps * kRows * kPassColumns * 4;  // f32 [16, N]

struct token_row {
    u32x4 values[kLaneVectors];
};

DIT_DEVICE token_row load_row(const f16* row, bool exists) {
    token_row r;
#pragma unroll
    for (int i = 0; i < kLaneVectors; i++) {
        const int vector = i * 32 + static_cast<int>(lane_index());
        r.values[i] = exists && vector < kVectors ? global_load_readonly(reinterpret_cast<const u32x4*>(row) + vector) : u32x4{0, 0, 0, 0};
    }
    return r;
}

// One row by one warp, into row `tile_row` of shared memory; zeros where there is none, and up to a whole chunk of depth.
DIT_DEVICE void normalize_row(const dit_final_layer& args, const token_row& row, u32 tile_row, s32 sample, s32 step, bool exists) {
    f32 sum = 0;
#pragma unroll
    for (int i = 0; i < kLaneVectors; i++) {
        f32 v[8];
        unpack_halves(row.values[i], v);
#pragma unroll
        for (int j = 0; j < 8; j++) sum += v[j];
    }
    const f32 mean = team_sum<32>(sum) * (1.0f / HIDDEN);
    f32 squares = 0;
#pragma unroll
    for (int i = 0; i < kLaneVectors; i++) {
        f32 v[8];
        unpack_halves(row.values[i], v);
        const bool inside = i * 32 + static_cast<int>(lane_index()) < kVectors;
#pragma unroll
        for (int j = 0; j < 8; j++) {
            const f32 deviation = inside ? v[j] - mean : 0.0f;
            squares = fused_multiply_add(deviation, deviation, squares);
        }
    }
    const f32 inverse = reciprocal_square_root(team_sum<32>(squares) * (1.0f / HIDDEN) + args.epsilon);
    const dit_modulation& modulation = args.modulation;
    const s32 table_row = exists ? global_load_readonly(modulation.rows + static_cast<long long>(step) * modulation.sample_count + sample) : 0;
    const f32* shifts = modulation.table + static_cast<long long>(table_row) * modulation.stride;
    const f32* scales = shifts + HIDDEN;
#pragma unroll
    for (int i = 0; i < kLaneVectors; i++) {
        const int vector = i * 32 + static_cast<int>(lane_index());
        if (vector >= 4 * kChunks) continue;
        u32x4 packed{0, 0, 0, 0};
        if (exists && vector < kVectors) {
            f32 v[8];
            unpack_halves(row.values[i], v);
            u32 halves[4];
#pragma unroll
            for (int part = 0; part < 2; part++) {
                const f32x4 shift = global_load_readonly(reinterpret_cast<const f32x4*>(shifts + 8 * vector + 4 * part));
                const f32x4 scale = global_load_readonly(reinterpret_cast<const f32x4*>(scales + 8 * vector + 4 * part));
                const f32* x = v + 4 * part;
                halves[2 * part] = floats_to_half2(fused_multiply_add((x[0] - mean) * inverse, 1.0f + scale.x, shift.x),
                                                   fused_multiply_add((x[1] - mean) * inverse, 1.0f + scale.y, shift.y));
                halves[2 * part + 1] = floats_to_half2(fused_multiply_add((x[2] - mean) * inverse, 1.0f + scale.z, shift.z),
                                                       fused_multiply_add((x[3] - mean) * inverse, 1.0f + scale.w, shift.w));
            }
            packed = {halves[0], halves[1], halves[2], halves[3]};
        }
        shared_store(tile_row * kRowBytes + 16 * vector, packed);
    }
}

// Columns first to first + 31 of the product, into the results.
DIT_DEVICE void product(const dit_final_layer& args, int first) {
    const u32 lane = lane_index(), g = lane / 4, t = lane % 4;
    const int depth_warp = warp_index() % kDepthWarps, column_warp = warp_index() / kDepthWarps;
    f32 sums[2][4] = {};
#pragma unroll 3
    for (int chunk = depth_warp; chunk < kChunks; chunk += kDepthWarps) {
        const int k = 32 * chunk + 8 * t;
        const u32x4 low = shared_load<u32x4>(g * kRowBytes + 2 * k), high = shared_load<u32x4>((g + 8) * kRowBytes + 2 * k);
        const u32 a[4] = {low.x, high.x, low.y, high.y}, a_next[4] = {low.z, high.z, low.w, high.w};
#pragma unroll
        for (int j = 0; j < 2; j++) {
            const int n = first + 16 * column_warp + 8 * j + static_cast<int>(g);
            u32x4 w{0, 0, 0, 0};
            if (n < kOutputs && k < HIDDEN) w = global_load_readonly(reinterpret_cast<const u32x4*>(args.weight + n * HIDDEN + k));
            mma_f16(sums[j], a, w.x, w.y);
            mma_f16(sums[j], a_next, w.z, w.w);
        }
    }
#pragma unroll
    for (int j = 0; j < 2; j++) {
        const u32 column = 16 * column_warp + 8 * j + 2 * t;
        const u32 at = kPartialsAt + ((depth_warp * kRows + g) * kPassColumns + column) * 4;
        shared_store(at, f32x2{sums[j][0], sums[j][1]});
        shared_store(at + 8 * kPassColumns * 4, f32x2{sums[j][2], sums[j][3]});
    }
    block_sync();
    for (u32 i = thread_index(); i < kRows * kPassColumns; i += kThreads) {
        const int n = first + static_cast<int>(i % kPassColumns);
        if (n >= kOutputs) continue;
        f32 sum = global_load_readonly(args.bias + n);
#pragma unroll
        for (u32 part = 0; part < kDepthWarps; part++) sum += shared_load<f32>(kPartialsAt + (part * kRows * kPassColumns + i) * 4);
        shared_store(kResultsAt + (i / kPassColumns * kOutputs + n) * 4, sum);
    }
    block_sync();
}

DIT_DEVICE f32 result(int row, int feature) { return shared_load<f32>(kResultsAt + (row * kOutputs + feature) * 4); }

DIT_KERNEL(final_layer_kernel, dit_final_layer, kThreads) {
    const s32 step = global_load(args.sampler.step);
    const s32 patches_per_side = args.side / PATCH, token_count = patches_per_side * patches_per_side, plane = args.side * args.side;
    const image_update update = load_update(args.sampler, step, block_y(), CHANNELS * plane);
    const s32 conditional = update.entry.conditional_row, unconditional = update.entry.unconditional_row;
    const s32 first_token = block_x() * kTokens;

    const s32 token = first_token + warp_index();
    const bool exists = token < token_count, guided = exists && unconditional >= 0;
    const token_row c = load_row(args.tokens + (static_cast<long long>(conditional) * token_count + token) * HIDDEN, exists);
    const token_row u = load_row(args.tokens + (static_cast<long long>(unconditional) * token_count + token) * HIDDEN, guided);
    normalize_row(args, c, warp_index(), conditional, step, exists);
    normalize_row(args, u, warp_index() + kTokens, unconditional, step, guided);
    block_sync();
    for (int first = 0; first < kOutputs; first += kPassColumns) product(args, first);

    // Neighbouring threads take neighbouring columns of a patch row, then the next token.
    for (int i = thread_index(); i < OUT_CHANNELS * PATCH * kTokens * PATCH; i += kThreads) {
        const int q = i % PATCH, tile_row = i / PATCH % kTokens, p = i / (PATCH * kTokens) % PATCH, channel = i / (PATCH * kTokens * PATCH);
        const s32 at_token = first_token + tile_row;
        if (at_token >= token_count) continue;
        const int feature = (p * PATCH + q) * OUT_CHANNELS + channel;
        const s32 at = (channel * args.side + at_token / patches_per_side * PATCH + p) * args.side + at_token % patches_per_side * PATCH + q;
        const f32 predicted = result(tile_row, feature), without_class = result(tile_row + kTokens, feature);
        if (args.prediction != nullptr) {
            global_store(args.prediction + static_cast<long long>(conditional) * OUT_CHANNELS * plane + at, predicted);
            if (unconditional >= 0) global_store(args.prediction + static_cast<long long>(unconditional) * OUT_CHANNELS * plane + at, without_class);
        }
        if (channel >= CHANNELS) continue;
        const f32 fraction = OUT_CHANNELS >= 2 * CHANNELS ? result(tile_row, feature + CHANNELS) : 0.0f;
        update_value(update, channel, at, predicted, without_class, fraction);
    }
    finish_step(args.sampler, step, grid_x() * args.sampler.update_count);
}
