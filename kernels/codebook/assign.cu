// code = argmin over c of sum_i w_i (p_i - c_i)^2, the first of equals, and that distance; fp32, i ascending.
//
// Layouts: abi/assign.h. Constants: DIM = d, 2 to 8; WEIGHTED 0 or 1.
//
// A thread keeps 4 points, the codebook comes by in shared memory, 1024 codewords at a time, the same one for all lanes at once.
// Bound: instructions, 2d + 3 (weighted 3d + 3) a point and codeword. Compared with sums in double precision.
#include "abi/assign.h"
#include "common/ptx.cuh"

constexpr int kThreads = 256, kPoints = 4, kTile = 1024;
constexpr int kPadded = DIM == 2 ? 2 : (DIM + 3) / 4 * 4;  // values a codeword has in shared memory

DIT_DEVICE void load_codeword(u32 index, f32 (&c)[kPadded]) {
    const u32 at = index * kPadded * 4;
    if constexpr (DIM == 2) {
        const f32x2 v = shared_load<f32x2>(at);
        c[0] = v.x;
        c[1] = v.y;
    } else {
#pragma unroll
        for (int i = 0; i < kPadded; i += 4) {
            const f32x4 v = shared_load<f32x4>(at + static_cast<u32>(i) * 4);
            c[i] = v.x;
            c[i + 1] = v.y;
            c[i + 2] = v.z;
            c[i + 3] = v.w;
        }
    }
}

DIT_KERNEL(assign_kernel, dit_assign, kThreads) {
    const s32 first_point = static_cast<s32>(block_x()) * (kThreads * kPoints) + static_cast<s32>(thread_index());
    f32 points[kPoints][DIM] = {};
#if WEIGHTED
    f32 weights[kPoints][DIM] = {};
#endif
    f32 nearest[kPoints];
    s32 codes[kPoints] = {};
#pragma unroll
    for (int p = 0; p < kPoints; p++) {
        nearest[p] = bits_float(0x7f800000);
        const s32 point = first_point + p * kThreads;
        if (point >= args.point_count) continue;
#pragma unroll
        for (int i = 0; i < DIM; i++) {
            points[p][i] = global_load_readonly(args.points + static_cast<long long>(point) * DIM + i);
#if WEIGHTED
            weights[p][i] = global_load_readonly(args.weights + static_cast<long long>(point) * DIM + i);
#endif
        }
    }

    for (s32 first = 0; first < args.codeword_count; first += kTile) {
        const s32 count = args.codeword_count - first < kTile ? args.codeword_count - first : kTile;
        block_sync();
        for (s32 i = static_cast<s32>(thread_index()); i < count * kPadded; i += kThreads) {
            const s32 part = i % kPadded;
            shared_store(static_cast<u32>(i) * 4, part < DIM ? global_load_readonly(args.codewords + static_cast<long long>(first + i / kPadded) * DIM + part) : 0.0f);
        }
        block_sync();
#pragma unroll 2
        for (s32 k = 0; k < count; k++) {
            f32 c[kPadded];
            load_codeword(static_cast<u32>(k), c);
#pragma unroll
            for (int p = 0; p < kPoints; p++) {
                f32 distance = 0;
#pragma unroll
                for (int i = 0; i < DIM; i++) {
                    const f32 difference = points[p][i] - c[i];
#if WEIGHTED
                    distance = fused_multiply_add(weights[p][i] * difference, difference, distance);
#else
                    distance = fused_multiply_add(difference, difference, distance);
#endif
                }
                if (distance < nearest[p]) {
                    nearest[p] = distance;
                    codes[p] = first + k;
                }
            }
        }
    }
#pragma unroll
    for (int p = 0; p < kPoints; p++) {
        const s32 point = first_point + p * kThreads;
        if (point >= args.point_count) continue;
        global_store(args.codes + point, codes[p]);
        global_store(args.distances + point, nearest[p]);
    }
}
