/* Where the feature maps of a graph lie in its workspace. Shapes, borders and lifetimes are found once, before it runs. */
#include "nn.h"

/* Channels are padded to a multiple of the lanes of the widest SIMD level. */
#define CHANNEL_GROUP 16

size_t cascade_graph_pitch(size_t channels) { return (channels + CHANNEL_GROUP - 1) / CHANNEL_GROUP * CHANNEL_GROUP; }

/* Floats of a feature map with its border, a multiple of a cache line; 0 if that overflows. */
static size_t map_floats(const cascade_feature_map *map) {
    size_t side = map->side + 2 * map->border, floats;
    return cascade_product(&floats, side, side, map->pitch) ? cascade_graph_pitch(floats) : 0;
}

/* Computes the output side of a convolution of a padded input. Returns 0 if the kernel does not fit. */
static int convolved_side(const cascade_node *node, size_t side, size_t *out) {
    size_t padded = side + 2 * node->padding;
    if (node->kernel == 0 || node->stride == 0 || padded < node->kernel) {
        return 0;
    }
    *out = (padded - node->kernel) / node->stride + 1;
    return 1;
}

/* Computes the side and the channels of a node's output. Returns 0 if it does not fit its input. */
static int shape_of(const cascade_node *node, const cascade_feature_map *in, cascade_feature_map *out) {
    out->side = in->side;
    out->channels = in->channels;
    if (node->kind == CASCADE_NODE_CONV || node->kind == CASCADE_NODE_DEPTHWISE) {
        out->channels = node->kind == CASCADE_NODE_CONV ? node->channels : in->channels;
        return convolved_side(node, in->side, &out->side);
    }
    if (node->kind == CASCADE_NODE_UPSAMPLE) {
        return cascade_product(&out->side, node->stride, in->side, 1);
    }
    if (node->kind == CASCADE_NODE_PYRAMID_POOL) {
        size_t windows = 0;
        for (size_t i = 0; i < node->bin_count; i++) {
            windows += node->bins[i] * node->bins[i];
        }
        out->side = 1;
        return cascade_product(&out->channels, 2, windows, in->channels);
    }
    if (node->kind == CASCADE_NODE_SPATIAL_GATE) {
        out->channels = 1;
        return node->kernel % 2 == 1;
    }
    return 1;
}

/* Notes that node i reads map `m` with that border. Only a convolution can read the unpadded channels of the crop. */
static void read_map(const cascade_graph *graph, size_t m, size_t i, size_t border, int padded_channels) {
    if (m != CASCADE_NO_MAP) {
        cascade_feature_map *map = graph->maps + m;
        map->border = cascade_max(map->border, border);
        map->last_use = cascade_max(map->last_use, i);
        if (padded_channels) {
            map->pitch = cascade_graph_pitch(map->channels);
        }
    }
}

static void read_maps(const cascade_graph *graph, size_t i) {
    const cascade_node *node = graph->nodes + i;
    int windows = node->kind == CASCADE_NODE_CONV || node->kind == CASCADE_NODE_DEPTHWISE;
    read_map(graph, node->input, i, windows ? node->padding : 0, node->kind != CASCADE_NODE_CONV);
    read_map(graph, node->add, i, 0, 1);
    if (node->kind == CASCADE_NODE_GATE) {
        read_map(graph, node->channel_gate, i, 0, 1);
        read_map(graph, node->spatial_gate, i, 0, 1);
    }
}

/* The lowest offset for map `m` that overlaps no map in use when it is computed, which is when node m - 1 runs. */
static size_t find_offset(const cascade_feature_map *maps, size_t m, size_t floats) {
    size_t offset = 0;
    for (size_t other = 0; other < m; other++) {
        size_t end = maps[other].offset + map_floats(maps + other);
        if (maps[other].last_use + 1 >= m && offset < end && maps[other].offset < offset + floats) {
            offset = end;
            other = (size_t)-1; /* starts again: maps that were out of the way may overlap now */
        }
    }
    return offset;
}

/* Computes the floats of scratch memory and of taps that a node needs besides its maps. Returns 0 if they overflow. */
static int measure(const cascade_node *node, const cascade_feature_map *in, size_t *scratch, size_t *taps) {
    size_t floats;
    if (node->kind == CASCADE_NODE_SPATIAL_GATE) {
        cascade_feature_map pair = {.side = in->side, .pitch = 2, .border = node->kernel / 2};
        *scratch = cascade_max(*scratch, map_floats(&pair));
    }
    size_t channels = node->kind == CASCADE_NODE_SPATIAL_GATE ? 2 : in->channels;
    if (!cascade_product(&floats, node->kernel, node->kernel, channels)) {
        return 0;
    }
    *taps = cascade_max(*taps, cascade_graph_pitch(floats * (sizeof(ptrdiff_t) / sizeof(float))));
    return 1;
}

int cascade_graph_plan(cascade_graph *graph) {
    cascade_feature_map *maps = graph->maps;
    size_t end = 0, scratch = 0, taps = 0;
    maps[0] = (cascade_feature_map){.side = graph->size, .channels = CASCADE_CHANNELS, .pitch = CASCADE_CHANNELS};
    for (size_t i = 0; i < graph->node_count; i++) {
        const cascade_node *node = graph->nodes + i;
        maps[i + 1] = (cascade_feature_map){.last_use = i};
        if (!shape_of(node, maps + node->input, maps + i + 1) || !measure(node, maps + node->input, &scratch, &taps)) {
            return 0;
        }
        maps[i + 1].pitch = cascade_graph_pitch(maps[i + 1].channels);
        read_maps(graph, i);
    }
    for (size_t i = 0; i < graph->output_count; i++) {
        maps[graph->outputs[i]].last_use = graph->node_count;
    }
    for (size_t m = 0; m <= graph->node_count; m++) {
        size_t floats = map_floats(maps + m);
        if (floats == 0 || end > SIZE_MAX / 64) {
            return 0;
        }
        maps[m].offset = find_offset(maps, m, floats);
        end = cascade_max(end, maps[m].offset + floats);
    }
    graph->scratch = end;
    graph->taps = end + scratch;
    graph->workspace = (end + scratch + taps) * sizeof(float);
    return 1;
}
