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

/* The values of four channels, requantized and packed. */
ALWAYS_INLINE vec_u32 requantize_four(const vec_f32 values[4]) {
#if defined(__AVX2__)
    /* packing saturates to 0 and more; for large values the conversion to integers would not */
    const vec_x86 by_lane = BROADCAST_128(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    vec_x86 whole[4];
    for (size_t c = 0; c < 4; c++) {
        whole[c] = X86(cvttps_epi32)(X86(min_ps)(values[c], broadcast_f32(255.0f)));
    }
    vec_x86 bytes = X86(packus_epi16)(X86(packs_epi32)(whole[0], whole[1]), X86(packs_epi32)(whole[2], whole[3]));
    return (vec_u32)X86(shuffle_epi8)(bytes, by_lane);
#else
    vec_u32 packed = {0};
    for (size_t c = 0; c < 4; c++) {
        packed |= (vec_u32)requantize(values[c]) << (8 * c);
    }
    return packed;
#endif
}

/*
 * How a level multiplies. With an instruction for dot products (VNNI, NEON's dot products) it takes one tap at a time: the four
 * products of a lane are added to its sum of 32 bits. AVX2 and AVX-512 have none. They take INT8_TAPS taps together: the
 * products of channels 0 and 1, and those of 2 and 3, are summed over the taps in 16 bits, which the weights must allow
 * (kernels.h). So the twelve products of a lane cost seven instructions, of which four multiply.
 */
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
#define INT8_TAPS 1
#if CASCADE_LANES == 8 && defined(__AVXVNNI__)
#define DOT_PRODUCTS _mm256_dpbusd_avx_epi32
#else
#define DOT_PRODUCTS X86(dpbusd_epi32)
#endif
#elif defined(__AVX2__)
#define INT8_TAPS CASCADE_INT8_GROUP
#else
#define INT8_TAPS 1
#endif

/* Eight channels at once where the registers have room: with NEON's dot products the weights of four share one. */
#if CASCADE_LANES == 4 && defined(__ARM_FEATURE_DOTPROD)
#define INT8_TILE_CHANNELS 8
#else
#define INT8_TILE_CHANNELS TILE_CHANNELS
#endif

/* NEON's `sdot` multiplies signed numbers, so activations less 128; `usdot` takes them as they are. */
#if defined(__ARM_FEATURE_DOTPROD) && !defined(__ARM_FEATURE_MATMUL_INT8)
#define INT8_SIGNED 1
#else
#define INT8_SIGNED 0
#endif
#if defined(__ARM_FEATURE_MATMUL_INT8)
#define DOT_LANE(sums, activations, weights, lane) vusdotq_laneq_s32(sums, (uint8x16_t)(activations), weights, lane)
#elif defined(__ARM_FEATURE_DOTPROD)
#define DOT_LANE(sums, activations, weights, lane) vdotq_laneq_s32(sums, (int8x16_t)(activations), weights, lane)
#endif

/* Activations as the multiplication takes them. */
ALWAYS_INLINE vec_u32 as_factors(vec_u32 activations) { return INT8_SIGNED ? activations ^ 0x80808080u : activations; }

/* The four bytes from there on, in all lanes. */
ALWAYS_INLINE vec_u32 broadcast_int8x4(const void *from) {
    int32_t value;
    memcpy(&value, from, sizeof value);
    return (vec_u32)broadcast_i32(value);
}

/* sums + the products of four activations and four weights per lane, over `taps` taps. */
ALWAYS_INLINE vec_i32 add_products(vec_i32 sums, const vec_u32 *activations, const vec_u32 *weights, size_t taps) {
#if INT8_TAPS > 1
    vec_x86 products = X86(maddubs_epi16)((vec_x86)activations[0], (vec_x86)weights[0]);
    for (size_t tap = 1; tap < taps; tap++) {
        products = X86(add_epi16)(products, X86(maddubs_epi16)((vec_x86)activations[tap], (vec_x86)weights[tap]));
    }
    return sums + (vec_i32)X86(madd_epi16)(products, X86(set1_epi16)(1));
#else
    (void)taps;
#if defined(DOT_PRODUCTS)
    return (vec_i32)DOT_PRODUCTS((vec_x86)sums, (vec_x86)*activations, (vec_x86)*weights);
#elif defined(__ARM_FEATURE_MATMUL_INT8)
    return vusdotq_s32(sums, (uint8x16_t)*activations, (int8x16_t)*weights);
#elif defined(__ARM_FEATURE_DOTPROD)
    return vdotq_s32(sums, (int8x16_t)*activations, (int8x16_t)*weights);
#else
    for (size_t channel = 0; channel < CASCADE_PACKED; channel++) {
        sums += (vec_i32)(*activations >> (8 * channel) & 255) * ((vec_i32)(*weights << (24 - 8 * channel)) >> 24);
    }
    return sums;
#endif
#endif
}

/* Adds the taps from `first` on to the sums of a tile. */
ALWAYS_INLINE void add_taps(vec_i32 sums[][TILE_VECTORS], const cascade_int8x4 *in, const cascade_span *span,
                            size_t first, size_t taps, size_t channels, size_t vectors, size_t weight_step,
                            const int8_t *weights) {
    vec_u32 inputs[TILE_VECTORS][INT8_TAPS];
    for (size_t tap = 0; tap < taps; tap++) {
        const cascade_int8x4 *from = in + span->taps[first + tap];
        for (size_t v = 0; v < vectors; v++) {
            inputs[v][tap] = as_factors(load_int8x4(from + (ptrdiff_t)v * span->in_step));
        }
    }
    weights += first * weight_step * CASCADE_PACKED;
    size_t c = 0;
#if defined(__ARM_FEATURE_DOTPROD)
    for (; c + 4 <= channels; c += 4) { /* the weights of four channels in one register */
        int8x16_t four = vld1q_s8(weights + c * CASCADE_PACKED);
        for (size_t v = 0; v < vectors; v++) {
            sums[c][v] = DOT_LANE(sums[c][v], inputs[v][0], four, 0);
            sums[c + 1][v] = DOT_LANE(sums[c + 1][v], inputs[v][0], four, 1);
            sums[c + 2][v] = DOT_LANE(sums[c + 2][v], inputs[v][0], four, 2);
            sums[c + 3][v] = DOT_LANE(sums[c + 3][v], inputs[v][0], four, 3);
        }
    }
#endif
    for (; c < channels; c++) {
        vec_u32 shared[INT8_TAPS];
        for (size_t tap = 0; tap < taps; tap++) {
            shared[tap] = broadcast_int8x4(weights + (tap * weight_step + c) * CASCADE_PACKED);
        }
        for (size_t v = 0; v < vectors; v++) {
            sums[c][v] = add_products(sums[c][v], inputs[v], shared, taps);
        }
    }
}

/* Scales the sums of vector v of a tile and stores them. */
ALWAYS_INLINE void finish_vector(vec_i32 sums[][TILE_VECTORS], size_t v, cascade_element *out, const cascade_span *span,
                                 size_t channels, const float *factor, int dequantize) {
    cascade_element *to = out + (ptrdiff_t)v * span->out_step;
    vec_f32 values[INT8_TILE_CHANNELS];
    for (size_t c = 0; c < channels; c++) {
        values[c] = to_f32(sums[c][v]) * broadcast_f32(factor[c]);
        if (dequantize) {
            store_f32(&to[(ptrdiff_t)c * span->out_channel_step].f32, values[c]);
        }
    }
    for (size_t c = 0; !dequantize && c + CASCADE_PACKED <= channels; c += CASCADE_PACKED) {
        store_int8x4(to + (ptrdiff_t)(c / CASCADE_PACKED) * span->out_channel_step, requantize_four(values + c));
    }
}

/* As conv_f32_tile, over int8x4. */
ALWAYS_INLINE void conv_int8_tile(const cascade_int8x4 *in, cascade_element *out, const cascade_span *span,
                                  size_t start, size_t channels, size_t vectors, size_t weight_step,
                                  const int8_t *weights, const int32_t *bias, const float *factor, int dequantize) {
    vec_i32 sums[INT8_TILE_CHANNELS][TILE_VECTORS];
    in += (ptrdiff_t)start * span->in_step;
    for (size_t c = 0; c < channels; c++) {
        for (size_t v = 0; v < vectors; v++) {
            sums[c][v] = broadcast_i32(bias[c]);
        }
    }
    size_t k = 0;
    for (; k + INT8_TAPS <= span->tap_count; k += INT8_TAPS) {
        add_taps(sums, in, span, k, INT8_TAPS, channels, vectors, weight_step, weights);
    }
    for (; k < span->tap_count; k++) {
        add_taps(sums, in, span, k, 1, channels, vectors, weight_step, weights);
    }
    out += (ptrdiff_t)start * span->out_step;
    /* not as a loop, for which compilers put the sums on the stack */
    finish_vector(sums, 0, out, span, channels, factor, dequantize);
#if TILE_VECTORS == 3
    if (vectors > 1) {
        finish_vector(sums, 1, out, span, channels, factor, dequantize);
    }
    if (vectors > 2) {
        finish_vector(sums, 2, out, span, channels, factor, dequantize);
    }
#endif
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
#define BLOCK(n, step, from)                                                                                           \
    conv_int8_block(in, to + (ptrdiff_t)((from) / per_element) * span->out_channel_step, span, n, step,                \
                    weights + (from)*CASCADE_PACKED, bias + done + (from), factor + done + (from), dequantize)
        if (block == 8) {
#if INT8_TILE_CHANNELS == 8
            BLOCK(8, 8, 0);
#else
            BLOCK(4, 8, 0);
            BLOCK(4, 8, 4);
#endif
        } else if (block == 4) {
            BLOCK(4, 4, 0);
        } else if (block == 2) {
            BLOCK(2, 2, 0);
        } else {
            BLOCK(1, 1, 0);
        }
#undef BLOCK
        weights += block * span->tap_count * CASCADE_PACKED;
    }
}

