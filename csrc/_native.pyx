# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, freethreading_compatible=True
"""The thin module over the C core: checks every shape and size, then calls C, without the GIL where that takes long.

Conventions are those of ``csrc/cascade.h``; shapes and dtypes are in ``_native.pyi``.
"""
from libc.math cimport INFINITY, fabs, floor, ldexp, rint, sqrt
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc

import operator
import os

import numpy as np

cdef extern from "cascade.h" nogil:
    ctypedef struct cascade_kernels:
        const char *name
        size_t lanes

    ctypedef struct cascade_image:
        const uint8_t *pixels
        size_t width
        size_t height
        size_t top
        size_t rows

    ctypedef struct cascade_layer:
        int kind
        size_t in_channels
        size_t out_channels
        size_t kernel
        size_t stride
        const float *weights
        const float *few_weights
        const float *bias
        const float *slope
        size_t filters
        int last
        const int32_t *byte_bias
        const float *factor

    ctypedef struct cascade_grid:
        size_t stride
        size_t field
        size_t padding
        size_t rows
        size_t columns
        size_t outputs

    void *cascade_memory(size_t size)
    const cascade_kernels *const *cascade_levels()
    int cascade_level_usable(const cascade_kernels *level)
    size_t cascade_resample_workspace(double extent_x, double extent_y, size_t source_width, size_t width,
                                      size_t height)
    void cascade_rows_read(double start, double extent, size_t source, size_t height, size_t first, size_t end,
                           size_t *origin, size_t *to)
    ctypedef struct cascade_axis:
        size_t size
        size_t taps
        size_t most
        int32_t *first
        int32_t *count
        int16_t *weights

    size_t cascade_axis_taps(double extent, size_t size)
    size_t cascade_axis_bytes(size_t size, size_t taps)
    void cascade_axis_plan(cascade_axis *axis, void *memory, double start, double extent, size_t source, size_t size,
                           size_t taps)
    ctypedef struct cascade_resampling:
        const cascade_kernels *kernels
        const cascade_image *image
        const double *box
        uint8_t *out
        size_t width
        size_t height
        size_t first
        size_t end
        size_t rows

    void cascade_resampling_work(void *resampling, size_t item, void *workspace)
    void cascade_pack_weights(const void *weights, size_t out_channels, size_t in_channels, size_t kernel,
                              void *packed)
    void cascade_pack_few(const void *weights, size_t out_channels, size_t in_channels, size_t kernel, size_t lanes,
                          void *packed)
    int cascade_few_usable(const cascade_layer *layers, size_t layer_count, size_t lanes)
    size_t cascade_layer_output(const cascade_layer *layer, size_t input)
    size_t cascade_crops_workspace(const cascade_layer *layers, size_t layer_count, size_t size, size_t lanes)
    void cascade_crops_run(const cascade_kernels *kernels, const cascade_layer *layers, size_t layer_count,
                           const uint8_t *crops, size_t count, size_t size, float *out, float *workspace)
    int cascade_grid_plan(cascade_grid *grid, const cascade_layer *layers, size_t layer_count, size_t padding,
                          size_t width, size_t height)
    ctypedef struct cascade_lattice:
        double stride
        double margin
        double window

    void cascade_windows(const float *found, size_t n, size_t pitch, const cascade_lattice *lattice,
                         const double *scale, float *boxes)
    void cascade_calibrate(float *boxes, const float *offsets, size_t n)
    void cascade_square(float *boxes, size_t n)
    void cascade_widen(const float *boxes, size_t n, double context, double *wide)
    void cascade_clip(float *boxes, size_t n, float width, float height)
    size_t cascade_candidates(const float *windows, const float *offsets, const float *logits, size_t n,
                              float threshold, float *boxes, int64_t *kept)
    void cascade_log_odds(const float *outputs, size_t pitch, size_t n, float share, float *logits)
    void cascade_points(const float *window, const float *shares, size_t count, float *points)
    int cascade_similarity(const double *points, const double *template, size_t count, double rounding, double *matrix)
    int cascade_turnable(const float *points, size_t count, const double *matrix, double size)
    void cascade_turn_back(const double *matrix, double x, double y, double *back)
    void cascade_order(const float *scores, size_t n, int64_t *order, int64_t *spare)
    size_t cascade_nms(const cascade_kernels *kernels, const float *boxes, const int64_t *order, size_t n,
                       float threshold, int mode, int64_t *keep, float *workspace)
    size_t cascade_soft_nms(const float *boxes, float *scores, size_t n, float threshold, float sigma,
                            float floor, int64_t *keep, uint8_t *done)
    enum:
        CASCADE_NMS_UNION
        CASCADE_NMS_MIN
        CASCADE_MAP_BITS
        CASCADE_OUTSIDE
        CASCADE_CONV
        CASCADE_POOL
        CASCADE_BYTES
        CASCADE_WORD

