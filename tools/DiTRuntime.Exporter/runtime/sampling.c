// Which timesteps a run visits, and how each step moves the latents (NoiseSchedule.cs, TimestepSpacing.cs, SamplingPlan.cs); PyTorch's random
// numbers (TorchGenerator.cs). Everything is worked out in double precision and rounded once.
#include "internal.h"

#include <math.h>
#include <string.h>

// ᾱ of the linear schedule: 1000 β from 1e-4 to 0.02.
static void dit_alphas_double(double* alphas) {
    const double first = 1e-4, last = 0.02, step = (last - first) / (DIT_TRAINING_STEPS - 1);
    double product = 1;
    for (int t = 0; t < DIT_TRAINING_STEPS; t++) {
        const double beta = t == DIT_TRAINING_STEPS - 1 ? last : t * step + first;
        product *= 1 - beta;
        alphas[t] = product;
    }
}

// The same as diffusers computes it: PyTorch's single-precision linspace works from both ends towards the middle; its cumulative product
// carries a double and rounds each entry as it is stored.
static void dit_alphas_single(double* alphas) {
    const float first = 1e-4f, last = 0.02f, step = (last - first) / (DIT_TRAINING_STEPS - 1);
    double product = 1;
    for (int t = 0; t < DIT_TRAINING_STEPS; t++) {
        const float beta = t < DIT_TRAINING_STEPS / 2 ? first + step * (float)t : last - step * (float)(DIT_TRAINING_STEPS - 1 - t);
        product *= 1.0f - beta;
        alphas[t] = (float)product;
    }
}

static uint32_t dit_steps_of_stride(uint32_t stride) { return (DIT_TRAINING_STEPS + stride - 1) / stride; }

static dit_status dit_whole_stride(dit_context* c, uint32_t count, uint32_t* found) {
    uint32_t stride = 1;
    while (dit_steps_of_stride(stride) > count) stride++;
    *found = stride;
    if (dit_steps_of_stride(stride) == count) return DIT_OK;
    return dit_fail(c, DIT_INVALID_ARGUMENT,
                    "steps %u: no whole stride over %d timesteps makes as many; the nearest counts are %u and %u (linspace takes any count)", count,
                    DIT_TRAINING_STEPS, dit_steps_of_stride(stride), dit_steps_of_stride(stride - 1));
}

// Halves round to even, here and below: published samples depend on it.
static void dit_linspace(uint32_t count, bool diffusers, int32_t* timesteps) {
    const double stride = count == 1 ? (diffusers ? 0 : 1) : (DIT_TRAINING_STEPS - 1) / (double)(count - 1);
    double position = 0;
    // The published code accumulates the stride.
    for (uint32_t i = 0; i < count; i++, position += stride) timesteps[i] = (int32_t)rint(diffusers ? i * stride : position);
}

static void dit_trailing(uint32_t count, int32_t* timesteps) {
    // NumPy's arange derives its increment from the first two values; the halves it meets round accordingly.
    const double range = DIT_TRAINING_STEPS, increment = range + -range / (double)count - range;
    for (uint32_t i = 0; i < count; i++) timesteps[count - 1 - i] = (int32_t)rint(range + i * increment) - 1;
}

// The training timesteps [count], ascending.
static dit_status dit_timesteps(dit_context* c, dit_spacing spacing, uint32_t count, bool diffusers, int32_t* timesteps) {
    if (count < 1 || count > DIT_TRAINING_STEPS) return dit_fail(c, DIT_INVALID_ARGUMENT, "steps %u: expected 1 to %d", count, DIT_TRAINING_STEPS);
    if (spacing == DIT_SPACING_LEADING) {
        uint32_t stride = DIT_TRAINING_STEPS / count;
        if (!diffusers) DIT_TRY(dit_whole_stride(c, count, &stride));
        for (uint32_t i = 0; i < count; i++) timesteps[i] = (int32_t)(i * stride);
    } else if (spacing == DIT_SPACING_LINSPACE) {
        dit_linspace(count, diffusers, timesteps);
    } else if (spacing == DIT_SPACING_TRAILING) {
        dit_trailing(count, timesteps);
    } else {
        return dit_fail(c, DIT_INVALID_ARGUMENT, "spacing %d: expected leading (0), linspace (1) or trailing (2)", (int)spacing);
    }

    return DIT_OK;
}

