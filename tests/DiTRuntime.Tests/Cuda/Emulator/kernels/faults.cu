// One fault a kernel, each planted on purpose; two warps or three, and the emulated device must name every one.
#include "common/ptx.cuh"

struct fault_arguments {
    const u32* in;  // in u32 [64]
    u32* out;       // out u32 [64]
};

// So that a reader that is early finds something: without it the fault would be a read of what no one has written.
DIT_DEVICE void clear(u32 t) {
    shared_store(4 * t, 0u);
    block_sync();
}

DIT_KERNEL(missing_barrier_kernel, fault_arguments, 64) {
    const u32 t = thread_index();
    clear(t);
    shared_store(4 * t, t);
    global_store(args.out + t, shared_load<u32>(4 * (63 - t)));
}

DIT_KERNEL(missing_warp_barrier_kernel, fault_arguments, 64) {
    const u32 t = thread_index();
    clear(t);
    shared_store(4 * t, t);
    global_store(args.out + t, shared_load<u32>(4 * (t ^ 1)));
}

// The barrier before the second write is missing: a slow reader may see it.
DIT_KERNEL(overwritten_too_early_kernel, fault_arguments, 64) {
    const u32 t = thread_index();
    shared_store(4 * t, t);
    block_sync();
    const u32 v = shared_load<u32>(4 * (63 - t));
    shared_store(4 * t, v + 1);
}

// Neighbours write the two halves of a word, which is no race; reading the other's half is.
DIT_KERNEL(neighbouring_halves_kernel, fault_arguments, 64) {
    const u32 t = thread_index();
    clear(t);
    shared_store<u16>(2 * t, static_cast<u16>(t));
    global_store(args.out + t, static_cast<u32>(shared_load<u16>(2 * (t ^ 1))));
}

DIT_KERNEL(two_writers_kernel, fault_arguments, 64) { shared_store(0, thread_index()); }

DIT_KERNEL(matrix_load_without_barrier_kernel, fault_arguments, 32) {
    const u32 t = thread_index();
    shared_store(16 * t, u32x4{t, t, t, t});
    u32 r[4];
    ldmatrix_x4(16 * t, r);
    global_store(args.out + t, r[0]);
}

DIT_KERNEL(read_out_of_bounds_kernel, fault_arguments, 64) { global_store(args.out + thread_index(), global_load(args.in + thread_index() + 1)); }

DIT_KERNEL(write_out_of_bounds_kernel, fault_arguments, 64) { global_store(args.out + thread_index() - 1, 0u); }

// in holds 62 values here: the last 16 bytes are half in, half out.
DIT_KERNEL(wide_read_across_the_end_kernel, fault_arguments, 32) {
    if (thread_index() < 16) global_store(args.out + thread_index(), global_load_readonly(reinterpret_cast<const u32x4*>(args.in) + thread_index()).x);
}

DIT_KERNEL(misaligned_kernel, fault_arguments, 32) { global_load(reinterpret_cast<const u32x2*>(args.in + 1)); }

DIT_KERNEL(null_kernel, fault_arguments, 32) { global_load(static_cast<const u32*>(nullptr)); }

DIT_KERNEL(later_blocks_kernel, fault_arguments, 32) {
    if (block_y() * grid_x() + block_x() >= 13) global_load(args.in + 64);
}

DIT_KERNEL(shared_out_of_bounds_kernel, fault_arguments, 64) { shared_store(8 * thread_index() + 8, 0u); }

DIT_KERNEL(shared_misaligned_kernel, fault_arguments, 64) { shared_store(4 * thread_index() + 2, 0u); }

DIT_KERNEL(never_written_kernel, fault_arguments, 64) {
    const u32 t = thread_index();
    if (t != 7) shared_store(4 * t, t);
    block_sync();
    global_store(args.out + t, shared_load<u32>(4 * t));
}

DIT_KERNEL(copy_not_waited_for_kernel, fault_arguments, 32) {
    const u32 t = thread_index();
    if (t < 16) cp_async_16(16 * t, args.in + 4 * t);
    cp_async_commit();
    block_sync();
    global_store(args.out + t, shared_load<u32>(4 * t));
}

// The groups are counted, and this waits for one too few.
DIT_KERNEL(copy_of_a_later_group_kernel, fault_arguments, 32) {
    const u32 t = thread_index();
    cp_async_16(16 * t, args.in, false);
    cp_async_commit();
    cp_async_16(512 + 16 * t, args.in, false);
    cp_async_commit();
    cp_async_wait<1>();
    block_sync();
    global_store(args.out + t, shared_load<u32>(16 * t));
    global_store(args.out + t, shared_load<u32>(512 + 16 * t));
}

DIT_KERNEL(copy_without_barrier_kernel, fault_arguments, 32) {
    const u32 t = thread_index();
    clear(t);
    if (t < 16) cp_async_16(16 * t, args.in + 4 * t);
    cp_async_commit();
    cp_async_wait<0>();
    global_store(args.out + t, shared_load<u32>(4 * t));
}

DIT_KERNEL(divergent_kernel, fault_arguments, 64) {
    const u32 t = thread_index();
    global_store(args.out + t, t % 2 == 0 ? shuffle_xor(t, 2) : vote_ballot(true));
}

DIT_KERNEL(early_exit_kernel, fault_arguments, 64) {
    if (thread_index() == 40) return;
    global_store(args.out + thread_index(), shuffle_down(thread_index(), 1));
}

DIT_KERNEL(deadlock_kernel, fault_arguments, 96) {
    if (warp_index() == 1) return;
    block_sync();
}

// Nothing wrong here, though neighbours share words and every thread reads back its own without a barrier.
DIT_KERNEL(sound_kernel, fault_arguments, 64) {
    const u32 t = thread_index();
    shared_store<u8>(256 + t, static_cast<u8>(t));
    shared_store<u8>(256 + t, static_cast<u8>(shared_load<u8>(256 + t) + 1));
    warp_sync();
    shared_load<u8>(256 + (t ^ 1));
    shared_store(4 * t, global_load(args.in + t));
    block_sync();
    global_store(args.out + t, shared_load<u32>(4 * (63 - t)));
}
