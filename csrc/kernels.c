/*
 * The inner loops. This file is compiled once per instruction level, each time with its own compiler flags and
 *   CASCADE_LEVEL  the level's name, part of the symbol it exports
 *   CASCADE_LANES  floats in a vector: 1, 4, 8 or 16
 *
 * A vector holds the same feature at neighbouring positions (columns of a level, or crops of a batch), and a weight
 * is broadcast over it. A block of output channels times a few vectors stays in registers while the taps go by,
 * so each input vector loaded and each weight broadcast is used several times, and no lane is ever wasted on
 * channel counts that do not fill a vector.
 */
#include <string.h>

#include "cascade.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#if CASCADE_LANES > 1
typedef float vector __attribute__((vector_size(CASCADE_LANES * sizeof(float))));
typedef int32_t mask __attribute__((vector_size(CASCADE_LANES * sizeof(int32_t))));
typedef uint32_t words __attribute__((vector_size(CASCADE_LANES * sizeof(uint32_t))));
#else
typedef float vector;
typedef int32_t mask;
typedef uint32_t words;
#endif

#if defined(__GNUC__) || defined(__clang__)
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#else
#define ALWAYS_INLINE static inline
#endif

/* Accumulators in a tile: half of the registers or more, so that the multiply-adds never wait for each other. NEON has
 * as many registers as AVX-512, but GCC gives each of eight weights one of its own, and sums then go to the stack. */
#if CASCADE_LANES == 16 || (CASCADE_LANES == 4 && defined(__clang__))
#define TILE_CHANNELS 8
#define TILE_VECTORS 3
#elif CASCADE_LANES > 1
#define TILE_CHANNELS 4
#define TILE_VECTORS 3
#else
#define TILE_CHANNELS 4
#define TILE_VECTORS 1
#endif

ALWAYS_INLINE vector load(const float *from) {
    vector value;
    memcpy(&value, from, sizeof value);
    return value;
}

ALWAYS_INLINE void store(float *to, vector value) { memcpy(to, &value, sizeof value); }

#if CASCADE_LANES > 1
ALWAYS_INLINE vector broadcast(float value) { return value - (vector){0}; }
ALWAYS_INLINE vector maximum(vector a, vector b) {
    mask first = a > b;
    return (vector)(((mask)a & first) | ((mask)b & ~first));
}
#else
ALWAYS_INLINE vector broadcast(float value) { return value; }
ALWAYS_INLINE vector maximum(vector a, vector b) { return a > b ? a : b; }
#endif

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

ALWAYS_INLINE words load_words(const float *from) {
    words value;
    memcpy(&value, from, sizeof value);
    return value;
}

ALWAYS_INLINE void store_words(float *to, words value) { memcpy(to, &value, sizeof value); }

#if CASCADE_LANES > 1
ALWAYS_INLINE mask broadcast_word(int32_t value) { return value - (mask){0}; }
ALWAYS_INLINE vector to_floats(mask value) { return __builtin_convertvector(value, vector); }
ALWAYS_INLINE mask cut_off(vector value) { return __builtin_convertvector(value, mask); }
#else
ALWAYS_INLINE mask broadcast_word(int32_t value) { return value; }
ALWAYS_INLINE vector to_floats(mask value) { return (float)value; }
ALWAYS_INLINE mask cut_off(vector value) { return (int32_t)value; }
#endif

/* What a layer makes of sums times factors: whole 0 .. 255. */
ALWAYS_INLINE mask byte_of(vector value) {
    return cut_off(-maximum(-maximum(value, broadcast(0.0f)), broadcast(-255.0f)));
}

/* The lanes, 0 .. 255, as bytes. */
ALWAYS_INLINE void store_bytes(float *to, mask value) {
    int32_t lanes[CASCADE_LANES];
    uint8_t bytes[CASCADE_LANES];
    memcpy(lanes, &value, sizeof lanes);
    for (size_t lane = 0; lane < CASCADE_LANES; lane++) {
        bytes[lane] = (uint8_t)lanes[lane];
    }
    memcpy(to, bytes, sizeof bytes);
}

