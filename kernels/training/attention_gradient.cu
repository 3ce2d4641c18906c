// The gradient of y = softmax(q k^T / sqrt(D)) v of each head, fp32. With p the probabilities, computed again, and dp = dy v^T:
//   ds = p (dp - sum over keys of p dp),  dq = ds k / sqrt(D),  dk = ds^T q / sqrt(D),  dv = p^T dy
//
// Layouts: abi/training_attention.h. Constants: HEAD = D, a multiple of 4 up to 128; WARPS, of 16 rows each, which change no bit.
//
// Two kernels, so that every sum is one thread's, in order: attention_query_gradient_kernel has queries of its own and walks over the keys
// twice, for the largest logit, the sum and sum p dp, which it leaves behind, and then for dq; attention_key_gradient_kernel has keys of
// its own and walks over the queries. 9 T^2 D fused multiply-adds a head, where 5 would do if probabilities were kept.
// Bound: shared memory, as attention.cu. Compared with sums in double precision.
#include "training/attention_tiles.cuh"

// Two tiles of own rows, two of others, one of scores; the keys' kernel has own k, v and others q, dy.
constexpr u32 kOwnFirst = 0, kOwnSecond = kOwnBytes, kOthersFirst = 2 * kOwnBytes, kOthersSecond = kOthersFirst + kOthersBytes;
constexpr u32 kScores = kOthersSecond + kOthersBytes;

DIT_KERNEL(attention_query_gradient_kernel, dit_training_attention, kThreads) {
    const u32 own = warp_index() * 16;
    const s32 first_query = static_cast<s32>(block_x()) * kOwn;
    const f32 scale = args.scale * kLog2E;
    copy_rows<kOwn>(kOwnFirst, head_of(args, args.qkv, 3, 0), first_query, args.tokens);
    copy_rows<kOwn>(kOwnSecond, head_of(args, args.output_gradient, 1, 0), first_query, args.tokens);
    // q k^T and dp of the keys from first on.
    const auto multiply = [&](s32 first, f32(&logits)[4][4], f32(&dp)[4][4]) {
        block_sync();
        copy_rows<kOthers>(kOthersFirst, head_of(args, args.qkv, 3, 1), first, args.tokens);
        copy_rows<kOthers>(kOthersSecond, head_of(args, args.qkv, 3, 2), first, args.tokens);
        wait_for_rows();
        multiply_rows(kOwnFirst + own * kPitch, kOthersFirst, logits);
        multiply_rows(kOwnSecond + own * kPitch, kOthersSecond, dp);
#pragma unroll
        for (int i = 0; i < 4; i++) {
#pragma unroll
            for (int j = 0; j < 4; j++)
                if (!other_exists(args, first, j)) logits[i][j] = bits_float(0xff800000);
        }
    };

    f32 largest[4], total[4] = {}, product[4] = {};
#pragma unroll
    for (int i = 0; i < 4; i++) largest[i] = bits_float(0xff800000);
    for (s32 first = 0; first < args.tokens; first += kOthers) {
        f32 logits[4][4], dp[4][4];
        multiply(first, logits, dp);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            f32 top = largest[i];
#pragma unroll
            for (int j = 0; j < 4; j++) top = maximum(top, logits[i][j]);
            top = team_maximum<8>(top);
            const f32 shrink = exp2_approximate((largest[i] - top) * scale);
            largest[i] = top;
            f32 sum = 0, weighted = 0;
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const f32 p = exp2_approximate((logits[i][j] - top) * scale);
                sum += p;
                weighted = fused_multiply_add(p, dp[i][j], weighted);
            }
            total[i] = fused_multiply_add(total[i], shrink, team_sum<8>(sum));
            product[i] = fused_multiply_add(product[i], shrink, team_sum<8>(weighted));
        }
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        total[i] = reciprocal(total[i]);
        product[i] *= total[i];
        const s32 query = first_query + static_cast<s32>(own + lane_index() / 8) + 4 * i;
        if (lane_index() % 8 == 0 && query < args.tokens) global_store(statistics_of(args) + query, f32x4{largest[i], total[i], product[i], 0.0f});
    }

    row_parts sums = {};
    for (s32 first = 0; first < args.tokens; first += kOthers) {
        f32 logits[4][4], dp[4][4];
        multiply(first, logits, dp);
#pragma unroll
        for (int i = 0; i < 4; i++) {
#pragma unroll
            for (int j = 0; j < 4; j++) dp[i][j] = exp2_approximate((logits[i][j] - largest[i]) * scale) * total[i] * (dp[i][j] - product[i]);
        }
        add_weighted_rows(dp, kScores + own * kScorePitch, kOthersFirst, sums);
    }
    const f32 factors[4] = {args.scale, args.scale, args.scale, args.scale};
    store_rows(head_of(args, args.input_gradient, 3, 0), args.tokens, sums, factors);
}

DIT_KERNEL(attention_key_gradient_kernel, dit_training_attention, kThreads) {
    const u32 own = warp_index() * 16;
    const s32 first_key = static_cast<s32>(block_x()) * kOwn;
    const f32 scale = args.scale * kLog2E;
    copy_rows<kOwn>(kOwnFirst, head_of(args, args.qkv, 3, 1), first_key, args.tokens);
    copy_rows<kOwn>(kOwnSecond, head_of(args, args.qkv, 3, 2), first_key, args.tokens);
    row_parts key_sums = {}, value_sums = {};
    for (s32 first = 0; first < args.tokens; first += kOthers) {
        block_sync();
        copy_rows<kOthers>(kOthersFirst, head_of(args, args.qkv, 3, 0), first, args.tokens);
        copy_rows<kOthers>(kOthersSecond, head_of(args, args.output_gradient, 1, 0), first, args.tokens);
        wait_for_rows();
        f32 p[4][4], ds[4][4];
        multiply_rows(kOwnFirst + own * kPitch, kOthersFirst, p);
        multiply_rows(kOwnSecond + own * kPitch, kOthersSecond, ds);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const s32 query = first + static_cast<s32>(lane_index() % 8) + 8 * j;
            // The statistics of a query that does not exist make every probability 0.
            const f32x4 s = query < args.tokens ? global_load_readonly(statistics_of(args) + query) : f32x4{};
#pragma unroll
            for (int i = 0; i < 4; i++) {
                p[i][j] = exp2_approximate((p[i][j] - s.x) * scale) * s.y;
                ds[i][j] = p[i][j] * (ds[i][j] - s.z);
            }
        }
        add_weighted_rows(p, kScores + own * kScorePitch, kOthersSecond, value_sums);
        add_weighted_rows(ds, kScores + own * kScorePitch, kOthersFirst, key_sums);
    }
    const f32 factors[4] = {args.scale, args.scale, args.scale, args.scale}, ones[4] = {1.0f, 1.0f, 1.0f, 1.0f};
    store_rows(head_of(args, args.input_gradient, 3, 1), args.tokens, key_sums, factors);
    store_rows(head_of(args, args.input_gradient, 3, 2), args.tokens, value_sums, ones);
}
