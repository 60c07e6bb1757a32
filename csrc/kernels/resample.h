/* The weighted sums of the resampler. */
#ifndef CASCADE_KERNELS_RESAMPLE_H
#define CASCADE_KERNELS_RESAMPLE_H

#include "vector.h"

/* Sums a short run, which the compiler vectorises and keeps in registers. */
ALWAYS_INLINE void blend_run(const uint8_t *rows, size_t stride, const int16_t *weights, size_t count, uint8_t *out,
                             size_t run) {
    int32_t sums[64];
    for (size_t j = 0; j < run; j++) {
        sums[j] = 1 << (CASCADE_WEIGHT_BITS - 1);
    }
    for (size_t k = 0; k < count; k++) {
        const uint8_t *row = rows + k * stride;
        int32_t weight = weights[k];
        for (size_t j = 0; j < run; j++) {
            sums[j] += weight * row[j];
        }
    }
    for (size_t j = 0; j < run; j++) {
        out[j] = (uint8_t)(sums[j] >> CASCADE_WEIGHT_BITS);
    }
}

#if defined(__AVX2__)
#if CASCADE_LANES == 16
ALWAYS_INLINE vec_x86 load_shorts(const uint8_t *from) {
    return _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)from));
}
ALWAYS_INLINE void store_shorts(uint8_t *to, vec_x86 value) {
    _mm256_storeu_si256((__m256i *)to, _mm512_cvtepi16_epi8(value));
}
#else
ALWAYS_INLINE vec_x86 load_shorts(const uint8_t *from) {
    return _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)from));
}
ALWAYS_INLINE void store_shorts(uint8_t *to, vec_x86 value) {
    __m256i bytes = _mm256_permute4x64_epi64(_mm256_packus_epi16(value, value), 0x08);
    _mm_storeu_si128((__m128i *)to, _mm256_castsi256_si128(bytes));
}
#endif
enum { SHORTS = 2 * CASCADE_LANES };

/* One vector of sums, two rows at a time. */
ALWAYS_INLINE void blend_shorts(const uint8_t *rows, size_t stride, const int16_t *weights, size_t count,
                                uint8_t *out) {
    vec_x86 low = X86(set1_epi32)(1 << (CASCADE_WEIGHT_BITS - 1)), high = low;
    for (size_t k = 0; k < count; k += 2, rows += 2 * stride) {
        int both = k + 1 < count;
        vec_x86 a = load_shorts(rows), b = load_shorts(both ? rows + stride : rows);
        uint32_t second = both ? (uint16_t)weights[k + 1] : 0;
        vec_x86 weight = X86(set1_epi32)((int32_t)((uint16_t)weights[k] | second << 16));
        low = X86(add_epi32)(low, X86(madd_epi16)(X86(unpacklo_epi16)(a, b), weight));
        high = X86(add_epi32)(high, X86(madd_epi16)(X86(unpackhi_epi16)(a, b), weight));
    }
    low = X86(srai_epi32)(low, CASCADE_WEIGHT_BITS);
    high = X86(srai_epi32)(high, CASCADE_WEIGHT_BITS);
    store_shorts(out, X86(packs_epi32)(low, high));
}
#endif

static void blend_rows(const uint8_t *rows, size_t stride, const int16_t *weights, size_t count, uint8_t *out,
                       size_t n) {
    enum { RUN = 64, SHORT = 16 };
#if defined(__AVX2__)
    for (size_t i = 0; n >= SHORTS && i < n; i += SHORTS) {
        size_t at = i + SHORTS <= n ? i : n - SHORTS; /* the last vector overlaps the one before */
        blend_shorts(rows + at, stride, weights, count, out + at);
    }
    if (n >= SHORTS) {
        return;
    }
#endif
    if (n < SHORT) {
        for (size_t i = 0; i < n; i++) {
            blend_run(rows + i, stride, weights, count, out + i, 1);
        }
    } else if (n < RUN) {
        for (size_t i = 0; i < n; i += SHORT) {
            size_t at = i + SHORT <= n ? i : n - SHORT;
            blend_run(rows + at, stride, weights, count, out + at, SHORT);
        }
    } else {
        for (size_t i = 0; i < n; i += RUN) {
            size_t at = i + RUN <= n ? i : n - RUN;
            blend_run(rows + at, stride, weights, count, out + at, RUN);
        }
    }
}

/* One output pixel. */
static void blend_pixel(const uint8_t *pixel, const int16_t *weights, size_t taps, uint8_t *out) {
    int32_t sums[CASCADE_CHANNELS] = {0}, any = 0;
    for (size_t k = 0; k < taps; k++, pixel += CASCADE_CHANNELS) {
        int32_t weight = weights[k];
        any |= weight;
        for (size_t c = 0; c < CASCADE_CHANNELS; c++) {
            sums[c] += weight * pixel[c];
        }
    }
    for (size_t c = 0; c < CASCADE_CHANNELS; c++) {
        int32_t rounded = (sums[c] + (1 << (CASCADE_WEIGHT_BITS - 1))) >> CASCADE_WEIGHT_BITS;
        out[c] = any ? (uint8_t)rounded : CASCADE_PADDING_VALUE;
    }
}

#if defined(__AVX2__)
/* Sixteen bytes of the taps of each of two output pixels. */
ALWAYS_INLINE __m256i two_taps(const uint8_t *first, const uint8_t *second) {
    __m128i low = _mm_loadu_si128((const __m128i *)first), high = _mm_loadu_si128((const __m128i *)second);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

/* The four weights of each of two output pixels, twice. */
ALWAYS_INLINE __m256i two_weights(const int16_t *first, const int16_t *second) {
    __m128i low = _mm_set1_epi64x(0), high = low;
    memcpy(&low, first, CASCADE_TAP_GROUP * sizeof *first);
    memcpy(&high, second, CASCADE_TAP_GROUP * sizeof *second);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_unpacklo_epi64(low, low)), _mm_unpacklo_epi64(high, high),
                                   1);
}