/* ---- lanes of output channels ---------------------------------------------------------------------------- */

/* Adds the taps from `first` on to the sums of a tile. */
ALWAYS_INLINE void add_small_batch_taps(vec_i32 sums[][2], const cascade_int8x4 *in, const cascade_span *span,
                                        size_t first, size_t taps, size_t positions, size_t vectors,
                                        const int8_t *weights) {
    vec_u32 loaded[2][INT8_TAPS], shared[INT8_TAPS];
    for (size_t tap = 0; tap < taps; tap++) {
        for (size_t v = 0; v < vectors; v++) {
            loaded[v][tap] = load_int8x4(weights + ((first + tap) * vectors + v) * CASCADE_LANES * CASCADE_PACKED);
        }
    }
    for (size_t p = 0; p < positions; p++) {
        for (size_t tap = 0; tap < taps; tap++) {
            const cascade_int8x4 *from = in + span->taps[first + tap] + (ptrdiff_t)p * span->in_step;
            shared[tap] = as_factors(broadcast_int8x4(from));
        }
        for (size_t v = 0; v < vectors; v++) {
            sums[p][v] = add_products(sums[p][v], shared, loaded[v], taps);
        }
    }
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
    size_t k = 0;
    for (; k + INT8_TAPS <= span->tap_count; k += INT8_TAPS) {
        add_small_batch_taps(sums, in, span, k, INT8_TAPS, positions, vectors, weights);
    }
    for (; k < span->tap_count; k++) {
        add_small_batch_taps(sums, in, span, k, 1, positions, vectors, weights);
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
        two ? small_batch_int8_block(in, to, span, 2, weights, bias + done, factor + done, dequantize)
            : small_batch_int8_block(in, to, span, 1, weights, bias + done, factor + done, dequantize);
        weights += block * span->tap_count * CASCADE_PACKED;
    }
}

#endif
