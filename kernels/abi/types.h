// Types of the argument structs: the whole contract between C# and the kernels. Plain C.
// A pointer is 8 bytes on both sides; in C# it is a DevicePointer.
#ifndef DIT_ABI_TYPES_H
#define DIT_ABI_TYPES_H

typedef signed char s8;
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef int s32;
typedef unsigned long long u64;
typedef float f32;

// IEEE half-precision bits. Kernels convert with half_to_float and float_to_half.
typedef u16 f16;

#endif
