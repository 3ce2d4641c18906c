// The GPU as the player sees it, by way of the CUDA driver's library, which is loaded when a context is opened: a program links without it and
// starts where there is none. cuda_emulator.h has the same functions for the emulated device.
#ifndef DIT_CUDA_DRIVER_H
#define DIT_CUDA_DRIVER_H

#include "cuda_plan.h"
#include "internal.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#define DIT_GPU_MARKS 2  // steps that the host may be ahead

// The driver's functions that are used, of CUDA 11.4 or newer. A device is an int, an address 64 bits, everything else a pointer.
#define DIT_DRIVER_FUNCTIONS(X) \
    X(cuInit, (unsigned flags)) \
    X(cuGetErrorName, (int status, const char** name)) \
    X(cuGetErrorString, (int status, const char** text)) \
    X(cuDeviceGetCount, (int* count)) \
    X(cuDeviceGet, (int* device, int ordinal)) \
    X(cuDeviceGetName, (char* name, int capacity, int device)) \
    X(cuDeviceGetAttribute, (int* value, int attribute, int device)) \
    X(cuDevicePrimaryCtxRetain, (void** context, int device)) \
    X(cuDevicePrimaryCtxRelease_v2, (int device)) \
    X(cuCtxPushCurrent_v2, (void* context)) \
    X(cuCtxPopCurrent_v2, (void** context)) \
    X(cuMemAlloc_v2, (uint64_t* address, size_t bytes)) \
    X(cuMemFree_v2, (uint64_t address)) \
    X(cuMemAllocHost_v2, (void** memory, size_t bytes)) \
    X(cuMemFreeHost, (void* memory)) \
    X(cuMemcpyHtoDAsync_v2, (uint64_t to, const void* from, size_t bytes, void* stream)) \
    X(cuMemcpyDtoHAsync_v2, (void* to, uint64_t from, size_t bytes, void* stream)) \
    X(cuMemsetD8Async, (uint64_t to, unsigned char value, size_t bytes, void* stream)) \
    X(cuStreamCreate, (void** stream, unsigned flags)) \
    X(cuStreamDestroy_v2, (void* stream)) \
    X(cuStreamSynchronize, (void* stream)) \
    X(cuStreamBeginCapture_v2, (void* stream, int mode)) \
    X(cuStreamEndCapture, (void* stream, void** graph)) \
    X(cuEventCreate, (void** event, unsigned flags)) \
    X(cuEventDestroy_v2, (void* event)) \
    X(cuEventRecord, (void* event, void* stream)) \
    X(cuEventSynchronize, (void* event)) \
    X(cuModuleLoadData, (void** module, const void* image)) \
    X(cuModuleUnload, (void* module)) \
    X(cuModuleGetFunction, (void** function, void* module, const char* name)) \
    X(cuFuncGetAttribute, (int* value, int attribute, void* function)) \
    X(cuFuncSetAttribute, (void* function, int attribute, int value)) \
    X(cuLaunchKernel, (void* function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes, \
                       void* stream, void** parameters, void** extra)) \
    X(cuGraphInstantiateWithFlags, (void** executable, void* graph, unsigned long long flags)) \
    X(cuGraphLaunch, (void* executable, void* stream)) \
    X(cuGraphDestroy, (void* graph)) \
    X(cuGraphExecDestroy, (void* executable))

// From cuda.h.
enum {
    DIT_CUDA_OUT_OF_MEMORY = 2,
    DIT_CUDA_NO_DEVICE = 100,
    DIT_CUDA_NO_BINARY_FOR_GPU = 209,
    DIT_CUDA_ATTRIBUTE_MAJOR = 75,
    DIT_CUDA_ATTRIBUTE_MINOR = 76,
    DIT_CUDA_ATTRIBUTE_SHARED_MEMORY_OPTIN = 97,
    DIT_CUDA_STREAM_NON_BLOCKING = 1,
    DIT_CUDA_EVENT_DISABLE_TIMING = 2,
    DIT_CUDA_CAPTURE_THREAD_LOCAL = 1,
    DIT_CUDA_FUNCTION_STATIC_SHARED_BYTES = 1,
    DIT_CUDA_FUNCTION_DYNAMIC_SHARED_BYTES = 8,
    DIT_CUDA_UNASKED_SHARED_BYTES = 48 << 10  // what a block may have without asking
};

