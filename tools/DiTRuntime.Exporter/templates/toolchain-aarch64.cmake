# Builds for 64-bit ARM on another Linux machine, and runs the tests there under QEMU:
#
#   cmake -S . -B build-aarch64 -DCMAKE_TOOLCHAIN_FILE=toolchain-aarch64.cmake && cmake --build build-aarch64
#
# Debian and Ubuntu: apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user. QEMU_CPU=cortex-a72 (neoverse-n1, max) in the
# environment chooses which processor QEMU is, and with it which of the NEON paths run.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(DIT_CROSS_PREFIX "aarch64-linux-gnu" CACHE STRING "What the cross compiler's name begins with")

set(CMAKE_C_COMPILER ${DIT_CROSS_PREFIX}-gcc)
find_program(DIT_QEMU NAMES qemu-aarch64 qemu-aarch64-static)
if(DIT_QEMU)
  set(CMAKE_CROSSCOMPILING_EMULATOR "${DIT_QEMU};-L;/usr/${DIT_CROSS_PREFIX}")
endif()

set(CMAKE_FIND_ROOT_PATH /usr/${DIT_CROSS_PREFIX})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
