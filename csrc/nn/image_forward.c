/*
 * A network over a whole image. A network whose layers have the strides s1, s2 ... computes feature maps at strides 1, s1,
 * s1*s2 ... S. Here every feature map is stored at the last stride S: a map at stride s is split into (S/s)^2 phases, one for
 * each remainder of row and column. Each phase is a contiguous plane, so every tap of every layer is a plain unaligned load of
 * neighbouring columns, whatever the strides. A feature map is [row][phase][element][column].
 */
#include "nn.h"

/* Elements of a row. It is padded so that whole vectors, and taps to the right of the last window, stay inside it. An odd
 * number of cache lines spreads the rows over the cache sets. */
static size_t row_pitch(size_t columns, size_t lanes) {
    size_t lines = (columns + lanes + 16 + 15) / 16;
    return (lines | 1) * 16;
}

/* Rows, or columns, at stride S of a layer's input that `count` of its output need. */
static size_t needed_before(const cascade_layer *layer, size_t phases_in, size_t count) {
    /* the last output, at this layer's output stride, is count * phases_out - 1 */
    size_t outputs = count * (phases_in / layer->stride);
    size_t inputs = (outputs - 1) * layer->stride + layer->kernel;
    return (inputs + phases_in - 1) / phases_in;
}

/* Windows along `length` padded pixels, none if it has no room for one. The last may reach less than a stride beyond the
 * end, into more padding, so that no border of the image is further from a window than the opposite one. */
static size_t windows_along(size_t length, size_t field, size_t stride) {
    return length >= field ? (length - field + stride - 1) / stride + 1 : 0;
}

int cascade_feature_grid_plan(cascade_feature_grid *grid, const cascade_layer *layers, size_t layer_count,
                              size_t padding, size_t width, size_t height) {
    size_t stride = 1, field = 1, elements = cascade_input_elements(layers);
    for (size_t i = 0; i < layer_count; i++) {
        if (layers[i].in_elements != elements || layers[i].kernel == 0 || layers[i].stride == 0 ||
            layers[i].stride > 16 || layers[i].kernel > 16) { /* row_pitch has room for 16 taps to the right */
            return 0;
        }
        field += (layers[i].kernel - 1) * stride;
        stride *= layers[i].stride;
        elements = layers[i].out_elements;
        if (stride > 64 || field > 4096) {
            return 0;
        }
    }
    grid->stride = stride;
    grid->receptive_field = field;
    grid->padding = padding;
    grid->outputs = elements;
    grid->columns = windows_along(width + 2 * padding, field, stride);
    grid->rows = windows_along(height + 2 * padding, field, stride);
    return 1;
}

/* What a tile needs: elements per row and in the largest feature map, and the most taps. */
typedef struct {
    size_t pitch, map, taps;
} requirements;

/* The columns of the widest map that `columns` of the last one need; 0 if they overflow. Every layer rounds its columns up,
 * so that many layers before a large stride need more than the receptive field says. */
static size_t widest_map(const cascade_layer *layers, size_t layer_count, size_t columns) {
    size_t phases = 1, wide = columns, widest = columns;
    for (size_t i = layer_count; i-- > 0;) {
        if (wide > SIZE_MAX / 128) { /* of 64 phases at most */
            return 0;
        }
        phases *= layers[i].stride;
        wide = needed_before(layers + i, phases, wide);
        widest = cascade_max(widest, wide);
    }
    return widest;
}

/* Returns 0 if the sizes overflow. */
static int measure(const cascade_layer *layers, size_t layer_count, size_t rows, size_t columns, size_t lanes,
                   requirements *need) {
    size_t phases = 1, needed = rows, widest = widest_map(layers, layer_count, columns);
    need->pitch = row_pitch(widest, lanes);
    need->map = need->taps = 0;
    if (widest == 0 || need->pitch > SIZE_MAX / 64 || rows > SIZE_MAX / 64) {
        return 0;
    }
    for (size_t i = layer_count; i-- > 0;) {
        const cascade_layer *layer = layers + i;
        size_t out_planes = phases * phases * layer->out_elements;
        if (needed > SIZE_MAX / 64 / need->pitch / out_planes) {
            return 0;
        }
        need->map = cascade_max(need->map, needed * out_planes * need->pitch);
        need->taps = cascade_max(need->taps, layer->kernel * layer->kernel * layer->in_elements);
        phases *= layer->stride;
        needed = needed_before(layer, phases, needed);
    }
    size_t planes = phases * phases * cascade_input_elements(layers);
    if (needed > SIZE_MAX / 64 / need->pitch / planes) {
        return 0;
    }
    need->map = cascade_max(need->map, needed * planes * need->pitch);
    return 1;
}

