"""Cameras and network streams: the newest frame comes next, and a lost connection is made again.

A thread receives the frames and stores the last one alone. So a slow consumer sees what is happening now, and the
memory does not grow.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import Any, BinaryIO, Protocol, TypeAlias

import numpy as np

from cascade.imaging.pixels import RGBImage
from cascade.video.errors import CameraError, StreamError, VideoError, named, reason_of
from cascade.video.frames import VideoFrame
from cascade.video.opening import VideoInfo
from cascade.video.recording import Recording

__all__ = ["Camera", "LiveSource", "Stream", "open_live"]

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
"""Seconds before a lost connection is made again: at first, and after doubling each time at most."""

GIVE_UP = 120.0  # seconds without a frame
SILENCE = 10.0  # seconds without a packet after which a connection counts as lost
CAMERA_FAILURES = 30  # pictures in a row that a camera fails to give

Picture: TypeAlias = tuple[Callable[[], RGBImage], float | None]
"""What makes the image of a received frame, and its time in seconds on the clock of the source, if it has one."""


class Connection(Protocol):
    """A connection to a camera or stream."""

    info: VideoInfo

    @property
    def damaged(self) -> int:
        """Damaged packets and frames that were left out."""

    def pictures(self) -> Iterator[Picture]:
        """The pictures until the connection is lost."""

    def close(self) -> None:
        """Ends the connection."""


def open_live(source: str | os.PathLike[str] | int | BinaryIO, threads: int) -> LiveSource:
    """A camera or stream, connected. Raises `CameraError` or `StreamError` where it is not there."""

    def connect() -> Connection:
        return Camera(source) if isinstance(source, int) else Stream(source, threads)

    return LiveSource(connect, named(source))


class LiveSource:
    """The newest frames of a camera or stream.

    ``connect`` makes a connection, or raises `VideoError`. It is called again, ``first_wait`` seconds after the
    connection was lost and then at doubling intervals, until no frame has come for ``give_up`` seconds.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        name: str,
        *,
        first_wait: float = FIRST_WAIT,
        give_up: float = GIVE_UP,
    ) -> None:
        self._connect = connect
        self._name = name
        self._first_wait = first_wait
        self._give_up = give_up
        self._connection = connect()
        self.info = self._connection.info
        self.reconnected = 0
        """How often the connection was made again."""
        self._damaged_before = 0
        self._changed = threading.Condition()
        self._newest: tuple[Callable[[], RGBImage], float, int] | None = None
        self._error: VideoError | None = None
        self._reason = ""
        self._closed = threading.Event()
        self._received = 0  # pictures so far, of all connections
        self._begun = self._last = 0.0  # when the first and the last of them came
        self._thread = threading.Thread(target=self._run, name="cascade-live", daemon=True)
        self._thread.start()

    @property
    def damaged(self) -> int:
        """Damaged packets and frames that were left out so far."""
        return self._damaged_before + self._connection.damaged

    def frames(self, every: int = 1, start: float = 0.0, stop: float | None = None) -> Generator[VideoFrame]:
        """The newest frame, each time that one is wanted, at least ``every`` frames after the one before.

        Raises `CameraError` or `StreamError` where the connection was lost and did not come back.
        """
        due = 0
        while (newest := self._wait(due)) is not None:
            image, seconds, index = newest
            if stop is not None and seconds >= stop:
                return
            due = index + every
            if seconds >= start:
                yield VideoFrame(seconds, index, image())

    def close(self) -> None:
        """Ends the connection."""
        self._closed.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(1.0)  # it ends by itself where the network is silent

    def _wait(self, due: int) -> tuple[Callable[[], RGBImage], float, int] | None:
        """The newest frame once its index is at least ``due``; None after `close`."""
        with self._changed:
            while not self._closed.is_set():
                if self._newest is not None and self._newest[2] >= due:
                    return self._newest
                if self._error is not None:
                    raise self._error
                self._changed.wait()
        return None

    # In the thread

    def _run(self) -> None:
        """The thread. Whatever ends it, no connection stays open, and `frames` waits for nothing that cannot come."""
        try:
            self._receive()
        except Exception as error:
            self._fail(f"was lost: {reason_of(error)}", error)

    def _receive(self) -> None:
        self._begun = self._last = time.monotonic()
        while True:
            try:
                self._take_pictures()
            except Exception as error:  # of a driver or decoder: if it lasts, the consumer is told
                self._reason = reason_of(error)
            finally:
                self._connection.close()
            if self._closed.is_set() or not self._reconnect():
                return

    def _take_pictures(self) -> None:
        """Stores the pictures of the connection until it is lost, or the source was closed."""
        offset: float | None = None
        pictures = self._connection.pictures()
        while not self._closed.is_set() and (picture := next(pictures, None)) is not None:
            image, own = picture
            self._last = time.monotonic()
            self._begun = self._begun if self._received else self._last
            since = self._last - self._begun
            offset = since - own if own is not None and offset is None else offset
            self._store(image, since if own is None or offset is None else offset + own, self._received)
            self._received += 1

    def _store(self, image: Callable[[], RGBImage], seconds: float, index: int) -> None:
        with self._changed:
            if self._newest is not None:
                seconds = max(seconds, self._newest[1] + 1e-4)
            self._newest = (image, seconds, index)
            self._changed.notify_all()

    def _reconnect(self) -> bool:
        """Makes the connection again. False if that was given up, or the source was closed."""
        wait = self._first_wait
        while not self._closed.wait(wait):
            silent = time.monotonic() - self._last
            if silent > self._give_up:
                reason = f" ({self._reason})" if self._reason else ""
                self._fail(f"was lost: no frame for {silent:.0f} s{reason}")
                return False
            try:
                connection = self._connect()
            except VideoError as error:
                self._reason = str(error).removeprefix("source: ")
                wait = min(2 * wait, LONGEST_WAIT)
                continue
            with self._changed:
                self._damaged_before += self._connection.damaged
                self._connection = connection
                self.reconnected += 1
            return True  # also where the source was closed meanwhile: the caller closes the connection
        return False

    def _fail(self, what: str, cause: Exception | None = None) -> None:
        """Has `frames` raise an error."""
        kind = CameraError if isinstance(self._connection, Camera) else StreamError
        error = kind(f"source: {self._name} {what}")
        error.__cause__ = cause
        with self._changed:
            self._error = error
            self._changed.notify_all()


