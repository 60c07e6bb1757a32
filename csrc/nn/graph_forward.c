/*
 * A graph over one crop at a time: convolutions, depthwise convolutions, residual sums and attention gates, in the order of a
 * list of nodes. A feature map is [row][column][channel] with lanes of channels, so any size and stride runs at full width. It
 * has as wide a border of zeros as its readers need, so that no inner loop checks where the map ends.
 *
 * All feature maps lie in one workspace. A map reuses the memory of those that no later node reads.
 */
#include <math.h>
#include <string.h>

#include "nn.h"

/* Partial sums over channels: floats in a vector of the widest SIMD level. */
#define PARTIAL_SUMS 16

/* ---- feature maps ------------------------------------------------------------------------------------------------ */

static size_t row_step(const cascade_feature_map *map) { return (map->side + 2 * map->border) * map->pitch; }

/* Position (row, column), which may lie in the border. */
static float *at(const cascade_feature_map *map, float *workspace, ptrdiff_t row, ptrdiff_t column) {
    ptrdiff_t border = (ptrdiff_t)map->border;
    return workspace + map->offset + (row + border) * (ptrdiff_t)row_step(map) +
           (column + border) * (ptrdiff_t)map->pitch;
}

static void clear_border(const cascade_feature_map *map, float *workspace) {
    size_t row = row_step(map), ends = map->border * map->pitch;
    float *start = workspace + map->offset;
    if (map->border == 0) {
        return;
    }
    memset(start, 0, map->border * row * sizeof(float));
    for (size_t y = 0; y < map->side; y++) {
        float *line = start + (map->border + y) * row;
        memset(line, 0, ends * sizeof(float));
        memset(line + ends + map->side * map->pitch, 0, ends * sizeof(float));
    }
    memset(start + (map->border + map->side) * row, 0, map->border * row * sizeof(float));
}

static void fill_crop(const cascade_feature_map *map, const uint8_t *crop, float *workspace) {
    size_t side = map->side;
    clear_border(map, workspace);
    for (size_t y = 0; y < side; y++) {
        float *line = at(map, workspace, (ptrdiff_t)y, 0);
        const uint8_t *bytes = crop + y * side * CASCADE_CHANNELS;
        if (map->pitch == CASCADE_CHANNELS) {
            for (size_t i = 0; i < side * CASCADE_CHANNELS; i++) {
                line[i] = CASCADE_NORMALISE(bytes[i]);
            }
            continue;
        }
        memset(line, 0, side * map->pitch * sizeof(float));
        for (size_t i = 0; i < side * CASCADE_CHANNELS; i++) {
            line[i / CASCADE_CHANNELS * map->pitch + i % CASCADE_CHANNELS] = CASCADE_NORMALISE(bytes[i]);
        }
    }
}

/* ---- nodes ----------------------------------------------------------------------------------------------- */

/* Lists the taps of a window: `channels` of each position. */
static size_t window_taps(ptrdiff_t *taps, const cascade_feature_map *in, size_t kernel, size_t channels) {
    size_t n = 0;
    for (size_t y = 0; y < kernel; y++) {
        for (size_t x = 0; x < kernel; x++) {
            for (size_t c = 0; c < channels; c++) {
                taps[n++] = (ptrdiff_t)(y * row_step(in) + x * in->pitch + c);
            }
        }
    }
    return n;
}

/* Computes the channels [start, start + channels) of a convolution, row by row. */
static void convolve_rows(const cascade_kernels *kernels, const cascade_node *node, const cascade_feature_map *in,
                          const cascade_feature_map *out, cascade_span *span, size_t start, size_t channels,
                          float *workspace) {
    ptrdiff_t padding = (ptrdiff_t)node->padding;
    int depthwise = node->kind == CASCADE_NODE_DEPTHWISE;
    /* without borders the positions of all rows are one span, which fills the tiles better */
    int one_span = !depthwise && node->kernel == 1 && node->stride == 1 && in->border == 0 && out->border == 0;
    const float *weights = node->weights + (depthwise ? start : start * span->tap_count);
    span->vectors = one_span ? out->side * out->side : out->side;
    for (size_t y = 0; y < (one_span ? 1 : out->side); y++) {
        const float *from = at(in, workspace, (ptrdiff_t)(y * node->stride) - padding, -padding);
        float *to = at(out, workspace, (ptrdiff_t)y, 0) + start;
        if (depthwise) {
            kernels->depthwise_f32(from, to, span, channels, weights, node->bias, node->slope);
        } else {
            kernels->conv_f32_small_batch(from, to, span, channels, weights, node->bias + start, node->slope + start);
        }
    }
}

