/*
 * The native core of cascade: everything between an image and its faces that is arithmetic.
 *
 *   resample.c         image rectangle -> smaller (or larger) uint8 image: pyramid levels and crops
 *   warp.c             turned square of an image -> uint8 crop
 *   kernels.c          the inner loops, of the headers in kernels/, compiled once per instruction level
 *   levels.c           which instruction levels this machine can run
 *   layers.c           output sizes, packed weights
 *   network_image.c    a network slid over a whole pyramid level (P-Net)
 *   network_crops.c    a network over a batch of crops (R-Net, O-Net)
 *   network_few.c      the same for a few crops
 *   team.c             lists of work that threads share
 *   search.c           such a list: a network slid over several images, and the images made on the way
 *   crops.c            another: crops cut and judged
 *   network_graph.c    a network of any shape over one crop at a time (recognition)
 *   graph_plan.c       where its maps lie
 *   memory.c           memory of workspaces
 *   nms.c              non-maximum suppression
 *   boxes.c            windows, calibration, squaring, widening, clipping, what goes on to the next network
 *   similarity.c       the transform that turns five points upright, and back
 *
 * Conventions. Images are uint8 RGB, rows of `width * 3` bytes. The pixel in column j covers [j, j + 1), its
 * centre is at j + 0.5. Boxes are x1, y1, x2, y2 float32 in that frame. No function keeps state or touches
 * a Python object, and but for cascade_memory none allocates: buffers belong to the caller, whose sizes the `*_workspace`
 * functions tell.
 */
#ifndef CASCADE_H
#define CASCADE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define CASCADE_CHANNELS 3
/* Channels in a word of a network of bytes. */
#define CASCADE_WORD 4
/* What lies outside an image: the grey that normalises to (almost) zero. */
#define CASCADE_OUTSIDE 128

/* Rows [top, top + rows) of an image of width * height; `pixels` is the first of them. A level of a large image is never
 * there as a whole. */
typedef struct {
    const uint8_t *pixels;
    size_t width;
    size_t height;
    size_t top;
    size_t rows;
} cascade_image;

/* Bits after the point of an affine map in fixed point, and of the shares of a pixel's neighbours along an axis. */
#define CASCADE_MAP_BITS 32
#define CASCADE_SHARE_BITS 8

/* ---- team.c ---------------------------------------------------------------------------------------------- */

/* Does an item of a list, in memory that no other thread uses meanwhile. */
typedef void (*cascade_work)(void *context, size_t item, void *workspace);

/* What the threads of a team share. All zeros is a team at rest. */
typedef struct {
    cascade_work work;
    void *context;
    size_t count;
    size_t lists;           /* opened so far */
    _Atomic(size_t) next;   /* the first item that nobody has begun */
    _Atomic(size_t) list;   /* number of the list that is open; 0: none */
    _Atomic(size_t) inside; /* helpers that may be at an item */
    _Atomic(int) led;
    _Atomic(int) closed;
} cascade_team;

/* One of its helpers. */
typedef struct {
    void *workspace; /* not changed while a list is open */
    size_t seen;     /* the last list it helped with */
    _Atomic(int) there;
    _Atomic(int) asleep;
} cascade_helper;

/* Waits a little: awake at first, then letting others have the core. `turns` starts at 0. */
void cascade_wait(size_t *turns);

/* Becomes the leader; returns 0 if there is one. Only the leader may open lists and change workspaces, until it leaves. */
int cascade_team_lead(cascade_team *team);
void cascade_team_leave(cascade_team *team);
/* The leader: opens a list, then does what is left of it and waits until all of it is done. */
void cascade_team_open(cascade_team *team, cascade_work work, void *context, size_t count);
void cascade_team_finish(cascade_team *team, void *workspace);
/* Tells the helpers to end. */
void cascade_team_close(cascade_team *team);
int cascade_team_closed(cascade_team *team);

