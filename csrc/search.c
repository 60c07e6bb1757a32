/*
 * A network slid over several images as one list of work, and the images that are missing made on the way.
 *
 * The levels of a pyramid are made each from the one before. The largest are made by all threads, in bands of rows; one
 * thread makes the rest, while the others search what is there. A thread only ever waits for items that were begun before
 * its own.
 */
#include "cascade.h"

#include <string.h>

/* Image k, made of the one before or the source, rows [first, end). */
static void make_rows(const cascade_search *search, size_t k, size_t first, size_t end, void *workspace) {
    const cascade_image *from = k > 0 ? &search->images[k - 1].image : search->source;
    const cascade_searched *made = search->images + k;
    const double all[4] = {0.0, 0.0, (double)from->width, (double)from->height};
    cascade_resample(search->kernels, from, all, made->unmade + first * made->image.width * CASCADE_CHANNELS,
                     made->image.width, made->image.height, first, end, workspace);
}

static void wait_for(cascade_search *search, size_t images) {
    for (size_t turns = 0; atomic_load(&search->made) < images;) {
        cascade_wait(&turns);
    }
}

/* One of the bands of the images that all threads make. */
static void make_band(cascade_search *search, size_t item, void *workspace) {
    size_t k = search->ready + item / search->bands, band = item % search->bands;
    size_t rows = search->images[k].image.height;
    wait_for(search, k);
    make_rows(search, k, rows * band / search->bands, rows * (band + 1) / search->bands, workspace);
    size_t done = atomic_fetch_add(&search->bands_made, 1) + 1;
    if (done % search->bands == 0) { /* no band of the next image is begun before */
        atomic_store(&search->made, search->ready + done / search->bands);
    }
}

/* All the others. */
static void make_rest(cascade_search *search, void *workspace) {
    for (size_t k = search->ready + search->together; k < search->image_count; k++) {
        wait_for(search, k);
        make_rows(search, k, 0, search->images[k].image.height, workspace);
        atomic_store(&search->made, k + 1);
    }
}

static size_t tiles_from(size_t total, size_t most) { return most ? (total + most - 1) / most : 0; }

size_t cascade_search_tiles(const cascade_search *search, size_t k, cascade_search_tile *tiles) {
    const cascade_searched *searched = search->images + k;
    size_t rows = searched->end - searched->first, columns = searched->grid.columns;
    size_t down = tiles_from(rows, searched->rows), across = tiles_from(columns, searched->columns);
    for (size_t n = 0; tiles != NULL && n < down * across; n++) {
        size_t y = n / across, x = n % across;
        size_t top = rows * y / down, left = searched->columns * x;
        cascade_tile tile = {.top = searched->first + top, .left = left, .rows = rows * (y + 1) / down - top};
        tile.columns = columns - left < searched->columns ? columns - left : searched->columns;
        tiles[n] = (cascade_search_tile){.image = k, .tile = tile};
    }
    return down * across;
}

size_t cascade_search_workspace(const cascade_search *search, size_t k) {
    const cascade_searched *searched = search->images + k;
    const cascade_image *image = &searched->image, *from = k > 0 ? &search->images[k - 1].image : search->source;
    size_t needed = 1;
    if (searched->end > searched->first && searched->grid.columns) {
        needed = cascade_image_workspace(&searched->grid, search->layers, search->layer_count, searched->rows,
                                         searched->columns, search->kernels->lanes) *
                 sizeof(float);
    }
    if (needed && searched->unmade) {
        size_t making = cascade_resample_workspace((double)from->width, (double)from->height, from->width, image->width,
                                                   image->height);
        needed = making > needed ? making : needed;
    }
    return needed;
}

static size_t count_wanted(const float *out, size_t pitch, size_t outputs, const cascade_tile *tile, float threshold) {
    size_t n = 0;
    for (size_t y = 0; y < tile->rows; y++) {
        const float *line = out + y * outputs * pitch;
        for (size_t x = 0; x < tile->columns; x++) {
            n += line[pitch + x] - line[x] >= threshold;
        }
    }
    return n;
}

static void write_wanted(const float *out, size_t pitch, size_t outputs, const cascade_tile *tile, float threshold,
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

static void search_tile(cascade_search *search, cascade_search_tile *searched, void *workspace) {
    const cascade_searched *image = search->images + searched->image;
    size_t pitch = 0, outputs = image->grid.outputs;
    wait_for(search, searched->image + 1);
    const float *out = cascade_image_run(search->kernels, &image->grid, search->layers, search->layer_count, &image->image,
                                         &searched->tile, workspace, &pitch);
    searched->count = count_wanted(out, pitch, outputs, &searched->tile, search->threshold);
    searched->first = atomic_fetch_add(&search->found_count, searched->count);
    if (searched->count <= search->room && searched->first <= search->room - searched->count) {
        write_wanted(out, pitch, outputs, &searched->tile, search->threshold,
                     search->found + searched->first * (outputs + 1));
    }
}

static size_t band_items(const cascade_search *search) { return search->together * search->bands; }

static int has_rest(const cascade_search *search) { return search->image_count - search->ready > search->together; }

size_t cascade_search_items(const cascade_search *search) {
    return band_items(search) + (size_t)has_rest(search) + search->tile_count;
}

void cascade_search_work(void *context, size_t item, void *workspace) {
    cascade_search *search = context;
    size_t making = band_items(search);
    if (item < making) {
        make_band(search, item, workspace);
    } else if (item == making && has_rest(search)) {
        make_rest(search, workspace);
    } else {
        search_tile(search, search->tiles + (item - making - (size_t)has_rest(search)), workspace);
    }
}

/* The next of a tile's windows, if it lies in that row of the grid. */
static const float *in_row(const cascade_search *search, const cascade_search_tile *tile, size_t taken, size_t width,
                           size_t row) {
    const float *window = search->found + (tile->first + taken) * width;
    return taken < tile->count && window[1] == (float)row ? window : NULL;
}

size_t cascade_search_gather(const cascade_search *search, cascade_search_tile *tiles, size_t count, float *out) {
    size_t n = 0;
    for (size_t first = 0, last; first < count; first = last) {
        const cascade_tile *strip = &tiles[first].tile;
        size_t width = search->images[tiles[first].image].grid.outputs + 1;
        for (last = first + 1; last < count && tiles[last].tile.top == strip->top;) {
            last++;
        }
        if (last == first + 1) {
            memcpy(out + n * width, search->found + tiles[first].first * width, tiles[first].count * width * sizeof(float));
            n += tiles[first].count;
            continue;
        }
        for (size_t row = strip->top; row < strip->top + strip->rows; row++) {
            for (cascade_search_tile *tile = tiles + first; tile < tiles + last; tile++) {
                const float *window;
                while ((window = in_row(search, tile, tile->taken, width, row)) != NULL) {
                    memcpy(out + n++ * width, window, width * sizeof(float));
                    tile->taken++;
                }
            }
        }
    }
    return n;
}
