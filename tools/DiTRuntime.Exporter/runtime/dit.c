// DiTRuntime in C: images from an exported diffusion transformer. dit.h says what it does, file.h what it reads, internal.h how its parts meet.
// One translation unit, of nothing but the C library, libm and threads: cc -std=c99 -O2 dit.c -c. Nothing but the calls of dit.h is visible.
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64
#endif
#define DIT_BUILDING

// A product and a sum that the compiler fuses are rounded once instead of twice: another image. Where they are to be fused, the code says so.
// (GCC ignores the standard's pragma, and fuses nothing under -std=c99.)
#if defined(__FAST_MATH__)
#error "fast math draws other images, and lets through what is not a number"
#elif defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__) && !defined(__STRICT_ANSI__)
#pragma GCC optimize("fp-contract=off")
#endif

#include "internal.h"

#include "memory.c"
#include "check.c"
#include "file.c"
#include "sampling.c"
#include "tiles.c"

#ifdef DIT_CUDA
#include "cuda.c"
#else
#include "threads.c"
#include "layers.c"
#include "ops.h"
#include "plan.c"
#include "model.c"
#include "decoder.c"
#include "cpu.c"
#endif

#include "api.c"
#include "generate.c"
#include "verify.c"
