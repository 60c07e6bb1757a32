# The dense scan of _native.pyx: a network over several images as one loop of a thread pool.

cdef enum:
    # columns of a tile at most: its feature maps stay in the L2 cache
    MAX_TILE_COLUMNS = 512
    # rows of a tile at most: enough tiles for several threads
    MAX_TILE_ROWS = 48
    # detections there is room for at first
    FIRST_CAPACITY = 4096
    # strips per thread of an image that several threads resample: a thread that is done early takes another
    STRIPS_PER_THREAD = 2


cdef class DenseScan:
    """One scan of some images, and all that must live as long."""
    cdef cascade_dense_scan scan
    cdef cascade_image source
    cdef cascade_scan_level *levels
    cdef cascade_scan_tile *tiles
    cdef list arrays
    cdef Network network

    def __cinit__(self, Network network not None, images, padding, threshold, source, ready, name):
        if network.outputs < 2:
            raise ValueError(f"layers: expected at least 2 outputs to tell faces by, got {network.outputs}")
        if not isinstance(images, (list, tuple)):
            raise ValueError(f"images: expected a list of arrays, got {describe(images)}")
        images = tuple(images)
        count = len(images)
        self.network, self.arrays = network, []
        self.levels = <cascade_scan_level *>calloc(count + 1, sizeof(cascade_scan_level))
        if self.levels == NULL:
            raise MemoryError("no memory for images")
        cdef cascade_dense_scan *scan = &self.scan
        scan.kernels, scan.layers, scan.layer_count = network.kernels, network.layers, network.layer_count
        scan.levels, scan.level_count = self.levels, count
        scan.ready = count if ready is None else integer("ready", ready, 0, count)
        thresholds = threshold if isinstance(threshold, (list, tuple)) else (threshold,) * count
        if len(thresholds) != count:
            raise ValueError(f"threshold: expected one number, or one for each of {count} images, got {len(thresholds)}")
        for k, image in enumerate(images):
            self.add(k, image, padding, name)
            self.levels[k].threshold = real("threshold", thresholds[k])
        if scan.ready == 0 and count:
            self.source = strip_of(self.hold(source, "source"), 0, None)
            scan.source = &self.source
        elif scan.ready < <size_t>count:
            check_rows(&self.levels[scan.ready - 1].image, 0, self.levels[scan.ready - 1].image.height)
        self.make_tiles()

    def __dealloc__(self):
        free(self.levels)
        free(self.tiles)

    cdef hold(self, image, name):
        """Checks an image, and holds it as long as this lives."""
        array = check_image(image, name)
        self.arrays.append(array)
        return array

    cdef add(self, size_t k, given, padding, name):
        if isinstance(given, tuple) and len(given) != 5:
            raise ValueError(f"images: expected (image, first, rows, top, height), got a tuple of {len(given)}")
        image, first, rows, top, height = given if isinstance(given, tuple) else (given, 0, None, 0, None)
        cdef cascade_scan_level *level = &self.levels[k]
        cdef uint8_t[:, :, ::1] pixels
        cdef size_t above, below
        array = self.hold(image, name)
        level.image = strip_of(array, top, height)
        if k >= self.scan.ready:
            if array is not image or not array.flags.writeable or level.image.rows != level.image.height:
                raise ValueError(f"images: expected a whole array to write to, got {describe(image)}")
            pixels = array
            check_pixels(pixels, "images")
            if <size_t>pixels.shape[0] != level.image.height or <size_t>pixels.shape[1] != level.image.width:
                raise ValueError("images: expected an array whose shape does not change meanwhile")
            level.target = &pixels[0, 0, 0]
        cdef cascade_feature_grid *grid = &level.grid
        self.network.plan(grid, level.image.width, level.image.height, padding)
        level.first, level.end = integer("first", first, 0, MAX_SIDE), grid.rows
        if rows is not None:
            level.end = min(level.end, level.first + <size_t>integer("rows", rows, 0, MAX_SIDE))
        if grid.columns == 0 or level.first >= level.end:
            level.end = level.first
            return
        above, below = level.first * grid.stride, (level.end - 1) * grid.stride + grid.receptive_field
        check_rows(&level.image, above - min(above, grid.padding),
                   min(below - min(below, grid.padding), level.image.height))
        level.tile_columns = tile_columns(grid)
        level.tile_rows = min(tile_rows(grid, self.network.dtype), <size_t>MAX_TILE_ROWS)

    cdef make_tiles(self):
        """Divides all images into tiles."""
        cdef cascade_dense_scan *scan = &self.scan
        cdef size_t k
        for k in range(scan.level_count):
            scan.tile_count += cascade_dense_scan_tiles(scan, k, NULL)
        self.tiles = scan.tiles = <cascade_scan_tile *>calloc(scan.tile_count + 1, sizeof(cascade_scan_tile))
        if self.tiles == NULL:
            raise MemoryError("no memory for tiles")
        cdef size_t n = 0
        for k in range(scan.level_count):
            n += cascade_dense_scan_tiles(scan, k, self.tiles + n)

    cdef size_t workspace(self) except 0:
        """Bytes of workspace per thread."""
        cdef size_t k, size, largest = 1
        for k in range(self.scan.level_count):
            size = cascade_dense_scan_workspace(&self.scan, k)
            if size == 0:
                raise ValueError("image: sizes overflow")
            largest = max(largest, size)
        return largest

    cdef run(self, ThreadPool pool):
        cdef ThreadPool acquired = pool.acquire()
        try:
            return self.run_on(acquired)
        finally:
            pool.release(acquired)

    cdef run_on(self, ThreadPool pool):
        cdef cascade_dense_scan *scan = &self.scan
        cdef size_t width = self.network.outputs + 1, size = self.workspace(), wanted = FIRST_CAPACITY
        self.split_resampling(pool.threads)
        while True:
            scan.found = pool.results(wanted * width)
            scan.capacity = pool.capacity // width
            scan.levels_done, scan.strips_done, scan.found_count = scan.ready, 0, 0
            pool.run(cascade_dense_scan_item, scan, cascade_dense_scan_items(scan), size)
            if scan.found_count <= scan.capacity:
                return self.gather(width)
            wanted = scan.found_count
            scan.ready, scan.split_levels = scan.level_count, 0

    cdef split_resampling(self, size_t threads):
        """Chooses how many images all threads resample: those left to one thread are about its share of all pixels."""
        cdef cascade_dense_scan *scan = &self.scan
        cdef size_t k, left = 0
        if scan.ready < scan.level_count:
            scan.strips = min(STRIPS_PER_THREAD * threads, max_strips(&self.levels[scan.ready].image))
        for k in range(scan.ready, scan.level_count):
            left += self.levels[k].image.width * self.levels[k].image.height
        cdef double share = 1.5 * left / threads
        for k in range(scan.ready, scan.level_count):
            if left <= share:
                break
            left -= self.levels[k].image.width * self.levels[k].image.height
            scan.split_levels += 1

    cdef list gather(self, size_t width):
        cdef list arrays = []
        cdef float[:, ::1] target
        cdef size_t k, tile = 0, first, n
        for k in range(self.scan.level_count):
            first, n = tile, 0
            while tile < self.scan.tile_count and self.tiles[tile].level == k:
                n += self.tiles[tile].count
                tile += 1
            array = np.empty((n, width), np.float32)
            if n:
                target = array
                cascade_dense_scan_gather(&self.scan, self.tiles + first, tile - first, &target[0, 0])
            arrays.append(array)
        return arrays


cdef size_t max_strips(const cascade_image *image) noexcept:
    """How many strips of an image pay: each plans its axes anew."""
    return 1 + image.width * image.height // MIN_STRIP_PIXELS


cdef size_t tile_columns(const cascade_feature_grid *grid) noexcept:
    """Columns of a tile, such that all tiles of a grid are about as wide."""
    cdef size_t tiles = (grid.columns + MAX_TILE_COLUMNS - 1) // MAX_TILE_COLUMNS
    return (grid.columns + tiles - 1) // tiles


cdef size_t tile_rows(const cascade_feature_grid *grid, int dtype) noexcept:
    """Rows of a tile whose feature maps stay near the L2 cache, but not so few that the overlap of tiles dominates."""
    cdef size_t rows = (4096 * CASCADE_PACKED if dtype == CASCADE_INT8 else 4096) // (tile_columns(grid) + 1)
    cdef size_t least = 4 * (grid.receptive_field // grid.stride + 1)
    return rows if rows > least else least
