"""The networks as lists of layers: what they compute, without any framework.

Both the torch modules (`cascade.nn.torch_network`) and the native engine are built from these lists, and a weight file
carries its own list, so a new network needs no new code at run time.

Every list ends in one layer that holds all heads of the network, one behind the other (`cascade.nn.heads`). The heads
of a detector's network begin with `DETECTION_HEADS`; P-Net and R-Net may leave out the landmarks.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Literal

from cascade.nn.heads import DETECTION_HEADS, Head, detection_heads, head_slices, layout, width_of

Stage = Literal["pnet", "rnet", "onet", "lnet"]
# What every detector has. The landmarks are O-Net's, or those of an L-Net that sees the final faces only.
STAGES: tuple[Stage, ...] = ("pnet", "rnet", "onet")
LANDMARK_STAGE: Stage = "lnet"

# What the engines have room for.
LARGEST_KERNEL, LARGEST_CHANNELS, LARGEST_INPUT, MOST_LAYERS = 16, 1 << 14, 1024, 60


@dataclass(frozen=True)
class Layer:
    """One layer without padding. A fully connected layer is a conv whose kernel covers its whole input."""

    kind: Literal["conv", "pool"]
    kernel: int
    stride: int = 1
    channels: int = 0  # outputs of a conv; 0 for a pool
    activation: Literal["relu", "prelu", "none"] = "none"

    def __post_init__(self) -> None:
        """Raises ValueError for a layer that no engine can run."""
        if self.kind not in ("conv", "pool") or self.activation not in ("relu", "prelu", "none"):
            raise ValueError(f"a layer of kind {self.kind!r} with activation {self.activation!r}")
        for name, value, low, high in (
            ("kernel", self.kernel, 1, LARGEST_KERNEL),
            ("stride", self.stride, 1, LARGEST_KERNEL),
            ("channels", self.channels, int(self.kind == "conv"), LARGEST_CHANNELS),
        ):
            if not isinstance(value, int) or not low <= value <= high:
                raise ValueError(f"a layer with {name} {value!r}, expected {low} to {high}")


@dataclass(frozen=True)
class Architecture:
    """A stage's network and how its input lies around the window that it classifies.

    ``input_size`` is the side of its input in pixels and ``window`` the side of the window in its middle, so
    ``input_size / window`` is the context scale: how much the network sees around a face. ``heads`` are the outputs of
    the last layer; by default the first of the detector's that it has room for.
    """

    name: str
    stage: Stage
    input_size: int
    window: float
    layers: tuple[Layer, ...]
    heads: tuple[Head, ...] = ()

    def __post_init__(self) -> None:
        """Raises ValueError for a network that no detector can use."""
        if not self.heads:
            object.__setattr__(self, "heads", detection_heads(self.outputs))
        elif width_of(self.heads) != self.outputs:
            raise ValueError(f"heads of {width_of(self.heads)} outputs on a layer of {self.outputs}")
        if self.stage not in (*STAGES, LANDMARK_STAGE):
            raise ValueError(f"stage {self.stage!r}, expected one of {', '.join((*STAGES, LANDMARK_STAGE))}")
        if len(self.layers) > MOST_LAYERS:
            raise ValueError(f"{len(self.layers)} layers, expected at most {MOST_LAYERS}")
        if not 0 < self.input_size <= LARGEST_INPUT or not 0 < self.window <= self.input_size:
            raise ValueError(f"an input of {self.input_size} pixels around a window of {self.window}")

    def check_outputs(self) -> None:
        """Raises ValueError unless the network has the heads that a detector asks of the stage, at one position."""
        needed = DETECTION_HEADS if self.stage in ("onet", LANDMARK_STAGE) else DETECTION_HEADS[:2]
        if not self.layers or self.layers[-1].kind != "conv" or layout(self.heads[: len(needed)]) != layout(needed):
            names = ", ".join(f"{head.name} ({head.width})" for head in needed)
            raise ValueError(
                f"{self.stage} must end on a layer of the heads {names}, got one of {self.outputs} outputs"
            )
        head_slices(self.heads)
        if self._sides()[-1] != 1:
            raise ValueError(f"an input of {self.input_size} pixels ends on a map of {self._sides()[-1]}, expected 1")

    def _sides(self) -> list[int]:
        """Side of the feature map after each layer."""
        sides = [self.input_size]
        for layer in self.layers:
            partial = layer.stride - 1 if layer.kind == "pool" else 0
            sides.append((sides[-1] - layer.kernel + partial) // layer.stride + 1)
        return sides[1:]

    @property
    def context(self) -> float:
        """Side of the input over the side of the window."""
        return self.input_size / self.window

    @property
    def stride(self) -> int:
        """Pixels between neighbouring windows of a dense scan."""
        stride = 1
        for layer in self.layers:
            stride *= layer.stride
        return stride

    @property
    def padding(self) -> int:
        """Grey pixels around an image so that windows in its corners are seen too."""
        return int((self.input_size - self.window) // 2)

    def windows(self, side: int) -> int:
        """How many windows of a dense scan lie along an image's side of that many pixels.

        The last may see less than a stride more of grey than the padding, so that no part of the image is left out.
        """
        room = side + 2 * self.padding - self.input_size
        return -(-room // self.stride) + 1 if room >= 0 else 0

    @property
    def outputs(self) -> int:
        """Outputs of the last layer, which are those of all heads."""
        return self.layers[-1].channels if self.layers else 0

    def output(self, name: str) -> slice:
        """Where the head of that name is among the outputs. Raises KeyError for a head that the network lacks."""
        return self._slices[name]

    @cached_property
    def _slices(self) -> dict[str, slice]:
        return head_slices(self.heads)

    def multiply_adds(self) -> int:
        """Multiply-adds for one input, without padding, biases and activations."""
        return sum(side * side * weights for side, weights in self._convolutions())

    def weights(self) -> int:
        """Weights of the convolutions, biases and PReLU slopes."""
        biases = sum(
            layer.channels * (2 if layer.activation == "prelu" else 1) for layer in self.layers if layer.kind == "conv"
        )
        return biases + sum(weights for _, weights in self._convolutions())

    def _convolutions(self) -> list[tuple[int, int]]:
        channels, found = 3, []
        for layer, side in zip(self.layers, self._sides(), strict=True):
            if layer.kind == "conv":
                found.append((side, layer.kernel**2 * channels * layer.channels))
                channels = layer.channels
        return found

    def with_heads(self, heads: tuple[Head, ...]) -> Architecture:
        """The same network with these heads in its last layer."""
        layers = (*self.layers[:-1], replace(self.layers[-1], channels=width_of(heads)))
        return replace(self, layers=layers, heads=heads)

    def without_landmarks(self) -> Architecture:
        """The same network with the heads for face and box alone."""
        return self.with_heads(DETECTION_HEADS[:2])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `from_dict` reads them back. Heads that follow from the outputs are left out."""
        values = asdict(self)
        if self.heads == detection_heads(self.outputs):
            del values["heads"]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Architecture:
        """The architecture that `to_dict` wrote. Raises KeyError, TypeError or ValueError for anything else."""
        layers = tuple(Layer(**layer) for layer in values["layers"])
        heads = tuple(Head(**head) for head in values.get("heads", ()))
        name, input_size, window = values["name"], values["input_size"], values["window"]
        if not isinstance(name, str) or type(input_size) is not int or type(window) not in (int, float):
            raise TypeError("a name, an integer input_size and a number window expected")
        return cls(name, values["stage"], input_size, float(window), layers, heads)


