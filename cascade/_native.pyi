"""Types and shapes of the native core (``csrc/_native.pyx``).

Images are uint8 RGB, (height, width, 3). Boxes are x1, y1, x2, y2 in pixels: the image spans [0, width] × [0, height]
and the pixel in column j covers [j, j + 1). Outside an image all pixels are 128. A wrong argument raises ValueError or
TypeError that begins with its name. The GIL is released while C computes.

``level`` is the name of a SIMD level where it is a string; None is `default_simd_level`. Other levels are those of an
image pyramid.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

def simd_levels() -> list[str]:
    """Names of the SIMD levels that this machine can run, best first; "scalar" is always the last.

    The others are "avx512vnni", "avx512", "avxvnni" and "avx2" on x86-64, "i8mm", "dotprod" and "neon" on ARM.
    """

def default_simd_level() -> str:
    """The SIMD level in use: the environment variable CASCADE_SIMD, or the best this machine can run.

    Raises ValueError if the variable names a level that this machine cannot run.
    """

def int8_is_fast(level: str) -> bool:
    """Whether int8 networks are as fast as float32 ones or faster at a SIMD level."""

class ThreadPool:
    """A pool of threads for one call at a time, and the memory of each; it grows to the largest call.

    The calling thread is one of them. The others are workers and must be brought: each calls `work`. Without workers
    the calling thread does everything, as every call does that comes while another uses the pool. Functions without a
    pool use one thread; results do not depend on it.
    """

    def __init__(self, threads: int = 1) -> None: ...
    @property
    def threads(self) -> int:
        """The calling thread and the workers, 1 to 1024."""
    @property
    def nbytes(self) -> int:
        """Bytes of memory that it holds now."""
    def work(self, index: int) -> None:
        """Runs as worker ``index``, 0 to threads - 2, until `close`; asleep while there is nothing to do.

        Raises RuntimeError if another thread is that worker.
        """
    def wake(self) -> None:
        """Wakes the workers for half a millisecond, for a call that will come."""
    def close(self) -> None:
        """Makes the workers return."""

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

    A triangle filter in fixed point, wider when shrinking: every SIMD level gives the same bytes. An output pixel whose
    centre is outside the image is 128.

    image: uint8 (height, width, 3). box: (4,), x1 < x2 and y1 < y2, any part may lie outside. Returns the rows from
    ``first`` on, uint8 (rows, width, 3): all of them, or as many as ``out`` has, which they are written to. ``image``
    may be a strip, the rows from ``top`` on of an image of ``image_height`` rows, if it has the rows that `rows_read`
    names.
    """

