// A block's shared memory, and for every four bytes of it who wrote them last and who read them since, with the barriers each had
// passed: enough to say of any access whether a barrier stands between it and those before it.
//
// A mark is one number:  pending or many: 1 bit | block barriers passed: 30 | several lanes: 1 | warp barriers passed: 22 | thread: 10
// Marks of earlier barriers of the block are smaller than any mark since, so the usual check is one comparison; barriers are counted
// on from block to block, so that what an earlier block wrote looks unwritten without clearing anything. A word that threads touched
// in parts has marks for its four bytes instead.
#pragma once

#include <sys/mman.h>

#include <cstring>

#include "abi/types.h"

namespace emulator {

enum class hazard { none, outside, misaligned, unwritten, in_flight, read_after_write, write_after_write, write_after_read };

class shared_memory {
public:
    static constexpr u32 kCapacity = 227 << 10;
    static constexpr u32 kPoison = 0x7ffe7ffe, kPoisonInFlight = 0x7ffd7ffd;  // no number as f32, and twice none as f16

    shared_memory() {
        bytes_ = static_cast<u8*>(map(kCapacity));
        words_ = static_cast<marks*>(map(kCapacity / 4 * sizeof(marks)));
        parts_ = static_cast<marks*>(map(kCapacity * sizeof(marks)));
    }
    ~shared_memory() {
        munmap(bytes_, kCapacity);
        munmap(words_, kCapacity / 4 * sizeof(marks));
        munmap(parts_, kCapacity * sizeof(marks));
    }
    shared_memory(const shared_memory&) = delete;
    shared_memory& operator=(const shared_memory&) = delete;

    bool valid() const { return bytes_ != MAP_FAILED && words_ != MAP_FAILED && parts_ != MAP_FAILED; }

    // A new block: everything poisoned and unwritten.
    void begin_block(u32 size, bool checks) {
        size_ = size;
        checks_ = checks;
        for (u32 i = 0; i + 4 <= size; i += 4) std::memcpy(bytes_ + i, &kPoison, 4);
        if (now_ > kWritten / 2) {
            std::memset(words_, 0, kCapacity / 4 * sizeof(marks));
            std::memset(parts_, 0, kCapacity * sizeof(marks));
            now_ = 0;
        }
        pass_block_barrier();
        first_ = now_;
    }
    void pass_block_barrier() { now_ += kBlockBarrier; }

    u8* at(u32 offset) { return bytes_ + offset; }
    u32 size() const { return size_; }

    // The mark of a thread now. A matrix load reads for the whole warp: then no lane is the reader alone.
    u64 mark(u32 thread, u32 warp_barriers, bool whole_warp = false) const {
        return now_ | (whole_warp ? kLanes : 0) | static_cast<u64>(warp_barriers % kWarpBarriers) << 10 | thread;
    }
    static u32 thread_of(u64 mark) { return static_cast<u32>(mark & 1023); }

    hazard locate(u32 offset, u32 size) const {
        if (size > size_ || offset > size_ - size) return hazard::outside;
        return (offset & (size - 1)) == 0 ? hazard::none : hazard::misaligned;
    }

    hazard read(u32 offset, u32 size, u64 mine, u64& other) {
        if (!checks_ || (size == 16 ? quick_read<4>(offset, mine) : size == 4 ? quick_read<1>(offset, mine) : false)) return hazard::none;
        return each(offset, size, [&](marks& m) { return read(m, mine, other); });
    }
    hazard write(u32 offset, u32 size, u64 mine, u64& other) {
        if (!checks_ || (size == 16 ? quick_write<4>(offset, mine) : size == 4 ? quick_write<1>(offset, mine) : false)) return hazard::none;
        return each(offset, size, [&](marks& m) { return write(m, mine, mine, other); });
    }
    // An asynchronous copy begins: it may write from now on, and no one may look.
    hazard begin_copy(u32 offset, u64 mine, u64& other) {
        const u32 poison[4] = {kPoisonInFlight, kPoisonInFlight, kPoisonInFlight, kPoisonInFlight};
        const hazard found = checks_ ? each(offset, 16, [&](marks& m) { return write(m, mine, mine | kPending, other); }) : hazard::none;
        std::memcpy(bytes_ + offset, poison, 16);
        return found;
    }
    // ...and was waited for by the thread that began it.
    void end_copy(u32 offset, const void* data, u64 mine) {
        std::memcpy(bytes_ + offset, data, 16);
        if (checks_)
            for (u32 w = offset / 4; w < offset / 4 + 4; w++) words_[w].written = mine;
    }

private:
    struct marks {
        u64 written, read;
    };
    static constexpr u64 kPending = 1ull << 63, kMany = 1ull << 63, kSplit = ~0ull, kLanes = 1ull << 32, kBlockBarrier = 1ull << 33;
    static constexpr u64 kWritten = kPending - 1;
    static constexpr u32 kWarpBarriers = 1 << 22;

