// What a host calls; see runtime.cpp. 0 or null means failure, with a message where there is room for one.
#pragma once

#include "common/ptx.cuh"

namespace emulator {
class device;
}
DIT_EXPORT emulator::device* dit_emulator_create(u32 threads);
DIT_EXPORT void dit_emulator_destroy(emulator::device* d);
DIT_EXPORT void* dit_emulator_allocate(emulator::device* d, u64 bytes);
DIT_EXPORT s32 dit_emulator_release(emulator::device* d, void* p);
// Whether all of these bytes lie in one live buffer; for copies and fills.
DIT_EXPORT s32 dit_emulator_holds(emulator::device* d, const void* p, u64 bytes, char* message, s32 capacity);
DIT_EXPORT void* dit_emulator_open(const char* path, char* message, s32 capacity);
DIT_EXPORT void dit_emulator_close(void* library);
DIT_EXPORT void* dit_emulator_symbol(void* library, const char* name);
// limits: what DIT_KERNEL exports beside the kernel. grid: 3 numbers.
DIT_EXPORT s32 dit_emulator_launch(emulator::device* d, void (*entry)(const void*), const char* name, const u32* limits, const u32* grid, u32 threads, u32 shared_bytes,
                                   u64 seed, s32 checks, const void* arguments, u32 argument_bytes, char* message, s32 capacity);
