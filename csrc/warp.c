/*
 * Turned crops: a square taken out of an image through an affine map, four neighbours blended for each pixel.
 *
 * The map arrives in fixed point and everything is integers, so every machine gives the same bytes. Nothing is averaged
 * here beyond the four neighbours: the caller takes a pyramid level with about a pixel for each pixel of the crop.
 */
#include <string.h>

#include "cascade.h"

#define HALF ((int64_t)1 << (CASCADE_MAP_BITS - 1))
/* Blending weights have 8 bits along each axis, 16 together. */
#define PART_BITS 8
#define WHOLE (1 << PART_BITS)
/* Pixels of a row that are told apart, inside or at the edge, together. */
#define RUN 8

/* The two neighbours of a coordinate along one axis of `size` pixels, and the share of the second. */
static int32_t neighbours(int64_t position, size_t size, size_t *first, size_t *second) {
    int64_t centred = position - HALF; /* pixel 0 has its centre at a half */
    int64_t pixel = centred >> CASCADE_MAP_BITS, last = (int64_t)size - 1;
    *first = (size_t)(pixel < 0 ? 0 : pixel);
    *second = (size_t)(pixel < last ? pixel + 1 : last);
    return (int32_t)((centred >> (CASCADE_MAP_BITS - PART_BITS)) & (WHOLE - 1));
}

static void blend(const cascade_image *image, int64_t x, int64_t y, uint8_t *out) {
    size_t left, right, top, bottom, pitch = image->width * CASCADE_CHANNELS;
    int32_t across = neighbours(x, image->width, &left, &right), down = neighbours(y, image->height, &top, &bottom);
    const uint8_t *upper = image->pixels + (top - image->top) * pitch;
    const uint8_t *lower = image->pixels + (bottom - image->top) * pitch;
    left *= CASCADE_CHANNELS;
    right *= CASCADE_CHANNELS;
    for (size_t c = 0; c < CASCADE_CHANNELS; c++) {
        int32_t above = upper[left + c] * (WHOLE - across) + upper[right + c] * across;
        int32_t below = lower[left + c] * (WHOLE - across) + lower[right + c] * across;
        out[c] = (uint8_t)((above * (WHOLE - down) + below * down + (WHOLE * WHOLE) / 2) >> (2 * PART_BITS));
    }
}

/* Whether both neighbours of a place lie in the image along both axes, and a byte after the second can be read. */
static int interior(const cascade_image *image, int64_t x, int64_t y) {
    int64_t column = (x - HALF) >> CASCADE_MAP_BITS, row = (y - HALF) >> CASCADE_MAP_BITS;
    return column >= 0 && row >= 0 && column + 2 < (int64_t)image->width && row + 1 < (int64_t)image->height;
}

#if defined(__GNUC__) || defined(__clang__)
/* Floats hold all sums here exactly, and every processor multiplies them together. */
typedef float pixel __attribute__((vector_size(16)));
typedef int32_t pixel_sums __attribute__((vector_size(16)));
typedef uint8_t pixel_bytes __attribute__((vector_size(4)));

static inline pixel load_pixel(const uint8_t *from) {
    pixel_bytes bytes;
    memcpy(&bytes, from, sizeof bytes);
    return __builtin_convertvector(__builtin_convertvector(bytes, pixel_sums), pixel);
}

/* `blend` at an interior place, all channels of a pixel at once: the same bytes. */
static inline void blend_interior(const cascade_image *image, int64_t x, int64_t y, uint8_t *out) {
    x -= HALF;
    y -= HALF;
    size_t pitch = image->width * CASCADE_CHANNELS;
    const uint8_t *upper = image->pixels + ((size_t)(y >> CASCADE_MAP_BITS) - image->top) * pitch +
                           (size_t)(x >> CASCADE_MAP_BITS) * CASCADE_CHANNELS;
    float across = (float)((x >> (CASCADE_MAP_BITS - PART_BITS)) & (WHOLE - 1));
    float down = (float)((y >> (CASCADE_MAP_BITS - PART_BITS)) & (WHOLE - 1));
    const uint8_t *lower = upper + pitch;
    pixel above = load_pixel(upper) * (WHOLE - across) + load_pixel(upper + CASCADE_CHANNELS) * across;
    pixel below = load_pixel(lower) * (WHOLE - across) + load_pixel(lower + CASCADE_CHANNELS) * across;
    pixel mixed = above * (WHOLE - down) + below * down + (float)(WHOLE * WHOLE / 2);
    pixel_bytes bytes = __builtin_convertvector(__builtin_convertvector(mixed, pixel_sums) >> (2 * PART_BITS), pixel_bytes);
    memcpy(out, &bytes, CASCADE_CHANNELS);
}
#else
static void blend_interior(const cascade_image *image, int64_t x, int64_t y, uint8_t *out) {
    blend(image, x, y, out);
}
#endif

void cascade_warp(const cascade_image *image, const int64_t map[6], uint8_t outside, uint8_t *out, size_t size) {
    int64_t right = (int64_t)image->width << CASCADE_MAP_BITS, bottom = (int64_t)image->height << CASCADE_MAP_BITS;
    for (size_t row = 0; row < size; row++) {
        int64_t x = map[2] + map[1] * (int64_t)row, y = map[5] + map[4] * (int64_t)row;
        for (size_t column = 0; column < size;) {
            /* The way is straight: where both ends of a run are interior, all of it is. */
            size_t run = size - column < RUN ? size - column : RUN, end = column + run;
            int64_t steps = (int64_t)run - 1;
            int inside = interior(image, x, y) && interior(image, x + steps * map[0], y + steps * map[3]);
            for (; column < end; column++, x += map[0], y += map[3], out += CASCADE_CHANNELS) {
                if (inside) {
                    blend_interior(image, x, y, out);
                } else if (x < 0 || x >= right || y < 0 || y >= bottom) {
                    out[0] = out[1] = out[2] = outside;
                } else {
                    blend(image, x, y, out);
                }
            }
        }
    }
}
