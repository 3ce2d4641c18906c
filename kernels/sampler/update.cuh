// Guidance and the sampler's update of one latent value, and the step counter in device memory: for every kernel that ends a step.
#pragma once

#include "abi/sampler.h"
#include "common/ptx.cuh"

// What one block needs of the sampler: the step, its image's entry of the table, and where that image's values lie.
struct image_update {
    dit_sample_update entry;
    f32* latents;      // of this image
    const f32* noise;  // of this image and step, or null
};

// image_values: C*S*S.
DIT_DEVICE image_update load_update(const dit_sampler& sampler, s32 step, u32 index, s32 image_values) {
    const dit_sample_update* from = sampler.updates + static_cast<long long>(step) * sampler.update_count + index;
    image_update u;
    u.entry.image = global_load_readonly(&from->image);
    u.entry.conditional_row = global_load_readonly(&from->conditional_row);
    u.entry.unconditional_row = global_load_readonly(&from->unconditional_row);
    u.entry.guidance_scale = global_load_readonly(&from->guidance_scale);
    u.entry.guided_channels = global_load_readonly(&from->guided_channels);
    u.entry.latent = global_load_readonly(&from->latent);
    u.entry.prediction = global_load_readonly(&from->prediction);
    u.entry.sigma = global_load_readonly(&from->sigma);
    u.entry.learned_variance = global_load_readonly(&from->learned_variance);
    u.entry.min_log_variance = global_load_readonly(&from->min_log_variance);
    u.entry.max_log_variance = global_load_readonly(&from->max_log_variance);
    u.latents = sampler.latents + static_cast<long long>(u.entry.image) * image_values;
    const bool adds_noise = sampler.noise != nullptr && (u.entry.learned_variance != 0 || u.entry.sigma != 0.0f);
    u.noise = adds_noise ? sampler.noise + (static_cast<long long>(step & 1) * sampler.image_count + u.entry.image) * image_values : nullptr;
    return u;
}

// Whether the unconditional prediction of this channel takes part.
DIT_DEVICE bool is_guided(const image_update& u, s32 channel) { return u.entry.unconditional_row >= 0 && channel < u.entry.guided_channels; }

// Moves the value at `at` of the image. `unconditional` counts where the channel is guided, `fraction` (v) with learned variance.
DIT_DEVICE void update_value(const image_update& u, s32 channel, long long at, f32 conditional, f32 unconditional, f32 fraction) {
    constexpr f32 kLog2E = 1.44269504f;
    const f32 predicted = is_guided(u, channel) ? fused_multiply_add(u.entry.guidance_scale, conditional - unconditional, unconditional) : conditional;
    f32 next = fused_multiply_add(u.entry.prediction, predicted, u.entry.latent * global_load(u.latents + at));
    if (u.noise != nullptr) {
        f32 sigma = u.entry.sigma;
        if (u.entry.learned_variance != 0) {
            // (f max + (1 - f) min)/2 as a line in v.
            const f32 slope = (u.entry.max_log_variance - u.entry.min_log_variance) * 0.25f;
            const f32 middle = (u.entry.max_log_variance + u.entry.min_log_variance) * 0.25f;
            sigma = exp2_approximate(kLog2E * fused_multiply_add(fraction, slope, middle));
        }
        next = fused_multiply_add(sigma, global_load_readonly(u.noise + at), next);
    }
    global_store(u.latents + at, next);
}

// Called by all threads of every block when its work is done: the block that comes last, after all have read the step, moves it on. The
// results do not depend on which one that is.
DIT_DEVICE void finish_step(const dit_sampler& sampler, s32 step, u32 block_count) {
    block_sync();
    if (thread_index() != 0) return;
    memory_fence();
    if (atomic_add(sampler.ticket, 1u) + 1 != block_count) return;
    global_store(sampler.ticket, 0u);
    global_store(sampler.step, step + 1);
}
