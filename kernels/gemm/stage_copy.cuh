// From global memory into a stage, 16 bytes a thread at a time. Rows beyond the last are copies of the last (their products are
// never stored); what lies beyond K or N is zero.
#pragma once

#include "gemm/configuration.cuh"

// `steps` k steps of TILE_M rows. A thread keeps its column, so that only the row changes from one copy to the next.
template <int steps> struct row_copy {
    static constexpr u32 kChunks = 2 * steps;
    static constexpr u32 kRowsAtOnce = kThreads / kChunks;
    static constexpr u32 kPasses = (TILE_M + kRowsAtOnce - 1) / kRowsAtOnce;

    DIT_DEVICE static u32 column() { return recomputed(thread_index()) % kChunks * 16; }

    // source: this thread's column of the tile's first row; last_row: the last that exists, counted from there.
    DIT_DEVICE static void run(u32 at, const u8* source, u32 stride, u32 last_row, bool valid) {
        const u32 row = recomputed(thread_index()) / kChunks;
        const bool active = kThreads % kChunks == 0 || row < kRowsAtOnce;
#pragma unroll
        for (u32 pass = 0; pass < kPasses; ++pass) {
            const u32 r = row + pass * kRowsAtOnce;
            const u32 existing = r < last_row ? r : last_row;
            if (active && (TILE_M % kRowsAtOnce == 0 || r < TILE_M)) cp_async_16(at + r * kRowPitch + column(), source + existing * stride, valid);
        }
    }
};

// `reads` B steps of kRecords records, as they lie: 32 lanes of lane_bytes each.
template <int reads, int lane_bytes> struct fragment_copy {
    static constexpr u32 kChunks = 2 * lane_bytes;  // of a record's step
    static constexpr u32 kPasses = (kRecords * kChunks + kThreads - 1) / kThreads;

    DIT_DEVICE static void run(u32 at, const dit_weight& weight, int section, int first_record, int first_read, int read_count) {
        const u8* records =
            weight.records + static_cast<long long>(static_cast<int>(recomputed(first_record))) * weight.record_bytes + (section + first_read * (32 * lane_bytes));
#pragma unroll
        for (u32 pass = 0; pass < kPasses; ++pass) {
            const u32 chunk = recomputed(thread_index()) + pass * kThreads, record = chunk / kChunks;
            const u8* source = records + (record * weight.record_bytes + chunk % kChunks * 16);
            const bool inside = first_record + record < static_cast<u32>(weight.record_count);
            if (kRecords * kChunks % kThreads == 0 || chunk < kRecords * kChunks) {
#pragma unroll
                for (int read = 0; read < reads; ++read)
                    cp_async_16(at + (read * kRecords * kChunks + chunk) * 16, source + read * (32 * lane_bytes), inside && first_read + read < read_count);
            }
        }
    }
};

// The scales of kStageGroups groups for the tile's columns: 4 bytes each, [group][column].
DIT_DEVICE void copy_column_scales(u32 at, const dit_weight& weight, int first_record, int first_group) {
    constexpr u32 kChunks = kStageGroups * kRecords * 4;
    const u8* records = weight.records + static_cast<long long>(static_cast<int>(recomputed(first_record))) * weight.record_bytes + weight.scales_at;
#pragma unroll
    for (u32 pass = 0; pass < (kChunks + kThreads - 1) / kThreads; ++pass) {
        const u32 chunk = recomputed(thread_index()) + pass * kThreads;
        const u32 group = first_group + chunk / (kRecords * 4), record = chunk / 4 % kRecords;
        const u8* source = records + (record * weight.record_bytes + group * 64 + chunk % 4 * 16);
        if (chunk < kChunks)
            cp_async_16(at + chunk * 16, source, first_record + record < static_cast<u32>(weight.record_count) && group < static_cast<u32>(weight.group_count));
    }
}

// Codebooks of the stage's positions along K, as they lie.
template <int bytes> DIT_DEVICE void copy_stage_books(u32 at, const dit_weight& weight, int stage) {
    const u32 last = static_cast<u32>(weight.book_count) * (kBookBytes / 16), first = static_cast<u32>(stage) * (bytes / 16);
    for (u32 chunk = recomputed(thread_index()); chunk < bytes / 16; chunk += kThreads)
        cp_async_16(at + chunk * 16, weight.books + static_cast<long long>(first + chunk) * 16, first + chunk < last);
}

// The scales of the tile's rows lie G apart, too narrow for asynchronous copies: they wait in registers while a stage is computed.
// Integer sums of codebook weights, and what corrects them, are taken in units of 2^8, so that sums of codes fit the corrections' halves
// whatever the group; the scales of the columns are larger by as much.
constexpr f32 kIntegerUnit = 1.0f / 256.0f;

struct row_scales {
    static constexpr int kCount = kStageGroups * TILE_M;
    static constexpr int kPasses = (kCount + kThreads - 1) / kThreads;
    f32 value[kPasses];

    DIT_DEVICE void load(const dit_gemm& args, int first_row, int first_group) {
#pragma unroll
        for (int pass = 0; pass < kPasses; ++pass) {
            const int index = static_cast<int>(recomputed(thread_index())) + pass * kThreads;
            const int row = first_row + index % TILE_M, group = first_group + index / TILE_M;
            const int last_row = args.rows - 1, last_group = args.weight.group_count - 1;
            value[pass] = global_load_readonly(args.input_scales + static_cast<long long>(row < last_row ? row : last_row) * args.weight.group_count +
                                               (group < last_group ? group : last_group));
        }
    }

    DIT_DEVICE void store(u32 at) const {
#pragma unroll
        for (int pass = 0; pass < kPasses; ++pass) {
            const int index = static_cast<int>(recomputed(thread_index())) + pass * kThreads;
            if (kCount % kThreads == 0 || index < kCount) shared_store(at + index * 4, kLookup ? value[pass] * kIntegerUnit : value[pass]);
        }
    }
};
