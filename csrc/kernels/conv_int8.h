/*
 * Convolutions of packed int8x4: unsigned activations, signed weights, sums of 32 bits.
 *
 * Integer sums are exact and each output is one product of floats, so all levels give the same outputs.
 */
#ifndef CASCADE_KERNELS_CONV_INT8_H
#define CASCADE_KERNELS_CONV_INT8_H

#include "vector.h"

ALWAYS_INLINE vec_u32 load_int8x4(const void *from) {
    vec_u32 value;
    memcpy(&value, from, sizeof value);
    return value;
}

ALWAYS_INLINE void store_int8x4(cascade_element *to, vec_u32 value) { memcpy(to, &value, sizeof value); }

/* Requantizes: truncates to 0 .. 255. */
ALWAYS_INLINE vec_i32 requantize(vec_f32 value) {
    return truncate_f32(-maximum(-maximum(value, broadcast_f32(0.0f)), broadcast_f32(-255.0f)));
}

/* sums + the products of four activations per lane and four weights that all lanes share. */
ALWAYS_INLINE vec_i32 dot_shared_weights(vec_i32 sums, vec_u32 activations, const int8_t *weights) {
#if defined(__AVX512VNNI__)
    int32_t weight;
    memcpy(&weight, weights, sizeof weight);
    return (vec_i32)_mm512_dpbusd_epi32((__m512i)sums, (__m512i)activations, _mm512_set1_epi32(weight));
#elif defined(__AVX2__)
    /* as pairs of 16 bits: channels 0 and 2, then 1 and 3 */
    vec_u32 even = activations & 0xff00ff, odd = activations >> 8 & 0xff00ff;
    int32_t first = (int32_t)((uint16_t)weights[0] | (uint32_t)(uint16_t)weights[2] << 16);
    int32_t second = (int32_t)((uint16_t)weights[1] | (uint32_t)(uint16_t)weights[3] << 16);
#if CASCADE_LANES == 16
    sums += (vec_i32)_mm512_madd_epi16((__m512i)even, _mm512_set1_epi32(first));
    return sums + (vec_i32)_mm512_madd_epi16((__m512i)odd, _mm512_set1_epi32(second));
#else
    sums += (vec_i32)_mm256_madd_epi16((__m256i)even, _mm256_set1_epi32(first));
    return sums + (vec_i32)_mm256_madd_epi16((__m256i)odd, _mm256_set1_epi32(second));
#endif
#else
    for (size_t channel = 0; channel < CASCADE_PACKED; channel++) {
        sums += (vec_i32)(activations >> (8 * channel) & 255) * weights[channel];
    }
    return sums;
#endif
}

/* As conv_f32_tile, over int8x4. */
ALWAYS_INLINE void conv_int8_tile(const cascade_int8x4 *in, cascade_element *out, const cascade_span *span,
                                  size_t start, size_t channels, size_t vectors, size_t weight_step,
                                  const int8_t *weights, const int32_t *bias, const float *factor, int dequantize) {
    vec_i32 sums[TILE_CHANNELS][TILE_VECTORS];
    in += (ptrdiff_t)start * span->in_step;
    for (size_t c = 0; c < channels; c++) {
        for (size_t v = 0; v < vectors; v++) {
            sums[c][v] = broadcast_i32(bias[c]);
        }
    }
    for (size_t k = 0; k < span->tap_count; k++, weights += weight_step * CASCADE_PACKED) {
        const cascade_int8x4 *tap = in + span->taps[k];
        vec_u32 inputs[TILE_VECTORS];
        for (size_t v = 0; v < vectors; v++) {
            inputs[v] = load_int8x4(tap + (ptrdiff_t)v * span->in_step);
        }
        for (size_t c = 0; c < channels; c++) {
            for (size_t v = 0; v < vectors; v++) {
                sums[c][v] = dot_shared_weights(sums[c][v], inputs[v], weights + c * CASCADE_PACKED);
            }
        }
    }
    for (size_t v = 0; v < vectors; v++) {
        cascade_element *to = out + (ptrdiff_t)(start + v) * span->out_step;
        for (size_t c = 0; c < channels; c++) {
            vec_f32 value = to_f32(sums[c][v]) * broadcast_f32(factor[c]);
            if (dequantize) {
                store_f32(&to[(ptrdiff_t)c * span->out_channel_step].f32, value);
            } else {
                sums[c][v] = requantize(value);
            }
        }
        for (size_t c = 0; !dequantize && c + CASCADE_PACKED <= channels; c += CASCADE_PACKED) {
            vec_u32 packed = (vec_u32)sums[c][v];
            for (size_t channel = 1; channel < CASCADE_PACKED; channel++) {
                packed |= (vec_u32)sums[c + channel][v] << (8 * channel);
            }
            store_int8x4(to + (ptrdiff_t)(c / CASCADE_PACKED) * span->out_channel_step, packed);
        }
    }
}

