# The boxes of _native.pyx: the windows of a feature grid, candidates for the next network, and suppression.


def window_boxes(found, scales, stride, margin, window):
    """Boxes in pixels of the photo for windows of levels, given by column and row of the grid, level after level."""
    scales = check_scales(scales)
    if not isinstance(found, (list, tuple)):
        raise ValueError(f"found: expected a list of arrays, got {describe(found)}")
    found = [numbers(level, "found", np.float32) for level in found]
    if len(found) != len(scales):
        raise ValueError(f"scales: expected shape ({len(found)}, 2), got {scales.shape}")
    for level in found:
        if level.ndim != 2 or level.shape[1] < 2:
            raise ValueError(f"found: expected arrays (n, 2) or wider, got shape {level.shape}")
    cdef cascade_window_layout layout
    layout.stride, layout.margin, layout.window = real("stride", stride), real("margin", margin), real("window", window)
    boxes = np.empty((sum(len(level) for level in found), 4), np.float32)
    cdef float[:, ::1] target = boxes
    cdef const double[:, ::1] factors = scales
    cdef const float[:, ::1] windows
    cdef size_t k, done = 0
    for k, level in enumerate(found):
        if len(level):
            windows = level
            cascade_window_boxes(&windows[0, 0], windows.shape[0], windows.shape[1], &layout, &factors[k, 0], &target[done, 0])
            done += windows.shape[0]
    return boxes


def framing_logits(windows, width, height, gap, close_up_side, at_border, close_up):
    """Log-odds for windows at the border of an image of ``width`` by ``height`` pixels, and for close-ups."""
    windows = check_boxes(windows, "windows", np.float32)
    out = np.empty(len(windows), np.float32)
    cdef const float[:, ::1] source = windows
    cdef float[::1] target = out
    cdef float right = real("width", width, 0), bottom = real("height", height, 0)
    cdef cascade_framing framing
    framing.gap, framing.close_up_side = real("gap", gap), real("close_up_side", close_up_side, 0)
    framing.at_border, framing.close_up = real("at_border", at_border), real("close_up", close_up)
    if len(windows):
        cascade_framing_logits(&source[0, 0], source.shape[0], right, bottom, &framing, &target[0])
    return out


def square(boxes):
    """Boxes grown to squares about their centres."""
    out = check_boxes(boxes, "boxes", np.float32)
    cdef float[:, ::1] target = out
    if len(out):
        cascade_square(&target[0, 0], target.shape[0])
    return out


def expand(boxes, context):
    """Boxes scaled about their centres."""
    boxes = check_boxes(boxes, "boxes", np.float32)
    out = np.empty((len(boxes), 4))
    cdef const float[:, ::1] source = boxes
    cdef double[:, ::1] target = out
    cdef double factor = real("context", context)
    if len(out):
        cascade_expand(&source[0, 0], source.shape[0], factor, &target[0, 0])
    return out


def clip(boxes, width, height):
    """Boxes clipped to an image of ``width`` by ``height`` pixels."""
    out = check_boxes(boxes, "boxes", np.float32)
    cdef float right = real("width", width, 0), bottom = real("height", height, 0)
    cdef float[:, ::1] target = out
    if len(out):
        cascade_clip(&target[0, 0], target.shape[0], right, bottom)
    return out


def fuse_logits(outputs, before, share):
    """The weighted mean of a network's logits and those of the earlier stages, which weigh ``share``."""
    outputs = numbers(outputs, "outputs", np.float32)
    if outputs.ndim != 2 or outputs.shape[1] < 2:
        raise ValueError(f"outputs: expected an array (n, 2) or wider, got shape {outputs.shape}")
    out = check_scores(before, "before", len(outputs))
    cdef float[::1] target = out
    cdef const float[:, ::1] source = outputs
    cdef float weight = real("share", share, 0)
    if len(out):
        cascade_fuse_logits(&source[0, 0], source.shape[1], source.shape[0], weight, &target[0])
    return out


cdef check_scores(scores, name, n):
    scores = numbers(scores, name, np.float32)
    if scores.shape != (n,):
        raise ValueError(f"{name}: expected shape ({n},), got {scores.shape}")
    return scores


