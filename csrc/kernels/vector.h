/* Vectors of CASCADE_LANES floats, words or whole numbers, and the tiles of sums that registers have room for. */
#ifndef CASCADE_KERNELS_VECTOR_H
#define CASCADE_KERNELS_VECTOR_H

#include <string.h>

#include "cascade.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#if CASCADE_LANES > 1
typedef float vector __attribute__((vector_size(CASCADE_LANES * sizeof(float))));
typedef int32_t mask __attribute__((vector_size(CASCADE_LANES * sizeof(int32_t))));
typedef uint32_t words __attribute__((vector_size(CASCADE_LANES * sizeof(uint32_t))));
#else
typedef float vector;
typedef int32_t mask;
typedef uint32_t words;
#endif

#if defined(__GNUC__) || defined(__clang__)
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#else
#define ALWAYS_INLINE static inline
#endif

/* Accumulators in a tile: half of the registers or more, so that the multiply-adds never wait for each other. NEON has
 * as many registers as AVX-512, but GCC gives each of eight weights one of its own, and sums then go to the stack. */
#if CASCADE_LANES == 16 || (CASCADE_LANES == 4 && defined(__clang__))
#define TILE_CHANNELS 8
#define TILE_VECTORS 3
#elif CASCADE_LANES > 1
#define TILE_CHANNELS 4
#define TILE_VECTORS 3
#else
#define TILE_CHANNELS 4
#define TILE_VECTORS 1
#endif

ALWAYS_INLINE vector load(const float *from) {
    vector value;
    memcpy(&value, from, sizeof value);
    return value;
}

ALWAYS_INLINE void store(float *to, vector value) { memcpy(to, &value, sizeof value); }

#if CASCADE_LANES > 1
ALWAYS_INLINE vector broadcast(float value) { return value - (vector){0}; }
ALWAYS_INLINE vector maximum(vector a, vector b) {
    mask first = a > b;
    return (vector)(((mask)a & first) | ((mask)b & ~first));
}
#else
ALWAYS_INLINE vector broadcast(float value) { return value; }
ALWAYS_INLINE vector maximum(vector a, vector b) { return a > b ? a : b; }
#endif

#endif
