// Convolution as an implicit matrix product: y = activation(conv(x) + b + residual), channels last, odd square kernel, stride 1, zero padding k/2.
//   M = B Y X output pixels, N = Cout, K = k k taps of Cin rounded up to 32. K runs over taps, then channels; the matrix of gathered pixels never exists.
//
// A block makes a tile of TILE_M pixels by TILE_N channels in WARPS_M by WARPS_N warps with mma_f16. Depth advances 32 channels of one tap
// at a time through a ring of four stages in shared memory, filled by cp.async three stages ahead. A stage holds
//   pixels  [TILE_M][32] halves: a row of 64 bytes is gathered where the tap points to, zero outside the image and beyond Cin. The 16-byte
//           parts of a row are permuted by the row's number, so that the eight rows ldmatrix reads lie in different banks.
//   weights [TILE_N/16][2][32 lanes][16 bytes]: fragments as they were packed at load, one load of 16 bytes for two products.
// Sums are fp32 and every output runs through K in the same order: the tile's shape does not change a bit. At the end a warp turns 16 rows
// at a time in shared memory, so that residual and output move in 16-byte parts.
// Bound: operations, 2 M N K; in the thin tile (the last layer, Cout 3) bytes of the second cache, k k times the input.
// Compared with ReferenceBackend.Convolution.
//
// TILE_M, TILE_N, WARPS_M, WARPS_N; UPSAMPLE 1: the input is read at (y/2, x/2); MASK_TAIL 1: Cin is no multiple of 8; ACTIVATION.
#include "abi/convolution.h"
#include "conv/activation.cuh"

constexpr int kThreads = 32 * WARPS_M * WARPS_N, kStages = 4, kDepth = 32;
constexpr int kWarpM = TILE_M / WARPS_M, kWarpN = TILE_N / WARPS_N;
constexpr int kRowTiles = kWarpM / 16, kColumnPairs = kWarpN / 16;  // of mma_f16: 16 rows; two times 8 columns
constexpr int kPixelBytes = TILE_M * kDepth * 2, kWeightBytes = TILE_N * kDepth * 2, kStageBytes = kPixelBytes + kWeightBytes;
constexpr int kPixelCopies = TILE_M * 4 / kThreads;  // of 16 bytes, by each thread, for one stage
constexpr int kWeightCopies = (TILE_N * 4 + kThreads - 1) / kThreads;
constexpr int kTurnPitch = (kWarpN + 8) * 4;  // bytes of a row of sums; 8 more, so that the quads of a warp write different banks
static_assert(kPixelCopies * kThreads == TILE_M * 4 && kWarpM % 16 == 0 && kWarpN % 16 == 0, "tiles divide evenly among warps and threads");
static_assert(WARPS_M * WARPS_N * 16 * kTurnPitch <= kStages * kStageBytes, "the rows being turned fit where the stages were");

// Where the next chunk of depth lies, and the pixels whose rows this thread gathers: (row, part) = ((thread + i threads)/4, thread % 4).
struct gather {
    s32 first_pixel[kPixelCopies];  // of the sample, in the input
    s32 y[kPixelCopies], x[kPixelCopies];
    s32 tap_y, tap_x, channel;  // of the next chunk, taps from -k/2
    const f16* weights;         // of the next chunk, this thread's first copy
};

DIT_DEVICE gather begin(const dit_convolution& args, s32 first_row, s32 first_column, s32 chunk_count) {
    gather at;
    const s32 plane = args.height * args.width;
    const s32 input_plane = UPSAMPLE ? plane / 4 : plane;
#pragma unroll
    for (int i = 0; i < kPixelCopies; i++) {
        const s32 row = first_row + static_cast<s32>(thread_index() + i * kThreads) / 4;
        const s32 sample = row / plane;
        at.first_pixel[i] = sample * input_plane;
        at.x[i] = row % args.width;
        // Rows beyond the last pixel lie outside of every image.
        at.y[i] = sample < args.sample_count ? row % plane / args.width : -(1 << 20);
    }
    at.tap_y = at.tap_x = -(args.kernel_size / 2);
    at.channel = 0;
    at.weights = args.weights + (static_cast<long long>(first_column / 16 + thread_index() / 64) * chunk_count * 64 + thread_index() % 64) * 8;
    return at;
}