static void convolve(const cascade_kernels *kernels, const cascade_node *node, const cascade_feature_map *in,
                     const cascade_feature_map *out, ptrdiff_t *taps, float *workspace) {
    int depthwise = node->kind == CASCADE_NODE_DEPTHWISE;
    size_t block = depthwise ? out->pitch : 2 * kernels->lanes;
    cascade_span span = {.in_step = (ptrdiff_t)(node->stride * in->pitch),
                         .taps = taps,
                         .tap_count = window_taps(taps, in, node->kernel, depthwise ? 1 : in->channels),
                         .out_step = (ptrdiff_t)out->pitch};
    /* block by block, so that the weights of a block stay in the L1 cache while all positions go by */
    for (size_t start = 0; start < out->pitch; start += block) {
        size_t left = out->pitch - start;
        convolve_rows(kernels, node, in, out, &span, start, left < block ? left : block, workspace);
    }
}

/* Computes means and maxima of the channels over rows [y, end_y) and columns [x, end_x). */
static void pool_window(const cascade_feature_map *in, size_t y, size_t end_y, size_t x, size_t end_x,
                        float *restrict means, float *restrict maxima, float *workspace) {
    size_t channels = in->channels;
    float weight = 1.0f / (float)((end_y - y) * (end_x - x));
    const float *first = at(in, workspace, (ptrdiff_t)y, (ptrdiff_t)x);
    for (size_t c = 0; c < channels; c++) {
        means[c] = 0;
        maxima[c] = first[c];
    }
    for (size_t row = y; row < end_y; row++) {
        for (size_t column = x; column < end_x; column++) {
            const float *from = at(in, workspace, (ptrdiff_t)row, (ptrdiff_t)column);
            for (size_t c = 0; c < channels; c++) {
                means[c] += from[c];
                maxima[c] = from[c] > maxima[c] ? from[c] : maxima[c];
            }
        }
    }
    for (size_t c = 0; c < channels; c++) {
        means[c] *= weight;
    }
}

static void pyramid_pool(const cascade_node *node, const cascade_feature_map *in, const cascade_feature_map *out,
                         float *workspace) {
    size_t side = in->side, half = out->channels / 2;
    float *means = at(out, workspace, 0, 0);
    memset(means + out->channels, 0, (out->pitch - out->channels) * sizeof(float));
    for (size_t i = 0; i < node->bin_count; i++) {
        size_t bins = node->bins[i];
        for (size_t window = 0; window < bins * bins; window++, means += in->channels) {
            size_t row = window / bins, column = window % bins;
            pool_window(in, row * side / bins, ((row + 1) * side + bins - 1) / bins, column * side / bins,
                        ((column + 1) * side + bins - 1) / bins, means, means + half, workspace);
        }
    }
}

/* Computes the mean and the maximum over a position's channels, by partial sums that every SIMD level can vectorise. */
static void reduce_channels(const float *from, size_t channels, float pair[2]) {
    float sums[PARTIAL_SUMS] = {0}, maxima[PARTIAL_SUMS], sum = 0, maximum = from[0];
    for (size_t i = 0; i < PARTIAL_SUMS; i++) {
        maxima[i] = from[0];
    }
    size_t c = 0;
    for (; c + PARTIAL_SUMS <= channels; c += PARTIAL_SUMS) {
        for (size_t i = 0; i < PARTIAL_SUMS; i++) {
            sums[i] += from[c + i];
            maxima[i] = from[c + i] > maxima[i] ? from[c + i] : maxima[i];
        }
    }
    for (; c < channels; c++) {
        sum += from[c];
        maximum = from[c] > maximum ? from[c] : maximum;
    }
    for (size_t i = 0; i < PARTIAL_SUMS; i++) {
        sum += sums[i];
        maximum = maxima[i] > maximum ? maxima[i] : maximum;
    }
    pair[0] = sum / (float)channels;
    pair[1] = maximum;
}

static void spatial_gate(const cascade_kernels *kernels, const cascade_graph *graph, const cascade_node *node,
                         const cascade_feature_map *in, const cascade_feature_map *out, float *workspace) {
    cascade_feature_map pairs = {
        .side = in->side, .channels = 2, .pitch = 2, .border = node->kernel / 2, .offset = graph->scratch};
    cascade_node convolution = *node;
    convolution.padding = node->kernel / 2;
    convolution.stride = 1;
    clear_border(&pairs, workspace);
    for (size_t y = 0; y < in->side; y++) {
        for (size_t x = 0; x < in->side; x++) {
            reduce_channels(at(in, workspace, (ptrdiff_t)y, (ptrdiff_t)x), in->channels,
                            at(&pairs, workspace, (ptrdiff_t)y, (ptrdiff_t)x));
        }
    }
    convolve(kernels, &convolution, &pairs, out, (ptrdiff_t *)(workspace + graph->taps), workspace);
}

