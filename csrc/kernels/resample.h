/*
 * The weighted sums of the resampler. Weights are negative and sum to -(1 << CASCADE_WEIGHT_BITS), so that a sum of products
 * fits into 16 bits.
 */
#ifndef CASCADE_KERNELS_RESAMPLE_H
#define CASCADE_KERNELS_RESAMPLE_H

#include "vector.h"

enum { WEIGHT_HALF = 1 << (CASCADE_WEIGHT_BITS - 1) };

/* Sums a short run, which the compiler vectorises and keeps in registers. */
ALWAYS_INLINE void blend_run(const uint8_t *rows, size_t stride, const int8_t *weights, size_t count, uint8_t *out,
                             size_t run) {
    uint16_t sums[64];
    for (size_t j = 0; j < run; j++) {
        sums[j] = WEIGHT_HALF;
    }
    for (size_t k = 0; k < count; k++) {
        const uint8_t *row = rows + k * stride;
        uint16_t weight = (uint16_t)-weights[k];
        for (size_t j = 0; j < run; j++) {
            sums[j] = (uint16_t)(sums[j] + weight * row[j]);
        }
    }
    for (size_t j = 0; j < run; j++) {
        out[j] = (uint8_t)(sums[j] >> CASCADE_WEIGHT_BITS);
    }
}

/* Fewer bytes than a vector has, or any number without vectors. */
static void blend_short_rows(const uint8_t *rows, size_t stride, const int8_t *weights, size_t count, uint8_t *out,
                             size_t n) {
    enum { RUN = 64, SHORT = 16 };
    size_t run = n < SHORT ? 1 : n < RUN ? SHORT : RUN;
    for (size_t i = 0; i < n; i += run) {
        size_t at = i + run <= n ? i : n - run; /* the last run overlaps the one before */
        if (run == RUN) {
            blend_run(rows + at, stride, weights, count, out + at, RUN);
        } else if (run == SHORT) {
            blend_run(rows + at, stride, weights, count, out + at, SHORT);
        } else {
            blend_run(rows + at, stride, weights, count, out + at, 1);
        }
    }
}

/* One output pixel. */
static void blend_pixel(const uint8_t *pixel, const int8_t *weights, size_t taps, uint8_t *out) {
    int32_t sums[CASCADE_CHANNELS] = {WEIGHT_HALF, WEIGHT_HALF, WEIGHT_HALF};
    for (size_t k = 0; k < taps; k++, pixel += CASCADE_CHANNELS) {
        for (size_t c = 0; c < CASCADE_CHANNELS; c++) {
            sums[c] -= weights[k] * pixel[c];
        }
    }
    for (size_t c = 0; c < CASCADE_CHANNELS; c++) {
        out[c] = (uint8_t)(sums[c] >> CASCADE_WEIGHT_BITS);
    }
}

#if defined(__AVX2__)
/* The factors by which `mulhrs` rounds sums of 16 bits and divides them by 1 << CASCADE_WEIGHT_BITS. */
enum { ROUNDING = 1 << (15 - CASCADE_WEIGHT_BITS) };

/* One vector of sums: rows in pairs, `pairs` of them, and one more if `odd`. `weights` holds two in each 16 bits. */
ALWAYS_INLINE void blend_bytes(const uint8_t *rows, size_t stride, const vec_x86 *weights, size_t pairs, int odd,
                               uint8_t *out) {
    vec_x86 low = X86(set1_epi16)(0), high = low;
    for (size_t k = 0; k < pairs; k++, rows += 2 * stride) {
        vec_x86 a, b;
        memcpy(&a, rows, sizeof a);
        memcpy(&b, rows + stride, sizeof b);
        low = X86(add_epi16)(low, X86(maddubs_epi16)(X86(unpacklo_epi8)(a, b), weights[k]));
        high = X86(add_epi16)(high, X86(maddubs_epi16)(X86(unpackhi_epi8)(a, b), weights[k]));
    }
    if (odd) {
        vec_x86 a;
        memcpy(&a, rows, sizeof a);
        low = X86(add_epi16)(low, X86(maddubs_epi16)(X86(unpacklo_epi8)(a, a), weights[pairs]));
        high = X86(add_epi16)(high, X86(maddubs_epi16)(X86(unpackhi_epi8)(a, a), weights[pairs]));
    }
    low = X86(mulhrs_epi16)(low, X86(set1_epi16)(-ROUNDING));
    high = X86(mulhrs_epi16)(high, X86(set1_epi16)(-ROUNDING));
    low = X86(packus_epi16)(low, high);
    memcpy(out, &low, sizeof low);
}

