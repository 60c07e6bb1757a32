"""Types and shapes of the native core (``csrc/_native.pyx``).

Images are uint8 RGB, (height, width, 3). Boxes are x1, y1, x2, y2 in pixels: the image spans [0, width] ×
[0, height] and the pixel in column j covers [j, j + 1). Outside an image lies grey 128. A wrong argument
raises ValueError or TypeError naming it. The GIL is released while C computes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

def simd_levels() -> list[str]:
    """Names of the instruction levels that this machine can run, best first; "scalar" is always the last.

    The others are "avx512vnni", "avx512" and "avx2" on x86-64 and "neon" on ARM.
    """

def default_simd_level() -> str:
    """The level in use: the environment variable CASCADE_SIMD, or the best this machine can run.

    Raises ValueError if the variable names a level that this machine cannot run.
    """

class ThreadPool:
    """Threads that do the work of one call together, and the memory of each; it grows to the largest call.

    The thread that calls is one of them, the leader. The others have to be brought: each calls `help`. Without them the
    leader does everything, as every call does that comes while another has the pool. Every function that takes a pool
    makes one of its own, of one thread, if there is none; results do not depend on it.
    """

    def __init__(self, threads: int = 1) -> None: ...
    @property
    def threads(self) -> int:
        """The leader and its helpers, 1 to 1024."""
    @property
    def nbytes(self) -> int:
        """Bytes it holds now."""
    def help(self, index: int) -> None:
        """Works along until `close`, asleep where there is nothing to do.

        As helper ``index``, 0 to threads - 2, of which each is one thread.
        """
    def wake(self) -> None:
        """Has helpers wait awake, for half a millisecond, for work that will come."""
    def close(self) -> None:
        """Has the helpers return."""

def resample(
    image: npt.NDArray[np.uint8],
    box: Sequence[float] | npt.NDArray[Any],
    width: int,
    height: int,
    pool: ThreadPool | None = None,
    level: str | None = None,
    out: npt.NDArray[np.uint8] | None = None,
    first: int = 0,
    top: int = 0,
    image_height: int | None = None,
) -> npt.NDArray[np.uint8]:
    """Resamples the rectangle ``box`` of ``image`` to ``width`` by ``height`` pixels.

    A triangle filter, widened when shrinking, in fixed point: every level gives the same bytes. An output
    pixel whose centre is outside the image is 128.

    image: uint8 (height, width, 3). box: (4,), x1 < x2 and y1 < y2, any part may lie outside.
    Returns uint8 (height, width, 3) of the size asked for from row ``first`` on; or ``out``, with as many of these rows
    as it has. ``image`` may be only rows from ``top`` on of an image of ``image_height`` rows, if those are there that
    `rows_read` tells.
    """

def rows_read(source: int, height: int, first: int, end: int) -> tuple[int, int]:
    """Rows [from, to) of an image of ``source`` rows that `resample` wants for rows [first, end) of the whole image
    at ``height`` rows."""

def triangle_taps(
    start: npt.ArrayLike, extent: npt.ArrayLike, source: npt.ArrayLike, size: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """The filters of `resample` for ``size`` output pixels over [start, start + extent) of n axes of ``source`` pixels.

    start: (n,), within 2^20. extent: (n,), above 0 and 2^21 at most. source: whole numbers (n,).
    Returns the source pixels that an output pixel reads and their weights in 2^-14, int64 (n, size, most), and whether
    its centre is inside the source, bool (n, size). ``most`` is the largest number of pixels that any of them reads, 1
    at least; an output pixel that reads fewer weighs the others, all of them pixels of the source, by 0.
    """

def snap(boxes: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Coordinates on the grid of 1/16 pixel that ``cut`` uses, of any shape. Returns float64 of that shape."""

def choose_levels(scales: npt.ArrayLike, boxes: npt.ArrayLike, size: int) -> npt.NDArray[np.int64]:
    """For each box the smallest level in which its shorter side still has ``size`` pixels; 0 if none has.

    scales: (levels, 2), pixels of a level over pixels of the photo across and down, largest level first.
    boxes: (n, 4) in pixels of the photo. Returns int64 (n,).
    """

