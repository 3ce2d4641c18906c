// One block at a time on one host thread: its threads are fibers, its warps take turns at block barriers. Within a warp the lanes run
// one after another up to the next point where all 32 meet; the last to arrive does the work for all. The order of warps and lanes is
// drawn anew at every barrier.
#pragma once

#include <vector>

#include "common/ptx.cuh"
#include "emulator/fiber.h"
#include "emulator/global_memory.h"
#include "emulator/matrix.h"
#include "emulator/shared_memory.h"

namespace emulator {

constexpr u32 kMostThreads = 1024, kWarp = 32, kMostWarps = kMostThreads / kWarp;

enum class meeting : u32 { none, block_sync, warp_sync, shuffle, vote, ldmatrix, mma_f16, mma_integer };
constexpr const char* kMeetingNames[] = {"", "block_sync", "warp_sync", "shuffle", "vote", "ldmatrix", "mma_f16", "mma (integer)"};

struct launch {
    void (*entry)(const void*);
    const char* name;
    u32 grid[3];
    u32 threads, shared_bytes;
    u64 seed;
    const void* arguments;
};

struct warp;
struct async_copy {
    u32 offset;
    bool valid;
    const void* source;
};

struct fiber : thread_view {
    fiber_context context;
    warp* home;
    u32 lane;
    const char* file;  // where it waits
    u32 line;
    std::vector<async_copy> copies;  // asynchronous copies not waited for, oldest first
    std::vector<u32> groups;         // how many of them each committed group ends with
};

struct warp {
    u32 index, first;
    u8 order[kWarp];
    u32 position;  // in order: who runs
    u32 arrived, exited, barriers;
    meeting what;
    u32 variant;  // of a meeting: lanes must agree in it
    alignas(64) u32 a[4][kWarp];
    u32 b[2][kWarp], d[4][kWarp];
    u64 value[kWarp];
    u32 operand[kWarp];
};

class block_runner {
public:
    explicit block_runner(const global_memory& memory);
    // Whether there were addresses for its stacks and its shared memory.
    bool valid() const { return stacks_.valid() && memory.valid(); }

    // Runs one block; an empty message where it came to its end.
    std::string run(const launch& what, u32 index, bool checks);

    void global(const void* p, u32 size, bool write, DIT_SITE);
    void* shared(u32 offset, u32 size, bool write, DIT_SITE);
    void matrix_row(u32 offset, DIT_SITE);
    void begin_copy(u32 offset, const void* source, bool valid, DIT_SITE);
    void commit();
    void wait(u32 pending);
    void block_sync(DIT_SITE);
    // Meets the other lanes; the last one to come runs the body, all return afterwards.
    template <class Body> void meet(meeting what, u32 variant, DIT_SITE, Body body);
    [[noreturn]] void fail(const std::string& problem, DIT_SITE);
    fiber& self() const { return static_cast<fiber&>(*dit_current_thread); }
    shared_memory memory;

private:
    static void fiber_body();
    [[noreturn]] void leave();
    void arrive(fiber& me, warp& w, meeting what, u32 variant, DIT_SITE);
    [[noreturn]] void diverge(meeting what, DIT_SITE);
    void resume(fiber& next);
    void next_lane(warp& w) { resume(fibers_[w.first + w.order[++w.position]]); }
    void next_warp();
    void check_shared(hazard found, u64 other, u32 offset, u32 size, bool write, DIT_SITE);
    std::string where(const fiber& at) const;

    const global_memory& global_;
    fiber_stacks stacks_;
    std::vector<fiber> fibers_;
    std::vector<warp> warps_;
    fiber_context main_ = {};
    block_view view_ = {};
    range recent_[kRecentRanges] = {};
    u64 generation_ = 0;
    const launch* launch_ = nullptr;
    random_sequence random_ = {0};
    u32 warp_count_ = 0, order_[kMostWarps] = {}, turn_ = 0, waiting_ = 0, exited_ = 0;
    std::string problem_;
};

inline void block_runner::resume(fiber& next) {
    fiber& me = self();
    if (&next == &me) return;
    dit_current_thread = &next;
    fiber_switch(me.context, next.context);
}

inline void block_runner::arrive(fiber& me, warp& w, meeting what, u32 variant, DIT_SITE) {
    me.file = file;
    me.line = line;
    if (w.arrived == 0) {
        w.what = what;
        w.variant = variant;
    }
    w.arrived++;
    if (__builtin_expect(w.what != what || w.variant != variant || w.exited > 0, false)) diverge(what, file, line);
}

template <class Body> void block_runner::meet(meeting what, u32 variant, DIT_SITE, Body body) {
    fiber& me = self();
    warp& w = *me.home;
    arrive(me, w, what, variant, file, line);
    if (w.arrived < kWarp) return next_lane(w);
    w.arrived = 0;
    body(w);
    // The last becomes the first of the next round; two others change places, so that the order drifts.
    w.position = 0;
    std::swap(w.order[0], w.order[kWarp - 1]);
    const u64 r = random_.next();
    std::swap(w.order[1 + (r & 0xffff) % (kWarp - 1)], w.order[1 + (r >> 16 & 0xffff) % (kWarp - 1)]);
}

}  // namespace emulator
