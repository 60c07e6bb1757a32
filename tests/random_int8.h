/*
 * Networks of bytes with random weights, and the kernels that only they use, at a level against the scalar level, which it
 * must agree with to the bit. For random_cases.h of tests/sanitize and driver.c of tests/neon, which bring CHECK, chance,
 * exactly, pixels, the types shape and network_shape, and say what becomes of memory:
 *
 *   RELEASE(memory)
 */

/* Weights, bias and factors of so many filters over `words` words, packed for a few crops too where they are a multiple of
 * `lanes`. Sums stay within 32 bits; about as many of the bytes that they make lie between 0 and 255 as are cut off. */
static void fill_byte_layer(cascade_layer *layer, size_t words, size_t filters, size_t lanes) {
    size_t taps = words * layer->kernel * layer->kernel, count = taps * filters * CASCADE_WORD;
    int8_t *weights = exactly(count), *packed = exactly(count);
    for (size_t i = 0; i < count; i++) {
        size_t any = (size_t)chance(256);
        weights[i] = (int8_t)(chance(9) ? (int)any - 128 : any % 2 ? 127 : -128);
    }
    cascade_pack_weights(weights, filters, words, layer->kernel, packed);
    if (lanes > 1 && filters % lanes == 0) {
        int8_t *again = exactly(count);
        cascade_pack_few(weights, filters, words, layer->kernel, lanes, again);
        layer->few_weights = (const float *)again;
    }
    RELEASE(weights);
    int32_t *bias = exactly(filters * sizeof(int32_t)), spread = (int32_t)(20000 * sqrt((double)taps));
    float *factor = exactly(filters * sizeof(float));
    for (size_t i = 0; i < filters; i++) {
        bias[i] = (int32_t)chance(2 * (uint64_t)spread + 1) - spread;
        factor[i] = (chance(9) ? 300.0f : chance(2) ? 1e8f : -3.0f) / (float)spread;
    }
    layer->in_channels = words;
    layer->filters = filters;
    layer->out_channels = layer->last ? filters : filters / CASCADE_WORD;
    layer->weights = (const float *)packed;
    layer->byte_bias = bias;
    layer->factor = factor;
}

/* Takes the weights for a few crops away again unless all layers have them. */
static void settle_few(cascade_layer *layers, size_t count, size_t lanes) {
    for (size_t i = 0; i < count && !cascade_few_usable(layers, count, lanes); i++) {
        RELEASE((void *)layers[i].few_weights);
        layers[i].few_weights = NULL;
    }
}

/* Whether a network can be one of bytes: then it becomes one. */
static int becomes_bytes(network_shape *network) {
    for (size_t i = 0; i < network->count; i++) {
        shape layer = network->layers[i];
        if (layer.kind != CASCADE_CONV || (layer.channels % CASCADE_WORD && i + 1 < network->count)) {
            return 0;
        }
    }
    for (size_t i = 0; i < network->count; i++) {
        network->layers[i].kind = CASCADE_BYTES;
    }
    return 1;
}

/* A strip of neighbouring columns; the scalar level takes it lane by lane. */
static void try_byte_strip(const cascade_kernels *level, const cascade_kernels *scalar, size_t channels, size_t tap_count,
                           size_t vectors, int last) {
    enum { REACH_OF_TAPS = 50 };
    size_t lanes = level->lanes, columns = vectors * lanes, features = last ? channels : channels / CASCADE_WORD;
    size_t pitch = columns + (size_t)chance(6), count = (features - 1) * pitch + columns;
    ptrdiff_t *taps = exactly(tap_count * sizeof(ptrdiff_t));
    for (size_t k = 0; k < tap_count; k++) {
        taps[k] = (ptrdiff_t)(k ? chance(REACH_OF_TAPS) : REACH_OF_TAPS - 1);
    }
    cascade_layer layer = {.kind = CASCADE_BYTES, .kernel = 1, .stride = 1, .last = last};
    fill_byte_layer(&layer, tap_count, channels, 1);
    uint8_t *in = pixels((REACH_OF_TAPS - 1 + columns) * sizeof(float));
    float *found = exactly(count * sizeof(float)), *expected = exactly(count * sizeof(float));
    cascade_strip strip = {.in = (const float *)in, .taps = taps, .tap_count = tap_count, .out = found};
    strip.in_step = strip.out_step = (ptrdiff_t)lanes;
    strip.out_channel_step = (ptrdiff_t)pitch;
    strip.vectors = vectors;
    level->convolve_bytes(&strip, channels, layer.weights, layer.byte_bias, layer.factor, last);
    strip.out = expected;
    for (size_t lane = 0; lane < lanes; lane++, strip.in++, strip.out++) {
        scalar->convolve_bytes(&strip, channels, layer.weights, layer.byte_bias, layer.factor, last);
    }
    for (size_t k = 0; k < features; k++) {
        CHECK(!memcmp(found + k * pitch, expected + k * pitch, columns * sizeof(float)),
              "%s: convolve_bytes, feature %zu of %zu channels, %zu taps, %zu vectors", level->name, k, channels, tap_count,
              vectors);
    }
    RELEASE(taps);
    RELEASE(in);
    RELEASE(found);
    RELEASE(expected);
    RELEASE((void *)layer.weights);
    RELEASE((void *)layer.byte_bias);
    RELEASE((void *)layer.factor);
}

static uint32_t word_of(const uint8_t *pixel) {
    return pixel[0] | (uint32_t)pixel[1] << 8 | (uint32_t)pixel[2] << 16;
}

/* Crops of some pixels as words: those that there are not repeat the last. */
static void try_interleave_words(const cascade_kernels *level, size_t count, size_t size) {
    size_t lanes = level->lanes;
    uint8_t *crops = pixels(count * size * CASCADE_CHANNELS);
    float *found = exactly(size * lanes * sizeof(float));
    level->interleave_words(crops, count, size, found);
    for (size_t i = 0; i < size * lanes; i++) {
        size_t crop = i % lanes < count ? i % lanes : count - 1;
        uint32_t word = word_of(crops + (crop * size + i / lanes) * CASCADE_CHANNELS);
        CHECK(!memcmp(found + i, &word, sizeof word), "%s: word %zu of %zu crops of %zu", level->name, i, count, size);
    }
    RELEASE(crops);
    RELEASE(found);
}

/* Columns of four pixels, a plane for each of them. */
static void try_split_words(const cascade_kernels *level, size_t n) {
    size_t planes = CASCADE_SPLIT / CASCADE_CHANNELS, pitch = n + (size_t)chance(20);
    uint8_t *row = pixels(n * CASCADE_SPLIT);
    float *found = exactly(((planes - 1) * pitch + n) * sizeof(float));
    level->split_words(row, n, found, pitch);
    for (size_t i = 0; i < n * planes; i++) {
        uint32_t word = word_of(row + i * CASCADE_CHANNELS);
        CHECK(!memcmp(found + i % planes * pitch + i / planes, &word, sizeof word), "%s: pixel %zu of %zu columns",
              level->name, i, n);
    }
    RELEASE(row);
    RELEASE(found);
}
