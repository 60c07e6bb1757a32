/*
 * Graphs of random nodes with random weights, at a SIMD level against the scalar level. For random_cases.h of
 * tests/sanitize and driver.c of tests/neon, which bring CHECK, chance, exactly, floats and pixels, and say how to free memory
 * and what to do with differences:
 *
 *   RELEASE(memory)
 *   NOTE(difference)
 */
enum { GRAPH_NODES = 16, GRAPH_CROPS = 2, GRAPH_OUTPUTS = 2 };

typedef struct {
    cascade_graph graph;
    cascade_node nodes[GRAPH_NODES];
    cascade_feature_map maps[GRAPH_NODES + 1];
    float *weights[GRAPH_NODES]; /* before they are packed for a level */
    size_t outputs[GRAPH_OUTPUTS];
} random_graph;

static size_t input_channels(const random_graph *made, const cascade_node *node) {
    return node->kind == CASCADE_NODE_SPATIAL_GATE ? 2 : made->maps[node->input].channels;
}

static size_t weight_count(const random_graph *made, size_t i) {
    const cascade_node *node = made->nodes + i;
    size_t channels = node->kind == CASCADE_NODE_DEPTHWISE ? 1 : input_channels(made, node);
    return cascade_graph_pitch(made->maps[i + 1].channels) * channels * node->kernel * node->kernel;
}

/* Adds a node, finds its shape, and gives it weights. Returns the number of its feature map. */
static size_t add_node(random_graph *made, cascade_node node) {
    size_t i = made->graph.node_count++;
    made->nodes[i] = node;
    CHECK(cascade_graph_plan(&made->graph), "node %zu of kind %d does not fit", i, node.kind);
    if (node.kind <= CASCADE_NODE_DEPTHWISE || node.kind == CASCADE_NODE_SPATIAL_GATE) {
        size_t channels = cascade_graph_pitch(made->maps[i + 1].channels);
        size_t inputs = node.kernel * node.kernel * (node.kind ? 1 : input_channels(made, &node));
        made->weights[i] = floats(weight_count(made, i), sqrtf(4.0f / (float)inputs));
        made->nodes[i].bias = floats(channels, 0.3f);
        made->nodes[i].slope = floats(channels, 1);
    }
    return i + 1;
}

/* A convolution or a depthwise one that fits `input`, and adds any feature map of its output's shape. */
static void add_convolution(random_graph *made, int kind, size_t input) {
    cascade_node node = {.kind = kind, .input = input, .add = CASCADE_NO_MAP, .channels = 1 + chance(40)};
    node.kernel = 1 + chance(5);
    node.stride = 1 + chance(3);
    node.sigmoid = chance(5) == 0;
    node.padding = chance(node.kernel);
    size_t side = made->maps[input].side;
    if (side + 2 * node.padding < node.kernel || chance(8) == 0) {
        node.kernel = side; /* over all of the map */
        node.padding = 0;
    }
    size_t added = add_node(made, node), first = chance(added);
    for (size_t k = 0; k < added; k++) {
        size_t m = (first + k) % added;
        if (made->maps[m].side == made->maps[added].side && made->maps[m].channels == made->maps[added].channels) {
            made->nodes[added - 1].add = m;
        }
    }
}

static size_t add_pool(random_graph *made, size_t input, size_t bins) {
    cascade_node node = {.kind = CASCADE_NODE_PYRAMID_POOL, .input = input, .add = CASCADE_NO_MAP, .bin_count = bins};
    node.kernel = node.stride = 1;
    for (size_t i = 0; i < bins; i++) {
        node.bins[i] = bins == 1 ? 1 : 1 + chance(4);
    }
    return add_node(made, node);
}

/* Both gates of a feature map, and what they let through or leave. */
static void add_gates(random_graph *made, size_t input) {
    size_t channels = made->maps[input].channels;
    cascade_node channel = {
        .kind = CASCADE_NODE_CONV, .add = CASCADE_NO_MAP, .kernel = 1, .stride = 1, .channels = channels};
    channel.input = add_pool(made, input, 1);
    channel.sigmoid = 1;
    cascade_node spatial = {
        .kind = CASCADE_NODE_SPATIAL_GATE, .input = input, .add = CASCADE_NO_MAP, .stride = 1, .sigmoid = 1};
    spatial.kernel = 1 + 2 * chance(4);
    cascade_node gate = {.kind = CASCADE_NODE_GATE, .input = input, .add = CASCADE_NO_MAP, .kernel = 1, .stride = 1};
    gate.channel_gate = add_node(made, channel);
    gate.spatial_gate = add_node(made, spatial);
    gate.rest = (int)chance(2);
    add_node(made, gate);
}

