#!/usr/bin/env python3
"""PyTorch as the peer: guided steps of DiT-XL/2 in fp16, on the shapes of `dit bench`; eager, with its blocks compiled, and that as a CUDA graph.

A plain model of its own: adaLN-Zero blocks, scaled_dot_product_attention, random weights. A step is a forward pass of two samples an image, guidance
on three channels and the DDIM update. Unlike DiTRuntime's, it computes the adaLN modulation in every step, as the published code does.

Times by CUDA events, medians with the 10th and 90th percentile. Writes peer_torch.csv with the columns of steps.csv, and the section "PyTorch" of
README.md, with the ratio to steps.csv where that lies beside it. Needs nothing but torch 2.2 or newer; without a GPU, --quick runs a tiny model on the processor.

    python3 peer_torch.py --out DIR [--quick] [--rounds 20] [--modes eager,compile,compile+graph]
"""
import argparse
import csv
import datetime
import math
import os
import re
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

COLUMNS = ["engine", "mode", "format", "image_size", "batch", "ms_median", "ms_p10", "ms_p90", "rounds", "table_ms", "images_per_s", "driver_mib", "own_mib", "skipped"]
STEPS_PER_IMAGE = 50
WARM_UPS = 3
TITLE = "## PyTorch"
FULL = dict(hidden=1152, heads=16, depth=28, classes=1000)
QUICK = dict(hidden=144, heads=2, depth=2, classes=10)


def modulate(x, shift, scale):
    return x * (1 + scale[:, None]) + shift[:, None]


