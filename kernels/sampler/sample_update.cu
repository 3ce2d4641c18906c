// Classifier-free guidance and one DDIM or DDPM step, in place: x <- latent x + prediction eps + sigma noise (abi/sampler.h).
//
// A block takes 256 values of one image. The step is read from device memory and moved on by the last block, so that a graph holds the
// same launch for every step. Bound: bytes (up to three predictions, the latent twice, the noise; 16 kB of latent an image at 256 x 256).
// Compared with ReferenceBackend.GuideAndUpdate.
#include "sampler/update.cuh"

DIT_KERNEL(sample_update_kernel, dit_guide_and_update, 256) {
    const s32 step = global_load(args.sampler.step);
    const s32 image_values = args.channels * args.plane_size;
    const image_update update = load_update(args.sampler, step, block_y(), image_values);
    const s32 at = static_cast<s32>(block_x() * 256 + thread_index());
    if (at < image_values) {
        const s32 channel = at / args.plane_size;
        const long long row_values = static_cast<long long>(args.out_channels) * args.plane_size;
        const f32* conditional = args.prediction + update.entry.conditional_row * row_values + at;
        const f32* unconditional = args.prediction + update.entry.unconditional_row * row_values + at;
        update_value(update, channel, at, global_load_readonly(conditional), is_guided(update, channel) ? global_load_readonly(unconditional) : 0.0f,
                     update.entry.learned_variance != 0 ? global_load_readonly(conditional + image_values) : 0.0f);
    }
    finish_step(args.sampler, step, grid_x() * args.sampler.update_count);
}