// DDIM (Song et al. 2021, equations 12 and 16) from ᾱ to ᾱ_prev.
static void dit_ddim_step(double alpha, double previous, double eta, dit_step* step) {
    const double sigma = eta * sqrt((1 - previous) / (1 - alpha)) * sqrt(1 - alpha / previous);
    const double rest = 1 - previous - sigma * sigma;
    const double direction = sqrt(rest > 0 ? rest : 0);
    step->latent = (float)sqrt(previous / alpha);
    step->prediction = (float)(direction - sqrt(previous * (1 / alpha - 1)));
    step->sigma = (float)sigma;
}

// Variance of q(x_prev | x, x0) (Ho et al. 2020, equation 7).
static double dit_posterior_variance(double alpha, double previous) {
    const double beta = 1 - alpha / previous;
    return beta * (1 - previous) / (1 - alpha);
}

// DDPM (Ho et al. 2020, algorithm 2) without its noise.
static void dit_ddpm_mean(double alpha, double previous, dit_step* step) {
    const double beta = 1 - alpha / previous;
    const double factor_of_x0 = beta * sqrt(previous) / (1 - alpha);
    const double factor_of_x = (1 - previous) * sqrt(1 - beta) / (1 - alpha);
    step->latent = (float)(factor_of_x0 * sqrt(1 / alpha) + factor_of_x);
    step->prediction = (float)(-factor_of_x0 * sqrt(1 / alpha - 1));
}

static void dit_ddpm_noise(double alpha, double previous, bool learned, dit_step* step) {
    const double beta = 1 - alpha / previous;
    if (learned) {
        step->learned_variance = 1;
        step->min_log_variance = (float)log(dit_posterior_variance(alpha, previous));
        step->max_log_variance = (float)log(beta);
    } else {
        step->sigma = (float)sqrt(beta);
    }
}

static dit_status dit_check_eta(dit_context* c, const dit_request* request) {
    if (request->sampler != DIT_SAMPLER_DDIM && request->sampler != DIT_SAMPLER_DDPM)
        return dit_fail(c, DIT_INVALID_ARGUMENT, "sampler %d: expected ddim (0) or ddpm (1)", (int)request->sampler);
    if (!(request->eta >= 0 && request->eta <= 1)) return dit_fail(c, DIT_INVALID_ARGUMENT, "eta %g: expected 0 to 1", request->eta);
    if (request->sampler == DIT_SAMPLER_DDPM && request->eta != 0)
        return dit_fail(c, DIT_INVALID_ARGUMENT, "eta %g: the ddpm sampler has no eta; use ddim", request->eta);
    return DIT_OK;
}

static dit_status dit_make_plan(dit_context* c, const dit_request* request, uint32_t count, dit_step* steps) {
    const bool diffusers = c->header->single_schedule != 0;
    const bool learned = c->header->out_channels == 2 * c->header->in_channels;
    int32_t timesteps[DIT_TRAINING_STEPS];
    double alphas[DIT_TRAINING_STEPS];
    DIT_TRY(dit_check_eta(c, request));
    DIT_TRY(dit_timesteps(c, request->spacing, count, diffusers, timesteps));
    if (diffusers) dit_alphas_single(alphas);
    else dit_alphas_double(alphas);

    for (uint32_t k = 0; k < count; k++) {
        const int32_t lower = k == 0 ? -1 : timesteps[k - 1];
        if (timesteps[k] <= lower || timesteps[k] >= DIT_TRAINING_STEPS)
            return dit_fail(c, DIT_INVALID_ARGUMENT, "timestep %d after %d: expected ascending values below %d", timesteps[k], lower, DIT_TRAINING_STEPS);
        // diffusers steps down by a whole stride; the published code to the next timestep that it visits.
        const int32_t target = diffusers ? timesteps[k] - (int32_t)(DIT_TRAINING_STEPS / count) : lower;
        const double alpha = alphas[timesteps[k]], previous = target < 0 ? 1 : alphas[target];
        dit_step* step = &steps[count - 1 - k];
        memset(step, 0, sizeof *step);
        step->timestep = timesteps[k];
        if (request->sampler == DIT_SAMPLER_DDIM) {
            dit_ddim_step(alpha, previous, request->eta, step);
        } else {
            dit_ddpm_mean(alpha, previous, step);
            // The last step adds no noise.
            if (k > 0) dit_ddpm_noise(alpha, previous, learned, step);
        }
    }

    return DIT_OK;
}

