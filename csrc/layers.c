/* What both ways of running a network share: output sizes and the order of the packed weights. */
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

/* Output channels [done, done + block) to [ky][kx][in][channel of the block]; returns the end of what it wrote. */
static float *pack_block(const float *weights, size_t done, size_t block, size_t in_channels, size_t kernel,
                         float *packed) {
    size_t area = kernel * kernel;
    for (size_t tap = 0; tap < area; tap++) {
        for (size_t in = 0; in < in_channels; in++) {
            for (size_t out = 0; out < block; out++) {
                *packed++ = weights[((done + out) * in_channels + in) * area + tap];
            }
        }
    }
    return packed;
}

void cascade_pack_weights(const float *weights, size_t out_channels, size_t in_channels, size_t kernel, float *packed) {
    for (size_t done = 0, block; done < out_channels; done += block) {
        size_t left = out_channels - done;
        block = left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
        packed = pack_block(weights, done, block, in_channels, kernel, packed);
    }
}

void cascade_pack_few(const float *weights, size_t out_channels, size_t in_channels, size_t kernel, size_t lanes,
                      float *packed) {
    for (size_t done = 0, block; done < out_channels; done += block) {
        block = out_channels - done >= 2 * lanes ? 2 * lanes : lanes;
        packed = pack_block(weights, done, block, in_channels, kernel, packed);
    }
}
