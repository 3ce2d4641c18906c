// y = x W^T + b and an epilogue: the linear layers of the model.
//
// f16        y = sum_k x w                                          fp32 sums
// w8a8 w4a8  y = sum_g s_a s_w (sum q_a q_w) + sum_g (m b + z c)    the integer sums exact, groups in ascending order
// w8a16 w4a16  y = sum_k x h(s (q - Z))                             the weight rounded to f16 as it is read
// lookup a16   y = s sum_k x C                                      codewords C of halves, a row scale s
// lookup a8    y = s t (sum_g s_a sum q_a q_C + sum_g z c)          codewords t q_C of bytes with signs; c = -sum q_C
//
// The zero points cost nothing in the main loop: what they contribute is an f16 product of depth 6G that comes first (abi/activation.h,
// abi/weight.h). Layouts: rows of x as they lie in memory, through cp.async and ldmatrix; W in fragment order (abi/weight.h), 16 or 8
// bytes a lane for two n8 tiles. A stage of STAGES is KSTEPS k steps of 32 bytes; one barrier a stage.
// An output row depends on its own input row alone and its sums run along K in one fixed order: TILE_M, TILE_N, WARPS_* and STAGES
// do not change a bit, KSTEPS follows from the format and the group.
//
// Bound: operations. A k step of a 64x48 warp tile is 24 IMMA.16832 (196,608 operations each of 8,192) against 4 LDSM.x4, 3 LDS.128 and,
// with groups of 128, 72 of promotion. Compared with: cuBLASLt fp16 on the same shape.
#include "gemm/epilogue.cuh"
#include "gemm/stage_copy.cuh"
#include "gemm/stage_product.cuh"

// The tile a block computes, and the stages it passes through: those of the corrections, which have negative numbers, then those of
// the codes from 0 on.
struct tile_walk {
    const dit_gemm& args;
    int first_row, last_row, first_record;  // the last row that exists is counted from the first
    int correction_stages, code_stages;

    DIT_DEVICE explicit tile_walk(const dit_gemm& a) : args(a), first_row(static_cast<int>(block_y()) * TILE_M), first_record(static_cast<int>(block_x()) * kRecords) {
        last_row = args.rows - 1 - first_row;
        correction_stages = 0;
        if constexpr (kInteger) correction_stages = (args.weight.correction_steps + kCorrectionReads - 1) / kCorrectionReads;
        code_stages = (args.weight.steps + kReads - 1) / kReads;
    }

    DIT_DEVICE int first_group(int code_stage) const { return kWholeGroups ? code_stage * kStageGroups : GROUP == 0 ? 0 : code_stage / kGroupStages; }

    DIT_DEVICE void copy_corrections(int at, int stage) const {
        if constexpr (kInteger) {
            typedef row_copy<kCorrectionReads> copy;
            const int byte = static_cast<int>(stage * (kCorrectionReads * kStepBytes) + copy::column()), stride = args.weight.correction_steps * kStepBytes;
            copy::run(at, reinterpret_cast<const u8*>(args.input_corrections) + static_cast<long long>(first_row) * stride + byte, stride, last_row, byte < stride);
            fragment_copy<kCorrectionReads, 16>::run(at + kFragmentsAt, args.weight, args.weight.corrections_at, first_record, stage * kCorrectionReads,
                                                     args.weight.correction_steps);
        }
    }

    DIT_DEVICE void copy_codes(int at, int stage) const {
        typedef row_copy<KSTEPS> copy;
        int byte = static_cast<int>(stage * (KSTEPS * kStepBytes) + copy::column());
        bool valid = byte < args.input_stride;
        if constexpr (!kInteger) {
            // Halves lie without gaps: pieces of the padding between groups are zero, the others move up.
            const int value = byte / 2, group = GROUP == 0 || !kWeightOnly ? 0 : value / (GROUP == 0 ? 1 : kGroupPitch);
            const int offset = value - group * kGroupPitch, k = group * GROUP + offset;
            valid = k < args.weight.inputs && (GROUP == 0 || !kWeightOnly || offset < GROUP);
            byte = 2 * k;
        }
        copy::run(at, args.input + static_cast<long long>(static_cast<int>(recomputed(first_row))) * args.input_stride + byte, args.input_stride, last_row, valid);
        fragment_copy<kReads, kLaneBytes>::run(at + kFragmentsAt, args.weight, 0, first_record, stage * kReads, args.weight.steps);
        if constexpr (kStageBooks) copy_stage_books<kStageBookBytes>(at + kBooksAt, args.weight, stage);
        if constexpr (kGroupScales) copy_column_scales(at + kColumnScalesAt, args.weight, first_record, first_group(stage));
    }

