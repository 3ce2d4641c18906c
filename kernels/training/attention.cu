// y = softmax(q k^T / sqrt(D)) v of each head, fp32, for training.
//
// Layouts: abi/training_attention.h. Constants: HEAD = D, a multiple of 4 up to 128; WARPS, of 16 queries each, which change no bit.
//
// A block walks over the keys in order and rescales what it has where a larger logit comes (Milakov & Gimelshein 2018).
// Bound: shared memory, 16 loads of 16 bytes for 96 to 128 fused multiply-adds a thread; 2 T^2 D of those a head.
// Probabilities are 2^((score - largest) scale): the difference first, so that large logits cost no digits.
// Compared with sums in double precision.
#include "training/attention_tiles.cuh"

constexpr u32 kQueries = 0, kKeys = kQueries + kOwnBytes, kValues = kKeys + kOthersBytes, kScores = kValues + kOthersBytes;

DIT_KERNEL(training_attention_kernel, dit_training_attention, kThreads) {
    const u32 own = warp_index() * 16;
    const f32 scale = args.scale * kLog2E;
    f32 largest[4], total[4] = {};
    row_parts sums = {};
#pragma unroll
    for (int i = 0; i < 4; i++) largest[i] = bits_float(0xff800000);

    copy_rows<kOwn>(kQueries, head_of(args, args.qkv, 3, 0), static_cast<s32>(block_x()) * kOwn, args.tokens);
    for (s32 first = 0; first < args.tokens; first += kOthers) {
        block_sync();
        copy_rows<kOthers>(kKeys, head_of(args, args.qkv, 3, 1), first, args.tokens);
        copy_rows<kOthers>(kValues, head_of(args, args.qkv, 3, 2), first, args.tokens);
        wait_for_rows();
        f32 scores[4][4];
        multiply_rows(kQueries + own * kPitch, kKeys, scores);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            f32 top = largest[i];
#pragma unroll
            for (int j = 0; j < 4; j++) {
                if (!other_exists(args, first, j)) scores[i][j] = bits_float(0xff800000);
                top = maximum(top, scores[i][j]);
            }
            top = team_maximum<8>(top);
            const f32 shrink = exp2_approximate((largest[i] - top) * scale);
            largest[i] = top;
            f32 sum = 0;
#pragma unroll
            for (int j = 0; j < 4; j++) {
                scores[i][j] = exp2_approximate((scores[i][j] - top) * scale);
                sum += scores[i][j];
            }
            total[i] = fused_multiply_add(total[i], shrink, team_sum<8>(sum));
#pragma unroll
            for (int r = 0; r < kRounds; r++) {
                sums[i][r].x *= shrink;
                sums[i][r].y *= shrink;
                sums[i][r].z *= shrink;
                sums[i][r].w *= shrink;
            }
        }
        add_weighted_rows(scores, kScores + own * kScorePitch, kValues, sums);
    }
#pragma unroll
    for (int i = 0; i < 4; i++) total[i] = reciprocal(total[i]);
    store_rows(head_of(args, args.output, 1, 0), args.tokens, sums, total);
}
