# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, freethreading_compatible=True
"""The thin module over the C core: checks every shape and size, then calls C without the GIL.

Conventions are those of ``csrc/cascade.h``; shapes and dtypes are in ``_native.pyi``.
"""
from libc.math cimport floor
from libc.stdint cimport int64_t, uint8_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc

import os

import numpy as np

cdef extern from "cascade.h" nogil:
    ctypedef struct cascade_kernels:
        const char *name
        size_t lanes

    ctypedef struct cascade_layer:
        int kind
        size_t in_channels
        size_t out_channels
        size_t kernel
        size_t stride
        const float *weights
        const float *bias
        const float *slope

    ctypedef struct cascade_grid:
        size_t stride
        size_t field
        size_t padding
        size_t rows
        size_t columns
        size_t outputs

    const cascade_kernels *const *cascade_levels()
    int cascade_level_usable(const cascade_kernels *level)
    size_t cascade_resample_workspace(double extent_x, double extent_y, size_t source_width, size_t width,
                                      size_t height)
    void cascade_resample(const cascade_kernels *kernels, const uint8_t *image, size_t image_width,
                          size_t image_height, const double *box, uint8_t *out, size_t width, size_t height,
                          void *workspace)
    void cascade_pack_weights(const float *weights, size_t out_channels, size_t in_channels, size_t kernel,
                              float *packed)
    size_t cascade_layer_output(const cascade_layer *layer, size_t input)
    size_t cascade_crops_workspace(const cascade_layer *layers, size_t layer_count, size_t size, size_t lanes)
    void cascade_crops_run(const cascade_kernels *kernels, const cascade_layer *layers, size_t layer_count,
                           const uint8_t *crops, size_t count, size_t size, float *out, float *workspace)
    int cascade_grid_plan(cascade_grid *grid, const cascade_layer *layers, size_t layer_count, size_t padding,
                          size_t width, size_t height)
    size_t cascade_image_workspace(const cascade_grid *grid, const cascade_layer *layers, size_t layer_count,
                                   size_t rows, size_t lanes)
    const float *cascade_image_run(const cascade_kernels *kernels, const cascade_grid *grid,
                                   const cascade_layer *layers, size_t layer_count, const uint8_t *image,
                                   size_t width, size_t height, size_t first, size_t rows, float *workspace,
                                   size_t *pitch)
    void cascade_calibrate(float *boxes, const float *offsets, size_t n, int square)
    void cascade_clip(float *boxes, size_t n, float width, float height)
    size_t cascade_nms(const float *boxes, const int64_t *order, size_t n, float threshold, int mode,
                       int64_t *keep, uint8_t *suppressed)
    size_t cascade_soft_nms(const float *boxes, float *scores, size_t n, float threshold, float sigma,
                            float floor, int64_t *keep, uint8_t *done)
    enum:
        CASCADE_CONV
        CASCADE_POOL

cdef enum:
    MAX_LAYERS = 60
    MAX_SIDE = 1 << 20
    MAX_CHANNELS = 1 << 14
    # crop boxes snap to 1/16 pixel, so that engines whose boxes differ in the last bits cut the same crops
    CROP_GRID = 16


def levels():
    """Names of the instruction levels that this machine can run, best first."""
    cdef const cascade_kernels *const *level = cascade_levels()
    names = []
    while level[0] != NULL:
        if cascade_level_usable(level[0]):
            names.append(level[0].name.decode())
        level += 1
    return names


cdef const cascade_kernels *kernels_of(str name) except NULL:
    cdef const cascade_kernels *const *level = cascade_levels()
    while level[0] != NULL:
        if level[0].name.decode() == name and cascade_level_usable(level[0]):
            return level[0]
        level += 1
    raise ValueError(f"level: expected one of {', '.join(levels())} on this machine, got {name!r}")


def default_level():
    """The level in use: the environment variable CASCADE_SIMD, or the best this machine can run."""
    wanted = os.environ.get("CASCADE_SIMD")
    if not wanted:
        return levels()[0]
    if wanted not in levels():
        raise ValueError(f"CASCADE_SIMD: expected one of {', '.join(levels())} on this machine, got {wanted!r}")
    return wanted


