/*
 * Every kernel of a NEON level against the scalar level, over many sizes, then all that is built on them: resampling, networks
 * over crops and over an image, suppression. Every buffer ends at a protected page, so that an access too far ends the run.
 * Built and run by run.sh.
 *
 *   driver LEVEL   compares that level
 *   driver levels  prints the levels that this processor can run
 *   driver pixels  prints a checksum of pixels that the best level resampled and warped, the same on every machine
 */
#define _GNU_SOURCE /* MAP_ANONYMOUS */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../random_numbers.h"
#include "detect.h"

#define LENGTH(array) (sizeof(array) / sizeof(*(array)))
#define CASE(...) snprintf(doing, sizeof doing, __VA_ARGS__)
#define CHECK(condition, ...)                                                                                         \
    do {                                                                                                              \
        if (!(condition)) {                                                                                           \
            fprintf(stderr, "%s: ", doing);                                                                           \
            fprintf(stderr, __VA_ARGS__);                                                                             \
            fprintf(stderr, "\n");                                                                                    \
            exit(1);                                                                                                  \
        }                                                                                                             \
    } while (0)

static const cascade_kernels *fast, *scalar;
static char doing[200] = "start"; /* the case at hand, for messages */
static size_t cases;
static float largest; /* difference so far */

/* ---- chance, memory, comparison -------------------------------------------------------------------------- */

/* A number from -size to size. */
static float around_zero(float size) { return size * (float)((int)chance(1u << 24) - (1 << 23)) / (1 << 23); }

static struct {
    void *memory;
    size_t size;
} held[512];
static size_t held_count;

/* That many bytes, each 0xFF (NaN, if read as floats), right before a page that must not be touched. */
static void *exactly(size_t bytes) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (bytes + page - 1) / page * page;
    uint8_t *memory = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED && held_count < LENGTH(held), "no memory for %zu bytes", bytes);
    CHECK(!mprotect(memory + room, page, PROT_NONE), "no guard");
    held[held_count].memory = memory;
    held[held_count++].size = room + page;
    memset(memory + room - bytes, 0xff, bytes);
    return memory + room - bytes;
}

/* Frees all memory: a case is over. */
static void done(void) {
    cases++;
    while (held_count) {
        held_count--;
        munmap(held[held_count].memory, held[held_count].size);
    }
}

static void on_fault(int number) {
    (void)number;
    ssize_t written = write(2, doing, strlen(doing));
    written += write(2, ": touches memory outside its buffers\n", 37);
    _exit(written > 0 ? 1 : 2);
}

static float *floats(size_t count, float size) {
    float *values = exactly(count * sizeof(float));
    for (size_t i = 0; i < count; i++) {
        values[i] = around_zero(size);
    }
    return values;
}

static void same_bytes(const uint8_t *found, const uint8_t *expected, size_t count) {
    for (size_t i = 0; i < count; i++) {
        CHECK(found[i] == expected[i], "byte %zu is %d at %s, %d at scalar", i, found[i], fast->name, expected[i]);
    }
}

/* Within 1e-5 of each other, relative to values above 1; a value that only one of them has written differs, being NaN. */
static void same_floats(const float *found, const float *expected, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (memcmp(found + i, expected + i, sizeof(float))) {
            float difference = fabsf(found[i] - expected[i]) / fmaxf(fabsf(expected[i]), 1.0f);
            CHECK(difference <= 1e-5f, "value %zu is %.9g at %s, %.9g at scalar", i, (double)found[i], fast->name,
                  (double)expected[i]);
            largest = fmaxf(largest, difference);
        }
    }
}

/* ---- kernels --------------------------------------------------------------------------------------------- */

enum { REACH = 50 }; /* taps lie in this many floats, on no particular boundary */

/* A span for the fast level, and its input: planes of channels in_channel_step floats apart, or one plane. `image`: neighbouring
 * columns of an image; else crops side by side, whose channels lie next to each other. Returns the floats of the output. */
