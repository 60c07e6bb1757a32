/*
 * Runs every function of the core at every SIMD level of this machine, over random sizes, with buffers of exactly the size
 * that the core asks for, filled with NaN. The sanitizers see any access outside, and the comparison with the scalar level sees
 * any value that was never written; under valgrind such values count as undefined. Built by build_driver.py, which writes
 * networks.h. threads.c runs what threads share.
 *
 *   driver [SEED [PERCENT]]   other cases for every seed; only some of them, for a short run
 */
#include "random_cases.h"

#include "networks.h" /* static const network_shape networks[], from cascade/nn/architectures.py */

/* ---- resampling ------------------------------------------------------------------------------------------ */

/* `spare`: the workspace is that of larger boxes and wider images, as a batch of crops has it. */
static uint8_t *resampled(const cascade_kernels *level, const uint8_t *image, size_t width, size_t height,
                          const double box[4], size_t columns, size_t rows, double spare) {
    void *workspace =
        exactly(cascade_resample_workspace((box[2] - box[0]) * (1 + spare), (box[3] - box[1]) * (1 + spare),
                                           width + (size_t)(100 * spare), columns, rows));
    uint8_t *out = exactly(columns * rows * 3);
    size_t cuts[3] = {0, chance(rows + 1), rows}; /* in two strips, either of which may be empty */
    for (size_t i = 0; i < 2; i++) {
        size_t from, to, first = cuts[i], end = cuts[i + 1];
        cascade_rows_read(box[1], box[3] - box[1], height, rows, first, end, &from, &to);
        cascade_image seen =
            first < end ? strip_of(image, width, height, from, to) : strip_of(image, width, height, 0, 0);
        cascade_resample(level, &seen, box, out + first * columns * 3, columns, rows, first, end, workspace);
        free((void *)seen.pixels);
    }
    free(workspace);
    return out;
}

static void try_box(const cascade_kernels *level, size_t width, size_t height, const double box[4], size_t columns,
                    size_t rows) {
    uint8_t *image = pixels(width * height * 3);
    uint8_t *found = resampled(level, image, width, height, box, columns, rows, 0);
    uint8_t *expected = resampled(scalar(), image, width, height, box, columns, rows, chance(2) ? between(0, 2) : 0);
    CHECK(!memcmp(found, expected, columns * rows * 3), "%s: box %g %g %g %g of %zu * %zu to %zu * %zu", level->name,
          box[0], box[1], box[2], box[3], width, height, columns, rows);
    free(image);
    free(found);
    free(expected);
}

static void try_resampling(const cascade_kernels *level) {
    double far = 1048575.0;
    for (size_t i = 0; i < some(400); i++) {
        size_t width = 1 + chance(70), height = 1 + chance(70), columns = 1 + chance(40), rows = 1 + chance(40);
        double whole[4] = {0, 0, (double)width, (double)height}, x = between(-90, 90), y = between(-90, 90);
        double part[4] = {x, y, x + between(1e-3, 120), y + between(1e-3, 120)};
        double grid[4] = {floor(x), floor(y), floor(x) + 1 + (double)chance(90), floor(y) + 1 + (double)chance(90)};
        double huge[4] = {-between(0, far), -between(0, far), between(1, far), between(1, far)};
        double edge[4] = {(double)width - 1e-9, (double)height - 1e-9, (double)width + 4, (double)height + 4};
        try_box(level, width, height, whole, columns, rows);
        try_box(level, width, height, part, columns, rows);
        try_box(level, width, height, grid, columns, rows);
        try_box(level, width, height, edge, columns, rows);
        if (i < 5) {
            try_box(level, width, height, huge, columns, rows);
        }
    }
    double corners[][4] = {
        {-far, -far, far, far}, {far - 1, 0, far, 1}, {-far, 0, -far + 1, 1}, {0, 0, 1e-300, 1e-300}};
    for (size_t i = 0; i < LENGTH(corners); i++) {
        try_box(level, 3, 5, corners[i], 1, 2);
    }
}

/* ---- kernels --------------------------------------------------------------------------------------------- */

/* A length near those at which the kernels switch to other loops, or any. */
static size_t length(void) {
    static const size_t runs[] = {2, 8, 16, 32, 48, 64, 128, 192};
    return chance(4) ? runs[chance(LENGTH(runs))] - 2 + chance(5) : chance(300);
}

/* Weights as the resampler computes them: none is positive, and they sum to minus one. */
static void fill_weights(int8_t *weights, size_t count, size_t step) {
    int32_t left = 1 << CASCADE_WEIGHT_BITS;
    for (size_t k = 0; k < count; k++) {
        int32_t weight = k + 1 == count ? left : (int32_t)chance((uint64_t)left + 1);
        weights[k * step] = (int8_t)-weight;
        left -= weight;
    }
}

