// Messages, and the sequence of pseudo-random numbers that orders threads.
#pragma once

#include <cstdarg>
#include <cstdio>
#include <string>

#include "abi/types.h"

namespace emulator {

__attribute__((format(printf, 1, 2))) inline std::string text(const char* format, ...) {
    char buffer[1024];
    va_list values;
    va_start(values, format);
    vsnprintf(buffer, sizeof buffer, format, values);
    va_end(values);
    return buffer;
}

// splitmix64 (Steele, Lea and Flood 2014).
struct random_sequence {
    u64 state;
    u64 next() {
        u64 z = state += 0x9e3779b97f4a7c15ull;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ z >> 27) * 0x94d049bb133111ebull;
        return z ^ z >> 31;
    }
    template <class T> void shuffle(T* items, u32 count) {
        for (u32 i = count; i > 1; i--) {
            const u32 j = static_cast<u32>(next() % i);
            const T moved = items[i - 1];
            items[i - 1] = items[j];
            items[j] = moved;
        }
    }
};

}  // namespace emulator
