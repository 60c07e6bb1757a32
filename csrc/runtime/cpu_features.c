/*
 * Which SIMD levels were compiled in, and which of them this machine can run.
 *
 * The build defines CASCADE_SIMD_LEVELS, the levels of csrc/build_config.py as LEVEL(best) ... LEVEL(scalar).
 */
#include "kernels.h"
#include "platform.h"

#define LEVEL(name) extern const cascade_kernels cascade_kernels_##name;
CASCADE_SIMD_LEVELS
#undef LEVEL

#define LEVEL(name) &cascade_kernels_##name,
static const cascade_kernels *const levels[] = {CASCADE_SIMD_LEVELS NULL};
#undef LEVEL

const cascade_kernels *const *cascade_simd_levels(void) { return levels; }

int cascade_cpu_is_any(void) { return 1; }

#if defined(CASCADE_X86)
/* Bits of CPUID: leaf 1, register ECX; leaf 7, registers EBX and ECX, and EAX of its subleaf 1. */
enum { FMA = 1 << 12, OSXSAVE = 1 << 27 };
enum { AVX2 = 1 << 5, AVX512F = 1 << 16, AVX512DQ = 1 << 17, AVX512BW = 1 << 30 };
enum { AVX512VNNI = 1 << 11 };
enum { AVXVNNI = 1 << 4 };
#define AVX512VL (1u << 31)
#define AVX512_FEATURES (AVX2 | AVX512F | AVX512BW | AVX512DQ | AVX512VL)

/* The register state that the operating system saves: without it even a capable processor faults. */
enum { YMM_STATE = 0x6, ZMM_STATE = 0xe6 };

/* Whether FMA, the extended features `wanted_b` and `wanted_c` (CPUID leaf 7, registers EBX and ECX) and the register state
 * are there. */
static int supports(uint32_t wanted_b, uint32_t wanted_c, uint64_t state) {
    uint32_t found[4];
    if (!cascade_cpuid(1, 0, found) || !(found[2] & OSXSAVE) || !(found[2] & FMA) ||
        (cascade_saved_state() & state) != state) {
        return 0;
    }
    return cascade_cpuid(7, 0, found) && (found[1] & wanted_b) == wanted_b && (found[2] & wanted_c) == wanted_c;
}

int cascade_cpu_has_avx2(void) { return supports(AVX2, 0, YMM_STATE); }

int cascade_cpu_has_avxvnni(void) {
    uint32_t found[4];
    /* EAX of subleaf 0 is the largest subleaf */
    return cascade_cpu_has_avx2() && cascade_cpuid(7, 0, found) && found[0] >= 1 && cascade_cpuid(7, 1, found) &&
           (found[0] & AVXVNNI) != 0;
}

int cascade_cpu_has_avx512(void) { return supports(AVX512_FEATURES, 0, ZMM_STATE); }

int cascade_cpu_has_avx512vnni(void) { return supports(AVX512_FEATURES, AVX512VNNI, ZMM_STATE); }
#endif

#if defined(CASCADE_ARM64)
int cascade_cpu_has_dotprod(void) { return cascade_arm_has(CASCADE_ARM_DOTPROD); }

int cascade_cpu_has_i8mm(void) { return cascade_arm_has(CASCADE_ARM_DOTPROD) && cascade_arm_has(CASCADE_ARM_I8MM); }
#endif