static void try_rows(const cascade_kernels *level) {
    size_t n = length(), count = 1 + chance(chance(4) ? 12 : 150), stride = n + chance(9); /* other loops beyond 32 */
    uint8_t *rows = pixels((count - 1) * stride + n), *found = exactly(n), *expected = exactly(n);
    int8_t *weights = exactly(count);
    fill_weights(weights, count, 1);
    level->blend_rows(rows, stride, weights, count, found, n);
    scalar()->blend_rows(rows, stride, weights, count, expected, n);
    CHECK(!memcmp(found, expected, n), "%s: %zu rows of %zu bytes, %zu apart", level->name, count, n, stride);
    free(rows);
    free(found);
    free(expected);
    free(weights);
}

/* Columns from any of `spare` + 1 pixels on. */
static void fill_columns(int32_t *first, int8_t *weights, size_t n, size_t taps, size_t spare) {
    for (size_t i = 0; i < n; i++, weights += taps) {
        first[i] = (int32_t)chance(spare + 1);
        fill_weights(weights, taps, 1);
    }
}

/* No taps, and so no columns, is what is left of a box beside the image. */
static void try_columns(const cascade_kernels *level) {
    size_t taps = chance(5) * CASCADE_TAP_GROUP, n = taps ? length() : 0, spare = chance(40);
    uint8_t *row = pixels((taps + spare) * 3 + CASCADE_TAP_GROUP), *found = exactly(n * 3), *expected = exactly(n * 3);
    int32_t *first = exactly(n * sizeof(int32_t));
    int8_t *weights = exactly(n * taps);
    fill_columns(first, weights, n, taps, spare);
    level->blend_columns(row, first, weights, taps, taps, found, n);
    scalar()->blend_columns(row, first, weights, taps, taps, expected, n);
    CHECK(!memcmp(found, expected, n * 3), "%s: %zu columns of %zu taps", level->name, n, taps);
    free(row);
    free(found);
    free(expected);
    free(first);
    free(weights);
}

/* Lane by lane: the scalar level has one. */
static void try_interleave(const cascade_kernels *level) {
    size_t lanes = level->lanes, count = 1 + chance(lanes), values = 1 + length();
    uint8_t *crops = pixels(count * values);
    float *found = exactly(lanes * values * sizeof(float)), *expected = exactly(values * sizeof(float));
    level->interleave_f32(crops, count, values, found);
    for (size_t lane = 0; lane < lanes; lane++) {
        scalar()->interleave_f32(crops + (lane < count ? lane : count - 1) * values, 1, values, expected);
        for (size_t i = 0; i < values; i++) {
            CHECK(found[i * lanes + lane] == expected[i], "%s: value %zu of crop %zu", level->name, i, lane);
        }
    }
    free(crops);
    free(found);
    free(expected);
}

static void try_split(const cascade_kernels *level) {
    size_t n = length(), pitch = n + chance(20), values = (CASCADE_SPLIT_BYTES - 1) * pitch + n;
    uint8_t *row = pixels(n * CASCADE_SPLIT_BYTES);
    float *found = exactly(values * sizeof(float)), *expected = exactly(values * sizeof(float));
    level->split_f32(row, n, found, pitch);
    scalar()->split_f32(row, n, expected, pitch);
    for (size_t plane = 0; plane < CASCADE_SPLIT_BYTES; plane++) {
        CHECK(!memcmp(found + plane * pitch, expected + plane * pitch, n * sizeof(float)), "%s: byte %zu of %zu",
              level->name, plane, n);
    }
    free(row);
    free(found);
    free(expected);
}

static void try_kernels(const cascade_kernels *level) {
    for (size_t i = 0; i < some(500); i++) {
        try_rows(level);
        try_columns(level);
        try_interleave(level);
        try_split(level);
    }
}

/* ---- warping --------------------------------------------------------------------------------------------- */

static int64_t floor_divide(int64_t value, int64_t by) { return value / by - (value % by < 0); }

static size_t nearest(int64_t index, size_t size) {
    return index < 0 ? 0 : index < (int64_t)size ? (size_t)index : size - 1;
}

/* By the rule: the four pixels about (x, y), weighted in 256ths along both axes. */
static int shown(const uint8_t *image, size_t width, size_t height, int64_t x, int64_t y, size_t channel, int padding) {
    if (x < 0 || y < 0 || x >= (int64_t)width * PIXEL || y >= (int64_t)height * PIXEL) {
        return padding;
    }
    int64_t across = floor_divide(x - PIXEL / 2, PIXEL / 256), down = floor_divide(y - PIXEL / 2, PIXEL / 256);
    int64_t column = floor_divide(across, 256), row = floor_divide(down, 256), sum = 256 * 256 / 2;
    for (int64_t k = 0; k < 4; k++) {
        int64_t right = k % 2, below = k / 2, wide = across - 256 * column, high = down - 256 * row;
        size_t pixel = nearest(row + below, height) * width + nearest(column + right, width);
        sum += image[pixel * 3 + channel] * (right ? wide : 256 - wide) * (below ? high : 256 - high);
    }
    return (int)(sum / (256 * 256));
}

