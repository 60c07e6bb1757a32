/*
 * One resampler for the pyramid, the crops and the training samples: a separable triangle filter in fixed point. When
 * shrinking it is as wide as the scale, so that nothing aliases.
 *
 * An output pixel whose centre lies outside the image is CASCADE_PADDING_VALUE. Inside, the filter is renormalised over the
 * pixels that exist, so that borders neither darken nor smear.
 *
 * Places are rounded to 1/65536 pixel, and weights to CASCADE_WEIGHT_BITS: each is the difference of two rounded sums of the
 * filter, up to and with its pixel. So the weights sum to one, and their errors cancel where neighbouring pixels are alike.
 */
#include <math.h>
#include <string.h>

#include "image.h"
#include "kernels.h"
#include "workspace.h"

#define WEIGHT_ONE (1 << CASCADE_WEIGHT_BITS)
/* Fractional bits of places along an axis. */
#define PLACE_BITS 16
#define PLACE_ONE ((int64_t)1 << PLACE_BITS)
#define PLACE_HALF (PLACE_ONE / 2)

size_t cascade_axis_taps(double extent, size_t size) {
    double scale = extent / (double)size;
    double support = scale > 1.0 ? scale : 1.0;
    return (size_t)ceil(2.0 * support) + 2;
}

size_t cascade_axis_bytes(size_t size, size_t taps) {
    return cascade_cache_lines(size * sizeof(int32_t)) * 2 + cascade_cache_lines(size * taps * sizeof(int8_t));
}

/* The triangle at a pixel, not yet normalised. */
static int64_t triangle(int64_t centre, int64_t support, int64_t pixel) {
    int64_t distance = pixel * PLACE_ONE + PLACE_HALF - centre;
    return support - (distance < 0 ? -distance : distance);
}

/* Weights of the pixels [first, end), negative. */
static void quantize_weights(int64_t centre, int64_t support, int64_t first, int64_t end, int8_t *weights) {
    int64_t total = 0, sum = 0;
    for (int64_t pixel = first; pixel < end; pixel++) {
        total += triangle(centre, support, pixel);
    }
    double scale = WEIGHT_ONE / (double)total;
    int32_t before = 0;
    for (int64_t pixel = first; pixel < end; pixel++, weights++) {
        sum += triangle(centre, support, pixel);
        volatile double share = (double)sum * scale; /* rounded here, as in cascade_axis_plan */
        int32_t until = (int32_t)(share + 0.5);
        *weights = (int8_t)(before - until);
        before = until;
    }
}

/* Plans the taps of output pixel i; none if its centre is outside the source. */
static void plan_pixel(cascade_axis *axis, size_t i, double at, int64_t support, size_t source) {
    axis->first[i] = 0;
    axis->count[i] = 0;
    if (!(at >= 0.0 && at < (double)source)) {
        return;
    }
    int64_t centre = (int64_t)(at * (double)PLACE_ONE + 0.5);
    /* pixel j is a tap while |j + 0.5 - centre| < support */
    int64_t low = centre - support < PLACE_HALF ? 0 : ((centre - support - PLACE_HALF) >> PLACE_BITS) + 1;
    int64_t end = (centre + support + PLACE_HALF - 1) >> PLACE_BITS;
    end = end < (int64_t)source ? end : (int64_t)source;
    if (end - low > (int64_t)axis->taps) {
        end = low + (int64_t)axis->taps;
    }
    axis->first[i] = (int32_t)low;
    axis->count[i] = (int32_t)(end - low);
    axis->max_count = cascade_max(axis->max_count, (size_t)(end - low));
    axis->begin = axis->end ? axis->begin : i;
    axis->end = i + 1;
    quantize_weights(centre, support, low, end, axis->weights + i * axis->taps);
}

void cascade_axis_plan(cascade_axis *axis, void *memory, double start, double extent, size_t source, size_t size,
                       size_t taps) {
    char *bytes = memory;
    axis->size = size;
    axis->taps = taps;
    axis->max_count = axis->begin = axis->end = 0;
    axis->first = (int32_t *)bytes;
    axis->count = (int32_t *)(bytes + cascade_cache_lines(size * sizeof(int32_t)));
    axis->weights = (int8_t *)(bytes + 2 * cascade_cache_lines(size * sizeof(int32_t)));
    memset(axis->weights, 0, size * taps * sizeof(int8_t));

    double scale = extent / (double)size;
    int64_t support = scale > 1.0 ? (int64_t)(scale * (double)PLACE_ONE + 0.5) : PLACE_ONE;
    for (size_t i = 0; i < size; i++) {
        /* volatile: rounded before it is added, even where a compiler would fuse the two, for the same bytes everywhere */
        volatile double offset = ((double)i + 0.5) * scale;
        plan_pixel(axis, i, start + offset, support, source);
    }
}

