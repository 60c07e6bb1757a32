/* Convolutions of words of four bytes, in whole numbers. */
#ifndef CASCADE_KERNELS_BYTES_H
#define CASCADE_KERNELS_BYTES_H

#include "kernels/convolve.h"

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

#endif
