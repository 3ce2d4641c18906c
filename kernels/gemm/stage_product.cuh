// What a warp does with a stage in shared memory: fragments into registers, products into its sums.
#pragma once

#include "gemm/codebook.cuh"

// sums[i][j]: the m16n8 tile i, j of the warp, laid out as mma leaves it: lane (r = lane/4, t = lane%4) holds rows r (first two) and
// r + 8, columns 2t and 2t + 1.
typedef f32 warp_sums[kRowTiles][kColumnTiles][4];

// A k step of 16 input rows.
DIT_DEVICE void load_rows(int stage, const warp_place& warp, int row_tile, int step, u32 (&a)[4]) {
    ldmatrix_x4(stage + (warp.row + row_tile * 16 + warp.lane % 16) * kRowPitch + step * kStepBytes + warp.lane / 16 * 16, a);
}

// The four registers of an operand out of words that were loaded in another order. They are copied by an instruction that the assembler takes for
// work: plain copies it makes anew for every product, up to three for each of them.
DIT_DEVICE void gather_row(const warp_place& warp, u32 a0, u32 a1, u32 a2, u32 a3, u32 (&a)[4]) {
    a[0] = byte_permute(a0, 0, warp.same), a[1] = byte_permute(a1, 0, warp.same);
    a[2] = byte_permute(a2, 0, warp.same), a[3] = byte_permute(a3, 0, warp.same);
}

// The same of a unit whose columns are codewords: what the lane's own piece of K is in these rows.
DIT_DEVICE void load_unit(int stage, const warp_place& warp, int row_tile, int unit, u32 (&a)[kUnitSteps][4]) {
    if constexpr (!kPermuted) {
        load_rows(stage, warp, row_tile, unit, a[0]);
    } else {
        const int upper = stage + (warp.row + row_tile * 16 + warp.lane / 4) * kRowPitch + unit * kUnitBytes + warp.lane % 4 * (kUnitBytes / 4);
        const int lower = upper + 8 * kRowPitch;
        if constexpr (kUnitSteps == 2) {
            const u32x4 p = shared_load<u32x4>(upper), q = shared_load<u32x4>(lower);
            gather_row(warp, p.x, q.x, p.y, q.y, a[0]);
            gather_row(warp, p.z, q.z, p.w, q.w, a[1]);
        } else {
            const u32x2 p = shared_load<u32x2>(upper), q = shared_load<u32x2>(lower);
            gather_row(warp, p.x, q.x, p.y, q.y, a[0]);
        }
    }
}

// b[j]: both registers of the warp's n8 tiles, for one k step of 16-byte lanes.
DIT_DEVICE void load_columns(int stage, const warp_place& warp, int step, u32 (&b)[kColumnTiles][2]) {
#pragma unroll
    for (int pair = 0; pair < kColumnTiles / 2; ++pair) {
        const u32x4 v = load_fragment<u32x4>(stage, warp, pair, step);
        b[2 * pair][0] = v.x, b[2 * pair][1] = v.y, b[2 * pair + 1][0] = v.z, b[2 * pair + 1][1] = v.w;
    }
}

// f16 rows times f16 columns: weights in f16, and the corrections of integer products.
template <int steps> DIT_DEVICE void multiply_halves(int stage, const warp_place& warp, warp_sums& sums) {
#pragma unroll
    for (int step = 0; step < steps; ++step) {
        u32 b[kColumnTiles][2];
        load_columns(stage, warp, step, b);
#pragma unroll
        for (int i = 0; i < kRowTiles; ++i) {
            u32 a[4];
            load_rows(stage, warp, i, step, a);
#pragma unroll
            for (int j = 0; j < kColumnTiles; ++j) mma_f16(sums[i][j], a, b[j][0], b[j][1]);
        }
    }
}

// ---- codes times codes ----

