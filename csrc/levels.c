/* Which instruction levels were compiled in, and which of them this machine can run. */
#include <string.h>

#include "cascade.h"

extern const cascade_kernels cascade_kernels_scalar;
#ifdef CASCADE_HAVE_AVX2
extern const cascade_kernels cascade_kernels_avx2;
#endif
#ifdef CASCADE_HAVE_AVX512
extern const cascade_kernels cascade_kernels_avx512;
#endif
#ifdef CASCADE_HAVE_AVX512VNNI
extern const cascade_kernels cascade_kernels_avx512vnni;
#endif
#ifdef CASCADE_HAVE_NEON
extern const cascade_kernels cascade_kernels_neon;
#endif

static const cascade_kernels *const levels[] = {
#ifdef CASCADE_HAVE_AVX512VNNI
    &cascade_kernels_avx512vnni,
#endif
#ifdef CASCADE_HAVE_AVX512
    &cascade_kernels_avx512,
#endif
#ifdef CASCADE_HAVE_AVX2
    &cascade_kernels_avx2,
#endif
#ifdef CASCADE_HAVE_NEON
    &cascade_kernels_neon,
#endif
    &cascade_kernels_scalar,
    NULL,
};

const cascade_kernels *const *cascade_levels(void) { return levels; }

#if (defined(__x86_64__) || defined(__i386__)) && (defined(__GNUC__) || defined(__clang__))
#include <cpuid.h>

/* The register state that the operating system saves: without it a capable processor still faults. */
static unsigned long long saved_state(void) {
    unsigned int low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return ((unsigned long long)high << 32) | low;
}

int cascade_level_usable(const cascade_kernels *level) {
    unsigned int a, b, c, d;
    int wants_avx2 = !strcmp(level->name, "avx2"), wants_vnni = !strcmp(level->name, "avx512vnni");
    int wants_avx512 = wants_vnni || !strcmp(level->name, "avx512");
    if (!wants_avx2 && !wants_avx512) {
        return 1;
    }
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || !(c & bit_FMA)) {
        return 0;
    }
    unsigned long long state = saved_state(), ymm = 0x6, zmm = 0xe6;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_AVX2) || (state & ymm) != ymm) {
        return 0;
    }
    unsigned int avx512 = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    int lacks_vnni = wants_vnni && !(c & bit_AVX512VNNI);
    return wants_avx2 || ((b & avx512) == avx512 && (state & zmm) == zmm && !lacks_vnni);
}
#else
int cascade_level_usable(const cascade_kernels *level) {
    (void)level;
    return 1;
}
#endif