/* Every position several times, and what another map of that shape has added. */
static void add_upsample(random_graph *made, size_t input) {
    cascade_node node = {.kind = CASCADE_NODE_UPSAMPLE, .input = input, .add = CASCADE_NO_MAP, .kernel = 1};
    node.stride = 1 + chance(3);
    size_t added = add_node(made, node);
    for (size_t m = 0; m < added; m++) {
        if (made->maps[m].side == made->maps[added].side && made->maps[m].channels == made->maps[added].channels) {
            made->nodes[added - 1].add = m;
        }
    }
}

static void make_graph(random_graph *made) {
    *made = (random_graph){.graph = {.size = 1 + chance(24)}};
    made->graph.nodes = made->nodes;
    made->graph.maps = made->maps;
    made->graph.outputs = made->outputs;
    CHECK(cascade_graph_plan(&made->graph), "a crop of %zu", made->graph.size);
    size_t count = 1 + chance(GRAPH_NODES - 4);
    while (made->graph.node_count < count) {
        size_t maps = made->graph.node_count + 1, input = chance(3) ? maps - 1 : chance(maps), kind = chance(7);
        if (kind == 0 && made->maps[input].channels < 100) {
            add_pool(made, input, 1 + chance(3));
        } else if (kind == 1 && made->graph.node_count && made->maps[input].channels < 100) {
            add_gates(made, input);
        } else if (kind == 6 && made->graph.node_count && made->maps[input].side < 24) {
            add_upsample(made, input);
        } else if (kind < 4 && made->graph.node_count) {
            add_convolution(made, CASCADE_NODE_DEPTHWISE, input);
        } else {
            add_convolution(made, CASCADE_NODE_CONV, made->graph.node_count ? input : 0);
        }
    }
    made->outputs[0] = made->graph.node_count;
    made->outputs[1] = 1 + chance(made->graph.node_count);
    made->graph.output_count = GRAPH_OUTPUTS;
}

static void unmake_graph(random_graph *made) {
    for (size_t i = 0; i < made->graph.node_count; i++) {
        RELEASE(made->weights[i]);
        RELEASE((void *)made->nodes[i].bias);
        RELEASE((void *)made->nodes[i].slope);
    }
}

static size_t output_size(const random_graph *made, size_t o) {
    const cascade_feature_map *map = made->maps + made->outputs[o];
    return map->side * map->side * map->channels;
}

static void pack_graph(const cascade_kernels *level, random_graph *made) {
    for (size_t i = 0; i < made->graph.node_count; i++) {
        cascade_node *node = made->nodes + i;
        if (made->weights[i]) {
            float *packed = exactly(weight_count(made, i) * sizeof(float));
            if (node->kind == CASCADE_NODE_DEPTHWISE) {
                memcpy(packed, made->weights[i], weight_count(made, i) * sizeof(float));
            } else {
                cascade_pack_small_batch(made->weights[i], cascade_graph_pitch(made->maps[i + 1].channels),
                                 input_channels(made, node), node->kernel, level->lanes, packed);
            }
            node->weights = packed;
        }
    }
    CHECK(cascade_graph_plan(&made->graph), "graph of %zu nodes", made->graph.node_count);
}

static void unpack_graph(random_graph *made) {
    for (size_t i = 0; i < made->graph.node_count; i++) {
        RELEASE((void *)made->nodes[i].weights);
        made->nodes[i].weights = NULL;
    }
}

/* Runs the graph over crops; the outputs one after the other. */
static float *graph_outputs(const cascade_kernels *level, random_graph *made, const uint8_t *crops, size_t count) {
    pack_graph(level, made);
    float *out = exactly(count * (output_size(made, 0) + output_size(made, 1)) * sizeof(float));
    float *targets[GRAPH_OUTPUTS] = {out, out + count * output_size(made, 0)};
    void *workspace = exactly(made->graph.workspace);
    cascade_graph_job job = {level, &made->graph, crops, targets};
    for (size_t crop = 0; crop < count; crop++) {
        cascade_graph_forward(&job, crop, workspace);
    }
    RELEASE(workspace);
    unpack_graph(made);
    return out;
}

