# The recognition networks of _native.pyx: a graph of nodes, its weights packed for one instruction level.

cdef extern from "cascade.h" nogil:
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

    ctypedef struct cascade_map:
        size_t side
        size_t channels

    ctypedef struct cascade_graph:
        size_t size
        size_t node_count
        const cascade_node *nodes
        size_t output_count
        const size_t *outputs
        cascade_map *maps
        size_t workspace

    size_t cascade_graph_pitch(size_t channels)
    int cascade_graph_plan(cascade_graph *graph)

    ctypedef struct cascade_graph_crops:
        const cascade_kernels *kernels
        const cascade_graph *graph
        const uint8_t *crops
        float **out

    void cascade_graph_work(void *crops, size_t item, void *workspace)
    size_t CASCADE_NO_MAP
    enum:
        CASCADE_DENSE
        CASCADE_DEPTHWISE
        CASCADE_PYRAMID_POOL
        CASCADE_SPATIAL_GATE
        CASCADE_GATE
        CASCADE_BINS

cdef enum:
    MAX_NODES = 250
    MAX_OUTPUTS = 16
    MAX_KERNEL = 16
    # a pyramid pool multiplies the channels of its input
    MAX_POOLED = 1 << 17

cdef dict KINDS = {
    "conv": CASCADE_DENSE,
    "depthwise": CASCADE_DEPTHWISE,
    "pyramid_pool": CASCADE_PYRAMID_POOL,
    "spatial_gate": CASCADE_SPATIAL_GATE,
    "gate": CASCADE_GATE,
}
cdef tuple ACTIVATIONS = ("none", "relu", "prelu", "sigmoid")


cdef one_of(name, value, choices):
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")
    return value


cdef aligned(array):
    """The same floats on a boundary of 64 bytes, so that no vector of weights lies across two cache lines."""
    memory = np.empty(array.size + 16, np.float32)
    start = -memory.ctypes.data % 64 // 4
    found = memory[start:start + array.size]
    found[:] = array.ravel()
    return found


cdef filled(array, size_t channels):
    """Zeros after the array's end along its first axis, up to ``channels``."""
    found = np.zeros((channels, *array.shape[1:]), np.float32)
    found[:len(array)] = array
    return found