typedef struct dit_gpu {
    void* library;
#define X(name, parameters) int (*name) parameters;
    DIT_DRIVER_FUNCTIONS(X)
#undef X
    int device;
    char name[128];
    uint32_t architecture;  // compute capability as one number
    uint32_t shared_bytes;  // the most of a block
    void *context, *stream;
    void* marks[DIT_GPU_MARKS];
    void* graph;  // of dit_gpu_repeat()
} dit_gpu;

typedef struct dit_gpu_kernel {
    void *module, *function;
} dit_gpu_kernel;

// A status as the library's own, with the driver's words. `what` may be null.
static dit_status dit_gpu_fail(dit_context* c, const dit_gpu* g, int status, const char* call, const char* what) {
    const char *name = NULL, *text = NULL;
    g->cuGetErrorName(status, &name);
    g->cuGetErrorString(status, &text);
    dit_status own = status == DIT_CUDA_OUT_OF_MEMORY ? DIT_OUT_OF_MEMORY : status == DIT_CUDA_NO_DEVICE || status == DIT_CUDA_NO_BINARY_FOR_GPU ? DIT_UNSUPPORTED : DIT_ERROR;
    return dit_fail(c, own, "%s%s%s: %s (%d), %s", what ? what : "", what ? ": " : "", call, name ? name : "an unknown status", status, text ? text : "the driver has no text for it");
}

// Calls the driver; what fails is this function's failure.
#define DIT_GPU_TRY(call, arguments, what) do { \
        int driver_status = g->call arguments; \
        if (driver_status) return dit_gpu_fail(c, g, driver_status, #call, what); \
    } while (0)

static dit_status dit_gpu_load_driver(dit_context* c, dit_gpu* g) {
    g->library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!g->library) return dit_fail(c, DIT_UNSUPPORTED, "no CUDA driver here: %s", dlerror());
    // A pointer to a function is not converted from one to an object: C has no such conversion, POSIX the same representation.
    void* found;
