# A network slid over several images as one list of work, in _native.pyx.

cdef extern from "cascade.h" nogil:
    ctypedef struct cascade_searched:
        cascade_image image
        uint8_t *unmade
        cascade_grid grid
        size_t first
        size_t end
        size_t rows
        size_t columns

    ctypedef struct cascade_search_tile:
        size_t image
        size_t count

    ctypedef struct cascade_search:
        const cascade_kernels *kernels
        const cascade_layer *layers
        size_t layer_count
        const cascade_image *source
        const cascade_searched *images
        size_t image_count
        size_t ready
        size_t together
        size_t bands
        cascade_search_tile *tiles
        size_t tile_count
        float threshold
        float *found
        size_t room
        size_t made
        size_t bands_made
        size_t found_count

    size_t cascade_search_tiles(const cascade_search *search, size_t k, cascade_search_tile *tiles)
    size_t cascade_search_workspace(const cascade_search *search, size_t k)
    size_t cascade_search_items(const cascade_search *search)
    void cascade_search_work(void *search, size_t item, void *workspace)
    size_t cascade_search_gather(const cascade_search *search, cascade_search_tile *tiles, size_t count, float *out)

cdef enum:
    # rows of windows that are searched at once at most: enough pieces for several threads
    TILE_ROWS = 48
    # windows there is room for at first
    FIRST_WINDOWS = 4096
    # bands of an image that several threads make, for each of them: who is done first takes the next
    BANDS_EACH = 2