/* Outputs within 1e-5 of the largest: sums run in another order, and errors propagate from node to node. */
static void compare_outputs(const random_graph *made, const float *found, const float *expected, size_t count) {
    for (size_t o = 0; o < GRAPH_OUTPUTS; o++) {
        size_t values = count * output_size(made, o);
        float most = 1;
        for (size_t i = 0; i < values; i++) {
            CHECK(isfinite(expected[i]), "output %zu of a graph of %zu nodes: value %zu", o, made->graph.node_count, i);
            most = fmaxf(most, fabsf(expected[i]));
        }
        for (size_t i = 0; i < values; i++) {
            NOTE(fabsf(found[i] - expected[i]) / most);
            CHECK(fabsf(found[i] - expected[i]) <= 1e-5f * most,
                  "output %zu of a graph of %zu nodes: %zu is %g, not %g", o, made->graph.node_count, i,
                  (double)found[i], (double)expected[i]);
        }
        found += values;
        expected += values;
    }
}

/* A level against the scalar level, and the last crop alone against itself among others, to the bit. */
static void try_graph(const cascade_kernels *level, const cascade_kernels *right) {
    random_graph made;
    make_graph(&made);
    size_t bytes = made.graph.size * made.graph.size * CASCADE_CHANNELS, first = output_size(&made, 0);
    uint8_t *crops = pixels(GRAPH_CROPS * bytes);
    float *found = graph_outputs(level, &made, crops, GRAPH_CROPS);
    float *expected = graph_outputs(right, &made, crops, GRAPH_CROPS);
    float *alone = graph_outputs(level, &made, crops + (GRAPH_CROPS - 1) * bytes, 1);
    compare_outputs(&made, found, expected, GRAPH_CROPS);
    CHECK(!memcmp(alone, found + (GRAPH_CROPS - 1) * first, first * sizeof(float)),
          "the last crop of a graph of %zu nodes", made.graph.node_count);
    RELEASE(crops);
    RELEASE(found);
    RELEASE(expected);
    RELEASE(alone);
    unmake_graph(&made);
}

/* One filter per channel: any taps, positions any distance apart. */
static void try_depthwise(const cascade_kernels *level, const cascade_kernels *right, size_t vectors,
                          size_t tap_count) {
    size_t groups = 1 + chance(3), channels = groups * level->lanes, in_step = channels * (1 + chance(3)), reach = 40;
    size_t out_step = channels * (1 + chance(2)), count = (vectors - 1) * out_step + channels;
    ptrdiff_t *taps = exactly(tap_count * sizeof(ptrdiff_t));
    for (size_t k = 0; k < tap_count; k++) {
        taps[k] = (ptrdiff_t)(k ? chance(reach + 1) : reach);
    }
    float *in = floats(reach + (vectors - 1) * in_step + channels, 1), *weights = floats(tap_count * channels, 1);
    float *bias = floats(channels, 1), *slope = floats(channels, 1);
    float *found = exactly(count * sizeof(float)), *expected = exactly(count * sizeof(float));
    cascade_span span = {(ptrdiff_t)in_step, taps, tap_count, (ptrdiff_t)out_step, 0, vectors};
    level->depthwise_f32(in, found, &span, channels, weights, bias, slope);
    right->depthwise_f32(in, expected, &span, channels, weights, bias, slope);
    for (size_t i = 0; i < vectors * channels; i++) {
        size_t at = i / channels * out_step + i % channels;
        NOTE(fabsf(found[at] - expected[at]) / (1 + fabsf(expected[at])));
        CHECK(fabsf(found[at] - expected[at]) <= 1e-5f * (1 + fabsf(expected[at])),
              "depthwise: %zu positions of %zu: %g, not %g", vectors, channels, (double)found[at],
              (double)expected[at]);
    }
    RELEASE(taps);
    RELEASE(in);
    RELEASE(weights);
    RELEASE(bias);
    RELEASE(slope);
    RELEASE(found);
    RELEASE(expected);
}
