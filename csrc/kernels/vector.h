/* Vectors of CASCADE_LANES float32 or 32-bit integers, and how many accumulators the registers have room for. */
#ifndef CASCADE_KERNELS_VECTOR_H
#define CASCADE_KERNELS_VECTOR_H

#include <string.h>

#include "kernels.h"

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__ARM_FEATURE_DOTPROD)
#include <arm_neon.h>
#endif

/* The checked memcpy of _FORTIFY_SOURCE becomes a plain load too late for GCC: accumulators of the int8 convolution then lie on
 * the stack, and the level avxvnni was as slow as avx2. Sizes are constants here, so there is nothing to check. */
#if defined(__GNUC__)
#undef memcpy
#define memcpy(to, from, size) __builtin_memcpy(to, from, size)
#endif

#if CASCADE_LANES > 1
typedef float vec_f32 __attribute__((vector_size(CASCADE_LANES * sizeof(float))));
typedef int32_t vec_i32 __attribute__((vector_size(CASCADE_LANES * sizeof(int32_t))));
typedef uint32_t vec_u32 __attribute__((vector_size(CASCADE_LANES * sizeof(uint32_t))));
#else
typedef float vec_f32;
typedef int32_t vec_i32;
typedef uint32_t vec_u32;
#endif

/* A vector as the intrinsics of x86 take it, their names without the width, and 16 bytes in all parts of a vector. */
#if defined(__AVX2__) && CASCADE_LANES == 16
typedef __m512i vec_x86;
#define X86(name) _mm512_##name
#define BROADCAST_128 _mm512_broadcast_i32x4
#elif defined(__AVX2__)
typedef __m256i vec_x86;
#define X86(name) _mm256_##name
#define BROADCAST_128 _mm256_broadcastsi128_si256
#endif

#if defined(__GNUC__) || defined(__clang__)
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#else
#define ALWAYS_INLINE static inline
#endif

/* Accumulators in a tile: half of the registers or more, so that the multiply-adds never wait for each other. NEON has as
 * many registers as AVX-512, but GCC gives each of eight weights a register of its own and spills the sums. */
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

/* Positions in a tile of the small-batch kernels, with two vectors of channels each. */
#if CASCADE_LANES == 16
#define SMALL_BATCH_POSITIONS 12
#elif CASCADE_LANES == 8
#define SMALL_BATCH_POSITIONS 6
#else
#define SMALL_BATCH_POSITIONS 8
#endif
/* TILE for every number of positions that such a tile may have: the compiler needs it as a constant. */
#if SMALL_BATCH_POSITIONS == 6
#define SMALL_BATCH_CASES(TILE) TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6)
#elif SMALL_BATCH_POSITIONS == 8
#define SMALL_BATCH_CASES(TILE) TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6) TILE(7) TILE(8)
#else
#define SMALL_BATCH_CASES(TILE)                                                                                        \
    TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6) TILE(7) TILE(8) TILE(9) TILE(10) TILE(11) TILE(12)
#endif

ALWAYS_INLINE vec_f32 load_f32(const float *from) {
    vec_f32 value;
    memcpy(&value, from, sizeof value);
    return value;
}

ALWAYS_INLINE void store_f32(float *to, vec_f32 value) { memcpy(to, &value, sizeof value); }

#if CASCADE_LANES > 1
ALWAYS_INLINE vec_f32 broadcast_f32(float value) { return value - (vec_f32){0}; }
ALWAYS_INLINE vec_i32 broadcast_i32(int32_t value) { return value - (vec_i32){0}; }
#if defined(__AVX2__)
ALWAYS_INLINE vec_f32 maximum(vec_f32 a, vec_f32 b) { return (vec_f32)X86(max_ps)(a, b); }
#else
ALWAYS_INLINE vec_f32 maximum(vec_f32 a, vec_f32 b) {
    vec_i32 first = a > b;
    return (vec_f32)(((vec_i32)a & first) | ((vec_i32)b & ~first));
}
#endif
ALWAYS_INLINE vec_f32 to_f32(vec_i32 value) { return __builtin_convertvector(value, vec_f32); }
ALWAYS_INLINE vec_i32 truncate_f32(vec_f32 value) { return __builtin_convertvector(value, vec_i32); }
#else
ALWAYS_INLINE vec_f32 broadcast_f32(float value) { return value; }
ALWAYS_INLINE vec_i32 broadcast_i32(int32_t value) { return value; }
ALWAYS_INLINE vec_f32 maximum(vec_f32 a, vec_f32 b) { return a > b ? a : b; }
ALWAYS_INLINE vec_f32 to_f32(vec_i32 value) { return (float)value; }
ALWAYS_INLINE vec_i32 truncate_f32(vec_f32 value) { return (int32_t)value; }
#endif

#endif