/* sums + the products of four unsigned bytes and four signed weights. */
ALWAYS_INLINE mask add_products(mask sums, words bytes, const int8_t *weights) {
#if defined(__AVX512VNNI__)
    int32_t weight;
    memcpy(&weight, weights, sizeof weight);
    return (mask)_mm512_dpbusd_epi32((__m512i)sums, (__m512i)bytes, _mm512_set1_epi32(weight));
#elif defined(__AVX2__)
    /* as pairs of 16 bits: of the bytes 0 and 2, then of 1 and 3 */
    words even = bytes & 0xff00ff, odd = bytes >> 8 & 0xff00ff;
    int32_t first = (int32_t)((uint16_t)weights[0] | (uint32_t)(uint16_t)weights[2] << 16);
    int32_t second = (int32_t)((uint16_t)weights[1] | (uint32_t)(uint16_t)weights[3] << 16);
#if CASCADE_LANES == 16
    sums += (mask)_mm512_madd_epi16((__m512i)even, _mm512_set1_epi32(first));
    return sums + (mask)_mm512_madd_epi16((__m512i)odd, _mm512_set1_epi32(second));
#else
    sums += (mask)_mm256_madd_epi16((__m256i)even, _mm256_set1_epi32(first));
    return sums + (mask)_mm256_madd_epi16((__m256i)odd, _mm256_set1_epi32(second));
#endif
#else
    for (size_t byte = 0; byte < CASCADE_WORD; byte++) {
        sums += (mask)(bytes >> (8 * byte) & 255) * weights[byte];
    }
    return sums;
#endif
}

/* As convolve_tile, over words. The products and sums of whole numbers and the one product of floats are the same
 * everywhere, so what comes out is. */
ALWAYS_INLINE void bytes_tile(const cascade_strip *strip, size_t start, size_t channels, size_t vectors,
                              size_t weight_step, const int8_t *weights, const int32_t *bias, const float *factor,
                              int last, float *out) {
    mask sums[TILE_CHANNELS][TILE_VECTORS];
    const float *in = strip->in + (ptrdiff_t)start * strip->in_step;
    for (size_t c = 0; c < channels; c++) {
        for (size_t v = 0; v < vectors; v++) {
            sums[c][v] = broadcast_word(bias[c]);
        }
    }
    for (size_t k = 0; k < strip->tap_count; k++, weights += weight_step * CASCADE_WORD) {
        const float *tap = in + strip->taps[k];
        words inputs[TILE_VECTORS];
        for (size_t v = 0; v < vectors; v++) {
            inputs[v] = load_words(tap + (ptrdiff_t)v * strip->in_step);
        }
        for (size_t c = 0; c < channels; c++) {
            for (size_t v = 0; v < vectors; v++) {
                sums[c][v] = add_products(sums[c][v], inputs[v], weights + c * CASCADE_WORD);
            }
        }
    }
    for (size_t v = 0; v < vectors; v++) {
        float *to = out + (ptrdiff_t)(start + v) * strip->out_step;
        for (size_t c = 0; c < channels; c++) {
            vector value = to_floats(sums[c][v]) * broadcast(factor[c]);
            if (last) {
                store(to + (ptrdiff_t)c * strip->out_channel_step, value);
            } else {
                sums[c][v] = byte_of(value);
            }
        }
        for (size_t c = 0; !last && c + CASCADE_WORD <= channels; c += CASCADE_WORD) {
            words word = (words)sums[c][v];
            for (size_t byte = 1; byte < CASCADE_WORD; byte++) {
                word |= (words)sums[c + byte][v] << (8 * byte);
            }
            store_words(to + (ptrdiff_t)(c / CASCADE_WORD) * strip->out_channel_step, word);
        }
    }
}

/* All vectors of one strip for a constant number of channels. */
ALWAYS_INLINE void bytes_block(const cascade_strip *strip, size_t channels, size_t weight_step, const int8_t *weights,
                               const int32_t *bias, const float *factor, int last, float *out) {
    size_t v = 0;
#if TILE_VECTORS == 3
    for (; v + 3 <= strip->vectors && strip->vectors - v != 4; v += 3) {
        bytes_tile(strip, v, channels, 3, weight_step, weights, bias, factor, last, out);
    }
    for (; v + 2 <= strip->vectors; v += 2) {
        bytes_tile(strip, v, channels, 2, weight_step, weights, bias, factor, last, out);
    }
#endif
    for (; v < strip->vectors; v++) {
        bytes_tile(strip, v, channels, 1, weight_step, weights, bias, factor, last, out);
    }
}

