// What happens to y = x W^T + b before it is stored. A tile goes through shared memory, one m16 tile of each warp at a time, so that rows
// leave in pieces of eight neighbouring values: an epilogue is a type with a function for one such piece.
#pragma once

#include "common/quantize.cuh"
#include "gemm/configuration.cuh"

constexpr int kSliceRows = WARPS_M * 16;
// Eight words more than the columns: the 8-byte pieces of four rows lie in different banks.
constexpr int kSlicePitch = (TILE_N + 8) * 4;
constexpr int kSliceBytes = kSliceRows * kSlicePitch;
constexpr int kPiece = 8;

// Exponents beyond this are as good as infinite, and keep 1 + 2^e finite.
constexpr f32 kLargestExponent = 120.0f;
constexpr f32 kLog2E = 1.4426950408889634f;

DIT_DEVICE f32 sigmoid(f32 v) { return reciprocal(1.0f + exp2_approximate(minimum(-kLog2E * v, kLargestExponent))); }

DIT_DEVICE f32 activate(f32 v) {
    if constexpr (ACTIVATION == kRelu) return maximum(v, 0.0f);
    if constexpr (ACTIVATION == kSilu) return v * sigmoid(v);
    // v/2 (1 + tanh u) = v sigmoid(2u), u = sqrt(2/pi) (v + 0.044715 v^3).
    if constexpr (ACTIVATION == kGeluTanh) return v * sigmoid(1.5957691216057308f * fused_multiply_add(0.044715f * v * v, v, v));
    return v;
}

// What four columns from one that is a multiple of four have at an offset of their record, a float each; zero beyond the records.
DIT_DEVICE f32x4 load_columns_of(const dit_weight& weight, int offset, int column) {
    if (column >= weight.record_count * 16) return {0.0f, 0.0f, 0.0f, 0.0f};
    const u8* record = weight.records + static_cast<long long>(column / 16) * weight.record_bytes;
    return global_load_readonly(reinterpret_cast<const f32x4*>(record + offset) + column % 16 / 4);
}

DIT_DEVICE f32x4 load_slice(const dit_gemm& args, int slice_row, int tile_column, int column) {
    f32x4 v = shared_load<f32x4>(slice_row * kSlicePitch + tile_column * 4);
    const f32x4 bias = load_columns_of(args.weight, args.weight.bias_at, column);
    if constexpr (kOutputScales) {
        const f32x4 scale = load_columns_of(args.weight, args.weight.scales_at, column);
        v = {fused_multiply_add(v.x, scale.x, bias.x), fused_multiply_add(v.y, scale.y, bias.y), fused_multiply_add(v.z, scale.z, bias.z),
             fused_multiply_add(v.w, scale.w, bias.w)};
    } else {
        v = {v.x + bias.x, v.y + bias.y, v.z + bias.z, v.w + bias.w};
    }
    return {activate(v.x), activate(v.y), activate(v.z), activate(v.w)};
}

// ---- pieces of a row, from column `column` on; `count` of them exist ----

DIT_DEVICE void store_halves(f16* out, const f32 (&v)[kPiece], int count, bool vector) {
    if (vector) {
        global_store(reinterpret_cast<u32x4*>(out),
                     u32x4{floats_to_half2(v[0], v[1]), floats_to_half2(v[2], v[3]), floats_to_half2(v[4], v[5]), floats_to_half2(v[6], v[7])});
        return;
    }
#pragma unroll
    for (int i = 0; i < kPiece; ++i)
        if (i < count) global_store(out + i, float_to_half(v[i]));
}

// out = y, or with ADDS out += factor y; halves.
template <bool adds> DIT_DEVICE void store_or_add(const dit_gemm& args, int row, int column, int count, f32 (&v)[kPiece]) {
    f16* out = reinterpret_cast<f16*>(args.output) + static_cast<long long>(row) * args.output_stride + column;
    const bool vector = count == kPiece && args.output_stride % kPiece == 0;
    if constexpr (adds) {
        if (vector) {
            const u32x4 old = global_load(reinterpret_cast<const u32x4*>(out));
            const u32 pairs[4] = {old.x, old.y, old.z, old.w};
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const f32x2 pair = half2_to_floats(pairs[i]);
                v[2 * i] += pair.x, v[2 * i + 1] += pair.y;
            }
        } else {
#pragma unroll
            for (int i = 0; i < kPiece; ++i)
                if (i < count) v[i] += half_to_float(global_load(out + i));
        }
    }
    store_halves(out, v, count, vector);
}

