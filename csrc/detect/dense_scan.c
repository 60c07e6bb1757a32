/*
 * The dense scan: P-Net over several levels of a pyramid, and the resampling of those levels that do not exist yet, by all
 * threads of a pool.
 *
 * Each level is resampled from the one before. All threads resample the largest levels, in strips of rows. One thread resamples
 * the rest, while the others scan what is there. An item only ever waits for items that were begun before it.
 */
#include "detect.h"
#include "threadpool.h"

#include <string.h>

/* What level k is resampled from. */
static const cascade_image *image_before(const cascade_dense_scan *scan, size_t k) {
    return k > 0 ? &scan->levels[k - 1].image : scan->source;
}

/* Resamples the rows [first, end) of level k. */
static void resample_rows(const cascade_dense_scan *scan, size_t k, size_t first, size_t end, void *workspace) {
    const cascade_image *from = image_before(scan, k);
    const cascade_scan_level *level = scan->levels + k;
    const double all[4] = {0.0, 0.0, (double)from->width, (double)from->height};
    cascade_resample(scan->kernels, from, all, level->target + first * level->image.width * CASCADE_CHANNELS,
                     level->image.width, level->image.height, first, end, workspace);
}

static void wait_for_levels(cascade_dense_scan *scan, size_t count) {
    for (size_t rounds = 0; atomic_load(&scan->levels_done) < count;) {
        cascade_backoff(&rounds);
    }
}

/* Resamples one strip of the levels that all threads share. */
static void resample_strip(cascade_dense_scan *scan, size_t item, void *workspace) {
    size_t k = scan->ready + item / scan->strips, strip = item % scan->strips;
    size_t rows = scan->levels[k].image.height;
    wait_for_levels(scan, k);
    resample_rows(scan, k, rows * strip / scan->strips, rows * (strip + 1) / scan->strips, workspace);
    size_t done = atomic_fetch_add(&scan->strips_done, 1) + 1;
    if (done % scan->strips == 0) { /* no strip of the next level begins before */
        atomic_store(&scan->levels_done, scan->ready + done / scan->strips);
    }
}

/* Resamples all other levels. */
static void resample_rest(cascade_dense_scan *scan, void *workspace) {
    for (size_t k = scan->ready + scan->split_levels; k < scan->level_count; k++) {
        wait_for_levels(scan, k);
        resample_rows(scan, k, 0, scan->levels[k].image.height, workspace);
        atomic_store(&scan->levels_done, k + 1);
    }
}

static size_t divide_up(size_t total, size_t by) { return by ? (total + by - 1) / by : 0; }

size_t cascade_dense_scan_tiles(const cascade_dense_scan *scan, size_t k, cascade_scan_tile *tiles) {
    const cascade_scan_level *level = scan->levels + k;
    size_t rows = level->end - level->first, columns = level->grid.columns;
    size_t down = divide_up(rows, level->tile_rows), across = divide_up(columns, level->tile_columns);
    for (size_t n = 0; tiles != NULL && n < down * across; n++) {
        size_t y = n / across, x = n % across;
        size_t top = rows * y / down, left = level->tile_columns * x;
        cascade_tile tile = {.top = level->first + top, .left = left, .rows = rows * (y + 1) / down - top};
        tile.columns = columns - left < level->tile_columns ? columns - left : level->tile_columns;
        tiles[n] = (cascade_scan_tile){.level = k, .tile = tile};
    }
    return down * across;
}

size_t cascade_dense_scan_workspace(const cascade_dense_scan *scan, size_t k) {
    const cascade_scan_level *level = scan->levels + k;
    size_t needed = 1;
    if (level->end > level->first && level->grid.columns) {
        needed = cascade_image_workspace(scan->layers, scan->layer_count, level->tile_rows, level->tile_columns,
                                         scan->kernels->lanes);
    }
    if (needed && level->target) {
        const cascade_image *from = image_before(scan, k);
        size_t resampling = cascade_resample_workspace((double)from->width, (double)from->height, from->width,
                                                       level->image.width, level->image.height);
        needed = cascade_max(needed, resampling);
    }
    return needed;
}

