// The bodies of common/ptx.cuh on a processor. A kernel becomes an exported function that runs once per thread, as a fiber of
// emulator/runtime.cpp; everything here that waits for other threads, or checks an access, calls the runtime. Kept thin: it is
// compiled with every kernel. `file` and `line` say where in the kernel a call stands, for the message of a fault.
#pragma once

#define DIT_DEVICE inline __attribute__((always_inline))
#define DIT_EXPORT extern "C" __attribute__((visibility("default")))
#define DIT_SITE const char *file, u32 line
#define DIT_CALLER const char *file = __builtin_FILE(), u32 line = __builtin_LINE()

// The kernel itself, and beside it what the runtime compares a launch with: bytes of the struct, most threads of a block.
#define DIT_KERNEL(name, Arguments, threads)                                                     \
    static_assert(sizeof(Arguments) <= 4096, "constant memory holds 4096 bytes of arguments");   \
    static void name##_body(const Arguments& args);                                              \
    DIT_EXPORT const u32 name##_limits[2];                                                       \
    const u32 name##_limits[2] = {sizeof(Arguments), threads};                                   \
    DIT_EXPORT void name(const void* arguments);                                                 \
    void name(const void* arguments) { name##_body(*static_cast<const Arguments*>(arguments)); } \
    static void name##_body([[maybe_unused]] const Arguments& args)

namespace emulator {
// A live buffer, found again by the page of an address.
struct range {
    u64 begin, length;
};
constexpr u32 kRecentRanges = 256;
struct block_view {
    u32 x, y, z, grid_x;
    range* recent;  // [kRecentRanges]
};
struct thread_view {
    u32 index;
    const block_view* block;
};
enum shuffle_kind : u32 { kShuffleIndexed, kShuffleXor, kShuffleDown };
enum vote_kind : u32 { kVoteBallot, kVoteAny, kVoteAll };
}  // namespace emulator

#pragma GCC visibility push(default)
extern "C" {
extern __thread emulator::thread_view* dit_current_thread __attribute__((tls_model("initial-exec")));
void dit_emulator_global(const void* p, u32 size, bool write, DIT_SITE);
void* dit_emulator_shared(u32 offset, u32 size, bool write, DIT_SITE);
void dit_emulator_cp_async(u32 offset, const void* source, bool valid, DIT_SITE);
void dit_emulator_cp_async_commit();
void dit_emulator_cp_async_wait(u32 pending);
void dit_emulator_block_sync(DIT_SITE);
void dit_emulator_warp_sync(DIT_SITE);
u64 dit_emulator_shuffle(u64 bits, u32 operand, emulator::shuffle_kind kind, DIT_SITE);
u32 dit_emulator_vote(bool predicate, emulator::vote_kind kind, DIT_SITE);
void dit_emulator_ldmatrix(u32 offset, u32* r, u32 count, bool transposed, DIT_SITE);
void dit_emulator_mma_f16(f32* d, const u32* a, u32 b0, u32 b1, DIT_SITE);
void dit_emulator_mma_integer(s32* d, const u32* a, u32 b0, u32 b1, bool a_signed, bool b_signed, DIT_SITE);
}
#pragma GCC visibility pop

namespace emulator {
template <class T> DIT_DEVICE T* checked(T* p, bool write, DIT_SITE) {
    static_assert(sizeof(T) <= 16 && (sizeof(T) & (sizeof(T) - 1)) == 0, "an access moves 1, 2, 4, 8 or 16 bytes");
    const u64 address = reinterpret_cast<u64>(p);
    const range& near = dit_current_thread->block->recent[(address >> 12) % kRecentRanges];
    const u64 at = address - near.begin;
    if (__builtin_expect(at >= near.length || at > near.length - sizeof(T) || address % sizeof(T) != 0, false)) dit_emulator_global(p, sizeof(T), write, file, line);
    return p;
}
template <class T> DIT_DEVICE T exchanged(T v, u32 operand, shuffle_kind kind, DIT_SITE) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "a shuffle moves four or eight bytes");
    u64 bits = 0;
    __builtin_memcpy(&bits, &v, sizeof(T));
    bits = dit_emulator_shuffle(bits, operand, kind, file, line);
    __builtin_memcpy(&v, &bits, sizeof(T));
    return v;
}
constexpr f32 kSmallestNormal = 0x1p-126f;
DIT_DEVICE f32 flushed(f32 v) { return __builtin_fabsf(v) < kSmallestNormal ? __builtin_copysignf(0.0f, v) : v; }
}  // namespace emulator

// ---- where a thread is ----

DIT_DEVICE u32 thread_index() { return dit_current_thread->index; }
DIT_DEVICE u32 block_x() { return dit_current_thread->block->x; }
DIT_DEVICE u32 block_y() { return dit_current_thread->block->y; }
DIT_DEVICE u32 block_z() { return dit_current_thread->block->z; }
DIT_DEVICE u32 grid_x() { return dit_current_thread->block->grid_x; }
DIT_DEVICE u32 lane_index() { return thread_index() & 31; }
DIT_DEVICE u32 warp_index() { return thread_index() >> 5; }

