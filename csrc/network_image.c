/*
 * A network slid over a whole image. A network whose layers move by s1, s2 … sees an image at strides 1, s1,
 * s1*s2 … S. Here every map is kept at the last stride S: a map at stride s is split into (S/s)^2 phases, the features
 * whose row and column leave the same remainders, so that each phase is a dense plane and every tap of every layer is a
 * plain unaligned load of neighbouring columns, whatever the strides. A map is [row][phase][channel][column].
 */
#include <string.h>

#include "cascade.h"

/* Columns are padded so that whole vectors, and taps to the right of the last window, stay inside their row; an odd
 * number of 64-byte lines spreads the rows over the cache sets. */
static size_t row_pitch(size_t columns, size_t lanes) {
    size_t lines = (columns + lanes + 16 + 15) / 16;
    return (lines | 1) * 16;
}

/* Coarse rows, or columns, of a layer's input that `count` of its output need. */
static size_t needed_before(const cascade_layer *layer, size_t phases_in, size_t count) {
    /* the last output, at this layer's output stride, is count * phases_out - 1 */
    size_t outputs = count * (phases_in / layer->stride);
    size_t inputs = (outputs - 1) * layer->stride + layer->kernel;
    return (inputs + phases_in - 1) / phases_in;
}

int cascade_grid_plan(cascade_grid *grid, const cascade_layer *layers, size_t layer_count, size_t padding,
                      size_t width, size_t height) {
    size_t stride = 1, field = 1, channels = cascade_input_features(layers);
    for (size_t i = 0; i < layer_count; i++) {
        if (layers[i].in_channels != channels || layers[i].kernel == 0 || layers[i].stride == 0 ||
            layers[i].stride > 16 || layers[i].kernel > 16) { /* row_pitch has room for 16 taps to the right */
            return 0;
        }
        field += (layers[i].kernel - 1) * stride;
        stride *= layers[i].stride;
        channels = layers[i].out_channels;
        if (stride > 64 || field > 4096) {
            return 0;
        }
    }
    grid->stride = stride;
    grid->field = field;
    grid->padding = padding;
    grid->outputs = channels;
    grid->columns = width + 2 * padding >= field ? (width + 2 * padding - field) / stride + 1 : 0;
    grid->rows = height + 2 * padding >= field ? (height + 2 * padding - field) / stride + 1 : 0;
    return 1;
}

/* Row pitch, largest map and most taps for rows * columns of the grid; 0 if the sizes overflow. */
static int measure(const cascade_grid *grid, const cascade_layer *layers, size_t layer_count, size_t rows,
                   size_t columns, size_t lanes, size_t *pitch, size_t *map, size_t *taps) {
    size_t phases = 1, needed = rows;
    *pitch = row_pitch(columns + grid->field / grid->stride + 1, lanes);
    *map = 0;
    *taps = 0;
    if (*pitch > SIZE_MAX / 64 || rows > SIZE_MAX / 64) {
        return 0;
    }
    for (size_t i = layer_count; i-- > 0;) {
        const cascade_layer *layer = layers + i;
        size_t out_planes = phases * phases * layer->out_channels;
        if (needed > SIZE_MAX / 64 / *pitch / out_planes) {
            return 0;
        }
        size_t floats = needed * out_planes * *pitch, tap_count = layer->kernel * layer->kernel * layer->in_channels;
        *map = floats > *map ? floats : *map;
        *taps = tap_count > *taps ? tap_count : *taps;
        phases *= layer->stride;
        needed = needed_before(layer, phases, needed);
    }
    size_t planes = phases * phases * cascade_input_features(layers);
    if (needed > SIZE_MAX / 64 / *pitch / planes) {
        return 0;
    }
    *map = needed * planes * *pitch > *map ? needed * planes * *pitch : *map;
    return 1;
}

static size_t tap_floats(size_t count) {
    return ((count * sizeof(ptrdiff_t) + sizeof(float) - 1) / sizeof(float) + 15) / 16 * 16;
}