/* All vectors of a span for a constant number of channels. */
ALWAYS_INLINE void conv_int8_block(const cascade_int8x4 *in, cascade_element *out, const cascade_span *span,
                                   size_t channels, size_t weight_step, const int8_t *weights, const int32_t *bias,
                                   const float *factor, int dequantize) {
    size_t v = 0;
#if TILE_VECTORS == 3
    for (; v + 3 <= span->vectors && span->vectors - v != 4; v += 3) {
        conv_int8_tile(in, out, span, v, channels, 3, weight_step, weights, bias, factor, dequantize);
    }
    for (; v + 2 <= span->vectors; v += 2) {
        conv_int8_tile(in, out, span, v, channels, 2, weight_step, weights, bias, factor, dequantize);
    }
#endif
    for (; v < span->vectors; v++) {
        conv_int8_tile(in, out, span, v, channels, 1, weight_step, weights, bias, factor, dequantize);
    }
}

static void conv_int8(const cascade_int8x4 *in, cascade_element *out, const cascade_span *span, size_t channels,
                      const int8_t *weights, const int32_t *bias, const float *factor, int dequantize) {
    for (size_t done = 0, block; done < channels; done += block) {
        /* channels of the output per element */
        size_t per_element = dequantize ? 1 : CASCADE_PACKED;
        cascade_element *to = out + (ptrdiff_t)(done / per_element) * span->out_channel_step;
        block = cascade_next_block(channels - done);
#define BLOCK(n, step, from, flag)                                                                                     \
    conv_int8_block(in, to + (ptrdiff_t)((flag) ? (from) : (from) / CASCADE_PACKED) * span->out_channel_step, span, n, \
                    step, weights + (from)*CASCADE_PACKED, bias + done + (from), factor + done + (from), flag)
        if (block == 8) {
#if TILE_CHANNELS == 8
            dequantize ? BLOCK(8, 8, 0, 1) : BLOCK(8, 8, 0, 0);
#else
            dequantize ? BLOCK(4, 8, 0, 1) : BLOCK(4, 8, 0, 0);
            dequantize ? BLOCK(4, 8, 4, 1) : BLOCK(4, 8, 4, 0);
#endif
        } else if (block == 4) {
            dequantize ? BLOCK(4, 4, 0, 1) : BLOCK(4, 4, 0, 0);
        } else if (block == 2) {
            BLOCK(2, 2, 0, 1);
        } else {
            BLOCK(1, 1, 0, 1);
        }
#undef BLOCK
        weights += block * span->tap_count * CASCADE_PACKED;
    }
}

/* ---- lanes of output channels ---------------------------------------------------------------------------- */

/* sums + the products of four activations that all lanes share and four weights per lane. */
ALWAYS_INLINE vec_i32 dot_shared_activations(vec_i32 sums, vec_u32 activations, vec_u32 weights) {
#if defined(__AVX512VNNI__)
    return (vec_i32)_mm512_dpbusd_epi32((__m512i)sums, (__m512i)activations, (__m512i)weights);
#elif defined(__AVX2__) && CASCADE_LANES == 16
    __m512i even = _mm512_srai_epi16(_mm512_slli_epi16((__m512i)weights, 8), 8),
            odd = _mm512_srai_epi16((__m512i)weights, 8);
    sums += (vec_i32)_mm512_madd_epi16((__m512i)(activations & 0xff00ff), even);
    return sums + (vec_i32)_mm512_madd_epi16((__m512i)(activations >> 8 & 0xff00ff), odd);
#elif defined(__AVX2__)
    __m256i even = _mm256_srai_epi16(_mm256_slli_epi16((__m256i)weights, 8), 8),
            odd = _mm256_srai_epi16((__m256i)weights, 8);
    sums += (vec_i32)_mm256_madd_epi16((__m256i)(activations & 0xff00ff), even);
    return sums + (vec_i32)_mm256_madd_epi16((__m256i)(activations >> 8 & 0xff00ff), odd);
#else
    for (size_t channel = 0; channel < CASCADE_PACKED; channel++) {
        sums += (vec_i32)(activations >> (8 * channel) & 255) * ((vec_i32)(weights << (24 - 8 * channel)) >> 24);
    }
    return sums;
#endif
}