static void convolve_bytes(const cascade_strip *strip, size_t channels, const void *packed, const int32_t *bias,
                           const float *factor, int last) {
    const int8_t *weights = packed;
    for (size_t done = 0, block; done < channels; done += block) {
        /* a word in and out is one feature, a float is one as well */
        float *out = strip->out + (ptrdiff_t)(last ? done : done / CASCADE_WORD) * strip->out_channel_step;
        size_t left = channels - done;
        block = left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
#define BLOCK(n, step, from, flag)                                                                                     \
    bytes_block(strip, n, step, weights + (from)*CASCADE_WORD, bias + done + (from), factor + done + (from), flag,     \
                out + (ptrdiff_t)((flag) ? (from) : (from) / CASCADE_WORD) * strip->out_channel_step)
        if (block == 8) {
#if TILE_CHANNELS == 8
            last ? BLOCK(8, 8, 0, 1) : BLOCK(8, 8, 0, 0);
#else
            last ? BLOCK(4, 8, 0, 1) : BLOCK(4, 8, 0, 0);
            last ? BLOCK(4, 8, 4, 1) : BLOCK(4, 8, 4, 0);
#endif
        } else if (block == 4) {
            last ? BLOCK(4, 4, 0, 1) : BLOCK(4, 4, 0, 0);
        } else if (block == 2) {
            BLOCK(2, 2, 0, 1);
        } else {
            BLOCK(1, 1, 0, 1);
        }
#undef BLOCK
        weights += block * strip->tap_count * CASCADE_WORD;
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

/* As add_products, with a word that all lanes share and four weights of each lane. */
ALWAYS_INLINE mask add_lane_products(mask sums, words shared, words weights) {
#if defined(__AVX512VNNI__)
    return (mask)_mm512_dpbusd_epi32((__m512i)sums, (__m512i)shared, (__m512i)weights);
#elif defined(__AVX2__) && CASCADE_LANES == 16
    __m512i even = _mm512_srai_epi16(_mm512_slli_epi16((__m512i)weights, 8), 8), odd = _mm512_srai_epi16((__m512i)weights, 8);
    sums += (mask)_mm512_madd_epi16((__m512i)(shared & 0xff00ff), even);
    return sums + (mask)_mm512_madd_epi16((__m512i)(shared >> 8 & 0xff00ff), odd);
#elif defined(__AVX2__)
    __m256i even = _mm256_srai_epi16(_mm256_slli_epi16((__m256i)weights, 8), 8), odd = _mm256_srai_epi16((__m256i)weights, 8);
    sums += (mask)_mm256_madd_epi16((__m256i)(shared & 0xff00ff), even);
    return sums + (mask)_mm256_madd_epi16((__m256i)(shared >> 8 & 0xff00ff), odd);
#else
    for (size_t byte = 0; byte < CASCADE_WORD; byte++) {
        sums += (mask)(shared >> (8 * byte) & 255) * ((mask)(weights << (24 - 8 * byte)) >> 24);
    }
    return sums;
#endif
}

ALWAYS_INLINE void few_bytes_tile(const cascade_strip *strip, size_t start, size_t positions, size_t vectors,
                                  const float *weights, const int32_t *bias, const float *factor, int last, float *out) {
    mask sums[FEW_POSITIONS][2];
    const float *in = strip->in + (ptrdiff_t)start * strip->in_step;
    for (size_t p = 0; p < positions; p++) {
        for (size_t v = 0; v < vectors; v++) {
            memcpy(&sums[p][v], bias + v * CASCADE_LANES, sizeof(mask));
        }
    }
    for (size_t k = 0; k < strip->tap_count; k++, weights += vectors * CASCADE_LANES) {
        const float *tap = in + strip->taps[k];
        words weight[2];
        for (size_t v = 0; v < vectors; v++) {
            weight[v] = load_words(weights + v * CASCADE_LANES);
        }
        for (size_t p = 0; p < positions; p++) {
            int32_t word;
            memcpy(&word, tap + (ptrdiff_t)p * strip->in_step, sizeof word);
            words shared = (words)broadcast_word(word);
            for (size_t v = 0; v < vectors; v++) {
                sums[p][v] = add_lane_products(sums[p][v], shared, weight[v]);
            }
        }
    }
    for (size_t p = 0; p < positions; p++) {
        float *to = out + (ptrdiff_t)(start + p) * strip->out_step;
        for (size_t v = 0; v < vectors; v++) {
            vector value = to_floats(sums[p][v]) * load(factor + v * CASCADE_LANES);
            if (last) {
                store(to + v * CASCADE_LANES, value);
            } else {
                store_bytes(to + v * CASCADE_LANES / CASCADE_WORD, byte_of(value));
            }
        }
    }
}

ALWAYS_INLINE void few_bytes_block(const cascade_strip *strip, size_t vectors, const float *weights, const int32_t *bias,
                                   const float *factor, int last, float *out) {
    size_t tiles = (strip->vectors + FEW_POSITIONS - 1) / FEW_POSITIONS;
    for (size_t tile = 0, start = 0, end; tile < tiles; tile++, start = end) {
        end = strip->vectors * (tile + 1) / tiles;
#define TILE(n)                                                                                                        \
    case n:                                                                                                            \
        few_bytes_tile(strip, start, n, vectors, weights, bias, factor, last, out);                                    \
        break;
        switch (end - start) { FEW_CASES(TILE) }
#undef TILE
    }
}

static void convolve_few_bytes(const cascade_strip *strip, size_t channels, const void *packed, const int32_t *bias,
                               const float *factor, int last) {
    const float *weights = packed;
    for (size_t done = 0, block; done < channels; done += block) {
        float *out = strip->out + (last ? done : done / CASCADE_WORD);
        int two = channels - done >= 2 * CASCADE_LANES;
        block = two ? 2 * CASCADE_LANES : CASCADE_LANES;
        if (last) {
            two ? few_bytes_block(strip, 2, weights, bias + done, factor + done, 1, out)
                : few_bytes_block(strip, 1, weights, bias + done, factor + done, 1, out);
        } else {
            two ? few_bytes_block(strip, 2, weights, bias + done, factor + done, 0, out)
                : few_bytes_block(strip, 1, weights, bias + done, factor + done, 0, out);
        }
        weights += block * strip->tap_count;
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

/* Sums in short runs, which the compiler vectorises and keeps in registers; the last run overlaps the one before. */
ALWAYS_INLINE void blend_run(const uint8_t *rows, size_t stride, const int16_t *weights, size_t count, uint8_t *out,
                             size_t run) {
    int32_t sums[64];
    for (size_t j = 0; j < run; j++) {
        sums[j] = 1 << (CASCADE_WEIGHT_BITS - 1);
    }
    for (size_t k = 0; k < count; k++) {
        const uint8_t *row = rows + k * stride;
        int32_t weight = weights[k];
        for (size_t j = 0; j < run; j++) {
            sums[j] += weight * row[j];
        }
    }
    for (size_t j = 0; j < run; j++) {
        out[j] = (uint8_t)(sums[j] >> CASCADE_WEIGHT_BITS);
    }
}

#if defined(__AVX2__)
#if CASCADE_LANES == 16
typedef __m512i shorts;
#define JOIN_SHORTS(name) _mm512_##name
ALWAYS_INLINE shorts load_shorts(const uint8_t *from) { return _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)from)); }
ALWAYS_INLINE void store_shorts(uint8_t *to, shorts value) { _mm256_storeu_si256((__m256i *)to, _mm512_cvtepi16_epi8(value)); }
#else
typedef __m256i shorts;
#define JOIN_SHORTS(name) _mm256_##name
ALWAYS_INLINE shorts load_shorts(const uint8_t *from) { return _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)from)); }
ALWAYS_INLINE void store_shorts(uint8_t *to, shorts value) {
    __m256i bytes = _mm256_permute4x64_epi64(_mm256_packus_epi16(value, value), 0x08);
    _mm_storeu_si128((__m128i *)to, _mm256_castsi256_si128(bytes));
}
#endif
enum { SHORTS = 2 * CASCADE_LANES };

