/* Bilinear interpolation of the pixels of aligned crops. */
#ifndef CASCADE_KERNELS_WARP_H
#define CASCADE_KERNELS_WARP_H

#include "vector.h"

/* The sum of the weights of two neighbours, and half of the sum of those of all four, for rounding. */
#define ONE (1 << CASCADE_BILINEAR_BITS)
#define HALF (1 << (2 * CASCADE_BILINEAR_BITS - 1))

/* What a pixel of a crop reads: the upper left one of four neighbours, and the weights of the right and the lower ones. */
typedef struct {
    const uint8_t *upper;
    int32_t across;
    int32_t down;
} sample;

ALWAYS_INLINE sample sample_at(const cascade_image *image, int64_t x, int64_t y) {
    const int64_t half = (int64_t)1 << (CASCADE_TRANSFORM_BITS - 1); /* pixel 0 has its centre at a half */
    size_t column = (size_t)((x - half) >> CASCADE_TRANSFORM_BITS),
           row = (size_t)((y - half) >> CASCADE_TRANSFORM_BITS);
    sample at;
    at.upper = image->pixels + ((row - image->top) * image->width + column) * CASCADE_CHANNELS;
    at.across = (int32_t)((x - half) >> (CASCADE_TRANSFORM_BITS - CASCADE_BILINEAR_BITS)) & (ONE - 1);
    at.down = (int32_t)((y - half) >> (CASCADE_TRANSFORM_BITS - CASCADE_BILINEAR_BITS)) & (ONE - 1);
    return at;
}

#if defined(__AVX2__)
/* The weights of the left and the right neighbour as 16 bits each, for the lanes of two pixels. */
ALWAYS_INLINE __m256i bilinear_weights(int32_t first, int32_t second) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_set1_epi32(ONE + first * 0xffff)),
                                   _mm_set1_epi32(ONE + second * 0xffff), 1);
}

/* Interpolates across for two pixels: red, green, blue and nothing of each, less HALF so that they fit into int16. */
ALWAYS_INLINE __m256i interpolate_across(const uint8_t *first, const uint8_t *second, __m256i weights) {
    const __m256i pairs =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1));
    __m256i bytes = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadl_epi64((const __m128i *)first)),
                                            _mm_loadl_epi64((const __m128i *)second), 1);
    return _mm256_sub_epi32(_mm256_madd_epi16(_mm256_shuffle_epi8(bytes, pairs), weights), _mm256_set1_epi32(HALF));
}

ALWAYS_INLINE void warp_two(const sample *samples, size_t pitch, uint8_t *out) {
    const sample *a = samples, *b = samples + 1;
    __m256i across = bilinear_weights(a->across, b->across), down = bilinear_weights(a->down, b->down);
    __m256i above = interpolate_across(a->upper, b->upper, across);
    __m256i below = interpolate_across(a->upper + pitch, b->upper + pitch, across);
    __m256i both = _mm256_blend_epi16(above, _mm256_slli_epi32(below, 16), 0xaa);
    /* adds HALF back with all of its weight, and one HALF more for rounding */
    __m256i sums = _mm256_add_epi32(_mm256_madd_epi16(both, down), _mm256_set1_epi32(HALF * ONE + HALF));
    __m256i found = _mm256_srli_epi32(sums, 2 * CASCADE_BILINEAR_BITS);
    found = _mm256_packus_epi16(_mm256_packus_epi32(found, found), found);
    uint32_t written[2] = {(uint32_t)_mm256_extract_epi32(found, 0), (uint32_t)_mm256_extract_epi32(found, 4)};
    memcpy(out, written, sizeof *written); /* one byte too many, which the second pixel overwrites */
    memcpy(out + CASCADE_CHANNELS, written + 1, CASCADE_CHANNELS);
}
#endif

#if CASCADE_LANES > 1
typedef float pixel __attribute__((vector_size(16)));
typedef int32_t pixel_sums __attribute__((vector_size(16)));
typedef uint8_t pixel_bytes __attribute__((vector_size(4)));

ALWAYS_INLINE pixel load_pixel(const uint8_t *from) {
    pixel_bytes bytes;
    memcpy(&bytes, from, sizeof bytes);
    return __builtin_convertvector(__builtin_convertvector(bytes, pixel_sums), pixel);
}

/* All channels of a pixel at once. Floats hold all of these sums exactly, and every processor has products of float vectors. */
ALWAYS_INLINE void warp_one(const sample *at, size_t pitch, uint8_t *out) {
    const uint8_t *upper = at->upper, *lower = upper + pitch;
    float right = (float)at->across, down = (float)at->down;
    pixel above = load_pixel(upper) * (ONE - right) + load_pixel(upper + CASCADE_CHANNELS) * right;
    pixel below = load_pixel(lower) * (ONE - right) + load_pixel(lower + CASCADE_CHANNELS) * right;
    pixel mixed = above * (ONE - down) + below * down + (float)HALF;
    pixel_bytes bytes =
        __builtin_convertvector(__builtin_convertvector(mixed, pixel_sums) >> 2 * CASCADE_BILINEAR_BITS, pixel_bytes);
    memcpy(out, &bytes, CASCADE_CHANNELS);
}
#else
ALWAYS_INLINE void warp_one(const sample *at, size_t pitch, uint8_t *out) {
    const uint8_t *upper = at->upper, *lower = upper + pitch;
    for (size_t c = 0; c < CASCADE_CHANNELS; c++) {
        int32_t above = upper[c] * (ONE - at->across) + upper[c + CASCADE_CHANNELS] * at->across;
        int32_t below = lower[c] * (ONE - at->across) + lower[c + CASCADE_CHANNELS] * at->across;
        out[c] = (uint8_t)((above * (ONE - at->down) + below * at->down + HALF) >> (2 * CASCADE_BILINEAR_BITS));
    }
}
#endif

#undef ONE
#undef HALF

static void warp_row(const cascade_image *image, const int64_t transform[6], int64_t x, int64_t y, uint8_t *out,
                     size_t n) {
    size_t pitch = image->width * CASCADE_CHANNELS;
#if defined(__AVX2__)
    for (; n >= 2; n -= 2, x += 2 * transform[0], y += 2 * transform[3], out += 2 * CASCADE_CHANNELS) {
        const sample samples[2] = {sample_at(image, x, y), sample_at(image, x + transform[0], y + transform[3])};
        warp_two(samples, pitch, out);
    }
#endif
    for (; n > 0; n--, x += transform[0], y += transform[3], out += CASCADE_CHANNELS) {
        sample at = sample_at(image, x, y);
        warp_one(&at, pitch, out);
    }
}

#endif
