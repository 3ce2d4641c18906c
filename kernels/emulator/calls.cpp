// The functions of ptx_emulated.h. Compiled as part of runtime.cpp.
#include "emulator/block.h"

using emulator::current_runner;
using emulator::meeting;
using emulator::warp;

extern "C" {
__thread emulator::thread_view* dit_current_thread;

void dit_emulator_global(const void* p, u32 size, bool write, DIT_SITE) { current_runner->global(p, size, write, file, line); }
void* dit_emulator_shared(u32 offset, u32 size, bool write, DIT_SITE) { return current_runner->shared(offset, size, write, file, line); }
void dit_emulator_cp_async(u32 offset, const void* source, bool valid, DIT_SITE) { current_runner->begin_copy(offset, source, valid, file, line); }
void dit_emulator_cp_async_commit() { current_runner->commit(); }
void dit_emulator_cp_async_wait(u32 pending) { current_runner->wait(pending); }
void dit_emulator_block_sync(DIT_SITE) { current_runner->block_sync(file, line); }
void dit_emulator_warp_sync(DIT_SITE) {
    current_runner->meet(meeting::warp_sync, 0, file, line, [](warp& w) { w.barriers++; });
}

u64 dit_emulator_shuffle(u64 bits, u32 operand, emulator::shuffle_kind kind, DIT_SITE) {
    emulator::block_runner& runner = *current_runner;
    warp& w = *runner.self().home;
    const u32 lane = runner.self().lane;
    w.value[lane] = bits;
    w.operand[lane] = operand;
    runner.meet(meeting::shuffle, kind, file, line, [kind](warp& all) {
        u64 given[32];
        std::memcpy(given, all.value, sizeof given);
        for (u32 i = 0; i < 32; i++) {
            const u32 o = all.operand[i];
            const u32 from = kind == emulator::kShuffleIndexed ? o & 31 : kind == emulator::kShuffleXor ? i ^ o : i + o;
            all.value[i] = given[from < 32 ? from : i];
        }
    });
    return w.value[lane];
}

u32 dit_emulator_vote(bool predicate, emulator::vote_kind kind, DIT_SITE) {
    emulator::block_runner& runner = *current_runner;
    warp& w = *runner.self().home;
    const u32 lane = runner.self().lane;
    w.value[lane] = predicate;
    runner.meet(meeting::vote, kind, file, line, [kind](warp& all) {
        u32 ballot = 0;
        for (u32 i = 0; i < 32; i++) ballot |= static_cast<u32>(all.value[i]) << i;
        const u32 result = kind == emulator::kVoteBallot ? ballot : kind == emulator::kVoteAny ? ballot != 0 : ballot == 0xffffffffu;
        for (u64& v : all.value) v = result;
    });
    return static_cast<u32>(w.value[lane]);
}

void dit_emulator_ldmatrix(u32 offset, u32* r, u32 count, bool transposed, DIT_SITE) {
    emulator::block_runner& runner = *current_runner;
    emulator::fiber& me = runner.self();
    warp& w = *me.home;
    if (me.lane < 8 * count) runner.matrix_row(offset, file, line);
    w.operand[me.lane] = offset;
    runner.meet(meeting::ldmatrix, 2 * count + transposed, file, line, [&runner, count, transposed](warp& all) {
        for (u32 j = 0; j < count; j++) {
            const u8* rows[8];
            for (u32 i = 0; i < 8; i++) rows[i] = runner.memory.at(all.operand[8 * j + i]);
            emulator::load_matrix(rows, transposed, all.d[j]);
        }
    });
    for (u32 j = 0; j < count; j++) r[j] = w.d[j][me.lane];
}
}

namespace {
template <class Body> void multiply(void* d, const u32* a, u32 b0, u32 b1, meeting what, u32 variant, DIT_SITE, Body body) {
    emulator::block_runner& runner = *current_runner;
    emulator::fiber& me = runner.self();
    warp& w = *me.home;
    u32 sums[4];
    std::memcpy(sums, d, 16);
    for (u32 i = 0; i < 4; i++) {
        w.a[i][me.lane] = a[i];
        w.d[i][me.lane] = sums[i];
    }
    w.b[0][me.lane] = b0;
    w.b[1][me.lane] = b1;
    runner.meet(what, variant, file, line, body);
    for (u32 i = 0; i < 4; i++) sums[i] = w.d[i][me.lane];
    std::memcpy(d, sums, 16);
}
}  // namespace

extern "C" {
void dit_emulator_mma_f16(f32* d, const u32* a, u32 b0, u32 b1, DIT_SITE) {
    multiply(d, a, b0, b1, meeting::mma_f16, 0, file, line, [](warp& w) { emulator::multiply_f16(w.a, w.b, w.d); });
}
void dit_emulator_mma_integer(s32* d, const u32* a, u32 b0, u32 b1, bool a_signed, bool b_signed, DIT_SITE) {
    multiply(d, a, b0, b1, meeting::mma_integer, 2 * a_signed + b_signed, file, line, [a_signed, b_signed](warp& w) {
        if (a_signed)
            emulator::multiply_bytes<s8, s8>(w.a, w.b, w.d);
        else if (b_signed)
            emulator::multiply_bytes<u8, s8>(w.a, w.b, w.d);
        else
            emulator::multiply_bytes<u8, u8>(w.a, w.b, w.d);
    });
}
}