def auto_exposure(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The image (height, width, 3) in an ordinary tonal range; the very same array if it has one already.

    In a dark, pale or colour-cast image every channel is stretched: its black and white points, the quantiles 0.01 and
    0.99 of a sample of a few thousand pixels, become 8 and 235, with a gain of at most 25.
    """

def rows_read(source: int, height: int, first: int, end: int) -> tuple[int, int]:
    """Rows [from, to) of an image of ``source`` rows that `resample` reads for rows [first, end) of ``height`` rows."""

def triangle_taps(
    start: npt.ArrayLike, extent: npt.ArrayLike, source: npt.ArrayLike, size: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """The filters of `resample` for ``size`` output pixels over [start, start + extent) of n axes of ``source`` pixels.

    start: (n,), within 2^20. extent: (n,), above 0 and 2^21 at most. source: integers (n,). Returns the source pixels
    that each output pixel reads and their weights in 2^-14, int64 (n, size, most), and whether its centre is inside the
    source, bool (n, size). ``most`` is the largest number of pixels that any of them reads, at least 1. Where an output
    pixel reads fewer, the others are pixels of the source with the weight 0.
    """

def snap(boxes: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Coordinates of any shape, rounded to 1/16 pixel as ``cut`` does. Returns float64 of that shape."""

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
    """Aligned crops of ``size`` by ``size`` pixels, each from the smallest level with a pixel for each of the crop's.

    Bilinear interpolation in fixed point: every machine gives the same bytes. A pixel whose centre is outside the image
    is ``outside``.

    images, scales: as for ``cut``. matrices: (n, 2, 3), affine transforms from pixels of the photo to pixels of the
    crop, pixel centres at 0.5 in both. Returns uint8 (n, size, size, 3). Raises ValueError for a transform without an
    inverse, or one that reaches too far.
    """

class Crops:
    """Where crops of ``size`` by ``size`` pixels lie in the levels of a pyramid; `Network.classify_crops` cuts them.

    images, scales: as for ``cut``; instead of an image, its (height, width), if its rows are streamed with `give`.
    regions: boxes (n, 4) as for ``cut``, or affine transforms (n, 2, 3) as for ``warp``.
    """

    def __init__(
        self,
        images: Sequence[npt.NDArray[np.uint8] | tuple[int, int]],
        scales: npt.ArrayLike,
        regions: npt.ArrayLike,
        size: int,
    ) -> None: ...
    def __len__(self) -> int: ...
    @property
    def reads(self) -> npt.NDArray[np.int64]:
        """For each crop its image and the rows [from, to) of it that the crop may read, (n, 3)."""
    def give(self, k: int, image: npt.NDArray[np.uint8], top: int) -> None:
        """Replaces the rows of image ``k`` by those from ``top`` on. Not while crops are cut."""
    @property
    def size(self) -> int:
        """Side of the crops in pixels."""

class Network:
    """A network ready to run: its layers, and its weights packed for one SIMD level. Never changes.

    layers: a list, each of {"kind": "conv", "stride": int, "weight": float32 (out, in, k, k), "bias": float32 (out,),
    "slope": float32 (out,)} or {"kind": "pool", "kernel": int, "stride": int}. There is no padding; kernels and strides
    are 1 to 16. The slope is that of negative values: 0 is ReLU, 1 no activation. The first layer takes 3 channels, and
    a crop of ``input_size`` pixels must end on one position. A last, partial window of a pool counts.

    In an int8 network, see `cascade.nn.quantization`, all layers are {"kind": "conv", "dtype": "int8", "stride": int,
    "weight": int8 (out, in / 4, k, k, 4), "bias": int32 (out,), "factor": float32 (out,)}. Its channels are packed in
    fours; the first layer takes the three channels of a pixel and a 0. A sum times its factor is truncated to 0 .. 255,
    or is an output of the last layer. The outputs of all other layers are a multiple of four.
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
        """Name of the SIMD level it runs at."""
    def forward(self, crops: npt.NDArray[np.uint8], pool: ThreadPool | None = None) -> npt.NDArray[np.float32]:
        """Outputs float32 (n, outputs) of crops uint8 (n, input_size, input_size, 3)."""
    def classify_crops(
        self, crops: Crops, pool: ThreadPool | None = None, first: int = 0, count: int | None = None
    ) -> npt.NDArray[np.float32]:
        """Outputs float32 (count, outputs) of crops ``first`` and on; the same as ``forward`` of what ``cut`` gives."""
    def grid(self, width: int, height: int, padding: int) -> tuple[int, int, int, int]:
        """Rows, columns, stride and receptive field of the windows over an image with ``padding`` grey pixels around.

        Rows or columns are 0 if no window fits. Window (row, column) covers as many pixels as the receptive field from
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
        """Windows of an image whose face logit less background logit is at least ``threshold``.

        image: uint8 (height, width, 3), or a strip: the rows from ``top`` on of an image of ``height`` rows, if it has
        all rows that the windows cover. ``first`` and ``rows`` limit the scan to some rows of the grid; the results of
        consecutive limits, joined, equal those of all rows. Returns float32 (n, 1 + outputs), in order of row, then
        column: column, row, logit difference, then the outputs after the first two.
        """
    def dense_scan_levels(
        self,
        images: Sequence[npt.NDArray[np.uint8] | tuple[npt.NDArray[np.uint8], int, int | None, int, int | None]],
        padding: int,
        threshold: float | Sequence[float],
        pool: ThreadPool | None = None,
        source: npt.NDArray[np.uint8] | None = None,
        ready: int | None = None,
    ) -> list[npt.NDArray[np.float32]]:
        """``dense_scan`` of several images, each an array or (image, first, rows, top, height) as there.

        ``threshold`` is one number for all of them, or one for each.
        Images from number ``ready`` on are written first: each is resampled from the image before, the very first from
        ``source``. None: all exist already.
        """

class Graph:
    """A network of convolutions, residual sums and attention gates, ready to run. Never changes.

    nodes: a list of mappings, what `cascade.nn.graphs.native_nodes` gives: the fields of `cascade.nn.graphs.Node`,
    which says what each kind computes, with the arrays in place of the channels and kernels. "kind" and "input" are
    always there; "conv" has "weight" float32 (out, in, k, k), "depthwise" (channels, k, k), "spatial_gate" (2, k, k)
    with odd k; all three "bias" (out,), "activation" ("none" if left out) and for "prelu" "slope" (out,); the first two
    may have "stride", "padding" and "add"; "pyramid_pool" has "bins"; "gate" has "channel_gate" and "spatial_gate", and
    may have "rest". Kernels, strides and bins are 1 to 16, a padding is less than its kernel. outputs: indices of the
    nodes whose feature maps `run` returns.
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
        """Name of the SIMD level it runs at."""
    def run(self, crops: npt.NDArray[np.uint8], pool: ThreadPool | None = None) -> list[npt.NDArray[np.float32]]:
        """Each output float32 (n, features), a feature map in the order of row, column, channel.

        crops: uint8 (n, input_size, input_size, 3).
        """

def window_boxes(
    found: Sequence[npt.ArrayLike], scales: npt.ArrayLike, stride: float, margin: float, window: float
) -> npt.NDArray[np.float32]:
    """Boxes in pixels of the photo for windows of pyramid levels, level after level.

    found: for each level (n, 2) or wider, a column and a row of the grid first. scales: (levels, 2), pixels of a level
    over pixels of the photo. Column c begins at pixel ``margin + c * stride`` of the level and the window has
    ``window`` pixels. Returns float32 (n in all, 4).
    """

def framing_logits(
    windows: npt.ArrayLike,
    width: float,
    height: float,
    gap: float,
    close_up_side: float,
    at_border: float,
    close_up: float,
) -> npt.NDArray[np.float32]:
    """Log-odds for how windows (n, 4) lie in a photo of ``width`` by ``height`` pixels, float32 (n,).

    ``close_up`` for those with a side of at least ``close_up_side``. Others have ``at_border`` if the space between
    them and the nearest edge is less than ``gap`` of their side; with -0.1, if more than a tenth of them lies outside.
    All others have 0.
    """

def square(boxes: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Boxes (n, 4) grown to squares of the longer side about the same centres. Returns float32 (n, 4)."""

def expand(boxes: npt.ArrayLike, context: float) -> npt.NDArray[np.float64]:
    """Boxes (n, 4) scaled by ``context`` about their centres. Returns float64 (n, 4)."""

def clip(boxes: npt.ArrayLike, width: float, height: float) -> npt.NDArray[np.float32]:
    """Boxes (n, 4) clipped to an image of ``width`` by ``height`` pixels. Returns float32 (n, 4)."""

def fuse_logits(outputs: npt.ArrayLike, before: npt.ArrayLike, share: float) -> npt.NDArray[np.float32]:
    """The weighted mean of a network's logits and those of the earlier stages, as log-odds.

    outputs: (n, 2) or wider, the logits of background and face first; they weigh 1. before: (n,) log-odds of the
    earlier stages, which weigh ``share``. Returns float32 (n,).
    """

def candidates(
    windows: npt.ArrayLike,
    offsets: npt.ArrayLike,
    logits: npt.ArrayLike,
    threshold: float,
    overlaps: Sequence[tuple[float, Literal["union", "min"]]],
    level: str | None = None,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """The windows that reach a threshold, after box deltas and non-maximum suppression, best first.

    windows: (n, 4). offsets: (n, 4), the box deltas as fractions of the window's width and height, edge by edge.
    logits: (n,); NaN reaches no threshold. Boxes with a side of less than a pixel or an edge more than 2^18 pixels away
    are left out. overlaps: the thresholds and modes of greedy suppressions, one after the other. A box goes if its
    overlap with a better one that stays is above the threshold: intersection over union, or with mode "min" over the
    smaller area. Of equal logits the earlier window is the better one. Returns indices int64 (kept,), boxes float32
    (kept, 4) and logits float32 (kept,).
    """

def vote(
    kept: npt.ArrayLike, windows: npt.ArrayLike, offsets: npt.ArrayLike, logits: npt.ArrayLike, overlap: float
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Kept boxes as means of the boxes that overlap them, and how many these are: box voting.

    kept: (k, 4). windows: (n, 4), offsets: (n, 4) and logits: (n,) as for `candidates`, which any threshold and
    suppression has left as they are. A box votes for the kept one that it overlaps most, if their intersection over
    union is at least ``overlap`` (above 0), and weighs as much as that times its probability. Returns the boxes float32
    (k, 4) and the sums of the weights float32 (k,).
    """

def window_points(windows: npt.ArrayLike, shares: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Points given as fractions of their windows' sides, in pixels of the photo.

    windows: (n, 4). shares: (n, k, 2), 0 the left or upper edge and 1 the other. Returns float32 (n, k, 2).
    """

def similarity_transforms(points: npt.ArrayLike, template: npt.ArrayLike, rounding: float) -> npt.NDArray[np.float64]:
    """The rotation, scale and translation that map each face's points to a template with the least squared error.

    points: (n, k, 2). template: (k, 2). A face that has none gets NaN: for NaN or infinity, points that coincide within
    the relative tolerance ``rounding``, or that no rotation fits. Returns float64 (n, 2, 3).
    """

def can_align(points: npt.ArrayLike, matrices: npt.ArrayLike, size: float) -> npt.NDArray[np.bool_]:
    """Which faces (n, k, 2) the matrices (n, 2, 3) align to crops of ``size`` pixels.

    Such a crop covers 1 to 2^18 pixels of the photo.
    Points more than 2^18 pixels away belong to no face. Returns bool (n,).
    """

def inverse_transform(points: npt.ArrayLike, matrices: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Points (n, k, 2) of aligned crops in pixels of the photo, the inverse of ``similarity_transforms``.

    matrices: (n, 2, 3), from the photo to the crop. Returns float64 (n, k, 2).
    """
