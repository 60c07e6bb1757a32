/*
 * Convolutions and pooling of float32.
 *
 * A vector holds the same feature at neighbouring positions (columns of an image, or crops of a batch), and a weight is
 * broadcast over it. A block of output channels times a few vectors stays in registers while the taps go by. So each loaded
 * vector and each broadcast weight is used several times, and channel counts that do not fill a vector waste no lane.
 */
#ifndef CASCADE_KERNELS_CONV_F32_H
#define CASCADE_KERNELS_CONV_F32_H

#include "vector.h"

/* `channels` output channels at `vectors` vectors; the weights of a tap are `weight_step` floats apart. Inlined with constant
 * channels and vectors, so that the sums live in registers. */
ALWAYS_INLINE void conv_f32_tile(const float *in, float *out, const cascade_span *span, size_t start, size_t channels,
                                 size_t vectors, size_t weight_step, const float *weights, const float *bias,
                                 const float *slope) {
    vec_f32 sums[TILE_CHANNELS][TILE_VECTORS];
    in += (ptrdiff_t)start * span->in_step;
    for (size_t c = 0; c < channels; c++) {
        for (size_t v = 0; v < vectors; v++) {
            sums[c][v] = broadcast_f32(bias[c]);
        }
    }
    for (size_t k = 0; k < span->tap_count; k++, weights += weight_step) {
        const float *tap = in + span->taps[k];
        vec_f32 inputs[TILE_VECTORS];
        for (size_t v = 0; v < vectors; v++) {
            inputs[v] = load_f32(tap + (ptrdiff_t)v * span->in_step);
        }
        for (size_t c = 0; c < channels; c++) {
            vec_f32 weight = broadcast_f32(weights[c]);
            for (size_t v = 0; v < vectors; v++) {
                sums[c][v] += weight * inputs[v];
            }
        }
    }
    vec_f32 zero = broadcast_f32(0.0f);
    for (size_t c = 0; c < channels; c++) {
        vec_f32 factor = broadcast_f32(slope[c]);
        for (size_t v = 0; v < vectors; v++) {
            vec_f32 positive = maximum(sums[c][v], zero);
            store_f32(out + (ptrdiff_t)c * span->out_channel_step + (ptrdiff_t)(start + v) * span->out_step,
                      positive + factor * (sums[c][v] - positive));
        }
    }
}

/* All vectors of a span for a constant number of channels. */
ALWAYS_INLINE void conv_f32_block(const float *in, float *out, const cascade_span *span, size_t channels,
                                  size_t weight_step, const float *weights, const float *bias, const float *slope) {
    size_t v = 0;
#if TILE_VECTORS == 3
    for (; v + 3 <= span->vectors && span->vectors - v != 4; v += 3) {
        conv_f32_tile(in, out, span, v, channels, 3, weight_step, weights, bias, slope);
    }
    for (; v + 2 <= span->vectors; v += 2) {
        conv_f32_tile(in, out, span, v, channels, 2, weight_step, weights, bias, slope);
    }
#endif
    for (; v < span->vectors; v++) {
        conv_f32_tile(in, out, span, v, channels, 1, weight_step, weights, bias, slope);
    }
}

static void conv_f32(const float *in, float *out, const cascade_span *span, size_t channels, const float *weights,
                     const float *bias, const float *slope) {
    for (size_t done = 0, block; done < channels; done += block) {
        block = cascade_next_block(channels - done);
        if (block == 8) {
#if TILE_CHANNELS == 8
            conv_f32_block(in, out, span, 8, 8, weights, bias, slope);
#else
            conv_f32_block(in, out, span, 4, 8, weights, bias, slope);
            conv_f32_block(in, out + 4 * span->out_channel_step, span, 4, 8, weights + 4, bias + 4, slope + 4);
#endif
        } else if (block == 4) {
            conv_f32_block(in, out, span, 4, 4, weights, bias, slope);
        } else if (block == 2) {
            conv_f32_block(in, out, span, 2, 2, weights, bias, slope);
        } else {
            conv_f32_block(in, out, span, 1, 1, weights, bias, slope);
        }
        weights += block * span->tap_count;
        bias += block;
        slope += block;
        out += (ptrdiff_t)block * span->out_channel_step;
    }
}

/* ---- lanes of output channels ---------------------------------------------------------------------------- */