struct store_epilogue {
    DIT_DEVICE static void piece(const dit_gemm& args, int row, int column, int count, f32 (&v)[kPiece]) {
        if constexpr (OUTPUT_F32 != 0) {
            f32* out = reinterpret_cast<f32*>(args.output) + static_cast<long long>(row) * args.output_stride + column;
            if (count == kPiece && args.output_stride % 4 == 0) {
                global_store(reinterpret_cast<f32x4*>(out), f32x4{v[0], v[1], v[2], v[3]});
                global_store(reinterpret_cast<f32x4*>(out) + 1, f32x4{v[4], v[5], v[6], v[7]});
                return;
            }
#pragma unroll
            for (int i = 0; i < kPiece; ++i)
                if (i < count) global_store(out + i, v[i]);
        } else {
            store_or_add<false>(args, row, column, count, v);
        }
    }
};

struct residual_epilogue {
    DIT_DEVICE static void piece(const dit_gemm& args, int row, int column, int count, f32 (&v)[kPiece]) { store_or_add<true>(args, row, column, count, v); }
};

struct gated_residual_epilogue {
    DIT_DEVICE static void piece(const dit_gemm& args, int row, int column, int count, f32 (&v)[kPiece]) {
        const dit_modulation& m = args.modulation;
        const int table_row = global_load_readonly(m.rows + static_cast<long long>(global_load_readonly(m.step)) * m.sample_count + row / args.tokens);
        const f32* gate = m.table + static_cast<long long>(table_row) * m.stride + args.gate_offset + column;
#pragma unroll
        for (int i = 0; i < kPiece; ++i)
            if (i < count) v[i] *= global_load_readonly(gate + i);
        store_or_add<true>(args, row, column, count, v);
    }
};

// q, k and v apart, and in each the heads: [3, samples, heads, tokens, head size].
struct heads_epilogue {
    DIT_DEVICE static long long place(const dit_gemm& args, int row, int column) {
        const int head = column / args.head_size, part = head / args.head_count, samples = args.rows / args.tokens;
        const long long plane = (static_cast<long long>(part) * samples + row / args.tokens) * args.head_count + head % args.head_count;
        return (plane * args.tokens + row % args.tokens) * args.head_size + column % args.head_size;
    }
    DIT_DEVICE static void piece(const dit_gemm& args, int row, int column, int count, f32 (&v)[kPiece]) {
        f16* out = reinterpret_cast<f16*>(args.output);
        if (args.head_size % kPiece == 0) {
            store_halves(out + place(args, row, column), v, count, true);
            return;
        }
#pragma unroll
        for (int i = 0; i < kPiece; ++i)
            if (i < count) global_store(out + place(args, row, column + i), float_to_half(v[i]));
    }
};

template <int epilogue> struct epilogue_type { typedef store_epilogue type; };
template <> struct epilogue_type<kResidual> { typedef residual_epilogue type; };
template <> struct epilogue_type<kGatedResidual> { typedef gated_residual_epilogue type; };
template <> struct epilogue_type<kHeads> { typedef heads_epilogue type; };

// A slice's rows in the tile: 16 of each row of warps.
DIT_DEVICE int tile_row(int slice_row, int slice) { return slice_row / 16 * (kRowTiles * 16) + slice * 16 + slice_row % 16; }

DIT_DEVICE void store_pieces(const dit_gemm& args, int slice, int first_row, int first_column) {
    constexpr int kPieces = TILE_N / kPiece;
    for (int index = static_cast<int>(thread_index()); index < kSliceRows * kPieces; index += kThreads) {
        const int slice_row = index / kPieces, tile_column = index % kPieces * kPiece;
        const int row = first_row + tile_row(slice_row, slice), column = first_column + tile_column;
        if (row >= args.rows || column >= args.weight.outputs) continue;
        const f32x4 low = load_slice(args, slice_row, tile_column, column), high = load_slice(args, slice_row, tile_column + 4, column + 4);
        f32 v[kPiece] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
        const int rest = args.weight.outputs - column;
        epilogue_type<EPILOGUE>::type::piece(args, row, column, rest < kPiece ? rest : kPiece, v);
    }
}

