// Group norm over channels-last images: y = activation((x - mean) / sqrt(variance + epsilon) gamma + beta), biased variance of a sample's group.
//
// Two kernels over the same blocks, each a slab of pixels of one sample. A thread keeps one 16-byte part of a pixel (8 channels) and walks
// over the slab; pixels that are walked at once are called lanes. group_norm_sums_kernel follows mean and squared deviations of each channel
// one value at a time (Welford 1962), so that a mean far from zero costs no digits, and joins lanes and channels of a group into one pair a
// slab (Chan, Golub and LeVeque 1983). group_norm_kernel joins the slabs, the same way in every block, and applies the result.
// All in a fixed order; slabs depend on the image's size alone, not on the batch.
// Bound: bytes; the input twice, the output once. Compared with ReferenceBackend.GroupNorm.
//
// ACTIVATION (of the second kernel).
#include "abi/group_norm.h"
#include "conv/activation.cuh"

constexpr int kThreads = 512, kTeam = 16, kTeams = kThreads / kTeam;  // threads that join the moments of one group
constexpr int kUnroll = 4;                                            // loads in flight

// What is known of some values: how many, their mean, the sum of squared deviations from it.
struct moments {
    f32 count, mean, deviations;
};

// What one thread does: part `vector` of pixels first + lane, first + lane + lanes, ... below end.
struct walk {
    s32 vectors, lanes, vector, lane, first, end;
};

DIT_DEVICE walk walk_of(const dit_group_norm& args) {
    walk w;
    w.vectors = (args.channels + 7) / 8;
    w.lanes = kThreads / w.vectors;
    w.vector = static_cast<s32>(thread_index()) % w.vectors;
    w.lane = static_cast<s32>(thread_index()) / w.vectors;
    w.first = static_cast<s32>(block_x()) * args.slab_pixels;
    w.end = w.first + args.slab_pixels < args.pixel_count ? w.first + args.slab_pixels : args.pixel_count;
    return w;
}

// Where that part of a pixel lies, in halves.
DIT_DEVICE long long place(const dit_group_norm& args, const walk& w, s32 pixel) {
    return ((static_cast<long long>(block_y()) * args.pixel_count + pixel) * w.vectors + w.vector) * 8;
}

// The moments of all of item(0) to item(count - 1), in every thread of a team of 16; whole warps call it. Means are taken relative to the first.
template <class Item> DIT_DEVICE moments join(s32 count, Item item) {
    const s32 member = static_cast<s32>(thread_index()) % kTeam;
    const f32 origin = item(0).mean;
    f32 values = 0, sum = 0;
    for (s32 i = member; i < count; i += kTeam) {
        const moments part = item(i);
        values += part.count;
        sum = fused_multiply_add(part.count, part.mean - origin, sum);
    }
    values = team_sum<kTeam>(values);
    const f32 mean = team_sum<kTeam>(sum) * reciprocal(values);
    f32 deviations = 0;
    for (s32 i = member; i < count; i += kTeam) {
        const moments part = item(i);
        const f32 distance = part.mean - origin - mean;
        deviations += fused_multiply_add(part.count * distance, distance, part.deviations);
    }
    return {values, origin + mean, team_sum<kTeam>(deviations)};
}

