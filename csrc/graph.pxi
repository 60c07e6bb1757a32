# The recognition networks of _native.pyx: a graph of nodes, its weights packed for one SIMD level.

cdef enum:
    MAX_NODES = 250
    MAX_OUTPUTS = 16
    MAX_KERNEL = 16
    # a pyramid pool multiplies the channels of its input
    MAX_POOLED = 1 << 17
    MAX_UPSAMPLED = 1024  # side

cdef dict KINDS = {
    "conv": CASCADE_NODE_CONV,
    "depthwise": CASCADE_NODE_DEPTHWISE,
    "pyramid_pool": CASCADE_NODE_PYRAMID_POOL,
    "spatial_gate": CASCADE_NODE_SPATIAL_GATE,
    "gate": CASCADE_NODE_GATE,
    "upsample": CASCADE_NODE_UPSAMPLE,
}
cdef tuple ACTIVATIONS = ("none", "relu", "prelu", "sigmoid")


cdef one_of(name, value, choices):
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")
    return value


cdef aligned(array):
    """A copy on a boundary of 64 bytes, so that no vector of weights crosses a cache line."""
    memory = np.empty(array.size + 16, np.float32)
    start = -memory.ctypes.data % 64 // 4
    found = memory[start:start + array.size]
    found[:] = array.ravel()
    return found


cdef padded(array, size_t channels):
    """The array with zeros appended along its first axis, up to ``channels``."""
    found = np.zeros((channels, *array.shape[1:]), np.float32)
    found[:len(array)] = array
    return found