static size_t random_span(cascade_span *span, const float **in, size_t channels, size_t tap_count, size_t vectors,
                          int image, size_t in_channel_step) {
    size_t lanes = fast->lanes, out_step = image ? lanes : channels * lanes;
    size_t out_channel_step = image ? vectors * lanes + chance(6) : lanes;
    ptrdiff_t *taps = exactly(tap_count * sizeof(ptrdiff_t));
    for (size_t k = 0; k < tap_count; k++) {
        taps[k] = (ptrdiff_t)(k ? chance(REACH) : REACH - 1);
    }
    span->in_step = (ptrdiff_t)(image ? lanes : (1 + chance(3)) * 3 * lanes);
    span->taps = taps;
    span->tap_count = tap_count;
    span->out_step = (ptrdiff_t)out_step;
    span->out_channel_step = (ptrdiff_t)out_channel_step;
    span->vectors = vectors;
    size_t planes = in_channel_step ? channels - 1 : 0;
    *in = floats(planes * in_channel_step + REACH - 1 + (vectors - 1) * (size_t)span->in_step + lanes, 1);
    return (channels - 1) * out_channel_step + (vectors - 1) * out_step + lanes;
}

static void try_convolve(size_t channels, size_t tap_count, size_t vectors, int image) {
    cascade_span span;
    const float *in;
    CASE("conv_f32, %zu channels, %zu taps, %zu vectors, %s", channels, tap_count, vectors, image ? "image" : "crops");
    size_t count = random_span(&span, &in, channels, tap_count, vectors, image, 0);
    float *weights = floats(channels * tap_count, 1), *packed = exactly(channels * tap_count * sizeof(float));
    float *bias = floats(channels, 1), *slope = floats(channels, 1), *expected = exactly(count * sizeof(float));
    float *found = exactly(count * sizeof(float));
    for (size_t c = 0; c < channels; c += 3) {
        slope[c] = chance(2) ? 0.0f : 1.0f; /* as without PReLU */
    }
    cascade_pack_weights(weights, channels, tap_count, 1, packed);
    fast->conv_f32(in, found, &span, channels, packed, bias, slope);
    for (size_t lane = 0; lane < fast->lanes; lane++) {
        scalar->conv_f32(in + lane, expected + lane, &span, channels, packed, bias, slope);
    }
    same_floats(found, expected, count);
    done();
}

static void try_pool(size_t channels, size_t tap_count, size_t vectors, int image) {
    cascade_span span;
    const float *in;
    CASE("max_pool_f32, %zu channels, %zu taps, %zu vectors, %s", channels, tap_count, vectors,
         image ? "image" : "crops");
    size_t in_channel_step = 1 + chance(80);
    size_t count = random_span(&span, &in, channels, tap_count, vectors, image, in_channel_step);
    float *found = exactly(count * sizeof(float)), *expected = exactly(count * sizeof(float));
    fast->max_pool_f32(in, found, &span, channels, (ptrdiff_t)in_channel_step);
    for (size_t lane = 0; lane < fast->lanes; lane++) {
        scalar->max_pool_f32(in + lane, expected + lane, &span, channels, (ptrdiff_t)in_channel_step);
    }
    same_bytes((const uint8_t *)found, (const uint8_t *)expected, count * sizeof(float));
    done();
}

/* Fixed-point weights of `count` pixels, which sum to -1. */
static void share_out(int8_t *weights, size_t count) {
    size_t left = 1 << CASCADE_WEIGHT_BITS;
    for (size_t k = 0; k + 1 < count; k++) {
        size_t some = chance(3) ? chance(2 * left / count + 1) : 0;
        weights[k] = (int8_t)-(int)some;
        left -= some;
    }
    weights[count - 1] = (int8_t)-(int)left;
}

static void try_blend_rows(size_t n, size_t count) {
    CASE("blend_rows, %zu bytes of %zu rows", n, count);
    size_t stride = n + chance(9);
    uint8_t *rows = pixels((count - 1) * stride + n), *found = exactly(n), *expected = exactly(n);
    int8_t *weights = exactly(count);
    share_out(weights, count);
    fast->blend_rows(rows, stride, weights, count, found, n);
    scalar->blend_rows(rows, stride, weights, count, expected, n);
    same_bytes(found, expected, n);
    done();
}