/* The rows of an image that crop pixels inside it show. */
static cascade_image shown_rows(const uint8_t *image, size_t width, size_t height, const int64_t transform[6],
                                size_t size) {
    int64_t from = (int64_t)height, to = 0;
    for (size_t i = 0; i < 4; i++) {
        int64_t last = (int64_t)size - 1,
                y = transform[5] + (i % 2 ? transform[3] * last : 0) + (i / 2 ? transform[4] * last : 0);
        int64_t row = floor_divide(y - PIXEL / 2, PIXEL);
        from = row < from ? row : from;
        to = row + 2 > to ? row + 2 : to;
    }
    size_t first = nearest(from, height);
    return strip_of(image, width, height, first, to < (int64_t)height ? (size_t)to : height);
}

static void try_warp(const cascade_kernels *level) {
    int64_t transform[6];
    size_t width = 1 + chance(chance(4) ? 40 : 2), height = 1 + chance(chance(4) ? 40 : 2), size = 1 + chance(60);
    uint8_t *image = pixels(width * height * 3), *out = exactly(size * size * 3);
    if (chance(3)) {
        random_transform(transform, size, width, height);
    } else {
        even_transform(transform, width, height);
    }
    uint8_t padding = (uint8_t)chance(256);
    cascade_image seen = shown_rows(image, width, height, transform, size);
    cascade_warp(level, &seen, transform, padding, out, size);
    free((void *)seen.pixels);
    for (size_t i = 0; i < size * size * 3; i++) {
        int64_t column = (int64_t)(i / 3 % size), row = (int64_t)(i / 3 / size);
        int64_t x = transform[0] * column + transform[1] * row + transform[2];
        int64_t y = transform[3] * column + transform[4] * row + transform[5];
        int expected = shown(image, width, height, x, y, i % 3, padding);
        CHECK(out[i] == expected, "%s: %zu * %zu: byte %zu is %d, not %d", level->name, width, height, i, out[i],
              expected);
    }
    free(image);
    free(out);
}

/* ---- networks -------------------------------------------------------------------------------------------- */

/* Networks of int8 to the bit. */
static void agree(const float *found, const float *expected, size_t count, const network_shape *network,
                  const char *level) {
    float allowed = network->dtype == CASCADE_INT8 ? 0 : 1e-3f;
    for (size_t i = 0; i < count; i++) {
        CHECK(fabsf(found[i] - expected[i]) <= allowed * (1 + fabsf(expected[i])), "%s at %s: output %zu is %g, not %g",
              network->name, level, i, found[i], expected[i]);
    }
}

/* The last crop of `count`, which lies at the very end of its buffer: as at the scalar level, and the same to the bit alone as
 * among the others. */
static void try_batch(const cascade_kernels *level, const network_shape *network, const cascade_layer *layers,
                      size_t count) {
    size_t outputs = layers[network->count - 1].out_elements, values = network->size * network->size * 3;
    uint8_t *crops = pixels(count * values);
    const uint8_t *last = crops + (count - 1) * values;
    float *found = batch_outputs(level, layers, network->count, crops, count, network->size);
    float *alone = batch_outputs(level, layers, network->count, last, 1, network->size);
    float *expected = batch_outputs(scalar(), layers, network->count, last, 1, network->size);
    agree(found + (count - 1) * outputs, expected, outputs, network, level->name);
    CHECK(!memcmp(found + (count - 1) * outputs, alone, outputs * sizeof(float)), "%s at %s: the last of %zu crops",
          network->name, level->name, count);
    free(crops);
    free(found);
    free(alone);
    free(expected);
}

static void try_crops(const cascade_kernels *level, const network_shape *network) {
    cascade_layer layers[16];
    build(layers, network, level->lanes);
    try_batch(level, network, layers, 1 + chance(level->lanes));
    try_batch(level, network, layers, level->lanes);
    try_batch(level, network, layers, level->lanes + 1 + chance(level->lanes));
    CHECK(cascade_small_batch_packed(layers) == cascade_small_batch_usable(layers, network->count, level->lanes), "%s",
          network->name);
    demolish(layers, network->count);
}

/* A tile is the same part of all outputs to the bit, and as at the scalar level. */
static void try_tile(const cascade_kernels *level, const cascade_feature_grid *grid, const cascade_layer *layers,
                     const network_shape *network, size_t width, size_t height) {
    uint8_t *image = pixels(width * height * 3);
    cascade_tile all = {0, 0, grid->rows, grid->columns}, tile = {chance(grid->rows), chance(grid->columns), 1, 1};
    tile.rows += chance(grid->rows - tile.top);
    tile.columns += chance(grid->columns - tile.left);
    float *found = tile_outputs(level, grid, layers, network->count, image, width, height, &tile);
    float *whole = tile_outputs(level, grid, layers, network->count, image, width, height, &all);
    float *expected = tile_outputs(scalar(), grid, layers, network->count, image, width, height, &tile);
    agree(found, expected, tile.rows * grid->outputs * tile.columns, network, level->name);
    for (size_t line = 0; line < tile.rows * grid->outputs; line++) {
        const float *part = whole + (tile.top * grid->outputs + line) * grid->columns + tile.left;
        CHECK(!memcmp(found + line * tile.columns, part, tile.columns * sizeof(float)), "%s at %s: line %zu of a tile",
              network->name, level->name, line);
    }
    free(image);
    free(found);
    free(whole);
    free(expected);
}

