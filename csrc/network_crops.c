/*
 * A network over a batch of crops. Crops are taken in groups of `lanes`; within a group a feature of all its crops
 * is one vector, so a map is [row][column][channel][lane] and any stride, kernel or channel count runs at full
 * width. The last group is filled up with the last crop.
 */
#include "cascade.h"

/* Taps of a window on a map of `width` columns and `channels` channels, rows * columns of the window used. */
static size_t window_taps(ptrdiff_t *taps, size_t rows, size_t columns, size_t width, size_t channels, size_t lanes,
                          size_t channel_step) {
    size_t n = 0;
    for (size_t y = 0; y < rows; y++) {
        for (size_t x = 0; x < columns; x++) {
            for (size_t c = 0; c < channels; c += channel_step) {
                taps[n++] = (ptrdiff_t)(((y * width + x) * channels + c) * lanes);
            }
        }
    }
    return n;
}

/* Floats that hold `count` tap offsets. */
static size_t tap_floats(size_t count) { return (count * sizeof(ptrdiff_t) + sizeof(float) - 1) / sizeof(float); }

static int product(size_t *total, size_t a, size_t b, size_t c) {
    if (a && b && c && (a > SIZE_MAX / 8 / b || a * b > SIZE_MAX / 8 / c)) {
        return 0;
    }
    *total = a * b * c;
    return 1;
}

/* Largest map in floats per lane and most taps of any layer; 0 if something does not fit. */
static int measure(const cascade_layer *layers, size_t layer_count, size_t size, size_t *map, size_t *taps) {
    size_t side = size, channels = CASCADE_CHANNELS, floats;
    *taps = 0;
    if (!product(map, side, side, channels)) {
        return 0;
    }
    for (size_t i = 0; i < layer_count; i++) {
        const cascade_layer *layer = layers + i;
        if (layer->in_channels != channels || !product(&floats, layer->kernel, layer->kernel, channels)) {
            return 0;
        }
        *taps = floats > *taps ? floats : *taps;
        side = cascade_layer_output(layer, side);
        channels = layer->out_channels;
        if (side == 0 || !product(&floats, side, side, channels)) {
            return 0;
        }
        *map = floats > *map ? floats : *map;
    }
    return 1;
}

size_t cascade_crops_workspace(const cascade_layer *layers, size_t layer_count, size_t size, size_t lanes) {
    size_t map, taps;
    if (!measure(layers, layer_count, size, &map, &taps) || map > SIZE_MAX / 64 / lanes) {
        return 0;
    }
    return 2 * map * lanes + tap_floats(taps) + 16;
}

static void run_convolution(const cascade_kernels *kernels, const cascade_layer *layer, size_t side, const float *in,
                            float *out, ptrdiff_t *taps) {
    size_t lanes = kernels->lanes, outputs = cascade_layer_output(layer, side);
    cascade_strip strip = {.in_step = (ptrdiff_t)(layer->stride * layer->in_channels * lanes),
                           .taps = taps,
                           .out_step = (ptrdiff_t)(layer->out_channels * lanes),
                           .out_channel_step = (ptrdiff_t)lanes,
                           .vectors = outputs};
    strip.tap_count = window_taps(taps, layer->kernel, layer->kernel, side, layer->in_channels, lanes, 1);
    for (size_t y = 0; y < outputs; y++) {
        strip.in = in + y * layer->stride * side * layer->in_channels * lanes;
        strip.out = out + y * outputs * layer->out_channels * lanes;
        kernels->convolve(&strip, layer->out_channels, layer->weights, layer->bias, layer->slope);
    }
}

static void run_pool(const cascade_kernels *kernels, const cascade_layer *layer, size_t side, const float *in,
                     float *out, ptrdiff_t *taps) {
    size_t lanes = kernels->lanes, channels = layer->in_channels, outputs = cascade_layer_output(layer, side);
    cascade_strip strip = {.taps = taps, .out_channel_step = (ptrdiff_t)lanes, .vectors = 1};
    for (size_t y = 0; y < outputs; y++) {
        size_t top = y * layer->stride, rows = side - top < layer->kernel ? side - top : layer->kernel;
        for (size_t x = 0; x < outputs; x++) {
            size_t left = x * layer->stride, columns = side - left < layer->kernel ? side - left : layer->kernel;
            strip.tap_count = window_taps(taps, rows, columns, side, channels, lanes, channels);
            strip.in = in + (top * side + left) * channels * lanes;
            strip.out = out + (y * outputs + x) * channels * lanes;
            kernels->pool(&strip, channels, (ptrdiff_t)lanes);
        }
    }
}

void cascade_crops_run(const cascade_kernels *kernels, const cascade_layer *layers, size_t layer_count,
                       const uint8_t *crops, size_t count, size_t size, float *out, float *workspace) {
    size_t lanes = kernels->lanes, map, tap_count, values = size * size * CASCADE_CHANNELS;
    size_t outputs = layers[layer_count - 1].out_channels;
    if (!measure(layers, layer_count, size, &map, &tap_count)) {
        return;
    }
    ptrdiff_t *taps = (ptrdiff_t *)workspace;
    float *maps[2] = {workspace + (tap_floats(tap_count) + 15) / 16 * 16, NULL};
    maps[1] = maps[0] + map * lanes;
    for (size_t first = 0; first < count; first += lanes) {
        size_t left = count - first < lanes ? count - first : lanes, side = size, turn = 0;
        kernels->interleave(crops + first * values, left, values, maps[0]);
        for (size_t i = 0; i < layer_count; i++, turn ^= 1) {
            if (layers[i].kind == CASCADE_CONV) {
                run_convolution(kernels, layers + i, side, maps[turn], maps[turn ^ 1], taps);
            } else {
                run_pool(kernels, layers + i, side, maps[turn], maps[turn ^ 1], taps);
            }
            side = cascade_layer_output(layers + i, side);
        }
        /* the last map is side * side * outputs features; networks end on a single position */
        for (size_t lane = 0; lane < left; lane++) {
            for (size_t o = 0; o < outputs; o++) {
                out[(first + lane) * outputs + o] = maps[turn][o * lanes + lane];
            }
        }
    }
}
