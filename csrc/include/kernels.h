/*
 * The kernel table: the inner loops of resampling, of the networks and of non-maximum suppression, once per SIMD level.
 *
 * kernels/kernels.c is compiled once per level. All levels give the same bytes for uint8 and int8; for float32 they differ in
 * the last bits. csrc/build_config.py lists the levels.
 */
#ifndef CASCADE_KERNELS_H
#define CASCADE_KERNELS_H

#include "image.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the kernels read several bytes as one little-endian integer"
#endif

/* Maps a byte to about -1 .. 1, as the float32 networks take pixels. */
#define CASCADE_NORMALISE(byte) (((float)(byte)-127.5f) * 0.0078125f)

/* Four neighbouring int8 channels of a feature map, packed. Activations are unsigned, 0 .. 255. */
#define CASCADE_PACKED 4
typedef struct {
    uint8_t channel[CASCADE_PACKED];
} cascade_int8x4;

/* Levels without an instruction for dot products sum some products in 16 bits first: those of channels 0 and 1, or 2 and 3, of
 * CASCADE_INT8_GROUP taps. So the int8 weights of an output channel must satisfy, for each such group: its positive weights sum
 * to CASCADE_INT8_GROUP_SUM at most, and so do its negative ones. Then no sum leaves 16 bits, whatever the activations. */
#define CASCADE_INT8_GROUP 3
#define CASCADE_INT8_GROUP_SUM 128

/* The three channels of a pixel, and a 0. */
static inline cascade_int8x4 cascade_pack_pixel(const uint8_t *pixel) {
    return (cascade_int8x4){{pixel[0], pixel[1], pixel[2], 0}};
}

/* One element of a feature map of either dtype: a float32 channel, or four packed int8 channels. Both have four bytes, so the
 * layout of a feature map does not depend on its dtype. */
typedef union {
    float f32;
    cascade_int8x4 int8x4;
} cascade_element;

/* Output channels of the next block of packed weights, where so many are left. */
static inline size_t cascade_next_block(size_t left) { return left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1; }

/* Where a kernel reads and writes, in elements: `vectors` vectors of `lanes` independent positions each. Tap k of vector v
 * starts at in[taps[k] + v * in_step]. Output channel c of it goes to out[c * out_channel_step + v * out_step]. */
typedef struct {
    ptrdiff_t in_step;
    const ptrdiff_t *taps;
    size_t tap_count;
    ptrdiff_t out_step;
    ptrdiff_t out_channel_step;
    size_t vectors;
} cascade_span;

/* Bytes of a column that the split kernels take apart: four pixels, since the default P-Net has a stride of four. */
#define CASCADE_SPLIT_PIXELS 4
#define CASCADE_SPLIT_BYTES (CASCADE_SPLIT_PIXELS * CASCADE_CHANNELS)

struct cascade_kernels {
    const char *name;
    size_t lanes; /* floats in a vector */
    /* 1 if this processor and its operating system can run the level */
    int (*usable)(void);
    /* 1 if int8 networks are as fast as float32 ones or faster: the level multiplies several int8 at once */
    int int8_fast;
    /* 1 if conv_int8 multiplies activations less 128, which are signed: its biases must make up for that */
    int int8_signed;