size_t cascade_image_workspace(const cascade_grid *grid, const cascade_layer *layers, size_t layer_count,
                               size_t rows, size_t columns, size_t lanes) {
    size_t pitch, map, taps;
    if (!measure(grid, layers, layer_count, rows, columns, lanes, &pitch, &map, &taps)) {
        return 0;
    }
    /* a strip's last vectors may read and write past its last row by less than two vectors */
    return 2 * (map + 4 * lanes) + tap_floats(taps) + 16;
}

/* Coarse columns [from, to) of one phase of an image row into its planes: three of floats, or one of words. */
static void split_phase(const uint8_t *row, size_t padding, size_t stride, size_t phase, size_t from, size_t to,
                        size_t features, size_t pitch, float *planes) {
    float *first = planes + phase * features * pitch;
    for (size_t x = from; x < to; x++) {
        const uint8_t *pixel = row + (x * stride + phase - padding) * CASCADE_CHANNELS;
        if (features == 1) {
            uint32_t word = cascade_pixel_word(pixel);
            memcpy(first + x, &word, sizeof word);
        } else {
            for (size_t c = 0; c < CASCADE_CHANNELS; c++) {
                first[c * pitch + x] = CASCADE_NORMALISE(pixel[c]);
            }
        }
    }
}

/* What a pixel outside the image is in each of its planes. */
static float grey_feature(size_t features) {
    const uint32_t word = CASCADE_OUTSIDE | CASCADE_OUTSIDE << 8 | CASCADE_OUTSIDE << 16;
    float grey = CASCADE_NORMALISE(CASCADE_OUTSIDE);
    if (features == 1) {
        memcpy(&grey, &word, sizeof grey);
    }
    return grey;
}

/* One image row (NULL: above or below the image) into the planes of its phase row; columns left of the image and right
 * of it are grey. */
static void split_row(const cascade_kernels *kernels, const uint8_t *row, size_t width, size_t padding, size_t stride,
                      size_t features, size_t pitch, float *planes) {
    /* coarse columns [whole, end) have all their phases in the image */
    size_t whole = (padding + stride - 1) / stride, end = (padding + width) / stride;
    end = end > pitch ? pitch : end;
    int fast = row != NULL && stride * CASCADE_CHANNELS == CASCADE_SPLIT && whole < end;
    float grey = grey_feature(features);
    for (size_t phase = 0; phase < stride; phase++) {
        /* coarse columns [from, to) of this phase lie in the image */
        size_t from = padding > phase ? (padding - phase + stride - 1) / stride : 0;
        size_t to = padding + width > phase ? (padding + width - phase + stride - 1) / stride : 0;
        from = row == NULL || from > pitch ? pitch : from;
        to = row == NULL || to > pitch ? pitch : to;
        for (size_t c = 0; c < features; c++) {
            float *plane = planes + (phase * features + c) * pitch;
            for (size_t x = 0; x < from; x++) {
                plane[x] = grey;
            }
            for (size_t x = to; x < pitch; x++) {
                plane[x] = grey;
            }
        }
        split_phase(row, padding, stride, phase, from, fast ? whole : to, features, pitch, planes);
        split_phase(row, padding, stride, phase, fast ? end : to, to, features, pitch, planes);
    }
    if (fast) {
        (features == 1 ? kernels->split_words : kernels->split)(row + (whole * stride - padding) * CASCADE_CHANNELS,
                                                                end - whole, planes + whole, pitch);
    }
}

/* `rows` coarse rows from the tile's first on as phases, from its first column on. */
static void split_image(const cascade_kernels *kernels, const cascade_grid *grid, const cascade_image *image,
                        const cascade_tile *tile, size_t rows, size_t features, size_t pitch, float *map) {
    /* the tile's left edge leaves grey columns before the image, or pixels of it out */
    size_t left = tile->left * grid->stride, above = grid->padding + image->top;
    size_t grey = grid->padding > left ? grid->padding - left : 0, out = left > grid->padding ? left - grid->padding : 0;
    for (size_t y = tile->top * grid->stride; y < (tile->top + rows) * grid->stride; y++) {
        int inside = y >= above && y < above + image->rows && out < image->width;
        const uint8_t *row = inside ? image->pixels + ((y - above) * image->width + out) * CASCADE_CHANNELS : NULL;
        split_row(kernels, row, image->width - out, grey, grid->stride, features, pitch, map);
        map += grid->stride * features * pitch;
    }
}