/* A vector of sums, two rows at a time. */
ALWAYS_INLINE void blend_shorts(const uint8_t *rows, size_t stride, const int16_t *weights, size_t count, uint8_t *out) {
    shorts low = JOIN_SHORTS(set1_epi32)(1 << (CASCADE_WEIGHT_BITS - 1)), high = low;
    for (size_t k = 0; k < count; k += 2, rows += 2 * stride) {
        int both = k + 1 < count;
        shorts a = load_shorts(rows), b = load_shorts(both ? rows + stride : rows);
        uint32_t second = both ? (uint16_t)weights[k + 1] : 0;
        shorts weight = JOIN_SHORTS(set1_epi32)((int32_t)((uint16_t)weights[k] | second << 16));
        low = JOIN_SHORTS(add_epi32)(low, JOIN_SHORTS(madd_epi16)(JOIN_SHORTS(unpacklo_epi16)(a, b), weight));
        high = JOIN_SHORTS(add_epi32)(high, JOIN_SHORTS(madd_epi16)(JOIN_SHORTS(unpackhi_epi16)(a, b), weight));
    }
    low = JOIN_SHORTS(srai_epi32)(low, CASCADE_WEIGHT_BITS);
    high = JOIN_SHORTS(srai_epi32)(high, CASCADE_WEIGHT_BITS);
    store_shorts(out, JOIN_SHORTS(packs_epi32)(low, high));
}
#endif