def cut(
    images: Sequence[npt.NDArray[np.uint8]],
    scales: npt.ArrayLike,
    boxes: npt.ArrayLike,
    size: int,
    pool: ThreadPool | None = None,
    level: str | None = None,
) -> npt.NDArray[np.uint8]:
    """Crops of ``size`` by ``size`` pixels, each from the level that ``choose_levels`` gives.

    images: a list of uint8 (height, width, 3), largest first. scales: (len(images), 2), above 0.
    boxes: (n, 4) in pixels of the photo, x1 < x2 and y1 < y2 after ``snap``.
    Returns uint8 (n, size, size, 3).
    """

def warp(
    images: Sequence[npt.NDArray[np.uint8]],
    scales: npt.ArrayLike,
    matrices: npt.ArrayLike,
    size: int,
    outside: int = 128,
) -> npt.NDArray[np.uint8]:
    """Turned crops of ``size`` by ``size`` pixels, each from the smallest level with a pixel for each of the crop's.

    Bilinear in fixed point: every machine gives the same bytes. A pixel whose centre is outside the image is
    ``outside``.

    images, scales: as for ``cut``. matrices: (n, 2, 3), affine maps from pixels of the photo to pixels of the crop,
    pixel centres at 0.5 in both. Returns uint8 (n, size, size, 3). Raises ValueError for a map that cannot be
    inverted or that reaches too far.
    """

class Crops:
    """Where crops of ``size`` by ``size`` pixels lie in the levels of a pyramid; `Network.classify_crops` cuts them.

    images, scales: as for ``cut``; an image may be its (height, width) instead, and is then given row by row. places:
    boxes (n, 4) as for ``cut``, or maps (n, 2, 3) as for ``warp``.
    """

    def __init__(
        self,
        images: Sequence[npt.NDArray[np.uint8] | tuple[int, int]],
        scales: npt.ArrayLike,
        places: npt.ArrayLike,
        size: int,
    ) -> None: ...
    def __len__(self) -> int: ...
    @property
    def reads(self) -> npt.NDArray[np.int64]:
        """For each crop its image and the rows [from, to) that it may read of that, (n, 3)."""
    def give(self, k: int, image: npt.NDArray[np.uint8], top: int) -> None:
        """Rows from ``top`` on of image ``k``, in place of those given before. Not while crops are cut."""
    @property
    def size(self) -> int:
        """Side of the crops in pixels."""

