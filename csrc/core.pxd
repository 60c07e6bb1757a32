# The C core as Cython sees it: every name that the module uses, once, by header of csrc/include.
from libc.stddef cimport size_t
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t

cdef extern from "image.h" nogil:
    enum:
        CASCADE_CHANNELS
        CASCADE_PADDING_VALUE
        CASCADE_TRANSFORM_BITS

    ctypedef struct cascade_image:
        const uint8_t *pixels
        size_t width
        size_t height
        size_t top
        size_t rows

    ctypedef struct cascade_axis:
        size_t size
        size_t taps
        size_t max_count
        size_t begin
        size_t end
        int32_t *first
        int32_t *count
        int8_t *weights

    ctypedef struct cascade_resample_job:
        const cascade_kernels *kernels
        const cascade_image *image
        const double *box
        uint8_t *out
        size_t width
        size_t height
        size_t first
        size_t end
        size_t strip_rows

    size_t cascade_axis_taps(double extent, size_t size)
    size_t cascade_axis_bytes(size_t size, size_t taps)
    void cascade_axis_plan(cascade_axis *axis, void *memory, double start, double extent, size_t source, size_t size,
                           size_t taps)
    size_t cascade_resample_workspace(double extent_x, double extent_y, size_t source_width, size_t width, size_t height)
    void cascade_rows_read(double start, double extent, size_t source, size_t height, size_t first, size_t end,
                           size_t *origin, size_t *to)
    void cascade_resample_strip(void *job, size_t strip, void *workspace)
    int cascade_exposure_table(const uint8_t *pixels, size_t width, size_t height, uint8_t (*table)[256])
    void cascade_exposure_apply(const uint8_t *pixels, size_t count, const uint8_t (*table)[256], uint8_t *out)
    int cascade_similarity(const double *points, const double *template, size_t count, double rounding, double *matrix)
    int cascade_can_align(const float *points, size_t count, const double *matrix, double size)
    void cascade_inverse_transform(const double *matrix, double x, double y, double *out)

cdef extern from "kernels.h" nogil:
    enum:
        CASCADE_PACKED
        CASCADE_INT8_GROUP
        CASCADE_INT8_GROUP_SUM

    ctypedef struct cascade_kernels:
        const char *name
        size_t lanes
        int (*usable)() noexcept nogil
        int int8_fast
        int int8_signed

    const cascade_kernels *const *cascade_simd_levels()

cdef extern from "workspace.h" nogil:
    size_t CASCADE_MAX_WORKSPACE

cdef extern from "platform.h" nogil:
    void *cascade_alloc_zeroed(size_t size)

cdef extern from "threadpool.h" nogil:
    ctypedef void (*cascade_loop_body)(void *context, size_t item, void *workspace) noexcept nogil

    # returns -1 with an exception set
    ctypedef int (*cascade_poll)() except -1 nogil

    ctypedef struct cascade_pool:
        pass

    ctypedef struct cascade_worker:
        void *workspace

    int cascade_pool_acquire(cascade_pool *pool)
    void cascade_pool_release(cascade_pool *pool)
    void cascade_parallel_for_begin(cascade_pool *pool, cascade_loop_body body, void *context, size_t count)
    int cascade_parallel_for_end(cascade_pool *pool, void *workspace, cascade_poll poll) except 0
    int cascade_for(cascade_loop_body body, void *context, size_t count, void *workspace, cascade_poll poll) except 0
    void cascade_pool_close(cascade_pool *pool)
    int cascade_pool_closed(cascade_pool *pool)
    int cascade_worker_attach(cascade_worker *worker)
    void cascade_worker_detach(cascade_worker *worker)
    void cascade_worker_run(cascade_pool *pool, cascade_worker *worker, int64_t idle_microseconds)
    int cascade_worker_may_sleep(cascade_pool *pool, cascade_worker *worker)
    int cascade_worker_needs_wake(cascade_worker *worker)