cdef class Graph:
    """A network of convolutions, residual sums and attention gates, its weights packed for one instruction level."""
    cdef cascade_graph graph
    cdef cascade_node *nodes
    cdef cascade_map *maps
    cdef size_t output_maps[MAX_OUTPUTS]
    cdef const cascade_kernels *kernels
    cdef list buffers
    cdef list shapes  # (side, channels) of every map: the crop's, then the nodes'
    cdef readonly size_t input_size

    # __cinit__, so that there is no graph without its nodes, and none is changed while it runs
    def __cinit__(self, nodes, input_size, outputs, level=None):
        if not isinstance(nodes, (list, tuple)) or not 0 < len(nodes) <= MAX_NODES:
            raise ValueError(f"nodes: expected a list of 1 to {MAX_NODES} nodes, got {describe(nodes)}")
        self.kernels = kernels_of(level or default_simd_level())
        self.input_size = whole("input_size", input_size, 1, 1024)
        self.buffers = []
        self.shapes = [(self.input_size, 3)]
        self.nodes = <cascade_node *>calloc(len(nodes), sizeof(cascade_node))
        self.maps = <cascade_map *>calloc(len(nodes) + 1, sizeof(cascade_map))
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
            self.output_maps[i] = 1 + whole(f"outputs: output {i}", output, 0, last)
        self.graph.output_count = len(outputs)

    cdef size_t earlier(self, index, node, name) except? 0:
        """Number of the map that ``node[name]`` names."""
        return 1 + whole(f"nodes: {name} of node {index}", node[name], -1, index - 1)

    cdef add_node(self, index, node):
        cdef cascade_node *made = &self.nodes[index]
        cdef bint convolves
        made.kind = KINDS[one_of(f"nodes: kind of node {index}", node["kind"], KINDS)]
        made.input = self.earlier(index, node, "input")
        made.add = made.channel_gate = made.spatial_gate = CASCADE_NO_MAP
        made.kernel = made.stride = 1
        side, channels = self.shapes[made.input]
        convolves = made.kind == CASCADE_DENSE or made.kind == CASCADE_DEPTHWISE
        if convolves:
            made.stride = whole(f"nodes: stride of node {index}", node.get("stride", 1), 1, MAX_KERNEL)
            made.padding = whole(f"nodes: padding of node {index}", node.get("padding", 0), 0, MAX_KERNEL - 1)
        if convolves or made.kind == CASCADE_SPATIAL_GATE:
            made.channels = self.add_weights(index, node, made, channels)
            side = self.convolved(index, made, side)
            channels = made.channels
        elif made.kind == CASCADE_PYRAMID_POOL:
            channels *= 2 * self.add_bins(index, node["bins"], made)
            side = 1
            if channels > MAX_POOLED:
                raise ValueError(f"nodes: node {index} makes {channels} channels, expected at most {MAX_POOLED}")
        else:
            self.add_gates(index, node, made)
        self.shapes.append((side, channels))
        if convolves and node.get("add") is not None:
            made.add = self.earlier(index, node, "add")
            if self.shapes[made.add] != (side, channels):
                raise ValueError(f"nodes: node {index} adds a map of {self.shapes[made.add]} (side, channels), "
                                 f"expected {(side, channels)}")

    cdef convolved(self, index, cascade_node *made, side):
        """Side of the map that a convolution makes."""
        if made.kind == CASCADE_SPATIAL_GATE:
            made.padding = made.kernel // 2
            return side
        span = <size_t>side + 2 * made.padding
        if made.padding >= made.kernel or span < made.kernel:
            raise ValueError(f"nodes: node {index} does not fit its input: a kernel of {made.kernel} with padding "
                             f"{made.padding} over a side of {side}")
        return (span - made.kernel) // made.stride + 1

    cdef add_weights(self, index, node, cascade_node *made, channels):
        """Packs weight, bias and slope; returns the channels that come out."""
        weight = numbers(node["weight"], f"nodes: weight of node {index}", np.float32)
        before = 2 if made.kind == CASCADE_SPATIAL_GATE else channels
        expected = f"(out, {before}, k, k)" if made.kind == CASCADE_DENSE else f"({before}, k, k)"
        first = 1 if made.kind == CASCADE_DENSE else 0  # axis of the channels of the input
        if (weight.ndim != first + 3 or weight.shape[first] != before
                or weight.shape[first + 1] != weight.shape[first + 2] or not 0 < weight.shape[first + 1] <= MAX_KERNEL
                or not 0 < weight.shape[0] <= (MAX_CHANNELS if first else MAX_POOLED)):
            raise ValueError(f"nodes: node {index} has a weight of shape {weight.shape}, "
                             f"expected {expected} with k of 1 to {MAX_KERNEL}")
        made.kernel = weight.shape[first + 1]
        if made.kind == CASCADE_SPATIAL_GATE and made.kernel % 2 == 0:
            raise ValueError(f"nodes: node {index} is a spatial gate with a kernel of {made.kernel}, expected an odd one")
        outputs = 1 if made.kind == CASCADE_SPATIAL_GATE else weight.shape[0]
        self.add_activation(index, node, made, outputs)
        if made.kind == CASCADE_DEPTHWISE:
            packed = filled(weight, cascade_graph_pitch(outputs)).reshape(-1, made.kernel * made.kernel).T
        else:
            packed = self.pack(weight.reshape(outputs, before, made.kernel, made.kernel))
        made.weights = self.keep(packed)
        return outputs

    cdef add_activation(self, index, node, cascade_node *made, channels):
        activation = one_of(f"nodes: activation of node {index}", node.get("activation", "none"), ACTIVATIONS)
        bias = numbers(node["bias"], f"nodes: bias of node {index}", np.float32)
        if activation == "prelu":
            slope = numbers(node["slope"], f"nodes: slope of node {index}", np.float32)
        else:
            slope = np.full(channels, activation != "relu", np.float32)
        if bias.shape != (channels,) or slope.shape != (channels,):
            raise ValueError(f"nodes: node {index} has bias {bias.shape} and slope {slope.shape}, "
                             f"expected ({channels},)")
        made.sigmoid = activation == "sigmoid"
        made.bias = self.keep(filled(bias, cascade_graph_pitch(channels)))
        made.slope = self.keep(filled(slope, cascade_graph_pitch(channels)))

    cdef pack(self, weight):
        """Weights (out, in, k, k) in the order of the level."""
        cdef const float[:, :, :, ::1] view = filled(weight, cascade_graph_pitch(len(weight)))
        packed = np.empty(np.asarray(view).size, np.float32)
        cdef float[::1] target = packed
        cascade_pack_few(&view[0, 0, 0, 0], view.shape[0], view.shape[1], view.shape[2], self.kernels.lanes, &target[0])
        return packed

    cdef const float *keep(self, array) except NULL:
        """Address of a copy that lives as long as the graph."""
        cdef const float[::1] view = aligned(array)
        self.buffers.append(view)
        return &view[0]

    cdef add_bins(self, index, bins, cascade_node *made):
        """Returns the windows of all bins."""
        if not isinstance(bins, (list, tuple)) or not 0 < len(bins) <= CASCADE_BINS:
            raise ValueError(f"nodes: bins of node {index}: expected 1 to {CASCADE_BINS} numbers, got {bins!r}")
        made.bin_count = len(bins)
        for i, each in enumerate(bins):
            made.bins[i] = whole(f"nodes: bins of node {index}", each, 1, MAX_KERNEL)
        return sum(each * each for each in bins)

    cdef add_gates(self, index, node, cascade_node *made):
        side, channels = self.shapes[made.input]
        made.rest = bool(node.get("rest", False))
        made.channel_gate = self.earlier(index, node, "channel_gate")
        made.spatial_gate = self.earlier(index, node, "spatial_gate")
        for name, number, expected in (("channel_gate", made.channel_gate, (1, channels)),
                                       ("spatial_gate", made.spatial_gate, (side, 1))):
            if self.shapes[number] != expected:
                raise ValueError(f"nodes: {name} of node {index} is a map of {self.shapes[number]} (side, channels), "
                                 f"expected {expected}")

    def run(self, crops, ThreadPool pool=None):
        """Each output as (n, features) of crops (n, input_size, input_size, 3) uint8."""
        side = self.input_size
        if (not isinstance(crops, np.ndarray) or crops.dtype != np.uint8 or crops.ndim != 4
                or crops.shape[1:] != (side, side, 3)):
            raise ValueError(f"crops: expected uint8 (n, {side}, {side}, 3), got {describe(crops)}")
        found = [np.empty((len(crops), features), np.float32) for features in self.outputs]
        if len(crops) == 0:
            return found
        cdef const uint8_t[:, :, :, ::1] pixels = np.ascontiguousarray(crops)
        cdef float *targets[MAX_OUTPUTS]
        cdef float[:, ::1] target
        for i, array in enumerate(found):
            target = array
            targets[i] = &target[0, 0]
        cdef cascade_graph_crops work
        work.kernels, work.graph, work.crops, work.out = self.kernels, &self.graph, &pixels[0, 0, 0, 0], targets
        pool = pool or ThreadPool()
        pool.do(cascade_graph_work, &work, len(crops), self.graph.workspace * sizeof(float))
        return found