/* Becomes a helper; returns 0 if another thread is this one. */
int cascade_helper_join(cascade_helper *helper);
void cascade_helper_leave(cascade_helper *helper);
/* A helper: does what lists have, until none has come for so long or the team is closed. */
void cascade_helper_help(cascade_team *team, cascade_helper *helper, int64_t microseconds);
/* Whether it may now sleep: then it must be woken, by whoever is told so by the other function, which the leader asks once a
 * list is open or the team closed. */
int cascade_helper_sleeps(cascade_team *team, cascade_helper *helper);
int cascade_helper_wakes(cascade_helper *helper);

/* ---- levels.c, kernels.c --------------------------------------------------------------------------------- */

/* A strip of convolution: `vectors` vectors of `lanes` independent positions each. Tap k of vector v starts at
 * in[taps[k] + v * in_step]; channel c of it goes to out[c * out_channel_step + v * out_step]. */
typedef struct {
    const float *in;
    ptrdiff_t in_step;
    const ptrdiff_t *taps;
    size_t tap_count;
    float *out;
    ptrdiff_t out_step;
    ptrdiff_t out_channel_step;
    size_t vectors;
} cascade_strip;

typedef struct {
    const char *name;
    size_t lanes;
    /* weights as cascade_pack_weights leaves them; out = max(x, 0) + slope * min(x, 0), x the sum plus the bias */
    void (*convolve)(const cascade_strip *strip, size_t channels, const float *weights, const float *bias,
                     const float *slope);
    /* the same with lanes of output channels: the strip's `vectors` are positions, in_step and out_step apart, of a feature
     * each in and `channels` neighbouring ones out; channels are a multiple of lanes, weights as cascade_pack_few leaves
     * them; out_channel_step is not looked at */
    void (*convolve_few)(const cascade_strip *strip, size_t channels, const float *weights, const float *bias,
                         const float *slope);
    /* convolve over words of four bytes: a feature of the strip, in and out, is a word of four neighbouring channels, and
     * taps are of words; sums are whole, so every level gives the same. `last`: out are channels, as floats. Weights as
     * cascade_pack_weights leaves words of four; out = (sum + bias) * factor, as a byte cut off to whole 0 .. 255. */
    void (*convolve_bytes)(const cascade_strip *strip, size_t channels, const void *weights, const int32_t *bias,
                           const float *factor, int last);
    /* the same with lanes of output channels, as convolve_few; channels are a multiple of lanes */
    void (*convolve_few_bytes)(const cascade_strip *strip, size_t channels, const void *weights, const int32_t *bias,
                               const float *factor, int last);
    /* one filter per channel, lanes as in convolve_few: weights[k * channels + c] is that of tap k; in_step and out_step
     * are between positions, the channels of a tap lie side by side */
    void (*depthwise)(const cascade_strip *strip, size_t channels, const float *weights, const float *bias,
                      const float *slope);
    /* `channels` channels, in_channel_step apart: the maximum over the taps */
    void (*pool)(const cascade_strip *strip, size_t channels, ptrdiff_t in_channel_step);
    /* accumulates rows: out[i] = round(sum_k weights[k] * rows[k * stride + i]) for i < n */
    void (*blend_rows)(const uint8_t *rows, size_t stride, const int16_t *weights, size_t count, uint8_t *out,
                       size_t n);
    /* out pixel i is the rounded sum of `taps` pixels of `row` from pixel first[i] on, tap k weighted by weights[i * step +
     * k]; CASCADE_OUTSIDE where all weights are 0. `taps` is a multiple of CASCADE_TAPS, and CASCADE_TAPS bytes after the last
     * pixel must be readable, weighted or not. */
    void (*blend_columns)(const uint8_t *row, const int32_t *first, const int16_t *weights, size_t step, size_t taps,
                          uint8_t *out, size_t n);
    /* n pixels of a turned crop from (x, y) on in fixed point, map[0] and map[3] apart: each blends its four neighbours, which
     * lie in the image with two bytes after them that can be read */
    void (*turn)(const cascade_image *image, const int64_t map[6], int64_t x, int64_t y, uint8_t *out, size_t n);
    /* crops of `values` bytes to [value][lane], normalised; lanes from `count` on repeat the last crop */
    void (*interleave)(const uint8_t *crops, size_t count, size_t values, float *out);
    /* splits n columns of CASCADE_SPLIT bytes each: plane p of column x is planes[p * pitch + x], byte p of the column
     * normalised to about -1 .. 1 */
    void (*split)(const uint8_t *row, size_t n, float *planes, size_t pitch);
    /* the same for words of bytes: crops of `pixels` pixels to [pixel][lane], a pixel being a word of its three colours */
    void (*interleave_words)(const uint8_t *crops, size_t count, size_t pixels, float *out);
    /* and a plane for each pixel of a column */
    void (*split_words)(const uint8_t *row, size_t n, float *planes, size_t pitch);
    /* clears alive[j] for boxes j >= first whose overlap with `best` (x1, y1, x2, y2, area) is above the threshold; the
     * boxes are n values each of x1, y1, x2, y2 and area; overlap is over the smaller area, or over the union */
    void (*suppress)(const float best[5], const float *boxes, size_t n, size_t first, float threshold, int of_smaller,
                     float *alive);
} cascade_kernels;

