# Resampling in _native.pyx.

cdef enum:
    # pixels of a strip that one of several threads resamples, at least
    MIN_STRIP_PIXELS = 1 << 14


cdef bint is_valid_box(const double *edges) noexcept:
    """Whether a box has an area and its coordinates are within the range of the core."""
    cdef double x1 = edges[0], y1 = edges[1], x2 = edges[2], y2 = edges[3], most = MAX_SIDE
    return -most < x1 < x2 < most and -most < y1 < y2 < most


def resample(image, box, width, height, ThreadPool pool=None, level=None, out=None, first=0, top=0, image_height=None):
    """Resamples the rectangle ``box`` of ``image`` to ``width`` by ``height`` pixels, or some rows of it into ``out``."""
    image = check_image(image)
    cdef size_t columns = integer("width", width, 1, MAX_SIDE), lines = integer("height", height, 1, MAX_SIDE)
    corners = numbers(box, "box", np.float64)
    cdef const double[::1] edges = corners.reshape(-1)
    if corners.shape != (4,) or not is_valid_box(&edges[0]):
        raise ValueError(f"box: expected finite x1 < x2 and y1 < y2 within {MAX_SIDE} pixels, got {box!r}")
    pool = pool or ThreadPool()
    cdef size_t begin = integer("first", first, 0, lines)
    if out is None:
        out = np.empty((lines - begin, columns, 3), np.uint8)
    elif check_image(out) is not out or out.shape[1] != columns or not out.flags.writeable:
        raise ValueError(f"out: expected a uint8 array (rows, {columns}, 3) to write to, got {describe(out)}")
    cdef uint8_t[:, :, ::1] target = out
    check_pixels(target, "out")
    cdef size_t end = begin + <size_t>target.shape[0]
    if end > lines or <size_t>target.shape[1] != columns:
        raise ValueError(f"out: expected at most {lines - begin} rows of {columns}, got {describe(out)}")
    cdef cascade_image source = strip_of(image, top, image_height)
    cdef size_t origin, to
    cascade_rows_read(edges[1], edges[3] - edges[1], source.height, lines, begin, end, &origin, &to)
    check_rows(&source, origin, to)
    cdef cascade_resample_job job
    job.kernels = kernels_of(level or default_simd_level())
    job.image, job.box, job.out, job.width, job.height = &source, &edges[0], &target[0, 0, 0], columns, lines
    # each strip plans its axes anew, so small strips do not pay
    cdef size_t strips = min(pool.threads, 1 + columns * (end - begin) // MIN_STRIP_PIXELS)
    job.first, job.end, job.strip_rows = begin, end, max(<size_t>1, (end - begin + strips - 1) // strips)
    pool.parallel_for(cascade_resample_strip, &job, (end - begin + job.strip_rows - 1) // job.strip_rows,
                      cascade_resample_workspace(edges[2] - edges[0], edges[3] - edges[1], source.width, columns, lines))
    return out


def rows_read(source, height, first, end):
    """Rows [from, to) of an image of ``source`` rows that `resample` wants for rows [first, end) of ``height``."""
    cdef size_t most = integer("height", height, 1, MAX_SIDE), last = integer("end", end, 1, most)
    cdef size_t begin = integer("first", first, 0, last - 1), rows = integer("source", source, 1, MAX_SIDE), origin, to
    cascade_rows_read(0.0, <double>rows, rows, most, begin, last, &origin, &to)
    return origin, to


cdef check_axes(start, extent, source):
    """The axes of `triangle_taps` as arrays (n,) of float64, float64 and int64."""
    start, extent = numbers(start, "start", np.float64), numbers(extent, "extent", np.float64)
    source = integers(source, "source")
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
    """Room for the taps of an axis: no output pixel reads more pixels than there are."""
    return min(cascade_axis_taps(extent, size), source)


cdef void unpack_taps(const cascade_axis *axis, int64_t last, size_t most, int64_t *pixels, int64_t *weights,
                      uint8_t *inside) noexcept nogil:
    """Writes a plan in rows of ``most`` taps. Additional taps have the weight 0 and read no pixel after the ``last``."""
    cdef size_t i, k, own = min(most, axis.taps)
    for i in range(axis.size):
        inside[i] = axis.count[i] > 0
        for k in range(most):
            pixels[k] = min(axis.first[i] + <int64_t>k, last)
        for k in range(own):
            weights[k] = -<int64_t>axis.weights[i * axis.taps + k]
        for k in range(own, most):
            weights[k] = 0
        pixels, weights = pixels + most, weights + most


def triangle_taps(start, extent, source, size):
    """The filters of several axes: pixels and weights (n, size, most), and which output pixels are inside (n, size)."""
    cdef size_t pixels = integer("size", size, 1, MAX_SIDE), i, taps, n, most = 1, total, bytes
    start, extent, source = check_axes(start, extent, source)
    cdef const double[::1] starts = start, extents = extent
    cdef const int64_t[::1] sources = source
    n = total = starts.shape[0]
    total *= sizeof(cascade_axis)
    for i in range(n):
        bytes = cascade_axis_bytes(pixels, taps_of(extents[i], sources[i], pixels))
        if bytes > CASCADE_MAX_WORKSPACE - min(total, CASCADE_MAX_WORKSPACE):
            raise MemoryError("no memory for filters")
        total += bytes
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
                most = max(most, axes[i].max_count)
        found = np.empty((n, pixels, most), np.int64), np.empty((n, pixels, most), np.int64), np.empty((n, pixels), bool)
        read, weigh, within = found[0], found[1], found[2].view(np.uint8)
        with nogil:
            for i in range(n):
                unpack_taps(&axes[i], sources[i] - 1, most, &read[i, 0, 0], &weigh[i, 0, 0], &within[i, 0])
    finally:
        free(axes)
    return found
