// Files, mapped: weights are read where they lie, when a product needs them.
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "files of an export are little-endian and are used as they lie"
#endif

// strerror() may share its text among threads.
static const char* dit_system_reason(int error) {
    switch (error) {
        case ENOENT: return "no such file";
        case EACCES: return "permission denied";
        case ENOTDIR: return "a part of the path is no directory";
        case EMFILE:
        case ENFILE: return "too many open files";
        case ENOMEM: return "no address space is left";
        default: return "the system refuses";
    }
}

static dit_status dit_map(dit_context* c, const char* path, const uint8_t** bytes, uint64_t* count) {
    // A pipe would wait for someone who writes to it.
    const int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) return dit_fail(c, DIT_ERROR, "%s cannot be opened: %s", path, dit_system_reason(errno));
    struct stat facts;
    dit_status status = DIT_OK;
    void* mapped = MAP_FAILED;
    if (fstat(file, &facts) != 0 || !S_ISREG(facts.st_mode)) {
        status = dit_fail(c, DIT_ERROR, "%s is no file", path);
    } else if (facts.st_size <= 0) {
        status = dit_fail(c, DIT_BAD_FILE, "%s is empty", path);
    } else if ((uint64_t)facts.st_size > SIZE_MAX / 2) {
        status = dit_fail(c, DIT_UNSUPPORTED, "%s is larger than this machine's address space", path);
    } else {
        mapped = mmap(NULL, (size_t)facts.st_size, PROT_READ, MAP_PRIVATE, file, 0);
        if (mapped == MAP_FAILED) status = dit_fail(c, DIT_ERROR, "%s cannot be mapped: %s", path, dit_system_reason(errno));
    }

    // The mapping outlives the descriptor.
    close(file);
    if (status != DIT_OK) return status;
    *bytes = mapped;
    *count = (uint64_t)facts.st_size;
    return DIT_OK;
}

static void dit_unmap(const uint8_t* bytes, uint64_t count) {
    if (bytes != NULL) munmap((void*)(uintptr_t)bytes, (size_t)count);
}

static dit_status dit_file_open(dit_context* c, const char* path) {
    DIT_TRY(dit_map(c, path, &c->file, &c->file_bytes));
    return dit_file_check(c);
}

static void dit_file_close(dit_context* c) {
    dit_unmap(c->file, c->file_bytes);
    c->file = NULL;
    c->header = NULL;
    c->layers = NULL;
}