cdef extern from "nn.h" nogil:
    enum:
        CASCADE_CONV
        CASCADE_MAX_POOL
        CASCADE_F32
        CASCADE_INT8

    ctypedef struct cascade_f32_weights:
        const float *weights
        const float *small_batch_weights
        const float *bias
        const float *slope

    ctypedef struct cascade_int8_weights:
        const int8_t *weights
        const int8_t *small_batch_weights
        const int32_t *bias
        const int32_t *signed_bias
        const float *factor
        int dequantize

    ctypedef struct cascade_layer:
        int op
        int dtype
        size_t in_elements
        size_t out_elements
        size_t channels
        size_t kernel
        size_t stride
        cascade_f32_weights f32
        cascade_int8_weights int8

    size_t cascade_layer_output(const cascade_layer *layer, size_t input)
    int cascade_int8_groups_fit(const int8_t *weights, size_t out_channels, size_t in_elements, size_t kernel)
    void cascade_signed_bias(const int8_t *weights, size_t out_channels, size_t count, const int32_t *bias,
                             int32_t *signed_bias)
    void cascade_pack_weights(const void *weights, size_t out_channels, size_t in_elements, size_t kernel, void *packed)
    void cascade_pack_small_batch(const void *weights, size_t out_channels, size_t in_elements, size_t kernel,
                                  size_t lanes, void *packed)
    size_t cascade_batch_workspace(const cascade_layer *layers, size_t layer_count, size_t size, size_t lanes)
    void cascade_batch_forward(const cascade_kernels *kernels, const cascade_layer *layers, size_t layer_count,
                               const uint8_t *crops, size_t count, size_t size, float *out, void *workspace)
    int cascade_small_batch_usable(const cascade_layer *layers, size_t layer_count, size_t lanes)

    ctypedef struct cascade_feature_grid:
        size_t stride
        size_t receptive_field
        size_t padding
        size_t rows
        size_t columns
        size_t outputs

    int cascade_feature_grid_plan(cascade_feature_grid *grid, const cascade_layer *layers, size_t layer_count,
                                  size_t padding, size_t width, size_t height)

    enum:
        CASCADE_NODE_CONV
        CASCADE_NODE_DEPTHWISE
        CASCADE_NODE_PYRAMID_POOL
        CASCADE_NODE_SPATIAL_GATE
        CASCADE_NODE_GATE
        CASCADE_NODE_UPSAMPLE
        CASCADE_MAX_BINS
    size_t CASCADE_NO_MAP

    ctypedef struct cascade_node:
        int kind
        int sigmoid
        int rest
        size_t input
        size_t add
        size_t channel_gate
        size_t spatial_gate
        size_t kernel
        size_t stride
        size_t padding
        size_t channels
        size_t bin_count
        size_t *bins
        const float *weights
        const float *bias
        const float *slope

    ctypedef struct cascade_feature_map:
        size_t side
        size_t channels

    ctypedef struct cascade_graph:
        size_t size
        size_t node_count
        const cascade_node *nodes
        size_t output_count
        const size_t *outputs
        cascade_feature_map *maps
        size_t workspace

    ctypedef struct cascade_graph_job:
        const cascade_kernels *kernels
        const cascade_graph *graph
        const uint8_t *crops
        float **out

    size_t cascade_graph_pitch(size_t channels)
    int cascade_graph_plan(cascade_graph *graph)
    void cascade_graph_forward(void *job, size_t crop, void *workspace)

cdef extern from "detect.h" nogil:
    enum:
        CASCADE_NMS_UNION
        CASCADE_NMS_MIN

    ctypedef struct cascade_window_layout:
        double stride
        double margin
        double window

    void cascade_window_boxes(const float *found, size_t n, size_t pitch, const cascade_window_layout *layout,
                              const double *scale, float *boxes)

    ctypedef struct cascade_framing:
        float gap
        float close_up_side
        float at_border
        float close_up

    void cascade_framing_logits(const float *windows, size_t n, float width, float height,
                                const cascade_framing *framing, float *logits)
    void cascade_square(float *boxes, size_t n)
    void cascade_expand(const float *boxes, size_t n, double context, double *expanded)
    void cascade_clip(float *boxes, size_t n, float width, float height)
    size_t cascade_candidates(const float *windows, const float *deltas, const float *logits, size_t n, float threshold,
                              float *boxes, int64_t *kept)
    void cascade_fuse_logits(const float *outputs, size_t pitch, size_t n, float share, float *logits)
    void cascade_window_points(const float *window, const float *fractions, size_t count, float *points)
    int cascade_argsort(const float *scores, size_t n, int64_t *order, int64_t *scratch, cascade_poll poll) except 0
    size_t cascade_nms_workspace(size_t n)
    size_t cascade_nms(const cascade_kernels *kernels, const float *boxes, const int64_t *order, size_t n,
                       float threshold, int mode, int64_t *keep, void *workspace, cascade_poll poll) except? -1

    int cascade_vote(const float *boxes, const float *logits, size_t n, const float *kept, size_t count, float least,
                     float *most, float *voted, float *votes, cascade_poll poll) except 0

    ctypedef struct cascade_crop_set:
        const cascade_image *levels
        const int64_t *level_of
        const double *boxes
        const int64_t *transforms
        size_t size
        size_t workspace
        uint8_t padding_value

    ctypedef struct cascade_classification:
        const cascade_kernels *kernels
        const cascade_layer *layers
        size_t layer_count
        size_t outputs
        const cascade_crop_set *set
        size_t first
        size_t count
        size_t chunks
        size_t chunk
        size_t last_chunk
        float *out

    void cascade_cut_crop(const cascade_kernels *kernels, const cascade_crop_set *set, size_t i, uint8_t *out,
                          void *workspace)
    size_t cascade_classification_workspace(const cascade_classification *job)
    size_t cascade_classification_items(const cascade_classification *job)
    void cascade_classify_chunk(void *job, size_t item, void *workspace)

    ctypedef struct cascade_scan_level:
        cascade_image image
        uint8_t *target
        cascade_feature_grid grid
        size_t first
        size_t end
        size_t tile_rows
        size_t tile_columns
        float threshold

    ctypedef struct cascade_scan_tile:
        size_t level
        size_t count

    ctypedef struct cascade_dense_scan:
        const cascade_kernels *kernels
        const cascade_layer *layers
        size_t layer_count
        const cascade_image *source
        const cascade_scan_level *levels
        size_t level_count
        size_t ready
        size_t split_levels
        size_t strips
        cascade_scan_tile *tiles
        size_t tile_count
        float *found
        size_t capacity
        size_t levels_done
        size_t strips_done
        size_t found_count

    size_t cascade_dense_scan_tiles(const cascade_dense_scan *scan, size_t k, cascade_scan_tile *tiles)
    size_t cascade_dense_scan_workspace(const cascade_dense_scan *scan, size_t k)
    size_t cascade_dense_scan_items(const cascade_dense_scan *scan)
    void cascade_dense_scan_item(void *scan, size_t item, void *workspace)
    size_t cascade_dense_scan_gather(const cascade_dense_scan *scan, cascade_scan_tile *tiles, size_t count, float *out)
