// Compiled as part of runtime.cpp.
#include "emulator/block.h"

namespace emulator {

static __thread block_runner* current_runner;

block_runner::block_runner(const global_memory& memory) : global_(memory), stacks_(kMostThreads), fibers_(kMostThreads), warps_(kMostWarps) {}

std::string block_runner::run(const launch& what, u32 index, bool checks) {
    if (generation_ != global_.generation()) std::memset(recent_, 0, sizeof recent_);
    generation_ = global_.generation();
    current_runner = this;
    launch_ = &what;
    random_ = {what.seed ^ 0xd1342543de82ef95ull * (index + 1)};
    view_ = {index % what.grid[0], index / what.grid[0] % what.grid[1], index / what.grid[0] / what.grid[1], what.grid[0], recent_};
    memory.begin_block(what.shared_bytes, checks);
    warp_count_ = what.threads / kWarp;
    turn_ = waiting_ = exited_ = 0;
    problem_.clear();
    for (u32 t = 0; t < what.threads; t++) {
        fiber& f = fibers_[t];
        f.index = t;
        f.block = &view_;
        f.home = &warps_[t / kWarp];
        f.lane = t % kWarp;
        f.copies.clear();
        f.groups.clear();
        fiber_prepare(f.context, stacks_.top(t), fiber_stacks::usable(), fiber_body);
    }
    for (u32 i = 0; i < warp_count_; i++) {
        warp& w = warps_[i];
        w.index = i;
        w.first = i * kWarp;
        w.position = w.arrived = w.exited = w.barriers = 0;
        order_[i] = i;
        for (u32 lane = 0; lane < kWarp; lane++) w.order[lane] = static_cast<u8>(lane);
        random_.shuffle(w.order, kWarp);
    }
    random_.shuffle(order_, warp_count_);

    warp& first = warps_[order_[0]];
    fiber& start = fibers_[first.first + first.order[0]];
    dit_current_thread = &start;
    fiber_switch(main_, start.context);
    dit_current_thread = nullptr;
    return problem_;
}

void block_runner::fiber_body() {
    block_runner& runner = *current_runner;
    runner.launch_->entry(runner.launch_->arguments);
    runner.leave();
}

void block_runner::leave() {
    fiber& me = self();
    warp& w = *me.home;
    w.exited++;
    if (w.arrived > 0) {
        const fiber& other = fibers_[w.first + w.order[0]];
        fail(text("exits while thread %u of its warp waits at %s", other.index, where(other).c_str()), nullptr, 0);
    }
    if (w.exited == kWarp) {
        exited_++;
        next_warp();
    } else {
        next_lane(w);
    }
    __builtin_unreachable();
}

void block_runner::diverge(meeting what, DIT_SITE) {
    const warp& w = *self().home;
    const fiber& other = fibers_[w.first + w.order[0]];
    const char* name = kMeetingNames[static_cast<u32>(what)];
    if (w.exited > 0) fail(text("waits at %s for its warp, but thread %u has exited: divergent", name, other.index), file, line);
    fail(text("is at %s while thread %u of its warp waits at %s%s: divergent", name, other.index, where(other).c_str(), w.what == what ? " of another form" : ""), file,
         line);
}

void block_runner::block_sync(DIT_SITE) {
    fiber& me = self();
    warp& w = *me.home;
    arrive(me, w, meeting::block_sync, 0, file, line);
    if (w.arrived < kWarp) return next_lane(w);
    w.arrived = 0;
    w.position = 0;
    waiting_++;
    next_warp();
}

// The next warp that has not come to the barrier yet; behind the last one the barrier opens, or the block ends.
void block_runner::next_warp() {
    if (++turn_ == warp_count_) {
        if (waiting_ == 0) {
            fiber_context gone;
            fiber_switch(gone, main_);
        }
        if (exited_ > 0) {
            for (u32 i = 0; i < warp_count_; i++) {
                if (warps_[i].exited > 0) continue;
                dit_current_thread = &fibers_[warps_[i].first];
                const fiber& me = self();
                fail(text("waits at block_sync, but %u of %u warps have exited: deadlock", exited_, warp_count_), me.file, me.line);
            }
        }
        memory.pass_block_barrier();
        waiting_ = turn_ = 0;
        random_.shuffle(order_, warp_count_);
        for (u32 i = 0; i < warp_count_; i++) random_.shuffle(warps_[i].order, kWarp);
    }
    warp& w = warps_[order_[turn_]];
    resume(fibers_[w.first + w.order[w.position]]);
}

std::string block_runner::where(const fiber& at) const { return text("%s (%s:%u)", kMeetingNames[static_cast<u32>(at.home->what)], at.file, at.line); }

void block_runner::fail(const std::string& problem, DIT_SITE) {
    if (file && file[0] == '.' && file[1] == '/') file += 2;
    problem_ = text("kernel %s, block (%u,%u,%u), thread %u %s", launch_->name, view_.x, view_.y, view_.z, self().index, problem.c_str());
    if (file) problem_ += text(" [%s:%u]", file, line);
    fiber_context abandoned;
    fiber_switch(abandoned, main_);
    __builtin_unreachable();
}

// ---- memory ----

void block_runner::global(const void* p, u32 size, bool write, DIT_SITE) {
    const u64 address = reinterpret_cast<u64>(p);
    const char* verb = write ? "writes" : "reads";
    const range* buffer = global_.find(address, size);
    if (!buffer) {
        if (!p) fail(text("%s %u bytes at a null pointer", verb, size), file, line);
        fail(text("%s %u bytes out of bounds, at %s", verb, size, global_.describe(address).c_str()), file, line);
    }
    if (address % size != 0)
        fail(text("%s %u bytes misaligned, at byte %llu of a buffer of %llu bytes", verb, size, address - buffer->begin, buffer->length), file, line);
    recent_[(address >> 12) % kRecentRanges] = *buffer;
}

void* block_runner::shared(u32 offset, u32 size, bool write, DIT_SITE) {
    u64 other = 0;
    hazard found = memory.locate(offset, size);
    if (found == hazard::none) {
        const fiber& me = self();
        const u64 mine = memory.mark(me.index, me.home->barriers);
        found = write ? memory.write(offset, size, mine, other) : memory.read(offset, size, mine, other);
    }
    if (__builtin_expect(found != hazard::none, false)) check_shared(found, other, offset, size, write, file, line);
    return memory.at(offset);
}

void block_runner::check_shared(hazard found, u64 other, u32 offset, u32 size, bool write, DIT_SITE) {
    const u32 thread = shared_memory::thread_of(other);
    const std::string what = text("%s %u bytes of shared memory at %u", write ? "writes" : "reads", size, offset);
    const char* barrier = thread / kWarp == self().index / kWarp ? "warp_sync or block_sync" : "block_sync";
    std::string why;
    switch (found) {
        case hazard::none:
            return;
        case hazard::outside:
            why = text("out of bounds: the block has %u", memory.size());
            break;
        case hazard::misaligned:
            why = "misaligned";
            break;
        case hazard::unwritten:
            why = "that no thread has written yet";
            break;
        case hazard::in_flight:
            why = text("where a cp.async of thread %u has not been waited for", thread);
            break;
        case hazard::read_after_write:
            why = text("that thread %u wrote, with no %s since: race", thread, barrier);
            break;
        case hazard::write_after_write:
            why = text("that thread %u wrote too, with no %s between: race", thread, barrier);
            break;
        case hazard::write_after_read:
            why = text("that thread %u read, with no %s between: race", thread, barrier);
            break;
    }
    fail(what + " " + why, file, line);
}

void block_runner::matrix_row(u32 offset, DIT_SITE) {
    u64 other = 0;
    const fiber& me = self();
    hazard found = memory.locate(offset, 16);
    if (found == hazard::none) found = memory.read(offset, 16, memory.mark(me.index, me.home->barriers, true), other);
    if (__builtin_expect(found != hazard::none, false)) check_shared(found, other, offset, 16, false, file, line);
}

void block_runner::begin_copy(u32 offset, const void* source, bool valid, DIT_SITE) {
    fiber& me = self();
    if (valid) {
        const u64 address = reinterpret_cast<u64>(source);
        const range& near = recent_[(address >> 12) % kRecentRanges];
        if (address - near.begin >= near.length || address - near.begin > near.length - 16 || address % 16 != 0) global(source, 16, false, file, line);
    }
    u64 other = 0;
    hazard found = memory.locate(offset, 16);
    if (found == hazard::none) found = memory.begin_copy(offset, memory.mark(me.index, me.home->barriers), other);
    if (found != hazard::none) check_shared(found, other, offset, 16, true, file, line);
    me.copies.push_back({offset, valid, source});
}

void block_runner::commit() {
    fiber& me = self();
    me.groups.push_back(static_cast<u32>(me.copies.size()));
}

void block_runner::wait(u32 pending) {
    fiber& me = self();
    if (me.groups.size() <= pending) return;
    const size_t finished = me.groups.size() - pending;
    const u32 count = me.groups[finished - 1];
    const u64 mine = memory.mark(me.index, me.home->barriers);
    static const u32 zeros[4] = {};
    for (u32 i = 0; i < count; i++) memory.end_copy(me.copies[i].offset, me.copies[i].valid ? me.copies[i].source : zeros, mine);
    me.copies.erase(me.copies.begin(), me.copies.begin() + count);
    me.groups.erase(me.groups.begin(), me.groups.begin() + static_cast<std::ptrdiff_t>(finished));
    for (u32& end : me.groups) end -= count;
}

}  // namespace emulator