/* All vectors of a row; the last one overlaps the one before. */
ALWAYS_INLINE void blend_vectors(const uint8_t *rows, size_t stride, const vec_x86 *weights, size_t pairs, int odd,
                                 uint8_t *out, size_t n) {
    for (size_t i = 0; i < n; i += sizeof(vec_x86)) {
        size_t at = i + sizeof(vec_x86) <= n ? i : n - sizeof(vec_x86);
        __builtin_prefetch(rows + (2 * pairs + (size_t)odd) * stride + at);
        blend_bytes(rows + at, stride, weights, pairs, odd, out + at);
    }
}

static void blend_rows(const uint8_t *rows, size_t stride, const int8_t *weights, size_t count, uint8_t *out,
                       size_t n) {
    enum { MOST_PAIRS = 16 };
    vec_x86 pairs[MOST_PAIRS];
    if (n < sizeof(vec_x86) || count > 2 * MOST_PAIRS) {
        blend_short_rows(rows, stride, weights, count, out, n);
        return;
    }
    for (size_t k = 0; k < count; k += 2) {
        int second = k + 1 < count ? weights[k + 1] * 256 : 0;
        pairs[k / 2] = X86(set1_epi16)((int16_t)(second | (uint8_t)weights[k]));
    }
    switch (count) {
    case 1: /* a weight of one: the pixels themselves */
        memcpy(out, rows, n);
        break;
    case 2:
        blend_vectors(rows, stride, pairs, 1, 0, out, n);
        break;
    case 3:
        blend_vectors(rows, stride, pairs, 1, 1, out, n);
        break;
    case 4:
        blend_vectors(rows, stride, pairs, 2, 0, out, n);
        break;
    default:
        blend_vectors(rows, stride, pairs, count / 2, count % 2, out, n);
    }
}

/* Sixteen bytes of the taps of each of two output pixels. */
ALWAYS_INLINE __m256i two_taps(const uint8_t *first, const uint8_t *second) {
    __m128i low = _mm_loadu_si128((const __m128i *)first), high = _mm_loadu_si128((const __m128i *)second);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

/* The four weights of each of two output pixels, for each channel. */
ALWAYS_INLINE __m256i two_weights(const int8_t *first, const int8_t *second) {
    int32_t low, high;
    memcpy(&low, first, sizeof low);
    memcpy(&high, second, sizeof high);
    return _mm256_blend_epi32(_mm256_set1_epi32(low), _mm256_set1_epi32(high), 0xf0);
}

/* The sums of two pixels over `taps` taps: of red, green, blue and nothing, in 32 bits. */
ALWAYS_INLINE __m256i sum_two(const uint8_t *a, const uint8_t *b, const int8_t *weights, size_t apart, size_t taps) {
    const __m256i by_channel =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11, -1, -1, -1, -1));
    __m256i sums = _mm256_setzero_si256();
    for (size_t k = 0; k < taps; k += CASCADE_TAP_GROUP) {
        __m256i bytes = two_taps(a + k * CASCADE_CHANNELS, b + k * CASCADE_CHANNELS);
        __m256i products = _mm256_maddubs_epi16(_mm256_shuffle_epi8(bytes, by_channel),
                                                two_weights(weights + k, weights + apart + k));
        sums = _mm256_add_epi16(sums, products);
    }
    return _mm256_madd_epi16(sums, _mm256_set1_epi16(-1));
}

/* Four output pixels. Two bytes more than theirs are written. */
ALWAYS_INLINE void blend_four(const uint8_t *row, const int32_t *first, const int8_t *weights, size_t step, size_t taps,
                              uint8_t *out) {
    const __m256i without_fourth =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 2, 4, 5, 6, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1));
    const uint8_t *at[4];
    for (size_t i = 0; i < 4; i++) {
        at[i] = row + (ptrdiff_t)first[i] * CASCADE_CHANNELS;
    }
    /* the halves of a vector: pixels 0 and 1, then 2 and 3 */
    __m256i sums = _mm256_packs_epi32(sum_two(at[0], at[2], weights, 2 * step, taps),
                                      sum_two(at[1], at[3], weights + step, 2 * step, taps));
    __m256i found = _mm256_mulhrs_epi16(sums, _mm256_set1_epi16(ROUNDING));
    found = _mm256_shuffle_epi8(_mm256_packus_epi16(found, found), without_fourth);
    uint64_t written[2] = {(uint64_t)_mm256_extract_epi64(found, 0), (uint64_t)_mm256_extract_epi64(found, 2)};
    memcpy(out, written, sizeof *written);
    memcpy(out + 2 * CASCADE_CHANNELS, written + 1, sizeof *written);
}

