// Codes, scales and corrections of rows of halves: what a producer does that quantizes as it stores (norm, GELU, attention), for those
// that cannot; the same bits.
//
// Layouts: abi/quantize.h, abi/activation.h. Constants: WIDTH = K, a multiple of 8; GROUP (0: the row); STATIC_RANGES 0 or 1;
// SPAN, the values that one warp takes: whole groups.
//
// Bound: bytes, 2K read and K written a row. Compared with ActivationQuantizer.
#include "abi/quantize.h"
#include "quant/span_quantizer.cuh"

constexpr int kWarps = 4;
using grid = group_grid<WIDTH, GROUP>;
using quantizer = span_quantizer<grid, SPAN, STATIC_RANGES != 0>;
constexpr int kSpans = (WIDTH + SPAN - 1) / SPAN;
static_assert(kSpans == 1 || SPAN % grid::size == 0, "a span is whole groups");

template <int unit> struct packed_halves { using type = u32x4; };
template <> struct packed_halves<4> { using type = u32x2; };
using packed = packed_halves<quantizer::unit>::type;

DIT_KERNEL(quantize_rows_kernel, dit_quantize_rows, 32 * kWarps) {
    const u32 task = block_x() * kWarps + warp_index();
    const s32 row = static_cast<s32>(task / kSpans);
    if (row >= args.rows) return;
    const u32 span = task % kSpans, lane = lane_index();
    constexpr u32 last_units = (WIDTH - (kSpans - 1) * SPAN) / quantizer::unit;
    const u32 unit_count = span == kSpans - 1 ? last_units : quantizer::units;

    packed raw[quantizer::rounds];
    const packed* source = reinterpret_cast<const packed*>(args.input + static_cast<long long>(row) * WIDTH + span * SPAN);
#pragma unroll
    for (int r = 0; r < quantizer::rounds; r++) {
        if (32 * r + lane < unit_count) raw[r] = global_load_readonly(source + 32 * r + lane);
    }
    const int first_group = static_cast<int>(span * (SPAN / grid::size));
    quantizer::run(args.quantized, row, first_group, unit_count, warp_index() * quantizer::scratch_bytes, [&](int r, int i) {
        const u32* words = reinterpret_cast<const u32*>(&raw[r]);
        const f32x2 pair = half2_to_floats(words[i / 2]);
        return i % 2 == 0 ? pair.x : pair.y;
    });
}
