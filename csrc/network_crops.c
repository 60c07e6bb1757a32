/*
 * A network over a batch of crops. Crops are taken in groups of `lanes`; within a group a feature of all its crops
 * is one vector, so a map is [row][column][channel][lane] and any stride, kernel or channel count runs at full
 * width. The last group is filled up with the last crop.
 */
#include "cascade.h"

/* Taps of a window on a map of `width` columns and `channels` channels: some columns of the rows from `top` on, which lie
 * in the order of a ring of `ring` rows. */
static size_t window_taps(ptrdiff_t *taps, size_t top, size_t rows, size_t ring, size_t columns, size_t width,
                          size_t channels, size_t lanes, size_t channel_step) {
    size_t n = 0;
    for (size_t y = top; y < top + rows; y++) {
        for (size_t x = 0; x < columns; x++) {
            for (size_t c = 0; c < channels; c += channel_step) {
                taps[n++] = (ptrdiff_t)(((y % ring * width + x) * channels + c) * lanes);
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

/* Whether a layer's output is pooled row by row, as it is made: maps before a pool are the largest by far. */
static int is_pooled(const cascade_layer *layers, size_t layer_count, size_t i) {
    return i + 1 < layer_count && layers[i].kind == CASCADE_CONV && layers[i + 1].kind == CASCADE_POOL;
}

/* What a run needs, in floats per lane: the largest map, the largest ring of rows before a pool; and the most taps. */
typedef struct {
    size_t map, ring, taps;
} needs;

static void at_least(size_t *size, size_t other) { *size = other > *size ? other : *size; }

/* Returns 0 if something does not fit. */
static int measure(const cascade_layer *layers, size_t layer_count, size_t size, needs *need) {
    size_t side = size, channels = cascade_input_features(layers), floats;
    need->taps = need->ring = 0;
    if (!product(&need->map, side, side, channels)) {
        return 0;
    }
    for (size_t i = 0; i < layer_count; i++) {
        const cascade_layer *layer = layers + i;
        if (layer->in_channels != channels || !product(&floats, layer->kernel, layer->kernel, channels)) {
            return 0;
        }
        at_least(&need->taps, floats);
        side = cascade_layer_output(layer, side);
        channels = layer->out_channels;
        int pooled = is_pooled(layers, layer_count, i);
        if (side == 0 || !product(&floats, pooled ? layers[i + 1].kernel : side, side, channels)) {
            return 0;
        }
        at_least(pooled ? &need->ring : &need->map, floats);
    }
    return 1;
}

/* Whether a last group has so few crops that network_few.c is the faster one: up to about three quarters of the lanes. */
static int is_few(const cascade_layer *layers, size_t count, size_t lanes) {
    return layers[0].few_weights != NULL && 4 * count <= 3 * lanes;
}

size_t cascade_crops_workspace(const cascade_layer *layers, size_t layer_count, size_t size, size_t lanes) {
    needs need;
    if (!measure(layers, layer_count, size, &need) || need.map > SIZE_MAX / 64 / lanes ||
        need.ring > SIZE_MAX / 64 / lanes) {
        return 0;
    }
    size_t floats = (2 * need.map + need.ring) * lanes + tap_floats(need.taps) + 16;
    if (layers[0].few_weights != NULL) {
        at_least(&floats, cascade_few_workspace(layers, layer_count, size, lanes));
    }
    return floats;
}

/* The strip of a convolution's output rows on a map of `side` columns. */
static cascade_strip convolution_strip(const cascade_layer *layer, size_t side, size_t lanes, ptrdiff_t *taps) {
    cascade_strip strip = {.in_step = (ptrdiff_t)(layer->stride * layer->in_channels * lanes),
                           .taps = taps,
                           .out_step = (ptrdiff_t)(layer->out_channels * lanes),
                           .out_channel_step = (ptrdiff_t)lanes,
                           .vectors = cascade_layer_output(layer, side)};
    strip.tap_count =
        window_taps(taps, 0, layer->kernel, layer->kernel, layer->kernel, side, layer->in_channels, lanes, 1);
    return strip;
}

static void run_convolution(const cascade_kernels *kernels, const cascade_layer *layer, size_t side, const float *in,
                            float *out, ptrdiff_t *taps) {
    size_t lanes = kernels->lanes, outputs = cascade_layer_output(layer, side);
    cascade_strip strip = convolution_strip(layer, side, lanes, taps);
    for (size_t y = 0; y < outputs; y++) {
        strip.in = in + y * layer->stride * side * layer->in_channels * lanes;
        strip.out = out + y * outputs * layer->out_channels * lanes;
        cascade_convolve(kernels, layer, &strip);
    }
}

/* One row of a pool's output from the rows [top, top + rows) of its input, a ring of `ring` rows. */
static void pool_row(const cascade_kernels *kernels, const cascade_layer *layer, size_t side, size_t top, size_t rows,
                     size_t ring, const float *in, float *out, ptrdiff_t *taps) {
    size_t lanes = kernels->lanes, channels = layer->in_channels, outputs = cascade_layer_output(layer, side);
    cascade_strip strip = {.taps = taps, .out_channel_step = (ptrdiff_t)lanes, .vectors = 1};
    size_t known = 0;
    for (size_t x = 0; x < outputs; x++) {
        size_t left = x * layer->stride, columns = side - left < layer->kernel ? side - left : layer->kernel;
        if (columns != known) {
            strip.tap_count = window_taps(taps, top, rows, ring, columns, side, channels, lanes, channels);
            known = columns;
        }
        strip.in = in + left * channels * lanes;
        strip.out = out + x * channels * lanes;
        kernels->pool(&strip, channels, (ptrdiff_t)lanes);
    }
}

static size_t pooled_rows(const cascade_layer *pool, size_t side, size_t top) {
    return side - top < pool->kernel ? side - top : pool->kernel;
}

static void run_pool(const cascade_kernels *kernels, const cascade_layer *layer, size_t side, const float *in,
                     float *out, ptrdiff_t *taps) {
    size_t outputs = cascade_layer_output(layer, side), row = outputs * layer->in_channels * kernels->lanes;
    for (size_t y = 0; y < outputs; y++) {
        size_t top = y * layer->stride;
        pool_row(kernels, layer, side, top, pooled_rows(layer, side, top), side, in, out + y * row, taps);
    }
}

/* A convolution and the pool after it. Only the rows that the pool needs next are kept, in `ring`. */
static void run_pooled(const cascade_kernels *kernels, const cascade_layer *layer, const cascade_layer *pool, size_t side,
                       const float *in, float *out, float *ring, ptrdiff_t *taps) {
    size_t lanes = kernels->lanes, middle = cascade_layer_output(layer, side), made = 0;
    size_t outputs = cascade_layer_output(pool, middle), row = middle * layer->out_channels * lanes;
    for (size_t y = 0; y < outputs; y++) {
        size_t top = y * pool->stride, rows = pooled_rows(pool, middle, top);
        cascade_strip strip = convolution_strip(layer, side, lanes, taps);
        for (made = made < top ? top : made; made < top + rows; made++) {
            strip.in = in + made * layer->stride * side * layer->in_channels * lanes;
            strip.out = ring + made % pool->kernel * row;
            cascade_convolve(kernels, layer, &strip);
        }
        pool_row(kernels, pool, middle, top, rows, pool->kernel, ring, out + y * outputs * pool->in_channels * lanes, taps);
    }
}

/* All layers of one group, from maps[0]; returns the map with the outputs. */
static float *run_group(const cascade_kernels *kernels, const cascade_layer *layers, size_t layer_count, size_t size,
                        float *maps[2], float *ring, ptrdiff_t *taps) {
    size_t side = size, turn = 0;
    for (size_t i = 0; i < layer_count; i++, turn ^= 1) {
        if (is_pooled(layers, layer_count, i)) {
            run_pooled(kernels, layers + i, layers + i + 1, side, maps[turn], maps[turn ^ 1], ring, taps);
            side = cascade_layer_output(layers + i, side);
            i++;
        } else if (layers[i].kind != CASCADE_POOL) {
            run_convolution(kernels, layers + i, side, maps[turn], maps[turn ^ 1], taps);
        } else {
            run_pool(kernels, layers + i, side, maps[turn], maps[turn ^ 1], taps);
        }
        side = cascade_layer_output(layers + i, side);
    }
    return maps[turn];
}

void cascade_crops_run(const cascade_kernels *kernels, const cascade_layer *layers, size_t layer_count,
                       const uint8_t *crops, size_t count, size_t size, float *out, float *workspace) {
    size_t lanes = kernels->lanes, values = size * size * CASCADE_CHANNELS;
    size_t outputs = layers[layer_count - 1].out_channels;
    needs need;
    if (!measure(layers, layer_count, size, &need)) {
        return;
    }
    ptrdiff_t *taps = (ptrdiff_t *)workspace;
    float *maps[2] = {workspace + (tap_floats(need.taps) + 15) / 16 * 16, NULL};
    maps[1] = maps[0] + need.map * lanes;
    float *ring = maps[1] + need.map * lanes;
    for (size_t first = 0; first < count; first += lanes) {
        size_t left = count - first < lanes ? count - first : lanes;
        if (is_few(layers, left, lanes)) {
            cascade_few_run(kernels, layers, layer_count, crops + first * values, left, size, out + first * outputs,
                            workspace);
            continue;
        }
        if (layers[0].kind == CASCADE_BYTES) {
            kernels->interleave_words(crops + first * values, left, size * size, maps[0]);
        } else {
            kernels->interleave(crops + first * values, left, values, maps[0]);
        }
        const float *found = run_group(kernels, layers, layer_count, size, maps, ring, taps);
        /* the last map is side * side * outputs features; networks end on a single position */
        for (size_t lane = 0; lane < left; lane++) {
            for (size_t o = 0; o < outputs; o++) {
                out[(first + lane) * outputs + o] = found[o * lanes + lane];
            }
        }
    }
}