/* Taps of a window whose corner is phase (a, b) of the output, on a map of phases * phases * channels planes. */
static size_t phase_taps(ptrdiff_t *taps, const cascade_layer *layer, size_t phases, size_t a, size_t b, size_t pitch,
                         size_t channel_step) {
    size_t n = 0, planes = phases * phases * layer->in_channels;
    for (size_t ky = 0; ky < layer->kernel; ky++) {
        size_t y = a * layer->stride + ky;
        for (size_t kx = 0; kx < layer->kernel; kx++) {
            size_t x = b * layer->stride + kx, phase = (y % phases) * phases + x % phases;
            for (size_t c = 0; c < layer->in_channels; c += channel_step) {
                size_t plane = (y / phases) * planes + phase * layer->in_channels + c;
                taps[n++] = (ptrdiff_t)(plane * pitch + x / phases);
            }
        }
    }
    return n;
}

static void run_layer(const cascade_kernels *kernels, const cascade_layer *layer, size_t phases, size_t rows,
                      size_t vectors, size_t pitch, const float *in, float *out, ptrdiff_t *taps) {
    size_t out_phases = phases / layer->stride, in_planes = phases * phases * layer->in_channels;
    size_t out_planes = out_phases * out_phases * layer->out_channels;
    int pools = layer->kind == CASCADE_POOL;
    cascade_strip strip = {.in_step = (ptrdiff_t)kernels->lanes,
                           .taps = taps,
                           .out_step = (ptrdiff_t)kernels->lanes,
                           .out_channel_step = (ptrdiff_t)pitch,
                           .vectors = vectors};
    for (size_t phase = 0; phase < out_phases * out_phases; phase++) {
        strip.tap_count = phase_taps(taps, layer, phases, phase / out_phases, phase % out_phases, pitch,
                                     pools ? layer->in_channels : 1);
        for (size_t y = 0; y < rows; y++) {
            strip.in = in + y * in_planes * pitch;
            strip.out = out + (y * out_planes + phase * layer->out_channels) * pitch;
            if (pools) {
                kernels->pool(&strip, layer->in_channels, (ptrdiff_t)pitch);
            } else {
                cascade_convolve(kernels, layer, &strip);
            }
        }
    }
}

const float *cascade_image_run(const cascade_kernels *kernels, const cascade_grid *grid, const cascade_layer *layers,
                               size_t layer_count, const cascade_image *image, const cascade_tile *tile,
                               float *workspace, size_t *pitch) {
    size_t map, tap_count, lanes = kernels->lanes, phases = grid->stride;
    if (!measure(grid, layers, layer_count, tile->rows, tile->columns, lanes, pitch, &map, &tap_count)) {
        return NULL;
    }
    ptrdiff_t *taps = (ptrdiff_t *)workspace;
    float *maps[2] = {workspace + tap_floats(tap_count), NULL};
    maps[1] = maps[0] + map + 4 * lanes;

    /* rows and columns of the input and of every layer's output that the wanted ones need */
    size_t needed[64] = {0}, across[64] = {0}, turn = 0;
    needed[layer_count] = tile->rows;
    across[layer_count] = tile->columns;
    for (size_t i = layer_count, p = 1; i-- > 0;) {
        p *= layers[i].stride;
        needed[i] = needed_before(layers + i, p, needed[i + 1]);
        across[i] = needed_before(layers + i, p, across[i + 1]);
    }
    split_image(kernels, grid, image, tile, needed[0], cascade_input_features(layers), *pitch, maps[0]);
    for (size_t i = 0; i < layer_count; i++, turn ^= 1) {
        size_t vectors = (across[i + 1] + lanes - 1) / lanes;
        run_layer(kernels, layers + i, phases, needed[i + 1], vectors, *pitch, maps[turn], maps[turn ^ 1], taps);
        phases /= layers[i].stride;
    }
    return maps[turn];
}