/* All columns for a number of taps that may be constant. */
ALWAYS_INLINE void blend_fours(const uint8_t *row, const int32_t *first, const int8_t *weights, size_t step,
                               size_t taps, uint8_t *out, size_t n) {
    size_t i = 0;
    for (; i + 5 <= n; i += 4) {
        blend_four(row, first + i, weights + i * step, step, taps, out + i * CASCADE_CHANNELS);
    }
    for (; i < n; i++) {
        blend_pixel(row + (ptrdiff_t)first[i] * CASCADE_CHANNELS, weights + i * step, taps, out + i * CASCADE_CHANNELS);
    }
}

static void blend_columns(const uint8_t *row, const int32_t *first, const int8_t *weights, size_t step, size_t taps,
                          uint8_t *out, size_t n) {
    if (taps == CASCADE_TAP_GROUP) {
        blend_fours(row, first, weights, step, CASCADE_TAP_GROUP, out, n);
    } else {
        blend_fours(row, first, weights, step, taps, out, n);
    }
}
#else
static void blend_rows(const uint8_t *rows, size_t stride, const int8_t *weights, size_t count, uint8_t *out,
                       size_t n) {
    blend_short_rows(rows, stride, weights, count, out, n);
}

#if CASCADE_LANES > 1
/* Bits by which the channels of a pixel are shifted where it is read as one little-endian word. */
enum { RED = 0, GREEN = 8, BLUE = 16 };

/* A vector of output pixels from pixel i on. Each is read as a word: three channels and a byte of the next pixel. The words
 * written overlap as well, so of the last pixel only three bytes are written. */
ALWAYS_INLINE void blend_vector(const uint8_t *row, const int32_t *first, const int8_t *weights, size_t step,
                                size_t taps, size_t i, uint8_t *out) {
    vec_i32 half = (vec_i32){0} + WEIGHT_HALF, red = half, green = half, blue = half;
    for (size_t k = 0; k < taps; k++, row += CASCADE_CHANNELS) {
        uint32_t read[CASCADE_LANES];
        int32_t factors[CASCADE_LANES];
        for (size_t lane = 0; lane < CASCADE_LANES; lane++) {
            factors[lane] = weights[(i + lane) * step + k];
            memcpy(read + lane, row + (ptrdiff_t)first[i + lane] * CASCADE_CHANNELS, sizeof *read);
        }
        vec_i32 pixel, weight;
        memcpy(&pixel, read, sizeof pixel);
        memcpy(&weight, factors, sizeof weight);
        red -= weight * (pixel >> RED & 255);
        green -= weight * (pixel >> GREEN & 255);
        blue -= weight * (pixel >> BLUE & 255);
    }
    vec_i32 sums =
        red >> CASCADE_WEIGHT_BITS << RED | green >> CASCADE_WEIGHT_BITS << GREEN | blue >> CASCADE_WEIGHT_BITS << BLUE;
    uint32_t written[CASCADE_LANES];
    memcpy(written, &sums, sizeof written);
    out += i * CASCADE_CHANNELS;
    for (size_t lane = 0; lane + 1 < CASCADE_LANES; lane++, out += CASCADE_CHANNELS) {
        memcpy(out, written + lane, sizeof *written);
    }
    memcpy(out, written + CASCADE_LANES - 1, CASCADE_CHANNELS);
}
#endif

static void blend_columns(const uint8_t *row, const int32_t *first, const int8_t *weights, size_t step, size_t taps,
                          uint8_t *out, size_t n) {
    size_t i = 0;
#if CASCADE_LANES > 1
    for (; i + CASCADE_LANES <= n; i += CASCADE_LANES) {
        blend_vector(row, first, weights, step, taps, i, out);
    }
#endif
    for (; i < n; i++) {
        blend_pixel(row + (ptrdiff_t)first[i] * CASCADE_CHANNELS, weights + i * step, taps, out + i * CASCADE_CHANNELS);
    }
}
#endif

#endif