/* Taps that `blend_columns` takes at a time. */
#define CASCADE_TAPS 4
/* Bytes of a column that `split` takes apart: four pixels, since the default P-Net moves by four. */
#define CASCADE_SPLIT (4 * CASCADE_CHANNELS)
/* Bytes to about -1 .. 1. */
#define CASCADE_NORMALISE(byte) (((float)(byte)-127.5f) * 0.0078125f)

/* The three colours of a pixel as a word of bytes. */
static inline uint32_t cascade_pixel_word(const uint8_t *pixel) {
    return pixel[0] | (uint32_t)pixel[1] << 8 | (uint32_t)pixel[2] << 16;
}

/* Bytes in whole cache lines. */
static inline size_t cascade_whole_lines(size_t bytes) { return (bytes + 63) / 64 * 64; }

/* Zeroed memory for `free`, or NULL. Large pieces come in huge pages where the system has them. */
void *cascade_memory(size_t size);

/* The levels compiled in, best first, ended by NULL; a level may be named here that this machine cannot run. */
const cascade_kernels *const *cascade_levels(void);
/* 1 if this machine and its operating system can run the level. */
int cascade_level_usable(const cascade_kernels *level);

/* ---- resample.c ------------------------------------------------------------------------------------------ */

/* Bits of the fixed-point filter weights; the weights of one output pixel sum to exactly 1 << bits. */
#define CASCADE_WEIGHT_BITS 14

/* One axis of a resampling: output pixel i is the sum of source pixels from `first[i]` on, tap k weighted by
 * weights[i * taps + k]; `count[i]` of them count, the weights of the others are 0. A count of 0 says that the output pixel
 * lies outside the source. */
typedef struct {
    size_t size;  /* output pixels */
    size_t taps;  /* most source pixels of any output pixel, or more */
    size_t most;  /* the largest count */
    int32_t *first;
    int32_t *count;
    int16_t *weights;
} cascade_axis;

/* Most taps that mapping a source interval of length `extent` onto `size` pixels can need. */
size_t cascade_axis_taps(double extent, size_t size);
/* Bytes of memory behind an axis with `size` outputs of `taps` taps. */
size_t cascade_axis_bytes(size_t size, size_t taps);
/* Triangle filter over [start, start + extent) of a source of `source` pixels; memory as cascade_axis_bytes. The weights of
 * a pixel lie side by side. */
void cascade_axis_plan(cascade_axis *axis, void *memory, double start, double extent, size_t source, size_t size,
                       size_t taps);

/* Bytes of workspace to resample boxes of at most extent_x by extent_y pixels to width by height. */
size_t cascade_resample_workspace(double extent_x, double extent_y, size_t source_width, size_t width, size_t height);
/* Rows [*from, *to) of an image of `source` rows that hold all that rows [first, end) of `height` see of [start, start +
 * extent): at most a few more than they read. */
void cascade_rows_read(double start, double extent, size_t source, size_t height, size_t first, size_t end, size_t *from,
                       size_t *to);