cdef class Workspace:
    """Memory that one call at a time uses; it grows to the largest call and is then reused."""
    cdef void *memory
    cdef size_t size

    def __dealloc__(self):
        free(self.memory)

    @property
    def nbytes(self):
        return self.size

    cdef void *at_least(self, size_t size) except NULL:
        """64-byte aligned, zeroed when it is new."""
        if self.size < size:
            free(self.memory)
            self.size = 0
            self.memory = NULL
            if size > (<size_t>1 << 40):
                raise MemoryError(f"a workspace of {size} bytes is beyond every sane image")
            self.memory = calloc(size + 64, 1)
            if self.memory == NULL:
                raise MemoryError(f"no memory for a workspace of {size} bytes")
            self.size = size
        return <void *>((<uintptr_t>self.memory + 63) & ~<uintptr_t>63)


cdef check_image(image):
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image: expected a uint8 array (height, width, 3), got {describe(image)}")
    if image.shape[0] == 0 or image.shape[1] == 0 or max(image.shape) > MAX_SIDE:
        raise ValueError(f"image: expected sides of 1 to {MAX_SIDE} pixels, got {describe(image)}")
    return np.ascontiguousarray(image)


cdef describe(value):
    if isinstance(value, np.ndarray):
        return f"{value.dtype} array of shape {value.shape}"
    return type(value).__name__


cdef check_boxes(boxes, name, dtype):
    array = np.ascontiguousarray(boxes, dtype=dtype)
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"{name}: expected an array (n, 4), got shape {array.shape}")
    return array


def resample(image, box, size_t width, size_t height, Workspace workspace=None, level=None):
    """Resamples the rectangle ``box`` of ``image`` to ``width`` by ``height`` pixels."""
    image = check_image(image)
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise ValueError(f"width, height: expected 1 to {MAX_SIDE} pixels, got {width}, {height}")
    cdef double edges[4]
    cdef int k
    for k in range(4):
        edges[k] = box[k]
    if not (edges[2] > edges[0] and edges[3] > edges[1] and max(map(abs, box)) < MAX_SIDE):
        raise ValueError(f"box: expected finite x1 < x2 and y1 < y2, got {tuple(box)}")
    workspace = workspace or Workspace()
    cdef const cascade_kernels *kernels = kernels_of(level or default_level())
    out = np.empty((height, width, 3), np.uint8)
    cdef const uint8_t[:, :, ::1] source = image
    cdef uint8_t[:, :, ::1] target = out
    cdef void *memory = workspace.at_least(cascade_resample_workspace(
        edges[2] - edges[0], edges[3] - edges[1], source.shape[1], width, height))
    with nogil:
        cascade_resample(kernels, &source[0, 0, 0], source.shape[1], source.shape[0], edges, &target[0, 0, 0],
                         width, height, memory)
    return out


def snap(boxes):
    """Crop boxes on the grid of 1/16 pixel that ``cut`` uses."""
    return np.floor(np.asarray(boxes, np.float64) * CROP_GRID + 0.5) / CROP_GRID


def choose_levels(scales, boxes, size_t size):
    """For each box the smallest level in which its shorter side still has ``size`` pixels; 0 if none has."""
    scales = np.asarray(scales, np.float64).reshape(-1, 2)
    boxes = snap(check_boxes(boxes, "boxes", np.float64))
    sides = (boxes[:, 2:] - boxes[:, :2])[:, None, :] * scales[None]
    fits = sides.min(axis=2) >= size
    fits[:, 0] = True
    return fits.shape[1] - 1 - np.argmax(fits[:, ::-1], axis=1)


def cut(images, scales, boxes, size_t size, Workspace workspace=None, level=None):
    """Crops of ``size`` by ``size`` pixels, each from the smallest level that is large enough."""
    images = [check_image(image) for image in images]
    if not 0 < size <= 4096:
        raise ValueError(f"size: expected 1 to 4096 pixels, got {size}")
    scales = np.ascontiguousarray(scales, np.float64)
    if scales.shape != (len(images), 2) or not images:
        raise ValueError(f"scales: expected shape ({len(images)}, 2), got {scales.shape}")
    chosen = choose_levels(scales, boxes, size)
    placed = snap(check_boxes(boxes, "boxes", np.float64))
    if len(placed) and not (np.isfinite(placed).all() and np.abs(placed).max() < MAX_SIDE
                            and (placed[:, 2:] > placed[:, :2]).all()):
        raise ValueError("boxes: expected finite x1 < x2 and y1 < y2")
    placed = np.ascontiguousarray(placed * np.tile(scales, 2)[chosen])
    workspace = workspace or Workspace()
    cdef const cascade_kernels *kernels = kernels_of(level or default_level())
    out = np.empty((len(placed), size, size, 3), np.uint8)
    if len(placed) == 0:
        return out
    cdef double widest = (placed[:, 2] - placed[:, 0]).max(), tallest = (placed[:, 3] - placed[:, 1]).max()
    cdef void *memory = workspace.at_least(cascade_resample_workspace(
        widest, tallest, max(image.shape[1] for image in images), size, size))
    cdef const double[:, ::1] edges = placed
    cdef const int64_t[::1] order = np.ascontiguousarray(chosen, np.int64)
    cdef uint8_t[:, :, :, ::1] target = out
    cdef size_t[::1] widths = np.array([image.shape[1] for image in images], np.uintp)
    cdef size_t[::1] heights = np.array([image.shape[0] for image in images], np.uintp)
    cdef uintptr_t[::1] pixels = np.array([image.ctypes.data for image in images], np.uintp)
    cdef Py_ssize_t i, k
    with nogil:
        for i in range(edges.shape[0]):
            k = order[i]
            cascade_resample(kernels, <const uint8_t *>pixels[k], widths[k], heights[k], &edges[i, 0],
                             &target[i, 0, 0, 0], size, size, memory)
    return out