// The codes of k steps that are read at once; those of four bits are cut apart here: 3 instructions for 8 codes.
DIT_DEVICE void load_codes(int stage, const warp_place& warp, [[maybe_unused]] const book_places& books, int read, u32 (&b)[kStepsPerRead][kColumnTiles][2]) {
    if constexpr (kLookup) {
        load_codewords(stage, warp, books, read, b);
    } else if constexpr (FORMAT == kW4A8) {
#pragma unroll
        for (int pair = 0; pair < kColumnTiles / 2; ++pair) {
            const u32x2 v = load_fragment<u32x2>(stage, warp, pair, read);
            b[0][2 * pair][0] = v.x & 0x0f0f0f0f, b[0][2 * pair][1] = v.x >> 4 & 0x0f0f0f0f;
            b[0][2 * pair + 1][0] = v.y & 0x0f0f0f0f, b[0][2 * pair + 1][1] = v.y >> 4 & 0x0f0f0f0f;
        }
    } else {
        load_columns(stage, warp, read, b[0]);
    }
}

DIT_DEVICE void multiply_codes(s32 (&sums)[4], const u32 (&a)[4], const u32 (&b)[2]) {
    if constexpr (kLookup)
        mma_u8_s8(sums, a, b[0], b[1]);
    else
        mma_u8_u8(sums, a, b[0], b[1]);
}

// Integer sums start at the bits of 2^23 where conversion is slow (sm_80: 16 a cycle and multiprocessor): below 2^23 the bits of the
// sum are then those of the float 2^23 + sum, and one subtraction converts. C# asks for it where no sum of a group can be larger. Codewords have
// signs: there it is 1.5 2^23, and sums below 2^22.
constexpr s32 kFirstSum = MAGIC ? (kLookup ? 0x4b400000 : 0x4b000000) : 0;
DIT_DEVICE f32 sum_to_float(s32 sum) {
    if constexpr (MAGIC != 0) return bits_float(static_cast<u32>(sum)) - (kLookup ? 12582912.0f : 8388608.0f);
    return static_cast<f32>(sum);
}

DIT_DEVICE void clear(s32 (&sums)[kColumnTiles][4]) {
#pragma unroll
    for (int j = 0; j < kColumnTiles; ++j)
#pragma unroll
        for (int e = 0; e < 4; ++e) sums[j][e] = kFirstSum;
}

// Scales of a group, for the sums of a lane. Those of the columns stay in registers, but where codes are cut apart: that takes the room. Columns of
// codebooks have none here: theirs is the same for all groups, and waits for the epilogue.
struct stage_scales {
    static constexpr bool kKeepsColumns = kGroupScales && FORMAT != kW4A8;
    f32x2 kept[kKeepsColumns ? kColumnTiles : 1];
    int columns_at, rows_at;

    DIT_DEVICE stage_scales(int stage, const warp_place& warp, int group)
        : columns_at(stage + kColumnScalesAt + (group * TILE_N + warp.record * 16 + warp.lane % 4 * 2) * 4),
          rows_at(stage + kRowScalesAt + (group * TILE_M + warp.row + warp.lane / 4) * 4) {
        if constexpr (kKeepsColumns) {
#pragma unroll
            for (int j = 0; j < kColumnTiles; ++j) kept[j] = shared_load<f32x2>(columns_at + j * 32);
        }
    }

    // sums += s_a s_w (integer sums), three operations for each, or two.
    DIT_DEVICE void promote(int row_tile, const s32 (&integers)[kColumnTiles][4], f32 (&sums)[kColumnTiles][4]) const {
        const f32 upper = shared_load<f32>(rows_at + row_tile * 64), lower = shared_load<f32>(rows_at + row_tile * 64 + 32);
#pragma unroll
        for (int j = 0; j < kColumnTiles; ++j) {
            f32x2 column = {1.0f, 1.0f};
            if constexpr (kGroupScales) column = kKeepsColumns ? kept[j] : shared_load<f32x2>(columns_at + j * 32);
            sums[j][0] = fused_multiply_add(upper * column.x, sum_to_float(integers[j][0]), sums[j][0]);
            sums[j][1] = fused_multiply_add(upper * column.y, sum_to_float(integers[j][1]), sums[j][1]);
            sums[j][2] = fused_multiply_add(lower * column.x, sum_to_float(integers[j][2]), sums[j][2]);
            sums[j][3] = fused_multiply_add(lower * column.y, sum_to_float(integers[j][3]), sums[j][3]);
        }
    }
};