ALWAYS_INLINE void small_batch_f32_tile(const float *in, float *out, const cascade_span *span, size_t start,
                                        size_t positions, size_t vectors, const float *weights, const float *bias,
                                        const float *slope) {
    vec_f32 sums[SMALL_BATCH_POSITIONS][2];
    in += (ptrdiff_t)start * span->in_step;
    for (size_t p = 0; p < positions; p++) {
        for (size_t v = 0; v < vectors; v++) {
            sums[p][v] = load_f32(bias + v * CASCADE_LANES);
        }
    }
    for (size_t k = 0; k < span->tap_count; k++, weights += vectors * CASCADE_LANES) {
        const float *tap = in + span->taps[k];
        vec_f32 weight[2];
        for (size_t v = 0; v < vectors; v++) {
            weight[v] = load_f32(weights + v * CASCADE_LANES);
        }
        for (size_t p = 0; p < positions; p++) {
            vec_f32 input = broadcast_f32(tap[(ptrdiff_t)p * span->in_step]);
            for (size_t v = 0; v < vectors; v++) {
                sums[p][v] += weight[v] * input;
            }
        }
    }
    vec_f32 zero = broadcast_f32(0.0f);
    for (size_t p = 0; p < positions; p++) {
        for (size_t v = 0; v < vectors; v++) {
            vec_f32 positive = maximum(sums[p][v], zero), factor = load_f32(slope + v * CASCADE_LANES);
            store_f32(out + (ptrdiff_t)(start + p) * span->out_step + (ptrdiff_t)(v * CASCADE_LANES),
                      positive + factor * (sums[p][v] - positive));
        }
    }
}

/* All positions of a span for one or two vectors of channels, in tiles of as equal a size as possible. */
ALWAYS_INLINE void small_batch_f32_block(const float *in, float *out, const cascade_span *span, size_t vectors,
                                         const float *weights, const float *bias, const float *slope) {
    size_t tiles = (span->vectors + SMALL_BATCH_POSITIONS - 1) / SMALL_BATCH_POSITIONS;
    for (size_t tile = 0, start = 0, end; tile < tiles; tile++, start = end) {
        end = span->vectors * (tile + 1) / tiles;
#define TILE(n)                                                                                                        \
    case n:                                                                                                            \
        small_batch_f32_tile(in, out, span, start, n, vectors, weights, bias, slope);                                  \
        break;
        switch (end - start) { SMALL_BATCH_CASES(TILE) }
#undef TILE
    }
}

static void conv_f32_small_batch(const float *in, float *out, const cascade_span *span, size_t channels,
                                 const float *weights, const float *bias, const float *slope) {
    size_t done = 0;
    for (; done + 2 * CASCADE_LANES <= channels; done += 2 * CASCADE_LANES) {
        small_batch_f32_block(in, out + done, span, 2, weights, bias + done, slope + done);
        weights += 2 * CASCADE_LANES * span->tap_count;
    }
    if (done < channels) {
        small_batch_f32_block(in, out + done, span, 1, weights, bias + done, slope + done);
    }
}

/* ---- depthwise, pooling ---------------------------------------------------------------------------------- */

/* Positions in a tile of `depthwise_f32`. */
#define DEPTHWISE_POSITIONS 8

ALWAYS_INLINE void depthwise_tile(const float *in, float *out, const cascade_span *span, size_t start, size_t positions,
                                  size_t channels, const float *weights, const float *bias, const float *slope,
                                  size_t channel) {
    vec_f32 sums[DEPTHWISE_POSITIONS];
    in += (ptrdiff_t)start * span->in_step + (ptrdiff_t)channel;
    for (size_t p = 0; p < positions; p++) {
        sums[p] = load_f32(bias + channel);
    }
    weights += channel;
    for (size_t k = 0; k < span->tap_count; k++, weights += channels) {
        const float *tap = in + span->taps[k];
        vec_f32 weight = load_f32(weights);
        for (size_t p = 0; p < positions; p++) {
            sums[p] += weight * load_f32(tap + (ptrdiff_t)p * span->in_step);
        }
    }
    vec_f32 zero = broadcast_f32(0.0f), factor = load_f32(slope + channel);
    for (size_t p = 0; p < positions; p++) {
        vec_f32 positive = maximum(sums[p], zero);
        store_f32(out + (ptrdiff_t)(start + p) * span->out_step + channel, positive + factor * (sums[p] - positive));
    }
}

static void depthwise_f32(const float *in, float *out, const cascade_span *span, size_t channels, const float *weights,
                          const float *bias, const float *slope) {
    size_t tiles = (span->vectors + DEPTHWISE_POSITIONS - 1) / DEPTHWISE_POSITIONS;
    for (size_t tile = 0, start = 0, end; tile < tiles; tile++, start = end) {
        end = span->vectors * (tile + 1) / tiles;
        for (size_t c = 0; c < channels; c += CASCADE_LANES) {
#define TILE(n)                                                                                                        \
    case n:                                                                                                            \
        depthwise_tile(in, out, span, start, n, channels, weights, bias, slope, c);                                    \
        break;
            switch (end - start) { TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6) TILE(7) TILE(8) }
#undef TILE
        }
    }
}

static void max_pool_f32(const float *in, float *out, const cascade_span *span, size_t channels,
                         ptrdiff_t in_channel_step) {
    for (size_t c = 0; c < channels; c++) {
        for (size_t v = 0; v < span->vectors; v++) {
            const float *first = in + (ptrdiff_t)c * in_channel_step + (ptrdiff_t)v * span->in_step;
            vec_f32 best = load_f32(first + span->taps[0]);
            for (size_t k = 1; k < span->tap_count; k++) {
                best = maximum(best, load_f32(first + span->taps[k]));
            }
            store_f32(out + (ptrdiff_t)c * span->out_channel_step + (ptrdiff_t)v * span->out_step, best);
        }
    }
}

#endif
