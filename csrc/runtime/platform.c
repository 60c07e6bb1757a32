/* What depends on the operating system, the processor or the compiler: GCC, Clang, MinGW, clang-cl or MSVC. */
#include "platform.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#else
#include <sched.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(CASCADE_ARM64) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(CASCADE_ARM64) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif
#if defined(CASCADE_X86) && defined(_MSC_VER)
#include <intrin.h>
#elif defined(CASCADE_X86)
#include <cpuid.h>
#endif

void cascade_pause_core(void) {
#if defined(_WIN32)
    YieldProcessor();
#elif defined(CASCADE_X86)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

void cascade_yield_core(void) {
#if defined(_WIN32)
    SwitchToThread();
#else
    sched_yield();
#endif
}

int64_t cascade_now_microseconds(void) {
#if defined(_WIN32)
    LARGE_INTEGER frequency, now;
    QueryPerformanceFrequency(&frequency);
    QueryPerformanceCounter(&now);
    int64_t seconds = now.QuadPart / frequency.QuadPart, rest = now.QuadPart % frequency.QuadPart;
    return seconds * 1000000 + rest * 1000000 / frequency.QuadPart;
#else
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
#endif
}

#if defined(__linux__)
#define HUGE_PAGE ((size_t)2 << 20)
#endif

void *cascade_alloc_zeroed(size_t size) {
#if defined(__linux__)
    /* Every image walks through a workspace from end to end. With pages of 4 KiB a processor, above all a virtual one, spends
     * a good part of that time on address translation. */
    if (size >= HUGE_PAGE / 2 && size <= SIZE_MAX - HUGE_PAGE) {
        size_t rounded = (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
        void *memory = aligned_alloc(HUGE_PAGE, rounded);
        if (memory != NULL) {
            madvise(memory, rounded, MADV_HUGEPAGE); /* only a hint: without huge pages it has no effect */
            memset(memory, 0, size);
        }
        return memory;
    }
#endif
    return calloc(size, 1);
}

#if defined(CASCADE_X86)
int cascade_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t registers[4]) {
#if defined(_MSC_VER)
    int found[4];
    __cpuid(found, 0);
    if ((uint32_t)found[0] < leaf) {
        return 0;
    }
    __cpuidex(found, (int)leaf, (int)subleaf);
    memcpy(registers, found, sizeof found);
    return 1;
#else
    return __get_cpuid_count(leaf, subleaf, &registers[0], &registers[1], &registers[2], &registers[3]);
#endif
}

uint64_t cascade_saved_state(void) {
#if defined(_MSC_VER) && !defined(__clang__)
    return _xgetbv(0);
#else
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return ((uint64_t)high << 32) | low;
#endif
}
#endif

#if defined(CASCADE_ARM64)
#if defined(__linux__)
int cascade_arm_has(int feature) {
    enum { ASIMDDP = 1 << 20, I8MM = 1 << 13 }; /* bits of AT_HWCAP and AT_HWCAP2, which old headers lack */
    return feature == CASCADE_ARM_DOTPROD ? (getauxval(AT_HWCAP) & ASIMDDP) != 0 : (getauxval(AT_HWCAP2) & I8MM) != 0;
}
#elif defined(__APPLE__)
int cascade_arm_has(int feature) {
    int found = 0;
    size_t size = sizeof found;
    const char *name =
        feature == CASCADE_ARM_DOTPROD ? "hw.optional.arm.FEAT_DotProd" : "hw.optional.arm.FEAT_I8MM";
    return sysctlbyname(name, &found, &size, NULL, 0) == 0 && found;
}
#elif defined(_WIN32)
int cascade_arm_has(int feature) {
    enum { DOTPROD = 43, I8MM = 66 }; /* PF_ARM_V82_DP_… and PF_ARM_V82_I8MM_INSTRUCTIONS_AVAILABLE */
    return IsProcessorFeaturePresent(feature == CASCADE_ARM_DOTPROD ? DOTPROD : I8MM) != 0;
}
#else
int cascade_arm_has(int feature) {
    (void)feature;
    return 0;
}
#endif
#endif
