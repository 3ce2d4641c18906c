// The three products of a linear layer y = x W^T in training: y = x W^T, dx = dy W, dW = dy^T x; fp32 in and out.
//
// Layouts: abi/training_product.h. Constant: PRODUCT 0, 1 or 2.
//
// A block takes 128x64 of the result, a warp 32x64, a thread 8x8; the depth runs through shared memory 16 values at a time, the next 16 on
// their way while these are worked on. Every value of the result is one chain of fused multiply-adds along the ascending depth.
// Bound: operations, rows x columns x depth fused multiply-adds; shared memory is close behind, 16 loads of 16 bytes for 256 of them.
// Gradients are sums of much that cancels, so no factor is rounded to 10 or 11 bits for the tensor cores (docs/kernels-training.md).
// Compared with sums in double precision.
#include "abi/training_product.h"
#include "common/ptx.cuh"

constexpr int kWarps = 4, kThreads = 32 * kWarps;
constexpr int kRows = 32 * kWarps, kColumns = 64;
constexpr int kDepth = 16;  // of a stage

// A factor's part of a stage. Rows of memory that run along the depth lie as [extent][kDepth], 16 bytes apart, so that lanes which read
// adjacent rows meet different banks; rows across the depth lie as [kDepth][extent]. `lanes` lanes share the extent of a warp,
// 8 values each.
template <bool along_depth, int extent, int lanes> struct factor {
    static constexpr u32 pitch = along_depth ? 4 * kDepth + 16 : 4 * extent;
    static constexpr u32 bytes = (along_depth ? extent : kDepth) * pitch;
    static constexpr bool adjacent = !along_depth;  // values 4h to 4h + 3 of a lane lie side by side

    // A stage is copied in units of 16 bytes, a thread the same place in every row_step-th row.
    static constexpr s32 units = (along_depth ? kDepth : extent) / 4, row_step = kThreads / units, rows = along_depth ? extent : kDepth;
    const f32* from;
    s32 row, row_count, column, column_count;
    u32 to;

    // Values first.. of count, from the first depth on.
    DIT_DEVICE factor(const f32* source, s32 first, s32 count, s32 depth_count) {
        const s32 thread = static_cast<s32>(thread_index());
        row = thread / units + (along_depth ? first : 0);
        column = thread % units * 4 + (along_depth ? 0 : first);
        row_count = along_depth ? count : depth_count;
        column_count = along_depth ? depth_count : count;
        from = source + static_cast<long long>(row) * column_count + column;
        to = static_cast<u32>(thread / units) * pitch + static_cast<u32>(thread % units) * 16;
    }

    // Starts to bring the next depths to a stage, zeros beyond the last.
    DIT_DEVICE void copy(u32 offset) {
#pragma unroll
        for (s32 i = 0; i < rows; i += row_step) {
            cp_async_16(offset + to + static_cast<u32>(i) * pitch, from + static_cast<long long>(i) * column_count, row + i < row_count && column < column_count);
        }
        (along_depth ? column : row) += kDepth;
        from += along_depth ? kDepth : static_cast<long long>(kDepth) * column_count;
    }

    // Where value i of a lane lies in its warp's part of the extent.
    static DIT_DEVICE u32 index(u32 lane, int i) { return along_depth ? lane + static_cast<u32>(lanes * i) : 4 * lane + static_cast<u32>(4 * lanes * (i / 4) + i % 4); }

    // Values 4h to 4h + 3 of a lane at four depths from d.
    static DIT_DEVICE void load(u32 offset, u32 lane, u32 base, int h, u32 d, f32 (&values)[4][4]) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const u32 at = along_depth ? (base + index(lane, 4 * h + i)) * pitch + 4 * d : (d + static_cast<u32>(i)) * pitch + 4 * (base + index(lane, 4 * h));
            const f32x4 v = shared_load<f32x4>(offset + at);
            const f32 parts[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
            for (int j = 0; j < 4; j++) (along_depth ? values[i][j] : values[j][i]) = parts[j];
        }
    }
};

using left = factor<PRODUCT != 2, kRows, 4>;
using right = factor<PRODUCT == 0, kColumns, 8>;
constexpr u32 kStageBytes = left::bytes + right::bytes;

DIT_KERNEL(training_product_kernel, dit_training_product, kThreads) {
    const s32 first_row = static_cast<s32>(block_x()) * kRows, first_column = static_cast<s32>(block_y()) * kColumns;
    left a_copy(args.left, first_row, args.rows, args.depth);
    right b_copy(args.right, first_column, args.columns, args.depth);
    const auto copy = [&](s32 stage) {
        const u32 offset = static_cast<u32>(stage & 1) * kStageBytes;
        a_copy.copy(offset);
        b_copy.copy(offset + left::bytes);
        cp_async_commit();
    };
    const u32 row_base = warp_index() * 32, lane_down = lane_index() / 8, lane_across = lane_index() % 8;

    f32 sums[8][8] = {};
    const s32 stages = (args.depth + kDepth - 1) / kDepth;
    copy(0);
    for (s32 stage = 0; stage < stages; stage++) {
        cp_async_wait<0>();
        block_sync();
        if (stage + 1 < stages) copy(stage + 1);
        const u32 offset = static_cast<u32>(stage & 1) * kStageBytes;
#pragma unroll 2
        for (u32 d = 0; d < kDepth; d += 4) {
            f32 b[2][4][4];
#pragma unroll
            for (int h = 0; h < 2; h++) right::load(offset + left::bytes, lane_across, 0, h, d, b[h]);
#pragma unroll
            for (int h = 0; h < 2; h++) {
                f32 a[4][4];
                left::load(offset, lane_down, row_base, h, d, a);
#pragma unroll
                for (int k = 0; k < 4; k++) {
#pragma unroll
                    for (int i = 0; i < 4; i++) {
#pragma unroll
                        for (int j = 0; j < 8; j++) sums[4 * h + i][j] = fused_multiply_add(a[i][k], b[j / 4][j % 4][k], sums[4 * h + i][j]);
                    }
                }
            }
        }
    }

#pragma unroll
    for (int i = 0; i < 8; i++) {
        const s32 row = first_row + static_cast<s32>(row_base + left::index(lane_down, i));
        if (row >= args.rows) continue;
        f32* out = args.result + static_cast<long long>(row) * args.columns;
#pragma unroll
        for (int j = 0; j < 8; j += right::adjacent ? 4 : 1) {
            const s32 column = first_column + static_cast<s32>(right::index(lane_across, j));
            if (column >= args.columns) continue;
            if constexpr (right::adjacent) {
                f32x4* p = reinterpret_cast<f32x4*>(out + column);
                const f32x4 old = args.adds ? global_load(p) : f32x4{};
                global_store(p, f32x4{old.x + sums[i][j], old.y + sums[i][j + 1], old.z + sums[i][j + 2], old.w + sums[i][j + 3]});
            } else {
                global_store(out + column, args.adds ? global_load(out + column) + sums[i][j] : sums[i][j]);
            }
        }
    }
}