// ---- bits ----

DIT_DEVICE u32 recomputed(u32 v) { return v; }

DIT_DEVICE u32 float_bits(f32 v) {
    u32 r;
    __builtin_memcpy(&r, &v, 4);
    return r;
}
DIT_DEVICE f32 bits_float(u32 v) {
    f32 r;
    __builtin_memcpy(&r, &v, 4);
    return r;
}

// ---- global memory ----

template <class T> DIT_DEVICE T global_load(const T* p, DIT_CALLER) { return *emulator::checked(p, false, file, line); }
template <class T> DIT_DEVICE void global_store(T* p, T v, DIT_CALLER) { *emulator::checked(p, true, file, line) = v; }
template <class T> DIT_DEVICE T global_load_readonly(const T* p, DIT_CALLER) { return *emulator::checked(p, false, file, line); }

// ---- shared memory ----

template <class T> DIT_DEVICE T shared_load(u32 offset, DIT_CALLER) { return *static_cast<const T*>(dit_emulator_shared(offset, sizeof(T), false, file, line)); }
template <class T> DIT_DEVICE void shared_store(u32 offset, T v, DIT_CALLER) { *static_cast<T*>(dit_emulator_shared(offset, sizeof(T), true, file, line)) = v; }
DIT_DEVICE u32 shared_address(u32 offset) { return offset; }

// ---- asynchronous copies to shared memory ----

DIT_DEVICE void cp_async_16(u32 offset, const void* source, bool valid = true, DIT_CALLER) { dit_emulator_cp_async(offset, source, valid, file, line); }
DIT_DEVICE void cp_async_commit() { dit_emulator_cp_async_commit(); }
template <int pending> DIT_DEVICE void cp_async_wait() { dit_emulator_cp_async_wait(pending); }

// ---- barriers and exchanges inside a warp ----

DIT_DEVICE void block_sync(DIT_CALLER) { dit_emulator_block_sync(file, line); }
DIT_DEVICE void warp_sync(DIT_CALLER) { dit_emulator_warp_sync(file, line); }
template <class T> DIT_DEVICE T shuffle(T v, u32 lane, DIT_CALLER) { return emulator::exchanged(v, lane, emulator::kShuffleIndexed, file, line); }
template <class T> DIT_DEVICE T shuffle_xor(T v, u32 mask, DIT_CALLER) { return emulator::exchanged(v, mask, emulator::kShuffleXor, file, line); }
template <class T> DIT_DEVICE T shuffle_down(T v, u32 delta, DIT_CALLER) { return emulator::exchanged(v, delta, emulator::kShuffleDown, file, line); }
DIT_DEVICE u32 vote_ballot(bool predicate, DIT_CALLER) { return dit_emulator_vote(predicate, emulator::kVoteBallot, file, line); }
DIT_DEVICE bool vote_any(bool predicate, DIT_CALLER) { return dit_emulator_vote(predicate, emulator::kVoteAny, file, line) != 0; }
DIT_DEVICE bool vote_all(bool predicate, DIT_CALLER) { return dit_emulator_vote(predicate, emulator::kVoteAll, file, line) != 0; }

// ---- atomics on global memory ----

DIT_DEVICE u32 atomic_add(u32* p, u32 v, DIT_CALLER) { return __atomic_fetch_add(emulator::checked(p, true, file, line), v, __ATOMIC_RELAXED); }
DIT_DEVICE void memory_fence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

// ---- matrix fragments ----

DIT_DEVICE void ldmatrix_x4(u32 offset, u32 (&r)[4], DIT_CALLER) { dit_emulator_ldmatrix(offset, r, 4, false, file, line); }
DIT_DEVICE void ldmatrix_x2(u32 offset, u32 (&r)[2], DIT_CALLER) { dit_emulator_ldmatrix(offset, r, 2, false, file, line); }
DIT_DEVICE void ldmatrix_x4_transposed(u32 offset, u32 (&r)[4], DIT_CALLER) { dit_emulator_ldmatrix(offset, r, 4, true, file, line); }
DIT_DEVICE void ldmatrix_x2_transposed(u32 offset, u32 (&r)[2], DIT_CALLER) { dit_emulator_ldmatrix(offset, r, 2, true, file, line); }
DIT_DEVICE void mma_f16(f32 (&d)[4], const u32 (&a)[4], u32 b0, u32 b1, DIT_CALLER) { dit_emulator_mma_f16(d, a, b0, b1, file, line); }
DIT_DEVICE void mma_s8_s8(s32 (&d)[4], const u32 (&a)[4], u32 b0, u32 b1, DIT_CALLER) { dit_emulator_mma_integer(d, a, b0, b1, true, true, file, line); }
DIT_DEVICE void mma_u8_s8(s32 (&d)[4], const u32 (&a)[4], u32 b0, u32 b1, DIT_CALLER) { dit_emulator_mma_integer(d, a, b0, b1, false, true, file, line); }
DIT_DEVICE void mma_u8_u8(s32 (&d)[4], const u32 (&a)[4], u32 b0, u32 b1, DIT_CALLER) { dit_emulator_mma_integer(d, a, b0, b1, false, false, file, line); }

