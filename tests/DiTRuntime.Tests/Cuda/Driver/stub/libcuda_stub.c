// A libcuda without a GPU: device memory is malloc's, streams run at once, kernels are names with a size of their argument struct.
// It counts what is alive, refuses handles that are gone or lack a context, and fails where a test tells it to.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define API __attribute__((visibility("default")))

enum { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_CONTEXT = 201, INVALID_HANDLE = 400, NOT_FOUND = 500 };
enum kind { CONTEXT, STREAM, EVENT, MODULE, GRAPH, EXECUTABLE, POOL, MEMORY, PINNED, KIND_COUNT };
static const char* const kind_names[] = {"context", "stream", "event", "module", "graph", "executable", "pool", "memory", "pinned"};

// ---- what a test sets and reads ----

static int architecture, device_count, pools_supported, driver_version;
static size_t total_memory, pool_reserved, pool_used, direct_used;
static long live[KIND_COUNT], misuses, trims, synchronizations, shared_requests;
static char fail_call[64];
static int fail_status, fail_skip;
static uint8_t last_arguments[4096];
static size_t last_argument_count;
static unsigned last_launch[5];
static int kernel_fault;
static float clock_ms;

API void stub_reset(void) {
    architecture = 90, device_count = 1, pools_supported = 1, driver_version = 12040;
    total_memory = (size_t)1 << 30;
    misuses = trims = synchronizations = shared_requests = 0;
    fail_call[0] = 0, kernel_fault = 0, last_argument_count = 0;
}
API void stub_set_architecture(int v) { architecture = v; }
API void stub_set_device_count(int v) { device_count = v; }
API void stub_set_pools(int v) { pools_supported = v; }
API void stub_set_memory(size_t v) { total_memory = v; }
// The call after `skip` others of that name returns `status`; the call "kernel" is the running of a kernel.
API void stub_fail_next(const char* call, int status, int skip) {
    snprintf(fail_call, sizeof fail_call, "%s", call);
    fail_status = status, fail_skip = skip;
}
API long stub_live(const char* kind) {
    for (int i = 0; i < KIND_COUNT; i++)
        if (!strcmp(kind, kind_names[i])) return live[i];
    return -1;
}
API long stub_misuses(void) { return misuses; }
API long stub_trims(void) { return trims; }
API long stub_synchronizations(void) { return synchronizations; }
API long stub_shared_requests(void) { return shared_requests; }
API size_t stub_last_arguments(void* out) {
    memcpy(out, last_arguments, last_argument_count);
    return last_argument_count;
}
API void stub_last_launch(unsigned* out) { memcpy(out, last_launch, sizeof last_launch); }

static int failure(const char* call) {
    if (strcmp(call, fail_call) || fail_skip-- > 0) return SUCCESS;
    fail_call[0] = 0;
    return fail_status;
}

// ---- objects: never freed, so that one that is gone is recognised ----

struct object {
    enum kind kind;
    int alive;
};
struct function { char name[64]; size_t size; int shared; };
struct module { struct object head; int count; struct function functions[8]; };
struct operation {
    enum { LAUNCH, COPY, FILL } what;
    struct function* function;
    uint8_t arguments[512];
    void* destination;
    const void* source;
    size_t count;
    int value;
};
struct graph { struct object head; int count; struct operation operations[64]; };
struct executable { struct object head; struct graph* graph; };
struct stream { struct object head; struct graph* capture; int fault; };
struct event { struct object head; float time; };
struct block { struct object head; size_t size; void* bytes; int pooled; };

static __thread void* current;
static struct object context;
static struct block* blocks[4096];
static int block_count;
// The last block given back: the next of its size gets its address, as a pool would do.
static void* spare;
static size_t spare_size;

