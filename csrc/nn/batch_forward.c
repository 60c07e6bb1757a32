/*
 * A network over a batch of crops. Crops are taken in groups of `lanes`. Within a group a feature of all crops is one vector:
 * a feature map is [row][column][element][lane], so any stride, kernel or channel count runs at full width. The last group is
 * filled up with the last crop.
 */
#include "nn.h"

/* Lists the taps of a window in a map of `width` columns and `elements` elements: some columns of the rows from `top` on. The
 * rows lie in a ring buffer of `ring` rows. */
static size_t window_taps(ptrdiff_t *taps, size_t top, size_t rows, size_t ring, size_t columns, size_t width,
                          size_t elements, size_t lanes, size_t element_step) {
    size_t n = 0;
    for (size_t y = top; y < top + rows; y++) {
        for (size_t x = 0; x < columns; x++) {
            for (size_t e = 0; e < elements; e += element_step) {
                taps[n++] = (ptrdiff_t)(((y % ring * width + x) * elements + e) * lanes);
            }
        }
    }
    return n;
}

/* Whether layer i is pooled row by row, as its rows are computed: the feature maps before a pool are by far the largest. */
static int is_pooled(const cascade_layer *layers, size_t layer_count, size_t i) {
    return i + 1 < layer_count && layers[i].op == CASCADE_CONV && layers[i + 1].op == CASCADE_MAX_POOL;
}

/* What a run needs: elements per lane of the largest feature map and of the largest ring before a pool, and the most taps. */
typedef struct {
    size_t map, ring, taps;
} requirements;

/* Returns 0 if something does not fit. */
static int measure(const cascade_layer *layers, size_t layer_count, size_t size, requirements *need) {
    size_t side = size, elements = cascade_input_elements(layers), total;
    need->taps = need->ring = 0;
    if (!cascade_product(&need->map, side, side, elements)) {
        return 0;
    }
    for (size_t i = 0; i < layer_count; i++) {
        const cascade_layer *layer = layers + i;
        if (layer->in_elements != elements || !cascade_product(&total, layer->kernel, layer->kernel, elements)) {
            return 0;
        }
        need->taps = cascade_max(need->taps, total);
        side = cascade_layer_output(layer, side);
        elements = layer->out_elements;
        int pooled = is_pooled(layers, layer_count, i);
        if (side == 0 || !cascade_product(&total, pooled ? layers[i + 1].kernel : side, side, elements)) {
            return 0;
        }
        if (pooled) {
            need->ring = cascade_max(need->ring, total);
        } else {
            need->map = cascade_max(need->map, total);
        }
    }
    return 1;
}

/* Whether a last group is so small that lanes of channels are faster: up to about three quarters of the lanes. */
static int is_small(const cascade_layer *layers, size_t count, size_t lanes) {
    return cascade_small_batch_packed(layers) && 4 * count <= 3 * lanes;
}

size_t cascade_batch_workspace(const cascade_layer *layers, size_t layer_count, size_t size, size_t lanes) {
    requirements need;
    if (!measure(layers, layer_count, size, &need) || need.map > SIZE_MAX / 64 / lanes ||
        need.ring > SIZE_MAX / 64 / lanes) {
        return 0;
    }
    size_t bytes = (2 * need.map + need.ring) * lanes * sizeof(cascade_element) + cascade_tap_bytes(need.taps);
    if (cascade_small_batch_packed(layers)) {
        bytes = cascade_max(bytes, cascade_small_batch_workspace(layers, layer_count, size, lanes));
    }
    return bytes;
}

/* The span of an output row of a convolution, on a feature map of `side` columns. */
static cascade_span convolution_span(const cascade_layer *layer, size_t side, size_t lanes, ptrdiff_t *taps) {
    cascade_span span = {.in_step = (ptrdiff_t)(layer->stride * layer->in_elements * lanes),
                         .taps = taps,
                         .out_step = (ptrdiff_t)(layer->out_elements * lanes),
                         .out_channel_step = (ptrdiff_t)lanes,
                         .vectors = cascade_layer_output(layer, side)};
    span.tap_count =
        window_taps(taps, 0, layer->kernel, layer->kernel, layer->kernel, side, layer->in_elements, lanes, 1);
    return span;
}

static void run_convolution(const cascade_kernels *kernels, const cascade_layer *layer, size_t side,
                            const cascade_element *in, cascade_element *out, ptrdiff_t *taps) {
    size_t lanes = kernels->lanes, outputs = cascade_layer_output(layer, side);
    cascade_span span = convolution_span(layer, side, lanes, taps);
    for (size_t y = 0; y < outputs; y++) {
        cascade_convolve(kernels, layer, in + y * layer->stride * side * layer->in_elements * lanes,
                         out + y * outputs * layer->out_elements * lanes, &span);
    }
}