static void blend_rows(const uint8_t *rows, size_t stride, const int16_t *weights, size_t count, uint8_t *out,
                       size_t n) {
    enum { RUN = 64, SHORT = 16 };
#if defined(__AVX2__)
    for (size_t i = 0; n >= SHORTS && i < n; i += SHORTS) {
        size_t at = i + SHORTS <= n ? i : n - SHORTS; /* the last vector overlaps the one before */
        blend_shorts(rows + at, stride, weights, count, out + at);
    }
    if (n >= SHORTS) {
        return;
    }
#endif
    if (n < SHORT) {
        for (size_t i = 0; i < n; i++) {
            blend_run(rows + i, stride, weights, count, out + i, 1);
        }
    } else if (n < RUN) {
        for (size_t i = 0; i < n; i += SHORT) {
            size_t at = i + SHORT <= n ? i : n - SHORT;
            blend_run(rows + at, stride, weights, count, out + at, SHORT);
        }
    } else {
        for (size_t i = 0; i < n; i += RUN) {
            size_t at = i + RUN <= n ? i : n - RUN;
            blend_run(rows + at, stride, weights, count, out + at, RUN);
        }
    }
}

/* One pixel, its taps and their weights. */
static void blend_pixel(const uint8_t *pixel, const int16_t *weights, size_t taps, uint8_t *out) {
    int32_t sums[CASCADE_CHANNELS] = {0}, any = 0;
    for (size_t k = 0; k < taps; k++, pixel += CASCADE_CHANNELS) {
        int32_t weight = weights[k];
        any |= weight;
        for (size_t c = 0; c < CASCADE_CHANNELS; c++) {
            sums[c] += weight * pixel[c];
        }
    }
    for (size_t c = 0; c < CASCADE_CHANNELS; c++) {
        int32_t rounded = (sums[c] + (1 << (CASCADE_WEIGHT_BITS - 1))) >> CASCADE_WEIGHT_BITS;
        out[c] = any ? (uint8_t)rounded : CASCADE_OUTSIDE;
    }
}

#if defined(__AVX2__)
/* Sixteen bytes of each of two pixels' taps from `group` on, and its four weights, twice. */
ALWAYS_INLINE __m256i two_taps(const uint8_t *first, const uint8_t *second) {
    __m128i low = _mm_loadu_si128((const __m128i *)first), high = _mm_loadu_si128((const __m128i *)second);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

ALWAYS_INLINE __m256i two_weights(const int16_t *first, const int16_t *second) {
    __m128i low = _mm_set1_epi64x(0), high = low;
    memcpy(&low, first, CASCADE_TAPS * sizeof *first);
    memcpy(&high, second, CASCADE_TAPS * sizeof *second);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_unpacklo_epi64(low, low)), _mm_unpacklo_epi64(high, high), 1);
}

/* Two pixels, four taps at a time: a half of a vector has the products of red and green, then of blue, in pairs of taps.
 * Four bytes are written for each. */