// ---- conversions ----

DIT_DEVICE f32 half_to_float(f16 v) {
    _Float16 h;
    __builtin_memcpy(&h, &v, 2);
    return static_cast<f32>(h);
}
DIT_DEVICE f16 float_to_half(f32 v) {
    const _Float16 h = static_cast<_Float16>(v);
    f16 r;
    __builtin_memcpy(&r, &h, 2);
    return r;
}
DIT_DEVICE u32 floats_to_half2(f32 low, f32 high) { return static_cast<u32>(float_to_half(low)) | static_cast<u32>(float_to_half(high)) << 16; }
DIT_DEVICE f32x2 half2_to_floats(u32 v) { return {half_to_float(static_cast<f16>(v)), half_to_float(static_cast<f16>(v >> 16))}; }
// One operation in fp32 and a rounding to half equal one rounding: 24 bits are enough for two factors of 11.
DIT_DEVICE u32 half2_add(u32 a, u32 b) {
    const f32x2 p = half2_to_floats(a), q = half2_to_floats(b);
    return floats_to_half2(p.x + q.x, p.y + q.y);
}
DIT_DEVICE u32 half2_subtract(u32 a, u32 b) {
    const f32x2 p = half2_to_floats(a), q = half2_to_floats(b);
    return floats_to_half2(p.x - q.x, p.y - q.y);
}
DIT_DEVICE u32 half2_multiply(u32 a, u32 b) {
    const f32x2 p = half2_to_floats(a), q = half2_to_floats(b);
    return floats_to_half2(p.x * q.x, p.y * q.y);
}
// Out of range saturates, and no number gives 0, as cvt does.
DIT_DEVICE s32 round_to_int(f32 v) {
    const f32 r = __builtin_rintf(v);
    if (r != r) return 0;
    return r >= 0x1p31f ? 0x7fffffff : r < -0x1p31f ? -0x7fffffff - 1 : static_cast<s32>(r);
}
DIT_DEVICE u32 pack_saturated_u8(s32 a, s32 b, s32 c, s32 d) {
    const s32 v[4] = {a, b, c, d};
    u32 r = 0;
    for (int i = 0; i < 4; i++) r |= static_cast<u32>(v[i] < 0 ? 0 : v[i] > 255 ? 255 : v[i]) << 8 * i;
    return r;
}
DIT_DEVICE u32 dot4_u8(u32 a, u32 b, u32 sum) {
    for (int i = 0; i < 32; i += 8) sum += (a >> i & 255) * (b >> i & 255);
    return sum;
}
// A nibble's top bit asks for the byte's sign, eight times.
DIT_DEVICE u32 byte_permute(u32 a, u32 b, u32 selector) {
    const u64 bytes = static_cast<u64>(b) << 32 | a;
    u32 r = 0;
    for (int i = 0; i < 4; i++) {
        const u32 nibble = selector >> 4 * i & 15;
        const u32 byte = static_cast<u32>(bytes >> 8 * (nibble & 7)) & 255;
        r |= (nibble & 8 ? (byte & 128 ? 255u : 0u) : byte) << 8 * i;
    }
    return r;
}

// ---- arithmetic ----

DIT_DEVICE f32 fused_multiply_add(f32 a, f32 b, f32 c) { return __builtin_fmaf(a, b, c); }
// Of a number and no number, the number.
DIT_DEVICE f32 minimum(f32 a, f32 b) { return b != b || a < b ? a : b; }
DIT_DEVICE f32 maximum(f32 a, f32 b) { return b != b || a > b ? a : b; }
DIT_DEVICE f32 square_root(f32 v) { return __builtin_sqrtf(v); }
DIT_DEVICE f32 exp2_approximate(f32 v) { return emulator::flushed(__builtin_exp2f(emulator::flushed(v))); }
// With the Newton step of the device's version, so that 0 and infinity give no number here too.
DIT_DEVICE f32 reciprocal(f32 v) {
    const f32 r = emulator::flushed(1.0f / emulator::flushed(v));
    return __builtin_fmaf(__builtin_fmaf(-v, r, 1.0f), r, r);
}
DIT_DEVICE f32 reciprocal_square_root(f32 v) {
    const f32 r = 1.0f / __builtin_sqrtf(emulator::flushed(v));
    return r * __builtin_fmaf(-0.5f * v * r, r, 1.5f);
}

#undef DIT_CALLER
