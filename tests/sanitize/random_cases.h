/*
 * Random images, maps and networks in buffers of exactly the size that the core asks for, and how to tell what is wrong: for
 * driver.c and threads.c.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../random_numbers.h"
#include "cascade.h"

/* Neither driver takes all of it. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"

#if defined(CASCADE_VALGRIND) && __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
/* It takes vpmaddwd for one step of 64 bits: what is undefined in a lane is so in its neighbour. */
#define BYTES_TOO(level) ((level)->lanes == 1)
#else
#define VALGRIND_MAKE_MEM_UNDEFINED(memory, bytes)
#define BYTES_TOO(level) ((level)->lanes > 0)
#endif

typedef struct {
    int kind;
    size_t kernel, stride, channels;
} shape;

typedef struct {
    const char *name;
    size_t size, padding, count;
    shape layers[16];
} network_shape;

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

/* The last step of splitmix64: of neighbouring numbers it makes far ones. */
static uint64_t mixed(uint64_t number) {
    number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9u;
    number = (number ^ number >> 27) * 0x94d049bb133111ebu;
    return number ^ number >> 31;
}

/* Neighbouring seeds start far apart, and never from 0, where xorshift would stay. */
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

/* Exactly that many bytes, each 0xFF: NaN, if read as floats. The core is told how to fill them, or fills them. */
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
    const cascade_kernels *const *level = cascade_levels();
    while (level[1] != NULL) {
        level++;
    }
    CHECK(!strcmp((*level)->name, "scalar"), "the last level is %s", (*level)->name);
    return *level;
}

/* ---- images ---------------------------------------------------------------------------------------------- */

/* Rows [from, to) of an image, and nothing beside them. */
static cascade_image band_of(const uint8_t *image, size_t width, size_t height, size_t from, size_t to) {
    size_t rows = to > from ? to - from : 0;
    uint8_t *band = exactly(rows * width * 3);
    memcpy(band, image + from * width * 3, rows * width * 3);
    return (cascade_image){band, width, height, from, rows};
}

/* ---- turned crops ---------------------------------------------------------------------------------------- */

#define PIXEL ((int64_t)1 << CASCADE_MAP_BITS)

/* Steps of 1e-10 to a million pixels, from within the image or from anywhere in the range of the core. */
static void random_map(int64_t map[6], size_t size, size_t width, size_t height) {
    double range = 1048575.0, most = pow(10, between(-10, log10(range / (2 * (double)size))));
    double far = range - 2 * most * (double)size, near[2] = {(double)width + 2, (double)height + 2};
    for (size_t i = 0; i < 6; i++) {
        double reach = i % 3 < 2 ? most : far, start = near[i / 3] < far ? between(-2, near[i / 3]) : 0;
        map[i] = (int64_t)ldexp(i % 3 == 2 && chance(4) ? start : between(-reach, reach), CASCADE_MAP_BITS);
    }
}

/* Whole and half pixels: centres, the borders between pixels, and the image's edges, or just before them. */
static void even_map(int64_t map[6], size_t width, size_t height) {
    for (size_t i = 0; i < 6; i++) {
        int64_t step = (int64_t)chance(5) - 2, start = (int64_t)chance(2 * (i < 3 ? width : height) + 2);
        map[i] = i % 3 < 2 ? step * (PIXEL / 2) : start * (PIXEL / 2) - (int64_t)chance(2);
    }
}

/* ---- networks -------------------------------------------------------------------------------------------- */

#define RELEASE(memory) free(memory)
#include "../random_bytes.h"

#define NOTE(difference)
#include "../random_graphs.h"

/* Layers with random weights, each array exactly as long as it must be; packed for a few crops too if all channels are a
 * multiple of `lanes`. */
static void build(cascade_layer *layers, const network_shape *network, size_t lanes) {
    int few = lanes > 1;
    for (size_t i = 0; i < network->count; i++) {
        few &= network->layers[i].kind == CASCADE_CONV && network->layers[i].channels % lanes == 0;
    }
    size_t channels = network->layers[0].kind == CASCADE_BYTES ? 1 : 3;
    for (size_t i = 0; i < network->count; i++) {
        shape s = network->layers[i];
        cascade_layer layer = {.kind = s.kind, .in_channels = channels, .out_channels = channels, .kernel = s.kernel,
                               .stride = s.stride, .last = i + 1 == network->count};
        if (s.kind == CASCADE_BYTES) {
            fill_byte_layer(&layer, channels, s.channels, lanes);
            channels = layer.out_channels;
        }
        if (s.kind == CASCADE_CONV) {
            size_t inputs = channels * s.kernel * s.kernel, count = inputs * s.channels;
            float *weights = floats(count, sqrt(3.0 / (double)inputs)), *packed = exactly(count * sizeof(float));
            cascade_pack_weights(weights, s.channels, channels, s.kernel, packed);
            if (few) {
                float *again = exactly(count * sizeof(float));
                cascade_pack_few(weights, s.channels, channels, s.kernel, lanes, again);
                layer.few_weights = again;
            }
            free(weights);
            layer.out_channels = channels = s.channels;
            layer.weights = packed;
            layer.bias = floats(channels, 0.3);
            layer.slope = floats(channels, 1);
        }
        layers[i] = layer;
    }
    settle_few(layers, network->count, lanes);
}