static void try_blend_columns(size_t n, size_t taps) {
    CASE("blend_columns, %zu pixels of at most %zu", n, taps);
    size_t width = taps + chance(40), bytes = n * CASCADE_CHANNELS;
    uint8_t *row = pixels(width * CASCADE_CHANNELS + CASCADE_TAP_GROUP), *found = exactly(bytes),
            *expected = exactly(bytes);
    int32_t *first = exactly(n * sizeof(int32_t));
    int8_t *weights = exactly(n * taps);
    for (size_t i = 0; i < n; i++) {
        size_t count = 1 + chance(taps);
        first[i] = (int32_t)(i + 1 == n ? width - taps : chance(width - taps + 1));
        memset(weights + i * taps, 0, taps);
        share_out(weights + i * taps, count);
    }
    fast->blend_columns(row, first, weights, taps, taps, found, n);
    scalar->blend_columns(row, first, weights, taps, taps, expected, n);
    same_bytes(found, expected, bytes);
    done();
}

static void try_interleave(size_t count, size_t values) {
    CASE("interleave, %zu crops of %zu bytes", count, values);
    size_t lanes = fast->lanes;
    uint8_t *crops = pixels(count * values);
    float *found = exactly(values * lanes * sizeof(float)), *expected = exactly(values * lanes * sizeof(float));
    float *one = exactly(values * sizeof(float));
    fast->interleave_f32(crops, count, values, found);
    for (size_t lane = 0; lane < lanes; lane++) {
        scalar->interleave_f32(crops + (lane < count ? lane : count - 1) * values, 1, values, one);
        for (size_t i = 0; i < values; i++) {
            expected[i * lanes + lane] = one[i];
        }
    }
    same_bytes((const uint8_t *)found, (const uint8_t *)expected, values * lanes * sizeof(float));
    done();
}

static void try_split(size_t n) {
    size_t pitch = n + chance(6), count = (CASCADE_SPLIT_BYTES - 1) * pitch + n;
    CASE("split, %zu columns into planes %zu apart", n, pitch);
    uint8_t *row = pixels(n * CASCADE_SPLIT_BYTES);
    float *found = exactly(count * sizeof(float)), *expected = exactly(count * sizeof(float));
    fast->split_f32(row, n, found, pitch);
    scalar->split_f32(row, n, expected, pitch);
    same_bytes((const uint8_t *)found, (const uint8_t *)expected, count * sizeof(float));
    done();
}

/* Boxes (n, 4), some inside out, on a grid of quarter pixels: areas are exact, so levels must agree on every box. */
static float *random_boxes(size_t n) {
    float *boxes = exactly(4 * n * sizeof(float));
    for (size_t i = 0; i < 4 * n; i++) {
        boxes[i] = (float)(chance(160) + (i % 4 > 1 ? 60 : 0)) / 4;
    }
    return boxes;
}

static void try_suppress(size_t n, size_t first, size_t end, int of_smaller) {
    CASE("suppress, %zu boxes from %zu to %zu, %s", n, first, end, of_smaller ? "min" : "union");
    float *boxes = random_boxes(n), *columns = exactly(5 * n * sizeof(float)), best[5];
    float *found = exactly(n * sizeof(float)), *expected = exactly(n * sizeof(float));
    for (size_t i = 0; i < n; i++) {
        float width = boxes[4 * i + 2] - boxes[4 * i], height = boxes[4 * i + 3] - boxes[4 * i + 1];
        for (size_t k = 0; k < 4; k++) {
            columns[k * n + i] = boxes[4 * i + k];
        }
        columns[4 * n + i] = width > 0 && height > 0 ? width * height : 0;
        found[i] = expected[i] = chance(5) ? 1.0f : 0.0f;
    }
    for (size_t k = 0, some = chance(n); k < 5; k++) {
        best[k] = columns[k * n + some];
    }
    fast->suppress(best, columns, n, first, end, 0.3f, of_smaller, found);
    scalar->suppress(best, columns, n, first, end, 0.3f, of_smaller, expected);
    same_bytes((const uint8_t *)found, (const uint8_t *)expected, n * sizeof(float));
    done();
}