cdef enum:
    MAX_LAYERS = 60
    MAX_SIDE = 1 << 20
    MAX_CHANNELS = 1 << 14
    # crop boxes snap to 1/16 pixel, so that engines whose boxes differ in the last bits cut the same crops
    CROP_GRID = 16
    # windows side by side that a network is slid over at once: their maps stay in the core's own cache
    TILE_COLUMNS = 512
    # pixels of a band of an image that is made by several threads
    SMALLEST_BAND = 1 << 14
    # crops that a thread takes at a time
    PIECE_CROPS = 16


cdef usable_levels():
    """Names of the levels that this machine can run, best first, each with its place among those compiled in."""
    cdef const cascade_kernels *const *level = cascade_levels()
    found = {}
    place = 0
    while level[place] != NULL:
        if cascade_level_usable(level[place]):
            found[level[place].name.decode()] = place
        place += 1
    return found


# asked once: a virtual machine takes tens of microseconds to say what its processor can do
cdef dict USABLE = usable_levels()


def simd_levels():
    """Names of the instruction levels that this machine can run, best first."""
    return list(USABLE)


cdef const cascade_kernels *kernels_of(name) except NULL:
    place = USABLE.get(name) if isinstance(name, str) else None
    if place is None:
        raise ValueError(f"level: expected one of {', '.join(USABLE)} on this machine, got {name!r}")
    return cascade_levels()[<size_t>place]


def default_simd_level():
    """The level in use: the environment variable CASCADE_SIMD, or the best this machine can run."""
    wanted = os.environ.get("CASCADE_SIMD")
    if not wanted:
        return next(iter(USABLE))
    if wanted not in USABLE:
        raise ValueError(f"CASCADE_SIMD: expected one of {', '.join(USABLE)} on this machine, got {wanted!r}")
    return wanted


cdef check_image(image, name="image"):
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"{name}: expected a uint8 array (height, width, 3), got {describe(image)}")
    if image.shape[0] == 0 or image.shape[1] == 0 or max(image.shape) > MAX_SIDE:
        raise ValueError(f"{name}: expected sides of 1 to {MAX_SIDE} pixels, got {describe(image)}")
    return np.ascontiguousarray(image)


cdef cascade_image band_of(image, top, height) except *:
    """An array that is checked already, as rows from ``top`` on of an image of ``height`` rows (None: there are no
    others)."""
    cdef const uint8_t[:, :, ::1] pixels = image
    cdef cascade_image band
    band.pixels = &pixels[0, 0, 0]
    band.rows, band.width = pixels.shape[0], pixels.shape[1]
    band.top = whole("top", top, 0, MAX_SIDE)
    band.height = band.top + band.rows if height is None else whole("height", height, 1, MAX_SIDE)
    if band.top + band.rows > band.height:
        raise ValueError(f"image: expected at most {band.height} rows with those above, got {band.top} + {band.rows}")
    return band


cdef int check_rows(const cascade_image *image, size_t first, size_t end) except -1:
    """Refuses an image that lacks some of the rows [first, end)."""
    if first < end and (first < image.top or end > image.top + image.rows):
        raise ValueError(f"image: expected rows {first} to {end}, got {image.top} to {image.top + image.rows}")
    return 0


cdef describe(value):
    if isinstance(value, np.ndarray):
        return f"{value.dtype} array of shape {value.shape}"
    return type(value).__name__


