/*
 * Networks: lists of layers for the detector, graphs of nodes for recognition.
 *
 * A list of layers runs in three ways. cascade_image_forward runs it fully convolutionally over an image (P-Net),
 * cascade_batch_forward over a batch of crops (R-Net, O-Net), and cascade_small_batch_forward over fewer crops than a vector
 * has lanes. A graph runs over one crop at a time.
 */
#ifndef CASCADE_NN_H
#define CASCADE_NN_H

#include "image.h"
#include "kernels.h"
#include "workspace.h"

/* ---- nn/layers.c ----------------------------------------------------------------------------------------- */

enum { CASCADE_CONV, CASCADE_MAX_POOL };
enum { CASCADE_F32, CASCADE_INT8 };

typedef struct {
    const float *weights;             /* packed by cascade_pack_weights */
    const float *small_batch_weights; /* packed by cascade_pack_small_batch; NULL if the network cannot run that way */
    const float *bias;
    const float *slope;
} cascade_f32_weights;

typedef struct {
    const int8_t *weights;
    const int8_t *small_batch_weights;
    const int32_t *bias;
    const int32_t *signed_bias; /* that of activations less 128: see cascade_signed_bias; NULL if no level needs it */
    const float *factor;
    int dequantize; /* the last layer: its outputs are float32 */
} cascade_int8_weights;

/* A layer without padding. A fully connected layer is a convolution whose kernel covers its whole input. All layers of a
 * network have the same dtype. */
typedef struct {
    int op;
    int dtype;
    size_t in_elements;  /* cascade_element per position: channels, or packed int8x4 */
    size_t out_elements;
    size_t channels;     /* filters of a convolution */
    size_t kernel;
    size_t stride;
    cascade_f32_weights f32;
    cascade_int8_weights int8;
} cascade_layer;

/* Elements of a pixel that the first layer takes: its three channels, or all of them in one int8x4. */
size_t cascade_input_elements(const cascade_layer *layers);
/* Output positions along an axis of `input` positions. A last, partial window of a pool counts. */
size_t cascade_layer_output(const cascade_layer *layer, size_t input);
/* Bytes of workspace for the taps of a span. */
static inline size_t cascade_tap_bytes(size_t count) { return cascade_cache_lines(count * sizeof(ptrdiff_t)); }
/* Runs a convolution of either dtype over one span, with lanes of positions or, for small batches, of channels. */
void cascade_convolve(const cascade_kernels *kernels, const cascade_layer *layer, const cascade_element *in,
                      cascade_element *out, const cascade_span *span);
void cascade_convolve_small_batch(const cascade_kernels *kernels, const cascade_layer *layer, const cascade_element *in,
                                  cascade_element *out, const cascade_span *span);

/* Whether int8 weights [out][in][ky][kx][4] satisfy the limit of CASCADE_INT8_GROUP, without which levels would disagree. */
int cascade_int8_groups_fit(const int8_t *weights, size_t out_channels, size_t in_elements, size_t kernel);
/* bias + 128 * the sum of the weights, for each of the output channels with `count` weights each. */
void cascade_signed_bias(const int8_t *weights, size_t out_channels, size_t count, const int32_t *bias,
                         int32_t *signed_bias);
/* The biases that a level's int8 kernels take. */
static inline const int32_t *cascade_int8_bias(const cascade_kernels *kernels, const cascade_int8_weights *int8) {
    return kernels->int8_signed ? int8->signed_bias : int8->bias;
}

/* Reorders weights [out][in][ky][kx] of four bytes each, float32 or int8x4, to blocks of output channels,
 * [block][ky][kx][in][channel of the block]. */
void cascade_pack_weights(const void *weights, size_t out_channels, size_t in_elements, size_t kernel, void *packed);
/* The same in blocks of two vectors of output channels, or one for an odd last vector. */
void cascade_pack_small_batch(const void *weights, size_t out_channels, size_t in_elements, size_t kernel, size_t lanes,
                              void *packed);

/* ---- nn/batch_forward.c, nn/small_batch_forward.c -------------------------------------------------------- */

/* Bytes of workspace for any number of crops; 0 if the sizes overflow or a layer does not fit. */
size_t cascade_batch_workspace(const cascade_layer *layers, size_t layer_count, size_t size, size_t lanes);
/* Runs the layers over crops (count, size, size, 3). `out` is (count, outputs), the outputs of the last layer. */
void cascade_batch_forward(const cascade_kernels *kernels, const cascade_layer *layers, size_t layer_count,
                           const uint8_t *crops, size_t count, size_t size, float *out, void *workspace);

/* Whether the layers can run with lanes of channels. */
int cascade_small_batch_usable(const cascade_layer *layers, size_t layer_count, size_t lanes);
/* Whether their weights are packed for that. */
int cascade_small_batch_packed(const cascade_layer *layers);
/* Bytes of workspace for `count` crops. */
size_t cascade_small_batch_workspace(const cascade_layer *layers, size_t layer_count, size_t size, size_t count);
/* As cascade_batch_forward, with equal outputs. */
void cascade_small_batch_forward(const cascade_kernels *kernels, const cascade_layer *layers, size_t layer_count,
                                 const uint8_t *crops, size_t count, size_t size, float *out, void *workspace);