static void report(const char *what) {
    printf("%-14s %5zu cases agree", what, cases);
    printf(largest > 0 ? ", largest difference %.2g\n" : " to the bit\n", (double)largest);
    fflush(stdout);
    cases = 0;
    largest = 0;
}

static void try_spans(void) {
    static const size_t taps[] = {1, 2, 3, 9, 27, 75}, channels[] = {1, 2,  3,  4,  5,  6,  7,  8,  9,
                                                                     10, 11, 12, 13, 15, 16, 19, 24, 31};
    for (size_t i = 0; i < LENGTH(channels) * LENGTH(taps); i++) {
        for (size_t vectors = 1; vectors <= 13; vectors++) {
            try_convolve(channels[i / LENGTH(taps)], taps[i % LENGTH(taps)], vectors, 0);
            try_convolve(channels[i / LENGTH(taps)], taps[i % LENGTH(taps)], vectors, 1);
        }
    }
    report("conv_f32");
    for (size_t i = 0; i < 10 * 4 * 6; i++) {
        try_pool(1 + i % 10, taps[i / 10 % 4], 1 + i / 40, 0);
        try_pool(1 + i % 10, taps[i / 10 % 4], 1 + i / 40, 1);
    }
    report("max_pool_f32");
}

static void try_bytes(void) {
    for (size_t n = 1; n <= 200; n++) {
        for (size_t count = 1; count <= 13; count += 3) {
            try_blend_rows(n, count);
        }
        try_blend_rows(n, 32 + n); /* beyond 32, where other levels have other loops */
    }
    report("blend_rows");
    for (size_t n = 1; n <= 40; n++) {
        for (size_t taps = 1; taps <= 12; taps++) {
            try_blend_columns(n, taps);
        }
    }
    try_blend_columns(0, 0); /* what is left of a box beside the image */
    report("blend_columns");
    for (size_t values = 1; values <= 300; values += 1 + values / 20) {
        for (size_t count = 1; count <= fast->lanes; count++) {
            try_interleave(count, values);
        }
    }
    report("interleave_f32");
    for (size_t n = 1; n <= 100; n++) {
        try_split(n);
    }
    report("split_f32");
}

static void try_suppression(void) {
    for (size_t n = 1; n <= 70; n++) {
        for (size_t first = 0; first <= n; first += 1 + chance(5)) {
            try_suppress(n, first, n, 0);
            try_suppress(n, first, first + chance(n - first + 1), 1);
        }
    }
    report("suppress");
}

/* ---- larger parts ---------------------------------------------------------------------------------------- */

/* Rows [0, cut) and those from `cut` on separately, as threads compute them. */
static uint8_t *resampled(const cascade_kernels *level, const uint8_t *image, size_t width, size_t height,
                          const double box[4], size_t columns, size_t rows, size_t cut) {
    size_t bytes = cascade_resample_workspace(box[2] - box[0], box[3] - box[1], width, columns, rows);
    uint8_t *out = exactly(columns * rows * CASCADE_CHANNELS), *workspace = exactly((bytes + 15) / 16 * 16);
    cascade_image whole = {image, width, height, 0, height};
    uint8_t *lower = out + cut * columns * CASCADE_CHANNELS;
    cascade_resample(level, &whole, box, lower, columns, rows, cut, rows, workspace);
    cascade_resample(level, &whole, box, out, columns, rows, 0, cut, workspace);
    return out;
}

/* FNV-1a. */
static void add(uint64_t *sum, const uint8_t *bytes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        *sum = (*sum ^ bytes[i]) * 1099511628211u;
    }
}

/* The whole image, or a box on the grid of 1/16 pixels that detection uses; or one about the image's corner, where the
 * last bit of a centre decides whether its pixel is inside. */
