// y = (x - mean)/sqrt(variance + epsilon) (1 + scale) + shift: layer norm without affine, biased variance, then the adaLN modulation of
// the token's sample (Peebles & Xie 2023); stored as halves, or quantized.
//
// Layouts: abi/norm.h, abi/modulation.h, abi/activation.h. Constants: HIDDEN = H, a multiple of 8; QUANTIZED 0 or 1, and with it
// GROUP (0: the row) and STATIC_RANGES 0 or 1.
//
// One warp holds a token in registers, so it is read once and the variance is taken around the mean. Bound: bytes, 2H read and 2H
// (H, quantized) written a token; docs/kernels-token.md counts the instructions. Compared with ReferenceBackend.NormModulate.
#include "abi/norm.h"
#include "common/reduce.cuh"
#include "quant/span_quantizer.cuh"

constexpr int kWarps = 4;

#if QUANTIZED
using quantizer = span_quantizer<group_grid<HIDDEN, GROUP>, HIDDEN, STATIC_RANGES != 0>;
constexpr int kUnit = quantizer::unit;
#else
constexpr int kUnit = 8;
#endif
constexpr int kUnits = HIDDEN / kUnit;
constexpr int kRounds = (kUnits + 31) / 32;

template <int unit> struct packed_halves { using type = u32x4; };
template <> struct packed_halves<4> { using type = u32x2; };
using packed = packed_halves<kUnit>::type;

DIT_KERNEL(norm_modulate_kernel, dit_norm_modulate, 32 * kWarps) {
    const s32 row = static_cast<s32>(block_x()) * kWarps + static_cast<s32>(warp_index());
    if (row >= args.rows) return;
    const u32 lane = lane_index();
    const auto holds = [&](int round) { return 32 * round + lane < kUnits; };

    const long long first = static_cast<long long>(row) * HIDDEN + lane * kUnit;
    packed raw[kRounds];
#pragma unroll
    for (int r = 0; r < kRounds; r++) {
        if (holds(r)) raw[r] = global_load_readonly(reinterpret_cast<const packed*>(args.tokens + first) + 32 * r);
    }
    const dit_modulation& modulation = args.modulation;
    const s32 sample = row / args.tokens_per_sample;
    const s32 table_row = global_load_readonly(modulation.rows + global_load_readonly(modulation.step) * modulation.sample_count + sample);
    const f32* shift = modulation.table + static_cast<long long>(table_row) * modulation.stride + args.shift_offset + lane * kUnit;

    f32 x[kRounds][kUnit];
    f32 sums[2] = {};  // two chains: half the latency
#pragma unroll
    for (int r = 0; r < kRounds; r++) {
        if (!holds(r)) continue;
        unpack_halves(raw[r], x[r]);
#pragma unroll
        for (int i = 0; i < kUnit; i++) sums[i % 2] += x[r][i];
    }
    const f32 mean = team_sum<32>(sums[0] + sums[1]) * (1.0f / HIDDEN);

    f32 squares[2] = {};
#pragma unroll
    for (int r = 0; r < kRounds; r++) {
        if (!holds(r)) continue;
#pragma unroll
        for (int i = 0; i < kUnit; i++) {
            x[r][i] -= mean;
            squares[i % 2] = fused_multiply_add(x[r][i], x[r][i], squares[i % 2]);
        }
    }
    const f32 inverse = reciprocal_square_root(fused_multiply_add(team_sum<32>(squares[0] + squares[1]), 1.0f / HIDDEN, args.epsilon));

#pragma unroll
    for (int r = 0; r < kRounds; r++) {
        if (!holds(r)) continue;
#pragma unroll
        for (int i = 0; i < kUnit; i += 4) {
            const f32x4 b = global_load_readonly(reinterpret_cast<const f32x4*>(shift + 32 * kUnit * r + i));
            const f32x4 a = global_load_readonly(reinterpret_cast<const f32x4*>(shift + HIDDEN + 32 * kUnit * r + i));
            x[r][i] = fused_multiply_add(x[r][i], fused_multiply_add(a.x, inverse, inverse), b.x);
            x[r][i + 1] = fused_multiply_add(x[r][i + 1], fused_multiply_add(a.y, inverse, inverse), b.y);
            x[r][i + 2] = fused_multiply_add(x[r][i + 2], fused_multiply_add(a.z, inverse, inverse), b.z);
            x[r][i + 3] = fused_multiply_add(x[r][i + 3], fused_multiply_add(a.w, inverse, inverse), b.w);
        }
#if !QUANTIZED
        const u32x4 halves = {floats_to_half2(x[r][0], x[r][1]), floats_to_half2(x[r][2], x[r][3]), floats_to_half2(x[r][4], x[r][5]), floats_to_half2(x[r][6], x[r][7])};
        global_store(reinterpret_cast<u32x4*>(args.output + first) + 32 * r, halves);
#endif
    }
#if QUANTIZED
    quantizer::run(args.quantized, row, 0, kUnits, warp_index() * quantizer::scratch_bytes, [&](int r, int i) { return x[r][i]; });
#endif
}
