/*
 * A network over a few crops, fewer than would fill the lanes of network_crops.c. Here the lanes are output channels, so no
 * lane is wasted on a photo of one face; a map is [crop][row][column][channel]. Sums run in the same order as there,
 * so a crop gets the same outputs either way, to the bit.
 *
 * It is for networks without pools whose layers all have a multiple of `lanes` channels.
 */
#include <string.h>

#include "cascade.h"

/* Maps with fewer columns are run position by position, over the crops, so that weights are loaded once for all of them. */
#define FEWEST_COLUMNS 4

int cascade_few_usable(const cascade_layer *layers, size_t layer_count, size_t lanes) {
    for (size_t i = 0; i < layer_count; i++) {
        size_t channels = layers[i].kind == CASCADE_BYTES ? layers[i].filters : layers[i].out_channels;
        if (layers[i].kind == CASCADE_POOL || channels % lanes) {
            return 0;
        }
    }
    return lanes >= CASCADE_WORD;
}

/* Floats of the largest map of one crop. */
static size_t largest_map(const cascade_layer *layers, size_t layer_count, size_t size) {
    size_t side = size, largest = size * size * CASCADE_CHANNELS;
    for (size_t i = 0; i < layer_count; i++) {
        side = cascade_layer_output(layers + i, side);
        size_t floats = side * side * layers[i].out_channels;
        largest = floats > largest ? floats : largest;
    }
    return (largest + 15) / 16 * 16;
}

static size_t most_taps(const cascade_layer *layers, size_t layer_count) {
    size_t most = 0;
    for (size_t i = 0; i < layer_count; i++) {
        size_t taps = layers[i].kernel * layers[i].kernel * layers[i].in_channels;
        most = taps > most ? taps : most;
    }
    return (most * sizeof(ptrdiff_t) / sizeof(float) + 15) / 16 * 16 + 16;
}

size_t cascade_few_workspace(const cascade_layer *layers, size_t layer_count, size_t size, size_t count) {
    return most_taps(layers, layer_count) + 2 * count * largest_map(layers, layer_count, size);
}

static void few_layer(const cascade_kernels *kernels, const cascade_layer *layer, size_t side, size_t count, size_t map,
                      const float *in, float *out, ptrdiff_t *taps) {
    size_t outputs = cascade_layer_output(layer, side), channels = layer->out_channels;
    size_t step = layer->stride * layer->in_channels, n = 0;
    for (size_t y = 0; y < layer->kernel; y++) {
        for (size_t i = 0; i < layer->kernel * layer->in_channels; i++) {
            taps[n++] = (ptrdiff_t)(y * side * layer->in_channels + i);
        }
    }
    int by_row = outputs >= FEWEST_COLUMNS;
    cascade_strip strip = {.in_step = (ptrdiff_t)(by_row ? step : map),
                           .taps = taps,
                           .tap_count = n,
                           .out_step = (ptrdiff_t)(by_row ? channels : map),
                           .vectors = by_row ? outputs : count};
    for (size_t crop = 0; crop < (by_row ? count : 1); crop++) {
        for (size_t y = 0; y < outputs; y++) {
            for (size_t x = 0; x < (by_row ? 1 : outputs); x++) {
                strip.in = in + crop * map + y * side * step + x * step;
                strip.out = out + crop * map + (y * outputs + x) * channels;
                if (layer->kind == CASCADE_BYTES) {
                    kernels->convolve_few_bytes(&strip, layer->filters, layer->few_weights, layer->byte_bias,
                                                layer->factor, layer->last);
                } else {
                    kernels->convolve_few(&strip, channels, layer->few_weights, layer->bias, layer->slope);
                }
            }
        }
    }
}

/* Each pixel as a word of its three colours. */
static void pixel_words(const uint8_t *pixels, size_t count, float *words) {
    for (size_t i = 0; i < count; i++, pixels += CASCADE_CHANNELS) {
        uint32_t word = cascade_pixel_word(pixels);
        memcpy(words + i, &word, sizeof word);
    }
}

void cascade_few_run(const cascade_kernels *kernels, const cascade_layer *layers, size_t layer_count,
                     const uint8_t *crops, size_t count, size_t size, float *out, float *workspace) {
    size_t map = largest_map(layers, layer_count, size), values = size * size * CASCADE_CHANNELS, side = size;
    size_t outputs = layers[layer_count - 1].out_channels;
    ptrdiff_t *taps = (ptrdiff_t *)workspace;
    float *in = workspace + most_taps(layers, layer_count), *next = in + count * map;
    for (size_t crop = 0; crop < count; crop++, crops += values) {
        if (layers[0].kind == CASCADE_BYTES) {
            pixel_words(crops, size * size, in + crop * map);
            continue;
        }
        for (size_t i = 0; i < values; i++) {
            in[crop * map + i] = CASCADE_NORMALISE(crops[i]);
        }
    }
    for (size_t i = 0; i < layer_count; i++) {
        few_layer(kernels, layers + i, side, count, map, in, next, taps);
        side = cascade_layer_output(layers + i, side);
        float *swap = in;
        in = next;
        next = swap;
    }
    for (size_t crop = 0; crop < count; crop++) {
        for (size_t o = 0; o < outputs; o++) {
            out[crop * outputs + o] = in[crop * map + o];
        }
    }
}