// ---- random numbers: MT19937 (Matsumoto and Nishimura 1998) ----

#define DIT_STATE_SIZE 624u

// PyTorch transforms normals 16 at a time: radii from the first half of a block, angles from the second.
#define DIT_NORMAL_BLOCK 16u

static void dit_random_seed(dit_random* r, uint64_t seed) {
    // As in PyTorch only the low 32 bits count.
    r->state[0] = (uint32_t)seed;
    for (uint32_t i = 1; i < DIT_STATE_SIZE; i++) r->state[i] = 1812433253u * (r->state[i - 1] ^ (r->state[i - 1] >> 30)) + i;
    r->next = DIT_STATE_SIZE;
    r->has_cached = false;
}

static void dit_random_twist(dit_random* r) {
    for (uint32_t i = 0; i < DIT_STATE_SIZE; i++) {
        const uint32_t y = (r->state[i] & 0x80000000u) | (r->state[(i + 1) % DIT_STATE_SIZE] & 0x7fffffffu);
        r->state[i] = r->state[(i + 397) % DIT_STATE_SIZE] ^ (y >> 1) ^ ((y & 1) * 0x9908b0dfu);
    }

    r->next = 0;
}

static uint32_t dit_random_bits(dit_random* r) {
    if (r->next == DIT_STATE_SIZE) dit_random_twist(r);
    uint32_t y = r->state[r->next++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

// torch.rand: [0, 1).
static void dit_random_uniform(dit_random* r, float* values, size_t count) {
    for (size_t i = 0; i < count; i++) values[i] = (float)(dit_random_bits(r) & 0xffffffu) * (1.0f / (1 << 24));
}

static double dit_random_double(dit_random* r) {
    const uint64_t high = dit_random_bits(r);
    const uint64_t bits = (high << 32) | dit_random_bits(r);
    return (double)(bits & ((UINT64_C(1) << 53) - 1)) * (1.0 / (double)(UINT64_C(1) << 53));
}

static double dit_random_normal_one(dit_random* r) {
    if (r->has_cached) {
        r->has_cached = false;
        return r->cached;
    }

    const double angle = 2 * 3.14159265358979323846 * dit_random_double(r);
    // A multiple of 2⁻⁵³ below 1 has an exact difference to 1, so this is log1p(−u).
    const double radius = sqrt(-2 * log(1 - dit_random_double(r)));
    r->cached = radius * sin(angle);
    r->has_cached = true;
    return radius * cos(angle);
}

// Box and Muller 1958, each function evaluated in double and rounded once: block [16] of uniforms to normals.
static void dit_transform_block(float* block) {
    const float two_pi = 2 * 3.14159274f;
    for (uint32_t j = 0; j < DIT_NORMAL_BLOCK / 2; j++) {
        const float radius = sqrtf(-2 * (float)log(1.0f - block[j]));
        const float angle = two_pi * block[j + DIT_NORMAL_BLOCK / 2];
        block[j] = radius * (float)cos(angle);
        block[j + DIT_NORMAL_BLOCK / 2] = radius * (float)sin(angle);
    }
}

static void dit_random_normal(dit_random* r, float* values, size_t count) {
    if (count < DIT_NORMAL_BLOCK) {
        for (size_t i = 0; i < count; i++) values[i] = (float)dit_random_normal_one(r);
        return;
    }

    dit_random_uniform(r, values, count);
    for (size_t i = 0; i + DIT_NORMAL_BLOCK <= count; i += DIT_NORMAL_BLOCK) dit_transform_block(values + i);
    if (count % DIT_NORMAL_BLOCK == 0) return;
    // A tensor of no whole number of blocks: its last 16 values are drawn anew.
    float* tail = values + count - DIT_NORMAL_BLOCK;
    dit_random_uniform(r, tail, DIT_NORMAL_BLOCK);
    dit_transform_block(tail);
}