cdef numbers(values, name, dtype):
    try:
        return np.asarray(values, dtype=dtype, order="C")
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name}: expected numbers, got {describe(values)}") from None


cdef whole_numbers(values, name):
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name}: expected whole numbers, got {describe(values)}") from None
    if array.size and array.dtype.kind not in "iu":
        raise ValueError(f"{name}: expected whole numbers, got {describe(array)}")
    return array.astype(np.int64, order="C")


cdef check_boxes(boxes, name, dtype):
    array = numbers(boxes, name, dtype)
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"{name}: expected an array (n, 4), got shape {array.shape}")
    return array


cdef whole(name, value, low, high):
    """``value`` as an int of ``low`` to ``high``."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected a whole number, got {describe(value)}") from None
    if not low <= number <= high:
        raise ValueError(f"{name}: expected {low} to {high}, got {number}")
    return number


cdef real(name, value, low=float("-inf")):
    """``value`` as a float of at least ``low``."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"{name}: expected a number, got {describe(value)}") from None
    if not number >= low:
        raise ValueError(f"{name}: expected a number of at least {low:g}, got {number}")
    return number


cdef bint box_placeable(const double *edges) noexcept:
    """Whether a box has an inside and lies where the core's arithmetic is safe."""
    cdef double x1 = edges[0], y1 = edges[1], x2 = edges[2], y2 = edges[3], most = MAX_SIDE
    return -most < x1 < x2 < most and -most < y1 < y2 < most


