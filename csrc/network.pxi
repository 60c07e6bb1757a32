# The networks of a detector in _native.pyx: layers, and running them over crops and images.

cdef extern from "cascade.h" nogil:
    ctypedef struct cascade_judging:
        const cascade_kernels *kernels
        const cascade_layer *layers
        size_t layer_count
        size_t outputs
        const cascade_places *places
        size_t first
        size_t count
        size_t pieces
        size_t piece
        size_t last
        float *out

    size_t cascade_judging_workspace(const cascade_judging *judging)
    size_t cascade_judging_items(const cascade_judging *judging)
    void cascade_judging_work(void *judging, size_t item, void *workspace)

cdef class Network:
    """A network ready to run: its layers, and its weights packed for one instruction level."""
    cdef cascade_layer layers[MAX_LAYERS]
    cdef size_t layer_count
    cdef const cascade_kernels *kernels
    cdef list buffers
    cdef readonly size_t input_size
    cdef readonly size_t outputs
    cdef bint bytes  # whether it computes in whole numbers, four channels in a word

    # __cinit__, so that there is no network without its layers, and none is changed while it runs
    def __cinit__(self, layers, input_size, level=None):
        if not isinstance(layers, (list, tuple)) or not 0 < len(layers) <= MAX_LAYERS:
            raise ValueError(f"layers: expected a list of 1 to {MAX_LAYERS} layers, got {describe(layers)}")
        self.kernels = kernels_of(level or default_simd_level())
        self.buffers = []
        self.layer_count = 0
        self.input_size = whole("input_size", input_size, 1, 1024)
        self.outputs = 3
        cdef size_t side = self.input_size
        self.bytes = all(isinstance(layer, dict) and layer.get("kind") == "bytes" for layer in layers)
        for index, layer in enumerate(layers):
            try:
                self.add_layer(index, layer, index == len(layers) - 1)
            except (KeyError, TypeError) as error:
                raise ValueError(f"layers: layer {index} cannot be read ({error!r})") from error
            side = cascade_layer_output(&self.layers[self.layer_count - 1], side)
            if side == 0:
                raise ValueError(f"layers: layer {index} does not fit its input")
        if cascade_few_usable(self.layers, self.layer_count, self.kernels.lanes):
            self.pack_for_few([layer["weight"] for layer in layers])
        if side != 1:
            raise ValueError(f"layers: a crop of {input_size} pixels ends on {side} * {side} positions, expected 1")

    @property
    def level(self):
        return self.kernels.name.decode()

    cdef add_layer(self, index, layer, last):
        stride = whole(f"layers: stride of layer {index}", layer["stride"], 1, 16)
        if self.bytes:
            self.add_bytes(index, layer["weight"], layer["bias"], layer["factor"], stride, last)
        elif layer["kind"] == "pool":
            self.add_pool(whole(f"layers: kernel of layer {index}", layer["kernel"], 1, 16), stride)
        elif layer["kind"] == "conv":
            self.add_convolution(index, layer["weight"], layer["bias"], layer["slope"], stride)
        else:
            raise ValueError(f"layers: layer {index} is {layer['kind']!r}, expected 'conv' or 'pool', or all 'bytes'")

    cdef add_pool(self, size_t kernel, size_t stride):
        cdef cascade_layer *layer = &self.layers[self.layer_count]
        layer.kind = CASCADE_POOL
        layer.in_channels = layer.out_channels = self.outputs
        layer.kernel = kernel
        layer.stride = stride
        layer.weights = layer.few_weights = layer.bias = layer.slope = NULL
        self.layer_count += 1

    cdef add_convolution(self, index, weight, bias, slope, size_t stride):
        weight = numbers(weight, f"layers: weight of layer {index}", np.float32)
        if (weight.ndim != 4 or weight.shape[1] != self.outputs or weight.shape[2] != weight.shape[3]
                or not 0 < weight.shape[0] <= MAX_CHANNELS or not 0 < weight.shape[2] <= 16):
            raise ValueError(f"layers: layer {index} has a weight of shape {weight.shape}, "
                             f"expected (out, {self.outputs}, k, k)")
        channels = weight.shape[0]
        bias = numbers(bias, f"layers: bias of layer {index}", np.float32)
        slope = numbers(slope, f"layers: slope of layer {index}", np.float32)
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
        layer.few_weights = NULL
        layer.bias = &bias_view[0]
        layer.slope = &slope_view[0]
        self.buffers += [packed, bias, slope]
        self.outputs = channels
        self.layer_count += 1

    cdef add_bytes(self, index, weight, bias, factor, size_t stride, last):
        """A convolution of bytes; but for the last layer it makes words, so its channels are a multiple of four."""
        words = 1 if index == 0 else self.outputs
        weight = exactly(weight, f"layers: weight of layer {index}", np.int8)
        if (weight.ndim != 5 or weight.shape[1] != words or weight.shape[2] != weight.shape[3]
                or weight.shape[4] != CASCADE_WORD or not 0 < weight.shape[2] <= 16
                or not 0 < weight.shape[0] <= MAX_CHANNELS or (weight.shape[0] % CASCADE_WORD and not last)):
            raise ValueError(f"layers: layer {index} has a weight of shape {weight.shape}, "
                             f"expected (out, {words}, k, k, {CASCADE_WORD})")
        channels = weight.shape[0]
        bias = exactly(bias, f"layers: bias of layer {index}", np.int32)
        factor = exactly(factor, f"layers: factor of layer {index}", np.float32)
        if bias.shape != (channels,) or factor.shape != (channels,) or not np.isfinite(factor).all():
            raise ValueError(f"layers: layer {index} has bias {bias.shape} and factor {factor.shape}, "
                             f"expected ({channels},), finite")
        largest = np.abs(weight.astype(np.int64)).sum(axis=(1, 2, 3, 4)) * 255 + np.abs(bias.astype(np.int64))
        if largest.max() > 2**31 - 1:
            raise ValueError(f"layers: sums of layer {index} can be {largest.max()}, too large for 32 bits")
        packed = np.empty(weight.size, np.int8)
        cdef const int8_t[:, :, :, :, ::1] weight_view = weight
        cdef int8_t[::1] packed_view = packed
        cdef const int32_t[::1] bias_view = bias
        cdef const float[::1] factor_view = factor
        cascade_pack_weights(&weight_view[0, 0, 0, 0, 0], weight_view.shape[0], weight_view.shape[1],
                             weight_view.shape[2], &packed_view[0])
        cdef cascade_layer *layer = &self.layers[self.layer_count]
        layer.kind = CASCADE_BYTES
        layer.in_channels = words
        layer.filters = channels
        layer.out_channels = channels if last else channels // CASCADE_WORD
        layer.kernel = weight.shape[2]
        layer.stride = stride
        layer.last = last
        layer.weights = <const float *>&packed_view[0]
        layer.few_weights = layer.bias = layer.slope = NULL
        layer.byte_bias = &bias_view[0]
        layer.factor = &factor_view[0]
        self.buffers += [packed, bias, factor]
        self.outputs = layer.out_channels
        self.layer_count += 1

    cdef pack_for_few(self, weights):
        cdef const uint8_t[::1] view
        cdef uint8_t[::1] packed
        cdef cascade_layer *layer
        for index, weight in enumerate(weights):
            layer = &self.layers[index]
            values = numbers(weight, f"layers: weight of layer {index}", np.int8 if self.bytes else np.float32)
            view = values.reshape(-1).view(np.uint8)
            packed = np.empty(len(view), np.uint8)
            cascade_pack_few(&view[0], layer.filters if self.bytes else layer.out_channels, layer.in_channels,
                             layer.kernel, self.kernels.lanes, &packed[0])
            layer.few_weights = <const float *>&packed[0]
            self.buffers.append(np.asarray(packed))

    def forward(self, crops, ThreadPool pool=None):
        """Outputs (n, outputs) of crops (n, input_size, input_size, 3) uint8."""
        side = self.input_size
        if (not isinstance(crops, np.ndarray) or crops.dtype != np.uint8 or crops.ndim != 4
                or crops.shape[1:] != (side, side, 3)):
            raise ValueError(f"crops: expected uint8 (n, {side}, {side}, 3), got {describe(crops)}")
        out = np.empty((len(crops), self.outputs), np.float32)
        if len(crops) == 0:
            return out
        cdef size_t floats = cascade_crops_workspace(self.layers, self.layer_count, self.input_size,
                                                     self.kernels.lanes)
        if floats == 0:
            raise ValueError("layers: sizes overflow")
        cdef const uint8_t[:, :, :, ::1] pixels = np.ascontiguousarray(crops)
        cdef float[:, ::1] target = out
        cdef forwarding work
        work.kernels, work.layers, work.layer_count = self.kernels, self.layers, self.layer_count
        work.crops, work.count, work.size = &pixels[0, 0, 0, 0], pixels.shape[0], self.input_size
        work.outputs, work.out = self.outputs, &target[0, 0]
        cdef size_t pieces = (work.count + PIECE_CROPS - 1) // PIECE_CROPS
        pool = pool or ThreadPool()
        pool.do(forward_piece, &work, pieces, floats * sizeof(float))
        return out

    def classify_crops(self, Crops crops not None, ThreadPool pool=None, first=0, count=None):
        """Outputs (count, outputs) of crops ``first`` and on, each cut just before it is judged."""
        if crops.size != self.input_size:
            raise ValueError(f"crops: expected a size of {self.input_size}, got {crops.size}")
        cdef size_t begin = whole("first", first, 0, len(crops))
        cdef size_t n = len(crops) - begin
        if count is not None:
            n = min(n, whole("count", count, 0, MAX_SIDE * 64))
        out = np.empty((n, self.outputs), np.float32)
        if n == 0:
            return out
        crops.check(begin, n)
        pool = pool or ThreadPool()
        cdef float[:, ::1] target = out
        cdef cascade_judging work
        work.kernels, work.layers, work.layer_count = self.kernels, self.layers, self.layer_count
        work.outputs, work.places, work.first, work.count = self.outputs, &crops.places, begin, n
        work.piece, work.out = PIECE_CROPS, &target[0, 0]
        # as many for each thread, and then an equal share of what is left over
        cdef size_t turns = n // (PIECE_CROPS * pool.threads)
        work.pieces = turns * pool.threads
        work.last = max(<size_t>1, (n - work.pieces * PIECE_CROPS + pool.threads - 1) // pool.threads)
        cdef size_t size = cascade_judging_workspace(&work)
        if size == 0:
            raise ValueError("layers: sizes overflow")
        pool.do(cascade_judging_work, &work, cascade_judging_items(&work), size)
        return out

    def grid(self, width, height, padding):
        """(rows, columns, stride, field) of the windows over an image with ``padding`` grey pixels around it."""
        cdef cascade_grid grid
        self.plan(&grid, width, height, padding)
        return grid.rows, grid.columns, grid.stride, grid.field

    cdef int plan(self, cascade_grid *grid, width, height, padding) except -1:
        width, height = whole("width", width, 1, MAX_SIDE), whole("height", height, 1, MAX_SIDE)
        padding = whole("padding", padding, 0, 1024)
        if not cascade_grid_plan(grid, self.layers, self.layer_count, padding, width, height):
            raise ValueError("layers: this network cannot be slid over an image")
        if grid.field != self.input_size:
            raise ValueError(f"layers: the receptive field is {grid.field} pixels, expected {self.input_size}")
        return 0

    def dense_scan(self, image, padding, threshold, ThreadPool pool=None, first=0, rows=None, top=0, height=None):
        """Windows of an image whose face logit minus background logit is at least ``threshold``.

        Returns float32 (n, 1 + outputs - 2 + 2): column, row, logit difference, then the outputs after the first two.
        ``first`` and ``rows`` limit it to some rows of the grid.
        """
        cdef Search search = Search(self, [(image, first, rows, top, height)], padding, threshold, None, None, "image")
        return search.run(pool or ThreadPool())[0]

    def dense_scan_levels(self, images, padding, threshold, ThreadPool pool=None, source=None, ready=None):
        """The same over several images, of which those from ``ready`` on are made first, each of the one before."""
        cdef Search search = Search(self, images, padding, threshold, source, ready, "images")
        return search.run(pool or ThreadPool())


# Some crops as a list of work.
cdef struct forwarding:
    const cascade_kernels *kernels
    const cascade_layer *layers
    size_t layer_count
    const uint8_t *crops
    size_t count
    size_t size
    size_t outputs
    float *out


cdef void forward_piece(void *context, size_t item, void *workspace) noexcept nogil:
    cdef forwarding *work = <forwarding *>context
    cdef size_t first = item * PIECE_CROPS
    cascade_crops_run(work.kernels, work.layers, work.layer_count, work.crops + first * work.size * work.size * 3,
                      min(<size_t>PIECE_CROPS, work.count - first), work.size, work.out + first * work.outputs, <float *>workspace)


cdef exactly(values, name, dtype):
    """An array of that dtype, side by side in memory: whole numbers must not be cut off or wrapped around."""
    if not isinstance(values, np.ndarray) or values.dtype != dtype:
        raise ValueError(f"{name}: expected an array of {np.dtype(dtype)}, got {describe(values)}")
    return np.ascontiguousarray(values)