/* Computes one output row of a pool from the rows [top, top + rows) of its input, a ring buffer of `ring` rows. */
static void pool_row(const cascade_kernels *kernels, const cascade_layer *layer, size_t side, size_t top, size_t rows,
                     size_t ring, const cascade_element *in, cascade_element *out, ptrdiff_t *taps) {
    size_t lanes = kernels->lanes, channels = layer->in_elements, outputs = cascade_layer_output(layer, side);
    cascade_span span = {.taps = taps, .out_channel_step = (ptrdiff_t)lanes, .vectors = 1};
    size_t listed = 0; /* columns that the taps are listed for */
    for (size_t x = 0; x < outputs; x++) {
        size_t left = x * layer->stride, columns = side - left < layer->kernel ? side - left : layer->kernel;
        if (columns != listed) {
            span.tap_count = window_taps(taps, top, rows, ring, columns, side, channels, lanes, channels);
            listed = columns;
        }
        kernels->max_pool_f32(&in[left * channels * lanes].f32, &out[x * channels * lanes].f32, &span, channels,
                              (ptrdiff_t)lanes);
    }
}

/* Rows of a pool's window from row `top` on: the last window may be partial. */
static size_t pooled_rows(const cascade_layer *pool, size_t side, size_t top) {
    return side - top < pool->kernel ? side - top : pool->kernel;
}

static void run_pool(const cascade_kernels *kernels, const cascade_layer *layer, size_t side, const cascade_element *in,
                     cascade_element *out, ptrdiff_t *taps) {
    size_t outputs = cascade_layer_output(layer, side), row = outputs * layer->in_elements * kernels->lanes;
    for (size_t y = 0; y < outputs; y++) {
        size_t top = y * layer->stride;
        pool_row(kernels, layer, side, top, pooled_rows(layer, side, top), side, in, out + y * row, taps);
    }
}

/* Runs a convolution and the pool after it. Only the rows that the pool needs next are stored, in `ring`. */
static void run_pooled(const cascade_kernels *kernels, const cascade_layer *layer, const cascade_layer *pool,
                       size_t side, const cascade_element *in, cascade_element *out, cascade_element *ring,
                       ptrdiff_t *taps) {
    size_t lanes = kernels->lanes, middle = cascade_layer_output(layer, side), done = 0;
    size_t outputs = cascade_layer_output(pool, middle), row = middle * layer->out_elements * lanes;
    for (size_t y = 0; y < outputs; y++) {
        size_t top = y * pool->stride, rows = pooled_rows(pool, middle, top);
        cascade_span span = convolution_span(layer, side, lanes, taps);
        for (done = cascade_max(done, top); done < top + rows; done++) {
            cascade_convolve(kernels, layer, in + done * layer->stride * side * layer->in_elements * lanes,
                             ring + done % pool->kernel * row, &span);
        }
        pool_row(kernels, pool, middle, top, rows, pool->kernel, ring, out + y * outputs * pool->in_elements * lanes,
                 taps);
    }
}

/* Runs all layers over one group, from `in` on. Returns the feature map with the outputs. */
static const cascade_element *run_group(const cascade_kernels *kernels, const cascade_layer *layers, size_t layer_count,
                                        size_t size, cascade_element *in, cascade_element *out, cascade_element *ring,
                                        ptrdiff_t *taps) {
    size_t side = size;
    for (size_t i = 0; i < layer_count; i++) {
        if (is_pooled(layers, layer_count, i)) {
            run_pooled(kernels, layers + i, layers + i + 1, side, in, out, ring, taps);
            side = cascade_layer_output(layers + i, side);
            i++;
        } else if (layers[i].op == CASCADE_CONV) {
            run_convolution(kernels, layers + i, side, in, out, taps);
        } else {
            run_pool(kernels, layers + i, side, in, out, taps);
        }
        side = cascade_layer_output(layers + i, side);
        cascade_element *swap = in;
        in = out;
        out = swap;
    }
    return in;
}

void cascade_batch_forward(const cascade_kernels *kernels, const cascade_layer *layers, size_t layer_count,
                           const uint8_t *crops, size_t count, size_t size, float *out, void *workspace) {
    size_t lanes = kernels->lanes, values = size * size * CASCADE_CHANNELS;
    size_t outputs = layers[layer_count - 1].out_elements;
    requirements need;
    if (!measure(layers, layer_count, size, &need)) {
        return;
    }
    ptrdiff_t *taps = workspace;
    cascade_element *first_map = (cascade_element *)((char *)workspace + cascade_tap_bytes(need.taps));
    cascade_element *second_map = first_map + need.map * lanes, *ring = second_map + need.map * lanes;
    for (size_t first = 0; first < count; first += lanes) {
        size_t left = count - first < lanes ? count - first : lanes;
        if (is_small(layers, left, lanes)) {
            cascade_small_batch_forward(kernels, layers, layer_count, crops + first * values, left, size,
                                        out + first * outputs, workspace);
            continue;
        }
        if (layers[0].dtype == CASCADE_INT8) {
            kernels->interleave_int8(crops + first * values, left, size * size, &first_map->int8x4);
        } else {
            kernels->interleave_f32(crops + first * values, left, values, &first_map->f32);
        }
        const cascade_element *found = run_group(kernels, layers, layer_count, size, first_map, second_map, ring, taps);
        /* networks end on a single position */
        for (size_t lane = 0; lane < left; lane++) {
            for (size_t o = 0; o < outputs; o++) {
                out[(first + lane) * outputs + o] = found[o * lanes + lane].f32;
            }
        }
    }
}
