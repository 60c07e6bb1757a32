/* The detector: boxes, suppression, crop classification and the dense scan of an image pyramid. */
#ifndef CASCADE_DETECT_H
#define CASCADE_DETECT_H

#include <stdatomic.h>

#include "nn.h"
#include "threadpool.h"

/* ---- detect/boxes.c, detect/nms.c ------------------------------------------------------------------------ */

/* Boxes with a side below this are dropped (pixels), as are those with an edge beyond CASCADE_MAX_COORDINATE. */
#define CASCADE_MIN_BOX_SIDE 1.0f

/* Where the windows of a feature grid lie on a pyramid level (pixels): the distance between them, the corner of the first one
 * and their side. */
typedef struct {
    double stride;
    double margin;
    double window;
} cascade_window_layout;

/* Computes boxes in pixels of the image from n windows of a level. found[i * pitch] holds the column and the row of window i;
 * `scale` is the size of the level over that of the image, across and down. */
void cascade_window_boxes(const float *found, size_t n, size_t pitch, const cascade_window_layout *layout,
                          const double scale[2], float *boxes);
/* What is added to the log-odds of windows for how they lie in the image: `close_up` if their side is at least `close_up_side`,
 * else `at_border` if the space between them and the nearest edge is less than `gap` of their side; with -0.1, if more than a
 * tenth of them lies outside. */
typedef struct {
    float gap;
    float close_up_side;
    float at_border;
    float close_up;
} cascade_framing;

/* Computes what is added for n windows in an image of width * height. */
void cascade_framing_logits(const float *windows, size_t n, float width, float height, const cascade_framing *framing,
                            float *logits);
/* Adds deltas * the box's size to each edge of n boxes, in place. */
void cascade_apply_box_deltas(float *boxes, const float *deltas, size_t n);
/* Grows n boxes to squares of the longer side about their centres. */
void cascade_square(float *boxes, size_t n);
/* Scales n boxes by `context` about their centres. */
void cascade_expand(const float *boxes, size_t n, double context, double *expanded);
/* Clips n boxes to [0, width] * [0, height], in place. */
void cascade_clip(float *boxes, size_t n, float width, float height);
/* Applies the deltas to the windows with a logit of at least `threshold`. Writes the valid boxes and the indices of their
 * windows, with room for n of both, and returns their number. */
size_t cascade_candidates(const float *windows, const float *deltas, const float *logits, size_t n, float threshold,
                          float *boxes, int64_t *kept);
/* Replaces n logits of the earlier stages, which weigh `share`, by their weighted mean with the logits of a network, which
 * weigh 1. `outputs` holds the logits of background and face first, `pitch` values per window. */
void cascade_fuse_logits(const float *outputs, size_t pitch, size_t n, float share, float *logits);
/* Converts `count` points (x, y) from fractions of a window's sides to pixels. */
void cascade_window_points(const float *window, const float *fractions, size_t count, float *points);

/* Work between two polls, in boxes looked at: a few milliseconds. */
#define CASCADE_POLL_INTERVAL ((size_t)1 << 20)

/* Adds to the work done, and polls now and then. Returns 0 if the work is to end. */
static inline int cascade_go_on(cascade_poll poll, size_t *work, size_t more) {
    *work += more;
    if (*work < CASCADE_POLL_INTERVAL) {
        return 1;
    }
    *work = 0;
    return poll == NULL || poll() == 0;
}

/* Indices of boxes fit in 32 bits. */
#define CASCADE_MAX_BOXES ((size_t)UINT32_MAX / 8)

/* Sorts the indices of n scores, none of them NaN, from best to worst; ties keep their order. Both arrays have room for n,
 * which is at most CASCADE_MAX_BOXES. Returns 0 if `poll` ended it. */
int cascade_argsort(const float *scores, size_t n, int64_t *order, int64_t *scratch, cascade_poll poll);

enum { CASCADE_NMS_UNION, CASCADE_NMS_MIN };
/* What cascade_nms returns if `poll` ended it. */
#define CASCADE_STOPPED SIZE_MAX
/* Bytes of workspace for n boxes, on a boundary of four; 0 if that is too many. */
size_t cascade_nms_workspace(size_t n);
/* Greedy non-maximum suppression. `order` lists n boxes from best to worst. Writes the kept ones to `keep` in that order and
 * returns their number. */
size_t cascade_nms(const cascade_kernels *kernels, const float *boxes, const int64_t *order, size_t n, float threshold,
                   int mode, int64_t *keep, void *workspace, cascade_poll poll);

/* ---- detect/voting.c ------------------------------------------------------------------------------------- */