static void random_box(double box[4], size_t width, size_t height) {
    size_t kind = chance(3);
    for (size_t k = 0; k < 2; k++) {
        double extent = (double)(1 + chance(2000)) / 16, start = (double)chance(1600) / 16 - 40;
        box[k] = kind == 0 ? 0 : kind == 1 ? start : -extent / 2;
        box[k + 2] = kind == 0 ? (double)(k ? height : width) : box[k] + extent;
    }
}

static void try_resampling(uint64_t *sum) {
    for (size_t i = 0; i < 800; i++) {
        size_t width = 1 + chance(90), height = 1 + chance(90), columns = 1 + chance(60), rows = 1 + chance(60);
        double box[4];
        random_box(box, width, height);
        CASE("resample %g %g %g %g of %zu * %zu to %zu * %zu", box[0], box[1], box[2], box[3], width, height, columns,
             rows);
        uint8_t *image = pixels(width * height * CASCADE_CHANNELS);
        uint8_t *found = resampled(fast, image, width, height, box, columns, rows, chance(rows + 1));
        same_bytes(found, resampled(scalar, image, width, height, box, columns, rows, 0), columns * rows * 3);
        add(sum, found, columns * rows * CASCADE_CHANNELS);
        done();
    }
}

static void try_warping(uint64_t *sum) {
    for (size_t i = 0; i < 100; i++) {
        size_t width = 1 + chance(90), height = 1 + chance(90), size = 1 + chance(60);
        CASE("warped crop of %zu * %zu to %zu", width, height, size);
        int64_t transform[6];
        for (size_t k = 0; k < LENGTH(transform); k++) { /* scales of -2 to 2, corners of -60 to 60 pixels */
            int64_t range = (int64_t)(k % 3 == 2 ? 60 : 2) << CASCADE_TRANSFORM_BITS;
            transform[k] = (int64_t)chance((size_t)(2 * range)) - range;
        }
        uint8_t *out = exactly(size * size * CASCADE_CHANNELS);
        cascade_image image = {pixels(width * height * CASCADE_CHANNELS), width, height, 0, height};
        cascade_warp(fast, &image, transform, CASCADE_PADDING_VALUE, out, size);
        uint8_t *right = exactly(size * size * CASCADE_CHANNELS);
        cascade_warp(scalar, &image, transform, CASCADE_PADDING_VALUE, right, size);
        same_bytes(out, right, size * size * CASCADE_CHANNELS);
        add(sum, out, size * size * CASCADE_CHANNELS);
        done();
    }
}

/* `done` frees all memory. */
#define RELEASE(memory) (void)(memory)
#include "../random_layers.h"

/* Strides, pools and channel counts such as cascade/nn/architectures.py has; the last is wider than any tile. */
enum { C = CASCADE_CONV, P = CASCADE_MAX_POOL };

static const network_shape networks[] = {
    {"strided P-Net",
     23,
     5,
     5,
     {{C, 3, 2, 12}, {C, 3, 2, 24}, {C, 3, 1, 24}, {C, 3, 1, 32}, {C, 1, 1, 16}},
     CASCADE_F32},
    {"pooled P-Net", 12, 0, 5, {{C, 3, 1, 10}, {P, 2, 2, 0}, {C, 3, 1, 16}, {C, 3, 1, 32}, {C, 1, 1, 6}}, CASCADE_F32},
    {"strided R-Net",
     32,
     0,
     5,
     {{C, 3, 2, 16}, {C, 3, 2, 32}, {C, 3, 1, 48}, {C, 5, 1, 96}, {C, 1, 1, 16}},
     CASCADE_F32},
    {"pooled R-Net",
     24,
     0,
     6,
     {{C, 3, 1, 28}, {P, 3, 2, 0}, {C, 3, 1, 48}, {P, 3, 2, 0}, {C, 4, 1, 64}, {C, 1, 1, 6}},
     CASCADE_F32},
    {"odd channels", 15, 2, 4, {{C, 4, 1, 7}, {P, 3, 3, 0}, {C, 2, 1, 37}, {C, 3, 1, 5}}, CASCADE_F32},
};

