/*
 * A network over a small batch: fewer crops than would fill the lanes of batch_forward.c. Here the lanes are output channels,
 * so that a photo of one face wastes no lane. A feature map is [crop][row][column][element]. Sums run in the same order as
 * there, so a crop gets the same outputs to the bit either way.
 *
 * This is for networks without pools whose layers all have a multiple of `lanes` channels.
 */
#include "nn.h"

/* Feature maps with fewer columns run position by position, over the crops, so that all crops share each load of weights. */
#define MIN_COLUMNS 4

int cascade_small_batch_usable(const cascade_layer *layers, size_t layer_count, size_t lanes) {
    for (size_t i = 0; i < layer_count; i++) {
        if (layers[i].op == CASCADE_MAX_POOL || layers[i].channels % lanes) {
            return 0;
        }
    }
    return lanes >= CASCADE_PACKED;
}

int cascade_small_batch_packed(const cascade_layer *layers) {
    return layers[0].f32.small_batch_weights != NULL || layers[0].int8.small_batch_weights != NULL;
}

/* Elements of the largest feature map of one crop. */
static size_t largest_map(const cascade_layer *layers, size_t layer_count, size_t size) {
    size_t side = size, largest = size * size * CASCADE_CHANNELS;
    for (size_t i = 0; i < layer_count; i++) {
        side = cascade_layer_output(layers + i, side);
        largest = cascade_max(largest, side * side * layers[i].out_elements);
    }
    return (largest + 15) / 16 * 16;
}

static size_t most_taps(const cascade_layer *layers, size_t layer_count) {
    size_t most = 0;
    for (size_t i = 0; i < layer_count; i++) {
        most = cascade_max(most, layers[i].kernel * layers[i].kernel * layers[i].in_elements);
    }
    return most;
}

size_t cascade_small_batch_workspace(const cascade_layer *layers, size_t layer_count, size_t size, size_t count) {
    return cascade_tap_bytes(most_taps(layers, layer_count)) +
           2 * count * largest_map(layers, layer_count, size) * sizeof(cascade_element);
}

/* `map`: elements of the feature map of one crop. */
static void run_layer(const cascade_kernels *kernels, const cascade_layer *layer, size_t side, size_t count, size_t map,
                      const cascade_element *in, cascade_element *out, ptrdiff_t *taps) {
    size_t outputs = cascade_layer_output(layer, side), elements = layer->out_elements;
    size_t step = layer->stride * layer->in_elements, n = 0;
    for (size_t y = 0; y < layer->kernel; y++) {
        for (size_t i = 0; i < layer->kernel * layer->in_elements; i++) {
            taps[n++] = (ptrdiff_t)(y * side * layer->in_elements + i);
        }
    }
    int by_row = outputs >= MIN_COLUMNS;
    cascade_span span = {.in_step = (ptrdiff_t)(by_row ? step : map),
                         .taps = taps,
                         .tap_count = n,
                         .out_step = (ptrdiff_t)(by_row ? elements : map),
                         .vectors = by_row ? outputs : count};
    for (size_t crop = 0; crop < (by_row ? count : 1); crop++) {
        for (size_t y = 0; y < outputs; y++) {
            for (size_t x = 0; x < (by_row ? 1 : outputs); x++) {
                cascade_convolve_small_batch(kernels, layer, in + crop * map + y * side * step + x * step,
                                             out + crop * map + (y * outputs + x) * elements, &span);
            }
        }
    }
}

/* Writes the input elements of one crop. */
static void fill_crop(const uint8_t *crop, size_t pixels, int dtype, cascade_element *in) {
    if (dtype == CASCADE_INT8) {
        for (size_t i = 0; i < pixels; i++) {
            in[i].int8x4 = cascade_pack_pixel(crop + i * CASCADE_CHANNELS);
        }
    } else {
        for (size_t i = 0; i < pixels * CASCADE_CHANNELS; i++) {
            in[i].f32 = CASCADE_NORMALISE(crop[i]);
        }
    }
}

void cascade_small_batch_forward(const cascade_kernels *kernels, const cascade_layer *layers, size_t layer_count,
                                 const uint8_t *crops, size_t count, size_t size, float *out, void *workspace) {
    size_t map = largest_map(layers, layer_count, size), side = size;
    size_t outputs = layers[layer_count - 1].out_elements;
    ptrdiff_t *taps = workspace;
    cascade_element *in = (cascade_element *)((char *)workspace + cascade_tap_bytes(most_taps(layers, layer_count)));
    cascade_element *next = in + count * map;
    for (size_t crop = 0; crop < count; crop++) {
        fill_crop(crops + crop * size * size * CASCADE_CHANNELS, size * size, layers[0].dtype, in + crop * map);
    }
    for (size_t i = 0; i < layer_count; i++) {
        run_layer(kernels, layers + i, side, count, map, in, next, taps);
        side = cascade_layer_output(layers + i, side);
        cascade_element *swap = in;
        in = next;
        next = swap;
    }
    for (size_t crop = 0; crop < count; crop++) {
        for (size_t o = 0; o < outputs; o++) {
            out[crop * outputs + o] = in[crop * map + o].f32;
        }
    }
}
