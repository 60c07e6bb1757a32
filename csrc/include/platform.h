/* What depends on the operating system, the processor or the compiler, and is no kernel. */
#ifndef CASCADE_PLATFORM_H
#define CASCADE_PLATFORM_H

#include <stddef.h>
#include <stdint.h>

/* Lets a thread that shares the core go on, for a few cycles. */
void cascade_pause_core(void);
/* Gives the core to another thread. */
void cascade_yield_core(void);
/* Of a clock that is never set. */
int64_t cascade_now_microseconds(void);

/* Returns zeroed memory for `free`, or NULL. Large blocks use huge pages where the system has them. Nothing else in the core
 * allocates: buffers belong to the caller, and the `*_workspace` functions tell their sizes. */
void *cascade_alloc_zeroed(size_t size);

#if defined(__x86_64__) || defined(__i386__) || defined(_M_X64) || defined(_M_IX86)
#define CASCADE_X86 1
/* Writes EAX, EBX, ECX and EDX of a CPUID leaf. Returns 0 if the processor does not have it. */
int cascade_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t registers[4]);
/* The register state that the operating system saves (XCR0); only where CPUID reports OSXSAVE. */
uint64_t cascade_saved_state(void);
#endif

#if defined(__aarch64__) || defined(_M_ARM64)
#define CASCADE_ARM64 1
enum { CASCADE_ARM_DOTPROD, CASCADE_ARM_I8MM };
/* Whether the processor has the dot products of int8, or the products of int8 matrices and of mixed signs. The operating system
 * tells: 0 also where it does not. */
int cascade_arm_has(int feature);
#endif

#endif
