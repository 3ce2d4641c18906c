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
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

#include "internal.h"

#include "memory.c"
#include "check.c"
#include "file.c"
#include "threads.c"
#include "sampling.c"

#ifdef DIT_CUDA
#include "cuda.c"
#else
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
