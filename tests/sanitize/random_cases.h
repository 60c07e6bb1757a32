/*
 * Random images, transforms and networks in buffers of exactly the size that the core asks for, and reports of what is wrong:
 * for driver.c and threads.c.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../random_numbers.h"
#include "detect.h"

/* Neither driver uses all of it. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"

#if defined(CASCADE_VALGRIND) && __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
/* valgrind treats vpmaddwd as one operation of 64 bits: what is undefined in a lane becomes so in its neighbour. */
#define CHECKS_INT8(level) ((level)->lanes == 1)
#else
#define VALGRIND_MAKE_MEM_UNDEFINED(memory, bytes)
#define CHECKS_INT8(level) ((level)->lanes > 0)
#endif

#define LENGTH(array) (sizeof(array) / sizeof(*(array)))
#define CHECK(condition, ...)                                                                                         \
    do {                                                                                                              \
        if (!(condition)) {                                                                                           \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);                                           \
            fprintf(stderr, __VA_ARGS__);                                                                             \
            fprintf(stderr, "\n");                                                                                    \
            exit(1);                                                                                                  \
        }                                                                                                             \
    } while (0)

/* ---- chance and memory ----------------------------------------------------------------------------------- */

static size_t percent = 100;

/* The last step of splitmix64: it maps neighbouring numbers to distant ones. */
static uint64_t mixed(uint64_t number) {
    number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9u;
    number = (number ^ number >> 27) * 0x94d049bb133111ebu;
    return number ^ number >> 31;
}

/* Neighbouring seeds start far apart, and never at 0, where xorshift would stay. */
static void seed(uint64_t number) {
    state ^= mixed(number);
    state += state == 0;
}

/* How many of `all` cases to run: at least one. */
static size_t some(size_t all) { return all * percent >= 100 ? all * percent / 100 : 1; }

static void read_arguments(int count, char **arguments) {
    if (count > 1) {
        seed(strtoull(arguments[1], NULL, 10));
    }
    if (count > 2) {
        percent = strtoul(arguments[2], NULL, 10);
    }
}

static double between(double low, double high) { return low + (high - low) * (double)chance(1u << 30) / (1u << 30); }

/* Exactly that many bytes, each 0xFF: NaN, if read as floats. Whoever asks for them fills them. */
static void *exactly(size_t bytes) {
    void *memory = malloc(bytes ? bytes : 1);
    CHECK(memory, "no memory for %zu bytes", bytes);
    memset(memory, 0xff, bytes);
    VALGRIND_MAKE_MEM_UNDEFINED(memory, bytes);
    return memory;
}

static float *floats(size_t count, double size) {
    float *values = exactly(count * sizeof(float));
    for (size_t i = 0; i < count; i++) {
        values[i] = (float)between(-size, size);
    }
    return values;
}

static const cascade_kernels *scalar(void) {
    const cascade_kernels *const *level = cascade_simd_levels();
    while (level[1] != NULL) {
        level++;
    }
    CHECK(!strcmp((*level)->name, "scalar"), "the last level is %s", (*level)->name);
    return *level;
}

/* ---- images ---------------------------------------------------------------------------------------------- */

/* Rows [from, to) of an image, and nothing beside them. */
static cascade_image strip_of(const uint8_t *image, size_t width, size_t height, size_t from, size_t to) {
    size_t rows = to > from ? to - from : 0;
    uint8_t *strip = exactly(rows * width * 3);
    memcpy(strip, image + from * width * 3, rows * width * 3);
    return (cascade_image){strip, width, height, from, rows};
}

/* ---- transforms ------------------------------------------------------------------------------------------ */

#define PIXEL ((int64_t)1 << CASCADE_TRANSFORM_BITS)

/* Steps of 1e-10 to a million pixels, from within the image or from anywhere in the range of the core. */
static void random_transform(int64_t transform[6], size_t size, size_t width, size_t height) {
    double range = 1048575.0, most = pow(10, between(-10, log10(range / (2 * (double)size))));
    double far = range - 2 * most * (double)size, near[2] = {(double)width + 2, (double)height + 2};
    for (size_t i = 0; i < 6; i++) {
        double reach = i % 3 < 2 ? most : far, start = near[i / 3] < far ? between(-2, near[i / 3]) : 0;
        transform[i] = (int64_t)ldexp(i % 3 == 2 && chance(4) ? start : between(-reach, reach), CASCADE_TRANSFORM_BITS);
    }
}

/* Coordinates of whole and half pixels: centres, borders between pixels, and the image's edges, or just before them. */
static void even_transform(int64_t transform[6], size_t width, size_t height) {
    for (size_t i = 0; i < 6; i++) {
        int64_t step = (int64_t)chance(5) - 2, start = (int64_t)chance(2 * (i < 3 ? width : height) + 2);
        transform[i] = i % 3 < 2 ? step * (PIXEL / 2) : start * (PIXEL / 2) - (int64_t)chance(2);
    }
}

