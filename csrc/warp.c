/*
 * Turned crops: a square taken out of an image through an affine map, four neighbours blended for each pixel.
 *
 * The map arrives in fixed point and everything is integers, so every machine gives the same bytes. Nothing is averaged
 * here beyond the four neighbours: the caller takes a pyramid level with about a pixel for each pixel of the crop.
 */
#include "cascade.h"

#define HALF ((int64_t)1 << (CASCADE_MAP_BITS - 1))
#define WHOLE (1 << CASCADE_SHARE_BITS)
/* Pixels of a row that are told apart, inside or at the edge, together. */
#define RUN 16

/* The two neighbours of a coordinate along one axis of `size` pixels, and the share of the second. */
static int32_t neighbours(int64_t position, size_t size, size_t *first, size_t *second) {
    int64_t centred = position - HALF; /* pixel 0 has its centre at a half */
    int64_t pixel = centred >> CASCADE_MAP_BITS, last = (int64_t)size - 1;
    *first = (size_t)(pixel < 0 ? 0 : pixel);
    *second = (size_t)(pixel < last ? pixel + 1 : last);
    return (int32_t)((centred >> (CASCADE_MAP_BITS - CASCADE_SHARE_BITS)) & (WHOLE - 1));
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
        out[c] = (uint8_t)((above * (WHOLE - down) + below * down + (WHOLE * WHOLE) / 2) >> (2 * CASCADE_SHARE_BITS));
    }
}

/* Whether both neighbours of a place lie in the image along both axes, and two bytes after the second can be read. */
static int interior(const cascade_image *image, int64_t x, int64_t y) {
    int64_t column = (x - HALF) >> CASCADE_MAP_BITS, row = (y - HALF) >> CASCADE_MAP_BITS;
    return column >= 0 && row >= 0 && column + 2 < (int64_t)image->width && row + 1 < (int64_t)image->height;
}

void cascade_warp(const cascade_kernels *kernels, const cascade_image *image, const int64_t map[6], uint8_t outside,
                  uint8_t *out, size_t size) {
    int64_t right = (int64_t)image->width << CASCADE_MAP_BITS, bottom = (int64_t)image->height << CASCADE_MAP_BITS;
    for (size_t row = 0; row < size; row++) {
        int64_t x = map[2] + map[1] * (int64_t)row, y = map[5] + map[4] * (int64_t)row;
        for (size_t column = 0; column < size;) {
            /* The way is straight: where both ends of a run are interior, all of it is. */
            size_t run = size - column < RUN ? size - column : RUN, end = column + run;
            int64_t across = map[0] * (int64_t)run, down = map[3] * (int64_t)run;
            if (interior(image, x, y) && interior(image, x + across - map[0], y + down - map[3])) {
                kernels->turn(image, map, x, y, out, run);
                column = end;
                x += across;
                y += down;
                out += run * CASCADE_CHANNELS;
            }
            for (; column < end; column++, x += map[0], y += map[3], out += CASCADE_CHANNELS) {
                if (x < 0 || x >= right || y < 0 || y >= bottom) {
                    out[0] = out[1] = out[2] = outside;
                } else {
                    blend(image, x, y, out);
                }
            }
        }
    }
}