static void try_scan(const cascade_kernels *level, const network_shape *network, size_t width, size_t height) {
    cascade_layer layers[16];
    cascade_feature_grid grid;
    build(layers, network, level->lanes);
    CHECK(cascade_feature_grid_plan(&grid, layers, network->count, network->padding, width, height), "%s",
          network->name);
    CHECK(grid.receptive_field == network->size, "%s: field %zu", network->name, grid.receptive_field);
    if (grid.rows && grid.columns) {
        try_tile(level, &grid, layers, network, width, height);
    }
    demolish(layers, network->count);
}

static void try_network(const cascade_kernels *level, const network_shape *network) {
    try_crops(level, network);
    if (strstr(network->name, "pnet")) {
        for (size_t k = 0; k < some(12); k++) {
            try_scan(level, network, 1 + chance(90), 1 + chance(90));
        }
        try_scan(level, network, 1, 1);
        try_scan(level, network, 700, 13);
        try_scan(level, network, 13, 700);
    }
}

static void try_networks(const cascade_kernels *level) {
    for (size_t i = 0; i < LENGTH(networks); i++) {
        network_shape network = networks[i];
        try_network(level, &network);
        if (CHECKS_INT8(level) && make_int8(&network)) {
            try_network(level, &network);
        }
    }
    for (size_t i = 0; i < some(120); i++) {
        network_shape network = i % 2 && CHECKS_INT8(level) ? random_int8_network() : random_network();
        if (network.size <= 64) {
            try_crops(level, &network);
        }
        try_scan(level, &network, 1 + chance(60), 1 + chance(60));
    }
    /* pools that skip pixels, on every remainder */
    for (size_t size = 1; size <= 12; size++) {
        network_shape network = {
            "skipping", size, 0, 2, {{CASCADE_MAX_POOL, 1, 5, 0}, {CASCADE_CONV, (size + 4) / 5, 1, 3}}, CASCADE_F32};
        try_crops(level, &network);
    }
}

static void try_int8(const cascade_kernels *level) {
    for (size_t i = 0; i < some(300); i++) {
        int dequantize = (int)chance(2);
        size_t channels = dequantize ? 1 + chance(20) : CASCADE_PACKED * (1 + chance(10));
        try_conv_int8(level, scalar(), channels, 1 + chance(40), 1 + chance(13), dequantize);
        try_interleave_int8(level, 1 + chance(level->lanes), 1 + chance(100));
        try_split_int8(level, length());
    }
}

static void try_graphs(const cascade_kernels *level) {
    for (size_t i = 0; i < some(300); i++) {
        try_depthwise(level, scalar(), 1 + chance(30), 1 + chance(12));
        try_graph(level, scalar());
    }
}

/* Sizes that no memory holds are refused, not wrapped around. */
static void try_overflow(void) {
    float value = 0;
    cascade_layer layer = {.in_elements = 3,
                           .out_elements = SIZE_MAX / 8,
                           .channels = SIZE_MAX / 8,
                           .kernel = 1,
                           .stride = 1,
                           .f32 = {.weights = &value, .bias = &value, .slope = &value}};
    cascade_feature_grid grid;
    CHECK(cascade_batch_workspace(&layer, 1, SIZE_MAX / 4, 16) == 0, "crops");
    CHECK(cascade_batch_workspace(&layer, 1, 4, 16) == 0, "crops of many channels");
    CHECK(cascade_image_workspace(&layer, 1, SIZE_MAX / 32, SIZE_MAX / 32, 16) == 0, "image");
    CHECK(cascade_image_workspace(&layer, 1, 1, SIZE_MAX / 32, 16) == 0, "one row");
    cascade_node node = {.add = CASCADE_NO_MAP, .kernel = 1, .stride = 1, .channels = SIZE_MAX / 256};
    cascade_feature_map maps[2];
    cascade_graph graph = {.size = 4, .node_count = 1, .nodes = &node, .maps = maps};
    CHECK(!cascade_graph_plan(&graph), "a node of many channels");
    graph.size = SIZE_MAX / 64;
    CHECK(!cascade_graph_plan(&graph), "a graph over crops");
    layer.kernel = 17;
    CHECK(!cascade_feature_grid_plan(&grid, &layer, 1, 0, 99, 99), "kernel");
    CHECK(cascade_layer_output(&layer, 16) == 0, "input smaller than the kernel");
}

/* ---- boxes ----------------------------------------------------------------------------------------------- */