/* Resamples box (x1, y1, x2, y2, any part may lie outside) of an image to width * height, vertical pass first. Only rows
 * [first, end) are made, from row `out` on; the image has the rows that cascade_rows_read tells. */
void cascade_resample(const cascade_kernels *kernels, const cascade_image *image, const double box[4], uint8_t *out,
                      size_t width, size_t height, size_t first, size_t end, void *workspace);

/* The same as a list of work, in bands of `rows` rows. */
typedef struct {
    const cascade_kernels *kernels;
    const cascade_image *image;
    const double *box;
    uint8_t *out;
    size_t width;
    size_t height;
    size_t first;
    size_t end;
    size_t rows;
} cascade_resampling;
void cascade_resampling_work(void *resampling, size_t item, void *workspace);

/* ---- warp.c ---------------------------------------------------------------------------------------------- */

/* Crop pixel (column, row) shows the image at (map[0] * column + map[1] * row + map[2], map[3] * column + map[4] * row +
 * map[5]), coordinates that stay within +-2^20 pixels; the grey `outside` where that lies outside the image. The image has
 * the rows of all those that do not. */
void cascade_warp(const cascade_kernels *kernels, const cascade_image *image, const int64_t map[6], uint8_t outside,
                  uint8_t *out, size_t size);

/* ---- similarity.c ---------------------------------------------------------------------------------------- */

/* The rotation, scale and shift (2, 3) that take `count` points (x, y) nearest to those of a template. Returns 0, and NaN
 * in the matrix, if there is none: for NaN, for points that coincide but for a share `rounding` of their coordinates, and
 * for points that no rotation fits. */
int cascade_similarity(const double *points, const double *template, size_t count, double rounding, double matrix[6]);
/* Whether these points lie about an image and are turned to a crop of `size` pixels, at least one of them and at most as
 * many as the image's. */
int cascade_turnable(const float *points, size_t count, const double matrix[6], double size);
/* Where a place of the crop lies in the image. */
void cascade_turn_back(const double matrix[6], double x, double y, double back[2]);

/* ---- networks -------------------------------------------------------------------------------------------- */

enum { CASCADE_CONV = 0, CASCADE_POOL = 1, CASCADE_BYTES = 2 };

/* A layer without padding. A fully connected layer is a convolution whose kernel covers its whole input. In networks of
 * bytes a feature is a word of four channels, but for the outputs of the last layer: in_channels and out_channels count
 * features, `filters` the channels that are made. */
typedef struct {
    int kind;
    size_t in_channels;
    size_t out_channels;
    size_t kernel;
    size_t stride;
    const float *weights; /* packed */
    const float *few_weights; /* packed for network_few.c, NULL if that cannot run the network */
    const float *bias;
    const float *slope;
    /* of CASCADE_BYTES, in place of bias and slope: */
    size_t filters;
    int last;
    const int32_t *byte_bias;
    const float *factor;
} cascade_layer;

/* Features of a pixel that the layers take. */
size_t cascade_input_features(const cascade_layer *layers);
/* One strip of a convolution of either kind. */
void cascade_convolve(const cascade_kernels *kernels, const cascade_layer *layer, const cascade_strip *strip);

/* Reorders weights [out][in][ky][kx], floats or words of four bytes, to blocks of output channels, [block][ky][kx][in]
 * [channel of the block]. */
void cascade_pack_weights(const void *weights, size_t out_channels, size_t in_channels, size_t kernel, void *packed);

/* The same for network_few.c, in blocks of two vectors of output channels, or one for an odd last vector. */
void cascade_pack_few(const void *weights, size_t out_channels, size_t in_channels, size_t kernel, size_t lanes,
                      void *packed);

/* Output positions of a valid window of `kernel` moved by `stride`; for pools a last partial window counts. */
size_t cascade_layer_output(const cascade_layer *layer, size_t input);