static void demolish(cascade_layer *layers, size_t count) {
    for (size_t i = 0; i < count; i++) {
        free((void *)layers[i].few_weights);
        free((void *)layers[i].weights);
        free((void *)layers[i].bias);
        free((void *)layers[i].slope);
        free((void *)layers[i].byte_bias);
        free((void *)layers[i].factor);
    }
}

static float *judged(const cascade_kernels *level, const cascade_layer *layers, size_t layer_count,
                     const uint8_t *crops, size_t count, size_t size) {
    size_t needed = cascade_crops_workspace(layers, layer_count, size, level->lanes);
    CHECK(needed > 0, "size %zu", size);
    float *workspace = exactly(needed * sizeof(float));
    float *out = exactly(count * layers[layer_count - 1].out_channels * sizeof(float));
    cascade_crops_run(level, layers, layer_count, crops, count, size, out, workspace);
    free(workspace);
    return out;
}

/* The rows of an image that a tile's windows cover. */
static cascade_image covered_rows(const cascade_grid *grid, const uint8_t *image, size_t width, size_t height,
                                  const cascade_tile *tile) {
    size_t above = tile->top * grid->stride, below = above + (tile->rows - 1) * grid->stride + grid->field;
    above = above > grid->padding ? above - grid->padding : 0;
    below = below > grid->padding ? below - grid->padding : 0;
    below = below < height ? below : height;
    return band_of(image, width, height, above < below ? above : below, below);
}

/* A tile of the grid over an image, as (rows, outputs, columns), from those rows. */
static float *slid(const cascade_kernels *level, const cascade_grid *grid, const cascade_layer *layers, size_t count,
                   const uint8_t *image, size_t width, size_t height, const cascade_tile *tile) {
    size_t needed = cascade_image_workspace(grid, layers, count, tile->rows, tile->columns, level->lanes), pitch = 0;
    CHECK(needed > 0, "%zu * %zu", width, height);
    size_t lines = tile->rows * grid->outputs;
    cascade_image seen = covered_rows(grid, image, width, height, tile);
    float *workspace = exactly(needed * sizeof(float)), *out = exactly(lines * tile->columns * sizeof(float));
    const float *map = cascade_image_run(level, grid, layers, count, &seen, tile, workspace, &pitch);
    CHECK(map != NULL && pitch >= tile->columns, "pitch %zu", pitch);
    for (size_t line = 0; line < lines; line++) {
        memcpy(out + line * tile->columns, map + line * pitch, tile->columns * sizeof(float));
    }
    free(workspace);
    free((void *)seen.pixels);
    return out;
}

/* Any few layers whose receptive field is the size of their crops. */
static network_shape random_network(void) {
    network_shape network = {"random", 1, chance(9), 1 + chance(3), {{0, 0, 0, 0}}};
    for (size_t i = 0, stride = 1; i < network.count; i++) {
        size_t kernel = chance(8) ? 1 + chance(4) : 16, channels = chance(2) ? 1 + chance(19) : 8 * (1 + chance(6));
        shape pool = {CASCADE_POOL, kernel, 1 + chance(3), 0}, conv = {CASCADE_CONV, kernel, 1 + chance(3), channels};
        network.layers[i] = i + 1 == network.count || chance(2) ? conv : pool;
        network.size += (kernel - 1) * stride;
        stride *= network.layers[i].stride;
    }
    return network;
}

/* The same in bytes, whatever its strides. */
static network_shape random_byte_network(void) {
    network_shape network = random_network();
    for (size_t i = 0; i < network.count; i++) {
        shape *layer = network.layers + i;
        layer->kind = CASCADE_BYTES;
        layer->channels = i + 1 == network.count ? 1 + chance(20) : CASCADE_WORD * (1 + chance(10));
        layer->stride = 1 + chance(4);
    }
    network.size = 1;
    for (size_t i = 0, stride = 1; i < network.count; stride *= network.layers[i++].stride) {
        network.size += (network.layers[i].kernel - 1) * stride;
    }
    return network;
}

#pragma GCC diagnostic pop
