// From global memory into a stage, 16 bytes a thread at a time. Rows beyond the last are copies of the last (their products are
// never stored); what lies beyond K or N is zero.
#pragma once

#include "gemm/configuration.cuh"

// `steps` k steps of TILE_M rows. A thread keeps its column, so that only the row changes from one copy to the next.
template <int steps> struct row_copy {
    static constexpr int kChunks = 2 * steps;
    static constexpr int kRowsAtOnce = kThreads / kChunks;
    static constexpr int kPasses = (TILE_M + kRowsAtOnce - 1) / kRowsAtOnce;

    DIT_DEVICE static int column() { return static_cast<int>(thread_index()) % kChunks * 16; }

    // source: this thread's column of row 0.
    DIT_DEVICE static void run(u32 at, const u8* source, int stride, int first_row, int last_row, bool valid) {
        const int row = static_cast<int>(thread_index()) / kChunks;
        const bool active = kThreads % kChunks == 0 || row < kRowsAtOnce;
#pragma unroll
        for (int pass = 0; pass < kPasses; ++pass) {
            const int r = row + pass * kRowsAtOnce;
            const int global_row = first_row + r < last_row ? first_row + r : last_row;
            if (active && (TILE_M % kRowsAtOnce == 0 || r < TILE_M))
                cp_async_16(at + r * kRowPitch + column(), source + static_cast<long long>(global_row) * stride, valid);
        }
    }
};

// `reads` B steps of kRecords records, as they lie: 32 lanes of lane_bytes each.
template <int reads, int lane_bytes> struct fragment_copy {
    static constexpr int kChunks = 2 * lane_bytes;  // of a record's step
    static constexpr int kPasses = (kRecords * kChunks + kThreads - 1) / kThreads;

    DIT_DEVICE static void run(u32 at, const dit_weight& weight, int section, int first_record, int first_read, int read_count) {
#pragma unroll
        for (int pass = 0; pass < kPasses; ++pass) {
            const int chunk = static_cast<int>(thread_index()) + pass * kThreads;
            const int record = first_record + chunk / kChunks;
            const u8* source = weight.records + static_cast<long long>(record) * weight.record_bytes + section
                               + first_read * (32 * lane_bytes) + chunk % kChunks * 16;
            const bool inside = record < weight.record_count;
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
    constexpr int kChunks = kStageGroups * kRecords * 4;
#pragma unroll
    for (int pass = 0; pass < (kChunks + kThreads - 1) / kThreads; ++pass) {
        const int chunk = static_cast<int>(thread_index()) + pass * kThreads;
        const int group = first_group + chunk / (kRecords * 4), record = first_record + chunk / 4 % kRecords;
        const u8* source = weight.records + static_cast<long long>(record) * weight.record_bytes + weight.scales_at + group * 64 + chunk % 4 * 16;
        if (chunk < kChunks) cp_async_16(at + chunk * 16, source, record < weight.record_count && group < weight.group_count);
    }
}

// The scales of the tile's rows lie G apart, too narrow for asynchronous copies: they wait in registers while a stage is computed.
struct row_scales {
    static constexpr int kCount = kStageGroups * TILE_M;
    static constexpr int kPasses = (kCount + kThreads - 1) / kThreads;
    f32 value[kPasses];

    DIT_DEVICE void load(const dit_gemm& args, int first_row, int first_group) {
#pragma unroll
        for (int pass = 0; pass < kPasses; ++pass) {
            const int index = static_cast<int>(thread_index()) + pass * kThreads;
            const int row = first_row + index % TILE_M, group = first_group + index / TILE_M;
            const int last_row = args.rows - 1, last_group = args.weight.group_count - 1;
            value[pass] = global_load_readonly(args.input_scales + static_cast<long long>(row < last_row ? row : last_row) * args.weight.group_count
                                               + (group < last_group ? group : last_group));
        }
    }

    DIT_DEVICE void store(u32 at) const {
#pragma unroll
        for (int pass = 0; pass < kPasses; ++pass) {
            const int index = static_cast<int>(thread_index()) + pass * kThreads;
            if (kCount % kThreads == 0 || index < kCount) shared_store(at + index * 4, value[pass]);
        }
    }
};