// Groups that lie inside a stage: the columns of a group stay in registers while the row tiles pass by, so that integer sums are needed
// for one row tile only and the warp's tile can be half as large again.
DIT_DEVICE void multiply_whole_groups(int stage, const warp_place& warp, const book_places& books, warp_sums& sums) {
    constexpr int kGroupReads = kWholeGroups ? kGroupSteps / kStepsPerRead : 1;
#pragma unroll 1
    for (int group = 0; group < kStageGroups; ++group) {
        u32 b[kGroupReads][kStepsPerRead][kColumnTiles][2];
#pragma unroll
        for (int read = 0; read < kGroupReads; ++read) load_codes(stage, warp, books, group * kGroupReads + read, b[read]);
        const stage_scales scales(stage, warp, group);
#pragma unroll
        for (int i = 0; i < kRowTiles; ++i) {
            s32 integers[kColumnTiles][4];
            clear(integers);
#pragma unroll
            for (int step = 0; step < kGroupReads * kStepsPerRead; ++step) {
                u32 a[kUnitSteps][4];
                load_unit(stage, warp, i, group * kGroupReads * kStepsPerRead + step, a);
#pragma unroll
                for (int j = 0; j < kColumnTiles; ++j) multiply_codes(integers[j], a[0], b[step / kStepsPerRead][step % kStepsPerRead][j]);
            }
            scales.promote(i, integers, sums[i]);
        }
    }
}

// A piece of a group that spans stages: integer sums stay in registers until the group's last stage.
DIT_DEVICE void multiply_part_of_group(int stage, const warp_place& warp, const book_places& books, s32 (&integers)[kRowTiles][kColumnTiles][4], bool last,
                                       warp_sums& sums) {
#pragma unroll
    for (int read = 0; read < kReads; ++read) {
        u32 b[kStepsPerRead][kColumnTiles][2];
        load_codes(stage, warp, books, read, b);
#pragma unroll
        for (int step = 0; step < kStepsPerRead; ++step)
#pragma unroll
            for (int i = 0; i < kRowTiles; ++i) {
                u32 a[kUnitSteps][4];
                load_unit(stage, warp, i, read * kStepsPerRead + step, a);
#pragma unroll
                for (int j = 0; j < kColumnTiles; ++j) multiply_codes(integers[i][j], a[0], b[step][j]);
            }
    }
    if (last) {
        const stage_scales scales(stage, warp, 0);
#pragma unroll
        for (int i = 0; i < kRowTiles; ++i) {
            scales.promote(i, integers[i], sums[i]);
            clear(integers[i]);
        }
    }
}

// ---- halves times codewords of halves ----

DIT_DEVICE void multiply_codewords(int stage, const warp_place& warp, const book_places& books, warp_sums& sums) {
#pragma unroll
    for (int read = 0; read < kReads; ++read) {
        u32 b[kStepsPerRead][kColumnTiles][2];
        load_codewords(stage, warp, books, read, b);
#pragma unroll
        for (int unit = 0; unit < kStepsPerRead / kUnitSteps; ++unit)
#pragma unroll
            for (int i = 0; i < kRowTiles; ++i) {
                u32 a[kUnitSteps][4];
                load_unit(stage, warp, i, read * (kStepsPerRead / kUnitSteps) + unit, a);
#pragma unroll
                for (int step = 0; step < kUnitSteps; ++step)
#pragma unroll
                    for (int j = 0; j < kColumnTiles; ++j) mma_f16(sums[i][j], a[step], b[unit * kUnitSteps + step][j][0], b[unit * kUnitSteps + step][j][1]);
            }
    }
}

