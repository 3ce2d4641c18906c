// The emulated device: its memory, its host threads, kernels loaded from shared libraries, and launches. One translation unit, so that
// one command compiles it, as it does a kernel.
#include "emulator/block.cpp"
#include "emulator/calls.cpp"
#include "emulator/host.h"

#include <dlfcn.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

namespace emulator {

// Runs launches on threads of its own: fibers' stacks then never meet the host language's runtime.
class device {
public:
    explicit device(u32 threads) {
        for (u32 i = 0; i < threads; i++) runners_.push_back(std::make_unique<block_runner>(memory));
        if (!valid()) return;
        for (u32 i = 0; i < threads; i++) threads_.emplace_back([this, i] { serve(i); });
    }
    bool valid() const {
        for (const auto& runner : runners_)
            if (!runner->valid()) return false;
        return true;
    }
    ~device() {
        {
            const std::lock_guard<std::mutex> hold(state_);
            stopping_ = true;
        }
        work_.notify_all();
        for (std::thread& t : threads_) t.join();
        memory.release_all();
    }
    device(const device&) = delete;
    device& operator=(const device&) = delete;

    std::string run(const launch& what, bool checks) {
        std::unique_lock<std::mutex> hold(state_);
        launch_ = what;
        checks_ = checks;
        blocks_ = static_cast<u64>(what.grid[0]) * what.grid[1] * what.grid[2];
        next_ = 0;
        failed_block_ = ~0ull;
        failure_.clear();
        active_ = static_cast<u32>(blocks_ < threads_.size() ? blocks_ : threads_.size());
        running_ = active_;
        round_++;
        work_.notify_all();
        done_.wait(hold, [this] { return running_ == 0; });
        return failure_;
    }

    global_memory memory;
    std::mutex use;  // one call at a time

private:
    void serve(u32 index) {
        u64 seen = 0;
        std::unique_lock<std::mutex> hold(state_);
        for (;;) {
            work_.wait(hold, [&] { return stopping_ || (round_ != seen && index < active_); });
            if (stopping_) return;
            seen = round_;
            hold.unlock();
            run_blocks(*runners_[index]);
            hold.lock();
            if (--running_ == 0) done_.notify_all();
        }
    }

    // Blocks are handed out in order and a begun block is finished, so the first failing block is the one reported, whoever runs it.
    void run_blocks(block_runner& runner) {
        for (u64 block; (block = next_++) < blocks_;) {
            if (failed_block_.load() < block) return;
            const std::string problem = runner.run(launch_, static_cast<u32>(block), checks_);
            if (problem.empty()) continue;
            const std::lock_guard<std::mutex> hold(failure_lock_);
            if (block < failed_block_) {
                failed_block_ = block;
                failure_ = problem;
            }
        }
    }

    std::vector<std::unique_ptr<block_runner>> runners_;
    std::vector<std::thread> threads_;
    std::mutex state_, failure_lock_;
    std::condition_variable work_, done_;
    launch launch_ = {};
    bool checks_ = true, stopping_ = false;
    u64 blocks_ = 0, round_ = 0;
    u32 active_ = 0, running_ = 0;
    std::atomic<u64> next_{0}, failed_block_{~0ull};
    std::string failure_;
};

static void report(const std::string& message, char* out, s32 capacity) {
    if (out && capacity > 0) snprintf(out, static_cast<size_t>(capacity), "%s", message.c_str());
}

}  // namespace emulator

using emulator::device;

// ---- what the host calls: host.h ----

device* dit_emulator_create(u32 threads) {
    auto made = std::make_unique<device>(threads);
    return made->valid() ? made.release() : nullptr;
}
void dit_emulator_destroy(device* d) { delete d; }

void* dit_emulator_allocate(device* d, u64 bytes) {
    const std::lock_guard<std::mutex> hold(d->use);
    return d->memory.allocate(bytes);
}
s32 dit_emulator_release(device* d, void* p) {
    const std::lock_guard<std::mutex> hold(d->use);
    return d->memory.release(p);
}
s32 dit_emulator_holds(device* d, const void* p, u64 bytes, char* message, s32 capacity) {
    const std::lock_guard<std::mutex> hold(d->use);
    if (d->memory.find(reinterpret_cast<u64>(p), bytes)) return 1;
    emulator::report(d->memory.describe(reinterpret_cast<u64>(p)), message, capacity);
    return 0;
}

void* dit_emulator_open(const char* path, char* message, s32 capacity) {
    // Kernels find the runtime's functions by name, for which it must be visible to them, however it was loaded itself.
    static const bool visible = [] {
        Dl_info self;
        return dladdr(reinterpret_cast<void*>(&dit_emulator_create), &self) && dlopen(self.dli_fname, RTLD_NOW | RTLD_GLOBAL);
    }();
    void* library = visible ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : nullptr;
    if (!library) {
        const char* why = visible ? dlerror() : "the emulator's own library cannot be made visible to it";
        emulator::report(why ? why : "for no reason the loader gives", message, capacity);
    }
    return library;
}
void dit_emulator_close(void* library) { dlclose(library); }
void* dit_emulator_symbol(void* library, const char* name) { return dlsym(library, name); }

s32 dit_emulator_launch(device* d, void (*entry)(const void*), const char* name, const u32* limits, const u32* grid, u32 threads, u32 shared_bytes, u64 seed, s32 checks,
                        const void* arguments, u32 argument_bytes, char* message, s32 capacity) {
    const std::lock_guard<std::mutex> hold(d->use);
    std::string problem;
    if (argument_bytes != limits[0])
        problem = emulator::text("its argument struct has %u bytes, not %u", limits[0], argument_bytes);
    else if (threads == 0 || threads > limits[1] || threads > emulator::kMostThreads || threads % emulator::kWarp != 0)
        problem = emulator::text("%u threads a block; it takes whole warps, up to %u threads", threads, limits[1]);
    else if (shared_bytes > emulator::shared_memory::kCapacity)
        problem = emulator::text("%u bytes of shared memory a block; there are %u", shared_bytes, emulator::shared_memory::kCapacity);
    else if (grid[0] == 0 || grid[1] == 0 || grid[2] == 0 || grid[0] > 0x7fffffff || grid[1] > 65535 || grid[2] > 65535)
        problem = emulator::text("a grid of %u x %u x %u blocks", grid[0], grid[1], grid[2]);
    if (!problem.empty()) {
        emulator::report(emulator::text("kernel %s cannot be launched: %s", name, problem.c_str()), message, capacity);
        return 0;
    }
    alignas(64) char copy[4096];
    std::memcpy(copy, arguments, argument_bytes);
    problem = d->run({entry, name, {grid[0], grid[1], grid[2]}, threads, shared_bytes, seed, copy}, checks != 0);
    emulator::report(problem, message, capacity);
    return problem.empty();
}
