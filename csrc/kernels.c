/*
 * The inner loops. This file is compiled once per instruction level, each time with its own compiler flags and
 *   CASCADE_LEVEL  the level's name, part of the symbol it exports
 *   CASCADE_LANES  floats in a vector: 1, 4, 8 or 16
 */
#include "kernels/blend.h"
#include "kernels/bytes.h"
#include "kernels/convolve.h"
#include "kernels/input.h"
#include "kernels/turn.h"

/* alive[j] = 0 for every box j whose overlap with `best` is above the threshold; boxes are five arrays of n floats. */
static void suppress(const float best[5], const float *boxes, size_t n, size_t first, float threshold, int of_smaller,
                     float *restrict alive) {
    const float *x1 = boxes, *y1 = boxes + n, *x2 = boxes + 2 * n, *y2 = boxes + 3 * n, *area = boxes + 4 * n;
    for (size_t j = first; j < n; j++) {
        float left = best[0] > x1[j] ? best[0] : x1[j], right = best[2] < x2[j] ? best[2] : x2[j];
        float top = best[1] > y1[j] ? best[1] : y1[j], bottom = best[3] < y2[j] ? best[3] : y2[j];
        float width = right - left, height = bottom - top;
        width = width > 0.0f ? width : 0.0f;
        height = height > 0.0f ? height : 0.0f;
        float shared = width * height, smaller = best[4] < area[j] ? best[4] : area[j];
        float whole = of_smaller ? smaller : best[4] + area[j] - shared;
        alive[j] = shared > threshold * whole ? 0.0f : alive[j];
    }
}

#define JOIN2(a, b) a##b
#define JOIN(a, b) JOIN2(a, b)
#define TEXT2(a) #a
#define TEXT(a) TEXT2(a)

const cascade_kernels JOIN(cascade_kernels_, CASCADE_LEVEL) = {
    TEXT(CASCADE_LEVEL), CASCADE_LANES, convolve,   convolve_few, convolve_bytes,   convolve_few_bytes, depthwise, pool,
    blend_rows,          blend_columns, turn,       interleave,   split,            interleave_words,   split_words,
    suppress,
};