ALWAYS_INLINE void blend_two(const uint8_t *row, const int32_t *first, const int16_t *weights, size_t step, size_t taps,
                             uint8_t *out) {
    const __m256i red_green = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, -1, 3, -1, 6, -1, 9, -1, 1, -1, 4, -1, 7, -1, 10, -1));
    const __m256i blue = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(2, -1, 5, -1, 8, -1, 11, -1, -1, -1, -1, -1, -1, -1, -1, -1));
    const uint8_t *a = row + (ptrdiff_t)first[0] * CASCADE_CHANNELS, *b = row + (ptrdiff_t)first[1] * CASCADE_CHANNELS;
    __m256i sums[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()}, any = _mm256_setzero_si256();
    for (size_t k = 0; k < taps; k += CASCADE_TAPS) {
        __m256i bytes = two_taps(a + k * CASCADE_CHANNELS, b + k * CASCADE_CHANNELS);
        __m256i weight = two_weights(weights + k, weights + step + k);
        sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(_mm256_shuffle_epi8(bytes, red_green), weight));
        sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(_mm256_shuffle_epi8(bytes, blue), weight));
        any = _mm256_or_si256(any, weight);
    }
    /* the pairs of red, green, blue and nothing, added */
    __m256 x = _mm256_castsi256_ps(sums[0]), y = _mm256_castsi256_ps(sums[1]);
    __m256i even = _mm256_castps_si256(_mm256_shuffle_ps(x, y, 0x88)), odd = _mm256_castps_si256(_mm256_shuffle_ps(x, y, 0xdd));
    __m256i half = _mm256_set1_epi32(1 << (CASCADE_WEIGHT_BITS - 1));
    __m256i found = _mm256_srai_epi32(_mm256_add_epi32(_mm256_add_epi32(even, odd), half), CASCADE_WEIGHT_BITS);
    __m256i none = _mm256_cmpeq_epi32(_mm256_or_si256(any, _mm256_shuffle_epi32(any, 0xb1)), _mm256_setzero_si256());
    found = _mm256_blendv_epi8(found, _mm256_set1_epi32(CASCADE_OUTSIDE), none);
    found = _mm256_packus_epi16(_mm256_packs_epi32(found, found), found);
    uint32_t written[2] = {(uint32_t)_mm256_extract_epi32(found, 0), (uint32_t)_mm256_extract_epi32(found, 4)};
    memcpy(out, written, sizeof *written);
    memcpy(out + CASCADE_CHANNELS, written + 1, sizeof *written);
}

static void blend_columns(const uint8_t *row, const int32_t *first, const int16_t *weights, size_t step, size_t taps,
                          uint8_t *out, size_t n) {
    size_t i = 0;
    for (; i + 3 <= n; i += 2) { /* a byte is written beyond the second */
        blend_two(row, first + i, weights + i * step, step, taps, out + i * CASCADE_CHANNELS);
    }
    for (; i < n; i++) {
        blend_pixel(row + (ptrdiff_t)first[i] * CASCADE_CHANNELS, weights + i * step, taps, out + i * CASCADE_CHANNELS);
    }
}
#else
#if CASCADE_LANES > 1
/* Bits by which a colour is shifted in a word of four bytes. */
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
enum { RED = 24, GREEN = 16, BLUE = 8 };
#else
enum { RED = 0, GREEN = 8, BLUE = 16 };
#endif

/* A vector of pixels from pixel i on: each is read as a word, three colours and a byte of the next pixel. The words
 * written overlap as well, so the last of a row is written by byte. */
ALWAYS_INLINE void blend_vector(const uint8_t *row, const int32_t *first, const int16_t *weights, size_t step, size_t taps,
                                size_t i, uint8_t *out) {
    mask half = (mask){0} + (1 << (CASCADE_WEIGHT_BITS - 1)), red = half, green = half, blue = half, any = {0};
    for (size_t k = 0; k < taps; k++, row += CASCADE_CHANNELS) {
        uint32_t read[CASCADE_LANES];
        int32_t factors[CASCADE_LANES];
        for (size_t lane = 0; lane < CASCADE_LANES; lane++) {
            factors[lane] = weights[(i + lane) * step + k];
            memcpy(read + lane, row + (ptrdiff_t)first[i + lane] * CASCADE_CHANNELS, sizeof *read);
        }
        mask pixel, weight;
        memcpy(&pixel, read, sizeof pixel);
        memcpy(&weight, factors, sizeof weight);
        red += weight * (pixel >> RED & 255);
        green += weight * (pixel >> GREEN & 255);
        blue += weight * (pixel >> BLUE & 255);
        any |= weight;
    }
    mask outside = any == 0, grey = (mask){0} + (CASCADE_OUTSIDE << RED | CASCADE_OUTSIDE << GREEN | CASCADE_OUTSIDE << BLUE);
    mask sums = red >> CASCADE_WEIGHT_BITS << RED | green >> CASCADE_WEIGHT_BITS << GREEN | blue >> CASCADE_WEIGHT_BITS << BLUE;
    uint32_t written[CASCADE_LANES];
    sums = (sums & ~outside) | (grey & outside);
    memcpy(written, &sums, sizeof written);
    out += i * CASCADE_CHANNELS;
    for (size_t lane = 0; lane + 1 < CASCADE_LANES; lane++, out += CASCADE_CHANNELS) {
        memcpy(out, written + lane, sizeof *written);
    }
    memcpy(out, written + CASCADE_LANES - 1, CASCADE_CHANNELS);
}
#endif