/* ---- networks -------------------------------------------------------------------------------------------- */

#define RELEASE(memory) free(memory)
#include "../random_layers.h"

#define NOTE(difference)
#include "../random_graphs.h"

static void demolish(cascade_layer *layers, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const cascade_f32_weights *f32 = &layers[i].f32;
        const cascade_int8_weights *int8 = &layers[i].int8;
        const void *arrays[] = {f32->weights, f32->small_batch_weights, f32->bias, f32->slope,
                                int8->weights, int8->small_batch_weights, int8->bias, int8->signed_bias,
                                int8->factor};
        for (size_t k = 0; k < LENGTH(arrays); k++) {
            free((void *)arrays[k]);
        }
    }
}

static float *batch_outputs(const cascade_kernels *level, const cascade_layer *layers, size_t layer_count,
                     const uint8_t *crops, size_t count, size_t size) {
    size_t needed = cascade_batch_workspace(layers, layer_count, size, level->lanes);
    CHECK(needed > 0, "size %zu", size);
    void *workspace = exactly(needed);
    float *out = exactly(count * layers[layer_count - 1].out_elements * sizeof(float));
    cascade_batch_forward(level, layers, layer_count, crops, count, size, out, workspace);
    free(workspace);
    return out;
}

/* The rows of an image that a tile's windows cover. */
static cascade_image covered_rows(const cascade_feature_grid *grid, const uint8_t *image, size_t width, size_t height,
                                  const cascade_tile *tile) {
    size_t above = tile->top * grid->stride, below = above + (tile->rows - 1) * grid->stride + grid->receptive_field;
    above = above > grid->padding ? above - grid->padding : 0;
    below = below > grid->padding ? below - grid->padding : 0;
    below = below < height ? below : height;
    return strip_of(image, width, height, above < below ? above : below, below);
}

/* The outputs of a tile over those rows of an image, as (rows, outputs, columns). */
static float *tile_outputs(const cascade_kernels *level, const cascade_feature_grid *grid, const cascade_layer *layers,
                           size_t count, const uint8_t *image, size_t width, size_t height, const cascade_tile *tile) {
    size_t needed = cascade_image_workspace(layers, count, tile->rows, tile->columns, level->lanes), pitch = 0;
    CHECK(needed > 0, "%zu * %zu", width, height);
    size_t lines = tile->rows * grid->outputs;
    cascade_image seen = covered_rows(grid, image, width, height, tile);
    void *workspace = exactly(needed);
    float *out = exactly(lines * tile->columns * sizeof(float));
    const float *map = cascade_image_forward(level, grid, layers, count, &seen, tile, workspace, &pitch);
    CHECK(map != NULL && pitch >= tile->columns, "pitch %zu", pitch);
    for (size_t line = 0; line < lines; line++) {
        memcpy(out + line * tile->columns, map + line * pitch, tile->columns * sizeof(float));
    }
    free(workspace);
    free((void *)seen.pixels);
    return out;
}

/* One to three layers whose receptive field is the size of their crops. */
static network_shape random_network(void) {
    network_shape network = {"random", 1, chance(9), 1 + chance(3), {{0, 0, 0, 0}}, CASCADE_F32};
    for (size_t i = 0, stride = 1; i < network.count; i++) {
        size_t kernel = chance(8) ? 1 + chance(4) : 16, channels = chance(2) ? 1 + chance(19) : 8 * (1 + chance(6));
        shape pool = {CASCADE_MAX_POOL, kernel, 1 + chance(3), 0},
              conv = {CASCADE_CONV, kernel, 1 + chance(3), channels};
        network.layers[i] = i + 1 == network.count || chance(2) ? conv : pool;
        network.size += (kernel - 1) * stride;
        stride *= network.layers[i].stride;
    }
    return network;
}

/* The same in int8, with larger strides. */
static network_shape random_int8_network(void) {
    network_shape network = random_network();
    for (size_t i = 0; i < network.count; i++) {
        shape *layer = network.layers + i;
        layer->op = CASCADE_CONV;
        layer->channels = i + 1 == network.count ? 1 + chance(20) : CASCADE_PACKED * (1 + chance(10));
        layer->stride = 1 + chance(4);
    }
    network.dtype = CASCADE_INT8;
    network.size = 1;
    for (size_t i = 0, stride = 1; i < network.count; stride *= network.layers[i++].stride) {
        network.size += (network.layers[i].kernel - 1) * stride;
    }
    return network;
}

#pragma GCC diagnostic pop