/* The boxes are those of a row: sorted, and each overlaps its neighbours. */
static void try_voting(size_t n) {
    size_t count = (n + 2) / 3;
    float *boxes = exactly(4 * n * sizeof(float)), *logits = exactly(n * sizeof(float)), *most = exactly(n * sizeof(float));
    float *kept = exactly(4 * count * sizeof(float)), *voted = exactly(4 * count * sizeof(float));
    float *votes = exactly(count * sizeof(float));
    for (size_t i = 0; i < n; i++) {
        float left = 3.0f * (float)i, side = 10.0f + (float)chance(20);
        float box[4] = {left, 0.0f, left + side, side};
        memcpy(boxes + 4 * i, box, sizeof box);
        logits[i] = (float)chance(20) - 10.0f;
        most[i] = 0.0f;
        if (i % 3 == 0) {
            memcpy(kept + 4 * (i / 3), box, sizeof box);
        }
    }
    CHECK(cascade_vote(boxes, logits, n, kept, count, 0.5f, most, voted, votes, NULL), "%zu", n);
    for (size_t i = 0; i < count; i++) {
        CHECK(votes[i] > 0.0f, "votes %zu of %zu", i, count);
        CHECK(fabsf(voted[4 * i] - kept[4 * i]) <= 30.0f && voted[4 * i + 2] > voted[4 * i], "box %zu of %zu", i, count);
    }
    free(boxes);
    free(logits);
    free(most);
    free(kept);
    free(voted);
    free(votes);
}

static void try_suppression(const cascade_kernels *level, size_t n) {
    float *boxes = exactly(4 * n * sizeof(float)), *workspace = exactly(cascade_nms_workspace(n));
    int64_t *order = exactly(n * sizeof(int64_t)), *keep = exactly(n * sizeof(int64_t)), *expected = exactly(n * 8);
    for (size_t i = 0; i < n; i++) {
        order[i] = (int64_t)(n - 1 - i);
        /* whole numbers, some inside out: areas are exact, so that all levels agree to the last box */
        size_t spread = n < 500 ? 40 : 2000;
        for (size_t k = 0; k < 4; k++) {
            boxes[4 * i + k] = (float)(k < 2 || chance(4) == 0 ? chance(spread) : (uint64_t)boxes[4 * i + k - 2] + chance(60)) +
                               (k > 1 ? 15 : 0);
        }
    }
    for (int mode = CASCADE_NMS_UNION; mode <= CASCADE_NMS_MIN; mode++) {
        size_t kept = cascade_nms(level, boxes, order, n, 0.3f, mode, keep, workspace, NULL);
        CHECK(kept == cascade_nms(scalar(), boxes, order, n, 0.3f, mode, expected, workspace, NULL) && kept <= n, "%zu", n);
        CHECK(!memcmp(keep, expected, kept * sizeof(int64_t)), "%s keeps other boxes of %zu", level->name, n);
    }
    free(boxes);
    free(workspace);
    free(order);
    free(keep);
    free(expected);
}

static void try_boxes(size_t n) {
    float *boxes = floats(4 * n, 50), *offsets = floats(4 * n, 1);
    cascade_apply_box_deltas(boxes, offsets, n);
    cascade_square(boxes, n);
    cascade_clip(boxes, n, 30, 20);
    for (size_t i = 0; i < 4 * n; i++) {
        CHECK(boxes[i] >= 0 && boxes[i] <= (i % 2 ? 20 : 30), "clipped to %g", boxes[i]);
    }
    free(boxes);
    free(offsets);
}

/* Any number that the core may be given: mostly within -size .. size, but also at a limit, beyond it, or NaN. */
static double wild(double size) {
    static const double odd[] = {0,         1,  CASCADE_MAX_COORDINATE, -CASCADE_MAX_COORDINATE, 3e38, -1e-40, INFINITY,
                                 -INFINITY, NAN};
    return chance(6) ? between(-size, size) : odd[chance(LENGTH(odd))];
}

static float *wild_floats(size_t count, double size) {
    float *values = exactly(count * sizeof(float));
    for (size_t i = 0; i < count; i++) {
        values[i] = (float)wild(size);
    }
    return values;
}

/* Equal but for rounding; what is not a number, or infinite, is so on both sides. */
static int close_to(double found, double expected) {
    if (!isfinite(found) || !isfinite(expected)) {
        return !isfinite(found) && !isfinite(expected);
    }
    return fabs(found - expected) <= 1e-5 * (1 + fabs(expected));
}

static void try_windows(size_t n) {
    size_t pitch = 2 + chance(6);
    cascade_window_layout layout = {between(1, 8), between(-20, 20), between(1, 50)};
    double scale[2] = {between(0.01, 1), between(0.01, 1)};
    /* of each window only the first two are written */
    float *found = exactly(n * pitch * sizeof(float)), *boxes = exactly(4 * n * sizeof(float));
    for (size_t i = 0; i < n; i++) {
        found[i * pitch] = (float)wild(500);
        found[i * pitch + 1] = (float)wild(500);
    }
    cascade_window_boxes(found, n, pitch, &layout, scale, boxes);
    for (size_t i = 0; i < 4 * n; i++) {
        double corner = found[i / 4 * pitch + i % 2] * layout.stride + layout.margin;
        float edge = (float)((corner + (i % 4 < 2 ? 0 : layout.window)) / scale[i % 2]);
        CHECK(close_to(boxes[i], edge), "edge %zu of %zu windows is %g, not %g", i, n, boxes[i], edge);
    }
    free(found);
    free(boxes);
}