/* The range [*from, *to) of source pixels that the axis reads. */
static void used_range(const cascade_axis *axis, size_t *from, size_t *to) {
    *from = *to = 0;
    if (axis->begin < axis->end) {
        *from = (size_t)axis->first[axis->begin];
        *to = (size_t)axis->first[axis->end - 1] + (size_t)axis->count[axis->end - 1];
    }
}

static size_t whole_groups(size_t taps) {
    return (taps + CASCADE_TAP_GROUP - 1) / CASCADE_TAP_GROUP * CASCADE_TAP_GROUP;
}

size_t cascade_resample_workspace(double extent_x, double extent_y, size_t source_width, size_t width, size_t height) {
    double columns = extent_x + 2.0 * (double)cascade_axis_taps(extent_x, width);
    size_t row = columns < (double)source_width ? (size_t)columns + 1 : source_width;
    size_t taps = whole_groups(cascade_axis_taps(extent_x, width));
    return cascade_axis_bytes(width, taps) + cascade_axis_bytes(height, cascade_axis_taps(extent_y, height)) +
           cascade_cache_lines((row + taps) * CASCADE_CHANNELS + CASCADE_TAP_GROUP);
}

static size_t clamp_row(double row, size_t rows) {
    return row <= 0.0 ? 0 : row >= (double)rows ? rows : (size_t)row;
}

void cascade_rows_read(double start, double extent, size_t source, size_t height, size_t first, size_t end,
                       size_t *from, size_t *to) {
    double scale = extent / (double)height, support = scale > 1.0 ? scale : 1.0;
    /* one pixel more on both sides than the filter reaches, so that the rounding of the plan does not matter */
    *from = clamp_row(floor(start + ((double)first + 0.5) * scale - support - 1.5), source);
    *to = clamp_row(ceil(start + ((double)end - 0.5) * scale + support + 1.5), source);
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
    uint8_t *blended_row = (uint8_t *)(bytes + cascade_axis_bytes(height, taps_y));

    size_t from, to, stride = image->width * CASCADE_CHANNELS;
    used_range(&columns, &from, &to);
    /* taps of weight 0 read these bytes after the last pixel */
    size_t taps = whole_groups(columns.max_count);
    memset(blended_row + (to - from) * CASCADE_CHANNELS, 0, taps * CASCADE_CHANNELS + CASCADE_TAP_GROUP);
    for (size_t i = columns.begin; i < columns.end; i++) {
        columns.first[i] -= (int32_t)from;
    }
    for (size_t y = first; y < end; y++, out += width * CASCADE_CHANNELS) {
        if (rows.count[y] == 0) {
            memset(out, CASCADE_PADDING_VALUE, width * CASCADE_CHANNELS);
            continue;
        }
        const uint8_t *source = image->pixels + ((size_t)rows.first[y] - image->top) * stride + from * CASCADE_CHANNELS;
        kernels->blend_rows(source, stride, rows.weights + y * taps_y, (size_t)rows.count[y], blended_row,
                            (to - from) * CASCADE_CHANNELS);
        memset(out, CASCADE_PADDING_VALUE, columns.begin * CASCADE_CHANNELS);
        kernels->blend_columns(blended_row, columns.first + columns.begin, columns.weights + columns.begin * taps_x,
                               taps_x, taps, out + columns.begin * CASCADE_CHANNELS, columns.end - columns.begin);
        memset(out + columns.end * CASCADE_CHANNELS, CASCADE_PADDING_VALUE, (width - columns.end) * CASCADE_CHANNELS);
    }
}

void cascade_resample_strip(void *context, size_t strip, void *workspace) {
    const cascade_resample_job *job = context;
    size_t from = job->first + strip * job->strip_rows;
    size_t to = job->end - from < job->strip_rows ? job->end : from + job->strip_rows;
    cascade_resample(job->kernels, job->image, job->box, job->out + (from - job->first) * job->width * CASCADE_CHANNELS,
                     job->width, job->height, from, to, workspace);
}