// ---- halves times codes ----

// Scale and zero point of a column, as pairs of halves. Codes of four bits are also read at bits 4 to 7 of a half, where 64 + q is what
// the exponent of 64 makes of them.
struct column_scale {
    u32 scale, zero, high_zero;
    DIT_DEVICE void load(int at) {
        const u32 v = shared_load<u32>(at);
        scale = byte_permute(v, 0, 0x1010);
        zero = byte_permute(v, 0, 0x3232);
        high_zero = (zero & 0x00ff00ff) << 4 | 0x54005400;
    }
};

// s(q - Z) of two codes: 1024 + q is exact in a half, so is the difference, and the product is rounded once.
DIT_DEVICE u32 dequantize8(u32 codes, u32 selector, const column_scale& c) {
    return half2_multiply(half2_subtract(byte_permute(codes, 0x64646464, selector), c.zero), c.scale);
}
DIT_DEVICE u32 dequantize4_low(u32 codes, const column_scale& c) { return half2_multiply(half2_subtract((codes & 0x000f000f) | 0x64006400, c.zero), c.scale); }
DIT_DEVICE u32 dequantize4_high(u32 codes, const column_scale& c) { return half2_multiply(half2_subtract((codes & 0x00f000f0) | 0x54005400, c.high_zero), c.scale); }

// Two k steps of one n8 tile.
DIT_DEVICE void dequantize(u32 first, u32 second, const column_scale& c, u32 (&b)[2][2]) {
    if constexpr (FORMAT == kW4A16) {
        b[0][0] = dequantize4_low(first, c), b[0][1] = dequantize4_high(first, c);
        b[1][0] = dequantize4_low(first >> 8, c), b[1][1] = dequantize4_high(first >> 8, c);
    } else {
        b[0][0] = dequantize8(first, 0x4140, c), b[0][1] = dequantize8(first, 0x4342, c);
        b[1][0] = dequantize8(second, 0x4140, c), b[1][1] = dequantize8(second, 0x4342, c);
    }
}

DIT_DEVICE void multiply_dequantized(int stage, const warp_place& warp, warp_sums& sums) {
    constexpr int kReadsPerGroup = kReads / kStageGroups;
#pragma unroll
    for (int group = 0; group < kStageGroups; ++group) {
        column_scale scales[kColumnTiles];
#pragma unroll
        for (int j = 0; j < kColumnTiles; ++j) scales[j].load(stage + kColumnScalesAt + (group * TILE_N + warp.record * 16 + j * 8 + warp.lane / 4) * 4);
#pragma unroll
        for (int r = 0; r < kReadsPerGroup; ++r) {
            const int read = group * kReadsPerGroup + r;
            u32 b[kColumnTiles][2][2];
#pragma unroll
            for (int pair = 0; pair < kColumnTiles / 2; ++pair) {
                if constexpr (FORMAT == kW4A16) {
                    const u32x2 v = load_fragment<u32x2>(stage, warp, pair, read);
                    dequantize(v.x, 0, scales[2 * pair], b[2 * pair]);
                    dequantize(v.y, 0, scales[2 * pair + 1], b[2 * pair + 1]);
                } else {
                    const u32x4 v = load_fragment<u32x4>(stage, warp, pair, read);
                    dequantize(v.x, v.z, scales[2 * pair], b[2 * pair]);
                    dequantize(v.y, v.w, scales[2 * pair + 1], b[2 * pair + 1]);
                }
            }
#pragma unroll
            for (int half = 0; half < 2; ++half)
#pragma unroll
                for (int i = 0; i < kRowTiles; ++i) {
                    u32 a[4];
                    load_rows(stage, warp, i, 2 * read + half, a);
#pragma unroll
                    for (int j = 0; j < kColumnTiles; ++j) mma_f16(sums[i][j], a, b[j][half][0], b[j][half][1]);
                }
        }
    }
}