static void blend_columns(const uint8_t *row, const int32_t *first, const int16_t *weights, size_t step, size_t taps,
                          uint8_t *out, size_t n) {
    size_t i = 0;
#if CASCADE_LANES > 1
    for (; i + CASCADE_LANES <= n; i += CASCADE_LANES) {
        blend_vector(row, first, weights, step, taps, i, out);
    }
#endif
    for (; i < n; i++) {
        blend_pixel(row + (ptrdiff_t)first[i] * CASCADE_CHANNELS, weights + i * step, taps, out + i * CASCADE_CHANNELS);
    }
}
#endif

/* Words of four bytes are brought together by lane first, and taken apart as vectors then. */
static void interleave(const uint8_t *crops, size_t count, size_t values, float *out) {
    enum { RUN = 16, BYTES = 4 };
    size_t done = 0;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    for (; done + RUN * BYTES <= values; done += RUN * BYTES) {
        uint32_t words[RUN][CASCADE_LANES];
        for (size_t lane = 0; lane < CASCADE_LANES; lane++) {
            const uint8_t *crop = crops + (lane < count ? lane : count - 1) * values + done;
            for (size_t w = 0; w < RUN; w++) {
                memcpy(&words[w][lane], crop + w * BYTES, BYTES);
            }
        }
        float *to = out + done * CASCADE_LANES;
        for (size_t w = 0; w < RUN; w++) {
            for (size_t byte = 0; byte < BYTES; byte++, to += CASCADE_LANES) {
                for (size_t lane = 0; lane < CASCADE_LANES; lane++) {
                    to[lane] = CASCADE_NORMALISE((int32_t)(words[w][lane] >> (8 * byte) & 255));
                }
            }
        }
    }
#endif
    for (size_t lane = 0; lane < CASCADE_LANES; lane++) {
        const uint8_t *crop = crops + (lane < count ? lane : count - 1) * values;
        for (size_t i = done; i < values; i++) {
            out[i * CASCADE_LANES + lane] = CASCADE_NORMALISE(crop[i]);
        }
    }
}

/* Words of four bytes are taken apart first, which compilers know how to do, and each word into its bytes then. */
static void split(const uint8_t *row, size_t n, float *planes, size_t pitch) {
    enum { RUN = 16, WORDS = CASCADE_SPLIT / 4 };
    size_t x = 0;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    for (; x + RUN <= n; x += RUN) {
        uint32_t words[RUN * WORDS], apart[WORDS][RUN];
        memcpy(words, row + x * CASCADE_SPLIT, sizeof words);
        for (size_t i = 0; i < RUN; i++) {
            for (size_t w = 0; w < WORDS; w++) {
                apart[w][i] = words[i * WORDS + w];
            }
        }
        for (size_t w = 0; w < WORDS; w++) {
            for (size_t byte = 0; byte < 4; byte++) {
                float *plane = planes + (4 * w + byte) * pitch + x;
                for (size_t i = 0; i < RUN; i++) {
                    plane[i] = CASCADE_NORMALISE((int32_t)((apart[w][i] >> (8 * byte)) & 255));
                }
            }
        }
    }
#endif
    for (; x < n; x++) {
        for (size_t p = 0; p < CASCADE_SPLIT; p++) {
            planes[p * pitch + x] = CASCADE_NORMALISE(row[x * CASCADE_SPLIT + p]);
        }
    }
}