cdef class Network:
    """A network ready to run: its layers, and its weights packed for one instruction level."""
    cdef cascade_layer layers[MAX_LAYERS]
    cdef size_t layer_count
    cdef const cascade_kernels *kernels
    cdef list buffers
    cdef readonly size_t input_size
    cdef readonly size_t outputs

    def __init__(self, layers, size_t input_size, level=None):
        if not 0 < len(layers) <= MAX_LAYERS or not 0 < input_size <= 1024:
            raise ValueError(f"layers, input_size: expected 1 to {MAX_LAYERS} layers and 1 to 1024 pixels, "
                             f"got {len(layers)} and {input_size}")
        self.kernels = kernels_of(level or default_level())
        self.buffers = []
        self.layer_count = 0
        self.input_size = input_size
        self.outputs = 3
        cdef size_t side = input_size
        for index, layer in enumerate(layers):
            if layer["kind"] == "pool":
                self.add_pool(layer["kernel"], layer["stride"])
            else:
                self.add_convolution(index, layer["weight"], layer["bias"], layer["slope"], layer["stride"])
            side = cascade_layer_output(&self.layers[self.layer_count - 1], side)
            if side == 0:
                raise ValueError(f"layers: layer {index} does not fit its input")
        if side != 1:
            raise ValueError(f"layers: a crop of {input_size} pixels ends on {side} * {side} positions, expected 1")

    @property
    def level(self):
        return self.kernels.name.decode()

    cdef add_pool(self, size_t kernel, size_t stride):
        if not (0 < kernel <= 16 and 0 < stride <= 16):
            raise ValueError(f"layers: expected kernel and stride of 1 to 16, got {kernel} and {stride}")
        cdef cascade_layer *layer = &self.layers[self.layer_count]
        layer.kind = CASCADE_POOL
        layer.in_channels = layer.out_channels = self.outputs
        layer.kernel = kernel
        layer.stride = stride
        layer.weights = layer.bias = layer.slope = NULL
        self.layer_count += 1

    cdef add_convolution(self, index, weight, bias, slope, size_t stride):
        weight = np.ascontiguousarray(weight, np.float32)
        if (weight.ndim != 4 or weight.shape[1] != self.outputs or weight.shape[2] != weight.shape[3]
                or not 0 < weight.shape[0] <= MAX_CHANNELS or not 0 < weight.shape[2] <= 16 or not 0 < stride <= 16):
            raise ValueError(f"layers: layer {index} has a weight of shape {weight.shape} and stride {stride}, "
                             f"expected (out, {self.outputs}, k, k)")
        channels = weight.shape[0]
        bias = np.ascontiguousarray(bias, np.float32)
        slope = np.ascontiguousarray(slope, np.float32)
        if bias.shape != (channels,) or slope.shape != (channels,):
            raise ValueError(f"layers: layer {index} has bias {bias.shape} and slope {slope.shape}, "
                             f"expected ({channels},)")
        packed = np.empty(weight.size, np.float32)
        cdef const float[:, :, :, ::1] weight_view = weight
        cdef float[::1] packed_view = packed
        cdef const float[::1] bias_view = bias, slope_view = slope
        cascade_pack_weights(&weight_view[0, 0, 0, 0], weight_view.shape[0], weight_view.shape[1],
                             weight_view.shape[2], &packed_view[0])
        cdef cascade_layer *layer = &self.layers[self.layer_count]
        layer.kind = CASCADE_CONV
        layer.in_channels = self.outputs
        layer.out_channels = channels
        layer.kernel = weight.shape[2]
        layer.stride = stride
        layer.weights = &packed_view[0]
        layer.bias = &bias_view[0]
        layer.slope = &slope_view[0]
        self.buffers += [packed, bias, slope]
        self.outputs = channels
        self.layer_count += 1

    def forward(self, crops, Workspace workspace=None):
        """Outputs (n, outputs) of crops (n, input_size, input_size, 3) uint8."""
        side = self.input_size
        if (not isinstance(crops, np.ndarray) or crops.dtype != np.uint8 or crops.ndim != 4
                or crops.shape[1:] != (side, side, 3)):
            raise ValueError(f"crops: expected uint8 (n, {side}, {side}, 3), got {describe(crops)}")
        out = np.empty((len(crops), self.outputs), np.float32)
        if len(crops) == 0:
            return out
        workspace = workspace or Workspace()
        cdef size_t floats = cascade_crops_workspace(self.layers, self.layer_count, self.input_size,
                                                     self.kernels.lanes)
        if floats == 0:
            raise ValueError("layers: sizes overflow")
        cdef float *memory = <float *>workspace.at_least(floats * sizeof(float))
        cdef const uint8_t[:, :, :, ::1] pixels = np.ascontiguousarray(crops)
        cdef float[:, ::1] target = out
        with nogil:
            cascade_crops_run(self.kernels, self.layers, self.layer_count, &pixels[0, 0, 0, 0], pixels.shape[0],
                              self.input_size, &target[0, 0], memory)
        return out

    def grid(self, size_t width, size_t height, size_t padding):
        """(rows, columns, stride, field) of the windows over an image with ``padding`` grey pixels around it."""
        cdef cascade_grid grid
        self.plan(&grid, width, height, padding)
        return grid.rows, grid.columns, grid.stride, grid.field

    cdef int plan(self, cascade_grid *grid, size_t width, size_t height, size_t padding) except -1:
        if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE and padding <= 1024):
            raise ValueError(f"image: expected sides of 1 to {MAX_SIDE} pixels, got {width} by {height}")
        if not cascade_grid_plan(grid, self.layers, self.layer_count, padding, width, height):
            raise ValueError("layers: this network cannot be slid over an image")
        if grid.field != self.input_size:
            raise ValueError(f"layers: the receptive field is {grid.field} pixels, expected {self.input_size}")
        return 0

    def slide(self, image, size_t padding, float threshold, Workspace workspace=None, first=0, rows=None):
        """Windows of an image whose face logit minus background logit is at least ``threshold``.

        Returns float32 (n, 1 + outputs - 2 + 2): column, row, logit difference, then the outputs after the first two.
        ``first`` and ``rows`` limit it to some rows of the grid.
        """
        image = check_image(image)
        cdef const uint8_t[:, :, ::1] pixels = image
        cdef cascade_grid grid
        self.plan(&grid, pixels.shape[1], pixels.shape[0], padding)
        if self.outputs < 2:
            raise ValueError(f"layers: expected at least 2 outputs to tell faces by, got {self.outputs}")
        cdef size_t row = first, end = grid.rows if rows is None else min(grid.rows, <size_t>(first + rows))
        found = []
        if grid.columns == 0:
            end = 0
        workspace = workspace or Workspace()
        while row < end:
            count = min(end - row, strip_rows(&grid))
            found.append(self.slide_strip(&grid, pixels, row, count, threshold, workspace))
            row += count
        if not found:
            return np.empty((0, self.outputs + 1), np.float32)
        return found[0] if len(found) == 1 else np.concatenate(found)

    cdef slide_strip(self, cascade_grid *grid, const uint8_t[:, :, ::1] pixels, size_t first, size_t rows,
                     float threshold, Workspace workspace):
        cdef size_t floats = cascade_image_workspace(grid, self.layers, self.layer_count, rows, self.kernels.lanes)
        if floats == 0:
            raise ValueError("image: sizes overflow")
        cdef float *memory = <float *>workspace.at_least(floats * sizeof(float))
        cdef const float *out
        cdef const float *line
        cdef size_t pitch = 0, x, y, k, n = 0, outputs = self.outputs
        with nogil:
            out = cascade_image_run(self.kernels, grid, self.layers, self.layer_count, &pixels[0, 0, 0],
                                    pixels.shape[1], pixels.shape[0], first, rows, memory, &pitch)
            for y in range(rows):
                line = out + y * outputs * pitch
                for x in range(grid.columns):
                    n += line[pitch + x] - line[x] >= threshold
        result = np.empty((n, outputs + 1), np.float32)
        if n == 0:
            return result
        cdef float[:, ::1] target = result
        n = 0
        with nogil:
            for y in range(rows):
                line = out + y * outputs * pitch
                for x in range(grid.columns):
                    if line[pitch + x] - line[x] >= threshold:
                        target[n, 0] = x
                        target[n, 1] = first + y
                        target[n, 2] = line[pitch + x] - line[x]
                        for k in range(2, outputs):
                            target[n, k + 1] = line[k * pitch + x]
                        n += 1
        return result


