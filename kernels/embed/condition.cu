// condition = SiLU(timestep embedding + label embedding), and the features that the timestep embedding is made from:
// [cos(t w), sin(t w)] (Peebles & Xie 2023, after Vaswani et al. 2017).
//
// Layouts: abi/condition.h. Constants: HIDDEN = H, a multiple of 8; HALF = the number of frequencies, even.
//
// Bound: launch; they run once a request. Compared with ReferenceBackend.Condition and with the host's sine.
#include "abi/condition.h"
#include "common/reduce.cuh"

constexpr int kThreads = 128;

#ifdef HIDDEN
DIT_DEVICE f32 silu(f32 x) {
    // Beyond 2^100 the quotient is no half any more, and 1/infinity has no Newton step.
    const f32 e = exp2_approximate(minimum(-1.44269504f * x, 100.0f));
    return x * reciprocal(1.0f + e);
}

DIT_KERNEL(condition_kernel, dit_condition, kThreads) {
    constexpr u32 units = HIDDEN / 8;
    const u32 task = block_x() * kThreads + thread_index();
    const u32 row = task / units, unit = task % units;
    if (row >= static_cast<u32>(args.rows)) return;
    f32 x[8];
    unpack_halves(global_load_readonly(reinterpret_cast<const u32x4*>(args.timestep_embedding) + task), x);
    const s32 label = global_load_readonly(args.labels + row);
    const f32x4* table = reinterpret_cast<const f32x4*>(args.label_table + static_cast<long long>(label) * HIDDEN) + 2 * unit;
    const f32x4 low = global_load_readonly(table), high = global_load_readonly(table + 1);
    const u32x4 packed = {floats_to_half2(silu(x[0] + low.x), silu(x[1] + low.y)), floats_to_half2(silu(x[2] + low.z), silu(x[3] + low.w)),
                          floats_to_half2(silu(x[4] + high.x), silu(x[5] + high.y)), floats_to_half2(silu(x[6] + high.z), silu(x[7] + high.w))};
    global_store(reinterpret_cast<u32x4*>(args.condition) + task, packed);
}
#endif

#ifdef HALF
// cos x and sin x for 0 <= x < 10^4: the nearest multiple of pi/2 is taken away in three parts (Cody & Waite 1980), the rest is at most
// pi/4, where the series' next terms are below 2^-25.
DIT_DEVICE f32x2 cosine_and_sine(f32 x) {
    const s32 quarter = round_to_int(x * 0.636619772f);
    const f32 k = static_cast<f32>(-quarter);
    f32 r = fused_multiply_add(k, 1.5703125f, x);            // pi/2 to 8 bits: exact products
    r = fused_multiply_add(k, 4.837512969970703125e-4f, r);  // the next 12
    r = fused_multiply_add(k, 7.549789948768648e-8f, r);
    const f32 z = r * r;
    f32 s = fused_multiply_add(z, 2.75573192e-6f, -1.98412698e-4f);
    s = fused_multiply_add(s, z, 8.33333333e-3f);
    s = fused_multiply_add(s, z, -1.66666667e-1f);
    s = fused_multiply_add(s * z, r, r);
    f32 c = fused_multiply_add(z, -2.75573192e-7f, 2.48015873e-5f);
    c = fused_multiply_add(c, z, -1.38888889e-3f);
    c = fused_multiply_add(c, z, 4.16666667e-2f);
    c = fused_multiply_add(c, z, -0.5f);
    c = fused_multiply_add(c, z, 1.0f);
    const f32 cosine = quarter & 1 ? s : c, sine = quarter & 1 ? c : s;
    return {(quarter + 1) & 2 ? -cosine : cosine, quarter & 2 ? -sine : sine};
}

DIT_KERNEL(timestep_features_kernel, dit_timestep_features, kThreads) {
    constexpr u32 pairs = HALF / 2;
    const u32 task = block_x() * kThreads + thread_index();
    const u32 row = task / pairs, pair = task % pairs;
    if (row >= static_cast<u32>(args.rows)) return;
    const f32 t = static_cast<f32>(global_load_readonly(args.timesteps + row));
    const f32x2 w = global_load_readonly(reinterpret_cast<const f32x2*>(args.frequencies) + pair);
    const f32x2 first = cosine_and_sine(t * w.x), second = cosine_and_sine(t * w.y);
    u32* out = reinterpret_cast<u32*>(args.features) + row * (2 * pairs) + pair;
    global_store(out, floats_to_half2(first.x, second.x));
    global_store(out + pairs, floats_to_half2(first.y, second.y));
}
#endif