class Network:
    """A network ready to run: its layers, and its weights packed for one instruction level. Never changes.

    layers: a list, each of {"kind": "conv", "stride": int, "weight": float32 (out, in, k, k), "bias": float32
    (out,), "slope": float32 (out,)} or {"kind": "pool", "kernel": int, "stride": int}; none is padded,
    kernels and strides are 1 to 16. The slope is that of negative values: 0 is ReLU, 1 no activation. The
    first layer takes 3 channels, and a crop of ``input_size`` pixels must end on one position. A last
    partial window of a pool counts.

    Or all of them are {"kind": "bytes", "stride": int, "weight": int8 (out, words, k, k, 4), "bias": int32 (out,),
    "factor": float32 (out,)}, see `cascade.nn.quantization`: in whole numbers, four channels in a word, a pixel being one
    word. A sum times its factor is cut off to a byte, or is the output of the last layer; the outputs of the others are
    a multiple of four.
    """

    def __init__(self, layers: Sequence[Mapping[str, Any]], input_size: int, level: str | None = None) -> None: ...
    @property
    def input_size(self) -> int:
        """Side of the crops in pixels."""
    @property
    def outputs(self) -> int:
        """Channels of the last layer."""
    @property
    def level(self) -> str:
        """Name of the instruction level it runs at."""
    def forward(self, crops: npt.NDArray[np.uint8], pool: ThreadPool | None = None) -> npt.NDArray[np.float32]:
        """Outputs float32 (n, outputs) of crops uint8 (n, input_size, input_size, 3)."""
    def classify_crops(
        self, crops: Crops, pool: ThreadPool | None = None, first: int = 0, count: int | None = None
    ) -> npt.NDArray[np.float32]:
        """Outputs float32 (count, outputs) of crops ``first`` and on; the same as ``forward`` of what ``cut`` gives."""
    def grid(self, width: int, height: int, padding: int) -> tuple[int, int, int, int]:
        """Rows, columns, stride and field of the windows over an image with ``padding`` grey pixels around.

        Rows or columns are 0 if no window fits. Window (row, column) covers the field pixels from
        row * stride - padding down and from column * stride - padding across.
        """
    def dense_scan(
        self,
        image: npt.NDArray[np.uint8],
        padding: int,
        threshold: float,
        pool: ThreadPool | None = None,
        first: int = 0,
        rows: int | None = None,
        top: int = 0,
        height: int | None = None,
    ) -> npt.NDArray[np.float32]:
        """Windows of an image whose face logit minus background logit is at least ``threshold``.

        image: uint8 (height, width, 3). ``first`` and ``rows`` limit it to some rows of the grid; the results
        of consecutive limits, joined, are those of the whole. The image may be only rows from ``top`` on of one of
        ``height`` rows, if all are there that these windows cover. Returns float32 (n, 1 + outputs), in order of
        row, then column: column, row, logit difference, then the outputs after the first two.
        """
    def dense_scan_levels(
        self,
        images: Sequence[npt.NDArray[np.uint8] | tuple[npt.NDArray[np.uint8], int, int | None, int, int | None]],
        padding: int,
        threshold: float,
        pool: ThreadPool | None = None,
        source: npt.NDArray[np.uint8] | None = None,
        ready: int | None = None,
    ) -> list[npt.NDArray[np.float32]]:
        """``slide`` over several images, each an array or (image, first, rows, top, height) as there.

        Images from number ``ready`` on are first made: written with the image before, or for the very first with
        ``source``, resampled to their size. None: all are there.
        """

class Graph:
    """A network of convolutions, residual sums and attention gates, ready to run. Never changes.

    nodes: a list of mappings, what `cascade.nn.graphs.native_nodes` gives: the fields of `cascade.nn.graphs.Node`, which says
    what each kind computes, with the arrays in place of the channels and kernels. "kind" and "input" are always there;
    "conv" has "weight" float32 (out, in, k, k), "depthwise" (channels, k, k), "spatial_gate" (2, k, k) with odd k;
    all three "bias" (out,), "activation" ("none" if left out) and for "prelu" "slope" (out,); the first two may
    have "stride", "padding" and "add"; "pyramid_pool" has "bins"; "gate" has "channel_gate" and "spatial_gate", and may
    have "rest". Kernels, strides and bins are 1 to 16, a padding is less than its kernel.
    outputs: indices of the nodes whose maps `run` returns.
    """

    def __init__(
        self, nodes: Sequence[Mapping[str, Any]], input_size: int, outputs: Sequence[int], level: str | None = None
    ) -> None: ...
    @property
    def input_size(self) -> int:
        """Side of the crops in pixels."""
    @property
    def outputs(self) -> tuple[int, ...]:
        """Features of each output."""
    @property
    def level(self) -> str:
        """Name of the instruction level it runs at."""
    def run(self, crops: npt.NDArray[np.uint8], pool: ThreadPool | None = None) -> list[npt.NDArray[np.float32]]:
        """Each output float32 (n, features), a map as row, column, channel.

        crops: uint8 (n, input_size, input_size, 3).
        """

def window_boxes(
    found: Sequence[npt.ArrayLike], scales: npt.ArrayLike, stride: float, margin: float, window: float
) -> npt.NDArray[np.float32]:
    """Windows of levels as boxes in pixels of the photo, level after level.

    found: for each level (n, 2) or wider, a column and a row of the grid first. scales: (levels, 2), pixels of a level
    over pixels of the photo. Column c begins at pixel ``margin + c * stride`` of the level and the window has
    ``window`` pixels. Returns float32 (n in all, 4).
    """