/* Elements after a feature map: the last vectors of a span may reach less than two vectors beyond the last row. */
static size_t overhang(size_t lanes) { return 4 * lanes; }

size_t cascade_image_workspace(const cascade_layer *layers, size_t layer_count, size_t rows, size_t columns,
                               size_t lanes) {
    requirements need;
    if (!measure(layers, layer_count, rows, columns, lanes, &need)) {
        return 0;
    }
    return 2 * (need.map + overhang(lanes)) * sizeof(cascade_element) + cascade_tap_bytes(need.taps) + 64;
}

/* Writes columns [from, to) of one phase of an image row to its planes: one for each channel, or one of int8x4. */
static void split_phase(const uint8_t *row, size_t padding, size_t stride, size_t phase, size_t from, size_t to,
                        size_t elements, size_t pitch, cascade_element *planes) {
    cascade_element *first = planes + phase * elements * pitch;
    for (size_t x = from; x < to; x++) {
        const uint8_t *pixel = row + (x * stride + phase - padding) * CASCADE_CHANNELS;
        if (elements == 1) {
            first[x].int8x4 = cascade_pack_pixel(pixel);
        } else {
            for (size_t c = 0; c < CASCADE_CHANNELS; c++) {
                first[c * pitch + x].f32 = CASCADE_NORMALISE(pixel[c]);
            }
        }
    }
}

/* What each plane holds outside the image. */
static cascade_element padding_element(size_t elements) {
    static const uint8_t pixel[CASCADE_CHANNELS] = {CASCADE_PADDING_VALUE, CASCADE_PADDING_VALUE,
                                                    CASCADE_PADDING_VALUE};
    cascade_element padding;
    if (elements == 1) {
        padding.int8x4 = cascade_pack_pixel(pixel);
    } else {
        padding.f32 = CASCADE_NORMALISE(CASCADE_PADDING_VALUE);
    }
    return padding;
}

/* Writes one image row (NULL: above or below the image) to the planes of its row of phases. `padding` columns on the left,
 * and all those right of the image, are padding. */
static void split_row(const cascade_kernels *kernels, const uint8_t *row, size_t width, size_t padding, size_t stride,
                      size_t elements, size_t pitch, cascade_element *planes) {
    /* columns [whole, end) have all their phases in the image */
    size_t whole = (padding + stride - 1) / stride, end = (padding + width) / stride;
    end = end > pitch ? pitch : end;
    int fast = row != NULL && stride == CASCADE_SPLIT_PIXELS && whole < end;
    cascade_element filler = padding_element(elements);
    for (size_t phase = 0; phase < stride; phase++) {
        /* columns [from, to) of this phase lie in the image */
        size_t from = padding > phase ? (padding - phase + stride - 1) / stride : 0;
        size_t to = padding + width > phase ? (padding + width - phase + stride - 1) / stride : 0;
        from = row == NULL || from > pitch ? pitch : from;
        to = row == NULL || to > pitch ? pitch : to;
        for (size_t c = 0; c < elements; c++) {
            cascade_element *plane = planes + (phase * elements + c) * pitch;
            for (size_t x = 0; x < from; x++) {
                plane[x] = filler;
            }
            for (size_t x = to; x < pitch; x++) {
                plane[x] = filler;
            }
        }
        split_phase(row, padding, stride, phase, from, fast ? whole : to, elements, pitch, planes);
        split_phase(row, padding, stride, phase, fast ? end : to, to, elements, pitch, planes);
    }
    if (fast) {
        const uint8_t *inside = row + (whole * stride - padding) * CASCADE_CHANNELS;
        if (elements == 1) {
            kernels->split_int8(inside, end - whole, &planes[whole].int8x4, pitch);
        } else {
            kernels->split_f32(inside, end - whole, &planes[whole].f32, pitch);
        }
    }
}