static void try_framing(size_t n) {
    cascade_framing framing = {(float)between(-0.5, 0.5), (float)between(0, 500), 1.0f, 2.0f};
    float *windows = wild_floats(4 * n, 500), *logits = exactly(n * sizeof(float));
    cascade_framing_logits(windows, n, 300, 200, &framing, logits);
    for (size_t i = 0; i < n; i++) {
        const float *w = windows + 4 * i;
        float side = w[2] - w[0], across = fminf(w[0], 300 - w[2]), down = fminf(w[1], 200 - w[3]);
        float rest = fminf(across, down) < side * framing.gap ? 1.0f : 0.0f;
        CHECK(logits[i] == (side >= framing.close_up_side ? 2.0f : rest), "window %zu of %zu: %g", i, n, logits[i]);
    }
    free(windows);
    free(logits);
}

static void try_expand(size_t n) {
    float *boxes = wild_floats(4 * n, 500);
    double *expanded = exactly(4 * n * sizeof(double)), context = chance(3) ? between(0, 4) : 1;
    cascade_expand(boxes, n, context, expanded);
    for (size_t i = 0; i < 4 * n; i++) {
        /* the edge on the other side: i ^ 2 */
        double edge = boxes[i], other = boxes[i ^ 2], expected = (edge + other) / 2 + (edge - other) / 2 * context;
        CHECK(close_to(expanded[i], expected), "edge %zu of %zu boxes times %g is %g", i, n, context, expanded[i]);
    }
    free(boxes);
    free(expanded);
}

/* Logits fused with those of earlier stages, and points in pixels. */
static void try_outputs(size_t n) {
    size_t pitch = 2 + chance(15);
    float *outputs = floats(n * pitch, 9), *logits = floats(n, 9), *before = exactly(n * sizeof(float));
    memcpy(before, logits, n * sizeof(float));
    cascade_fuse_logits(outputs, pitch, n, 0.5f, logits);
    for (size_t i = 0; i < n; i++) {
        double expected = (outputs[i * pitch + 1] - outputs[i * pitch] + 0.5 * before[i]) / 1.5;
        CHECK(close_to(logits[i], expected), "logit %zu of %zu is %g", i, n, logits[i]);
    }
    float window[4] = {-7, 3, 33, 5}, *fractions = floats(2 * n, 1), *points = exactly(2 * n * sizeof(float));
    cascade_window_points(window, fractions, n, points);
    for (size_t k = 0; k < 2 * n; k++) {
        double expected = k % 2 ? 3 + 2.0 * fractions[k] : -7 + 40.0 * fractions[k];
        CHECK(close_to(points[k], expected), "coordinate %zu of %zu points is %g", k, n, points[k]);
    }
    free(outputs);
    free(logits);
    free(before);
    free(fractions);
    free(points);
}

/* Whether every number below n is in the list once. */
static int all_once(const int64_t *list, size_t n) {
    uint8_t *seen = exactly(n);
    size_t different = 0;
    memset(seen, 0, n);
    for (size_t i = 0; i < n; i++) {
        CHECK(list[i] >= 0 && list[i] < (int64_t)n, "number %zu of %zu is %lld", i, n, (long long)list[i]);
        different += !seen[list[i]];
        seen[list[i]] = 1;
    }
    free(seen);
    return different == n;
}

static void try_order(size_t n) {
    static const float values[] = {-INFINITY, -1, 0, 0.5f, INFINITY};
    float *scores = exactly(n * sizeof(float));
    int64_t *order = exactly(n * sizeof(int64_t)), *scratch = exactly(n * sizeof(int64_t));
    int tied = (int)chance(2);
    for (size_t i = 0; i < n; i++) {
        scores[i] = tied ? values[chance(LENGTH(values))] : (float)between(-9, 9);
    }
    CHECK(cascade_argsort(scores, n, order, scratch, NULL), "an order of %zu scores", n);
    CHECK(all_once(order, n), "an order of %zu scores", n);
    for (size_t i = 1; i < n; i++) {
        float before = scores[order[i - 1]], after = scores[order[i]];
        CHECK(before > after || (before == after && order[i - 1] < order[i]), "%g, then %g of %zu", before, after, n);
    }
    /* NaN may come anywhere, but no index is lost */
    for (size_t i = 0; i < n; i++) {
        scores[i] = chance(4) ? scores[i] : NAN;
    }
    CHECK(cascade_argsort(scores, n, order, scratch, NULL), "an order of %zu scores", n);
    CHECK(all_once(order, n), "an order of %zu scores, some of them NaN", n);
    free(scores);
    free(order);
    free(scratch);
}

