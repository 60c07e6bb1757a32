/* The pixels of turned crops. */
#ifndef CASCADE_KERNELS_TURN_H
#define CASCADE_KERNELS_TURN_H

#include "kernels/vector.h"

/* All of a pixel, shared by two neighbours; a half of what the four have. */
#define WHOLE (1 << CASCADE_SHARE_BITS)
#define HALF (1 << (2 * CASCADE_SHARE_BITS - 1))

/* Where a pixel of a crop looks: the left upper one of its four, and the shares of the right and lower ones. */
typedef struct {
    const uint8_t *upper;
    int32_t across;
    int32_t down;
} turned_place;

ALWAYS_INLINE turned_place place_of(const cascade_image *image, int64_t x, int64_t y) {
    const int64_t half = (int64_t)1 << (CASCADE_MAP_BITS - 1); /* pixel 0 has its centre at a half */
    size_t column = (size_t)((x - half) >> CASCADE_MAP_BITS), row = (size_t)((y - half) >> CASCADE_MAP_BITS);
    turned_place place;
    place.upper = image->pixels + ((row - image->top) * image->width + column) * CASCADE_CHANNELS;
    place.across = (int32_t)((x - half) >> (CASCADE_MAP_BITS - CASCADE_SHARE_BITS)) & (WHOLE - 1);
    place.down = (int32_t)((y - half) >> (CASCADE_MAP_BITS - CASCADE_SHARE_BITS)) & (WHOLE - 1);
    return place;
}

#if defined(__AVX2__)
/* The rest of a share and the share, as 16 bits each, for the lanes of two pixels. */
ALWAYS_INLINE __m256i two_shares(int32_t first, int32_t second) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_set1_epi32(WHOLE + first * 0xffff)),
                                   _mm_set1_epi32(WHOLE + second * 0xffff), 1);
}

/* Neighbours across, blended, of two pixels: red, green, blue and nothing of each, less a half of 16 bits. */
ALWAYS_INLINE __m256i blend_across(const uint8_t *first, const uint8_t *second, __m256i shares) {
    const __m256i pairs =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1));
    __m256i bytes = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadl_epi64((const __m128i *)first)),
                                            _mm_loadl_epi64((const __m128i *)second), 1);
    return _mm256_sub_epi32(_mm256_madd_epi16(_mm256_shuffle_epi8(bytes, pairs), shares), _mm256_set1_epi32(HALF));
}

ALWAYS_INLINE void turn_two(const turned_place *places, size_t pitch, uint8_t *out) {
    const turned_place *a = places, *b = places + 1;
    __m256i across = two_shares(a->across, b->across), down = two_shares(a->down, b->down);
    __m256i above = blend_across(a->upper, b->upper, across);
    __m256i below = blend_across(a->upper + pitch, b->upper + pitch, across);
    __m256i both = _mm256_blend_epi16(above, _mm256_slli_epi32(below, 16), 0xaa);
    /* the half that is missing in all of a pixel, and one to round */
    __m256i sums = _mm256_add_epi32(_mm256_madd_epi16(both, down), _mm256_set1_epi32(HALF * WHOLE + HALF));
    __m256i found = _mm256_srli_epi32(sums, 2 * CASCADE_SHARE_BITS);
    found = _mm256_packus_epi16(_mm256_packus_epi32(found, found), found);
    uint32_t written[2] = {(uint32_t)_mm256_extract_epi32(found, 0), (uint32_t)_mm256_extract_epi32(found, 4)};
    memcpy(out, written, sizeof *written); /* a byte too many, which the second pixel has */
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

/* All channels of a pixel at once: floats hold all sums here exactly, and every processor multiplies them together. */
ALWAYS_INLINE void turn_one(const turned_place *place, size_t pitch, uint8_t *out) {
    const uint8_t *upper = place->upper, *lower = upper + pitch;
    float right = (float)place->across, down = (float)place->down;
    pixel above = load_pixel(upper) * (WHOLE - right) + load_pixel(upper + CASCADE_CHANNELS) * right;
    pixel below = load_pixel(lower) * (WHOLE - right) + load_pixel(lower + CASCADE_CHANNELS) * right;
    pixel mixed = above * (WHOLE - down) + below * down + (float)HALF;
    pixel_bytes bytes = __builtin_convertvector(__builtin_convertvector(mixed, pixel_sums) >> 2 * CASCADE_SHARE_BITS, pixel_bytes);
    memcpy(out, &bytes, CASCADE_CHANNELS);
}
#else
ALWAYS_INLINE void turn_one(const turned_place *place, size_t pitch, uint8_t *out) {
    const uint8_t *upper = place->upper, *lower = upper + pitch;
    for (size_t c = 0; c < CASCADE_CHANNELS; c++) {
        int32_t above = upper[c] * (WHOLE - place->across) + upper[c + CASCADE_CHANNELS] * place->across;
        int32_t below = lower[c] * (WHOLE - place->across) + lower[c + CASCADE_CHANNELS] * place->across;
        out[c] = (uint8_t)((above * (WHOLE - place->down) + below * place->down + HALF) >> (2 * CASCADE_SHARE_BITS));
    }
}
#endif

#undef WHOLE
#undef HALF

static void turn(const cascade_image *image, const int64_t map[6], int64_t x, int64_t y, uint8_t *out, size_t n) {
    size_t pitch = image->width * CASCADE_CHANNELS;
#if defined(__AVX2__)
    for (; n >= 2; n -= 2, x += 2 * map[0], y += 2 * map[3], out += 2 * CASCADE_CHANNELS) {
        const turned_place places[2] = {place_of(image, x, y), place_of(image, x + map[0], y + map[3])};
        turn_two(places, pitch, out);
    }
#endif
    for (; n > 0; n--, x += map[0], y += map[3], out += CASCADE_CHANNELS) {
        turned_place place = place_of(image, x, y);
        turn_one(&place, pitch, out);
    }
}

#endif
