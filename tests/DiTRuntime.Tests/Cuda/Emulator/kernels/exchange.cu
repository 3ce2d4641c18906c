// Every exchange between threads, once each, for comparison with plain loops.
#include "common/ptx.cuh"

struct lane_arguments {
    const u32* in;  // in u32 [32]
    u32* out;       // out u32 [7, 32]
};

DIT_KERNEL(lanes_kernel, lane_arguments, 32) {
    const u32 t = thread_index(), v = global_load(args.in + t);
    global_store(args.out + t, shuffle(v, t * 5 + 3));
    global_store(args.out + 32 + t, shuffle_xor(v, 9));
    global_store(args.out + 64 + t, float_bits(shuffle_down(bits_float(v), 5)));
    global_store(args.out + 96 + t, vote_ballot(v % 3 == 0));
    global_store<u32>(args.out + 128 + t, vote_any(v == 1000) + 2 * vote_any(v == 37));
    global_store<u32>(args.out + 160 + t, vote_all(v < 1000) + 2 * vote_all(v < 50));
    global_store(args.out + 192 + t, static_cast<u32>(shuffle(static_cast<u64>(v) << 32, 4) >> 32));
}

struct matrix_arguments {
    const u8* a;      // in [16, 32 bytes]
    const u8* b;      // in [8, 32 bytes]: B transposed
    u32* d;           // in/out u32 or f32 [16, 8]
    u32* transposed;  // out u32 [4, 32]: A's four blocks by the transposed load
    s32 kind;         // 0 f16, 1 s8 s8, 2 u8 s8, 3 u8 u8
};

DIT_KERNEL(matrix_kernel, matrix_arguments, 32) {
    const u32 t = thread_index();
    shared_store(16 * t, global_load(reinterpret_cast<const u32x4*>(args.a) + t));
    if (t < 16) shared_store(512 + 16 * t, global_load(reinterpret_cast<const u32x4*>(args.b) + t));
    warp_sync();
    u32 a[4], b[2], c[4], e[2];
    ldmatrix_x4(t % 16 * 32 + t / 16 * 16, a);
    ldmatrix_x2(512 + t % 8 * 32 + t / 8 % 2 * 16, b);
    ldmatrix_x4_transposed(t % 16 * 32 + t / 16 * 16, c);
    ldmatrix_x2_transposed(t % 16 * 32, e);
    for (int i = 0; i < 4; i++) global_store(args.transposed + 32 * i + t, i < 2 ? e[i] : c[i]);
    u32* d = args.d + t / 4 * 8 + t % 4 * 2;
    u32* const at[4] = {d, d + 1, d + 64, d + 65};
    if (args.kind == 0) {
        f32 s[4];
        for (int i = 0; i < 4; i++) s[i] = bits_float(global_load(at[i]));
        mma_f16(s, a, b[0], b[1]);
        for (int i = 0; i < 4; i++) global_store(at[i], float_bits(s[i]));
    } else {
        s32 s[4];
        for (int i = 0; i < 4; i++) s[i] = static_cast<s32>(global_load(at[i]));
        if (args.kind == 1)
            mma_s8_s8(s, a, b[0], b[1]);
        else if (args.kind == 2)
            mma_u8_s8(s, a, b[0], b[1]);
        else
            mma_u8_u8(s, a, b[0], b[1]);
        for (int i = 0; i < 4; i++) global_store(at[i], static_cast<u32>(s[i]));
    }
}

struct block_arguments {
    const f32* x;  // in f32 [count]
    f32* y;        // out f32 [count]: x reversed within each 128, times factor
    u32* counter;  // in/out u32 [1]: blocks that ran
    s32 count;
    f32 factor;
};

// Three stages: asynchronous copies (zeros beyond the end), a barrier, a reversed read.
DIT_KERNEL(blocks_kernel, block_arguments, 128) {
    const u32 t = thread_index(), first = (block_y() * grid_x() + block_x()) * 128, count = static_cast<u32>(args.count);
    if (t < 32) cp_async_16(16 * t, args.x + first + 4 * t, first + 4 * t < count);
    cp_async_commit();
    cp_async_wait<0>();
    block_sync();
    const f32 v = shared_load<f32>(4 * (127 - t));
    if (first + t < count) global_store(args.y + first + t, args.factor * v);
    if (t == 0) atomic_add(args.counter, 1);
}

struct order_arguments {
    u32* next;   // in/out u32 [1]: a ticket counter
    u32* order;  // out u32 [256]: who came when
};

// Takes tickets: shows in which order threads run.
DIT_KERNEL(order_kernel, order_arguments, 256) { global_store(args.order + atomic_add(args.next, 1), thread_index()); }

struct scalar_arguments {
    const f32* x;  // in f32 [32]
    u32* out;      // out u32 [12, 32]
};

DIT_KERNEL(scalars_kernel, scalar_arguments, 32) {
    const u32 t = thread_index();
    const f32 x = global_load(args.x + t), y = global_load(args.x + (t + 1) % 32);
    u32* out = args.out + t;
    global_store(out, static_cast<u32>(float_to_half(x)));
    global_store(out + 32, half2_add(floats_to_half2(x, y), floats_to_half2(y, y)));
    global_store(out + 64, half2_subtract(floats_to_half2(x, y), floats_to_half2(y, y)));
    global_store(out + 96, half2_multiply(floats_to_half2(x, y), floats_to_half2(y, y)));
    global_store(out + 128, static_cast<u32>(round_to_int(x)));
    global_store(out + 160, pack_saturated_u8(round_to_int(x), round_to_int(y), -round_to_int(x), 300));
    global_store(out + 192, dot4_u8(float_bits(x), float_bits(y), 7));
    global_store(out + 224, byte_permute(float_bits(x), float_bits(y), 0x3a51));
    global_store(out + 256, float_bits(reciprocal(x)));
    global_store(out + 288, float_bits(reciprocal_square_root(x)));
    global_store(out + 320, float_bits(exp2_approximate(x)));
    global_store(out + 352, float_bits(minimum(x, maximum(y, 0.0f))));
}