static void gate(const cascade_graph *graph, const cascade_node *node, const cascade_feature_map *in,
                 const cascade_feature_map *out, float *workspace) {
    const float *channel_gate = at(graph->maps + node->channel_gate, workspace, 0, 0);
    float scale = node->rest ? -0.5f : 0.5f, offset = node->rest ? 1.0f : 0.0f;
    for (size_t y = 0; y < in->side; y++) {
        for (size_t x = 0; x < in->side; x++) {
            ptrdiff_t row = (ptrdiff_t)y, column = (ptrdiff_t)x;
            float *restrict to = at(out, workspace, row, column);
            const float *from = at(in, workspace, row, column);
            float spatial = *at(graph->maps + node->spatial_gate, workspace, row, column);
            for (size_t c = 0; c < in->pitch; c++) {
                to[c] = from[c] * (offset + scale * (channel_gate[c] + spatial));
            }
        }
    }
}

/* Repeats every position of the input `stride` times along both sides. */
static void upsample(const cascade_node *node, const cascade_feature_map *in, const cascade_feature_map *out,
                     float *workspace) {
    for (size_t y = 0; y < out->side; y++) {
        for (size_t x = 0; x < out->side; x++) {
            const float *from = at(in, workspace, (ptrdiff_t)(y / node->stride), (ptrdiff_t)(x / node->stride));
            memcpy(at(out, workspace, (ptrdiff_t)y, (ptrdiff_t)x), from, out->pitch * sizeof(float));
        }
    }
}

/* Applies what comes after bias and slope: the sigmoid, and the sum with another feature map. */
static void finish(const cascade_graph *graph, const cascade_node *node, const cascade_feature_map *out,
                   float *workspace) {
    size_t count = out->side * out->pitch;
    for (size_t y = 0; y < out->side; y++) {
        float *restrict row = at(out, workspace, (ptrdiff_t)y, 0);
        if (node->sigmoid) {
            for (size_t i = 0; i < count; i++) {
                row[i] = 1.0f / (1.0f + expf(-row[i]));
            }
        }
        if (node->add != CASCADE_NO_MAP) {
            const float *other = at(graph->maps + node->add, workspace, (ptrdiff_t)y, 0);
            for (size_t i = 0; i < count; i++) {
                row[i] += other[i];
            }
        }
    }
}

static void run_node(const cascade_kernels *kernels, const cascade_graph *graph, size_t i, float *workspace) {
    const cascade_node *node = graph->nodes + i;
    const cascade_feature_map *in = graph->maps + node->input, *out = graph->maps + i + 1;
    clear_border(out, workspace);
    switch (node->kind) {
        case CASCADE_NODE_PYRAMID_POOL:
            pyramid_pool(node, in, out, workspace);
            break;
        case CASCADE_NODE_SPATIAL_GATE:
            spatial_gate(kernels, graph, node, in, out, workspace);
            break;
        case CASCADE_NODE_GATE:
            gate(graph, node, in, out, workspace);
            break;
        case CASCADE_NODE_UPSAMPLE:
            upsample(node, in, out, workspace);
            break;
        default:
            convolve(kernels, node, in, out, (ptrdiff_t *)(workspace + graph->taps), workspace);
    }
    finish(graph, node, out, workspace);
}

void cascade_graph_forward(void *context, size_t crop, void *workspace) {
    const cascade_graph_job *job = context;
    const cascade_graph *graph = job->graph;
    fill_crop(graph->maps, job->crops + crop * graph->size * graph->size * CASCADE_CHANNELS, workspace);
    for (size_t i = 0; i < graph->node_count; i++) {
        run_node(job->kernels, graph, i, workspace);
    }
    for (size_t o = 0; o < graph->output_count; o++) {
        const cascade_feature_map *map = graph->maps + graph->outputs[o];
        size_t channels = map->channels, area = map->side * map->side;
        for (size_t p = 0; p < area; p++) {
            memcpy(job->out[o] + (crop * area + p) * channels,
                   at(map, workspace, (ptrdiff_t)(p / map->side), (ptrdiff_t)(p % map->side)),
                   channels * sizeof(float));
        }
    }
}