def resample(image, box, width, height, ThreadPool pool=None, level=None, out=None, first=0, top=0, image_height=None):
    """Resamples the rectangle ``box`` of ``image`` to ``width`` by ``height`` pixels, or some rows of it into ``out``."""
    image = check_image(image)
    cdef size_t columns = whole("width", width, 1, MAX_SIDE), lines = whole("height", height, 1, MAX_SIDE)
    corners = numbers(box, "box", np.float64)
    cdef const double[::1] edges = corners.reshape(-1)
    if corners.shape != (4,) or not box_placeable(&edges[0]):
        raise ValueError(f"box: expected finite x1 < x2 and y1 < y2 within {MAX_SIDE} pixels, got {box!r}")
    pool = pool or ThreadPool()
    cdef size_t begin = whole("first", first, 0, lines)
    if out is None:
        out = np.empty((lines - begin, columns, 3), np.uint8)
    elif check_image(out) is not out or out.shape[1] != columns or not out.flags.writeable:
        raise ValueError(f"out: expected a uint8 array (rows, {columns}, 3) to write to, got {describe(out)}")
    cdef size_t end = begin + <size_t>len(out)
    if end > lines:
        raise ValueError(f"out: expected at most {lines - begin} rows, got {len(out)}")
    cdef cascade_image source = band_of(image, top, image_height)
    cdef size_t origin, to
    cascade_rows_read(edges[1], edges[3] - edges[1], source.height, lines, begin, end, &origin, &to)
    check_rows(&source, origin, to)
    cdef uint8_t[:, :, ::1] target = out
    cdef cascade_resampling work
    work.kernels = kernels_of(level or default_simd_level())
    work.image, work.box, work.out, work.width, work.height = &source, &edges[0], &target[0, 0, 0], columns, lines
    # a band too small is not worth a thread's while: each plans its axes anew
    cdef size_t bands = min(pool.threads, 1 + columns * (end - begin) // SMALLEST_BAND)
    work.first, work.end, work.rows = begin, end, max(<size_t>1, (end - begin + bands - 1) // bands)
    pool.do(cascade_resampling_work, &work, (end - begin + work.rows - 1) // work.rows, cascade_resample_workspace(
        edges[2] - edges[0], edges[3] - edges[1], source.width, columns, lines))
    return out


def rows_read(source, height, first, end):
    """Rows [from, to) of an image of ``source`` rows that `resample` wants for rows [first, end) of ``height``."""
    cdef size_t most = whole("height", height, 1, MAX_SIDE), last = whole("end", end, 1, most)
    cdef size_t begin = whole("first", first, 0, last - 1), rows = whole("source", source, 1, MAX_SIDE), origin, to
    cascade_rows_read(0.0, <double>rows, rows, most, begin, last, &origin, &to)
    return origin, to


cdef check_axes(start, extent, source):
    """The axes of `triangle_taps` as arrays (n,) of float64, float64 and int64, which nobody else can change."""
    start, extent = numbers(start, "start", np.float64).copy(), numbers(extent, "extent", np.float64).copy()
    source = whole_numbers(source, "source")
    if start.ndim != 1:
        raise ValueError(f"start: expected shape (n,), got {start.shape}")
    for name, array in (("extent", extent), ("source", source)):
        if array.shape != start.shape:
            raise ValueError(f"{name}: expected shape {start.shape}, got {array.shape}")
    cdef const double[::1] starts = start, extents = extent
    cdef const int64_t[::1] sources = source
    cdef size_t i
    for i in range(<size_t>starts.shape[0]):
        if not fabs(starts[i]) < MAX_SIDE:
            raise ValueError(f"start: expected numbers within {MAX_SIDE}, got {starts[i]}")
        if not 0 < extents[i] <= 2 * MAX_SIDE:
            raise ValueError(f"extent: expected numbers above 0, {2 * MAX_SIDE} at most, got {extents[i]}")
        if not 1 <= sources[i] <= MAX_SIDE:
            raise ValueError(f"source: expected 1 to {MAX_SIDE}, got {sources[i]}")
    return start, extent, source


cdef size_t taps_of(double extent, size_t source, size_t size) noexcept nogil:
    """Taps for the filters of an axis: no output pixel reads more pixels than there are."""
    return min(cascade_axis_taps(extent, size), source)


cdef void spread(const cascade_axis *axis, int64_t last, size_t most, int64_t *pixels, int64_t *weights,
                 uint8_t *inside) noexcept nogil:
    """A plan in rows of ``most`` taps: those beyond its own weigh nothing, and read no pixel after the ``last``."""
    cdef size_t i, k, own = min(most, axis.taps)
    for i in range(axis.size):
        inside[i] = axis.count[i] > 0
        for k in range(most):
            pixels[k] = min(axis.first[i] + <int64_t>k, last)
        for k in range(own):
            weights[k] = axis.weights[i * axis.taps + k]
        for k in range(own, most):
            weights[k] = 0
        pixels, weights = pixels + most, weights + most


def triangle_taps(start, extent, source, size):
    """The filters of several axes: pixels and weights (n, size, most), and which output pixels are inside (n, size)."""
    cdef size_t pixels = whole("size", size, 1, MAX_SIDE), i, taps, n, most = 1, total
    start, extent, source = check_axes(start, extent, source)
    cdef const double[::1] starts = start, extents = extent
    cdef const int64_t[::1] sources = source
    n = total = starts.shape[0]
    total *= sizeof(cascade_axis)
    for i in range(n):
        total += cascade_axis_bytes(pixels, taps_of(extents[i], sources[i], pixels))
    cdef cascade_axis *axes = <cascade_axis *>malloc(max(total, <size_t>1))
    if axes == NULL:
        raise MemoryError("no memory for filters")
    cdef char *memory = <char *>(axes + n)
    cdef int64_t[:, :, ::1] read, weigh
    cdef uint8_t[:, ::1] within
    try:
        with nogil:
            for i in range(n):
                taps = taps_of(extents[i], sources[i], pixels)
                cascade_axis_plan(&axes[i], memory, starts[i], extents[i], sources[i], pixels, taps)
                memory += cascade_axis_bytes(pixels, taps)
                most = max(most, axes[i].most)
        found = np.empty((n, pixels, most), np.int64), np.empty((n, pixels, most), np.int64), np.empty((n, pixels), bool)
        read, weigh, within = found[0], found[1], found[2].view(np.uint8)
        with nogil:
            for i in range(n):
                spread(&axes[i], sources[i] - 1, most, &read[i, 0, 0], &weigh[i, 0, 0], &within[i, 0])
    finally:
        free(axes)
    return found


include "team.pxi"
include "crops.pxi"
include "network.pxi"
include "search.pxi"
include "graph.pxi"
include "boxes.pxi"
include "landmarks.pxi"