/* Floats of workspace for one group of crops; 0 if the sizes overflow or a layer does not fit. */
size_t cascade_crops_workspace(const cascade_layer *layers, size_t layer_count, size_t size, size_t lanes);
/* Runs crops (count, size, size, 3) through the layers; out is (count, outputs), outputs those of the last layer. */
void cascade_crops_run(const cascade_kernels *kernels, const cascade_layer *layers, size_t layer_count,
                       const uint8_t *crops, size_t count, size_t size, float *out, float *workspace);

/* Whether network_few.c can run the layers. */
int cascade_few_usable(const cascade_layer *layers, size_t layer_count, size_t lanes);
/* Floats of workspace for `count` crops. */
size_t cascade_few_workspace(const cascade_layer *layers, size_t layer_count, size_t size, size_t count);
/* As cascade_crops_run, to which it gives equal outputs. */
void cascade_few_run(const cascade_kernels *kernels, const cascade_layer *layers, size_t layer_count,
                     const uint8_t *crops, size_t count, size_t size, float *out, float *workspace);

/* A network slid over an image. `padding` grey pixels surround the image; `rows` * `columns` windows. */
typedef struct {
    size_t stride;
    size_t field;   /* side of the receptive field */
    size_t padding;
    size_t rows;
    size_t columns;
    size_t outputs; /* channels of the last layer */
} cascade_grid;

/* Some of a grid's windows: `rows` from row `top` on, `columns` from column `left` on. */
typedef struct {
    size_t top;
    size_t left;
    size_t rows;
    size_t columns;
} cascade_tile;

/* Fills the grid of an image of width * height; rows or columns are 0 if no window fits. Returns 0 if the layers
 * cannot be slid (a pool whose stride and kernel leave partial windows is fine, a shrinking to nothing is not). */
int cascade_grid_plan(cascade_grid *grid, const cascade_layer *layers, size_t layer_count, size_t padding,
                      size_t width, size_t height);
/* Floats of workspace to run `rows` rows of so many columns of the grid; 0 if the sizes overflow. */
size_t cascade_image_workspace(const cascade_grid *grid, const cascade_layer *layers, size_t layer_count,
                               size_t rows, size_t columns, size_t lanes);
/* Runs a tile of the grid. out is (rows, outputs, pitch) inside the workspace; its address is returned and the row pitch
 * in floats stored. Rows that the image does not have are grey: it has those that the tile's windows cover. */
const float *cascade_image_run(const cascade_kernels *kernels, const cascade_grid *grid, const cascade_layer *layers,
                               size_t layer_count, const cascade_image *image, const cascade_tile *tile,
                               float *workspace, size_t *pitch);

/* ---- search.c -------------------------------------------------------------------------------------------- */

/* An image that is searched, in tiles of at most so many rows and columns of windows. */
typedef struct {
    cascade_image image;
    uint8_t *unmade; /* the image's pixels if they are to be made of all of the image before, NULL if they are there */
    cascade_grid grid;
    size_t first; /* rows [first, end) of the grid are searched */
    size_t end;
    size_t rows;
    size_t columns;
} cascade_searched;

/* A tile of an image, and where what was found there lies. */
typedef struct {
    size_t image;
    cascade_tile tile;
    size_t first;
    size_t count;
    size_t taken;
} cascade_search_tile;

/* Filled by the caller but for the last lines. */
typedef struct {
    const cascade_kernels *kernels;
    const cascade_layer *layers;
    size_t layer_count;
    const cascade_image *source; /* what the first image is made of */
    const cascade_searched *images;
    size_t image_count;
    size_t ready;    /* images that are there; all others are not */
    size_t together; /* images after these that all threads make, in so many bands each */
    size_t bands;
    cascade_search_tile *tiles;
    size_t tile_count;
    float threshold; /* windows are wanted whose face logit minus background logit is at least this */
    float *found;    /* room for so many windows of `outputs` + 1 floats */
    size_t room;
    _Atomic(size_t) made;        /* images; `ready` at first */
    _Atomic(size_t) bands_made;  /* 0 at first */
    _Atomic(size_t) found_count; /* 0 at first; beyond `room` not all that was found is there */
} cascade_search;

