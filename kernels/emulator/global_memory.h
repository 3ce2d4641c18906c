// Device memory: every buffer is registered, every access looked up. Buffers lie apart, so that a step past an end meets no neighbour.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "emulator/text.h"

namespace emulator {

class global_memory {
public:
    void* allocate(u64 bytes) {
        const u64 mapped = mapped_bytes(bytes);
        void* p = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED) return nullptr;
        // The guard is never readable, so it costs addresses and no memory.
        mprotect(static_cast<char*>(p) + mapped - kGuard, kGuard, PROT_NONE);
        std::memset(p, 0xff, bytes);
        const range buffer{reinterpret_cast<u64>(p), bytes};
        freed_.erase(std::remove_if(freed_.begin(), freed_.end(), [&](const range& r) { return r.begin < buffer.begin + mapped && buffer.begin < r.begin + r.length; }),
                     freed_.end());
        live_.insert(after(buffer.begin), buffer);
        generation_++;
        return p;
    }

    bool release(void* p) {
        const auto at = after(reinterpret_cast<u64>(p));
        if (at == live_.begin() || at[-1].begin != reinterpret_cast<u64>(p)) return false;
        const range buffer = at[-1];
        live_.erase(at - 1);
        munmap(p, mapped_bytes(buffer.length));
        if (freed_.size() == kRemembered) freed_.erase(freed_.begin());
        freed_.push_back(buffer);
        generation_++;
        return true;
    }

    void release_all() {
        while (!live_.empty()) release(reinterpret_cast<void*>(live_.back().begin));
    }

    // The live buffer that holds all of these bytes, or null.
    const range* find(u64 address, u64 bytes) const {
        const auto at = after(address);
        if (at == live_.begin()) return nullptr;
        const range& buffer = at[-1];
        const u64 offset = address - buffer.begin;
        return offset <= buffer.length && bytes <= buffer.length - offset ? &buffer : nullptr;
    }

    // Where an address lies that no live buffer holds.
    std::string describe(u64 address) const {
        for (const range& r : freed_)
            if (address >= r.begin && address - r.begin < r.length) return text("byte %llu of a buffer of %llu bytes that was freed", address - r.begin, r.length);
        for (const range& r : live_) {
            if (address >= r.begin && address - r.begin < r.length + kGuard) return text("byte %llu of a buffer of %llu bytes", address - r.begin, r.length);
            if (address < r.begin && r.begin - address <= kGuard / 2) return text("%llu bytes before a buffer of %llu bytes", r.begin - address, r.length);
        }
        return text("0x%llx, in no buffer", address);
    }

    // Changes whenever a looked-up range may no longer hold.
    u64 generation() const { return generation_; }

private:
    static constexpr u64 kGuard = 64 << 10, kPage = 4096, kRemembered = 4096;
    static u64 mapped_bytes(u64 bytes) { return (bytes + kPage - 1) / kPage * kPage + kGuard; }
    std::vector<range>::iterator after(u64 address) {
        return std::upper_bound(live_.begin(), live_.end(), address, [](u64 a, const range& r) { return a < r.begin; });
    }
    std::vector<range>::const_iterator after(u64 address) const { return const_cast<global_memory*>(this)->after(address); }

    std::vector<range> live_, freed_;  // live_ by address
    u64 generation_ = 1;
};

}  // namespace emulator