static void* make(enum kind kind, size_t size) {
    struct object* o = calloc(1, size);
    o->kind = kind, o->alive = 1;
    live[kind]++;
    return o;
}
static int bad(void* p, enum kind kind) {
    struct object* o = p;
    if (o && o->kind == kind && o->alive && live[CONTEXT]) return 0;
    misuses++;
    return 1;
}
static int end(void* p, enum kind kind) {
    if (bad(p, kind)) return INVALID_HANDLE;
    ((struct object*)p)->alive = 0;
    live[kind]--;
    return SUCCESS;
}

#define ENTER(name) do { int f = failure(#name); if (f) return f; } while (0)
#define ENTER_CONTEXT(name) do { ENTER(name); if (current != &context || !live[CONTEXT]) { misuses++; return INVALID_CONTEXT; } } while (0)
#define NEED(p, kind) do { if (bad(p, kind)) return INVALID_HANDLE; } while (0)

// ---- start, errors, devices, contexts ----

API int cuInit(unsigned flags) { (void)flags; ENTER(cuInit); return device_count ? SUCCESS : NO_DEVICE; }
API int cuDriverGetVersion(int* v) { *v = driver_version; return SUCCESS; }
static const struct { int code; const char *name, *text; } errors[] = {
    {1, "CUDA_ERROR_INVALID_VALUE", "invalid argument"}, {2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"}, {201, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {400, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"}, {500, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {700, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {701, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"},
    {901, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error during capture"},
};
static int error_text(int code, const char** out, int text) {
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].code == code) { *out = text ? errors[i].text : errors[i].name; return SUCCESS; }
    *out = NULL;
    return INVALID_VALUE;
}
API int cuGetErrorName(int code, const char** out) { return error_text(code, out, 0); }
API int cuGetErrorString(int code, const char** out) { return error_text(code, out, 1); }
API int cuDeviceGetCount(int* n) { ENTER(cuDeviceGetCount); *n = device_count; return SUCCESS; }
API int cuDeviceGet(int* d, int ordinal) { ENTER(cuDeviceGet); *d = ordinal; return SUCCESS; }
API int cuDeviceGetName(char* out, int n, int d) { (void)d; snprintf(out, (size_t)n, "Stub GPU"); return SUCCESS; }
API int cuDeviceGetPCIBusId(char* out, int n, int d) { snprintf(out, (size_t)n, "0000:%02x:00.0", d + 1); return SUCCESS; }
API int cuDeviceTotalMem_v2(size_t* n, int d) { (void)d; *n = total_memory; return SUCCESS; }
API int cuDeviceGetAttribute(int* v, int attribute, int d) {
    (void)d;
    ENTER(cuDeviceGetAttribute);
    switch (attribute) {
        case 16: *v = 132; break;
        case 38: *v = 50 << 20; break;
        case 75: *v = architecture / 10; break;
        case 76: *v = architecture % 10; break;
        case 97: *v = 232448; break;
        case 115: *v = pools_supported; break;
        default: return INVALID_VALUE;
    }
    return SUCCESS;
}
API int cuDevicePrimaryCtxRetain(void** c, int d) { (void)d; ENTER(cuDevicePrimaryCtxRetain); live[CONTEXT]++; *c = &context; return SUCCESS; }
API int cuDevicePrimaryCtxRelease_v2(int d) {
    (void)d;
    // The last release destroys what is left in the context: nothing may be.
    if (live[CONTEXT] == 1)
        for (int i = STREAM; i < KIND_COUNT; i++) misuses += live[i];
    live[CONTEXT]--;
    return SUCCESS;
}
API int cuCtxSetCurrent(void* c) { current = c; return SUCCESS; }
// One deep: whoever pushes pops before another does.
API int cuCtxPushCurrent_v2(void* c) { ENTER(cuCtxPushCurrent_v2); misuses += current != NULL; current = c; return SUCCESS; }
API int cuCtxPopCurrent_v2(void** c) { misuses += current == NULL; *c = current; current = NULL; return SUCCESS; }
API int cuCtxSynchronize(void) { ENTER_CONTEXT(cuCtxSynchronize); return SUCCESS; }

// ---- memory ----

static int reserve(uint64_t* address, size_t size, int pooled) {
    if (pooled) {
        size_t reserved = pool_used + size > pool_reserved ? pool_used + size : pool_reserved;
        if (reserved + direct_used > total_memory) return OUT_OF_MEMORY;
        pool_reserved = reserved, pool_used += size;
    } else {
        if (pool_reserved + direct_used + size > total_memory) return OUT_OF_MEMORY;
        direct_used += size;
    }
    struct block* b = make(MEMORY, sizeof *b);
    b->size = size, b->pooled = pooled;
    if (spare && spare_size == size) b->bytes = spare, spare = NULL;
    else b->bytes = aligned_alloc(256, (size + 255) / 256 * 256);
    blocks[block_count++ % 4096] = b;
    *address = (uint64_t)(uintptr_t)b->bytes;
    return SUCCESS;
}
static int unreserve(uint64_t address) {
    for (int i = 0; i < 4096; i++) {
        struct block* b = blocks[i];
        if (!b || (uint64_t)(uintptr_t)b->bytes != address) continue;
        if (b->pooled) pool_used -= b->size; else direct_used -= b->size;
        free(spare);
        spare = b->bytes, spare_size = b->size;
        blocks[i] = NULL;
        return end(b, MEMORY);
    }
    misuses++;
    return INVALID_VALUE;
}
API int cuMemGetInfo_v2(size_t* free_bytes, size_t* total) { ENTER_CONTEXT(cuMemGetInfo_v2); *total = total_memory, *free_bytes = total_memory - pool_reserved - direct_used; return SUCCESS; }
API int cuMemAlloc_v2(uint64_t* p, size_t n) { ENTER_CONTEXT(cuMemAlloc_v2); return reserve(p, n, 0); }
API int cuMemFree_v2(uint64_t p) { ENTER_CONTEXT(cuMemFree_v2); return unreserve(p); }
API int cuMemPoolCreate(void** pool, const void* properties) {
    ENTER_CONTEXT(cuMemPoolCreate);
    const int* p = properties;
    if (p[0] != 1 || p[2] != 1 || p[3] != 0) return INVALID_VALUE;
    *pool = make(POOL, sizeof(struct object));
    return SUCCESS;
}
API int cuMemPoolDestroy(void* pool) { ENTER_CONTEXT(cuMemPoolDestroy); pool_reserved = pool_used; return end(pool, POOL); }
API int cuMemPoolSetAttribute(void* pool, int a, uint64_t* v) { ENTER(cuMemPoolSetAttribute); NEED(pool, POOL); return a == 4 && *v == UINT64_MAX ? SUCCESS : INVALID_VALUE; }
API int cuMemPoolGetAttribute(void* pool, int a, uint64_t* v) { NEED(pool, POOL); *v = a == 5 ? pool_reserved : pool_used; return SUCCESS; }
API int cuMemPoolTrimTo(void* pool, size_t n) { (void)n; NEED(pool, POOL); trims++; pool_reserved = pool_used; return SUCCESS; }
API int cuMemAllocFromPoolAsync(uint64_t* p, size_t n, void* pool, void* s) { ENTER_CONTEXT(cuMemAllocFromPoolAsync); NEED(pool, POOL); NEED(s, STREAM); return reserve(p, n, 1); }
API int cuMemFreeAsync(uint64_t p, void* s) { ENTER_CONTEXT(cuMemFreeAsync); NEED(s, STREAM); return unreserve(p); }
API int cuMemAllocHost_v2(void** p, size_t n) { ENTER_CONTEXT(cuMemAllocHost_v2); *p = malloc(n); live[PINNED]++; return SUCCESS; }
API int cuMemFreeHost(void* p) { ENTER_CONTEXT(cuMemFreeHost); free(p); live[PINNED]--; return SUCCESS; }

// ---- streams, events ----

static void run(struct operation* o) {
    clock_ms += 1;
    if (o->what == COPY) memmove(o->destination, o->source, o->count);
    else if (o->what == FILL) memset(o->destination, o->value, o->count);
    else if (!strcmp(o->function->name, "store_kernel")) {
        // { s32* destination; s32 value; }
        void* destination;
        memcpy(&destination, o->arguments, 8);
        memcpy(destination, o->arguments + 8, 4);
    }
}
static int submit(struct stream* s, struct operation o) {
    NEED(s, STREAM);
    if (!s->capture) run(&o);
    else if (s->capture->count < 64) s->capture->operations[s->capture->count++] = o;
    else return INVALID_VALUE;
    return SUCCESS;
}
static int copy(void* d, const void* p, size_t n, struct stream* s) { return submit(s, (struct operation){.what = COPY, .destination = d, .source = p, .count = n}); }
#define PTR(a) ((void*)(uintptr_t)(a))
API int cuMemcpyHtoDAsync_v2(uint64_t d, const void* p, size_t n, struct stream* s) { ENTER_CONTEXT(cuMemcpyHtoDAsync_v2); return copy(PTR(d), p, n, s); }
API int cuMemcpyDtoHAsync_v2(void* d, uint64_t p, size_t n, struct stream* s) { ENTER_CONTEXT(cuMemcpyDtoHAsync_v2); return copy(d, PTR(p), n, s); }
API int cuMemcpyDtoDAsync_v2(uint64_t d, uint64_t p, size_t n, struct stream* s) { ENTER_CONTEXT(cuMemcpyDtoDAsync_v2); return copy(PTR(d), PTR(p), n, s); }
API int cuMemsetD8Async(uint64_t d, unsigned char v, size_t n, struct stream* s) {
    ENTER_CONTEXT(cuMemsetD8Async);
    return submit(s, (struct operation){.what = FILL, .destination = PTR(d), .value = v, .count = n});
}
API int cuStreamCreate(void** s, unsigned flags) { ENTER_CONTEXT(cuStreamCreate); (void)flags; *s = make(STREAM, sizeof(struct stream)); return SUCCESS; }
API int cuStreamDestroy_v2(void* s) { return end(s, STREAM); }
API int cuStreamSynchronize(struct stream* s) {
    ENTER(cuStreamSynchronize);
    NEED(s, STREAM);
    synchronizations++;
    return s->capture ? 900 : s->fault;
}
API int cuStreamWaitEvent(struct stream* s, struct event* e, unsigned flags) { (void)flags; ENTER(cuStreamWaitEvent); NEED(s, STREAM); NEED(e, EVENT); return SUCCESS; }
API int cuStreamBeginCapture_v2(struct stream* s, int mode) {
    ENTER(cuStreamBeginCapture_v2);
    NEED(s, STREAM);
    if (mode != 1 || s->capture) return INVALID_VALUE;
    s->capture = make(GRAPH, sizeof(struct graph));
    return SUCCESS;
}
API int cuStreamEndCapture(struct stream* s, void** graph) {
    int f = failure("cuStreamEndCapture");
    NEED(s, STREAM);
    *graph = f ? NULL : s->capture;
    if (f) end(s->capture, GRAPH);
    s->capture = NULL;
    return f;
}
API int cuEventCreate(void** e, unsigned flags) { ENTER_CONTEXT(cuEventCreate); (void)flags; *e = make(EVENT, sizeof(struct event)); return SUCCESS; }
API int cuEventDestroy_v2(void* e) { return end(e, EVENT); }
API int cuEventRecord(struct event* e, struct stream* s) { ENTER(cuEventRecord); NEED(e, EVENT); NEED(s, STREAM); e->time = clock_ms; return SUCCESS; }
API int cuEventSynchronize(void* e) { ENTER(cuEventSynchronize); NEED(e, EVENT); return SUCCESS; }
API int cuEventElapsedTime(float* ms, struct event* a, struct event* b) { ENTER(cuEventElapsedTime); NEED(a, EVENT); NEED(b, EVENT); *ms = b->time - a->time; return SUCCESS; }

// ---- modules: the code is text, "name size" a kernel ----

API int cuModuleLoadData(void** out, const char* code) {
    ENTER_CONTEXT(cuModuleLoadData);
    struct module* m = make(MODULE, sizeof *m);
    int read;
    for (; m->count < 8 && sscanf(code, "%63s %zu%n", m->functions[m->count].name, &m->functions[m->count].size, &read) == 2; code += read)
        m->functions[m->count++].shared = 48 << 10;
    *out = m;
    return SUCCESS;
}
API int cuModuleUnload(void* m) { ENTER_CONTEXT(cuModuleUnload); return end(m, MODULE); }
API int cuModuleGetFunction(void** f, struct module* m, const char* name) {
    ENTER_CONTEXT(cuModuleGetFunction);
    NEED(m, MODULE);
    for (int i = 0; i < m->count; i++)
        if (!strcmp(m->functions[i].name, name)) { *f = &m->functions[i]; return SUCCESS; }
    return NOT_FOUND;
}
API int cuFuncGetAttribute(int* v, int a, struct function* f) { (void)f; ENTER(cuFuncGetAttribute); *v = a == 4 ? 40 : a == 1 ? 1024 : 0; return SUCCESS; }
API int cuFuncSetAttribute(struct function* f, int a, int v) {
    ENTER(cuFuncSetAttribute);
    if (a != 8 || v > 232448 - 1024) return INVALID_VALUE;
    f->shared = v;
    shared_requests++;
    return SUCCESS;
}
API int cuFuncGetParamInfo(struct function* f, size_t i, size_t* offset, size_t* size) { if (i) return INVALID_VALUE; *offset = 0, *size = f->size; return SUCCESS; }
API int cuOccupancyMaxActiveBlocksPerMultiprocessor(int* n, struct function* f, int threads, size_t shared) {
    ENTER_CONTEXT(cuOccupancyMaxActiveBlocksPerMultiprocessor);
    *n = shared > (size_t)f->shared ? 0 : shared * 2 > 232448 ? 1 : 2048 / threads;
    return SUCCESS;
}
API int cuLaunchKernel(struct function* f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                       struct stream* s, void** parameters, void** extra) {
    ENTER_CONTEXT(cuLaunchKernel);
    NEED(s, STREAM);
    if (by != 1 || bz != 1 || extra || shared > (unsigned)f->shared) return INVALID_VALUE;
    struct operation o = {.what = LAUNCH, .function = f};
    memcpy(o.arguments, parameters[0], f->size);
    memcpy(last_arguments, parameters[0], last_argument_count = f->size);
    memcpy(last_launch, (unsigned[]){gx, gy, gz, bx, shared}, sizeof last_launch);
    s->fault = failure("kernel");
    return submit(s, o);
}

// ---- graphs ----

API int cuGraphGetNodes(struct graph* g, void** nodes, size_t* n) { ENTER(cuGraphGetNodes); NEED(g, GRAPH); (void)nodes; *n = (size_t)g->count; return SUCCESS; }
API int cuGraphInstantiateWithFlags(void** out, struct graph* g, unsigned long long flags) {
    ENTER_CONTEXT(cuGraphInstantiateWithFlags);
    NEED(g, GRAPH);
    (void)flags;
    struct executable* e = make(EXECUTABLE, sizeof *e);
    e->graph = g;
    *out = e;
    return SUCCESS;
}
API int cuGraphLaunch(struct executable* e, struct stream* s) {
    ENTER_CONTEXT(cuGraphLaunch);
    NEED(e, EXECUTABLE);
    NEED(s, STREAM);
    for (int i = 0; i < e->graph->count; i++) run(&e->graph->operations[i]);
    return SUCCESS;
}
API int cuGraphDestroy(void* g) { return end(g, GRAPH); }
API int cuGraphExecDestroy(void* e) { return end(e, EXECUTABLE); }
