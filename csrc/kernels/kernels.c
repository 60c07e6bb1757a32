/*
 * The kernel table of one SIMD level. This file is compiled once per level with the level's own compiler flags and, from
 * csrc/build_config.py,
 *   CASCADE_LEVEL      the level's name, part of the symbol that this file exports
 *   CASCADE_LANES      floats in a vector: 1, 4, 8 or 16
 *   CASCADE_USABLE     the check whether a processor can run the level
 *   CASCADE_INT8_FAST  whether int8 networks are as fast as float32 ones
 */
#include "conv_f32.h"
#include "conv_int8.h"
#include "input.h"
#include "resample.h"
#include "warp.h"

static void suppress(const float best[5], const float *boxes, size_t n, size_t first, size_t end, float threshold,
                     int of_smaller, float *restrict alive) {
    const float *x1 = boxes, *y1 = boxes + n, *x2 = boxes + 2 * n, *y2 = boxes + 3 * n, *area = boxes + 4 * n;
    for (size_t j = first; j < end; j++) {
        float left = best[0] > x1[j] ? best[0] : x1[j], right = best[2] < x2[j] ? best[2] : x2[j];
        float top = best[1] > y1[j] ? best[1] : y1[j], bottom = best[3] < y2[j] ? best[3] : y2[j];
        float width = right - left, height = bottom - top;
        width = width > 0.0f ? width : 0.0f;
        height = height > 0.0f ? height : 0.0f;
        float intersection = width * height, smaller = best[4] < area[j] ? best[4] : area[j];
        float reference = of_smaller ? smaller : best[4] + area[j] - intersection;
        alive[j] = intersection > threshold * reference ? 0.0f : alive[j];
    }
}

#define JOIN2(a, b) a##b
#define JOIN(a, b) JOIN2(a, b)
#define TEXT2(a) #a
#define TEXT(a) TEXT2(a)

const cascade_kernels JOIN(cascade_kernels_, CASCADE_LEVEL) = {
    .name = TEXT(CASCADE_LEVEL),
    .lanes = CASCADE_LANES,
    .usable = CASCADE_USABLE,
    .int8_fast = CASCADE_INT8_FAST,
    .int8_signed = INT8_SIGNED,
    .conv_f32 = conv_f32,
    .conv_f32_small_batch = conv_f32_small_batch,
    .conv_int8 = conv_int8,
    .conv_int8_small_batch = conv_int8_small_batch,
    .depthwise_f32 = depthwise_f32,
    .max_pool_f32 = max_pool_f32,
    .blend_rows = blend_rows,
    .blend_columns = blend_columns,
    .warp_row = warp_row,
    .interleave_f32 = interleave_f32,
    .interleave_int8 = interleave_int8,
    .split_f32 = split_f32,
    .split_int8 = split_int8,
    .suppress = suppress,
};
