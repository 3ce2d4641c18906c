// The emulator without C#: a product through asynchronous copies, ldmatrix and mma against a plain loop, with its speed, and one
// fault of each of two kinds. Prints what failed; the exit code is the number of failures.
#include <cstdio>
#include <ctime>
#include <string>

#include "emulator/host.h"

// D = A B^T, bytes to s32. A block makes 64 x 64 of D with four warps, 32 x 32 each, in steps of 64 of K and two stages.
struct product_arguments {
    const u8* a;  // in u8 [M, K]
    const u8* b;  // in u8 [N, K]
    s32* d;       // out s32 [M, N]
    s32 n, k;
};

constexpr u32 kStep = 64, kRow = kStep + 16, kStage = 128 * kRow, kThreads = 128;

DIT_DEVICE void load_stage(const product_arguments& args, u32 stage, u32 step) {
    for (u32 i = thread_index(); i < 128 * kStep / 16; i += kThreads) {
        const u32 row = i / 4, column = i % 4 * 16;
        const u8* source = row < 64 ? args.a + (block_y() * 64 + row) * args.k : args.b + (block_x() * 64 + row - 64) * args.k;
        cp_async_16(stage * kStage + row * kRow + column, source + step * kStep + column);
    }
    cp_async_commit();
}

DIT_KERNEL(product_kernel, product_arguments, kThreads) {
    const u32 lane = lane_index(), row = warp_index() / 2 * 32, column = warp_index() % 2 * 32;
    const u32 steps = static_cast<u32>(args.k) / kStep;
    s32 sum[2][4][4] = {};
    load_stage(args, 0, 0);
    for (u32 step = 0; step < steps; step++) {
        if (step + 1 < steps) {
            load_stage(args, (step + 1) % 2, step + 1);
            cp_async_wait<1>();
        } else {
            cp_async_wait<0>();
        }
        block_sync();
        for (u32 k = 0; k < kStep; k += 32) {
            const u32 base = step % 2 * kStage + k;
            u32 a[2][4], b[2][4];
            for (u32 i = 0; i < 2; i++) {
                ldmatrix_x4(base + (row + 16 * i + lane % 16) * kRow + lane / 16 * 16, a[i]);
                ldmatrix_x4(base + (64 + column + 16 * i + lane % 8 + lane / 16 * 8) * kRow + lane / 8 % 2 * 16, b[i]);
            }
            for (u32 i = 0; i < 2; i++)
                for (u32 j = 0; j < 4; j++) mma_u8_u8(sum[i][j], a[i], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
        }
        block_sync();
    }
    for (u32 i = 0; i < 2; i++)
        for (u32 j = 0; j < 4; j++)
            for (u32 e = 0; e < 4; e++)
                global_store(args.d + (block_y() * 64 + row + 16 * i + lane / 4 + e / 2 * 8) * args.n + block_x() * 64 + column + 8 * j + lane % 4 * 2 + e % 2,
                             sum[i][j][e]);
}

struct fault_arguments {
    const u32* in;  // in u32 [32]
};
DIT_KERNEL(race_kernel, fault_arguments, 64) { shared_store(0, thread_index()); }
DIT_KERNEL(bounds_kernel, fault_arguments, 64) { global_load(args.in + thread_index()); }

static int failures;
static void expect(bool condition, const std::string& what) {
    if (condition) return;
    std::printf("failed: %s\n", what.c_str());
    failures++;
}

static std::string run(emulator::device* device, void (*entry)(const void*), const char* name, const u32* limits, u32 columns, u32 rows, u32 threads, u32 shared_bytes,
                       const void* arguments, bool checks = true) {
    char message[1024] = "";
    const u32 grid[3] = {columns, rows, 1};
    dit_emulator_launch(device, entry, name, limits, grid, threads, shared_bytes, 1, checks, arguments, limits[0], message, sizeof message);
    return message;
}

int main() {
    constexpr s32 m = 256, n = 192, k = 1024;
    emulator::device* device = dit_emulator_create(1);
    auto* a = static_cast<u8*>(dit_emulator_allocate(device, m * k));
    auto* b = static_cast<u8*>(dit_emulator_allocate(device, n * k));
    auto* d = static_cast<s32*>(dit_emulator_allocate(device, m * n * 4));
    u32 state = 1;
    for (s32 i = 0; i < m * k; i++) a[i] = static_cast<u8>((state = state * 1664525 + 1013904223) >> 24);
    for (s32 i = 0; i < n * k; i++) b[i] = static_cast<u8>((state = state * 1664525 + 1013904223) >> 24);

    const product_arguments arguments{a, b, d, n, k};
    for (const bool checks : {true, false}) {
        const std::clock_t start = std::clock();  // of the processor: other programs do not count
        const std::string problem = run(device, product_kernel, "product_kernel", product_kernel_limits, n / 64, m / 64, kThreads, 2 * kStage, &arguments, checks);
        const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
        expect(problem.empty(), problem);
        std::printf("product of bytes %s: %.2f GMAC/s on one core\n", checks ? "with all checks" : "without race checks", 1e-9 * m * n * k / seconds);
    }
    for (s32 i = 0; i < m; i++)
        for (s32 j = 0; j < n; j++) {
            s32 sum = 0;
            for (s32 q = 0; q < k; q++) sum += a[i * k + q] * b[j * k + q];
            if (d[i * n + j] != sum) {
                expect(false, "row " + std::to_string(i) + ", column " + std::to_string(j));
                i = m;
                break;
            }
        }

    const fault_arguments fault{reinterpret_cast<const u32*>(dit_emulator_allocate(device, 128))};
    const std::string race = run(device, race_kernel, "race_kernel", race_kernel_limits, 1, 1, 64, 64, &fault);
    expect(race.find("kernel race_kernel, block (0,0,0), thread") == 0 && race.find("race [") != std::string::npos, "a race: " + race);
    const std::string bounds = run(device, bounds_kernel, "bounds_kernel", bounds_kernel_limits, 1, 1, 64, 0, &fault);
    expect(bounds.find("out of bounds, at byte 1") != std::string::npos && bounds.find("of a buffer of 128 bytes") != std::string::npos, "bounds: " + bounds);
    dit_emulator_destroy(device);
    std::printf(failures ? "%d failed\n" : "all passed\n", failures);
    return failures;
}