class Stream:
    """A connection to an address, or to any file that is read as if it were live."""

    def __init__(self, source: str | os.PathLike[str] | BinaryIO, threads: int) -> None:
        options = {"rtsp_transport": "tcp"} if str(source).lower().startswith("rtsp") else {}
        try:
            self._recording = Recording(source, threads, timeout=SILENCE, **options)
        except VideoError as error:
            raise StreamError(str(error)) from error
        known = self._recording.info
        self.info = VideoInfo(known.rate, None, known.codec, known.audio, live=True)

    @property
    def damaged(self) -> int:
        """Damaged packets and frames that were left out."""
        return self._recording.damaged

    def pictures(self) -> Iterator[Picture]:
        """The pictures until the connection is lost."""
        for frame, seconds in self._recording.timed():
            yield partial(self._recording.image, frame), seconds

    def close(self) -> None:
        """Ends the connection."""
        self._recording.close()


class Camera:
    """A camera of this machine, through OpenCV."""

    damaged = 0

    def __init__(self, number: int) -> None:
        cv2 = _import_cv2()
        if number < 0:
            raise CameraError(f"source: expected the number of a camera, 0 or more, got {number}")
        self._number = number
        self._camera = cv2.VideoCapture(number)
        if not self._camera.isOpened():
            self._camera.release()
            raise CameraError(f"source: there is no camera {number}, or another program uses it")
        self._camera.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        rate = float(self._camera.get(cv2.CAP_PROP_FPS))
        self.info = VideoInfo(rate if 0 < rate < 1000 else None, None, "camera", audio=False, live=True)

    def pictures(self) -> Iterator[Picture]:
        """The pictures until the camera gives none."""
        failures = 0
        while failures < CAMERA_FAILURES:
            there, pixels = self._camera.read()
            if there and pixels is not None:
                failures = 0
                yield partial(_from_bgr, pixels), None
            else:
                failures += 1
                time.sleep(0.03)

    def close(self) -> None:
        """Gives the camera back."""
        self._camera.release()


def _from_bgr(pixels: Any) -> RGBImage:
    return np.ascontiguousarray(pixels[..., ::-1])


def _import_cv2() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise ImportError(
            "cameras need OpenCV: python -m pip install 'cascade-faces[opencv]', or opencv-python for windows"
        ) from error
    if "OPENCV_LOG_LEVEL" not in os.environ:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # our error says that there is no camera
    module: Any = cv2
    return module
