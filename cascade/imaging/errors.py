"""What reading an image raises and warns of."""

from __future__ import annotations

LONGEST = 300  # characters of a message: more than a terminal or a log line can show is no help
LONGEST_NAME = 120


class ImageError(ValueError):
    """An image that cannot be read. The message names the argument, what was expected and what was given.

    ``index`` is its place among several images, of `Detector.detect_batch`.
    """

    index: int | None = None

    def __init__(self, message: str) -> None:
        super().__init__(shortened(message, LONGEST))


class ImageWarning(UserWarning):
    """An image was read, but something about its file is wrong. The message names the file."""


def shortened(text: str, longest: int) -> str:
    """The text, with its middle left out if it has more characters than ``longest``."""
    half = (longest - 3) // 2
    return text if len(text) <= longest else f"{text[:half]} … {text[-half:]}"


def quoted(name: object) -> str:
    """A file's name as a message shows it."""
    return shortened(repr(name), LONGEST_NAME)