/* Writes `rows` rows of phases from the tile's first row and column on. */
static void split_image(const cascade_kernels *kernels, const cascade_feature_grid *grid, const cascade_image *image,
                        const cascade_tile *tile, size_t rows, size_t elements, size_t pitch, cascade_element *map) {
    /* the tile's left edge lies in the padding, or leaves some pixels of the image out */
    size_t left = tile->left * grid->stride, above = grid->padding + image->top;
    size_t padding = grid->padding > left ? grid->padding - left : 0;
    size_t skipped = left > grid->padding ? left - grid->padding : 0;
    for (size_t y = tile->top * grid->stride; y < (tile->top + rows) * grid->stride; y++) {
        int inside = y >= above && y < above + image->rows && skipped < image->width;
        const uint8_t *row =
            inside ? image->pixels + ((y - above) * image->width + skipped) * CASCADE_CHANNELS : NULL;
        split_row(kernels, row, image->width - skipped, padding, grid->stride, elements, pitch, map);
        map += grid->stride * elements * pitch;
    }
}

/* Lists the taps of a window whose corner is phase (a, b) of the output, in a map of phases * phases * elements planes. */
static size_t phase_taps(ptrdiff_t *taps, const cascade_layer *layer, size_t phases, size_t a, size_t b, size_t pitch,
                         size_t element_step) {
    size_t n = 0, planes = phases * phases * layer->in_elements;
    for (size_t ky = 0; ky < layer->kernel; ky++) {
        size_t y = a * layer->stride + ky;
        for (size_t kx = 0; kx < layer->kernel; kx++) {
            size_t x = b * layer->stride + kx, phase = (y % phases) * phases + x % phases;
            for (size_t e = 0; e < layer->in_elements; e += element_step) {
                size_t plane = (y / phases) * planes + phase * layer->in_elements + e;
                taps[n++] = (ptrdiff_t)(plane * pitch + x / phases);
            }
        }
    }
    return n;
}

static void run_layer(const cascade_kernels *kernels, const cascade_layer *layer, size_t phases, size_t rows,
                      size_t vectors, size_t pitch, const cascade_element *in, cascade_element *out, ptrdiff_t *taps) {
    size_t out_phases = phases / layer->stride, in_planes = phases * phases * layer->in_elements;
    size_t out_planes = out_phases * out_phases * layer->out_elements;
    int pools = layer->op == CASCADE_MAX_POOL;
    cascade_span span = {.in_step = (ptrdiff_t)kernels->lanes,
                         .taps = taps,
                         .out_step = (ptrdiff_t)kernels->lanes,
                         .out_channel_step = (ptrdiff_t)pitch,
                         .vectors = vectors};
    for (size_t phase = 0; phase < out_phases * out_phases; phase++) {
        span.tap_count = phase_taps(taps, layer, phases, phase / out_phases, phase % out_phases, pitch,
                                    pools ? layer->in_elements : 1);
        for (size_t y = 0; y < rows; y++) {
            const cascade_element *from = in + y * in_planes * pitch;
            cascade_element *to = out + (y * out_planes + phase * layer->out_elements) * pitch;
            if (pools) {
                kernels->max_pool_f32(&from->f32, &to->f32, &span, layer->in_elements, (ptrdiff_t)pitch);
            } else {
                cascade_convolve(kernels, layer, from, to, &span);
            }
        }
    }
}

const float *cascade_image_forward(const cascade_kernels *kernels, const cascade_feature_grid *grid,
                                   const cascade_layer *layers, size_t layer_count, const cascade_image *image,
                                   const cascade_tile *tile, void *workspace, size_t *pitch) {
    requirements need;
    size_t lanes = kernels->lanes, phases = grid->stride;
    if (!measure(layers, layer_count, tile->rows, tile->columns, lanes, &need)) {
        return NULL;
    }
    ptrdiff_t *taps = workspace;
    cascade_element *in = (cascade_element *)((char *)workspace + cascade_tap_bytes(need.taps));
    cascade_element *out = in + need.map + overhang(lanes);

    /* rows and columns that the wanted ones need of the input and of the output of every layer */
    size_t rows[64] = {0}, columns[64] = {0};
    rows[layer_count] = tile->rows;
    columns[layer_count] = tile->columns;
    for (size_t i = layer_count, p = 1; i-- > 0;) {
        p *= layers[i].stride;
        rows[i] = needed_before(layers + i, p, rows[i + 1]);
        columns[i] = needed_before(layers + i, p, columns[i + 1]);
    }
    split_image(kernels, grid, image, tile, rows[0], cascade_input_elements(layers), need.pitch, in);
    for (size_t i = 0; i < layer_count; i++) {
        size_t vectors = (columns[i + 1] + lanes - 1) / lanes;
        run_layer(kernels, layers + i, phases, rows[i + 1], vectors, need.pitch, in, out, taps);
        phases /= layers[i].stride;
        cascade_element *swap = in;
        in = out;
        out = swap;
    }
    *pitch = need.pitch;
    return &in->f32;
}
