/*
 * Convolutions of floats, filters per channel and pooling.
 *
 * A vector holds the same feature at neighbouring positions (columns of a level, or crops of a batch), and a weight
 * is broadcast over it. A block of output channels times a few vectors stays in registers while the taps go by,
 * so each input vector loaded and each weight broadcast is used several times, and no lane is ever wasted on
 * channel counts that do not fill a vector.
 */
#ifndef CASCADE_KERNELS_CONVOLVE_H
#define CASCADE_KERNELS_CONVOLVE_H

#include "kernels/vector.h"

/* `channels` output channels of `vectors` vectors; the weights of a tap are `weight_step` floats apart. Inlined
 * with constant channels and vectors, so that the sums live in registers. */
ALWAYS_INLINE void convolve_tile(const cascade_strip *strip, size_t start, size_t channels, size_t vectors,
                                 size_t weight_step, const float *weights, const float *bias, const float *slope,
                                 float *out) {
    vector sums[TILE_CHANNELS][TILE_VECTORS];
    const float *in = strip->in + (ptrdiff_t)start * strip->in_step;
    for (size_t c = 0; c < channels; c++) {
        for (size_t v = 0; v < vectors; v++) {
            sums[c][v] = broadcast(bias[c]);
        }
    }
    for (size_t k = 0; k < strip->tap_count; k++, weights += weight_step) {
        const float *tap = in + strip->taps[k];
        vector inputs[TILE_VECTORS];
        for (size_t v = 0; v < vectors; v++) {
            inputs[v] = load(tap + (ptrdiff_t)v * strip->in_step);
        }
        for (size_t c = 0; c < channels; c++) {
            vector weight = broadcast(weights[c]);
            for (size_t v = 0; v < vectors; v++) {
                sums[c][v] += weight * inputs[v];
            }
        }
    }
    vector zero = broadcast(0.0f);
    for (size_t c = 0; c < channels; c++) {
        vector factor = broadcast(slope[c]);
        for (size_t v = 0; v < vectors; v++) {
            vector positive = maximum(sums[c][v], zero);
            store(out + (ptrdiff_t)c * strip->out_channel_step + (ptrdiff_t)(start + v) * strip->out_step,
                  positive + factor * (sums[c][v] - positive));
        }
    }
}

/* All vectors of one strip for a constant number of channels. */
ALWAYS_INLINE void convolve_block(const cascade_strip *strip, size_t channels, size_t weight_step,
                                  const float *weights, const float *bias, const float *slope, float *out) {
    size_t v = 0;
#if TILE_VECTORS == 3
    for (; v + 3 <= strip->vectors && strip->vectors - v != 4; v += 3) {
        convolve_tile(strip, v, channels, 3, weight_step, weights, bias, slope, out);
    }
    for (; v + 2 <= strip->vectors; v += 2) {
        convolve_tile(strip, v, channels, 2, weight_step, weights, bias, slope, out);
    }
#endif
    for (; v < strip->vectors; v++) {
        convolve_tile(strip, v, channels, 1, weight_step, weights, bias, slope, out);
    }
}

static void convolve(const cascade_strip *strip, size_t channels, const float *weights, const float *bias,
                     const float *slope) {
    float *out = strip->out;
    for (size_t done = 0; done < channels;) {
        size_t block = channels - done >= 8 ? 8 : channels - done >= 4 ? 4 : channels - done >= 2 ? 2 : 1;
        if (block == 8) {
#if TILE_CHANNELS == 8
            convolve_block(strip, 8, 8, weights, bias, slope, out);
#else
            convolve_block(strip, 4, 8, weights, bias, slope, out);
            convolve_block(strip, 4, 8, weights + 4, bias + 4, slope + 4, out + 4 * strip->out_channel_step);
#endif
        } else if (block == 4) {
            convolve_block(strip, 4, 4, weights, bias, slope, out);
        } else if (block == 2) {
            convolve_block(strip, 2, 2, weights, bias, slope, out);
        } else {
            convolve_block(strip, 1, 1, weights, bias, slope, out);
        }
        done += block;
        weights += block * strip->tap_count;
        bias += block;
        slope += block;
        out += (ptrdiff_t)block * strip->out_channel_step;
    }
}

/* Positions in a tile of `convolve_few`, with two vectors of channels each. */
#if CASCADE_LANES == 16
#define FEW_POSITIONS 12
#elif CASCADE_LANES == 8
#define FEW_POSITIONS 6
#else
#define FEW_POSITIONS 8
#endif
/* TILE for every number of positions that a tile may have. */
#if FEW_POSITIONS == 6
#define FEW_CASES(TILE) TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6)
#elif FEW_POSITIONS == 8
#define FEW_CASES(TILE) TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6) TILE(7) TILE(8)
#else
#define FEW_CASES(TILE)                                                                                                \
    TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6) TILE(7) TILE(8) TILE(9) TILE(10) TILE(11) TILE(12)
#endif