// Starts the copies of one chunk, and goes on to the next.
DIT_DEVICE void load_stage(const dit_convolution& args, gather& at, s32 first_column, s32 chunk_count, u32 stage) {
    const s32 stride = (args.inputs + 7) / 8 * 8;
    const u32 part = thread_index() % 4;
    const s32 channel = at.channel + static_cast<s32>(part) * 8;
#pragma unroll
    for (int i = 0; i < kPixelCopies; i++) {
        const u32 row = (thread_index() + i * kThreads) / 4;
        const s32 y = at.y[i] + at.tap_y, x = at.x[i] + at.tap_x;
        const bool inside = y >= 0 && y < args.height && x >= 0 && x < args.width && channel < args.inputs;
        const s32 pixel = at.first_pixel[i] + (UPSAMPLE ? y / 2 * (args.width / 2) + x / 2 : y * args.width + x);
        const f16* source = inside ? args.input + static_cast<long long>(pixel) * stride + channel : args.input;
        cp_async_16(stage * kStageBytes + row * 64 + ((part ^ (row / 2)) & 3) * 16, source, inside);
    }
    // 64 copies are a group of 16 outputs.
#pragma unroll
    for (int copy = 0; copy < kWeightCopies; copy++) {
        const s32 i = static_cast<s32>(thread_index()) + copy * kThreads;
        if (TILE_N * 4 % kThreads != 0 && i >= TILE_N * 4) break;
        const bool exists = first_column + i / 64 * 16 < args.outputs;
        const f16* source = at.weights + static_cast<long long>(copy * (kThreads / 64) * 512) * chunk_count;
        cp_async_16(stage * kStageBytes + kPixelBytes + i * 16, exists ? source : args.weights, exists);
    }
    at.weights += 512;
    at.channel += kDepth;
    if (at.channel < args.inputs) return;
    at.channel = 0;
    if (++at.tap_x <= args.kernel_size / 2) return;
    at.tap_x = -(args.kernel_size / 2);
    at.tap_y++;
}

// Clears what lies beyond Cin in two halves that begin at `channel`: padding in memory may hold anything, and NaN times zero is NaN.
DIT_DEVICE u32 mask_tail(u32 halves, s32 channel, s32 inputs) { return channel + 1 < inputs ? halves : channel < inputs ? halves & 0xffffu : 0u; }

// channel: of the chunk's first column.
DIT_DEVICE void multiply_stage(u32 stage, s32 channel, s32 inputs, f32 (&sums)[kRowTiles][2 * kColumnPairs][4]) {
    const u32 lane = lane_index(), warp_m = warp_index() / WARPS_N, warp_n = warp_index() % WARPS_N;
#pragma unroll
    for (u32 step = 0; step < 2; step++) {
        u32 a[kRowTiles][4];
#pragma unroll
        for (int i = 0; i < kRowTiles; i++) {
            const u32 row = warp_m * kWarpM + i * 16 + lane % 16, part = step * 2 + lane / 16;
            ldmatrix_x4(stage * kStageBytes + row * 64 + ((part ^ (row / 2)) & 3) * 16, a[i]);
            if constexpr (MASK_TAIL != 0) {
                const s32 first = channel + static_cast<s32>(step * 16 + lane % 4 * 2);
                a[i][0] = mask_tail(a[i][0], first, inputs);
                a[i][1] = mask_tail(a[i][1], first, inputs);
                a[i][2] = mask_tail(a[i][2], first + 8, inputs);
                a[i][3] = mask_tail(a[i][3], first + 8, inputs);
            }
        }
#pragma unroll
        for (int j = 0; j < kColumnPairs; j++) {
            const u32x4 b = shared_load<u32x4>(stage * kStageBytes + kPixelBytes + (((warp_n * kColumnPairs + j) * 2 + step) * 32 + lane) * 16);
#pragma unroll
            for (int i = 0; i < kRowTiles; i++) {
                mma_f16(sums[i][2 * j], a[i], b.x, b.y);
                mma_f16(sums[i][2 * j + 1], a[i], b.z, b.w);
            }
        }
    }
}