// ---- the output as quantized activations: groups lie inside the tile ----

// A group is the work of the smallest power of two of lanes, from 8 on, that holds it at four values each; of a warp where it is longer.
template <class grid> DIT_DEVICE void quantize_slice(const dit_gemm& args, int slice, int first_row, int first_column) {
    constexpr int kLanes = grid::size <= 32 ? 8 : grid::size <= 64 ? 16 : 32;
    constexpr int kPasses = (grid::size + kLanes * 4 - 1) / (kLanes * 4);
    constexpr int kTileGroups = grid::size > TILE_N ? 1 : TILE_N / grid::size;
    constexpr int kUnits = kSliceRows * kTileGroups, kUnitsAtOnce = kThreads / kLanes;
    const int lane = static_cast<int>(thread_index()) % kLanes;
    // Whole warps go round together: the shuffles below need all lanes.
    for (int base = 0; base < kUnits; base += kUnitsAtOnce) {
        const int unit = base + static_cast<int>(thread_index()) / kLanes;
        const int slice_row = unit / kTileGroups, tile_column = unit % kTileGroups * grid::size;
        const int row = first_row + tile_row(slice_row, slice), group = (first_column + tile_column) / grid::size;
        const bool exists = unit < kUnits && row < args.rows && group < grid::count;
        const int length = exists ? grid::length_of(group) : 0;
        f32x4 v[kPasses];
        f32 smallest = 0.0f, largest = 0.0f;
#pragma unroll
        for (int pass = 0; pass < kPasses; ++pass) {
            const int i = (pass * kLanes + lane) * 4;
            v[pass] = {0.0f, 0.0f, 0.0f, 0.0f};
            if (i < length) v[pass] = load_slice(args, slice_row, tile_column + i, first_column + tile_column + i);
            smallest = minimum(smallest, minimum(minimum(v[pass].x, v[pass].y), minimum(v[pass].z, v[pass].w)));
            largest = maximum(largest, maximum(maximum(v[pass].x, v[pass].y), maximum(v[pass].z, v[pass].w)));
        }
#pragma unroll
        for (int mask = 1; mask < kLanes; mask *= 2) {
            smallest = minimum(smallest, shuffle_xor(smallest, mask));
            largest = maximum(largest, shuffle_xor(largest, mask));
        }
        quantization_range range = {1.0f, 1.0f, 0.0f};
        if (exists) range = args.quantized.static_scales == nullptr ? range_of(smallest, largest) : static_range(args.quantized, group);
        u32 code_sum = 0;
#pragma unroll
        for (int pass = 0; pass < kPasses; ++pass) {
            const int i = (pass * kLanes + lane) * 4;
            if (i >= length) continue;
            const u32 codes = quantize4(v[pass].x, v[pass].y, v[pass].z, v[pass].w, range);
            code_sum = dot4_u8(codes, 0x01010101, code_sum);
            global_store(reinterpret_cast<u32*>(args.quantized.codes + static_cast<long long>(row) * grid::code_stride + group * grid::pitch + i), codes);
        }
#pragma unroll
        for (int mask = 1; mask < kLanes; mask *= 2) code_sum += shuffle_xor(code_sum, mask);
        if (exists && lane == 0) store_group<grid>(args.quantized, row, group, range, code_sum);
    }
}

// A slice: the m16 tile `slice` of every warp, through shared memory that no one needs any more.
DIT_DEVICE void finish_slice(const dit_gemm& args, int slice, int first_row, int first_column) {
    if constexpr (EPILOGUE == kQuantize)
        quantize_slice<group_grid<OUTPUTS, OUTPUT_GROUP>>(args, slice, first_row, first_column);
    else
        store_pieces(args, slice, first_row, first_column);
}