class Block(nn.Module):
    def __init__(self, hidden, heads):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
        self.fc1, self.fc2 = nn.Linear(hidden, 4 * hidden), nn.Linear(4 * hidden, hidden)
        self.modulation = nn.Linear(hidden, 6 * hidden)

    def attend(self, x):
        batch, tokens, hidden = x.shape
        q, k, v = self.qkv(x).view(batch, tokens, 3, self.heads, hidden // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, hidden))

    def forward(self, x, condition):
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(F.silu(condition)).chunk(6, dim=1)
        hidden = x.shape[-1:]
        x = x + gate1[:, None] * self.attend(modulate(F.layer_norm(x, hidden, eps=1e-6), shift1, scale1))
        y = modulate(F.layer_norm(x, hidden, eps=1e-6), shift2, scale2)
        return x + gate2[:, None] * self.fc2(F.gelu(self.fc1(y), approximate="tanh"))


class DiT(nn.Module):
    """x [B, 4, S, S], t [B], y [B] -> noise and variance [B, 8, S, S]."""

    def __init__(self, side, hidden, heads, depth, classes, patch=2, channels=4, frequencies=256):
        super().__init__()
        self.side, self.patch, self.out_channels, self.frequencies = side, patch, 2 * channels, frequencies
        self.embed = nn.Conv2d(channels, hidden, patch, stride=patch)
        self.positions = nn.Parameter(torch.randn(1, (side // patch) ** 2, hidden) * 0.5)
        self.timestep = nn.Sequential(nn.Linear(frequencies, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.labels = nn.Embedding(classes + 1, hidden)
        self.blocks = nn.ModuleList(Block(hidden, heads) for _ in range(depth))
        self.final_modulation, self.final = nn.Linear(hidden, 2 * hidden), nn.Linear(hidden, patch * patch * self.out_channels)

    def forward(self, x, t, y):
        half = self.frequencies // 2
        angles = t[:, None].float() * torch.exp(-math.log(10000) / half * torch.arange(half, device=t.device))[None]
        features = torch.cat([angles.cos(), angles.sin()], dim=1).to(x.dtype)
        condition = self.timestep(features) + self.labels(y)
        tokens = self.embed(x).flatten(2).transpose(1, 2) + self.positions
        for block in self.blocks:
            tokens = block(tokens, condition)
        shift, scale = self.final_modulation(F.silu(condition)).chunk(2, dim=1)
        tokens = self.final(modulate(F.layer_norm(tokens, tokens.shape[-1:], eps=1e-6), shift, scale))
        grid = self.side // self.patch
        patches = tokens.view(-1, grid, grid, self.patch, self.patch, self.out_channels)
        return torch.einsum("nhwpqc->nchpwq", patches).reshape(-1, self.out_channels, self.side, self.side)


def guided_step(model, latents, t, y, a, b, scale=4.0):
    """latents [images, 4, S, S] in fp32; y [2 images], the classes, then the null class; a and b the coefficients of the update."""
    both = torch.cat([latents, latents]).to(model.embed.weight.dtype)
    eps, rest = model(both, t, y).float()[:, :4].split([3, 1], dim=1)
    cond, uncond = eps.chunk(2)
    guided = torch.cat([uncond + scale * (cond - uncond), rest.chunk(2)[0]], dim=1)
    return a * latents + b * guided


def replayed(step):
    """The step recorded as a CUDA graph, after runs on a stream of its own."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UPS):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def measure(step, rounds, device):
    for _ in range(WARM_UPS):
        step()
    if device == "cpu":
        times = []
        for _ in range(rounds):
            begun = time.perf_counter()
            step()
            times.append(1000 * (time.perf_counter() - begun))
    else:
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(rounds + 1)]
        torch.cuda.synchronize()
        marks[0].record()
        for mark in marks[1:]:
            step()
            mark.record()
        torch.cuda.synchronize()
        times = [before.elapsed_time(after) for before, after in zip(marks, marks[1:])]
    times.sort()

    def percentile(fraction):
        place = fraction * (len(times) - 1)
        below = int(place)
        above = min(below + 1, len(times) - 1)
        return times[below] + (place - below) * (times[above] - times[below])

    return percentile(0.5), percentile(0.1), percentile(0.9)


def mebibytes(count):
    return int(count) >> 20


def rows_of(shape, size, batches, modes, rounds, device, dtype):
    side = size // 8
    for mode in modes:
        if device != "cpu":
            torch.cuda.empty_cache()
            free_before = torch.cuda.mem_get_info()[0]
            torch.cuda.reset_peak_memory_stats()
        torch.manual_seed(0)
        with torch.device(device):
            model = DiT(side, **shape).to(dtype).eval()
        is_compiled = False
        for batch in batches:
            row = dict.fromkeys(COLUMNS, "") | {"engine": "torch " + torch.__version__, "mode": mode, "format": str(dtype).replace("torch.float", "f"), "image_size": size, "batch": batch}
            try:
                if mode.startswith("compile") and not is_compiled:
                    torch.compiler.reset()
                    # Block by block: all blocks share one compilation a shape, which takes seconds where the whole model takes minutes.
                    for block in model.blocks:
                        block.compile(dynamic=False)
                    is_compiled = True
                latents = torch.randn(batch, 4, side, side, device=device)
                t = torch.full((2 * batch,), 500, device=device)
                y = torch.tensor([1] * batch + [shape["classes"]] * batch, device=device)

                def step():
                    # A factor below one keeps the latents finite however often they are updated.
                    latents.copy_(guided_step(model, latents, t, y, 0.9, -0.1))

                median, low, high = measure(replayed(step) if mode.endswith("+graph") else step, rounds, device)
                assert torch.isfinite(latents).all(), "the latents are not finite"
                row |= {"ms_median": f"{median:.4f}", "ms_p10": f"{low:.4f}", "ms_p90": f"{high:.4f}", "rounds": rounds, "images_per_s": f"{1000 * batch / (STEPS_PER_IMAGE * median):.3f}"}
                if device != "cpu":
                    row |= {"driver_mib": mebibytes(free_before - torch.cuda.mem_get_info()[0]), "own_mib": mebibytes(torch.cuda.max_memory_allocated())}
            except Exception as problem:  # what does not fit or compile is a line of the table, not the end of it
                row["skipped"] = f"{type(problem).__name__}: {str(problem).splitlines()[0] if str(problem) else ''}"[:160]
            print(f"torch {mode} {size}x{size} batch {batch}: {row['ms_median'] or row['skipped']}", file=sys.stderr, flush=True)
            yield row
        del model


def ours(folder):
    """(format, image_size, batch) -> ms a step of DiTRuntime with a graph, from steps.csv."""
    path = os.path.join(folder, "steps.csv")
    if not os.path.exists(path):
        return {}
    with open(path, newline="", encoding="utf-8") as file:
        return {
            (row["format"], int(row["image_size"]), int(row["batch"])): float(row["ms_median"])
            for row in csv.DictReader(file) if row["mode"] == "graph" and row["ms_median"]
        }


def section(rows, mine, device, quick):
    name = torch.cuda.get_device_name() if device != "cpu" else "processor"
    formats = sorted({key[0] for key in mine}, key=lambda f: (f != "f16", f))
    lines = [TITLE, ""]
    if device == "cpu":
        lines += ["**On a processor: the times say nothing about a GPU.**", ""]
    if quick:
        lines += ["**Quick: tiny shapes, which show that everything runs, not how fast.**", ""]
    lines += [
        f"{name}; torch {torch.__version__}, CUDA {torch.version.cuda}; {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC; `peer_torch.py {' '.join(sys.argv[1:])}`.", "",
        "A plain DiT in PyTorch, fp16, scaled_dot_product_attention, random weights, same shapes; `compile` is torch.compile of its blocks, `compile+graph` that replayed as a CUDA graph. Its steps compute the modulation, DiTRuntime's read it from the table "
        "(`table ms` above, once for all steps). Driver MiB hold what PyTorch keeps for later. `×`: PyTorch's time over that of DiTRuntime's step with a graph.", "",
        "| image | batch | mode | ms a step | images/s | driver MiB | own MiB |" + "".join(f" × {f} |" for f in formats),
        "|---|---:|---|---:|---:|---:|---:|" + "---:|" * len(formats),
    ]
    for r in rows:
        if r["skipped"]:
            lines.append(f"| {r['image_size']}² | {r['batch']} | {r['mode']} | left out: {r['skipped'].replace('|', '/')} | | | |" + " |" * len(formats))
            continue
        ratios = "".join(
            f" {float(r['ms_median']) / mine[key]:.2f} |" if (key := (f, r["image_size"], r["batch"])) in mine else " – |" for f in formats)
        lines.append(
            f"| {r['image_size']}² | {r['batch']} | {r['mode']} | {float(r['ms_median']):.3f} ({float(r['ms_p10']):.3f} to {float(r['ms_p90']):.3f}) "
            f"| {r['images_per_s']} | {r['driver_mib']} | {r['own_mib']} |{ratios}")
    return "\n".join(lines) + "\n\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default=".")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--modes", default="eager,compile,compile+graph")
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not arguments.quick:
        sys.exit("peer_torch.py: PyTorch sees no GPU; --quick runs a tiny model on the processor")
    dtype = torch.float16 if device == "cuda" else torch.float32
    shape, sizes = (QUICK, {64: [1]}) if arguments.quick else (FULL, {256: [1, 8, 32, 64], 512: [1, 8]})
    modes = [mode for mode in arguments.modes.split(",") if mode]
    rounds = 3 if arguments.quick else arguments.rounds
    with torch.inference_mode():
        rows = [row for size, batches in sizes.items() for row in rows_of(shape, size, batches, modes, rounds, device, dtype)]

    os.makedirs(arguments.out, exist_ok=True)
    with open(os.path.join(arguments.out, "peer_torch.csv"), "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    path = os.path.join(arguments.out, "README.md")
    text = open(path, encoding="utf-8").read() if os.path.exists(path) else ""
    text = re.sub(rf"(?ms)^{TITLE}\n.*?(?=^## |\Z)", "", text)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text + section(rows, ours(arguments.out), device, arguments.quick))


if __name__ == "__main__":
    main()
