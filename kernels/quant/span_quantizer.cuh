// Quantizes whole groups of a row that one warp holds in registers.
//
// The span is cut into units of 8 adjacent values (4 where the group size asks for it); unit u lies with lane u % 32, so that a warp
// loads and stores 32 adjacent units at once whatever the group size. A group then lies across lanes in no regular way: the extremes
// of each unit go through shared memory, a team of lanes gathers those of one group, and the range goes back the same way.
#pragma once

#include "common/quantize.cuh"
#include "common/reduce.cuh"

template <class grid, int width, bool is_static> struct span_quantizer {
    static_assert(width % 8 == 0 && (grid::size % 4 == 0), "a span is whole units");
    static constexpr int unit = grid::size % 8 == 0 ? 8 : 4;
    static constexpr int units = width / unit;
    static constexpr int rounds = (units + 31) / 32;

    static constexpr int groups = (width + grid::size - 1) / grid::size;
    static constexpr int group_units = groups == 1 ? units : grid::size / unit;
    // Groups start at odd multiples of 8 bytes, so that teams read different banks.
    static constexpr int pitch = group_units | 1;
    static constexpr int team_of(int lanes) { return lanes * groups <= 32 || lanes == 1 ? lanes : team_of(lanes / 2); }
    static constexpr int team = team_of(32);
    static constexpr int passes = (groups * team + 31) / 32;

    // Shared memory of a warp: {min, max} and later the sum of codes of each unit, {1/s, Z} of each group.
    static constexpr u32 ranges_offset = groups * pitch * 8;
    static constexpr u32 scratch_bytes = ranges_offset + groups * 8;

    // Quantizes groups first_group.. of a row: value(round, i) is value i of this lane's unit of that round, read for units below
    // unit_count. All lanes of the warp take part.
    template <class Value> DIT_DEVICE static void run(const dit_activation& target, long long row, int first_group, u32 unit_count, u32 scratch, Value value) {
        const u32 lane = lane_index();
        quantization_range ranges[passes];
        warp_sync();
        if constexpr (!is_static) {
            f32 low = 0.0f, high = 0.0f;
#pragma unroll
            for (int r = 0; r < rounds; r++) {
                const u32 u = 32 * r + lane;
                if (u >= unit_count) continue;
                if constexpr (groups > 1) low = high = 0.0f;
#pragma unroll
                for (int i = 0; i < unit; i++) {
                    low = minimum(low, value(r, i));
                    high = maximum(high, value(r, i));
                }
                if constexpr (groups > 1) shared_store(unit_slot(scratch, r), f32x2{low, high});
            }
            if constexpr (groups == 1) ranges[0] = range_of(team_minimum<32>(low), team_maximum<32>(high));
        }
        if constexpr (groups > 1 && !is_static) {
            warp_sync();
#pragma unroll
            for (int p = 0; p < passes; p++) {
                f32 low = 0.0f, high = 0.0f;
                for_each_unit(p, unit_count, scratch, [&](u32 slot) {
                    const f32x2 extremes = shared_load<f32x2>(slot);
                    low = minimum(low, extremes.x);
                    high = maximum(high, extremes.y);
                });
                ranges[p] = range_of(team_minimum<team>(low), team_maximum<team>(high));
            }
        }
        if constexpr (is_static) {
#pragma unroll
            for (int p = 0; p < passes; p++) {
                const u32 group = (32 * p + lane) / team;
                ranges[p] = static_range(target, first_group + static_cast<int>(group * group_units < unit_count ? group : 0));
            }
        }
        if constexpr (groups > 1) {
#pragma unroll
            for (int p = 0; p < passes; p++) {
                const u32 group = (32 * p + lane) / team;
                if (lane % team == 0 && group < groups) shared_store(scratch + ranges_offset + 8 * group, f32x2{ranges[p].inverse, ranges[p].zero});
            }
            warp_sync();
        }

        u8* codes = target.codes + row * grid::code_stride + first_group * grid::pitch + lane * unit;
        u32 sum = 0;
#pragma unroll
        for (int r = 0; r < rounds; r++) {
            const u32 u = 32 * r + lane;
            if (u >= unit_count) continue;
            const u32 group = group_of(r);
            quantization_range range = ranges[0];
            if constexpr (groups > 1) {
                const f32x2 shared = shared_load<f32x2>(scratch + ranges_offset + 8 * group);
                range.inverse = shared.x;
                range.zero = shared.y;
            }
            u8* out = codes + 32 * unit * r + group * (grid::pitch - grid::size);
            const u32 first = quantize4(value(r, 0), value(r, 1), value(r, 2), value(r, 3), range);
            sum = dot4_u8(first, 0x01010101, groups > 1 ? 0 : sum);
            if constexpr (unit == 8) {
                const u32 second = quantize4(value(r, 4), value(r, 5), value(r, 6), value(r, 7), range);
                sum = dot4_u8(second, 0x01010101, sum);
                global_store(reinterpret_cast<u32x2*>(out), u32x2{first, second});
            } else {
                global_store(reinterpret_cast<u32*>(out), first);
            }
            if constexpr (groups > 1) shared_store(unit_slot(scratch, r), sum);
        }
        if constexpr (groups > 1) warp_sync();
#pragma unroll
        for (int p = 0; p < passes; p++) {
            const u32 group = (32 * p + lane) / team;
            if constexpr (groups > 1) {
                sum = 0;
                for_each_unit(p, unit_count, scratch, [&](u32 slot) { sum += shared_load<u32>(slot); });
            }
            const u32 total = team_sum<team>(sum);
            if (lane % team == 0 && group * group_units < unit_count) store_group<grid>(target, row, first_group + static_cast<int>(group), ranges[p], total);
        }
    }

private:
    // Of this lane's unit of a round; where a round is whole groups, a constant beyond the first.
    DIT_DEVICE static u32 group_of(int round) {
        if constexpr (groups == 1) return 0;
        if constexpr (32 % group_units == 0) return 32 / group_units * round + lane_index() / group_units;
        return (32 * round + lane_index()) / group_units;
    }
    DIT_DEVICE static u32 unit_slot(u32 scratch, int round) { return scratch + 8 * (32 * round + lane_index() + group_of(round) * (pitch - group_units)); }

    // The units of the group that this lane's team works on in a pass; each lane takes every team-th.
    template <class Visit> DIT_DEVICE static void for_each_unit(int pass, u32 unit_count, u32 scratch, Visit visit) {
        const u32 lane = lane_index();
        const u32 group = (32 * pass + lane) / team;
        const u32 end = units_of(group, unit_count);
        const u32 first = scratch + 8 * (group * pitch + lane % team);
        constexpr bool are_equal = !grid::is_ragged && group_units % team == 0;  // shares of the lanes
        if (are_equal && end == 0) return;
#pragma unroll
        for (u32 i = 0; i < group_units; i += team) {
            if (are_equal || i + lane % team < end) visit(first + 8 * i);
        }
    }
    DIT_DEVICE static u32 units_of(u32 group, u32 unit_count) {
        const u32 first = group * group_units;
        if (group >= groups || first >= unit_count) return 0;
        return grid::is_ragged && unit_count - first < group_units ? unit_count - first : group_units;
    }
};
