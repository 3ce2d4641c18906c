// Every PTX instruction the project uses, as a small named function. With DIT_EMULATED defined the same names have C++ bodies
// (emulator/ptx_emulated.h), so the text of a kernel runs on a processor too. Kernels touch global and shared memory through these
// functions only: the emulator checks every access. Nothing from the CUDA toolkit is included.
#pragma once

#include "abi/types.h"

// 8 and 16 bytes that move in one instruction.
struct alignas(8) u32x2 { u32 x, y; };
struct alignas(16) u32x4 { u32 x, y, z, w; };
struct alignas(8) f32x2 { f32 x, y; };
struct alignas(16) f32x4 { f32 x, y, z, w; };

#ifdef DIT_EMULATED
#include "emulator/ptx_emulated.h"
#else

#define DIT_DEVICE __device__ __forceinline__

// A kernel: one argument struct, passed by value in constant memory. One block a multiprocessor is asked for: else the assembler spills to
// make room for a second one where it thinks that pays.
#define DIT_KERNEL(name, Arguments, threads) \
    extern "C" __global__ void __launch_bounds__(threads, 1) name(const __grid_constant__ Arguments args)

// ---- where a thread is ----

DIT_DEVICE u32 thread_index() { return threadIdx.x; }
DIT_DEVICE u32 block_x() { return blockIdx.x; }
DIT_DEVICE u32 block_y() { return blockIdx.y; }
DIT_DEVICE u32 block_z() { return blockIdx.z; }
DIT_DEVICE u32 grid_x() { return gridDim.x; }
DIT_DEVICE u32 lane_index() { return threadIdx.x & 31; }
// All threads of the warp take part: the exchange is how the compiler learns that the value is the same for all of them. What depends on it
// then lies in uniform registers, and shuffles behind a branch on it need no function that gathers stragglers.
DIT_DEVICE u32 warp_index() { return __shfl_sync(0xffffffffu, threadIdx.x >> 5, 0); }

// ---- bits ----

// The same value, computed anew where it stands: what follows from it is not kept in registers across a loop.
DIT_DEVICE u32 recomputed(u32 v) {
    asm volatile("" : "+r"(v));
    return v;
}

DIT_DEVICE u32 float_bits(f32 v) { return __float_as_uint(v); }
DIT_DEVICE f32 bits_float(u32 v) { return __uint_as_float(v); }

// ---- global memory ----
// T is 1, 2, 4, 8 or 16 bytes, aligned to its size.

template <class T> DIT_DEVICE T global_load(const T* p) { return *p; }
template <class T> DIT_DEVICE void global_store(T* p, T v) { *p = v; }
// For data that no thread writes while the kernel runs: goes through the read-only path.
template <class T> DIT_DEVICE T global_load_readonly(const T* p) { return __ldg(p); }
DIT_DEVICE f32x4 global_load_readonly(const f32x4* p) {
    f32x4 v;
    asm("ld.global.nc.v4.f32 {%0,%1,%2,%3}, [%4];" : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w) : "l"(p));
    return v;
}
DIT_DEVICE u32x4 global_load_readonly(const u32x4* p) {
    u32x4 v;
    asm("ld.global.nc.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p));
    return v;
}
DIT_DEVICE u32x2 global_load_readonly(const u32x2* p) {
    u32x2 v;
    asm("ld.global.nc.v2.u32 {%0,%1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(p));
    return v;
}
DIT_DEVICE f32x2 global_load_readonly(const f32x2* p) {
    f32x2 v;
    asm("ld.global.nc.v2.f32 {%0,%1}, [%2];" : "=f"(v.x), "=f"(v.y) : "l"(p));
    return v;
}

// ---- shared memory ----
// Addressed by byte offset from the start of the block's dynamic shared memory; nothing is declared __shared__.

extern __shared__ __align__(128) u8 dit_shared_memory[];
// Offsets are widened as signed numbers: what a kernel adds to an int offset then ends in the instruction's own constant.
template <class T> DIT_DEVICE T shared_load(u32 offset) { return *reinterpret_cast<const T*>(dit_shared_memory + static_cast<s32>(offset)); }
template <class T> DIT_DEVICE void shared_store(u32 offset, T v) { *reinterpret_cast<T*>(dit_shared_memory + static_cast<s32>(offset)) = v; }
DIT_DEVICE u32 shared_address(u32 offset) { return static_cast<u32>(__cvta_generic_to_shared(dit_shared_memory)) + offset; }

// ---- asynchronous copies to shared memory, 16 bytes each (sm_80) ----
// Where valid is false nothing is read and zeros are written. A copy is visible to its own thread after cp_async_wait, to the
// block after a block_sync that follows it.

DIT_DEVICE void cp_async_16(u32 offset, const void* source, bool valid = true) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(offset)), "l"(source), "r"(valid ? 16 : 0) : "memory");
}
DIT_DEVICE void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Until at most `pending` of this thread's newest groups are unfinished.
template <int pending> DIT_DEVICE void cp_async_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory"); }