cdef size_t strip_rows(const cascade_grid *grid) noexcept:
    """Rows of the grid that keep a strip's maps near the core's own cache, but not so few that overlap dominates."""
    cdef size_t rows = 4096 // (grid.columns + 1)
    cdef size_t least = 4 * (grid.field // grid.stride + 1)
    return rows if rows > least else least


def calibrate(boxes, offsets, square=False):
    """Boxes moved by offsets (fractions of their width and height, edge by edge), then squared if asked."""
    out = np.array(check_boxes(boxes, "boxes", np.float32))
    offsets = check_boxes(offsets, "offsets", np.float32)
    if len(offsets) != len(out):
        raise ValueError(f"offsets: expected shape {out.shape}, got {offsets.shape}")
    cdef float[:, ::1] target = out
    cdef const float[:, ::1] moves = offsets
    if len(out):
        cascade_calibrate(&target[0, 0], &moves[0, 0], target.shape[0], bool(square))
    return out


def clip(boxes, float width, float height):
    """Boxes clipped to an image of ``width`` by ``height`` pixels."""
    out = np.array(check_boxes(boxes, "boxes", np.float32))
    cdef float[:, ::1] target = out
    if len(out):
        cascade_clip(&target[0, 0], target.shape[0], width, height)
    return out


cdef check_scores(scores, n):
    scores = np.array(scores, dtype=np.float32)
    if scores.shape != (n,):
        raise ValueError(f"scores: expected shape ({n},), got {scores.shape}")
    return scores


def nms(boxes, scores, float threshold, mode="union"):
    """Indices of the boxes kept by greedy non-maximum suppression, best first; ties keep the earlier box."""
    boxes = check_boxes(boxes, "boxes", np.float32)
    scores = check_scores(scores, len(boxes))
    if mode not in ("union", "min"):
        raise ValueError(f"mode: expected 'union' or 'min', got {mode!r}")
    if np.isnan(boxes).any() or np.isnan(scores).any():
        raise ValueError("boxes, scores: expected numbers, got NaN")
    order = np.argsort(-scores, kind="stable").astype(np.int64)
    keep = np.empty(len(boxes), np.int64)
    suppressed = np.empty(len(boxes), np.uint8)
    cdef const float[:, ::1] box_view = boxes
    cdef const int64_t[::1] order_view = order
    cdef int64_t[::1] keep_view = keep
    cdef uint8_t[::1] flags = suppressed
    cdef int minimum = mode == "min"
    cdef size_t kept = 0
    if len(boxes):
        with nogil:
            kept = cascade_nms(&box_view[0, 0], &order_view[0], box_view.shape[0], threshold, minimum,
                               &keep_view[0], &flags[0])
    return keep[:kept]


def soft_nms(boxes, scores, float threshold=0.3, float sigma=0.0, float floor=0.001):
    """Soft-NMS (Bodla et al. 2017): indices kept in order of their decayed scores, and those scores."""
    boxes = check_boxes(boxes, "boxes", np.float32)
    scores = check_scores(scores, len(boxes))
    if np.isnan(boxes).any() or np.isnan(scores).any():
        raise ValueError("boxes, scores: expected numbers, got NaN")
    keep = np.empty(len(boxes), np.int64)
    done = np.empty(len(boxes), np.uint8)
    cdef const float[:, ::1] box_view = boxes
    cdef float[::1] score_view = scores
    cdef int64_t[::1] keep_view = keep
    cdef uint8_t[::1] flags = done
    cdef size_t kept = 0
    if len(boxes):
        with nogil:
            kept = cascade_soft_nms(&box_view[0, 0], &score_view[0], box_view.shape[0], threshold, sigma, floor,
                                    &keep_view[0], &flags[0])
    return keep[:kept], scores[keep[:kept]]