#define X(name, parameters) \
    found = dlsym(g->library, #name); \
    if (!found) return dit_fail(c, DIT_UNSUPPORTED, "the CUDA driver is too old: it has no %s", #name); \
    memcpy(&g->name, &found, sizeof found);
    DIT_DRIVER_FUNCTIONS(X)
#undef X
    return DIT_OK;
}

// The calling thread may have a context of its own: it gets it back from dit_gpu_leave(), which follows where this succeeds.
static dit_status dit_gpu_enter(dit_context* c, dit_gpu* g) {
    DIT_GPU_TRY(cuCtxPushCurrent_v2, (g->context), NULL);
    return DIT_OK;
}

static void dit_gpu_leave(dit_gpu* g) {
    void* popped;
    g->cuCtxPopCurrent_v2(&popped);
}

static dit_status dit_gpu_find(dit_context* c, dit_gpu* g) {
    int count = 0, major = 0, minor = 0, shared = 0;
    DIT_GPU_TRY(cuInit, (0), NULL);
    DIT_GPU_TRY(cuDeviceGetCount, (&count), NULL);
    if (c->device >= (uint32_t)(count < 0 ? 0 : count)) return dit_fail(c, count > 0 ? DIT_INVALID_ARGUMENT : DIT_UNSUPPORTED, "GPU %u is asked for, the driver sees %d", c->device, count);
    DIT_GPU_TRY(cuDeviceGet, (&g->device, (int)c->device), NULL);
    DIT_GPU_TRY(cuDeviceGetName, (g->name, (int)sizeof g->name, g->device), NULL);
    g->name[sizeof g->name - 1] = 0;
    DIT_GPU_TRY(cuDeviceGetAttribute, (&major, DIT_CUDA_ATTRIBUTE_MAJOR, g->device), NULL);
    DIT_GPU_TRY(cuDeviceGetAttribute, (&minor, DIT_CUDA_ATTRIBUTE_MINOR, g->device), NULL);
    DIT_GPU_TRY(cuDeviceGetAttribute, (&shared, DIT_CUDA_ATTRIBUTE_SHARED_MEMORY_OPTIN, g->device), NULL);
    g->architecture = (uint32_t)(10 * major + minor);
    g->shared_bytes = (uint32_t)shared;
    return DIT_OK;
}

// Finds the GPU. What is opened is given back by dit_gpu_close(), after a failure too.
static dit_status dit_gpu_open(dit_context* c, dit_gpu* g) {
    dit_status status = dit_gpu_load_driver(c, g);
    if (!status) status = dit_gpu_find(c, g);
    return status;
}

// Takes the GPU's context, and leaves it current for the calls below.
static dit_status dit_gpu_start(dit_context* c, dit_gpu* g) {
    void* context = NULL;
    DIT_GPU_TRY(cuDevicePrimaryCtxRetain, (&context, g->device), NULL);
    g->context = context;
    dit_status status = dit_gpu_enter(c, g);
    if (status) {
        g->cuDevicePrimaryCtxRelease_v2(g->device);
        g->context = NULL;
        return status;
    }
    DIT_GPU_TRY(cuStreamCreate, (&g->stream, DIT_CUDA_STREAM_NON_BLOCKING), NULL);
    for (int i = 0; i < DIT_GPU_MARKS; i++) DIT_GPU_TRY(cuEventCreate, (&g->marks[i], DIT_CUDA_EVENT_DISABLE_TIMING), NULL);
    return DIT_OK;
}

// Ends what dit_gpu_start() began; its context is current. Null handles are what a start that failed has not come to.
static void dit_gpu_stop(dit_gpu* g) {
    for (int i = 0; i < DIT_GPU_MARKS; i++)
        if (g->marks[i]) g->cuEventDestroy_v2(g->marks[i]);
    if (g->stream) g->cuStreamDestroy_v2(g->stream);
}

static bool dit_gpu_is_started(const dit_gpu* g) { return g->context != NULL; }

static void dit_gpu_close(dit_gpu* g) {
    if (g->context) g->cuDevicePrimaryCtxRelease_v2(g->device);
    if (g->library) dlclose(g->library);
    memset(g, 0, sizeof *g);
}

static dit_status dit_gpu_wait(dit_context* c, dit_gpu* g) {
    DIT_GPU_TRY(cuStreamSynchronize, (g->stream), NULL);
    return DIT_OK;
}

static dit_status dit_gpu_allocate(dit_context* c, dit_gpu* g, uint64_t bytes, uint64_t* address) {
    DIT_GPU_TRY(cuMemAlloc_v2, (address, (size_t)bytes), g->name);
    return DIT_OK;
}

static void dit_gpu_free(dit_gpu* g, uint64_t address) { g->cuMemFree_v2(address); }

static dit_status dit_gpu_allocate_pinned(dit_context* c, dit_gpu* g, uint64_t bytes, void** memory) {
    DIT_GPU_TRY(cuMemAllocHost_v2, (memory, (size_t)bytes), NULL);
    return DIT_OK;
}

static void dit_gpu_free_pinned(dit_gpu* g, void* memory) { g->cuMemFreeHost(memory); }

static dit_status dit_gpu_clear(dit_context* c, dit_gpu* g, uint64_t address, uint64_t bytes) {
    DIT_GPU_TRY(cuMemsetD8Async, (address, 0, (size_t)bytes, g->stream), NULL);
    return DIT_OK;
}

// Queued: `from` stays as it is until a mark or a wait.
static dit_status dit_gpu_write(dit_context* c, dit_gpu* g, uint64_t to, const void* from, uint64_t bytes) {
    DIT_GPU_TRY(cuMemcpyHtoDAsync_v2, (to, from, (size_t)bytes, g->stream), NULL);
    return DIT_OK;
}

// Waits for all work before it.
static dit_status dit_gpu_read(dit_context* c, dit_gpu* g, void* to, uint64_t from, uint64_t bytes) {
    DIT_GPU_TRY(cuMemcpyDtoHAsync_v2, (to, from, (size_t)bytes, g->stream), NULL);
    return dit_gpu_wait(c, g);
}

static dit_status dit_gpu_mark(dit_context* c, dit_gpu* g, uint32_t mark) {
    DIT_GPU_TRY(cuEventRecord, (g->marks[mark], g->stream), NULL);
    return DIT_OK;
}

static dit_status dit_gpu_wait_mark(dit_context* c, dit_gpu* g, uint32_t mark) {
    DIT_GPU_TRY(cuEventSynchronize, (g->marks[mark]), NULL);
    return DIT_OK;
}

static void dit_gpu_unload(dit_gpu* g, dit_gpu_kernel* kernel) {
    if (kernel->module) g->cuModuleUnload(kernel->module);
    memset(kernel, 0, sizeof *kernel);
}

static dit_status dit_gpu_load(dit_context* c, dit_gpu* g, const dit_plan_kernel* from, dit_gpu_kernel* kernel) {
    int static_bytes = 0;
    DIT_GPU_TRY(cuModuleLoadData, (&kernel->module, dit_at(c, from->image)), from->entry);
    DIT_GPU_TRY(cuModuleGetFunction, (&kernel->function, kernel->module, from->entry), from->entry);
    // Asking also makes the driver load the code now: it would do so at the first launch, which is inside a capture.
    DIT_GPU_TRY(cuFuncGetAttribute, (&static_bytes, DIT_CUDA_FUNCTION_STATIC_SHARED_BYTES, kernel->function), from->entry);
    if ((uint64_t)static_bytes + from->shared_bytes > g->shared_bytes)
        return dit_fail(c, DIT_UNSUPPORTED, "%s: a block takes %u bytes of shared memory, %s has %u", from->entry, from->shared_bytes, g->name, g->shared_bytes);
    if (from->shared_bytes > DIT_CUDA_UNASKED_SHARED_BYTES)
        DIT_GPU_TRY(cuFuncSetAttribute, (kernel->function, DIT_CUDA_FUNCTION_DYNAMIC_SHARED_BYTES, (int)from->shared_bytes), from->entry);
    return DIT_OK;
}

static dit_status dit_gpu_launch(dit_context* c, dit_gpu* g, const dit_plan_kernel* from, const dit_gpu_kernel* kernel, const dit_plan_command* command, uint8_t* arguments) {
    void* only = arguments;
    DIT_GPU_TRY(cuLaunchKernel, (kernel->function, command->grid_x, command->grid_y, command->grid_z, command->threads, 1, 1, command->shared_bytes, g->stream, &only, NULL), from->entry);
    return DIT_OK;
}

static void dit_gpu_forget(dit_gpu* g) {
    if (g->graph) g->cuGraphExecDestroy(g->graph);
    g->graph = NULL;
}

// Work that is the same every time: recorded the first time, then replayed as a whole, until it is forgotten.
static dit_status dit_gpu_repeat(dit_context* c, dit_gpu* g, dit_status (*work)(dit_context* c)) {
    if (!g->graph) {
        void* graph = NULL;
        DIT_GPU_TRY(cuStreamBeginCapture_v2, (g->stream, DIT_CUDA_CAPTURE_THREAD_LOCAL), NULL);
        dit_status status = work(c);
        int ended = g->cuStreamEndCapture(g->stream, &graph);
        if (!status && ended) status = dit_gpu_fail(c, g, ended, "cuStreamEndCapture", NULL);
        int made = status ? 0 : g->cuGraphInstantiateWithFlags(&g->graph, graph, 0);
        if (graph) g->cuGraphDestroy(graph);
        if (status) return status;
        if (made) return dit_gpu_fail(c, g, made, "cuGraphInstantiateWithFlags", NULL);
    }
    DIT_GPU_TRY(cuGraphLaunch, (g->graph, g->stream), NULL);
    return DIT_OK;
}

// Whether code for an architecture runs here: that of the same generation and not newer, or of this very one.
static bool dit_gpu_runs(const dit_gpu* g, const dit_plan* plan) {
    if (plan->architecture == g->architecture) return true;
    return !plan->is_specific && plan->architecture / 10 == g->architecture / 10 && plan->architecture < g->architecture;
}

#endif