// ---- barriers and exchanges inside a warp ----
// All threads of the block, or of the warp, take part.

DIT_DEVICE void block_sync() { __syncthreads(); }
DIT_DEVICE void warp_sync() { __syncwarp(); }
template <class T> DIT_DEVICE T shuffle(T v, u32 lane) { return __shfl_sync(0xffffffffu, v, lane); }
template <class T> DIT_DEVICE T shuffle_xor(T v, u32 mask) { return __shfl_xor_sync(0xffffffffu, v, mask); }
template <class T> DIT_DEVICE T shuffle_down(T v, u32 delta) { return __shfl_down_sync(0xffffffffu, v, delta); }
DIT_DEVICE u32 vote_ballot(bool predicate) { return __ballot_sync(0xffffffffu, predicate); }
DIT_DEVICE bool vote_any(bool predicate) { return __any_sync(0xffffffffu, predicate); }
DIT_DEVICE bool vote_all(bool predicate) { return __all_sync(0xffffffffu, predicate); }

// ---- atomics on global memory (never on results: see docs) ----

DIT_DEVICE u32 atomic_add(u32* p, u32 v) { return atomicAdd(p, v); }
DIT_DEVICE void memory_fence() { __threadfence(); }

// ---- matrix fragments (sm_75: ldmatrix; sm_80: the products) ----
// ldmatrix: lane i gives the shared offset of row i%8 of matrix i/8, 16 bytes a row; afterwards register j of lane i holds the two
// halves (four bytes) 2*(i%4).. of row i/4 of matrix j. The transposed form gives columns: halves at rows 2*(i%4), +1 of column i/4.

DIT_DEVICE void ldmatrix_x4(u32 offset, u32 (&r)[4]) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(offset)) : "memory");
}
DIT_DEVICE void ldmatrix_x2(u32 offset, u32 (&r)[2]) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(shared_address(offset)) : "memory");
}
DIT_DEVICE void ldmatrix_x4_transposed(u32 offset, u32 (&r)[4]) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(offset)) : "memory");
}
DIT_DEVICE void ldmatrix_x2_transposed(u32 offset, u32 (&r)[2]) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(shared_address(offset)) : "memory");
}

// d += a b, m16n8k16, halves in, fp32 sums. Lane i, g = i/4, t = i%4:
//   a[0] row g, columns 2t 2t+1; a[1] row g+8; a[2] row g, columns 2t+8 2t+9; a[3] row g+8
//   b[0] rows 2t 2t+1 of column g; b[1] rows 2t+8 2t+9
//   d[0] d[1] row g, columns 2t 2t+1; d[2] d[3] row g+8
DIT_DEVICE void mma_f16(f32 (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
// d += a b, m16n8k32, bytes in, exact s32 sums. a[0] row g, columns 4t..4t+3; a[1] row g+8; a[2] row g, columns 4t+16..; a[3] row g+8;
// b0 rows 4t..4t+3 of column g; b1 rows 4t+16..; d as above.
#define DIT_MMA_INTEGER(name, types)                                                                                          \
    DIT_DEVICE void name(s32 (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {                                                    \
        asm("mma.sync.aligned.m16n8k32.row.col.s32." types ".s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"       \
            : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1)); \
    }
DIT_MMA_INTEGER(mma_s8_s8, "s8.s8")
DIT_MMA_INTEGER(mma_u8_s8, "u8.s8")
DIT_MMA_INTEGER(mma_u8_u8, "u8.u8")
#undef DIT_MMA_INTEGER

// ---- conversions ----

DIT_DEVICE f32 half_to_float(f16 v) {
    f32 r;
    asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(v));
    return r;
}
DIT_DEVICE f16 float_to_half(f32 v) {
    f16 r;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r) : "f"(v));
    return r;
}
// Two halves in a register, the first in the low bits.
DIT_DEVICE u32 floats_to_half2(f32 low, f32 high) {
    u32 r;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}
