/*
 * Warping: aligned crops by bilinear interpolation.
 *
 * Nothing is averaged beyond the four neighbours of a pixel: the caller takes a pyramid level with about one pixel for each
 * pixel of the crop.
 */
#include "image.h"
#include "kernels.h"

#define HALF ((int64_t)1 << (CASCADE_TRANSFORM_BITS - 1))
#define ONE (1 << CASCADE_BILINEAR_BITS)
/* Pixels of a row that are classified as inside or at the edge together. */
#define RUN 16

/* Finds the two neighbours of a coordinate along an axis of `size` pixels. Returns the weight of the second. */
static int32_t neighbours(int64_t position, size_t size, size_t *first, size_t *second) {
    int64_t centred = position - HALF; /* pixel 0 has its centre at a half */
    int64_t pixel = centred >> CASCADE_TRANSFORM_BITS, last = (int64_t)size - 1;
    *first = (size_t)(pixel < 0 ? 0 : pixel);
    *second = (size_t)(pixel < last ? pixel + 1 : last);
    return (int32_t)((centred >> (CASCADE_TRANSFORM_BITS - CASCADE_BILINEAR_BITS)) & (ONE - 1));
}

static void interpolate(const cascade_image *image, int64_t x, int64_t y, uint8_t *out) {
    size_t left, right, top, bottom, pitch = image->width * CASCADE_CHANNELS;
    int32_t across = neighbours(x, image->width, &left, &right), down = neighbours(y, image->height, &top, &bottom);
    const uint8_t *upper = image->pixels + (top - image->top) * pitch;
    const uint8_t *lower = image->pixels + (bottom - image->top) * pitch;
    left *= CASCADE_CHANNELS;
    right *= CASCADE_CHANNELS;
    for (size_t c = 0; c < CASCADE_CHANNELS; c++) {
        int32_t above = upper[left + c] * (ONE - across) + upper[right + c] * across;
        int32_t below = lower[left + c] * (ONE - across) + lower[right + c] * across;
        out[c] = (uint8_t)((above * (ONE - down) + below * down + (ONE * ONE) / 2) >> (2 * CASCADE_BILINEAR_BITS));
    }
}

/* Whether all four neighbours lie in the image, with two readable bytes after them. */
static int interior(const cascade_image *image, int64_t x, int64_t y) {
    int64_t column = (x - HALF) >> CASCADE_TRANSFORM_BITS, row = (y - HALF) >> CASCADE_TRANSFORM_BITS;
    return column >= 0 && row >= 0 && column + 2 < (int64_t)image->width && row + 1 < (int64_t)image->height;
}

void cascade_warp(const cascade_kernels *kernels, const cascade_image *image, const int64_t transform[6],
                  uint8_t padding_value, uint8_t *out, size_t size) {
    int64_t right = (int64_t)image->width << CASCADE_TRANSFORM_BITS,
            bottom = (int64_t)image->height << CASCADE_TRANSFORM_BITS;
    for (size_t row = 0; row < size; row++) {
        int64_t x = transform[2] + transform[1] * (int64_t)row, y = transform[5] + transform[4] * (int64_t)row;
        for (size_t column = 0; column < size;) {
            /* A run is a straight line: if both of its ends are interior, all of it is. */
            size_t run = size - column < RUN ? size - column : RUN, end = column + run;
            int64_t across = transform[0] * (int64_t)run, down = transform[3] * (int64_t)run;
            if (interior(image, x, y) && interior(image, x + across - transform[0], y + down - transform[3])) {
                kernels->warp_row(image, transform, x, y, out, run);
                column = end;
                x += across;
                y += down;
                out += run * CASCADE_CHANNELS;
            }
            for (; column < end; column++, x += transform[0], y += transform[3], out += CASCADE_CHANNELS) {
                if (x < 0 || x >= right || y < 0 || y >= bottom) {
                    out[0] = out[1] = out[2] = padding_value;
                } else {
                    interpolate(image, x, y, out);
                }
            }
        }
    }
}
