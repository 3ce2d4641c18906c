// The emulated device as the player sees it: kernels/emulator of the DiTRuntime repository, linked as a library. The functions are those of
// cuda_driver.h; work is done when it is queued.
#ifndef DIT_CUDA_EMULATOR_H
#define DIT_CUDA_EMULATOR_H

#include "cuda_plan.h"
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// As kernels/emulator/host.h declares them for C++.
typedef struct dit_emulator dit_emulator;
dit_emulator* dit_emulator_create(uint32_t threads);
void dit_emulator_destroy(dit_emulator* device);
void* dit_emulator_allocate(dit_emulator* device, unsigned long long bytes);
int32_t dit_emulator_release(dit_emulator* device, void* memory);
int32_t dit_emulator_holds(dit_emulator* device, const void* memory, unsigned long long bytes, char* message, int32_t capacity);
void* dit_emulator_open(const char* path, char* message, int32_t capacity);
void dit_emulator_close(void* library);
void* dit_emulator_symbol(void* library, const char* name);
int32_t dit_emulator_launch(dit_emulator* device, void (*entry)(const void*), const char* name, const uint32_t* limits, const uint32_t* grid, uint32_t threads, uint32_t shared_bytes,
                            unsigned long long seed, int32_t checks, const void* arguments, uint32_t argument_bytes, char* message, int32_t capacity);

#define DIT_GPU_MARKS 2

typedef struct dit_gpu {
    dit_emulator* device;
    const char* name;
    uint32_t architecture;
    uint64_t launches;
} dit_gpu;

typedef struct dit_gpu_kernel {
    void *library, *function, *limits;
} dit_gpu_kernel;

static dit_status dit_gpu_enter(dit_context* c, dit_gpu* g) {
    (void)c, (void)g;
    return DIT_OK;
}

static void dit_gpu_leave(dit_gpu* g) { (void)g; }

static dit_status dit_gpu_open(dit_context* c, dit_gpu* g) {
    (void)c;
    g->name = "emulated device";
    return DIT_OK;
}

static dit_status dit_gpu_start(dit_context* c, dit_gpu* g) {
    g->device = dit_emulator_create(c->threads ? c->threads : 1);
    return g->device ? DIT_OK : dit_fail(c, DIT_OUT_OF_MEMORY, "the emulated device needs some 256 MiB of addresses a thread, and the system refuses");
}

static void dit_gpu_stop(dit_gpu* g) { (void)g; }
static bool dit_gpu_is_started(const dit_gpu* g) { return g->device != NULL; }

static void dit_gpu_close(dit_gpu* g) {
    if (g->device) dit_emulator_destroy(g->device);
    memset(g, 0, sizeof *g);
}

static dit_status dit_gpu_wait(dit_context* c, dit_gpu* g) {
    (void)c, (void)g;
    return DIT_OK;
}

static dit_status dit_gpu_allocate(dit_context* c, dit_gpu* g, uint64_t bytes, uint64_t* address) {
    void* memory = dit_emulator_allocate(g->device, bytes);
    *address = (uint64_t)(uintptr_t)memory;
    return memory ? DIT_OK : dit_fail(c, DIT_OUT_OF_MEMORY, "the emulated device cannot give %llu bytes", (unsigned long long)bytes);
}

static void dit_gpu_free(dit_gpu* g, uint64_t address) { dit_emulator_release(g->device, (void*)(uintptr_t)address); }

static dit_status dit_gpu_allocate_pinned(dit_context* c, dit_gpu* g, uint64_t bytes, void** memory) {
    (void)g;
    *memory = malloc((size_t)bytes);
    return *memory ? DIT_OK : dit_fail(c, DIT_OUT_OF_MEMORY, "no memory for %llu bytes", (unsigned long long)bytes);
}

static void dit_gpu_free_pinned(dit_gpu* g, void* memory) {
    (void)g;
    free(memory);
}

// Where bytes of a buffer lie; null, with the failure told, where they do not lie in one.
static void* dit_gpu_bytes(dit_context* c, dit_gpu* g, uint64_t address, uint64_t bytes) {
    char message[256];
    void* memory = (void*)(uintptr_t)address;
    if (dit_emulator_holds(g->device, memory, bytes, message, sizeof message)) return memory;
    dit_fail(c, DIT_ERROR, "a copy of %llu bytes out of bounds, at %s", (unsigned long long)bytes, message);
    return NULL;
}

