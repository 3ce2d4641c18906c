// tokens[b, t, n] = sum_k patch_k W[n, k] + bias[n] + positions[t, n]: the first layer of a DiT, with k = (channel, row, column) of a patch.
//
// Layouts: abi/embed.h. Constants: HIDDEN = H, a multiple of 8; CHANNELS = C; PATCH = p.
//
// A block takes 16 patches, which it gathers into shared memory, and 256 columns; a thread two columns of all 16 patches. Sums are fp32, k
// ascending. Bound: bytes, 2H written a token. Compared with ReferenceBackend.PatchEmbed.
#include "abi/embed.h"
#include "common/ptx.cuh"

constexpr int kThreads = 128;
constexpr int kPatches = 16;
constexpr int kDepth = CHANNELS * PATCH * PATCH;
constexpr int kVector = kDepth % 4 == 0 ? 4 : 1;  // weights loaded at once
constexpr u32 kPitch = (kDepth + 3) / 4 * 16;

template <int count> struct f32_vector { using type = f32; };
template <> struct f32_vector<4> { using type = f32x4; };
using vector = f32_vector<kVector>::type;

DIT_DEVICE f32 add_products(f32 a, f32 b, f32 sum) { return fused_multiply_add(a, b, sum); }
DIT_DEVICE f32 add_products(const f32x4& a, const f32x4& b, f32 sum) {
    return fused_multiply_add(a.w, b.w, fused_multiply_add(a.z, b.z, fused_multiply_add(a.y, b.y, fused_multiply_add(a.x, b.x, sum))));
}

DIT_KERNEL(patch_embed_kernel, dit_patch_embed, kThreads) {
    const u32 per_side = static_cast<u32>(args.side) / PATCH;
    const u32 tokens = per_side * per_side, rows = tokens * static_cast<u32>(args.batch);
    const u32 first_row = block_x() * kPatches;

    for (u32 i = thread_index(); i < kPatches * kDepth; i += kThreads) {
        const u32 row = first_row + i / kDepth, k = i % kDepth;
        if (row >= rows) break;
        const u32 token = row % tokens;
        const s32 image = global_load_readonly(args.image_of_sample + row / tokens);
        const u32 y = token / per_side * PATCH + k / PATCH % PATCH, x = token % per_side * PATCH + k % PATCH;
        const long long plane = static_cast<long long>(image) * CHANNELS + k / (PATCH * PATCH);
        shared_store(i / kDepth * kPitch + k * 4, global_load_readonly(args.latents + (plane * args.side + y) * args.side + x));
    }
    block_sync();

    const u32 column = (block_y() * kThreads + thread_index()) * 2;
    if (column >= HIDDEN) return;
    const u32 count = rows - first_row < kPatches ? rows - first_row : kPatches;
    const f32* weights = args.weight + static_cast<long long>(column) * kDepth;
    f32 sums[kPatches][2] = {};
#pragma unroll 4
    for (int k = 0; k < kDepth; k += kVector) {
        const vector w0 = global_load_readonly(reinterpret_cast<const vector*>(weights + k));
        const vector w1 = global_load_readonly(reinterpret_cast<const vector*>(weights + kDepth + k));
#pragma unroll
        for (int row = 0; row < kPatches; row++) {
            if (row >= static_cast<int>(count)) break;
            const vector v = shared_load<vector>(row * kPitch + k * 4);
            sums[row][0] = add_products(v, w0, sums[row][0]);
            sums[row][1] = add_products(v, w1, sums[row][1]);
        }
    }
    const f32x2 bias = args.bias ? global_load_readonly(reinterpret_cast<const f32x2*>(args.bias + column)) : f32x2{};
#pragma unroll
    for (int row = 0; row < kPatches; row++) {
        if (row >= static_cast<int>(count)) break;
        const f32x2 position =
            global_load_readonly(reinterpret_cast<const f32x2*>(args.positions + static_cast<long long>((first_row + row) % tokens) * HIDDEN + column));
        const u32 packed = floats_to_half2(sums[row][0] + bias.x + position.x, sums[row][1] + bias.y + position.y);
        global_store(reinterpret_cast<u32*>(args.tokens + static_cast<long long>(first_row + row) * HIDDEN + column), packed);
    }
}