DIT_DEVICE f32x2 half2_to_floats(u32 v) { return {half_to_float(static_cast<f16>(v)), half_to_float(static_cast<f16>(v >> 16))}; }
DIT_DEVICE u32 half2_add(u32 a, u32 b) {
    u32 r;
    asm("add.rn.f16x2 %0, %1, %2;" : "=r"(r) : "r"(a), "r"(b));
    return r;
}
DIT_DEVICE u32 half2_subtract(u32 a, u32 b) {
    u32 r;
    asm("sub.rn.f16x2 %0, %1, %2;" : "=r"(r) : "r"(a), "r"(b));
    return r;
}
DIT_DEVICE u32 half2_multiply(u32 a, u32 b) {
    u32 r;
    asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(r) : "r"(a), "r"(b));
    return r;
}
// To the nearest integer, halves to even.
DIT_DEVICE s32 round_to_int(f32 v) {
    s32 r;
    asm("cvt.rni.s32.f32 %0, %1;" : "=r"(r) : "f"(v));
    return r;
}
// Four integers clamped to 0..255, a in the low byte.
DIT_DEVICE u32 pack_saturated_u8(s32 a, s32 b, s32 c, s32 d) {
    u32 r;
    asm("{.reg .u32 t; cvt.pack.sat.u8.s32.b32 t, %4, %3, 0; cvt.pack.sat.u8.s32.b32 %0, %2, %1, t;}" : "=r"(r) : "r"(a), "r"(b), "r"(c), "r"(d));
    return r;
}
// sum + the four products of unsigned bytes.
DIT_DEVICE u32 dot4_u8(u32 a, u32 b, u32 sum) { return __dp4a(a, b, sum); }
// Bytes picked from {b, a} (a holds bytes 0 to 3) by the nibbles of the selector.
DIT_DEVICE u32 byte_permute(u32 a, u32 b, u32 selector) { return __byte_perm(a, b, selector); }

// ---- arithmetic ----

DIT_DEVICE f32 fused_multiply_add(f32 a, f32 b, f32 c) { return __fmaf_rn(a, b, c); }
DIT_DEVICE f32 minimum(f32 a, f32 b) { return fminf(a, b); }
DIT_DEVICE f32 maximum(f32 a, f32 b) { return fmaxf(a, b); }
DIT_DEVICE f32 square_root(f32 v) {
    f32 r;
    asm("sqrt.approx.f32 %0, %1;" : "=f"(r) : "f"(v));
    return r;
}
// 2^v to 2 units in the last place; 0 for -infinity.
DIT_DEVICE f32 exp2_approximate(f32 v) {
    f32 r;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(v));
    return r;
}
// 1/v, one Newton step from the hardware's estimate: correctly rounded but for a few arguments, and no call.
DIT_DEVICE f32 reciprocal(f32 v) {
    f32 r;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(v));
    return __fmaf_rn(__fmaf_rn(-v, r, 1.0f), r, r);
}
// 1/sqrt(v), with a Newton step too.
DIT_DEVICE f32 reciprocal_square_root(f32 v) {
    f32 r;
    asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(v));
    return r * __fmaf_rn(-0.5f * v * r, r, 1.5f);
}
#endif