ALWAYS_INLINE void few_tile(const cascade_strip *strip, size_t start, size_t positions, size_t vectors,
                            const float *weights, const float *bias, const float *slope, float *out) {
    vector sums[FEW_POSITIONS][2];
    const float *in = strip->in + (ptrdiff_t)start * strip->in_step;
    for (size_t p = 0; p < positions; p++) {
        for (size_t v = 0; v < vectors; v++) {
            sums[p][v] = load(bias + v * CASCADE_LANES);
        }
    }
    for (size_t k = 0; k < strip->tap_count; k++, weights += vectors * CASCADE_LANES) {
        const float *tap = in + strip->taps[k];
        vector weight[2];
        for (size_t v = 0; v < vectors; v++) {
            weight[v] = load(weights + v * CASCADE_LANES);
        }
        for (size_t p = 0; p < positions; p++) {
            vector input = broadcast(tap[(ptrdiff_t)p * strip->in_step]);
            for (size_t v = 0; v < vectors; v++) {
                sums[p][v] += weight[v] * input;
            }
        }
    }
    vector zero = broadcast(0.0f);
    for (size_t p = 0; p < positions; p++) {
        for (size_t v = 0; v < vectors; v++) {
            vector positive = maximum(sums[p][v], zero), factor = load(slope + v * CASCADE_LANES);
            store(out + (ptrdiff_t)(start + p) * strip->out_step + (ptrdiff_t)(v * CASCADE_LANES),
                  positive + factor * (sums[p][v] - positive));
        }
    }
}

/* All positions of a strip for one or two vectors of channels, in tiles that are as equal as can be. */
ALWAYS_INLINE void few_block(const cascade_strip *strip, size_t vectors, const float *weights, const float *bias,
                             const float *slope, float *out) {
    size_t tiles = (strip->vectors + FEW_POSITIONS - 1) / FEW_POSITIONS;
    for (size_t tile = 0, start = 0, end; tile < tiles; tile++, start = end) {
        end = strip->vectors * (tile + 1) / tiles;
#define TILE(n)                                                                                                        \
    case n:                                                                                                            \
        few_tile(strip, start, n, vectors, weights, bias, slope, out);                                                 \
        break;
        switch (end - start) { FEW_CASES(TILE) }
#undef TILE
    }
}

static void convolve_few(const cascade_strip *strip, size_t channels, const float *weights, const float *bias,
                         const float *slope) {
    size_t done = 0;
    for (; done + 2 * CASCADE_LANES <= channels; done += 2 * CASCADE_LANES) {
        few_block(strip, 2, weights, bias + done, slope + done, strip->out + done);
        weights += 2 * CASCADE_LANES * strip->tap_count;
    }
    if (done < channels) {
        few_block(strip, 1, weights, bias + done, slope + done, strip->out + done);
    }
}

/* Positions in a tile of `depthwise`. */
#define DEPTHWISE_POSITIONS 8

ALWAYS_INLINE void depthwise_tile(const cascade_strip *strip, size_t start, size_t positions, size_t channels,
                                  const float *weights, const float *bias, const float *slope, size_t channel) {
    vector sums[DEPTHWISE_POSITIONS];
    const float *in = strip->in + (ptrdiff_t)start * strip->in_step + channel;
    for (size_t p = 0; p < positions; p++) {
        sums[p] = load(bias + channel);
    }
    weights += channel;
    for (size_t k = 0; k < strip->tap_count; k++, weights += channels) {
        const float *tap = in + strip->taps[k];
        vector weight = load(weights);
        for (size_t p = 0; p < positions; p++) {
            sums[p] += weight * load(tap + (ptrdiff_t)p * strip->in_step);
        }
    }
    vector zero = broadcast(0.0f), factor = load(slope + channel);
    for (size_t p = 0; p < positions; p++) {
        vector positive = maximum(sums[p], zero);
        store(strip->out + (ptrdiff_t)(start + p) * strip->out_step + channel, positive + factor * (sums[p] - positive));
    }
}

static void depthwise(const cascade_strip *strip, size_t channels, const float *weights, const float *bias,
                      const float *slope) {
    size_t tiles = (strip->vectors + DEPTHWISE_POSITIONS - 1) / DEPTHWISE_POSITIONS;
    for (size_t tile = 0, start = 0, end; tile < tiles; tile++, start = end) {
        end = strip->vectors * (tile + 1) / tiles;
        for (size_t c = 0; c < channels; c += CASCADE_LANES) {
#define TILE(n)                                                                                                        \
    case n:                                                                                                            \
        depthwise_tile(strip, start, n, channels, weights, bias, slope, c);                                            \
        break;
            switch (end - start) { TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6) TILE(7) TILE(8) }
#undef TILE
        }
    }
}

static void pool(const cascade_strip *strip, size_t channels, ptrdiff_t in_channel_step) {
    for (size_t c = 0; c < channels; c++) {
        for (size_t v = 0; v < strip->vectors; v++) {
            const float *in = strip->in + (ptrdiff_t)c * in_channel_step + (ptrdiff_t)v * strip->in_step;
            vector best = load(in + strip->taps[0]);
            for (size_t k = 1; k < strip->tap_count; k++) {
                best = maximum(best, load(in + strip->taps[k]));
            }
            store(strip->out + (ptrdiff_t)c * strip->out_channel_step + (ptrdiff_t)v * strip->out_step, best);
        }
    }
}

#endif