/* Writes, for each of the `count` kept boxes, the mean of those of n boxes that overlap it by at least `least` (above 0;
 * intersection over union) and no other kept box by more, weighted by that overlap and by the probability of their
 * log-odds, and in `votes` the sum of these weights. The n boxes are sorted by their left edges. `most` has room for n
 * floats, zero at first. Returns 0 if `poll` ended it. */
int cascade_vote(const float *boxes, const float *logits, size_t n, const float *kept, size_t count, float least,
                 float *most, float *voted, float *votes, cascade_poll poll);

/* ---- detect/crops.c -------------------------------------------------------------------------------------- */

/* Where crops of size * size pixels lie: crop i in level level_of[i], either as a box (x1, y1, x2, y2) in its pixels or, if
 * `transforms` is not NULL, as six numbers for cascade_warp. */
typedef struct {
    const cascade_image *levels;
    const int64_t *level_of;
    const double *boxes;
    const int64_t *transforms;
    size_t size;
    size_t workspace; /* bytes to cut one */
    uint8_t padding_value;
} cascade_crop_set;

void cascade_cut_crop(const cascade_kernels *kernels, const cascade_crop_set *set, size_t i, uint8_t *out,
                      void *workspace);

/* Crop classification by several threads: `count` crops from `first` on in `chunks` chunks of `chunk` crops; those left over
 * come in chunks of `last_chunk`. */
typedef struct {
    const cascade_kernels *kernels;
    const cascade_layer *layers;
    size_t layer_count;
    size_t outputs;
    const cascade_crop_set *set;
    size_t first;
    size_t count;
    size_t chunks;
    size_t chunk;
    size_t last_chunk;
    float *out; /* (count, outputs) */
} cascade_classification;

/* Bytes of workspace; 0 if the sizes overflow. */
size_t cascade_classification_workspace(const cascade_classification *job);
/* Number of chunks. */
size_t cascade_classification_items(const cascade_classification *job);
/* Cuts and classifies the crops of one chunk: the loop body. */
void cascade_classify_chunk(void *job, size_t item, void *workspace);

/* ---- detect/dense_scan.c --------------------------------------------------------------------------------- */

/* A pyramid level to scan, in tiles of at most tile_rows * tile_columns windows. */
typedef struct {
    cascade_image image;
    uint8_t *target; /* the image's pixels, if they are yet to be resampled from the level before; else NULL */
    cascade_feature_grid grid;
    size_t first; /* rows [first, end) of the grid are scanned */
    size_t end;
    size_t tile_rows;
    size_t tile_columns;
    float threshold; /* windows whose face logit less background logit is at least this are detections */
} cascade_scan_level;

/* A tile of a level, and where its detections are. */
typedef struct {
    size_t level;
    cascade_tile tile;
    size_t first;
    size_t count;
    size_t gathered;
} cascade_scan_tile;

/* A dense scan of several levels by several threads. The caller fills everything; the last three are counters. */
typedef struct {
    const cascade_kernels *kernels;
    const cascade_layer *layers;
    size_t layer_count;
    const cascade_image *source; /* what the first level is resampled from */
    const cascade_scan_level *levels;
    size_t level_count;
    size_t ready;        /* levels that exist already; all others do not */
    size_t split_levels; /* levels after these that all threads resample, in `strips` strips each */
    size_t strips;
    cascade_scan_tile *tiles;
    size_t tile_count;
    float *found; /* room for `capacity` detections of `outputs` + 1 floats */
    size_t capacity;
    _Atomic(size_t) levels_done; /* `ready` at first */
    _Atomic(size_t) strips_done; /* 0 at first */
    _Atomic(size_t) found_count; /* 0 at first; if it exceeds `capacity`, some detections are missing */
} cascade_dense_scan;

/* Number of tiles of level k. Writes the tiles, unless NULL, from left to right and top to bottom. */
size_t cascade_dense_scan_tiles(const cascade_dense_scan *scan, size_t k, cascade_scan_tile *tiles);
/* Bytes of workspace to resample level k and to scan its tiles; 0 if the sizes overflow. */
size_t cascade_dense_scan_workspace(const cascade_dense_scan *scan, size_t k);
/* Number of items: strips, levels and tiles. */
size_t cascade_dense_scan_items(const cascade_dense_scan *scan);
/* The loop body. */
void cascade_dense_scan_item(void *scan, size_t item, void *workspace);
/* Gathers the detections of some tiles, which are all tiles of some rows of tiles of one level, in order of row, then column:
 * (n, outputs + 1), column, row, logit difference, then the outputs after the first two. Returns n. Each tile may be gathered
 * once. */
size_t cascade_dense_scan_gather(const cascade_dense_scan *scan, cascade_scan_tile *tiles, size_t count, float *out);

#endif