/* Packs the lanes, 0 .. 255, into CASCADE_LANES bytes. */
ALWAYS_INLINE void store_lanes(cascade_element *to, vec_i32 value) {
    int32_t lanes[CASCADE_LANES];
    uint8_t bytes[CASCADE_LANES];
    memcpy(lanes, &value, sizeof lanes);
    for (size_t lane = 0; lane < CASCADE_LANES; lane++) {
        bytes[lane] = (uint8_t)lanes[lane];
    }
    memcpy(to, bytes, sizeof bytes);
}

ALWAYS_INLINE void small_batch_int8_tile(const cascade_int8x4 *in, cascade_element *out, const cascade_span *span,
                                         size_t start, size_t positions, size_t vectors, const int8_t *weights,
                                         const int32_t *bias, const float *factor, int dequantize) {
    vec_i32 sums[SMALL_BATCH_POSITIONS][2];
    in += (ptrdiff_t)start * span->in_step;
    for (size_t p = 0; p < positions; p++) {
        for (size_t v = 0; v < vectors; v++) {
            memcpy(&sums[p][v], bias + v * CASCADE_LANES, sizeof(vec_i32));
        }
    }
    for (size_t k = 0; k < span->tap_count; k++, weights += vectors * CASCADE_LANES * CASCADE_PACKED) {
        const cascade_int8x4 *tap = in + span->taps[k];
        vec_u32 weight[2];
        for (size_t v = 0; v < vectors; v++) {
            weight[v] = load_int8x4(weights + v * CASCADE_LANES * CASCADE_PACKED);
        }
        for (size_t p = 0; p < positions; p++) {
            int32_t packed;
            memcpy(&packed, tap + (ptrdiff_t)p * span->in_step, sizeof packed);
            vec_u32 activations = (vec_u32)broadcast_i32(packed);
            for (size_t v = 0; v < vectors; v++) {
                sums[p][v] = dot_shared_activations(sums[p][v], activations, weight[v]);
            }
        }
    }
    for (size_t p = 0; p < positions; p++) {
        cascade_element *to = out + (ptrdiff_t)(start + p) * span->out_step;
        for (size_t v = 0; v < vectors; v++) {
            vec_f32 value = to_f32(sums[p][v]) * load_f32(factor + v * CASCADE_LANES);
            if (dequantize) {
                store_f32(&to[v * CASCADE_LANES].f32, value);
            } else {
                store_lanes(to + v * CASCADE_LANES / CASCADE_PACKED, requantize(value));
            }
        }
    }
}

ALWAYS_INLINE void small_batch_int8_block(const cascade_int8x4 *in, cascade_element *out, const cascade_span *span,
                                          size_t vectors, const int8_t *weights, const int32_t *bias,
                                          const float *factor, int dequantize) {
    size_t tiles = (span->vectors + SMALL_BATCH_POSITIONS - 1) / SMALL_BATCH_POSITIONS;
    for (size_t tile = 0, start = 0, end; tile < tiles; tile++, start = end) {
        end = span->vectors * (tile + 1) / tiles;
#define TILE(n)                                                                                                        \
    case n:                                                                                                            \
        small_batch_int8_tile(in, out, span, start, n, vectors, weights, bias, factor, dequantize);                    \
        break;
        switch (end - start) { SMALL_BATCH_CASES(TILE) }
#undef TILE
    }
}

static void conv_int8_small_batch(const cascade_int8x4 *in, cascade_element *out, const cascade_span *span,
                                  size_t channels, const int8_t *weights, const int32_t *bias, const float *factor,
                                  int dequantize) {
    for (size_t done = 0, block; done < channels; done += block) {
        cascade_element *to = out + (dequantize ? done : done / CASCADE_PACKED);
        int two = channels - done >= 2 * CASCADE_LANES;
        block = two ? 2 * CASCADE_LANES : CASCADE_LANES;
        if (dequantize) {
            two ? small_batch_int8_block(in, to, span, 2, weights, bias + done, factor + done, 1)
                : small_batch_int8_block(in, to, span, 1, weights, bias + done, factor + done, 1);
        } else {
            two ? small_batch_int8_block(in, to, span, 2, weights, bias + done, factor + done, 0)
                : small_batch_int8_block(in, to, span, 1, weights, bias + done, factor + done, 0);
        }
        weights += block * span->tap_count * CASCADE_PACKED;
    }
}

#endif
