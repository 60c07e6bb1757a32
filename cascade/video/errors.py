"""What reading and writing videos raises and warns of, and the one place that imports PyAV."""

from __future__ import annotations

import errno
from typing import Any

from cascade.imaging.errors import LONGEST, quoted, shortened

__all__ = ["CameraError", "StreamError", "VideoError", "VideoWarning", "VideoWriteError", "import_av"]


class VideoError(ValueError):
    """A video that cannot be read. The message names the argument, what was expected and what was given."""

    def __init__(self, message: str) -> None:
        super().__init__(shortened(message, LONGEST))


class CameraError(VideoError):
    """A camera that is not there, is in use or gives no pictures."""


class StreamError(VideoError):
    """A network stream that cannot be reached, or was lost and did not come back."""


class VideoWriteError(VideoError):
    """A video that cannot be written: a full disk, no permission, a size that the encoder refuses."""


class VideoWarning(UserWarning):
    """A video was read, but something about it is wrong. The message names the file."""


def import_av() -> Any:
    """The package ``av`` (PyAV). Raises ImportError naming the extra that installs it."""
    try:
        import av
        import av.filter
    except ImportError as error:
        raise ImportError("videos need the package av: python -m pip install 'cascade-faces[video]'") from error
    return av


def reason_of(error: BaseException) -> str:
    """What an error of FFmpeg or of the system says, without its number and file."""
    number = getattr(error, "errno", None)
    if number == errno.ENOSPC:
        return "the disk is full"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text)


def named(source: object) -> str:
    """A source as messages show it. The user name and password of an address are left out."""
    text = str(source)
    scheme, found, rest = text.partition("://")
    host, slash, path = rest.partition("/")
    if found and "@" in host:
        text = f"{scheme}://***@{host.rpartition('@')[2]}{slash}{path}"
    return quoted(text)
