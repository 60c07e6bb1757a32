/* What all ways of running a network share: output sizes, the dispatch on the dtype and the order of packed weights. */
#include <string.h>

#include "nn.h"

size_t cascade_layer_output(const cascade_layer *layer, size_t input) {
    if (layer->kernel == 0 || layer->stride == 0 || input < layer->kernel) {
        return 0;
    }
    size_t span = input - layer->kernel, partial = layer->op == CASCADE_MAX_POOL ? layer->stride - 1 : 0;
    size_t outputs = (span + partial) / layer->stride + 1;
    /* the last window of a pool that skips pixels may begin beyond its input */
    return (outputs - 1) * layer->stride < input ? outputs : outputs - 1;
}

size_t cascade_input_elements(const cascade_layer *layers) {
    return layers[0].dtype == CASCADE_INT8 ? 1 : CASCADE_CHANNELS;
}

void cascade_convolve(const cascade_kernels *kernels, const cascade_layer *layer, const cascade_element *in,
                      cascade_element *out, const cascade_span *span) {
    if (layer->dtype == CASCADE_INT8) {
        const cascade_int8_weights *int8 = &layer->int8;
        kernels->conv_int8(&in->int8x4, out, span, layer->channels, int8->weights,
                           cascade_int8_bias(kernels, int8), int8->factor, int8->dequantize);
    } else {
        const cascade_f32_weights *f32 = &layer->f32;
        kernels->conv_f32(&in->f32, &out->f32, span, layer->channels, f32->weights, f32->bias, f32->slope);
    }
}

void cascade_convolve_small_batch(const cascade_kernels *kernels, const cascade_layer *layer, const cascade_element *in,
                                  cascade_element *out, const cascade_span *span) {
    if (layer->dtype == CASCADE_INT8) {
        const cascade_int8_weights *int8 = &layer->int8;
        kernels->conv_int8_small_batch(&in->int8x4, out, span, layer->channels, int8->small_batch_weights,
                                       cascade_int8_bias(kernels, int8), int8->factor, int8->dequantize);
    } else {
        const cascade_f32_weights *f32 = &layer->f32;
        kernels->conv_f32_small_batch(&in->f32, &out->f32, span, layer->channels, f32->small_batch_weights, f32->bias,
                                      f32->slope);
    }
}

int cascade_int8_groups_fit(const int8_t *weights, size_t out_channels, size_t in_elements, size_t kernel) {
    size_t area = kernel * kernel, taps = area * in_elements;
    for (size_t out = 0; out < out_channels; out++, weights += taps * CASCADE_PACKED) {
        int positive[2] = {0}, negative[2] = {0};
        for (size_t tap = 0; tap < taps; tap++) {
            /* in the order of packed weights */
            const int8_t *four = weights + (tap % in_elements * area + tap / in_elements) * CASCADE_PACKED;
            if (tap % CASCADE_INT8_GROUP == 0) {
                memset(positive, 0, sizeof positive);
                memset(negative, 0, sizeof negative);
            }
            for (size_t channel = 0; channel < CASCADE_PACKED; channel++) {
                *(four[channel] > 0 ? positive + channel / 2 : negative + channel / 2) += four[channel];
            }
            for (size_t pair = 0; pair < 2; pair++) {
                if (positive[pair] > CASCADE_INT8_GROUP_SUM || negative[pair] < -CASCADE_INT8_GROUP_SUM) {
                    return 0;
                }
            }
        }
    }
    return 1;
}

void cascade_signed_bias(const int8_t *weights, size_t out_channels, size_t count, const int32_t *bias,
                         int32_t *signed_bias) {
    for (size_t out = 0; out < out_channels; out++, weights += count) {
        int32_t sum = 0;
        for (size_t i = 0; i < count; i++) {
            sum += weights[i];
        }
        signed_bias[out] = bias[out] + 128 * sum;
    }
}

enum { ITEM = sizeof(cascade_element) }; /* bytes of a float32 weight, or of four int8 ones */

/* Packs the output channels [done, done + block) as [ky][kx][in][channel of the block]. Returns the end of what it wrote. */
static uint8_t *pack_block(const uint8_t *weights, size_t done, size_t block, size_t in_elements, size_t kernel,
                           uint8_t *packed) {
    size_t area = kernel * kernel;
    for (size_t tap = 0; tap < area; tap++) {
        for (size_t in = 0; in < in_elements; in++) {
            for (size_t out = 0; out < block; out++, packed += ITEM) {
                memcpy(packed, weights + (((done + out) * in_elements + in) * area + tap) * ITEM, ITEM);
            }
        }
    }
    return packed;
}

void cascade_pack_weights(const void *weights, size_t out_channels, size_t in_elements, size_t kernel, void *packed) {
    uint8_t *to = packed;
    for (size_t done = 0, block; done < out_channels; done += block) {
        block = cascade_next_block(out_channels - done);
        to = pack_block(weights, done, block, in_elements, kernel, to);
    }
}

void cascade_pack_small_batch(const void *weights, size_t out_channels, size_t in_elements, size_t kernel, size_t lanes,
                              void *packed) {
    uint8_t *to = packed;
    for (size_t done = 0, block; done < out_channels; done += block) {
        block = out_channels - done >= 2 * lanes ? 2 * lanes : lanes;
        to = pack_block(weights, done, block, in_elements, kernel, to);
    }
}