    static void* map(size_t bytes) { return mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0); }

    // The usual case, all words at once: written before the last barrier of the block, and read since by this thread or by many already.
    template <u32 count> bool quick_read(u32 offset, u64 mine) {
        marks* m = words_ + offset / 4;
        const u64 many_now = now_ | kMany;
        bool quick = true;
        for (u32 i = 0; i < count; i++)
            quick &= (m[i].written - first_ < now_ - first_) & (((m[i].read & ~kMany) < now_) | (m[i].read == mine) | (m[i].read >= many_now));
        if (__builtin_expect(!quick, false)) return false;
        for (u32 i = 0; i < count; i++) m[i].read = m[i].read >= many_now ? m[i].read : mine;
        return true;
    }
    // ...neither written nor read since.
    template <u32 count> bool quick_write(u32 offset, u64 mine) {
        marks* m = words_ + offset / 4;
        bool quick = true;
        for (u32 i = 0; i < count; i++) quick &= (m[i].written < now_) & ((m[i].read & ~kMany) < now_);
        if (__builtin_expect(!quick, false)) return false;
        for (u32 i = 0; i < count; i++) m[i].written = mine;
        return true;
    }

    template <class Check> hazard each(u32 offset, u32 size, Check check) {
        if (size >= 4) {
            for (u32 w = offset / 4; w < (offset + size) / 4; w++) {
                const hazard found = words_[w].written == kSplit ? whole(w, check) : check(words_[w]);
                if (__builtin_expect(found != hazard::none, false)) return found;
            }
            return hazard::none;
        }
        marks& word = words_[offset / 4];
        if (word.written != kSplit) {
            for (u32 i = 0; i < 4; i++) parts_[offset / 4 * 4 + i] = word;
            word.written = kSplit;
        }
        for (u32 i = offset; i < offset + size; i++) {
            const hazard found = check(parts_[i]);
            if (found != hazard::none) return found;
        }
        return hazard::none;
    }

    // All of a word touched in parts; where the parts agree afterwards, it is one again.
    template <class Check> hazard whole(u32 w, Check check) {
        marks* part = parts_ + 4 * w;
        for (u32 i = 0; i < 4; i++) {
            const hazard found = check(part[i]);
            if (found != hazard::none) return found;
        }
        bool same = true;
        for (u32 i = 1; i < 4; i++) same &= part[i].written == part[0].written && part[i].read == part[0].read;
        if (same) words_[w] = part[0];
        return hazard::none;
    }

    static bool same_warp(u64 a, u64 b) { return ((a ^ b) & (1023 & ~31)) == 0; }
    static bool same_warp_epoch(u64 a, u64 b) { return ((a ^ b) & (static_cast<u64>(kWarpBarriers - 1) << 10)) == 0; }
    // Whether a barrier, or the program's own order, stands between an earlier access and mine.
    bool ordered(u64 earlier, u64 mine) const {
        if (earlier < now_) return true;
        if (earlier & kMany) return false;
        if (!same_warp(earlier, mine)) return false;
        return !same_warp_epoch(earlier, mine) || ((earlier | mine) & kLanes ? false : thread_of(earlier) == thread_of(mine));
    }

    hazard read(marks& m, u64 mine, u64& other) {
        const u64 w = m.written;
        if (w - first_ >= now_ - first_ && !ordered_write(w, mine, other)) return refused(w);
        const u64 r = m.read & ~kMany;
        if (r < now_)
            m.read = mine;
        else if (m.read != mine && !(m.read & kMany))
            m.read = !same_warp(r, mine) ? r | kMany : same_warp_epoch(r, mine) ? mine | kLanes : mine;
        return hazard::none;
    }
    hazard refused(u64 w) const {
        if ((w & ~kPending) < first_) return hazard::unwritten;
        return w & kPending ? hazard::in_flight : hazard::read_after_write;
    }
    bool ordered_write(u64 w, u64 mine, u64& other) const {
        other = w;
        return w >= first_ && !(w & kPending) && ordered(w, mine);
    }

    hazard write(marks& m, u64 mine, u64 mark, u64& other) {
        const u64 w = m.written, r = m.read & ~kMany;
        if (w >= now_) {
            other = w;
            if (w & kPending && (w & ~kPending) >= first_) return hazard::in_flight;
            if (!(w & kPending) && !ordered(w, mine)) return hazard::write_after_write;
        }
        if (r >= now_) {
            other = r;
            if (m.read & kMany || !ordered(r, mine)) return hazard::write_after_read;
        }
        m.written = mark;
        return hazard::none;
    }

    u8* bytes_;
    marks *words_, *parts_;
    u32 size_ = 0;
    bool checks_ = true;
    u64 now_ = 0, first_ = 0;
};

}  // namespace emulator
