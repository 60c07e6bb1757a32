/*
 * One resampler for the pyramid, the crops and the training samples: a separable triangle filter, widened by the
 * scale when shrinking so that nothing aliases, in fixed point so that every machine gives the same bytes.
 *
 * An output pixel whose centre lies outside the image is CASCADE_OUTSIDE; inside, the filter is renormalised over
 * the pixels that exist, so borders neither darken nor smear.
 */
#include <math.h>
#include <string.h>

#include "cascade.h"

#define WEIGHT_ONE (1 << CASCADE_WEIGHT_BITS)

size_t cascade_axis_taps(double extent, size_t size) {
    double scale = extent / (double)size;
    double support = scale > 1.0 ? scale : 1.0;
    return (size_t)ceil(2.0 * support) + 2;
}

size_t cascade_axis_bytes(size_t size, size_t taps) {
    return cascade_whole_lines(size * sizeof(int32_t)) * 2 + cascade_whole_lines(size * taps * sizeof(int16_t));
}

static double share(double centre, double support, int32_t pixel) {
    return support - fabs((double)pixel + 0.5 - centre);
}

/* Fixed-point weights of the pixels [first, first + count) around `centre`, summing to exactly WEIGHT_ONE. */
static void quantise(double centre, double support, int32_t first, int32_t count, int16_t *weights) {
    double total = 0.0;
    for (int32_t k = 0; k < count; k++) {
        total += share(centre, support, first + k);
    }
    double scale = WEIGHT_ONE / total;
    int32_t sum = 0, most = 0;
    int16_t *largest = weights;
    for (int32_t k = 0; k < count; k++, weights++) {
        volatile double weight = share(centre, support, first + k) * scale; /* rounded here, as in the plan */
        int16_t rounded = (int16_t)(weight + 0.5);
        *weights = rounded;
        sum += rounded;
        if (rounded > most) {
            most = rounded;
            largest = weights;
        }
    }
    *largest = (int16_t)(most + WEIGHT_ONE - sum);
}

/* floor without a call into the library, which processors of the lowest level need; for what lies within 2^62. */
static double whole_below(double value) {
    double cut = (double)(int64_t)value;
    return cut > value ? cut - 1.0 : cut;
}

/* The pixels around output pixel i of the axis and their weights; none if its centre is outside the source. */
static void plan_pixel(cascade_axis *axis, size_t i, double centre, double support, size_t source) {
    axis->first[i] = 0;
    axis->count[i] = 0;
    if (!(centre >= 0.0 && centre < (double)source)) {
        return;
    }
    /* pixel j takes part while |j + 0.5 - centre| < support */
    double low = whole_below(centre - support - 0.5) + 1.0;
    double high = -whole_below(-(centre + support - 0.5)) - 1.0;
    if (low < 0.0) {
        low = 0.0;
    }
    if (high > (double)source - 1.0) {
        high = (double)source - 1.0;
    }
    int32_t count = (int32_t)(high - low) + 1;
    if (count > (int32_t)axis->taps) {
        count = (int32_t)axis->taps;
    }
    axis->first[i] = (int32_t)low;
    axis->count[i] = count;
    axis->most = (size_t)count > axis->most ? (size_t)count : axis->most;
    quantise(centre, support, (int32_t)low, count, axis->weights + i * axis->taps);
}

void cascade_axis_plan(cascade_axis *axis, void *memory, double start, double extent, size_t source, size_t size,
                       size_t taps) {
    char *bytes = memory;
    axis->size = size;
    axis->taps = taps;
    axis->most = 0;
    axis->first = (int32_t *)bytes;
    axis->count = (int32_t *)(bytes + cascade_whole_lines(size * sizeof(int32_t)));
    axis->weights = (int16_t *)(bytes + 2 * cascade_whole_lines(size * sizeof(int32_t)));
    memset(axis->weights, 0, size * taps * sizeof(int16_t));

    double scale = extent / (double)size;
    double support = scale > 1.0 ? scale : 1.0;
    for (size_t i = 0; i < size; i++) {
        /* rounded before it is added, also where a compiler would fuse the two: the same bytes everywhere */
        volatile double offset = ((double)i + 0.5) * scale;
        plan_pixel(axis, i, start + offset, support, source);
    }
}

