# The crops of _native.pyx: where they lie in the levels of a pyramid, and cutting them.

cdef enum:
    # crop boxes snap to 1/16 pixel, so that engines whose boxes differ in the last bits cut the same crops
    SNAP_STEPS = 16


cdef double snap_coordinate(double coordinate) noexcept nogil:
    return floor(coordinate * SNAP_STEPS + 0.5) / SNAP_STEPS


def snap(boxes):
    """Crop boxes, rounded to 1/16 pixel as ``cut`` does."""
    return np.floor(numbers(boxes, "boxes", np.float64) * SNAP_STEPS + 0.5) / SNAP_STEPS


cdef check_scales(scales):
    scales = numbers(scales, "scales", np.float64)
    if scales.ndim != 2 or scales.shape[1] != 2 or len(scales) == 0:
        raise ValueError(f"scales: expected shape (levels, 2), got {scales.shape}")
    cdef const double[:, ::1] factors = scales
    cdef size_t i
    for i in range(<size_t>factors.shape[0]):
        if not (0 < factors[i, 0] < INFINITY and 0 < factors[i, 1] < INFINITY):
            raise ValueError("scales: expected finite numbers above 0")
    return scales


def choose_levels(scales, boxes, size):
    """For each box the smallest level in which its shorter side still has ``size`` pixels; 0 if none has."""
    scales = check_scales(scales)
    cdef size_t pixels = integer("size", size, 1, MAX_SIDE), i, k
    cdef const double[:, ::1] given = check_boxes(boxes, "boxes", np.float64), factors = scales
    out = np.empty(len(given), np.int64)
    cdef int64_t[::1] chosen = out
    cdef double[4] snapped
    with nogil:
        for i in range(<size_t>given.shape[0]):
            for k in range(4):
                snapped[k] = snap_coordinate(given[i, k])
            chosen[i] = level_of(snapped, factors, pixels)
    return out


cdef size_t level_of(const double *edges, const double[:, ::1] scales, size_t size) noexcept nogil:
    """The same for one snapped box."""
    cdef size_t level
    for level in range(<size_t>scales.shape[0] - 1, 0, -1):
        if min((edges[2] - edges[0]) * scales[level, 0], (edges[3] - edges[1]) * scales[level, 1]) >= size:
            return level
    return 0


cdef check_sources(images, scales):
    if not isinstance(images, (list, tuple)) or len(images) == 0:
        raise ValueError(f"images: expected a list of arrays, got {describe(images)}")
    images = [image if isinstance(image, tuple) else check_image(image) for image in images]
    scales = check_scales(scales)
    if len(scales) != len(images):
        raise ValueError(f"scales: expected shape ({len(images)}, 2), got {scales.shape}")
    return images, scales


cdef size_t fine_level(double zoom, const double[:, ::1] scales) noexcept:
    """The smallest level with at least ``zoom`` pixels for each pixel of the photo; 0 if none has."""
    cdef size_t level
    for level in range(<size_t>scales.shape[0] - 1, 0, -1):
        if min(scales[level, 0], scales[level, 1]) >= zoom:
            return level
    return 0


cdef bint transform_to_level(const double *matrix, const double *scale, size_t size, int64_t *fixed) noexcept:
    """Computes the transform from a crop to a level in fixed point, the inverse of an affine one from the photo to the crop.

    Returns False where it leaves the range of the core, as where there is no inverse.
    """
    cdef double a = matrix[0], b = matrix[1], c = matrix[3], d = matrix[4], determinant = a * d - b * c
    cdef double right = 0.5 - matrix[2], down = 0.5 - matrix[5]
    cdef double[2][3] back
    back[0][0], back[0][1] = d / determinant * scale[0], -b / determinant * scale[0]
    back[1][0], back[1][1] = -c / determinant * scale[1], a / determinant * scale[1]
    cdef size_t axis, k
    for axis in range(2):
        back[axis][2] = back[axis][0] * right + back[axis][1] * down
        if not fabs(back[axis][2]) + (fabs(back[axis][0]) + fabs(back[axis][1])) * <double>size < MAX_SIDE:
            return False
        for k in range(3):
            fixed[3 * axis + k] = <int64_t>rint(ldexp(back[axis][k], CASCADE_TRANSFORM_BITS))
    return True


