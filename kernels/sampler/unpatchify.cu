// Patches back into images: y[b, c, row, column] = x[b, token, (p, q, c)].
//
// A thread moves one value; neighbours write neighbouring columns. Bound: bytes. Compared with ReferenceBackend.Unpatchify.
#include "abi/sampler.h"
#include "common/ptx.cuh"

DIT_KERNEL(unpatchify_kernel, dit_unpatchify, 256) {
    const s32 plane = args.side * args.side;
    const s32 at = static_cast<s32>(block_x() * 256 + thread_index());
    if (at >= args.channels * plane) return;
    const s32 channel = at / plane, row = at % plane / args.side, column = at % args.side;
    const s32 patches_per_side = args.side / args.patch;
    const s32 token = row / args.patch * patches_per_side + column / args.patch;
    const s32 feature = (row % args.patch * args.patch + column % args.patch) * args.channels + channel;
    // p*p*C values a token, T tokens: as many as the image holds.
    const long long sample = static_cast<long long>(block_y()) * args.channels * plane;
    global_store(args.output + sample + at, global_load_readonly(args.patches + sample + token * (args.patch * args.patch * args.channels) + feature));
}