def apply_box_deltas(boxes: npt.ArrayLike, offsets: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Boxes moved by offsets, fractions of their width and height, edge by edge.

    boxes, offsets: (n, 4). Returns float32 (n, 4).
    """

def square(boxes: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Boxes (n, 4) grown to squares of the longer side about the same centres. Returns float32 (n, 4)."""

def expand(boxes: npt.ArrayLike, context: float) -> npt.NDArray[np.float64]:
    """Boxes (n, 4) scaled by ``context`` about their centres. Returns float64 (n, 4)."""

def clip(boxes: npt.ArrayLike, width: float, height: float) -> npt.NDArray[np.float32]:
    """Boxes (n, 4) clipped to an image of ``width`` by ``height`` pixels. Returns float32 (n, 4)."""

def fuse_logits(outputs: npt.ArrayLike, before: npt.ArrayLike, share: float) -> npt.NDArray[np.float32]:
    """What a network says of windows, as log-odds, with what was said before.

    outputs: (n, 2) or wider, the logits of background and face first. before: (n,) log-odds, which weigh ``share``
    where the network's own weigh 1. Returns float32 (n,), their weighted mean.
    """

def candidates(
    windows: npt.ArrayLike,
    offsets: npt.ArrayLike,
    logits: npt.ArrayLike,
    threshold: float,
    overlaps: Sequence[tuple[float, Literal["union", "min"]]],
    level: str | None = None,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """The windows that reach a threshold, calibrated, without those that a better one suppresses, best first.

    windows, offsets: (n, 4), as for ``calibrate``. logits: (n,); NaN reaches no threshold. overlaps: thresholds and
    modes of ``nms``, one after the other. Boxes with a side of less than a pixel or an edge more than 2^18 pixels away
    are left out. Returns indices int64 (kept,), boxes float32 (kept, 4) and logits float32 (kept,).
    """

def nms(
    boxes: npt.ArrayLike,
    scores: npt.ArrayLike,
    threshold: float,
    mode: Literal["union", "min"] = "union",
    level: str | None = None,
) -> npt.NDArray[np.int64]:
    """Indices of the boxes kept by greedy non-maximum suppression, best first; ties keep the earlier box.

    boxes: (n, 4). scores: (n,). A box goes if its overlap with a better one that stays is above
    ``threshold``: intersection over union, or with mode "min" over the smaller area. A box with no inside
    overlaps nothing.
    Returns int64 (kept,).
    """

def soft_nms(
    boxes: npt.ArrayLike,
    scores: npt.ArrayLike,
    threshold: float = 0.3,
    sigma: float = 0.0,
    floor: float = 0.001,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Soft-NMS (Bodla et al. 2017): indices kept in order of their decayed scores, and those scores.

    boxes: (n, 4). scores: (n,). Each box kept multiplies the scores of the rest by 1 - IoU where the IoU is
    above ``threshold``, or with ``sigma`` above 0 by exp(-IoU² / sigma); boxes below ``floor`` go.
    Returns int64 (kept,) and float32 (kept,).
    """

def window_points(windows: npt.ArrayLike, shares: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Points that are given as shares of their windows' sides, in pixels of the photo.

    windows: (n, 4). shares: (n, k, 2), 0 the left or upper edge and 1 the other. Returns float32 (n, k, 2).
    """

def similarity_transforms(points: npt.ArrayLike, template: npt.ArrayLike, rounding: float) -> npt.NDArray[np.float64]:
    """The rotation, scale and shift that take each face's points nearest to those of a template.

    points: (n, k, 2). template: (k, 2). A face that has none gets NaN: for NaN or infinity, points that coincide but
    for a share ``rounding`` of their coordinates, or that no rotation fits. Returns float64 (n, 2, 3).
    """

def can_align(points: npt.ArrayLike, matrices: npt.ArrayLike, size: float) -> npt.NDArray[np.bool_]:
    """Which faces (n, k, 2) matrices (n, 2, 3) turn to crops of ``size`` pixels, for one to 2^18 of the photo's.

    Points more than 2^18 pixels away are of no face. Returns bool (n,).
    """

def inverse_transform(points: npt.ArrayLike, matrices: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Points (n, k, 2) of turned crops in pixels of the photo, the inverse of ``similarity_transforms``.

    matrices: (n, 2, 3), from the photo to the crop. Returns float64 (n, k, 2).
    """