/* `out` is (rows, outputs, pitch); the logits of background and face come first. */
static size_t count_detections(const float *out, size_t pitch, size_t outputs, const cascade_tile *tile,
                               float threshold) {
    size_t n = 0;
    for (size_t y = 0; y < tile->rows; y++) {
        const float *line = out + y * outputs * pitch;
        for (size_t x = 0; x < tile->columns; x++) {
            n += line[pitch + x] - line[x] >= threshold;
        }
    }
    return n;
}

static void write_detections(const float *out, size_t pitch, size_t outputs, const cascade_tile *tile, float threshold,
                             float *found) {
    for (size_t y = 0; y < tile->rows; y++) {
        const float *line = out + y * outputs * pitch;
        for (size_t x = 0; x < tile->columns; x++) {
            if (!(line[pitch + x] - line[x] >= threshold)) {
                continue;
            }
            found[0] = (float)(tile->left + x);
            found[1] = (float)(tile->top + y);
            found[2] = line[pitch + x] - line[x];
            for (size_t k = 2; k < outputs; k++) {
                found[k + 1] = line[k * pitch + x];
            }
            found += outputs + 1;
        }
    }
}

static void scan_tile(cascade_dense_scan *scan, cascade_scan_tile *tile, void *workspace) {
    const cascade_scan_level *level = scan->levels + tile->level;
    size_t pitch = 0, outputs = level->grid.outputs;
    wait_for_levels(scan, tile->level + 1);
    const float *out = cascade_image_forward(scan->kernels, &level->grid, scan->layers, scan->layer_count,
                                             &level->image, &tile->tile, workspace, &pitch);
    tile->count = count_detections(out, pitch, outputs, &tile->tile, level->threshold);
    tile->first = atomic_fetch_add(&scan->found_count, tile->count);
    if (tile->count <= scan->capacity && tile->first <= scan->capacity - tile->count) {
        write_detections(out, pitch, outputs, &tile->tile, level->threshold, scan->found + tile->first * (outputs + 1));
    }
}

static size_t strip_items(const cascade_dense_scan *scan) { return scan->split_levels * scan->strips; }

static size_t rest_items(const cascade_dense_scan *scan) {
    return scan->level_count - scan->ready > scan->split_levels ? 1 : 0;
}

size_t cascade_dense_scan_items(const cascade_dense_scan *scan) {
    return strip_items(scan) + rest_items(scan) + scan->tile_count;
}

void cascade_dense_scan_item(void *context, size_t item, void *workspace) {
    cascade_dense_scan *scan = context;
    size_t strips = strip_items(scan), rest = rest_items(scan);
    if (item < strips) {
        resample_strip(scan, item, workspace);
    } else if (item < strips + rest) {
        resample_rest(scan, workspace);
    } else {
        scan_tile(scan, scan->tiles + (item - strips - rest), workspace);
    }
}

/* The next detection of a tile, if it lies in that row of the grid; else NULL. */
static const float *next_in_row(const cascade_dense_scan *scan, const cascade_scan_tile *tile, size_t width,
                                size_t row) {
    const float *detection = scan->found + (tile->first + tile->gathered) * width;
    return tile->gathered < tile->count && detection[1] == (float)row ? detection : NULL;
}

size_t cascade_dense_scan_gather(const cascade_dense_scan *scan, cascade_scan_tile *tiles, size_t count, float *out) {
    size_t n = 0;
    for (size_t first = 0, last; first < count; first = last) {
        const cascade_tile *leftmost = &tiles[first].tile;
        size_t width = scan->levels[tiles[first].level].grid.outputs + 1;
        for (last = first + 1; last < count && tiles[last].tile.top == leftmost->top;) {
            last++;
        }
        if (last == first + 1) {
            memcpy(out + n * width, scan->found + tiles[first].first * width,
                   tiles[first].count * width * sizeof(float));
            n += tiles[first].count;
            continue;
        }
        for (size_t row = leftmost->top; row < leftmost->top + leftmost->rows; row++) {
            for (cascade_scan_tile *tile = tiles + first; tile < tiles + last; tile++) {
                const float *detection;
                while ((detection = next_in_row(scan, tile, width, row)) != NULL) {
                    memcpy(out + n++ * width, detection, width * sizeof(float));
                    tile->gathered++;
                }
            }
        }
    }
    return n;
}