static int usable_box(const float *box) {
    for (size_t k = 0; k < 4; k++) {
        if (isnan(box[k]) || box[k] > CASCADE_MAX_COORDINATE || box[k] < -CASCADE_MAX_COORDINATE) {
            return 0;
        }
    }
    return box[2] - box[0] >= CASCADE_MIN_BOX_SIDE && box[3] - box[1] >= CASCADE_MIN_BOX_SIDE;
}

static void try_candidates(size_t n) {
    float *windows = wild_floats(4 * n, 50), *offsets = wild_floats(4 * n, 1), *logits = wild_floats(n, 3);
    float *boxes = exactly(4 * n * sizeof(float)), *expected = exactly(4 * n * sizeof(float));
    int64_t *kept = exactly(n * sizeof(int64_t));
    for (size_t i = 0; i < 4 * n; i++) {
        if (i % 4 < 2 && chance(4)) { /* most have an inside */
            windows[i + 2] = windows[i] + (float)between(0, 20);
        }
        offsets[i] = chance(4) ? (float)between(-0.2, 0.2) : offsets[i];
    }
    float limits[] = {-INFINITY, -1, 0.5f, INFINITY}, threshold = limits[chance(LENGTH(limits))];
    size_t count = cascade_candidates(windows, offsets, logits, n, threshold, boxes, kept), next = 0;
    CHECK(count <= n, "%zu candidates of %zu windows", count, n);
    memcpy(expected, windows, 4 * n * sizeof(float));
    cascade_apply_box_deltas(expected, offsets, n);
    for (size_t i = 0; i < n; i++) {
        if (logits[i] >= threshold && usable_box(expected + 4 * i)) {
            CHECK(next < count && kept[next] == (int64_t)i, "window %zu of %zu is no candidate", i, n);
            CHECK(!memcmp(boxes + 4 * next, expected + 4 * i, 4 * sizeof(float)), "the box of window %zu of %zu", i, n);
            next++;
        }
    }
    CHECK(next == count, "%zu candidates of %zu windows, not %zu", count, n, next);
    free(windows);
    free(offsets);
    free(logits);
    free(boxes);
    free(expected);
    free(kept);
}

/* ---- landmarks ------------------------------------------------------------------------------------------- */

static double *doubles(size_t count, double size, int odd) {
    double *values = exactly(count * sizeof(double));
    for (size_t i = 0; i < count; i++) {
        values[i] = odd ? wild(size) : between(-size, size);
    }
    return values;
}

/* Points that a known similarity maps to a template: it is found, and its inverse leads back to them. */
static void try_known_similarity(size_t count) {
    double *points = doubles(2 * count, 100, 0), *template = exactly(2 * count * sizeof(double));
    double *matrix = exactly(6 * sizeof(double)), angle = between(-4, 4), zoom = between(0.1, 10);
    double known[6] = {zoom * cos(angle), -zoom * sin(angle), between(-500, 500), zoom * sin(angle), zoom * cos(angle),
                      between(-500, 500)};
    points[2] = points[0] + 1 + between(0, 50); /* the first two lie apart */
    for (size_t k = 0; k < 2 * count; k += 2) {
        template[k] = known[0] * points[k] + known[1] * points[k + 1] + known[2];
        template[k + 1] = known[3] * points[k] + known[4] * points[k + 1] + known[5];
    }
    CHECK(cascade_similarity(points, template, count, 1e-6, matrix), "%zu points", count);
    for (size_t k = 0; k < 6; k++) {
        CHECK(fabs(matrix[k] - known[k]) < 1e-6, "%zu points: number %zu is %g, not %g", count, k, matrix[k], known[k]);
    }
    for (size_t k = 0; k < 2 * count; k += 2) {
        double *back = exactly(2 * sizeof(double));
        cascade_inverse_transform(matrix, template[k], template[k + 1], back);
        double off = hypot(back[0] - points[k], back[1] - points[k + 1]);
        CHECK(off < 1e-6, "point %zu of %zu comes back %g pixels off", k / 2, count, off);
        free(back);
    }
    free(points);
    free(template);
    free(matrix);
}

/* Any points: a finite transform that maps their mean to the template's, or NaN. */
static void try_similarity(size_t count) {
    double *points = doubles(2 * count, 100, (int)chance(2)), *template = doubles(2 * count, 100, chance(4) == 0);
    double *matrix = exactly(6 * sizeof(double)), right = 0, down = 0, far = 1;
    int found = cascade_similarity(points, template, count, chance(3) ? 1e-6 : 0, matrix), finite = 1;
    for (size_t k = 0; k < 2 * count; k++) {
        finite &= isfinite(points[k]) && isfinite(template[k]);
    }
    CHECK(!found || (finite && count > 1), "a transform of %zu points, finite: %d", count, finite);
    for (size_t k = 0; k < 6; k++) {
        CHECK(found ? isfinite(matrix[k]) : isnan(matrix[k]), "%zu points: number %zu is %g", count, k, matrix[k]);
    }
    for (size_t k = 0; k < 2 * count && found; k += 2) { /* the mean of the points is mapped to that of the template */
        right += matrix[0] * points[k] + matrix[1] * points[k + 1] + matrix[2] - template[k];
        down += matrix[3] * points[k] + matrix[4] * points[k + 1] + matrix[5] - template[k + 1];
        far += fabs(matrix[2]) + fabs(matrix[5]) + fabs(template[k]) + fabs(template[k + 1]);
    }
    CHECK(hypot(right, down) < 1e-6 * far, "%zu points are off by %g, %g", count, right, down);
    free(points);
    free(template);
    free(matrix);
}

