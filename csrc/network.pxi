# The networks of a detector in _native.pyx: layers, and running them over crops and images.

cdef enum:
    # crops that a thread takes at a time
    CHUNK_CROPS = 16


cdef class Network:
    """A network ready to run: its layers, and its weights packed for one SIMD level."""
    cdef cascade_layer layers[MAX_LAYERS]
    cdef size_t layer_count
    cdef const cascade_kernels *kernels
    cdef list buffers
    cdef list weights  # as they came, until all are packed
    cdef readonly size_t input_size
    cdef readonly size_t outputs
    cdef int dtype

    # __cinit__, so that there is no network without its layers, and none is changed while it runs
    def __cinit__(self, layers, input_size, level=None):
        if not isinstance(layers, (list, tuple)) or not 0 < len(layers) <= MAX_LAYERS:
            raise ValueError(f"layers: expected a list of 1 to {MAX_LAYERS} layers, got {describe(layers)}")
        self.kernels = kernels_of(level or default_simd_level())
        self.buffers = []
        self.weights = []
        self.layer_count = 0
        self.input_size = integer("input_size", input_size, 1, 1024)
        self.outputs = CASCADE_CHANNELS
        cdef size_t side = self.input_size
        self.dtype = dtype_of(layers)
        for index, layer in enumerate(layers):
            try:
                self.add_layer(index, layer, index == len(layers) - 1)
            except (KeyError, TypeError) as error:
                raise ValueError(f"layers: layer {index} cannot be read ({error!r})") from error
            side = cascade_layer_output(&self.layers[self.layer_count - 1], side)
            if side == 0:
                raise ValueError(f"layers: layer {index} does not fit its input")
        if cascade_small_batch_usable(self.layers, self.layer_count, self.kernels.lanes):
            self.pack_small_batch()
        self.weights = None
        if side != 1:
            raise ValueError(f"layers: a crop of {input_size} pixels ends on {side} * {side} positions, expected 1")

    @property
    def level(self):
        return self.kernels.name.decode()

    cdef add_layer(self, index, layer, last):
        stride = integer(f"layers: stride of layer {index}", layer["stride"], 1, 16)
        if layer["kind"] == "conv" and self.dtype == CASCADE_INT8:
            self.add_conv_int8(index, layer["weight"], layer["bias"], layer["factor"], stride, last)
        elif layer["kind"] == "conv":
            self.add_conv_f32(index, layer["weight"], layer["bias"], layer["slope"], stride)
        elif layer["kind"] == "pool" and self.dtype == CASCADE_F32:
            self.add_pool(integer(f"layers: kernel of layer {index}", layer["kernel"], 1, 16), stride)
        else:
            raise ValueError(f"layers: layer {index} is {layer['kind']!r}, expected 'conv' or 'pool', "
                             "in int8 networks 'conv'")

    cdef cascade_layer *next_layer(self, int op, size_t kernel, size_t stride) noexcept:
        """The entry of the next layer, filled but for its channels and weights."""
        cdef cascade_layer *layer = &self.layers[self.layer_count]
        layer.op, layer.dtype, layer.kernel, layer.stride = op, self.dtype, kernel, stride
        self.layer_count += 1
        return layer

    cdef add_pool(self, size_t kernel, size_t stride):
        cdef cascade_layer *layer = self.next_layer(CASCADE_MAX_POOL, kernel, stride)
        layer.in_elements = layer.out_elements = layer.channels = self.outputs

    cdef add_conv_f32(self, index, weight, bias, slope, size_t stride):
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
        cdef cascade_layer *layer = self.next_layer(CASCADE_CONV, weight.shape[2], stride)
        layer.in_elements = self.outputs
        layer.out_elements = layer.channels = self.outputs = channels
        layer.f32.weights, layer.f32.bias, layer.f32.slope = &packed_view[0], &bias_view[0], &slope_view[0]
        self.buffers += [packed, bias, slope]
        self.weights.append(weight)

    cdef add_conv_int8(self, index, weight, bias, factor, size_t stride, last):
        """Adds a convolution of int8x4. All but the last pack their outputs, so these are a multiple of four channels."""
        elements = 1 if index == 0 else self.outputs
        weight = exactly(weight, f"layers: weight of layer {index}", np.int8)
        if (weight.ndim != 5 or weight.shape[1] != elements or weight.shape[2] != weight.shape[3]
                or weight.shape[4] != CASCADE_PACKED or not 0 < weight.shape[2] <= 16
                or not 0 < weight.shape[0] <= MAX_CHANNELS or (weight.shape[0] % CASCADE_PACKED and not last)):
            raise ValueError(f"layers: layer {index} has a weight of shape {weight.shape}, "
                             f"expected (out, {elements}, k, k, {CASCADE_PACKED})")
        channels = weight.shape[0]
        bias = exactly(bias, f"layers: bias of layer {index}", np.int32)
        factor = exactly(factor, f"layers: factor of layer {index}", np.float32)
        if bias.shape != (channels,) or factor.shape != (channels,) or not np.isfinite(factor).all():
            raise ValueError(f"layers: layer {index} has bias {bias.shape} and factor {factor.shape}, "
                             f"expected ({channels},), finite")
        largest = np.abs(weight.astype(np.int64)).sum(axis=(1, 2, 3, 4)) * 255 + np.abs(bias.astype(np.int64))
        if largest.max() > 2**31 - 1:
            raise ValueError(f"layers: sums of layer {index} can be {largest.max()}, too large for 32 bits")
        cdef const int8_t[:, :, :, :, ::1] weight_view = weight
        if not cascade_int8_groups_fit(&weight_view[0, 0, 0, 0, 0], weight_view.shape[0], weight_view.shape[1],
                                       weight_view.shape[2]):
            raise ValueError(f"layers: weights of layer {index} can leave 16 bits: those of one sign, of channels 0 and 1 or "
                             f"2 and 3 of {CASCADE_INT8_GROUP} taps, sum to more than {CASCADE_INT8_GROUP_SUM}")
        packed, signed_bias = np.empty(weight.size, np.int8), np.empty(channels, np.int32)
        cdef int8_t[::1] packed_view = packed
        cdef int32_t[::1] signed_view = signed_bias
        cdef const int32_t[::1] bias_view = bias
        cdef const float[::1] factor_view = factor
        cascade_pack_weights(&weight_view[0, 0, 0, 0, 0], weight_view.shape[0], weight_view.shape[1],
                             weight_view.shape[2], &packed_view[0])
        cascade_signed_bias(&weight_view[0, 0, 0, 0, 0], weight_view.shape[0], weight.size // channels, &bias_view[0],
                            &signed_view[0])
        cdef cascade_layer *layer = self.next_layer(CASCADE_CONV, weight.shape[2], stride)
        layer.in_elements, layer.channels = elements, channels
        layer.out_elements = self.outputs = channels if last else channels // CASCADE_PACKED
        layer.int8.weights, layer.int8.bias, layer.int8.factor = &packed_view[0], &bias_view[0], &factor_view[0]
        layer.int8.signed_bias, layer.int8.dequantize = &signed_view[0], last
        self.buffers += [packed, bias, signed_bias, factor]
        self.weights.append(weight)

    cdef pack_small_batch(self):
        """Packs all weights once more, with lanes of channels."""
        cdef const uint8_t[::1] view
        cdef uint8_t[::1] packed
        cdef cascade_layer *layer
        for index, weight in enumerate(self.weights):
            layer = &self.layers[index]
            view = weight.reshape(-1).view(np.uint8)
            packed = np.empty(len(view), np.uint8)
            cascade_pack_small_batch(&view[0], layer.channels, layer.in_elements, layer.kernel, self.kernels.lanes,
                                     &packed[0])
            if self.dtype == CASCADE_INT8:
                layer.int8.small_batch_weights = <const int8_t *>&packed[0]
            else:
                layer.f32.small_batch_weights = <const float *>&packed[0]
            self.buffers.append(np.asarray(packed))

    def forward(self, crops, ThreadPool pool=None):
        """Outputs (n, outputs) of crops (n, input_size, input_size, 3) uint8."""
        side = self.input_size
        if (not isinstance(crops, np.ndarray) or crops.dtype != np.uint8 or crops.ndim != 4
                or crops.shape[1:] != (side, side, 3)):
            raise ValueError(f"crops: expected uint8 (n, {side}, {side}, 3), got {describe(crops)}")
        cdef const uint8_t[:, :, :, ::1] pixels = np.ascontiguousarray(crops)
        check_crops(pixels, side)
        out = np.empty((pixels.shape[0], self.outputs), np.float32)
        if pixels.shape[0] == 0:
            return out
        cdef size_t size = cascade_batch_workspace(self.layers, self.layer_count, self.input_size, self.kernels.lanes)
        if size == 0:
            raise ValueError("layers: sizes overflow")
        cdef float[:, ::1] target = out
        cdef forward_job job
        job.kernels, job.layers, job.layer_count = self.kernels, self.layers, self.layer_count
        job.crops, job.count, job.size = &pixels[0, 0, 0, 0], pixels.shape[0], self.input_size
        job.outputs, job.out = self.outputs, &target[0, 0]
        cdef size_t chunks = (job.count + CHUNK_CROPS - 1) // CHUNK_CROPS
        pool = pool or ThreadPool()
        pool.parallel_for(forward_chunk, &job, chunks, size)
        return out

    def classify_crops(self, Crops crops not None, ThreadPool pool=None, first=0, count=None):
        """Outputs (count, outputs) of crops ``first`` and on, each cut just before it is classified."""
        if crops.size != self.input_size:
            raise ValueError(f"crops: expected a size of {self.input_size}, got {crops.size}")
        cdef size_t begin = integer("first", first, 0, len(crops))
        cdef size_t n = len(crops) - begin
        if count is not None:
            n = min(n, integer("count", count, 0, MAX_SIDE * 64))
        out = np.empty((n, self.outputs), np.float32)
        if n == 0:
            return out
        crops.check(begin, n)
        pool = pool or ThreadPool()
        cdef float[:, ::1] target = out
        cdef cascade_classification job
        job.kernels, job.layers, job.layer_count = self.kernels, self.layers, self.layer_count
        job.outputs, job.set, job.first, job.count = self.outputs, &crops.set, begin, n
        job.chunk, job.out = CHUNK_CROPS, &target[0, 0]
        # the same number of chunks for each thread, then an equal share of the crops left over
        job.chunks = n // (CHUNK_CROPS * pool.threads) * pool.threads
        job.last_chunk = max(<size_t>1, (n - job.chunks * CHUNK_CROPS + pool.threads - 1) // pool.threads)
        cdef size_t size = cascade_classification_workspace(&job)
        if size == 0:
            raise ValueError("layers: sizes overflow")
        pool.parallel_for(cascade_classify_chunk, &job, cascade_classification_items(&job), size)
        return out

    def grid(self, width, height, padding):
        """(rows, columns, stride, receptive field) of the windows over an image with ``padding`` grey pixels around it.

        The last windows may see less than a stride more of grey.
        """
        cdef cascade_feature_grid grid
        self.plan(&grid, width, height, padding)
        return grid.rows, grid.columns, grid.stride, grid.receptive_field

    cdef int plan(self, cascade_feature_grid *grid, width, height, padding) except -1:
        width, height = integer("width", width, 1, MAX_SIDE), integer("height", height, 1, MAX_SIDE)
        padding = integer("padding", padding, 0, 1024)
        if not cascade_feature_grid_plan(grid, self.layers, self.layer_count, padding, width, height):
            raise ValueError("layers: this network cannot run over an image")
        if grid.receptive_field != self.input_size:
            raise ValueError(f"layers: the receptive field is {grid.receptive_field} pixels, expected {self.input_size}")
        return 0

    def dense_scan(self, image, padding, threshold, ThreadPool pool=None, first=0, rows=None, top=0, height=None):
        """Windows of an image whose face logit minus background logit is at least ``threshold``.

        Returns float32 (n, 1 + outputs - 2 + 2): column, row, logit difference, then the outputs after the first two.
        ``first`` and ``rows`` limit it to some rows of the grid.
        """
        cdef DenseScan scan = DenseScan(self, [(image, first, rows, top, height)], padding, threshold, None, None, "image")
        return scan.run(pool or ThreadPool())[0]

    def dense_scan_levels(self, images, padding, threshold, ThreadPool pool=None, source=None, ready=None):
        """The same over several images, of which those from ``ready`` on are resampled first, each from the one before.

        ``threshold`` is one number, or a list of one for each image.
        """
        cdef DenseScan scan = DenseScan(self, images, padding, threshold, source, ready, "images")
        return scan.run(pool or ThreadPool())


cdef struct forward_job:
    const cascade_kernels *kernels
    const cascade_layer *layers
    size_t layer_count
    const uint8_t *crops
    size_t count
    size_t size
    size_t outputs
    float *out


cdef void forward_chunk(void *context, size_t item, void *workspace) noexcept nogil:
    cdef forward_job *job = <forward_job *>context
    cdef size_t first = item * CHUNK_CROPS
    cascade_batch_forward(job.kernels, job.layers, job.layer_count, job.crops + first * job.size * job.size * 3,
                          min(<size_t>CHUNK_CROPS, job.count - first), job.size, job.out + first * job.outputs, workspace)


cdef exactly(values, name, dtype):
    """A contiguous copy of an array of exactly that dtype: a conversion could truncate integers or wrap them around."""
    if not isinstance(values, np.ndarray) or values.dtype != dtype:
        raise ValueError(f"{name}: expected an array of {np.dtype(dtype)}, got {describe(values)}")
    return np.array(values, order="C")


cdef int dtype_of(layers) except -1:
    """The dtype of a network, which all layers must share."""
    dtypes = [layer.get("dtype", "float32") if isinstance(layer, dict) else "float32" for layer in layers]
    if all(dtype == "int8" for dtype in dtypes):
        return CASCADE_INT8
    if not all(dtype == "float32" for dtype in dtypes):
        raise ValueError(f"layers: expected the dtype 'float32' or 'int8' of all of them, got {dtypes}")
    return CASCADE_F32