static float *batch_outputs(const cascade_kernels *level, const network_shape *network, const cascade_layer *layers,
                     const uint8_t *crops, size_t count) {
    size_t needed = cascade_batch_workspace(layers, network->count, network->size, level->lanes);
    CHECK(needed > 0, "no workspace");
    float *out = exactly(count * layers[network->count - 1].out_elements * sizeof(float));
    void *workspace = exactly((needed + 15) / 16 * 16);
    cascade_batch_forward(level, layers, network->count, crops, count, network->size, out, workspace);
    return out;
}

static void try_crops(const network_shape *network, size_t count) {
    cascade_layer layers[16];
    CASE("%s over %zu crops", network->name, count);
    build(layers, network, fast->lanes);
    uint8_t *crops = pixels(count * network->size * network->size * CASCADE_CHANNELS);
    same_floats(batch_outputs(fast, network, layers, crops, count),
                batch_outputs(scalar, network, layers, crops, count), count * layers[network->count - 1].out_elements);
    done();
}

/* A tile of the grid over an image, as (rows, outputs, columns). */
static float *tile_outputs(const cascade_kernels *level, const cascade_feature_grid *grid, const cascade_layer *layers,
                           size_t count, const cascade_image *image, const cascade_tile *tile) {
    size_t needed = cascade_image_workspace(layers, count, tile->rows, tile->columns, level->lanes), pitch = 0;
    CHECK(needed > 0, "no workspace");
    float *out = exactly(tile->rows * grid->outputs * tile->columns * sizeof(float));
    const float *map = cascade_image_forward(level, grid, layers, count, image, tile,
                                         exactly((needed + 15) / 16 * 16), &pitch);
    CHECK(map != NULL && pitch >= tile->columns, "pitch %zu", pitch);
    for (size_t line = 0; line < tile->rows * grid->outputs; line++) {
        memcpy(out + line * tile->columns, map + line * pitch, tile->columns * sizeof(float));
    }
    return out;
}

static void try_scan(const network_shape *network, size_t width, size_t height) {
    cascade_layer layers[16];
    cascade_feature_grid grid;
    CASE("%s scans %zu * %zu", network->name, width, height);
    build(layers, network, fast->lanes);
    CHECK(cascade_feature_grid_plan(&grid, layers, network->count, network->padding, width, height), "no grid");
    if (grid.rows && grid.columns) {
        cascade_image image = {pixels(width * height * CASCADE_CHANNELS), width, height, 0, height};
        cascade_tile tile = {chance(grid.rows), chance(grid.columns), 1, 1};
        tile.rows += chance(grid.rows - tile.top);
        tile.columns += chance(grid.columns - tile.left);
        same_floats(tile_outputs(fast, &grid, layers, network->count, &image, &tile),
                    tile_outputs(scalar, &grid, layers, network->count, &image, &tile),
                    tile.rows * grid.outputs * tile.columns);
    }
    done();
}

static void try_batches(const network_shape *network) {
    try_crops(network, 1);
    try_crops(network, fast->lanes);
    try_crops(network, fast->lanes + 1);
    try_crops(network, 2 * fast->lanes - 1);
}

static void try_scans(const network_shape *network) {
    for (size_t k = 0; k < 10; k++) {
        try_scan(network, 1 + chance(90), 1 + chance(50));
    }
    try_scan(network, 133, 25);
    try_scan(network, 25, 133);
}

static void try_networks(void) {
    for (size_t i = 0; i < LENGTH(networks); i++) {
        try_batches(networks + i);
    }
    report("crops");
    for (size_t i = 0; i < LENGTH(networks); i++) {
        try_scans(networks + i);
    }
    report("scans");
}