static void try_can_align(size_t count) {
    float *points = chance(2) ? wild_floats(2 * count, 1e5) : floats(2 * count, 1e5);
    double *matrix = doubles(6, 30, chance(3) == 0), size = 1 + (double)chance(60);
    double zoom = hypot(matrix[0], matrix[3]) / size;
    int expected = zoom <= 1 && zoom >= 1 / (double)CASCADE_MAX_COORDINATE;
    for (size_t k = 0; k < 2 * count; k++) {
        expected &= points[k] <= CASCADE_MAX_COORDINATE && points[k] >= -CASCADE_MAX_COORDINATE;
    }
    int found = cascade_can_align(points, count, matrix, size);
    CHECK(found == expected, "%zu points by %g, %g to %g pixels", count, matrix[0], matrix[3], size);
    free(points);
    free(matrix);
}

/* A matrix with NaN has no inverse. */
static void try_wild_inverse(void) {
    static const size_t needed[] = {0, 1, 2, 5};
    double *matrix = doubles(6, 5, 1), *back = exactly(2 * sizeof(double));
    cascade_inverse_transform(matrix, wild(100), wild(100), back);
    for (size_t i = 0; i < LENGTH(needed); i++) {
        int lacks = isnan(matrix[needed[i]]);
        CHECK(!lacks || (isnan(back[0]) && isnan(back[1])), "without %zu to %g, %g", needed[i], back[0], back[1]);
    }
    free(matrix);
    free(back);
}

static void try_landmarks(void) {
    for (size_t i = 0; i < some(2000); i++) {
        try_known_similarity(2 + chance(6));
        try_similarity(1 + chance(7));
        try_can_align(chance(7));
        try_wild_inverse();
    }
}

/* Every member of the table is there: a kernel that is left out would be a null pointer. */
static void try_table(const cascade_kernels *level) {
    void (*kernels[])(void) = {
        (void (*)(void))level->conv_f32,       (void (*)(void))level->conv_f32_small_batch,
        (void (*)(void))level->conv_int8,      (void (*)(void))level->conv_int8_small_batch,
        (void (*)(void))level->depthwise_f32,  (void (*)(void))level->max_pool_f32,
        (void (*)(void))level->blend_rows,     (void (*)(void))level->blend_columns,
        (void (*)(void))level->warp_row,       (void (*)(void))level->interleave_f32,
        (void (*)(void))level->interleave_int8, (void (*)(void))level->split_f32,
        (void (*)(void))level->split_int8,     (void (*)(void))level->suppress,
        (void (*)(void))level->usable,
    };
    size_t other_members = offsetof(cascade_kernels, conv_f32);
    CHECK(sizeof *level == other_members + (LENGTH(kernels) - 1) * sizeof *kernels, "this test misses a member");
    for (size_t i = 0; i < LENGTH(kernels); i++) {
        CHECK(kernels[i] != NULL, "%s has no kernel %zu", level->name, i);
    }
    CHECK(level->name != NULL && level->lanes > 0, "%zu lanes", level->lanes);
    CHECK(level->int8_fast == 0 || level->int8_fast == 1, "%s: %d", level->name, level->int8_fast);
}

int main(int count, char **arguments) {
    read_arguments(count, arguments);
    for (const cascade_kernels *const *level = cascade_simd_levels(); *level != NULL; level++) {
        try_table(*level);
    }
    for (size_t n = 0; n < 40; n++) {
        try_boxes(n);
    }
    for (size_t n = 0; n < 140; n++) {
        try_windows(n);
        try_framing(n);
        try_expand(n);
        try_outputs(n);
        try_order(n);
        try_candidates(n);
    }
    try_landmarks();
    try_overflow();
    for (const cascade_kernels *const *level = cascade_simd_levels(); *level != NULL; level++) {
        if ((*level)->usable()) {
            for (size_t n = 0; n < 70; n++) {
                try_suppression(*level, n);
                try_voting(n);
            }
            for (size_t i = 0; i < some(30); i++) {
                try_suppression(*level, 450 + chance(1000));
            }
            try_kernels(*level);
            try_resampling(*level);
            for (size_t i = 0; i < some(400); i++) {
                try_warp(*level);
            }
            try_int8(*level);
            try_networks(*level);
            try_graphs(*level);
            printf("%s\n", (*level)->name);
        }
    }
    return 0;
}