cdef class Graph:
    """A network of convolutions, residual sums and attention gates, its weights packed for one SIMD level."""
    cdef cascade_graph graph
    cdef cascade_node *nodes
    cdef cascade_feature_map *maps
    cdef size_t output_maps[MAX_OUTPUTS]
    cdef const cascade_kernels *kernels
    cdef list buffers
    cdef list shapes  # (side, channels) of every feature map: the crop's, then the nodes'
    cdef readonly size_t input_size

    # __cinit__, so that there is no graph without its nodes, and none is changed while it runs
    def __cinit__(self, nodes, input_size, outputs, level=None):
        if not isinstance(nodes, (list, tuple)) or not 0 < len(nodes) <= MAX_NODES:
            raise ValueError(f"nodes: expected a list of 1 to {MAX_NODES} nodes, got {describe(nodes)}")
        self.kernels = kernels_of(level or default_simd_level())
        self.input_size = integer("input_size", input_size, 1, 1024)
        self.buffers = []
        self.shapes = [(self.input_size, 3)]
        self.nodes = <cascade_node *>calloc(len(nodes), sizeof(cascade_node))
        self.maps = <cascade_feature_map *>calloc(len(nodes) + 1, sizeof(cascade_feature_map))
        if self.nodes == NULL or self.maps == NULL:
            raise MemoryError("no memory for the nodes")
        for index, node in enumerate(nodes):
            try:
                self.add_node(index, node)
            except (KeyError, TypeError, AttributeError) as error:
                raise ValueError(f"nodes: node {index} cannot be read ({error!r})") from error
        self.choose_outputs(outputs)
        self.graph.size = self.input_size
        self.graph.node_count = len(nodes)
        self.graph.nodes = self.nodes
        self.graph.maps = self.maps
        self.graph.outputs = self.output_maps
        if not cascade_graph_plan(&self.graph):
            raise ValueError("nodes: sizes overflow")

    def __dealloc__(self):
        free(self.nodes)
        free(self.maps)

    @property
    def level(self):
        return self.kernels.name.decode()

    @property
    def outputs(self):
        """Features of each output."""
        return tuple(side * side * channels for side, channels in
                     [self.shapes[self.output_maps[i]] for i in range(self.graph.output_count)])

    cdef choose_outputs(self, outputs):
        if not isinstance(outputs, (list, tuple)) or not 0 < len(outputs) <= MAX_OUTPUTS:
            raise ValueError(f"outputs: expected a list of 1 to {MAX_OUTPUTS} nodes, got {describe(outputs)}")
        last = len(self.shapes) - 2
        for i, output in enumerate(outputs):
            self.output_maps[i] = 1 + integer(f"outputs: output {i}", output, 0, last)
        self.graph.output_count = len(outputs)

    cdef size_t earlier(self, index, node, name) except? 0:
        """Number of the feature map that ``node[name]`` refers to."""
        return 1 + integer(f"nodes: {name} of node {index}", node[name], -1, index - 1)

    cdef add_node(self, index, node):
        cdef cascade_node *entry = &self.nodes[index]
        cdef bint convolves
        entry.kind = KINDS[one_of(f"nodes: kind of node {index}", node["kind"], KINDS)]
        entry.input = self.earlier(index, node, "input")
        entry.add = entry.channel_gate = entry.spatial_gate = CASCADE_NO_MAP
        entry.kernel = entry.stride = 1
        side, channels = self.shapes[entry.input]
        convolves = entry.kind == CASCADE_NODE_CONV or entry.kind == CASCADE_NODE_DEPTHWISE
        if convolves:
            entry.stride = integer(f"nodes: stride of node {index}", node.get("stride", 1), 1, MAX_KERNEL)
            entry.padding = integer(f"nodes: padding of node {index}", node.get("padding", 0), 0, MAX_KERNEL - 1)
        if convolves or entry.kind == CASCADE_NODE_SPATIAL_GATE:
            entry.channels = self.add_weights(index, node, entry, channels)
            side = self.convolved(index, entry, side)
            channels = entry.channels
        elif entry.kind == CASCADE_NODE_PYRAMID_POOL:
            channels *= 2 * self.add_bins(index, node["bins"], entry)
            side = 1
            if channels > MAX_POOLED:
                raise ValueError(f"nodes: node {index} makes {channels} channels, expected at most {MAX_POOLED}")
        elif entry.kind == CASCADE_NODE_UPSAMPLE:
            entry.stride = integer(f"nodes: stride of node {index}", node.get("stride", 1), 1, MAX_KERNEL)
            side *= entry.stride
            if side > MAX_UPSAMPLED:
                raise ValueError(f"nodes: node {index} has a side of {side}, expected at most {MAX_UPSAMPLED}")
        else:
            self.add_gates(index, node, entry)
        self.shapes.append((side, channels))
        if (convolves or entry.kind == CASCADE_NODE_UPSAMPLE) and node.get("add") is not None:
            entry.add = self.earlier(index, node, "add")
            if self.shapes[entry.add] != (side, channels):
                raise ValueError(f"nodes: node {index} adds a map of {self.shapes[entry.add]} (side, channels), "
                                 f"expected {(side, channels)}")

    cdef convolved(self, index, cascade_node *entry, side):
        """The output side of a convolution."""
        if entry.kind == CASCADE_NODE_SPATIAL_GATE:
            entry.padding = entry.kernel // 2
            return side
        span = <size_t>side + 2 * entry.padding
        if entry.padding >= entry.kernel or span < entry.kernel:
            raise ValueError(f"nodes: node {index} does not fit its input: a kernel of {entry.kernel} with padding "
                             f"{entry.padding} over a side of {side}")
        return (span - entry.kernel) // entry.stride + 1

    cdef add_weights(self, index, node, cascade_node *entry, channels):
        """Packs weight, bias and slope. Returns the output channels."""
        weight = numbers(node["weight"], f"nodes: weight of node {index}", np.float32)
        inputs = 2 if entry.kind == CASCADE_NODE_SPATIAL_GATE else channels
        expected = f"(out, {inputs}, k, k)" if entry.kind == CASCADE_NODE_CONV else f"({inputs}, k, k)"
        first = 1 if entry.kind == CASCADE_NODE_CONV else 0  # axis of the input channels
        if (weight.ndim != first + 3 or weight.shape[first] != inputs
                or weight.shape[first + 1] != weight.shape[first + 2] or not 0 < weight.shape[first + 1] <= MAX_KERNEL
                or not 0 < weight.shape[0] <= (MAX_CHANNELS if first else MAX_POOLED)):
            raise ValueError(f"nodes: node {index} has a weight of shape {weight.shape}, "
                             f"expected {expected} with k of 1 to {MAX_KERNEL}")
        entry.kernel = weight.shape[first + 1]
        if entry.kind == CASCADE_NODE_SPATIAL_GATE and entry.kernel % 2 == 0:
            raise ValueError(f"nodes: node {index} is a spatial gate with a kernel of {entry.kernel}, expected an odd one")
        outputs = 1 if entry.kind == CASCADE_NODE_SPATIAL_GATE else weight.shape[0]
        self.add_activation(index, node, entry, outputs)
        if entry.kind == CASCADE_NODE_DEPTHWISE:
            packed = padded(weight, cascade_graph_pitch(outputs)).reshape(-1, entry.kernel * entry.kernel).T
        else:
            packed = self.pack(weight.reshape(outputs, inputs, entry.kernel, entry.kernel))
        entry.weights = self.keep(packed)
        return outputs

    cdef add_activation(self, index, node, cascade_node *entry, channels):
        activation = one_of(f"nodes: activation of node {index}", node.get("activation", "none"), ACTIVATIONS)
        bias = numbers(node["bias"], f"nodes: bias of node {index}", np.float32)
        if activation == "prelu":
            slope = numbers(node["slope"], f"nodes: slope of node {index}", np.float32)
        else:
            slope = np.full(channels, activation != "relu", np.float32)
        if bias.shape != (channels,) or slope.shape != (channels,):
            raise ValueError(f"nodes: node {index} has bias {bias.shape} and slope {slope.shape}, "
                             f"expected ({channels},)")
        entry.sigmoid = activation == "sigmoid"
        entry.bias = self.keep(padded(bias, cascade_graph_pitch(channels)))
        entry.slope = self.keep(padded(slope, cascade_graph_pitch(channels)))

    cdef pack(self, weight):
        """Weights (out, in, k, k) packed for the SIMD level."""
        cdef const float[:, :, :, ::1] view = padded(weight, cascade_graph_pitch(len(weight)))
        packed = np.empty(np.asarray(view).size, np.float32)
        cdef float[::1] target = packed
        cascade_pack_small_batch(&view[0, 0, 0, 0], view.shape[0], view.shape[1], view.shape[2], self.kernels.lanes, &target[0])
        return packed

    cdef const float *keep(self, array) except NULL:
        """Address of a copy that lives as long as the graph."""
        cdef const float[::1] view = aligned(array)
        self.buffers.append(view)
        return &view[0]

    cdef add_bins(self, index, bins, cascade_node *entry):
        """Returns the number of windows of all bins."""
        if not isinstance(bins, (list, tuple)) or not 0 < len(bins) <= CASCADE_MAX_BINS:
            raise ValueError(f"nodes: bins of node {index}: expected 1 to {CASCADE_MAX_BINS} numbers, got {bins!r}")
        entry.bin_count = len(bins)
        for i, each in enumerate(bins):
            entry.bins[i] = integer(f"nodes: bins of node {index}", each, 1, MAX_KERNEL)
        return sum(each * each for each in bins)

    cdef add_gates(self, index, node, cascade_node *entry):
        side, channels = self.shapes[entry.input]
        entry.rest = bool(node.get("rest", False))
        entry.channel_gate = self.earlier(index, node, "channel_gate")
        entry.spatial_gate = self.earlier(index, node, "spatial_gate")
        for name, number, expected in (("channel_gate", entry.channel_gate, (1, channels)),
                                       ("spatial_gate", entry.spatial_gate, (side, 1))):
            if self.shapes[number] != expected:
                raise ValueError(f"nodes: {name} of node {index} is a map of {self.shapes[number]} (side, channels), "
                                 f"expected {expected}")

    def run(self, crops, ThreadPool pool=None):
        """Each output as (n, features) of crops (n, input_size, input_size, 3) uint8."""
        side = self.input_size
        if (not isinstance(crops, np.ndarray) or crops.dtype != np.uint8 or crops.ndim != 4
                or crops.shape[1:] != (side, side, 3)):
            raise ValueError(f"crops: expected uint8 (n, {side}, {side}, 3), got {describe(crops)}")
        cdef const uint8_t[:, :, :, ::1] pixels = np.ascontiguousarray(crops)
        check_crops(pixels, side)
        found = [np.empty((pixels.shape[0], features), np.float32) for features in self.outputs]
        if pixels.shape[0] == 0:
            return found
        cdef float *targets[MAX_OUTPUTS]
        cdef float[:, ::1] target
        for i, array in enumerate(found):
            target = array
            targets[i] = &target[0, 0]
        cdef cascade_graph_job job
        job.kernels, job.graph, job.crops, job.out = self.kernels, &self.graph, &pixels[0, 0, 0, 0], targets
        pool = pool or ThreadPool()
        pool.parallel_for(cascade_graph_forward, &job, pixels.shape[0], self.graph.workspace)
        return found