def _conv(channels: int, kernel: int, stride: int = 1, activation: Literal["relu", "prelu"] = "relu") -> Layer:
    return Layer("conv", kernel, stride, channels, activation)


def _prelu(channels: int, kernel: int) -> Layer:
    return _conv(channels, kernel, activation="prelu")


def _heads() -> Layer:
    return Layer("conv", kernel=1, channels=width_of(DETECTION_HEADS))


# Zhang et al., "Joint Face Detection and Alignment using Multi-task Cascaded Convolutional Networks" (2016), figure 2.
PAPER = {
    "pnet": Architecture(
        "paper", "pnet", 12, 12, (_prelu(10, 3), Layer("pool", 2, 2), _prelu(16, 3), _prelu(32, 3), _heads())
    ),
    "rnet": Architecture(
        "paper",
        "rnet",
        24,
        24,
        (
            _prelu(28, 3),
            Layer("pool", 3, 2),
            _prelu(48, 3),
            Layer("pool", 3, 2),
            _prelu(64, 2),
            _prelu(128, 3),
            _heads(),
        ),
    ),
    "onet": Architecture(
        "paper",
        "onet",
        48,
        48,
        (
            _prelu(32, 3),
            Layer("pool", 3, 2),
            _prelu(64, 3),
            Layer("pool", 3, 2),
            _prelu(64, 3),
            Layer("pool", 2, 2),
            _prelu(128, 2),
            _prelu(256, 3),
            _heads(),
        ),
    ),
}


def _convolutions(channels: tuple[int, ...], strides: tuple[int, ...]) -> tuple[Layer, ...]:
    """3×3 convolutions with ReLU, and the output layer."""
    return (*(_conv(count, 3, stride) for count, stride in zip(channels, strides, strict=True)), _heads())


def _strided(
    name: str, pnet: tuple[int, ...], rnet: tuple[int, ...], onet: tuple[int, ...], lnet: tuple[int, ...]
) -> dict[str, Architecture]:
    """A set of four networks of these channels."""
    strides = (2, 2, 1, 2, 1, 1)
    return {
        "pnet": Architecture(name, "pnet", 23, 12, _convolutions(pnet, (2, 2, 1, 1))),
        "rnet": Architecture(name, "rnet", 32, 18, _convolutions(rnet, (2, 2, 1, 1, 1))),
        "onet": Architecture(name, "onet", 56, 32, _convolutions(onet, strides)),
        # layers like O-Net's over the aligned crop, as recognition sees it: its window is ArcFace's square
        "lnet": Architecture(name, "lnet", 56, 56, _convolutions(lnet, strides)),
    }


# The default set: strided convolutions in place of pooling, multiples of 4 channels, ReLU, and context around
# every window. P-Net has a stride of 4 pixels, not 2: it classifies a quarter of the windows and can afford more depth.
DEFAULT = _strided(
    "default",
    pnet=(12, 24, 24, 32),
    rnet=(16, 32, 48, 64, 96),
    onet=(16, 32, 64, 128, 192, 256),
    lnet=(16, 32, 64, 64, 128, 192),
)

# The same with fewer channels, for slow processors: about half of the multiply-adds of every stage.
SMALL = _strided(
    "small",
    pnet=(8, 16, 24, 24),
    rnet=(8, 24, 32, 48, 64),
    onet=(16, 24, 48, 80, 128, 160),
    lnet=(16, 24, 40, 40, 80, 128),
)

# The default's P-, R- and L-Net, and an O-Net of four times the multiply-adds: it sees a few dozen crops of a photo.
ACCURATE = DEFAULT | {
    "onet": Architecture(
        "accurate", "onet", 72, 32, _convolutions((32, 48, 96, 128, 192, 256, 256), (2, 2, 1, 2, 1, 1, 1))
    )
}

ARCHITECTURES: dict[str, dict[str, Architecture]] = {
    "default": DEFAULT,
    "accurate": ACCURATE,
    "small": SMALL,
    "paper": PAPER,
}