cdef int mode_of(mode) except -1:
    if mode == "union":
        return CASCADE_NMS_UNION
    if mode == "min":
        return CASCADE_NMS_MIN
    raise ValueError(f"mode: expected 'union' or 'min', got {mode!r}")


cdef survivors(const cascade_kernels *kernels, const float[:, ::1] boxes, const float[::1] scores, size_t count, overlaps):
    """Indices of the first ``count`` boxes that survive all suppressions, one after the other; best first."""
    if count == 0:
        return np.empty(0, np.int64)
    cdef size_t size = cascade_nms_workspace(count)
    if size == 0:
        raise ValueError(f"windows: {count} are too many")
    cdef int64_t[:, ::1] orders = np.empty((2, count), np.int64)
    cdef float[::1] workspace = np.empty((size + 3) // 4, np.float32)
    cdef int64_t *order = &orders[0, 0]
    cdef int64_t *other = &orders[1, 0]
    cdef float limit
    cdef int mode
    with nogil:
        cascade_argsort(&scores[0], count, order, other, check_signals)
    for limit, mode in overlaps:
        with nogil:
            count = cascade_nms(kernels, &boxes[0, 0], order, count, limit, mode, other, &workspace[0],
                                check_signals)
        order, other = other, order
    return np.array(<int64_t[:count]>order)


def candidates(windows, offsets, logits, threshold, overlaps, level=None):
    """The windows that reach a threshold, after box deltas and suppression, best first."""
    windows, offsets = check_boxes(windows, "windows", np.float32), check_boxes(offsets, "offsets", np.float32)
    if windows.shape != offsets.shape:
        raise ValueError(f"offsets: expected shape {windows.shape}, got {offsets.shape}")
    logits = check_scores(logits, "logits", len(windows))
    try:
        overlaps = [(overlap, mode) for overlap, mode in overlaps]
    except (TypeError, ValueError):
        raise ValueError(f"overlaps: expected pairs of a threshold and a mode, got {overlaps!r}") from None
    overlaps = [(real("overlaps: a threshold", overlap), mode_of(mode)) for overlap, mode in overlaps]
    cdef const cascade_kernels *kernels = kernels_of(level or default_simd_level())
    cdef float least = real("threshold", threshold)
    kept, boxes = np.empty(len(windows), np.int64), np.empty(windows.shape, np.float32)
    cdef const float[:, ::1] window_view = windows, offset_view = offsets
    cdef float[::1] logit_view = logits
    cdef float[:, ::1] box_view = boxes
    cdef int64_t[::1] kept_view = kept
    cdef size_t count = 0, i
    if len(windows):
        with nogil:
            count = cascade_candidates(&window_view[0, 0], &offset_view[0, 0], &logit_view[0], window_view.shape[0], least,
                                       &box_view[0, 0], &kept_view[0])
            for i in range(count):
                logit_view[i] = logit_view[kept_view[i]]
    best = survivors(kernels, box_view, logit_view, count, overlaps)
    return kept[best], boxes[best], logits[best]


def vote(kept, windows, offsets, logits, overlap):
    """Kept boxes as means of those of all windows, after box deltas, that overlap them, and the votes for each."""
    kept = check_boxes(kept, "kept", np.float32)
    cdef float least = real("overlap", overlap)
    if not 0 < least <= 1:
        raise ValueError(f"overlap: expected a number above 0, at most 1, got {overlap}")
    _, boxes, logits = candidates(windows, offsets, logits, -np.inf, ())
    order = np.argsort(boxes[:, 0], kind="stable")
    boxes, logits = np.ascontiguousarray(boxes[order]), np.ascontiguousarray(logits[order])
    out, votes, most = kept.copy(), np.zeros(len(kept), np.float32), np.zeros(len(boxes), np.float32)
    cdef const float[:, ::1] kept_view = kept, box_view = boxes
    cdef const float[::1] logit_view = logits
    cdef float[:, ::1] target = out
    cdef float[::1] most_view = most, vote_view = votes
    if len(kept) and len(boxes):
        with nogil:
            cascade_vote(&box_view[0, 0], &logit_view[0], box_view.shape[0], &kept_view[0, 0], kept_view.shape[0], least,
                         &most_view[0], &target[0, 0], &vote_view[0], check_signals)
    return out, votes
