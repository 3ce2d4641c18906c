// The allocator, and errors.
#include "internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Lies right before the aligned bytes that a caller gets.
typedef struct dit_block {
    void* start;     // what the allocator gave
    uint64_t bytes;  // counted against max_memory
} dit_block;

static void* dit_allocate(dit_context* c, uint64_t bytes) {
    const uint64_t extra = sizeof(dit_block) + DIT_ALIGNMENT - 1;
    if (bytes > SIZE_MAX - extra) return NULL;
    const uint64_t whole = bytes + extra;
    if (c->max_memory != 0 && (whole > c->max_memory || c->allocated > c->max_memory - whole)) return NULL;

    // Pages that calloc gets from the system are zero already, and take no memory before they are written.
    void* start = c->allocator.allocate != NULL ? c->allocator.allocate(c->allocator.user, (size_t)whole) : calloc(1, (size_t)whole);
    if (start == NULL) return NULL;
    const uintptr_t first = (uintptr_t)start + sizeof(dit_block);
    uint8_t* aligned = (uint8_t*)start + sizeof(dit_block) + (DIT_ALIGNMENT - first % DIT_ALIGNMENT) % DIT_ALIGNMENT;
    if (c->allocator.allocate != NULL) memset(aligned, 0, (size_t)bytes);
    const dit_block block = {start, whole};
    memcpy(aligned - sizeof block, &block, sizeof block);
    c->allocated += whole;
    return aligned;
}

static void dit_release(dit_context* c, void* aligned) {
    if (aligned == NULL) return;
    dit_block block;
    memcpy(&block, (uint8_t*)aligned - sizeof block, sizeof block);
    c->allocated -= block.bytes;
    if (c->allocator.release != NULL) c->allocator.release(c->allocator.user, block.start);
    else free(block.start);
}

static dit_status dit_fail(dit_context* c, dit_status status, const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(c->error, sizeof c->error, format, arguments);
    va_end(arguments);
    return status;
}

static dit_status dit_no_memory(dit_context* c, uint64_t bytes, const char* purpose) {
    if (c->max_memory != 0)
        return dit_fail(c, DIT_OUT_OF_MEMORY, "%s: %" PRIu64 " bytes are not to be had: %" PRIu64 " of max_memory %" PRIu64 " are taken",
                        purpose, bytes, c->allocated, c->max_memory);
    return dit_fail(c, DIT_OUT_OF_MEMORY, "%s: %" PRIu64 " bytes are not to be had", purpose, bytes);
}
