// d += 2 weight (x - target), and the sum of (x - target)^2 of each block's 4096 values; the host adds those in double precision.
//
// Layouts: abi/training_pointwise.h.
//
// Sums run thread by thread, lane by lane, warp by warp: always the same order. Bound: bytes, 16 a value.
// Compared with the formula in double precision.
#include "abi/training_pointwise.h"
#include "common/reduce.cuh"

constexpr int kWarps = 8, kThreads = 32 * kWarps;
constexpr int kRounds = 16;  // values of a thread

DIT_KERNEL(squared_error_kernel, dit_squared_error, kThreads) {
    f32 sum = 0;
#pragma unroll 4
    for (u32 r = 0; r < kRounds; r++) {
        const u32 i = (block_x() * kRounds + r) * kThreads + thread_index();
        if (i >= static_cast<u32>(args.count)) break;
        const f32 error = global_load_readonly(args.x + i) - global_load_readonly(args.target + i);
        sum = fused_multiply_add(error, error, sum);
        global_store(args.gradient + i, fused_multiply_add(args.factor, error, global_load(args.gradient + i)));
    }
    sum = team_sum<32>(sum);
    if (lane_index() == 0) shared_store(warp_index() * 4, sum);
    block_sync();
    if (thread_index() > 0) return;
    f32 total = 0;
#pragma unroll
    for (u32 w = 0; w < kWarps; w++) total += shared_load<f32>(w * 4);
    global_store(args.partials + block_x(), total);
}
