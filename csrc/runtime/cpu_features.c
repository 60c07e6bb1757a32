/*
 * Which SIMD levels were compiled in, and which of them this machine can run.
 *
 * The build defines CASCADE_SIMD_LEVELS, the levels of csrc/build_config.py as LEVEL(best) ... LEVEL(scalar).
 */
#include "kernels.h"

#define LEVEL(name) extern const cascade_kernels cascade_kernels_##name;
CASCADE_SIMD_LEVELS
#undef LEVEL

#define LEVEL(name) &cascade_kernels_##name,
static const cascade_kernels *const levels[] = {CASCADE_SIMD_LEVELS NULL};
#undef LEVEL

const cascade_kernels *const *cascade_simd_levels(void) { return levels; }

int cascade_cpu_is_any(void) { return 1; }

#if (defined(__x86_64__) || defined(__i386__)) && (defined(__GNUC__) || defined(__clang__))
#include <cpuid.h>

/* The register state that the operating system saves: without it even a capable processor faults. */
enum { YMM_STATE = 0x6, ZMM_STATE = 0xe6 };

static unsigned long long saved_state(void) {
    unsigned int low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return ((unsigned long long)high << 32) | low;
}

/* Whether FMA, the extended features `wanted_b` and `wanted_c` (CPUID leaf 7, registers EBX and ECX) and the register state
 * are there. */
static int supports(unsigned int wanted_b, unsigned int wanted_c, unsigned long long state) {
    unsigned int a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || !(c & bit_FMA) || (saved_state() & state) != state) {
        return 0;
    }
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & wanted_b) == wanted_b && (c & wanted_c) == wanted_c;
}

#define AVX512_FEATURES (bit_AVX2 | bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL)

int cascade_cpu_has_avx2(void) { return supports(bit_AVX2, 0, YMM_STATE); }

int cascade_cpu_has_avx512(void) { return supports(AVX512_FEATURES, 0, ZMM_STATE); }

int cascade_cpu_has_avx512vnni(void) { return supports(AVX512_FEATURES, bit_AVX512VNNI, ZMM_STATE); }
#endif
