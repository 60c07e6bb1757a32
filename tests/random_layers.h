/*
 * Networks of layers with random weights, and the int8 kernels at a SIMD level against the scalar level, which they must agree
 * with to the bit. For random_cases.h of tests/sanitize and driver.c of tests/neon, which bring CHECK, chance, exactly, floats
 * and pixels, and say how to free memory:
 *
 *   RELEASE(memory)
 */
typedef struct {
    int op;
    size_t kernel, stride, channels;
} shape;

typedef struct {
    const char *name;
    size_t size, padding, count;
    shape layers[16];
    int dtype;
} network_shape;

/* Whether all layers can run with lanes of channels. */
static int fits_small_batch(const network_shape *network, size_t lanes) {
    for (size_t i = 0; i < network->count; i++) {
        if (network->layers[i].op == CASCADE_MAX_POOL || network->layers[i].channels % lanes) {
            return 0;
        }
    }
    return lanes > 1;
}

/* Packs weights of four bytes per output channel and tap in one of both orders; frees nothing. */
static void *packed_weights(const void *weights, const cascade_layer *layer, size_t lanes) {
    void *packed =
        exactly(layer->channels * layer->in_elements * layer->kernel * layer->kernel * sizeof(cascade_element));
    if (lanes) {
        cascade_pack_small_batch(weights, layer->channels, layer->in_elements, layer->kernel, lanes, packed);
    } else {
        cascade_pack_weights(weights, layer->channels, layer->in_elements, layer->kernel, packed);
    }
    return packed;
}

/* Gives a convolution random weights, bias and slopes; `lanes` other than 0: also packed for small batches. */
static void fill_f32(cascade_layer *layer, size_t lanes) {
    size_t inputs = layer->in_elements * layer->kernel * layer->kernel;
    float *weights = floats(inputs * layer->channels, sqrtf(3.0f / (float)inputs));
    layer->f32.weights = packed_weights(weights, layer, 0);
    layer->f32.small_batch_weights = lanes ? packed_weights(weights, layer, lanes) : NULL;
    layer->f32.bias = floats(layer->channels, 0.3f);
    layer->f32.slope = floats(layer->channels, 1);
    RELEASE(weights);
}

/* Random weights within the limit of CASCADE_INT8_GROUP, which many of them reach. */
static void fill_int8_weights(int8_t *weights, const cascade_layer *layer) {
    size_t area = layer->kernel * layer->kernel, taps = area * layer->in_elements;
    size_t left[2][2]; /* of the limit: for each pair of channels and each sign */
    for (size_t i = 0; i < layer->channels * taps; i++) {
        size_t tap = i % taps, from = tap % layer->in_elements * area + tap / layer->in_elements;
        for (size_t k = 0; k < 4 && tap % CASCADE_INT8_GROUP == 0; k++) {
            left[k / 2][k % 2] = CASCADE_INT8_GROUP_SUM;
        }
        for (size_t channel = 0; channel < CASCADE_PACKED; channel++) {
            size_t negative = (size_t)chance(2), *most = &left[channel / 2][negative];
            size_t size = (size_t)chance(chance(4) ? 30 : CASCADE_INT8_GROUP_SUM + 1);
            size = size < *most ? size : *most;
            size -= size == 128 && !negative; /* an int8 has no 128 */
            *most -= size;
            weights[(i - tap + from) * CASCADE_PACKED + channel] = (int8_t)(negative ? -(int)size : (int)size);
        }
    }
    CHECK(cascade_int8_groups_fit(weights, layer->channels, layer->in_elements, layer->kernel), "weights too large");
}

/* The same for an int8 layer. Sums stay within 32 bits; about as many outputs lie between 0 and 255 as are truncated. */
static void fill_int8(cascade_layer *layer, size_t lanes) {
    size_t taps = layer->in_elements * layer->kernel * layer->kernel, count = taps * layer->channels * CASCADE_PACKED;
    int8_t *weights = exactly(count);
    fill_int8_weights(weights, layer);
    layer->int8.weights = packed_weights(weights, layer, 0);
    layer->int8.small_batch_weights = lanes ? packed_weights(weights, layer, lanes) : NULL;
    int32_t *bias = exactly(layer->channels * sizeof(int32_t)), spread = (int32_t)(6000 * sqrt((double)taps));
    int32_t *signed_bias = exactly(layer->channels * sizeof(int32_t));
    float *factor = exactly(layer->channels * sizeof(float));
    for (size_t i = 0; i < layer->channels; i++) {
        bias[i] = (int32_t)chance(2 * (uint64_t)spread + 1) - spread;
        factor[i] = (chance(9) ? 300.0f : chance(2) ? 1e8f : -3.0f) / (float)spread;
    }
    cascade_signed_bias(weights, layer->channels, taps * CASCADE_PACKED, bias, signed_bias);
    RELEASE(weights);
    layer->int8.bias = bias;
    layer->int8.signed_bias = signed_bias;
    layer->int8.factor = factor;
}

