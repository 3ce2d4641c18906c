#!/usr/bin/env python3
"""PyTorch on this machine's CPU, at the shapes of DiT-XL/2: linear layers at M = 512, and one guided step at 256x256.

Random weights; a step is the blocks and the final layer on two samples of 256 tokens, with the adaLN modulation already
computed, as DiTRuntime measures its own. Medians in milliseconds, as JSON on stdout.

    apt-get install python3-torch libopenblas0-pthread
    python3 bench/peers/cpu_torch.py [--threads N] [--rounds N]
"""
import argparse
import json
import os
import statistics
import time

import torch
import torch.nn.functional as F

HIDDEN, HEADS, DEPTH, TOKENS, ROWS = 1152, 16, 28, 256, 2
SHAPES = {"3456x1152": (3456, 1152), "1152x1152": (1152, 1152), "4608x1152": (4608, 1152), "1152x4608": (1152, 4608)}


def median_ms(work, rounds):
    work()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def make_block():
    def linear(n, k):
        return torch.randn(n, k) * k**-0.5, torch.zeros(n)

    return {name: linear(*shape) for name, shape in zip(("qkv", "proj", "fc1", "fc2"), SHAPES.values())}


def modulated_norm(x, shift, scale):
    return F.layer_norm(x, (HIDDEN,), eps=1e-6) * (1 + scale) + shift


def attention(q, k, v):
    if hasattr(F, "scaled_dot_product_attention"):  # PyTorch 2
        return F.scaled_dot_product_attention(q, k, v)
    return torch.softmax(q @ k.transpose(-2, -1) * (HIDDEN // HEADS)**-0.5, dim=-1) @ v


def run_block(x, block, modulation):
    shift1, scale1, gate1, shift2, scale2, gate2 = modulation
    qkv = F.linear(modulated_norm(x, shift1, scale1), *block["qkv"])
    q, k, v = qkv.view(ROWS, TOKENS, 3, HEADS, HIDDEN // HEADS).permute(2, 0, 3, 1, 4)
    mixed = attention(q, k, v).transpose(1, 2).reshape(ROWS, TOKENS, HIDDEN)
    x = x + gate1 * F.linear(mixed, *block["proj"])
    hidden = F.gelu(F.linear(modulated_norm(x, shift2, scale2), *block["fc1"]), approximate="tanh")
    return x + gate2 * F.linear(hidden, *block["fc2"])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)

    with torch.inference_mode():
        linear = {}
        for name, (n, k) in SHAPES.items():
            x, w, b = torch.randn(ROWS * TOKENS, k), torch.randn(n, k), torch.zeros(n)
            linear[name] = median_ms(lambda: F.linear(x, w, b), 4 * arguments.rounds)

        blocks = [make_block() for _ in range(DEPTH)]
        modulation = [0.1 * torch.randn(ROWS, 1, HIDDEN) for _ in range(6)]
        final = torch.randn(32, HIDDEN) * HIDDEN**-0.5
        start = torch.randn(ROWS, TOKENS, HIDDEN)

        def step():
            x = start
            for block in blocks:
                x = run_block(x, block, modulation)
            return F.linear(modulated_norm(x, modulation[0], modulation[1]), final)

        fp32 = median_ms(step, arguments.rounds)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            bf16 = median_ms(step, arguments.rounds)

    print(json.dumps({
        "torch": torch.__version__,
        "threads": arguments.threads,
        "linear_fp32_ms": {name: round(value, 3) for name, value in linear.items()},
        "guided_step_fp32_ms": round(fp32, 1),
        "guided_step_bf16_autocast_ms": round(bf16, 1),
    }, indent=2))


if __name__ == "__main__":
    main()