/* Two output pixels, four taps at a time. Each half of a vector holds the products of red and green, then those of blue, in
 * pairs of taps. Four bytes are written for each pixel. */
ALWAYS_INLINE void blend_two(const uint8_t *row, const int32_t *first, const int16_t *weights, size_t step, size_t taps,
                             uint8_t *out) {
    const __m256i red_green = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, -1, 3, -1, 6, -1, 9, -1, 1, -1, 4, -1, 7, -1, 10, -1));
    const __m256i blue = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(2, -1, 5, -1, 8, -1, 11, -1, -1, -1, -1, -1, -1, -1, -1, -1));
    const uint8_t *a = row + (ptrdiff_t)first[0] * CASCADE_CHANNELS, *b = row + (ptrdiff_t)first[1] * CASCADE_CHANNELS;
    __m256i sums[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()}, any = _mm256_setzero_si256();
    for (size_t k = 0; k < taps; k += CASCADE_TAP_GROUP) {
        __m256i bytes = two_taps(a + k * CASCADE_CHANNELS, b + k * CASCADE_CHANNELS);
        __m256i weight = two_weights(weights + k, weights + step + k);
        sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(_mm256_shuffle_epi8(bytes, red_green), weight));
        sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(_mm256_shuffle_epi8(bytes, blue), weight));
        any = _mm256_or_si256(any, weight);
    }
    /* adds the pairs: red, green, blue and nothing */
    __m256 x = _mm256_castsi256_ps(sums[0]), y = _mm256_castsi256_ps(sums[1]);
    __m256i even = _mm256_castps_si256(_mm256_shuffle_ps(x, y, 0x88)),
            odd = _mm256_castps_si256(_mm256_shuffle_ps(x, y, 0xdd));
    __m256i half = _mm256_set1_epi32(1 << (CASCADE_WEIGHT_BITS - 1));
    __m256i found = _mm256_srai_epi32(_mm256_add_epi32(_mm256_add_epi32(even, odd), half), CASCADE_WEIGHT_BITS);
    __m256i none = _mm256_cmpeq_epi32(_mm256_or_si256(any, _mm256_shuffle_epi32(any, 0xb1)), _mm256_setzero_si256());
    found = _mm256_blendv_epi8(found, _mm256_set1_epi32(CASCADE_PADDING_VALUE), none);
    found = _mm256_packus_epi16(_mm256_packs_epi32(found, found), found);
    uint32_t written[2] = {(uint32_t)_mm256_extract_epi32(found, 0), (uint32_t)_mm256_extract_epi32(found, 4)};
    memcpy(out, written, sizeof *written);
    memcpy(out + CASCADE_CHANNELS, written + 1, sizeof *written);
}

static void blend_columns(const uint8_t *row, const int32_t *first, const int16_t *weights, size_t step, size_t taps,
                          uint8_t *out, size_t n) {
    size_t i = 0;
    for (; i + 3 <= n; i += 2) { /* a byte is written after the second pixel */
        blend_two(row, first + i, weights + i * step, step, taps, out + i * CASCADE_CHANNELS);
    }
    for (; i < n; i++) {
        blend_pixel(row + (ptrdiff_t)first[i] * CASCADE_CHANNELS, weights + i * step, taps, out + i * CASCADE_CHANNELS);
    }
}
#else
#if CASCADE_LANES > 1
/* Bits by which the channels of a pixel are shifted where it is read as one little-endian word. */
enum { RED = 0, GREEN = 8, BLUE = 16 };

/* A vector of output pixels from pixel i on. Each is read as a word: three channels and a byte of the next pixel. The words
 * written overlap as well, so of the last pixel only three bytes are written. */
ALWAYS_INLINE void blend_vector(const uint8_t *row, const int32_t *first, const int16_t *weights, size_t step,
                                size_t taps, size_t i, uint8_t *out) {
    vec_i32 half = (vec_i32){0} + (1 << (CASCADE_WEIGHT_BITS - 1)), red = half, green = half, blue = half, any = {0};
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
        red += weight * (pixel >> RED & 255);
        green += weight * (pixel >> GREEN & 255);
        blue += weight * (pixel >> BLUE & 255);
        any |= weight;
    }
    vec_i32 padded = any == 0, padding = (vec_i32){0} + (CASCADE_PADDING_VALUE << RED | CASCADE_PADDING_VALUE << GREEN |
                                                         CASCADE_PADDING_VALUE << BLUE);
    vec_i32 sums =
        red >> CASCADE_WEIGHT_BITS << RED | green >> CASCADE_WEIGHT_BITS << GREEN | blue >> CASCADE_WEIGHT_BITS << BLUE;
    uint32_t written[CASCADE_LANES];
    sums = (sums & ~padded) | (padding & padded);
    memcpy(written, &sums, sizeof written);
    out += i * CASCADE_CHANNELS;
    for (size_t lane = 0; lane + 1 < CASCADE_LANES; lane++, out += CASCADE_CHANNELS) {
        memcpy(out, written + lane, sizeof *written);
    }
    memcpy(out, written + CASCADE_LANES - 1, CASCADE_CHANNELS);
}
#endif

static void blend_columns(const uint8_t *row, const int32_t *first, const int16_t *weights, size_t step, size_t taps,
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