/* Networks of int8, and the kernels that only they use: all to the bit. */
static void try_int8(void) {
    for (size_t i = 0; i < 800; i++) {
        int dequantize = (int)chance(2);
        CASE("conv_int8 %zu", i);
        try_conv_int8(fast, scalar, dequantize ? 1 + chance(20) : CASCADE_PACKED * (1 + chance(10)), 1 + chance(40),
                      1 + chance(13), dequantize);
        done();
    }
    report("conv_int8");
    for (size_t n = 1; n <= 100; n++) {
        CASE("int8 input %zu", n);
        for (size_t count = 1; count <= fast->lanes; count++) {
            try_interleave_int8(fast, count, n);
            try_interleave_int8(scalar, 1, n);
        }
        try_split_int8(fast, n);
        try_split_int8(scalar, n);
        done();
    }
    report("int8 input");
    for (size_t i = 0; i < LENGTH(networks); i++) {
        network_shape network = networks[i];
        if (make_int8(&network)) {
            try_batches(&network);
            try_scans(&network);
        }
    }
    CHECK(largest <= 0, "networks of int8 differ by %g", (double)largest);
    report("int8");
}

#define NOTE(difference) largest = fmaxf(largest, difference)
#include "../random_graphs.h"

static void try_graphs(void) {
    for (size_t i = 0; i < 30 * 12; i++) {
        CASE("depthwise %zu", i);
        try_depthwise(fast, scalar, 1 + i % 30, 1 + i / 30);
        done();
    }
    report("depthwise");
    for (size_t i = 0; i < 150; i++) {
        CASE("graph %zu", i);
        try_graph(fast, scalar);
        done();
    }
    report("graphs");
}

static void try_nms(size_t n, int mode) {
    CASE("nms of %zu boxes, %s", n, mode == CASCADE_NMS_MIN ? "min" : "union");
    float *boxes = random_boxes(n), *workspace = exactly(cascade_nms_workspace(n));
    int64_t *order = exactly(n * sizeof(int64_t)), *found = exactly(n * sizeof(int64_t));
    int64_t *expected = exactly(n * sizeof(int64_t));
    for (size_t i = 0; i < n; i++) {
        order[i] = (int64_t)(n - 1 - i);
    }
    size_t kept = cascade_nms(fast, boxes, order, n, 0.3f, mode, found, workspace, NULL);
    size_t right = cascade_nms(scalar, boxes, order, n, 0.3f, mode, expected, workspace, NULL);
    CHECK(kept == right, "keeps %zu, %zu at scalar", kept, right);
    same_bytes((const uint8_t *)found, (const uint8_t *)expected, kept * sizeof(int64_t));
    done();
}

/* `name`: of the level to compare; NULL for the best one. */
static void find_levels(const char *name) {
    const cascade_kernels *const *level = cascade_simd_levels();
    for (; *level != NULL; level++) {
        if (fast == NULL && (*level)->usable() && (name == NULL || !strcmp((*level)->name, name))) {
            fast = *level;
        }
        scalar = *level;
    }
    CHECK(fast != NULL, "%s cannot run here", name == NULL ? "no level" : name);
    CHECK(!strcmp(scalar->name, "scalar") && scalar->lanes == 1, "the last level is %s", scalar->name);
}

static void print_levels(void) {
    for (const cascade_kernels *const *level = cascade_simd_levels(); *level != NULL; level++) {
        if ((*level)->usable()) {
            printf("%s\n", (*level)->name);
        }
    }
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    uint64_t sum = 14695981039346656037u;
    signal(SIGSEGV, on_fault);
    signal(SIGBUS, on_fault);
    if (!strcmp(what, "levels")) {
        print_levels();
        return 0;
    }
    find_levels(strcmp(what, "pixels") ? what : NULL);
    if (!strcmp(what, "pixels")) {
        try_resampling(&sum);
        try_warping(&sum);
        printf("%016llx\n", (unsigned long long)sum);
        return 0;
    }
    CHECK(fast->lanes == 4, "%s has %zu lanes", fast->name, fast->lanes);
    printf("level %s\n", fast->name);
    try_spans();
    try_bytes();
    try_suppression();
    try_resampling(&sum);
    report("resample");
    try_networks();
    try_int8();
    try_graphs();
    for (size_t n = 0; n < 300; n += 1 + n / 8) {
        try_nms(n, CASCADE_NMS_UNION);
        try_nms(n, CASCADE_NMS_MIN);
    }
    report("nms");
    return 0;
}
