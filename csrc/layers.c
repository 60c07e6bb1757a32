/* What both ways of running a network share: output sizes and the order of the packed weights. */
#include <string.h>

#include "cascade.h"

size_t cascade_layer_output(const cascade_layer *layer, size_t input) {
    if (layer->kernel == 0 || layer->stride == 0 || input < layer->kernel) {
        return 0;
    }
    size_t span = input - layer->kernel, partial = layer->kind == CASCADE_POOL ? layer->stride - 1 : 0;
    size_t outputs = (span + partial) / layer->stride + 1;
    /* a pool that skips pixels could otherwise have a last window beyond its input */
    return (outputs - 1) * layer->stride < input ? outputs : outputs - 1;
}

size_t cascade_input_features(const cascade_layer *layers) {
    return layers[0].kind == CASCADE_BYTES ? 1 : CASCADE_CHANNELS;
}

void cascade_convolve(const cascade_kernels *kernels, const cascade_layer *layer, const cascade_strip *strip) {
    if (layer->kind == CASCADE_BYTES) {
        kernels->convolve_bytes(strip, layer->filters, layer->weights, layer->byte_bias, layer->factor, layer->last);
    } else {
        kernels->convolve(strip, layer->out_channels, layer->weights, layer->bias, layer->slope);
    }
}

enum { ITEM = 4 }; /* bytes of a weight, or of a word of four */

/* Output channels [done, done + block) to [ky][kx][in][channel of the block]; returns the end of what it wrote. */
static uint8_t *pack_block(const uint8_t *weights, size_t done, size_t block, size_t in_channels, size_t kernel,
                           uint8_t *packed) {
    size_t area = kernel * kernel;
    for (size_t tap = 0; tap < area; tap++) {
        for (size_t in = 0; in < in_channels; in++) {
            for (size_t out = 0; out < block; out++, packed += ITEM) {
                memcpy(packed, weights + (((done + out) * in_channels + in) * area + tap) * ITEM, ITEM);
            }
        }
    }
    return packed;
}

void cascade_pack_weights(const void *weights, size_t out_channels, size_t in_channels, size_t kernel, void *packed) {
    uint8_t *to = packed;
    for (size_t done = 0, block; done < out_channels; done += block) {
        size_t left = out_channels - done;
        block = left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
        to = pack_block(weights, done, block, in_channels, kernel, to);
    }
}

void cascade_pack_few(const void *weights, size_t out_channels, size_t in_channels, size_t kernel, size_t lanes,
                      void *packed) {
    uint8_t *to = packed;
    for (size_t done = 0, block; done < out_channels; done += block) {
        block = out_channels - done >= 2 * lanes ? 2 * lanes : lanes;
        to = pack_block(weights, done, block, in_channels, kernel, to);
    }
}
