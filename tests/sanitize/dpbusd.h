/* vpdpbusd of AVX-VNNI on 256 bits in plain C, for processors and emulators that lack it: given to the compiler of the level
 * avxvnni by `-include`. */
#ifndef CASCADE_TESTS_DPBUSD_H
#define CASCADE_TESTS_DPBUSD_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define __AVXVNNI__ 1
#define _mm256_dpbusd_avx_epi32 dpbusd

static inline __m256i dpbusd(__m256i sums, __m256i activations, __m256i weights) {
    int32_t total[8];
    uint8_t a[32];
    int8_t b[32];
    memcpy(total, &sums, sizeof total);
    memcpy(a, &activations, sizeof a);
    memcpy(b, &weights, sizeof b);
    for (int i = 0; i < 32; i++) {
        total[i / 4] += a[i] * b[i];
    }
    memcpy(&sums, total, sizeof total);
    return sums;
}

#endif