/* Layers with random weights, each array exactly as long as it must be; also packed for small batches if possible. */
static void build(cascade_layer *layers, const network_shape *network, size_t lanes) {
    int is_int8 = network->dtype == CASCADE_INT8;
    size_t elements = is_int8 ? 1 : CASCADE_CHANNELS, small_batch_lanes = fits_small_batch(network, lanes) ? lanes : 0;
    for (size_t i = 0; i < network->count; i++) {
        shape s = network->layers[i];
        int is_last = i + 1 == network->count;
        cascade_layer layer = {.op = s.op, .dtype = network->dtype, .in_elements = elements, .out_elements = elements,
                               .channels = elements, .kernel = s.kernel, .stride = s.stride};
        if (s.op == CASCADE_CONV) {
            layer.channels = s.channels;
            layer.out_elements = elements = is_int8 && !is_last ? s.channels / CASCADE_PACKED : s.channels;
            layer.int8.dequantize = is_int8 && is_last;
            (is_int8 ? fill_int8 : fill_f32)(&layer, small_batch_lanes);
        }
        layers[i] = layer;
    }
}

/* Makes a network one of int8. Returns 0 if it cannot be one. */
static int make_int8(network_shape *network) {
    for (size_t i = 0; i < network->count; i++) {
        shape layer = network->layers[i];
        if (layer.op != CASCADE_CONV || (layer.channels % CASCADE_PACKED && i + 1 < network->count)) {
            return 0;
        }
    }
    network->dtype = CASCADE_INT8;
    return 1;
}

/* A span of neighbouring columns; the scalar level takes it lane by lane. */
static void try_conv_int8(const cascade_kernels *level, const cascade_kernels *scalar, size_t channels,
                          size_t tap_count, size_t vectors, int dequantize) {
    enum { REACH_OF_TAPS = 50 };
    size_t lanes = level->lanes, columns = vectors * lanes,
           elements = dequantize ? channels : channels / CASCADE_PACKED;
    size_t pitch = columns + (size_t)chance(6), count = (elements - 1) * pitch + columns;
    ptrdiff_t *taps = exactly(tap_count * sizeof(ptrdiff_t));
    for (size_t k = 0; k < tap_count; k++) {
        taps[k] = (ptrdiff_t)(k ? chance(REACH_OF_TAPS) : REACH_OF_TAPS - 1);
    }
    cascade_layer layer = {.in_elements = tap_count, .channels = channels, .kernel = 1};
    fill_int8(&layer, 0);
    uint8_t *bytes = pixels((REACH_OF_TAPS - 1 + columns) * sizeof(cascade_int8x4));
    const cascade_int8x4 *in = (const cascade_int8x4 *)bytes;
    cascade_element *found = exactly(count * sizeof *found), *expected = exactly(count * sizeof *expected);
    cascade_span span = {.in_step = (ptrdiff_t)lanes,
                         .taps = taps,
                         .tap_count = tap_count,
                         .out_step = (ptrdiff_t)lanes,
                         .out_channel_step = (ptrdiff_t)pitch,
                         .vectors = vectors};
    const cascade_int8_weights *w = &layer.int8;
    level->conv_int8(in, found, &span, channels, w->weights, cascade_int8_bias(level, w), w->factor, dequantize);
    for (size_t lane = 0; lane < lanes; lane++) {
        scalar->conv_int8(in + lane, expected + lane, &span, channels, w->weights, w->bias, w->factor, dequantize);
    }
    for (size_t k = 0; k < elements; k++) {
        CHECK(!memcmp(found + k * pitch, expected + k * pitch, columns * sizeof *found),
              "%s: conv_int8, element %zu of %zu channels, %zu taps, %zu vectors", level->name, k, channels, tap_count,
              vectors);
    }
    RELEASE(taps);
    RELEASE(bytes);
    RELEASE(found);
    RELEASE(expected);
    RELEASE((void *)w->weights);
    RELEASE((void *)w->bias);
    RELEASE((void *)w->signed_bias);
    RELEASE((void *)w->factor);
}

static int is_packed_pixel(cascade_int8x4 found, const uint8_t *pixel) {
    return found.channel[0] == pixel[0] && found.channel[1] == pixel[1] && found.channel[2] == pixel[2] &&
           found.channel[3] == 0;
}

/* Lanes beyond the last crop repeat it. */
static void try_interleave_int8(const cascade_kernels *level, size_t count, size_t size) {
    size_t lanes = level->lanes;
    uint8_t *crops = pixels(count * size * CASCADE_CHANNELS);
    cascade_int8x4 *found = exactly(size * lanes * sizeof *found);
    level->interleave_int8(crops, count, size, found);
    for (size_t i = 0; i < size * lanes; i++) {
        size_t crop = i % lanes < count ? i % lanes : count - 1;
        CHECK(is_packed_pixel(found[i], crops + (crop * size + i / lanes) * CASCADE_CHANNELS),
              "%s: int8x4 %zu of %zu crops of %zu", level->name, i, count, size);
    }
    RELEASE(crops);
    RELEASE(found);
}

/* Columns of four pixels, a plane for each of them. */
static void try_split_int8(const cascade_kernels *level, size_t n) {
    size_t planes = CASCADE_SPLIT_PIXELS, pitch = n + (size_t)chance(20);
    uint8_t *row = pixels(n * CASCADE_SPLIT_BYTES);
    cascade_int8x4 *found = exactly(((planes - 1) * pitch + n) * sizeof *found);
    level->split_int8(row, n, found, pitch);
    for (size_t i = 0; i < n * planes; i++) {
        CHECK(is_packed_pixel(found[i % planes * pitch + i / planes], row + i * CASCADE_CHANNELS),
              "%s: pixel %zu of %zu columns", level->name, i, n);
    }
    RELEASE(row);
    RELEASE(found);
}
