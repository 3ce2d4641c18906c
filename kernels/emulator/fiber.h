// Fibers: stacks of their own that hand the processor to each other. On x86-64 a switch saves the registers that a function must keep;
// elsewhere (or with DIT_FIBER_UCONTEXT) the C library does it, some hundred times slower.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>

#if !defined(__x86_64__) && !defined(DIT_FIBER_UCONTEXT)
#define DIT_FIBER_UCONTEXT
#endif
#ifdef DIT_FIBER_UCONTEXT
#include <ucontext.h>
#endif

namespace emulator {

#ifdef DIT_FIBER_UCONTEXT
struct fiber_context {
    ucontext_t state;
};
inline void fiber_switch(fiber_context& from, fiber_context& to) { swapcontext(&from.state, &to.state); }
inline void fiber_prepare(fiber_context& fiber, char* top, size_t size, void (*entry)()) {
    getcontext(&fiber.state);
    fiber.state.uc_stack.ss_sp = top - size;
    fiber.state.uc_stack.ss_size = size;
    fiber.state.uc_link = nullptr;
    makecontext(&fiber.state, entry, 0);
}
#else
struct fiber_context {
    void* stack_pointer;
};
extern "C" void dit_emulator_switch(void** from, void* to);
asm(R"(
    .text
    .hidden dit_emulator_switch
    .globl dit_emulator_switch
    .type dit_emulator_switch, @function
dit_emulator_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size dit_emulator_switch, .-dit_emulator_switch
)");
inline void fiber_switch(fiber_context& from, fiber_context& to) { dit_emulator_switch(&from.stack_pointer, to.stack_pointer); }
// The first switch pops six registers and returns into entry, which sees a stack as after a call: 8 modulo 16.
inline void fiber_prepare(fiber_context& fiber, char* top, size_t, void (*entry)()) {
    auto* frame = reinterpret_cast<uint64_t*>(reinterpret_cast<uintptr_t>(top) & ~uintptr_t{63});
    *--frame = 0;
    *--frame = reinterpret_cast<uint64_t>(entry);
    for (int i = 0; i < 6; i++) *--frame = 0;
    fiber.stack_pointer = frame;
}
#endif

// Stacks for the threads of a block; memory is taken when it is first touched.
class fiber_stacks {
public:
    explicit fiber_stacks(uint32_t count) : bytes_(count * kSize) {
        memory_ = static_cast<char*>(mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    }
    ~fiber_stacks() { munmap(memory_, bytes_); }
    fiber_stacks(const fiber_stacks&) = delete;
    fiber_stacks& operator=(const fiber_stacks&) = delete;

    bool valid() const { return memory_ != MAP_FAILED; }
    static constexpr size_t usable() { return kSize - kColours * kColour; }
    // Tops are shifted against each other: at equal offsets in a page they would fall into the same few sets of the first cache.
    char* top(uint32_t index) const { return memory_ + (index + 1) * kSize - index % kColours * kColour; }

private:
    static constexpr size_t kSize = 256 << 10, kColours = 64, kColour = 17 * 64;
    size_t bytes_;
    char* memory_;
};

}  // namespace emulator