/* Source columns [*from, *to) that any output of the axis reads. */
static void used_range(const cascade_axis *axis, size_t *from, size_t *to) {
    *from = SIZE_MAX;
    *to = 0;
    for (size_t i = 0; i < axis->size; i++) {
        if (axis->count[i]) {
            size_t first = (size_t)axis->first[i], end = first + (size_t)axis->count[i];
            *from = first < *from ? first : *from;
            *to = end > *to ? end : *to;
        }
    }
    if (*from > *to) {
        *from = *to;
    }
}

static size_t whole_groups(size_t taps) { return (taps + CASCADE_TAPS - 1) / CASCADE_TAPS * CASCADE_TAPS; }

size_t cascade_resample_workspace(double extent_x, double extent_y, size_t source_width, size_t width, size_t height) {
    double columns = extent_x + 2.0 * (double)cascade_axis_taps(extent_x, width);
    size_t row = columns < (double)source_width ? (size_t)columns + 1 : source_width;
    size_t taps = whole_groups(cascade_axis_taps(extent_x, width));
    return cascade_axis_bytes(width, taps) + cascade_axis_bytes(height, cascade_axis_taps(extent_y, height)) +
           cascade_whole_lines((row + taps) * CASCADE_CHANNELS + CASCADE_TAPS);
}

static size_t within(double row, size_t rows) {
    return row <= 0.0 ? 0 : row >= (double)rows ? rows : (size_t)row;
}

void cascade_rows_read(double start, double extent, size_t source, size_t height, size_t first, size_t end, size_t *from,
                       size_t *to) {
    double scale = extent / (double)height, support = scale > 1.0 ? scale : 1.0;
    /* a pixel more on both sides than the filter reaches, whichever way the plan's sums are rounded */
    *from = within(floor(start + ((double)first + 0.5) * scale - support - 1.5), source);
    *to = within(ceil(start + ((double)end - 0.5) * scale + support + 1.5), source);
}

void cascade_resample(const cascade_kernels *kernels, const cascade_image *image, const double box[4], uint8_t *out,
                      size_t width, size_t height, size_t first, size_t end, void *workspace) {
    double extent_x = box[2] - box[0], extent_y = box[3] - box[1];
    size_t taps_x = whole_groups(cascade_axis_taps(extent_x, width)), taps_y = cascade_axis_taps(extent_y, height);
    char *bytes = workspace;
    cascade_axis columns, rows;
    cascade_axis_plan(&columns, bytes, box[0], extent_x, image->width, width, taps_x);
    bytes += cascade_axis_bytes(width, taps_x);
    cascade_axis_plan(&rows, bytes, box[1], extent_y, image->height, height, taps_y);
    uint8_t *blended = (uint8_t *)(bytes + cascade_axis_bytes(height, taps_y));

    size_t from, to, stride = image->width * CASCADE_CHANNELS;
    used_range(&columns, &from, &to);
    /* read beside the last pixels, with a weight of 0 or none */
    size_t taps = whole_groups(columns.most);
    memset(blended + (to - from) * CASCADE_CHANNELS, 0, taps * CASCADE_CHANNELS + CASCADE_TAPS);
    for (size_t i = 0; i < width; i++) {
        columns.first[i] -= columns.count[i] ? (int32_t)from : 0;
    }
    for (size_t y = first; y < end; y++, out += width * CASCADE_CHANNELS) {
        if (rows.count[y] == 0) {
            memset(out, CASCADE_OUTSIDE, width * CASCADE_CHANNELS);
            continue;
        }
        const uint8_t *source = image->pixels + ((size_t)rows.first[y] - image->top) * stride + from * CASCADE_CHANNELS;
        kernels->blend_rows(source, stride, rows.weights + y * taps_y, (size_t)rows.count[y], blended,
                            (to - from) * CASCADE_CHANNELS);
        kernels->blend_columns(blended, columns.first, columns.weights, taps_x, taps, out, width);
    }
}

void cascade_resampling_work(void *context, size_t item, void *workspace) {
    const cascade_resampling *r = context;
    size_t from = r->first + item * r->rows, to = r->end - from < r->rows ? r->end : from + r->rows;
    cascade_resample(r->kernels, r->image, r->box, r->out + (from - r->first) * r->width * CASCADE_CHANNELS, r->width,
                     r->height, from, to, workspace);
}