cdef class Crops:
    """Where crops of ``size`` by ``size`` pixels lie in the levels of a pyramid; cut when they are needed."""
    cdef list images
    cdef cascade_image *levels
    cdef size_t level_count
    cdef const int64_t[::1] level_of
    cdef const double[:, ::1] boxes
    cdef const int64_t[:, :, ::1] transforms
    cdef const int64_t[:, ::1] rows
    cdef cascade_crop_set set
    cdef bint partial
    cdef readonly size_t size

    def __cinit__(self, images, scales, regions, size):
        images, scales = check_sources(images, scales)
        self.images = images
        self.level_count = len(images)
        self.size = integer("size", size, 1, 4096)
        self.levels = <cascade_image *>calloc(len(images), sizeof(cascade_image))
        if self.levels == NULL:
            raise MemoryError("no memory for crops")
        self.partial = False
        for k, image in enumerate(images):
            if isinstance(image, tuple):
                self.partial = True
                height, width = image
                self.levels[k].height = integer("images: a height", height, 1, MAX_SIDE)
                self.levels[k].width = integer("images: a width", width, 1, MAX_SIDE)
        self.set.levels, self.set.size = self.levels, self.size
        self.set.padding_value = CASCADE_PADDING_VALUE
        self.set.workspace = 64
        if np.ndim(regions) == 3:
            self.place_transforms(scales, regions)
        else:
            self.place_boxes(scales, regions)
        if self.partial:
            self.rows = self.rows_read()

    def __dealloc__(self):
        free(self.levels)

    cdef int open_levels(self, const int64_t[::1] chosen) except -1:
        """Reads the sizes of the images that crops lie in, and where their pixels are."""
        cdef size_t i
        for i in range(<size_t>chosen.shape[0]):
            if self.levels[chosen[i]].width == 0:
                self.levels[chosen[i]] = strip_of(self.images[chosen[i]], 0, None)
        return 0

    cdef place_transforms(self, scales, matrices):
        cdef const double[:, :, ::1] given = check_matrices(matrices)
        cdef const double[:, ::1] factors = scales
        cdef size_t i, n = given.shape[0]
        cdef int64_t[::1] chosen = np.empty(n, np.int64)
        cdef int64_t[:, :, ::1] transforms = np.empty((n, 2, 3), np.int64)
        cdef bint fits = True
        for i in range(n):
            zoom = sqrt(fabs(given[i, 0, 0] * given[i, 1, 1] - given[i, 0, 1] * given[i, 1, 0]))
            chosen[i] = fine_level(zoom, factors)
            fits = fits and transform_to_level(&given[i, 0, 0], &factors[chosen[i], 0], self.size, &transforms[i, 0, 0])
        if not fits:
            raise ValueError(f"matrices: expected transforms of a crop to within {MAX_SIDE} pixels")
        self.open_levels(chosen)
        self.level_of, self.transforms = chosen, transforms
        if n:
            self.set.level_of, self.set.transforms = &chosen[0], &transforms[0, 0, 0]

    cdef place_boxes(self, scales, boxes):
        cdef const double[:, ::1] given = check_boxes(boxes, "boxes", np.float64), factors = scales
        cdef double[:, ::1] placed = np.empty((len(given), 4))
        cdef int64_t[::1] chosen = np.empty(len(given), np.int64)
        cdef double[4] snapped
        cdef double wide = 0, high = 0, x, y
        cdef size_t i, k
        cdef bint fits = True
        for i in range(<size_t>given.shape[0]):
            for k in range(4):
                snapped[k] = snap_coordinate(given[i, k])
            chosen[i] = level_of(snapped, factors, self.size)
            for k in range(4):
                placed[i, k] = snapped[k] * factors[chosen[i], k % 2]
            fits = fits and is_valid_box(&placed[i, 0])
            x, y = placed[i, 2] - placed[i, 0], placed[i, 3] - placed[i, 1]
            wide, high = max(wide, x), max(high, y)
        if not fits:
            raise ValueError(f"boxes: expected finite x1 < x2 and y1 < y2 within {MAX_SIDE} pixels")
        self.open_levels(chosen)
        self.level_of, self.boxes = chosen, placed
        if given.shape[0]:
            self.set.level_of, self.set.boxes = &chosen[0], &placed[0, 0]
            self.set.workspace = cascade_resample_workspace(wide, high, self.widest(), self.size, self.size)

    cdef size_t widest(self) noexcept:
        cdef size_t k, width = 1
        for k in range(self.level_count):
            width = max(width, self.levels[k].width)
        return width

    cdef rows_read(self):
        """Rows [from, to) of its level that each crop reads, (n, 2); at least one."""
        cdef int64_t[:, ::1] found = np.empty((len(self), 2), np.int64)
        cdef size_t i, origin, to, height
        cdef int64_t reach, low, high, row
        for i in range(<size_t>found.shape[0]):
            height = self.levels[self.level_of[i]].height
            if self.set.transforms != NULL:
                reach = <int64_t>self.size - 1
                low = high = self.transforms[i, 1, 2]
                for row in (self.transforms[i, 1, 0] * reach, self.transforms[i, 1, 1] * reach):
                    low, high = low + min(row, 0), high + max(row, 0)
                # a point reads the two rows around it: pixel 0 has its centre at a half
                low, high = (low >> CASCADE_TRANSFORM_BITS) - 1, (high >> CASCADE_TRANSFORM_BITS) + 2
                origin, to = <size_t>max(low, 0), <size_t>max(high, 0)
            else:
                cascade_rows_read(self.boxes[i, 1], self.boxes[i, 3] - self.boxes[i, 1], height, self.size, 0, self.size,
                                  &origin, &to)
            found[i, 0] = min(origin, height - 1)
            found[i, 1] = max(min(to, height), <size_t>found[i, 0] + 1)
        return found

    @property
    def reads(self):
        """For each crop its level and the rows [from, to) of it that the crop reads, (n, 3)."""
        return np.column_stack([self.level_of, self.rows_read()])

    def give(self, k, image, top):
        """Replaces the rows of image ``k`` by those from ``top`` on."""
        index = integer("k", k, 0, len(self.images) - 1)
        image = check_image(image)
        cdef cascade_image strip = strip_of(image, top, self.levels[<size_t>index].height)
        if strip.width != self.levels[<size_t>index].width:
            raise ValueError(f"image: expected a width of {self.levels[<size_t>index].width}, got {describe(image)}")
        self.images[index], self.levels[<size_t>index] = image, strip

    cdef int check(self, size_t first, size_t count) except -1:
        """Raises ValueError if some rows of these crops were not given."""
        cdef size_t i
        if self.partial:
            for i in range(first, first + count):
                check_rows(&self.levels[self.level_of[i]], self.rows[i, 0], self.rows[i, 1])
        return 0

    def __len__(self):
        return self.level_of.shape[0]

    cdef all(self, ThreadPool pool, level):
        out = np.empty((len(self), self.size, self.size, 3), np.uint8)
        if len(self) == 0:
            return out
        self.check(0, len(self))
        cdef cut_job job
        cdef uint8_t[:, :, :, ::1] target = out
        job.kernels, job.set, job.out = kernels_of(level or default_simd_level()), &self.set, &target[0, 0, 0, 0]
        pool = pool or ThreadPool()
        pool.parallel_for(cut_one, &job, len(self), self.set.workspace)
        return out


cdef struct cut_job:
    const cascade_kernels *kernels
    const cascade_crop_set *set
    uint8_t *out


cdef void cut_one(void *context, size_t i, void *workspace) noexcept nogil:
    cdef cut_job *job = <cut_job *>context
    cascade_cut_crop(job.kernels, job.set, i, job.out + i * job.set.size * job.set.size * 3, workspace)


def cut(images, scales, boxes, size, ThreadPool pool=None, level=None):
    """Crops of ``size`` by ``size`` pixels, each from the smallest level that is large enough."""
    return Crops(images, scales, check_boxes(boxes, "boxes", np.float64), size).all(pool, level)


def warp(images, scales, matrices, size, outside=CASCADE_PADDING_VALUE):
    """Aligned crops of ``size`` by ``size`` pixels, each from the smallest level that is fine enough."""
    matrices = numbers(matrices, "matrices", np.float64)
    if matrices.ndim != 3:
        raise ValueError(f"matrices: expected an array (n, 2, 3), got shape {matrices.shape}")
    crops = Crops(images, scales, matrices, size)
    (<Crops>crops).set.padding_value = integer("outside", outside, 0, 255)
    return (<Crops>crops).all(None, None)