    /* Convolution with lanes of positions. Weights are packed by cascade_pack_weights. out = max(x, 0) + slope * min(x, 0),
     * where x is the sum plus the bias. */
    void (*conv_f32)(const float *in, float *out, const cascade_span *span, size_t channels, const float *weights,
                     const float *bias, const float *slope);
    /* Convolution with lanes of output channels: the `vectors` of the span are single positions, in_step and out_step apart.
     * The channels of a position lie side by side, so out_channel_step is not used. `channels` is a multiple of `lanes`.
     * Weights are packed by cascade_pack_small_batch. */
    void (*conv_f32_small_batch)(const float *in, float *out, const cascade_span *span, size_t channels,
                                 const float *weights, const float *bias, const float *slope);
    /* As conv_f32, over packed int8x4: taps are offsets of int8x4. Weights are [tap][channel][4], packed by
     * cascade_pack_weights. The output is (sum + bias) * factor. It is truncated to 0 .. 255 and packed, or, with
     * `dequantize`, stored as one float32 element per channel. Without `dequantize`, `channels` is a multiple of four. */
    void (*conv_int8)(const cascade_int8x4 *in, cascade_element *out, const cascade_span *span, size_t channels,
                      const int8_t *weights, const int32_t *bias, const float *factor, int dequantize);
    /* As conv_f32_small_batch, over packed int8x4. */
    void (*conv_int8_small_batch)(const cascade_int8x4 *in, cascade_element *out, const cascade_span *span,
                                  size_t channels, const int8_t *weights, const int32_t *bias, const float *factor,
                                  int dequantize);
    /* One filter per channel, with lanes of channels as in conv_f32_small_batch: weights[k * channels + c] is that of tap k.
     * The channels of a tap lie side by side. */
    void (*depthwise_f32)(const float *in, float *out, const cascade_span *span, size_t channels, const float *weights,
                          const float *bias, const float *slope);
    /* The maximum over the taps, for channels that are in_channel_step apart. */
    void (*max_pool_f32)(const float *in, float *out, const cascade_span *span, size_t channels,
                         ptrdiff_t in_channel_step);

    /* out[i] = round(-sum_k weights[k] * rows[k * stride + i]) for i < n. Weights are those of a cascade_axis. */
    void (*blend_rows)(const uint8_t *rows, size_t stride, const int8_t *weights, size_t count, uint8_t *out, size_t n);
    /* Output pixel i is the rounded sum of `taps` pixels of `row` from pixel first[i] on, where tap k has the weight
     * -weights[i * step + k]. `taps` is a multiple of CASCADE_TAP_GROUP. CASCADE_TAP_GROUP bytes after the last pixel must be
     * readable. */
    void (*blend_columns)(const uint8_t *row, const int32_t *first, const int8_t *weights, size_t step, size_t taps,
                          uint8_t *out, size_t n);
    /* n pixels of a warped crop from (x, y) on in fixed point, (transform[0], transform[3]) apart. All neighbours of all
     * pixels lie in the image, with two readable bytes after them. */
    void (*warp_row)(const cascade_image *image, const int64_t transform[6], int64_t x, int64_t y, uint8_t *out,
                     size_t n);

    /* `count` crops of `values` bytes to [value][lane], normalised. Lanes from `count` on repeat the last crop. */
    void (*interleave_f32)(const uint8_t *crops, size_t count, size_t values, float *out);
    /* `count` crops of `pixels` pixels to [pixel][lane]; red, green, blue and 0 become one int8x4. */
    void (*interleave_int8)(const uint8_t *crops, size_t count, size_t pixels, cascade_int8x4 *out);
    /* n columns of CASCADE_SPLIT_BYTES bytes to planes: byte p of column x, normalised, goes to planes[p * pitch + x]. */
    void (*split_f32)(const uint8_t *row, size_t n, float *planes, size_t pitch);
    /* The same with a plane for each pixel of a column. */
    void (*split_int8)(const uint8_t *row, size_t n, cascade_int8x4 *planes, size_t pitch);

    /* Clears alive[j] for the boxes j of [first, end) whose overlap with `best` (x1, y1, x2, y2, area) is above the threshold.
     * `boxes` holds n values each of x1, y1, x2, y2 and area. The overlap is over the smaller area or over the union. */
    void (*suppress)(const float best[5], const float *boxes, size_t n, size_t first, size_t end, float threshold,
                     int of_smaller, float *alive);
};

/* ---- runtime/cpu_features.c ------------------------------------------------------------------------------ */

/* The levels that were compiled in, best first, ended by NULL. Not all of them need be usable on this machine. */
const cascade_kernels *const *cascade_simd_levels(void);

/* The `usable` checks, named in csrc/build_config.py. Those of x86 and of ARM exist only there. */
int cascade_cpu_is_any(void);
int cascade_cpu_has_avx2(void);
int cascade_cpu_has_avxvnni(void);
int cascade_cpu_has_avx512(void);
int cascade_cpu_has_avx512vnni(void);
int cascade_cpu_has_dotprod(void);
int cascade_cpu_has_i8mm(void);

#endif