    // past_corrections: whether the stage is known to be none of theirs.
    template <bool past_corrections> DIT_DEVICE void copy(int at, int stage) const {
        if (!past_corrections && stage < 0)
            copy_corrections(at, stage + correction_stages);
        else if (stage < code_stages)
            copy_codes(at, stage);
        cp_async_commit();
    }

    DIT_DEVICE bool has_codes(int stage) const { return stage >= 0 && stage < code_stages; }
};

// Stages go round in STAGES places of shared memory: while one is computed, that of STAGES - 1 later is copied to where the last one was.
struct stage_ring {
    const tile_walk& walk;
    row_scales& rows;
    int stage;
    int place = kStagesAt, filled = kStagesAt + (STAGES - 1) * kStageBytes;

    DIT_DEVICE stage_ring(const tile_walk& w, row_scales& r) : walk(w), rows(r), stage(-w.correction_stages) {}

    // Where the stage lies, whose copies have arrived for all threads; all are done with the one before it.
    template <bool past_corrections> DIT_DEVICE int begin() {
        cp_async_wait<STAGES - 2>();
        block_sync();
        walk.copy<past_corrections>(filled, stage + STAGES - 1);
        if (has_rows()) rows.load(walk.args, walk.first_row, walk.first_group(stage + STAGES - 1));
        return place;
    }

    DIT_DEVICE void end() {
        if (has_rows()) rows.store(filled + kRowScalesAt);
        place = next(place), filled = next(filled), ++stage;
    }

    DIT_DEVICE bool has_rows() const { return kInteger && walk.has_codes(stage + STAGES - 1); }
    DIT_DEVICE static int next(int at) { return at == kStagesAt + (STAGES - 1) * kStageBytes ? kStagesAt : at + kStageBytes; }
};

DIT_KERNEL(gemm_kernel, dit_gemm, kThreads) {
    const tile_walk walk(args);
    const warp_place warp(args);
    const book_places books(args.weight, walk.first_record, warp);
    warp_sums sums = {};
    [[maybe_unused]] row_scales rows;

    // One copy of the books arrives with the first stage; several are stored while stages are on their way.
    if constexpr (kLookup && !kStageBooks && BOOK_COPIES == 1) copy_tile_books<BOOK_COPIES>(args.weight, walk.first_record);
    for (int place = 0; place < STAGES - 1; ++place) {
        const int stage = place - walk.correction_stages, at = kStagesAt + place * kStageBytes;
        walk.copy<!kInteger>(at, stage);
        if constexpr (kInteger) {
            if (walk.has_codes(stage)) {
                rows.load(args, walk.first_row, walk.first_group(stage));
                rows.store(at + kRowScalesAt);
            }
        }
    }
    if constexpr (kLookup && !kStageBooks && BOOK_COPIES > 1) copy_tile_books<BOOK_COPIES>(args.weight, walk.first_record);

    stage_ring ring(walk, rows);
    if constexpr (kInteger) {
        while (ring.stage < 0) {
            const int at = ring.begin<false>();
            multiply_halves<kCorrectionReads>(at, warp, sums);
            ring.end();
        }
    }
    if constexpr (kInteger && !kWholeGroups) {
        s32 integers[kRowTiles][kColumnTiles][4];
#pragma unroll
        for (int i = 0; i < kRowTiles; ++i) clear(integers[i]);
        for (int part = 1; ring.stage < walk.code_stages;) {
            const int at = ring.begin<true>();
            const bool last = GROUP == 0 ? ring.stage == walk.code_stages - 1 : part == kGroupStages;
            multiply_part_of_group(at, warp, books, integers, last, sums);
            part = last ? 1 : part + 1;
            ring.end();
        }
    } else {
        do {
            const int at = ring.begin<true>();
            if constexpr (kInteger)
                multiply_whole_groups(at, warp, books, sums);
            else if constexpr (kLookup)
                multiply_codewords(at, warp, books, sums);
            else if constexpr (kWeightOnly)
                multiply_dequantized(at, warp, sums);
            else
                multiply_halves<KSTEPS>(at, warp, sums);
            ring.end();
        } while (ring.stage < walk.code_stages);
    }

    cp_async_wait<0>();
#pragma unroll
    for (int slice = 0; slice < kRowTiles; ++slice) {
        block_sync();
        const int at = (warp.row / kRowTiles + warp.lane / 4) * kSlicePitch + (warp.record * 16 + warp.lane % 4 * 2) * 4;
#pragma unroll
        for (int j = 0; j < kColumnTiles; ++j) {
            shared_store(at + j * 32, f32x2{sums[slice][j][0], sums[slice][j][1]});
            shared_store(at + 8 * kSlicePitch + j * 32, f32x2{sums[slice][j][2], sums[slice][j][3]});
        }
        block_sync();
        finish_slice(args, slice, walk.first_row, walk.first_record * 16);
    }
}