// Bias, residual, activation; a warp's 16 rows of sums at a time.
DIT_DEVICE void store_sums(const dit_convolution& args, s32 first_row, s32 first_column, const f32 (&sums)[kRowTiles][2 * kColumnPairs][4]) {
    const u32 lane = lane_index(), base = warp_index() * 16 * kTurnPitch;
    const s32 row_count = args.sample_count * args.height * args.width, stride = (args.outputs + 7) / 8 * 8;
#pragma unroll
    for (int i = 0; i < kRowTiles; i++) {
        warp_sync();
#pragma unroll
        for (int j = 0; j < 2 * kColumnPairs; j++) {
            const u32 at = base + lane / 4 * kTurnPitch + (8 * j + lane % 4 * 2) * 4;
            shared_store(at, f32x2{sums[i][j][0], sums[i][j][1]});
            shared_store(at + 8 * kTurnPitch, f32x2{sums[i][j][2], sums[i][j][3]});
        }
        warp_sync();
#pragma unroll
        for (u32 vector = lane; vector < 16 * kWarpN / 8; vector += 32) {
            const u32 row = vector / (kWarpN / 8), part = vector % (kWarpN / 8);
            const s32 m = first_row + 16 * i + static_cast<s32>(row), n = first_column + 8 * static_cast<s32>(part);
            if (m >= row_count || n >= args.outputs) continue;
            const long long at = static_cast<long long>(m) * stride + n;
            f32 residual[8] = {};
            // The residual may be the output: never read through the read-only path.
            if (args.residual != nullptr) unpack_halves(global_load(reinterpret_cast<const u32x4*>(args.residual + at)), residual);
            f32 y[8];
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const f32x4 sum = shared_load<f32x4>(base + row * kTurnPitch + part * 32 + half * 16);
                const f32x4 bias = global_load_readonly(reinterpret_cast<const f32x4*>(args.bias + n + 4 * half));
                y[4 * half] = activate<ACTIVATION>(sum.x + bias.x + residual[4 * half]);
                y[4 * half + 1] = activate<ACTIVATION>(sum.y + bias.y + residual[4 * half + 1]);
                y[4 * half + 2] = activate<ACTIVATION>(sum.z + bias.z + residual[4 * half + 2]);
                y[4 * half + 3] = activate<ACTIVATION>(sum.w + bias.w + residual[4 * half + 3]);
            }
            global_store(reinterpret_cast<u32x4*>(args.output + at), pack_halves(y));
        }
    }
}

DIT_KERNEL(convolution_kernel, dit_convolution, kThreads) {
    const s32 column_tiles = (args.outputs + TILE_N - 1) / TILE_N;
    const s32 first_row = block_x() / column_tiles * TILE_M, first_column = block_x() % column_tiles * TILE_N;
    const s32 chunks_per_tap = (args.inputs + kDepth - 1) / kDepth, chunk_count = args.kernel_size * args.kernel_size * chunks_per_tap;
    f32 sums[kRowTiles][2 * kColumnPairs][4] = {};
    gather next = begin(args, first_row, first_column, chunk_count);
#pragma unroll
    for (s32 chunk = 0; chunk < kStages - 1; chunk++) {
        if (chunk < chunk_count) load_stage(args, next, first_column, chunk_count, chunk);
        cp_async_commit();
    }
    s32 channel = 0;
    for (s32 chunk = 0; chunk < chunk_count; chunk++) {
        cp_async_wait<kStages - 2>();
        block_sync();  // this chunk is there, and nobody reads the stage of the chunk before it any more
        const s32 ahead = chunk + kStages - 1;
        if (ahead < chunk_count) load_stage(args, next, first_column, chunk_count, ahead % kStages);
        cp_async_commit();
        multiply_stage(chunk % kStages, channel, args.inputs, sums);
        channel = channel + kDepth < args.inputs ? channel + kDepth : 0;
    }
    cp_async_wait<0>();
    block_sync();
    store_sums(args, first_row + warp_index() / WARPS_N * kWarpM, first_column + warp_index() % WARPS_N * kWarpN, sums);
}