/* Number of tiles of image k; and the tiles, unless NULL, from left to right and top to bottom. */
size_t cascade_search_tiles(const cascade_search *search, size_t k, cascade_search_tile *tiles);
/* Bytes of workspace for the tiles of image k and for making it; 0 if the sizes overflow. */
size_t cascade_search_workspace(const cascade_search *search, size_t k);
/* The list of work. */
size_t cascade_search_items(const cascade_search *search);
void cascade_search_work(void *search, size_t item, void *workspace);
/* The windows of some tiles of one image, which are all of some of its strips, in order of row, then column: (n, outputs + 1),
 * column, row, logit difference, then the outputs after the first two. Returns n. Tiles may be gathered once. */
size_t cascade_search_gather(const cascade_search *search, cascade_search_tile *tiles, size_t count, float *out);

/* ---- crops.c --------------------------------------------------------------------------------------------- */

/* Where crops of `size` * `size` pixels lie: in which level each, and as boxes (x1, y1, x2, y2) of its pixels or, if not NULL,
 * as maps of six numbers, as cascade_warp takes them. */
typedef struct {
    const cascade_image *levels;
    const int64_t *order;
    const double *edges;
    const int64_t *maps;
    size_t size;
    size_t workspace; /* bytes to cut one */
    uint8_t outside;
} cascade_places;

void cascade_cut(const cascade_kernels *kernels, const cascade_places *places, size_t i, uint8_t *out, void *workspace);

/* `count` crops from `first` on, cut and judged in so many pieces of `piece`, what is left over in pieces of `last`. */
typedef struct {
    const cascade_kernels *kernels;
    const cascade_layer *layers;
    size_t layer_count;
    size_t outputs;
    const cascade_places *places;
    size_t first;
    size_t count;
    size_t pieces;
    size_t piece;
    size_t last;
    float *out; /* (count, outputs) */
} cascade_judging;

/* Bytes of workspace; 0 if the sizes overflow. */
size_t cascade_judging_workspace(const cascade_judging *judging);
/* The list of work. */
size_t cascade_judging_items(const cascade_judging *judging);
void cascade_judging_work(void *judging, size_t item, void *workspace);

/* ---- graph_plan.c, network_graph.c ----------------------------------------------------------------------- */

/* A node of a graph. Maps are numbered: 0 is the crop, n + 1 what node n makes. Weights are packed for all of the channels
 * that cascade_graph_pitch gives, those too many being 0. */
enum {
    CASCADE_DENSE = 0,        /* a convolution, weights as cascade_pack_few leaves them */
    CASCADE_DEPTHWISE = 1,    /* weights as cascade_kernels.depthwise takes them */
    CASCADE_PYRAMID_POOL = 2, /* means, then maxima, of bins * bins windows: [mean or maximum][bins][window][channel] */
    CASCADE_SPATIAL_GATE = 3, /* mean and maximum of the channels, convolved to one channel; the padding is kernel / 2 */
    CASCADE_GATE = 4          /* input * (channel gate + spatial gate) / 2, or what that leaves of the input */
};

#define CASCADE_BINS 8
#define CASCADE_NO_MAP SIZE_MAX

typedef struct {
    int kind;
    int sigmoid; /* applied after bias and slope */
    int rest;    /* of a gate: what it leaves */
    size_t input;
    size_t add;          /* a map of the same shape, added last; or CASCADE_NO_MAP */
    size_t channel_gate; /* 1 * 1 * channels of the input */
    size_t spatial_gate; /* side * side * 1 */
    size_t kernel;
    size_t stride;
    size_t padding; /* zeros around the input */
    size_t channels; /* outputs of a CASCADE_DENSE */
    size_t bin_count;
    size_t bins[CASCADE_BINS];
    const float *weights;
    const float *bias;
    const float *slope;
} cascade_node;

/* A map of one crop: [row][column][channel], `pitch` floats a position, `border` positions of zeros around it. It is in use
 * from the node that makes it until node `last`. */
typedef struct {
    size_t side;
    size_t channels;
    size_t pitch;
    size_t border;
    size_t offset; /* floats from the start of the workspace */
    size_t last;
} cascade_map;

