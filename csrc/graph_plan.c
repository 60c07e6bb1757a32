/* Where the maps of a graph lie in its workspace: shapes, borders and life-times are found once, before it runs. */
#include "cascade.h"

/* Channels are filled up to a multiple of the widest level's lanes. */
#define CHANNEL_GROUP 16

size_t cascade_graph_pitch(size_t channels) { return (channels + CHANNEL_GROUP - 1) / CHANNEL_GROUP * CHANNEL_GROUP; }

static int product(size_t *total, size_t a, size_t b, size_t c) {
    if (a && b && c && (a > SIZE_MAX / 64 / b || a * b > SIZE_MAX / 64 / c)) {
        return 0;
    }
    *total = a * b * c;
    return 1;
}

static void at_least(size_t *size, size_t other) { *size = other > *size ? other : *size; }

/* Floats of a map with its border, a multiple of a cache line; 0 if that overflows. */
static size_t map_floats(const cascade_map *map) {
    size_t side = map->side + 2 * map->border, floats;
    return product(&floats, side, side, map->pitch) ? cascade_graph_pitch(floats) : 0;
}

/* The positions of a node's window on a padded side. Returns 0 if it does not fit. */
static int positions(const cascade_node *node, size_t side, size_t *found) {
    size_t padded = side + 2 * node->padding;
    if (node->kernel == 0 || node->stride == 0 || padded < node->kernel) {
        return 0;
    }
    *found = (padded - node->kernel) / node->stride + 1;
    return 1;
}

/* Side and channels of what a node makes. Returns 0 if it does not fit its input. */
static int shape_of(const cascade_node *node, const cascade_map *in, cascade_map *out) {
    out->side = in->side;
    out->channels = in->channels;
    if (node->kind == CASCADE_DENSE || node->kind == CASCADE_DEPTHWISE) {
        out->channels = node->kind == CASCADE_DENSE ? node->channels : in->channels;
        return positions(node, in->side, &out->side);
    }
    if (node->kind == CASCADE_PYRAMID_POOL) {
        size_t windows = 0;
        for (size_t i = 0; i < node->bin_count; i++) {
            windows += node->bins[i] * node->bins[i];
        }
        out->side = 1;
        return product(&out->channels, 2, windows, in->channels);
    }
    if (node->kind == CASCADE_SPATIAL_GATE) {
        out->channels = 1;
        return node->kernel % 2 == 1;
    }
    return 1;
}

/* Node i reads map `m`, with that border. Only a dense convolution of the crop can do without its channels being filled
 * up to a whole group. */
static void read_map(const cascade_graph *graph, size_t m, size_t i, size_t border, int filled) {
    if (m != CASCADE_NO_MAP) {
        at_least(&graph->maps[m].border, border);
        at_least(&graph->maps[m].last, i);
        if (filled) {
            graph->maps[m].pitch = cascade_graph_pitch(graph->maps[m].channels);
        }
    }
}

static void read_maps(const cascade_graph *graph, size_t i) {
    const cascade_node *node = graph->nodes + i;
    int windows = node->kind == CASCADE_DENSE || node->kind == CASCADE_DEPTHWISE;
    read_map(graph, node->input, i, windows ? node->padding : 0, node->kind != CASCADE_DENSE);
    read_map(graph, node->add, i, 0, 1);
    if (node->kind == CASCADE_GATE) {
        read_map(graph, node->channel_gate, i, 0, 1);
        read_map(graph, node->spatial_gate, i, 0, 1);
    }
}

/* The lowest place for map `m` beside those that are in use when it is made, which is when node m - 1 runs. */
static size_t place(const cascade_map *maps, size_t m, size_t floats) {
    size_t offset = 0;
    for (size_t other = 0; other < m; other++) {
        size_t end = maps[other].offset + map_floats(maps + other);
        if (maps[other].last + 1 >= m && offset < end && maps[other].offset < offset + floats) {
            offset = end;
            other = (size_t)-1; /* from the start again: what was passed may be in the way now */
        }
    }
    return offset;
}

/* Floats of what a node needs besides its maps. */
static int measure(const cascade_node *node, const cascade_map *in, size_t *scratch, size_t *taps) {
    size_t floats;
    if (node->kind == CASCADE_SPATIAL_GATE) {
        cascade_map pair = {.side = in->side, .pitch = 2, .border = node->kernel / 2};
        at_least(scratch, map_floats(&pair));
    }
    size_t channels = node->kind == CASCADE_SPATIAL_GATE ? 2 : in->channels;
    if (!product(&floats, node->kernel, node->kernel, channels)) {
        return 0;
    }
    at_least(taps, cascade_graph_pitch(floats * (sizeof(ptrdiff_t) / sizeof(float))));
    return 1;
}

int cascade_graph_plan(cascade_graph *graph) {
    cascade_map *maps = graph->maps;
    size_t end = 0, scratch = 0, taps = 0;
    maps[0] = (cascade_map){.side = graph->size, .channels = CASCADE_CHANNELS, .pitch = CASCADE_CHANNELS};
    for (size_t i = 0; i < graph->node_count; i++) {
        const cascade_node *node = graph->nodes + i;
        maps[i + 1] = (cascade_map){.last = i};
        if (!shape_of(node, maps + node->input, maps + i + 1) || !measure(node, maps + node->input, &scratch, &taps)) {
            return 0;
        }
        maps[i + 1].pitch = cascade_graph_pitch(maps[i + 1].channels);
        read_maps(graph, i);
    }
    for (size_t i = 0; i < graph->output_count; i++) {
        maps[graph->outputs[i]].last = graph->node_count;
    }
    for (size_t m = 0; m <= graph->node_count; m++) {
        size_t floats = map_floats(maps + m);
        if (floats == 0 || end > SIZE_MAX / 64) {
            return 0;
        }
        maps[m].offset = place(maps, m, floats);
        at_least(&end, maps[m].offset + floats);
    }
    graph->scratch = end;
    graph->taps = end + scratch;
    graph->workspace = end + scratch + taps;
    return 1;
}