static dit_status dit_gpu_clear(dit_context* c, dit_gpu* g, uint64_t address, uint64_t bytes) {
    void* to = dit_gpu_bytes(c, g, address, bytes);
    if (to) memset(to, 0, (size_t)bytes);
    return to ? DIT_OK : DIT_ERROR;
}

static dit_status dit_gpu_write(dit_context* c, dit_gpu* g, uint64_t to, const void* from, uint64_t bytes) {
    void* memory = dit_gpu_bytes(c, g, to, bytes);
    if (memory) memcpy(memory, from, (size_t)bytes);
    return memory ? DIT_OK : DIT_ERROR;
}

static dit_status dit_gpu_read(dit_context* c, dit_gpu* g, void* to, uint64_t from, uint64_t bytes) {
    const void* memory = dit_gpu_bytes(c, g, from, bytes);
    if (memory) memcpy(to, memory, (size_t)bytes);
    return memory ? DIT_OK : DIT_ERROR;
}

static dit_status dit_gpu_mark(dit_context* c, dit_gpu* g, uint32_t mark) {
    (void)c, (void)g, (void)mark;
    return DIT_OK;
}

static dit_status dit_gpu_wait_mark(dit_context* c, dit_gpu* g, uint32_t mark) {
    (void)c, (void)g, (void)mark;
    return DIT_OK;
}

static void dit_gpu_unload(dit_gpu* g, dit_gpu_kernel* kernel) {
    (void)g;
    if (kernel->library) dit_emulator_close(kernel->library);
    memset(kernel, 0, sizeof *kernel);
}

// A library is loaded from a file, which may go once it is.
static dit_status dit_gpu_load(dit_context* c, dit_gpu* g, const dit_plan_kernel* from, dit_gpu_kernel* kernel) {
    (void)g;
    char path[] = "/tmp/dit-kernel-XXXXXX", message[512] = "it cannot be written to /tmp", limits[80];
    int file = mkstemp(path);
    if (file < 0) return dit_fail(c, DIT_ERROR, "%s: %s", from->entry, message);
    bool written = write(file, dit_at(c, from->image), (size_t)from->image.bytes) == (ssize_t)from->image.bytes;
    if (close(file) == 0 && written) kernel->library = dit_emulator_open(path, message, sizeof message);
    unlink(path);
    if (!kernel->library) return dit_fail(c, DIT_UNSUPPORTED, "%s: %s", from->entry, message);
    snprintf(limits, sizeof limits, "%s_limits", from->entry);
    kernel->function = dit_emulator_symbol(kernel->library, from->entry);
    kernel->limits = dit_emulator_symbol(kernel->library, limits);
    return kernel->function && kernel->limits ? DIT_OK : dit_fail(c, DIT_BAD_FILE, "%s is not in its own module", from->entry);
}

static dit_status dit_gpu_launch(dit_context* c, dit_gpu* g, const dit_plan_kernel* from, const dit_gpu_kernel* kernel, const dit_plan_command* command, const uint8_t* arguments) {
    const uint32_t grid[3] = {command->grid_x, command->grid_y, command->grid_z};
    char message[384];
    void (*entry)(const void*);
    memcpy(&entry, &kernel->function, sizeof entry);
    // The seed orders the threads; another order gives the same results.
    if (dit_emulator_launch(g->device, entry, from->entry, (const uint32_t*)kernel->limits, grid, command->threads, command->shared_bytes, ++g->launches, 1, arguments,
                            from->argument_bytes, message, sizeof message))
        return DIT_OK;
    return dit_fail(c, DIT_ERROR, "%s", message);
}

static void dit_gpu_forget(dit_gpu* g) { (void)g; }

static dit_status dit_gpu_repeat(dit_context* c, dit_gpu* g, dit_status (*work)(dit_context* c)) {
    (void)g;
    return work(c);
}

static bool dit_gpu_runs(const dit_gpu* g, const dit_plan* plan) { return plan->architecture == g->architecture; }

#endif