typedef struct {
    size_t size; /* side of a crop */
    size_t node_count;
    const cascade_node *nodes;
    size_t output_count;
    const size_t *outputs; /* numbers of maps */
    /* filled by cascade_graph_plan: */
    cascade_map *maps; /* node_count + 1 */
    size_t scratch;    /* floats from the start of the workspace */
    size_t taps;
    size_t workspace; /* floats in all */
} cascade_graph;

/* Floats per position of a map with so many channels. */
size_t cascade_graph_pitch(size_t channels);
/* Lays the maps out. Returns 0 if a node does not fit its input or the sizes overflow. */
int cascade_graph_plan(cascade_graph *graph);
/* Crops (count, size, size, 3) to run as a list of work, an item for each; out[i] is (count, side * side * channels) of output
 * i. */
typedef struct {
    const cascade_kernels *kernels;
    const cascade_graph *graph;
    const uint8_t *crops;
    float *const *out;
} cascade_graph_crops;
void cascade_graph_work(void *crops, size_t item, void *workspace);

/* ---- boxes.c, nms.c -------------------------------------------------------------------------------------- */

/* Boxes with a side below this, or an edge farther than this from the origin, are not judged any further (pixels). */
#define CASCADE_SMALLEST_SIDE 1.0f
#define CASCADE_FARTHEST 262144.0f

/* Where the windows of a network's grid lie on a level: pixels between them, of the first one's corner, of a side. */
typedef struct {
    double stride;
    double margin;
    double window;
} cascade_lattice;

/* The n windows found[i * pitch] (a column and a row of the grid each) of a level, as boxes in pixels of the photo; scale is
 * the level's pixels over the photo's. */
void cascade_windows(const float *found, size_t n, size_t pitch, const cascade_lattice *lattice, const double scale[2],
                     float *boxes);
/* boxes += offsets * their size, edge by edge; n boxes in place. */
void cascade_calibrate(float *boxes, const float *offsets, size_t n);
/* Grows n boxes to squares about their centres. */
void cascade_square(float *boxes, size_t n);
/* n boxes scaled about their centres. */
void cascade_widen(const float *boxes, size_t n, double context, double *wide);
/* Clips n boxes to [0, width] * [0, height]. */
void cascade_clip(float *boxes, size_t n, float width, float height);
/* The windows with a logit of at least `threshold`, calibrated, if boxes come of that: writes these, and of which window
 * each is, and returns their number. There is room for n of both. */
size_t cascade_candidates(const float *windows, const float *offsets, const float *logits, size_t n, float threshold,
                          float *boxes, int64_t *kept);
/* n logits, as the stages before had them, become means of these, which weigh `share`, and of a network's outputs, background
 * and face first, `pitch` a window, which weigh 1. */
void cascade_log_odds(const float *outputs, size_t pitch, size_t n, float share, float *logits);
/* `count` points (x, y), given as shares of a window's sides, in pixels of the photo. */
void cascade_points(const float *window, const float *shares, size_t count, float *points);
float cascade_iou(const float *a, const float *b);

/* Numbers n scores, none of them NaN, from best to worst, equal ones in their order. There is room for n in both. */
void cascade_order(const float *scores, size_t n, int64_t *order, int64_t *spare);

enum { CASCADE_NMS_UNION = 0, CASCADE_NMS_MIN = 1 };
/* `order` lists n boxes from best to worst. Writes the kept ones to `keep` in that order and returns their number.
 * `workspace` holds 6 * n floats. */
size_t cascade_nms(const cascade_kernels *kernels, const float *boxes, const int64_t *order, size_t n, float threshold,
                   int mode, int64_t *keep, float *workspace);
/* Soft-NMS (Bodla et al. 2017): linear decay above the threshold, or Gaussian with sigma > 0. Scores change in
 * place; boxes that fall below `floor` are dropped. Returns the number kept; `keep` in order of decayed score. */
size_t cascade_soft_nms(const float *boxes, float *scores, size_t n, float threshold, float sigma, float floor,
                        int64_t *keep, uint8_t *done);

#endif