DIT_KERNEL(group_norm_sums_kernel, dit_group_norm, kThreads) {
    const walk w = walk_of(args);
    f32 mean[8] = {}, deviations[8] = {}, count = 0;
    for (s32 pixel = w.first + w.lane; pixel < w.end && w.lane < w.lanes; pixel += kUnroll * w.lanes) {
        u32x4 packed[kUnroll];
#pragma unroll
        for (int i = 0; i < kUnroll; i++)
            if (pixel + i * w.lanes < w.end) packed[i] = global_load_readonly(reinterpret_cast<const u32x4*>(args.input + place(args, w, pixel + i * w.lanes)));
#pragma unroll
        for (int i = 0; i < kUnroll; i++) {
            if (pixel + i * w.lanes >= w.end) break;
            count += 1.0f;
            const f32 share = reciprocal(count);
            f32 x[8];
            unpack_halves(packed[i], x);
#pragma unroll
            for (int c = 0; c < 8; c++) {
                const f32 distance = x[c] - mean[c];
                mean[c] = fused_multiply_add(distance, share, mean[c]);
                deviations[c] = fused_multiply_add(distance, x[c] - mean[c], deviations[c]);
            }
        }
    }
    // [channel % 8][thread], a pair further on each row: readers of neighbouring channels meet different banks.
#pragma unroll
    for (u32 c = 0; c < 8; c++) shared_store((c * (kThreads + 1) + thread_index()) * 8, f32x2{mean[c], deviations[c]});
    block_sync();

    const s32 group_size = args.channels / args.group_count;
    for (s32 base = 0; base < args.group_count; base += kTeams) {
        const s32 group = base + static_cast<s32>(thread_index()) / kTeam;
        const s32 known = group < args.group_count ? group : 0;  // a team without a group goes along
        const moments all = join(group_size * w.lanes, [&](s32 i) -> moments {
            const s32 channel = known * group_size + i % group_size, lane = i / group_size;
            const f32x2 part = shared_load<f32x2>((channel % 8 * (kThreads + 1) + lane * w.vectors + channel / 8) * 8);
            const s32 pixels = w.end - w.first - lane;
            return {pixels > 0 ? static_cast<f32>((pixels + w.lanes - 1) / w.lanes) : 0.0f, part.x, part.y};
        });
        if (group < args.group_count && thread_index() % kTeam == 0) {
            const long long slab = static_cast<long long>(block_y()) * grid_x() + block_x();
            global_store(reinterpret_cast<f32x2*>(args.partials) + slab * args.group_count + group, f32x2{all.mean, all.deviations});
        }
    }
}

DIT_KERNEL(group_norm_kernel, dit_group_norm, kThreads) {
    const walk w = walk_of(args);
    const s32 group_size = args.channels / args.group_count, slab_count = static_cast<s32>(grid_x());
    for (s32 base = 0; base < args.group_count; base += kTeams) {
        const s32 group = base + static_cast<s32>(thread_index()) / kTeam;
        const s32 known = group < args.group_count ? group : 0;
        const f32x2* slabs = reinterpret_cast<const f32x2*>(args.partials) + static_cast<long long>(block_y()) * slab_count * args.group_count + known;
        const moments all = join(slab_count, [&](s32 slab) -> moments {
            const f32x2 part = global_load_readonly(slabs + static_cast<long long>(slab) * args.group_count);
            const s32 left = args.pixel_count - slab * args.slab_pixels;
            return {static_cast<f32>((left < args.slab_pixels ? left : args.slab_pixels) * group_size), part.x, part.y};
        });
        if (group < args.group_count && thread_index() % kTeam == 0)
            shared_store(group * 8, f32x2{all.mean, reciprocal_square_root(all.deviations * reciprocal(all.count) + args.epsilon)});
    }
    block_sync();
    if (w.lane >= w.lanes) return;

    f32 mean[8], factor[8], offset[8];
#pragma unroll
    for (int c = 0; c < 8; c++) {
        const s32 channel = 8 * w.vector + c;
        mean[c] = factor[c] = offset[c] = 0;  // what lies in the padding
        if (channel >= args.channels) continue;
        const f32x2 normal = shared_load<f32x2>(channel / group_size * 8);
        mean[c] = normal.x;
        factor[c] = normal.y * global_load_readonly(args.gamma + channel);
        offset[c] = global_load_readonly(args.beta + channel);
    }
    for (s32 pixel = w.first + w.lane; pixel < w.end; pixel += kUnroll * w.lanes) {
        // The output may be the input: all is read first, and not through the read-only path.
        u32x4 packed[kUnroll];
#pragma unroll
        for (int i = 0; i < kUnroll; i++)
            if (pixel + i * w.lanes < w.end) packed[i] = global_load(reinterpret_cast<const u32x4*>(args.input + place(args, w, pixel + i * w.lanes)));
#pragma unroll
        for (int i = 0; i < kUnroll; i++) {
            if (pixel + i * w.lanes >= w.end) break;
            f32 x[8];
            unpack_halves(packed[i], x);
#pragma unroll
            for (int c = 0; c < 8; c++) x[c] = activate<ACTIVATION>(fused_multiply_add(x[c] - mean[c], factor[c], offset[c]));
            global_store(reinterpret_cast<u32x4*>(args.output + place(args, w, pixel + i * w.lanes)), pack_halves(x));
        }
    }
}