/* Pixels are read as words, three colours and a byte of the next pixel; the last of a crop by byte. */
static void interleave_words(const uint8_t *crops, size_t count, size_t pixels, float *out) {
    size_t p = 0;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    for (; p + 1 < pixels; p++, out += CASCADE_LANES) {
        uint32_t words[CASCADE_LANES];
        for (size_t lane = 0; lane < CASCADE_LANES; lane++) {
            const uint8_t *crop = crops + (lane < count ? lane : count - 1) * pixels * CASCADE_CHANNELS;
            memcpy(words + lane, crop + p * CASCADE_CHANNELS, sizeof *words);
        }
        for (size_t lane = 0; lane < CASCADE_LANES; lane++) {
            words[lane] &= 0xffffff;
        }
        memcpy(out, words, sizeof words);
    }
#endif
    for (; p < pixels; p++, out += CASCADE_LANES) {
        for (size_t lane = 0; lane < CASCADE_LANES; lane++) {
            const uint8_t *crop = crops + (lane < count ? lane : count - 1) * pixels * CASCADE_CHANNELS;
            uint32_t word = cascade_pixel_word(crop + p * CASCADE_CHANNELS);
            memcpy(out + lane, &word, sizeof word);
        }
    }
}

/* As split: three words are four pixels. */
static void split_words(const uint8_t *row, size_t n, float *planes, size_t pitch) {
    enum { RUN = 16, WORDS = CASCADE_SPLIT / 4, PIXELS = CASCADE_SPLIT / CASCADE_CHANNELS };
    size_t x = 0;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    for (; x + RUN <= n; x += RUN) {
        uint32_t words[RUN * WORDS], apart[PIXELS][RUN];
        memcpy(words, row + x * CASCADE_SPLIT, sizeof words);
        for (size_t i = 0; i < RUN; i++) {
            uint32_t a = words[i * WORDS], b = words[i * WORDS + 1], c = words[i * WORDS + 2];
            apart[0][i] = a & 0xffffff;
            apart[1][i] = a >> 24 | (b & 0xffff) << 8;
            apart[2][i] = b >> 16 | (c & 0xff) << 16;
            apart[3][i] = c >> 8;
        }
        for (size_t p = 0; p < PIXELS; p++) {
            memcpy(planes + p * pitch + x, apart[p], sizeof apart[p]);
        }
    }
#endif
    for (; x < n; x++) {
        for (size_t p = 0; p < PIXELS; p++) {
            uint32_t word = cascade_pixel_word(row + x * CASCADE_SPLIT + p * CASCADE_CHANNELS);
            memcpy(planes + p * pitch + x, &word, sizeof word);
        }
    }
}

/* alive[j] = 0 for every box j whose overlap with `best` is above the threshold; boxes are five arrays of n floats. */
static void suppress(const float best[5], const float *boxes, size_t n, size_t first, float threshold, int of_smaller,
                     float *restrict alive) {
    const float *x1 = boxes, *y1 = boxes + n, *x2 = boxes + 2 * n, *y2 = boxes + 3 * n, *area = boxes + 4 * n;
    for (size_t j = first; j < n; j++) {
        float left = best[0] > x1[j] ? best[0] : x1[j], right = best[2] < x2[j] ? best[2] : x2[j];
        float top = best[1] > y1[j] ? best[1] : y1[j], bottom = best[3] < y2[j] ? best[3] : y2[j];
        float width = right - left, height = bottom - top;
        width = width > 0.0f ? width : 0.0f;
        height = height > 0.0f ? height : 0.0f;
        float shared = width * height, smaller = best[4] < area[j] ? best[4] : area[j];
        float whole = of_smaller ? smaller : best[4] + area[j] - shared;
        alive[j] = shared > threshold * whole ? 0.0f : alive[j];
    }
}

#define JOIN2(a, b) a##b
#define JOIN(a, b) JOIN2(a, b)
#define TEXT2(a) #a
#define TEXT(a) TEXT2(a)

const cascade_kernels JOIN(cascade_kernels_, CASCADE_LEVEL) = {
    TEXT(CASCADE_LEVEL), CASCADE_LANES, convolve,   convolve_few, convolve_bytes,   convolve_few_bytes, depthwise, pool,
    blend_rows,          blend_columns, interleave, split,        interleave_words, split_words,        suppress,
};
