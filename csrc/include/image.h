/*
 * Images: resampling, warping, similarity transforms and automatic exposure.
 *
 * An image is uint8 RGB in rows of `width * 3` bytes. The pixel in column j covers [j, j + 1) and its centre is at j + 0.5.
 * Boxes are x1, y1, x2, y2 in that frame. Resampling and warping are in fixed point, so every machine gives the
 * same bytes.
 */
#ifndef CASCADE_IMAGE_H
#define CASCADE_IMAGE_H

#include <stddef.h>
#include <stdint.h>

typedef struct cascade_kernels cascade_kernels; /* kernels.h */

#define CASCADE_CHANNELS 3
/* The value of all channels outside an image: a grey that normalises to (almost) zero. */
#define CASCADE_PADDING_VALUE 128
/* The largest coordinate of a face (pixels). */
#define CASCADE_MAX_COORDINATE 262144.0f

/* Rows [top, top + rows) of an image of width * height; `pixels` points at the first of them. Large images are streamed, so
 * not all rows need to be in memory. */
typedef struct {
    const uint8_t *pixels;
    size_t width;
    size_t height;
    size_t top;
    size_t rows;
} cascade_image;

/* ---- image/resample.c ------------------------------------------------------------------------------------ */

/* Fractional bits of the filter weights. The weights of one output pixel sum to exactly 1 << CASCADE_WEIGHT_BITS, and its sums
 * fit into 16 bits. */
#define CASCADE_WEIGHT_BITS 7
/* The kernel `blend_columns` reads the taps in groups of this many. */
#define CASCADE_TAP_GROUP 4

/* The filter along one axis. Output pixel i is the sum of the source pixels from `first[i]` on; tap k has the weight
 * -weights[i * taps + k]: stored negative, a weight of one fits into 8 bits. The first `count[i]` taps count, the weights of
 * the others are 0. A count of 0 means that the output pixel lies outside the source; [begin, end) are those inside. */
typedef struct {
    size_t size;      /* output pixels */
    size_t taps;      /* room for the taps of each output pixel */
    size_t max_count; /* largest of `count` */
    size_t begin;
    size_t end;
    int32_t *first;
    int32_t *count;
    int8_t *weights;
} cascade_axis;

/* Upper bound on the taps of an output pixel where a source interval of length `extent` becomes `size` pixels. */
size_t cascade_axis_taps(double extent, size_t size);
/* Bytes that an axis of `size` output pixels with `taps` taps each needs. */
size_t cascade_axis_bytes(size_t size, size_t taps);
/* Computes the triangle filter over [start, start + extent) of an axis of `source` pixels, in memory of cascade_axis_bytes. */
void cascade_axis_plan(cascade_axis *axis, void *memory, double start, double extent, size_t source, size_t size,
                       size_t taps);

/* Bytes of workspace to resample boxes of at most extent_x by extent_y pixels to width by height. */
size_t cascade_resample_workspace(double extent_x, double extent_y, size_t source_width, size_t width, size_t height);
/* Computes rows [*from, *to) of a source of `source` rows that hold all that rows [first, end) of `height` output rows read
 * of [start, start + extent). A few of these rows may not be read. */
void cascade_rows_read(double start, double extent, size_t source, size_t height, size_t first, size_t end,
                       size_t *from, size_t *to);
/* Resamples a box of an image, any part of which may lie outside, to width * height. Writes rows [first, end) of the result,
 * the first of them to `out`. The image must have the rows that cascade_rows_read names. */
void cascade_resample(const cascade_kernels *kernels, const cascade_image *image, const double box[4], uint8_t *out,
                      size_t width, size_t height, size_t first, size_t end, void *workspace);

/* The arguments of a cascade_resample that threads share, in strips of `strip_rows` rows. */
typedef struct {
    const cascade_kernels *kernels;
    const cascade_image *image;
    const double *box;
    uint8_t *out;
    size_t width;
    size_t height;
    size_t first;
    size_t end;
    size_t strip_rows;
} cascade_resample_job;
/* Resamples one strip: the loop body of a cascade_resample_job. */
void cascade_resample_strip(void *job, size_t strip, void *workspace);

/* ---- image/warp.c ---------------------------------------------------------------------------------------- */

/* Fractional bits of an affine transform, and of the weights of bilinear interpolation. */
#define CASCADE_TRANSFORM_BITS 32
#define CASCADE_BILINEAR_BITS 8

/* Writes a crop of size * size pixels by bilinear interpolation. The crop's pixel (column, row) shows the image at
 *   (transform[0] * column + transform[1] * row + transform[2], transform[3] * column + transform[4] * row + transform[5])
 * in fixed point; these coordinates must stay within +-2^20 pixels. Outside the image it is `padding_value`. The image must
 * have all rows that pixels inside it read. */
void cascade_warp(const cascade_kernels *kernels, const cascade_image *image, const int64_t transform[6],
                  uint8_t padding_value, uint8_t *out, size_t size);

/* ---- image/similarity.c ---------------------------------------------------------------------------------- */

/* Estimates the similarity transform (2, 3) that maps `count` points (x, y) to those of a template with the least squared
 * error. Returns 0 and fills the matrix with NaN if there is none: for NaN, for points that coincide within the relative
 * tolerance `rounding`, and for points that no rotation fits. */
int cascade_similarity(const double *points, const double *template, size_t count, double rounding, double matrix[6]);
/* Whether the matrix aligns a face with these points to a crop of `size` pixels: every coordinate is within
 * CASCADE_MAX_COORDINATE, and the crop covers 1 to CASCADE_MAX_COORDINATE pixels of the image. */
int cascade_can_align(const float *points, size_t count, const double matrix[6], double size);
/* Maps a point of an aligned crop to the image. */
void cascade_inverse_transform(const double matrix[6], double x, double y, double out[2]);

/* ---- image/exposure.c ------------------------------------------------------------------------------------ */

/* What the values of each channel become in an image of an ordinary tonal range. Returns 0, and leaves the table alone, for
 * an image that has one already. */
int cascade_exposure_table(const uint8_t *pixels, size_t width, size_t height, uint8_t table[CASCADE_CHANNELS][256]);
/* Replaces the values of `count` pixels by those of the table. */
void cascade_exposure_apply(const uint8_t *pixels, size_t count, const uint8_t table[CASCADE_CHANNELS][256], uint8_t *out);

#endif