cdef class Search:
    """One call of a network over some images, and what it keeps meanwhile."""
    cdef cascade_search search
    cdef cascade_image source
    cdef cascade_searched *images
    cdef cascade_search_tile *tiles
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
        self.images = <cascade_searched *>calloc(count + 1, sizeof(cascade_searched))
        if self.images == NULL:
            raise MemoryError("no memory for images")
        cdef cascade_search *search = &self.search
        search.kernels, search.layers, search.layer_count = network.kernels, network.layers, network.layer_count
        search.images, search.image_count = self.images, count
        search.ready = count if ready is None else whole("ready", ready, 0, count)
        search.threshold = real("threshold", threshold)
        for k, image in enumerate(images):
            self.add(k, image, padding, name)
        if search.ready == 0 and count:
            self.source = band_of(self.kept(source, "source"), 0, None)
            search.source = &self.source
        elif search.ready < <size_t>count:
            check_rows(&self.images[search.ready - 1].image, 0, self.images[search.ready - 1].image.height)
        self.cut_up()

    def __dealloc__(self):
        free(self.images)
        free(self.tiles)

    cdef kept(self, image, name):
        """An image that is checked, and lives as long as this."""
        array = check_image(image, name)
        self.arrays.append(array)
        return array

    cdef add(self, size_t k, given, padding, name):
        if isinstance(given, tuple) and len(given) != 5:
            raise ValueError(f"images: expected (image, first, rows, top, height), got a tuple of {len(given)}")
        image, first, rows, top, height = given if isinstance(given, tuple) else (given, 0, None, 0, None)
        cdef cascade_searched *searched = &self.images[k]
        cdef uint8_t[:, :, ::1] pixels
        cdef size_t above, below
        array = self.kept(image, name)
        searched.image = band_of(array, top, height)
        if k >= self.search.ready:
            if array is not image or not array.flags.writeable or searched.image.rows != searched.image.height:
                raise ValueError(f"images: expected a whole array to write to, got {describe(image)}")
            pixels = array
            searched.unmade = &pixels[0, 0, 0]
        cdef cascade_grid *grid = &searched.grid
        self.network.plan(grid, searched.image.width, searched.image.height, padding)
        searched.first, searched.end = whole("first", first, 0, MAX_SIDE), grid.rows
        if rows is not None:
            searched.end = min(searched.end, searched.first + <size_t>whole("rows", rows, 0, MAX_SIDE))
        if grid.columns == 0 or searched.first >= searched.end:
            searched.end = searched.first
            return
        above, below = searched.first * grid.stride, (searched.end - 1) * grid.stride + grid.field
        check_rows(&searched.image, above - min(above, grid.padding),
                   min(below - min(below, grid.padding), searched.image.height))
        searched.columns = tile_columns(grid)
        searched.rows = min(tile_rows(grid, self.network.bytes), <size_t>TILE_ROWS)

    cdef cut_up(self):
        """The tiles of all images."""
        cdef cascade_search *search = &self.search
        cdef size_t k
        for k in range(search.image_count):
            search.tile_count += cascade_search_tiles(search, k, NULL)
        self.tiles = search.tiles = <cascade_search_tile *>calloc(search.tile_count + 1, sizeof(cascade_search_tile))
        if self.tiles == NULL:
            raise MemoryError("no memory for tiles")
        cdef size_t n = 0
        for k in range(search.image_count):
            n += cascade_search_tiles(search, k, self.tiles + n)

    cdef size_t most(self) except 0:
        """Bytes of workspace."""
        cdef size_t k, size, largest = 1
        for k in range(self.search.image_count):
            size = cascade_search_workspace(&self.search, k)
            if size == 0:
                raise ValueError("image: sizes overflow")
            largest = max(largest, size)
        return largest

    cdef run(self, ThreadPool pool):
        cdef ThreadPool taken = pool.take()
        try:
            return self.run_by(taken)
        finally:
            pool.give(taken)

    cdef run_by(self, ThreadPool pool):
        cdef cascade_search *search = &self.search
        cdef size_t width = self.network.outputs + 1, size = self.most(), wanted = FIRST_WINDOWS
        self.share_making(pool.threads)
        while True:
            search.found = pool.at_least(wanted * width)
            search.room = pool.room // width
            search.made, search.bands_made, search.found_count = search.ready, 0, 0
            pool.run(cascade_search_work, search, cascade_search_items(search), size)
            if search.found_count <= search.room:
                return self.gathered(width)
            wanted = search.found_count
            search.ready, search.together = search.image_count, 0

    cdef share_making(self, size_t threads):
        """All threads make as many images as leave one thread no more than about its share of all their pixels."""
        cdef cascade_search *search = &self.search
        cdef size_t k, left = 0
        if search.ready < search.image_count:
            search.bands = min(BANDS_EACH * threads, bands_of(&self.images[search.ready].image))
        for k in range(search.ready, search.image_count):
            left += self.images[k].image.width * self.images[k].image.height
        cdef double share = 1.5 * left / threads
        for k in range(search.ready, search.image_count):
            if left <= share:
                break
            left -= self.images[k].image.width * self.images[k].image.height
            search.together += 1

    cdef list gathered(self, size_t width):
        cdef list arrays = []
        cdef float[:, ::1] target
        cdef size_t k, tile = 0, first, n
        for k in range(self.search.image_count):
            first, n = tile, 0
            while tile < self.search.tile_count and self.tiles[tile].image == k:
                n += self.tiles[tile].count
                tile += 1
            array = np.empty((n, width), np.float32)
            if n:
                target = array
                cascade_search_gather(&self.search, self.tiles + first, tile - first, &target[0, 0])
            arrays.append(array)
        return arrays


cdef size_t bands_of(const cascade_image *image) noexcept:
    """How many bands of an image that is made are worth a thread's while: each plans its axes anew."""
    return 1 + image.width * image.height // SMALLEST_BAND


cdef size_t tile_columns(const cascade_grid *grid) noexcept:
    """Columns of a tile, all of a grid's tiles being about as wide."""
    cdef size_t tiles = (grid.columns + TILE_COLUMNS - 1) // TILE_COLUMNS
    return (grid.columns + tiles - 1) // tiles


cdef size_t tile_rows(const cascade_grid *grid, bint bytes) noexcept:
    """Rows of a tile whose maps stay near the core's own cache, but not so few that overlap dominates."""
    cdef size_t rows = (4096 * CASCADE_WORD if bytes else 4096) // (tile_columns(grid) + 1)
    cdef size_t least = 4 * (grid.field // grid.stride + 1)
    return rows if rows > least else least