/* ---- nn/image_forward.c ---------------------------------------------------------------------------------- */

/* The grid of output positions of a network over an image: rows * columns windows. Position (row, column) sees the
 * `receptive_field` pixels from row * stride - padding down and from column * stride - padding across. */
typedef struct {
    size_t stride;
    size_t receptive_field;
    size_t padding; /* pixels of CASCADE_PADDING_VALUE around the image, and more for the last windows right and below */
    size_t rows;
    size_t columns;
    size_t outputs; /* channels of the last layer */
} cascade_feature_grid;

/* Some positions of a grid. */
typedef struct {
    size_t top;
    size_t left;
    size_t rows;
    size_t columns;
} cascade_tile;

/* Fills the grid for an image of width * height; rows or columns are 0 if no window fits. Returns 0 if the layers cannot run
 * over an image: they do not fit each other, or a kernel or stride is too large. */
int cascade_feature_grid_plan(cascade_feature_grid *grid, const cascade_layer *layers, size_t layer_count,
                              size_t padding, size_t width, size_t height);
/* Bytes of workspace for a tile of rows * columns positions; 0 if the sizes overflow. */
size_t cascade_image_workspace(const cascade_layer *layers, size_t layer_count, size_t rows, size_t columns,
                               size_t lanes);
/* Computes a tile of the grid. Returns the outputs (rows, outputs, pitch), which lie in the workspace. The image must have the
 * rows that the windows of the tile cover; rows outside the image are padding. */
const float *cascade_image_forward(const cascade_kernels *kernels, const cascade_feature_grid *grid,
                                   const cascade_layer *layers, size_t layer_count, const cascade_image *image,
                                   const cascade_tile *tile, void *workspace, size_t *pitch);

/* ---- nn/graph_plan.c, nn/graph_forward.c ----------------------------------------------------------------- */

/* Feature maps of a graph are numbered: 0 is the crop, n + 1 the output of node n. Weights are packed for as many channels as
 * cascade_graph_pitch tells; those of the additional channels are 0. */
enum {
    CASCADE_NODE_CONV,         /* weights as cascade_pack_small_batch leaves them */
    CASCADE_NODE_DEPTHWISE,    /* weights as cascade_kernels.depthwise_f32 takes them */
    CASCADE_NODE_PYRAMID_POOL, /* means, then maxima, over bins * bins windows: [mean or maximum][bins][window][channel] */
    CASCADE_NODE_SPATIAL_GATE, /* mean and maximum over the channels, convolved to one channel; the padding is kernel / 2 */
    CASCADE_NODE_GATE,         /* input * (channel gate + spatial gate) / 2, or the rest of the input */
    CASCADE_NODE_UPSAMPLE      /* every position `stride` times along both sides */
};

#define CASCADE_MAX_BINS 8
#define CASCADE_NO_MAP SIZE_MAX

typedef struct {
    int kind;
    int sigmoid; /* applied after bias and slope */
    int rest;    /* of a gate: the output is the input less what the gate lets through */
    size_t input;
    size_t add;          /* a feature map of the same shape, added last; or CASCADE_NO_MAP */
    size_t channel_gate; /* 1 * 1 * channels of the input */
    size_t spatial_gate; /* side * side * 1 */
    size_t kernel;
    size_t stride;
    size_t padding;  /* zeros around the input */
    size_t channels; /* outputs of a CASCADE_NODE_CONV */
    size_t bin_count;
    size_t bins[CASCADE_MAX_BINS];
    const float *weights;
    const float *bias;
    const float *slope;
} cascade_node;

/* A feature map of one crop: [row][column][channel], `pitch` floats per position, `border` positions of zeros around it. It
 * is in use from the node that computes it until node `last_use`. */
typedef struct {
    size_t side;
    size_t channels;
    size_t pitch;
    size_t border;
    size_t offset; /* floats from the start of the workspace */
    size_t last_use;
} cascade_feature_map;

typedef struct {
    size_t size; /* side of a crop */
    size_t node_count;
    const cascade_node *nodes;
    size_t output_count;
    const size_t *outputs; /* numbers of feature maps */
    /* filled by cascade_graph_plan: */
    cascade_feature_map *maps; /* room for node_count + 1 */
    size_t scratch;            /* floats from the start of the workspace */
    size_t taps;
    size_t workspace; /* bytes in all */
} cascade_graph;

/* Floats per position of a feature map with so many channels. */
size_t cascade_graph_pitch(size_t channels);
/* Lays the feature maps out. Returns 0 if a node does not fit its input or the sizes overflow. */
int cascade_graph_plan(cascade_graph *graph);
/* A graph over crops (count, size, size, 3) that threads share. out[i] is (count, side * side * channels) of output i. */
typedef struct {
    const cascade_kernels *kernels;
    const cascade_graph *graph;
    const uint8_t *crops;
    float *const *out;
} cascade_graph_job;
/* Runs the graph over one crop: the loop body of a cascade_graph_job. */
void cascade_graph_forward(void *job, size_t crop, void *workspace);

#endif
