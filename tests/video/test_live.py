"""Cameras and network streams: the newest frame, a lost connection, and one that does not come back."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av")

from cascade.video import CameraError, StreamError, VideoInfo, read_video
from cascade.video.live import LiveSource, Stream
from tests.photos import portrait
from tests.video.clips import quarters, write_clip


@contextmanager
def stream_server(data: bytes, connections: int, seconds: float = 0.0) -> Iterator[int]:
    """A port that gives each of so many connections the data, spread over some seconds, and then hangs up."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for _ in range(connections):
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                for at in range(0, len(data), 4096):
                    try:
                        connection.sendall(data[at : at + 4096])
                    except OSError:
                        break
                    time.sleep(seconds * 4096 / len(data))
        server.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        server.close()


@pytest.fixture(scope="module")
def transport_stream(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("live") / "a.ts"
    images = (np.roll(portrait()[:240, :320], 3 * at, axis=1) for at in range(50))
    return write_clip(path, images, options={"g": "10", "tune": "zerolatency"}).read_bytes()


def test_connects_again_and_then_says_that_the_stream_is_lost(transport_stream: bytes) -> None:
    with stream_server(transport_stream, 3, seconds=0.5) as port:
        source = LiveSource(lambda: Stream(f"tcp://127.0.0.1:{port}", 1), "a stream", first_wait=0.05, give_up=1.0)
        frames = []

        def read() -> None:
            for frame in source.frames():
                frames.append(frame)

        with pytest.raises(StreamError, match="a stream was lost: no frame for"):
            read()
        source.close()
    assert source.reconnected == 2
    assert len(frames) > 10
    assert np.diff([frame.time for frame in frames]).min() > 0
    assert np.diff([frame.index for frame in frames]).min() > 0
    assert frames[0].time < 1
    assert frames[0].image.shape == (240, 320, 3)


def test_a_slow_consumer_gets_the_newest_frame(transport_stream: bytes) -> None:
    with stream_server(transport_stream, 1, seconds=2) as port, read_video(f"tcp://127.0.0.1:{port}") as reader:
        assert reader.info.live
        first = next(reader)
        time.sleep(0.8)
        second = next(reader)
    assert second.index - first.index > 5
    assert second.time - first.time > 0.3


def test_a_picture_needs_its_connection_no_more(tmp_path: Path) -> None:
    # the consumer takes the newest picture when the thread may have closed the connection; PyAV reads freed memory then
    clip = write_clip(tmp_path / "a.mp4", [quarters()] * 2, sample_aspect_ratio=Fraction(3, 2))
    stream = Stream(clip, 1)
    image, _ = next(stream.pictures())
    stream.close()
    del stream._recording.container, stream._recording.stream
    assert image().shape == (48, 96, 3)


def test_a_stream_that_is_not_there_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(StreamError, match="refused"):
        read_video(f"rtsp://127.0.0.1:{port}/live")


def test_a_camera_that_is_not_there_is_an_error() -> None:
    pytest.importorskip("cv2")
    with pytest.raises(CameraError, match="there is no camera 99"):
        read_video(99)
    with pytest.raises(CameraError, match="0 or more"):
        read_video(-1)
    with pytest.raises(ValueError, match="live: expected True or None"):
        read_video(0, live=False)


class Counter:
    """A connection that gives so many pictures and then fails as drivers do."""

    info = VideoInfo(25.0, None, "counter", audio=False, live=True)
    damaged = 2
    closed = False

    def __init__(self, count: int) -> None:
        self._count = count

    def pictures(self) -> Iterator[Any]:
        for at in range(self._count):
            time.sleep(0.01)
            yield (lambda at=at: np.full((2, 2, 3), at, np.uint8)), None
        raise RuntimeError("the driver failed")

    def close(self) -> None:
        self.closed = True


def test_takes_no_more_frames_than_asked_for_and_stops() -> None:
    source = LiveSource(lambda: Counter(1000), "a camera")
    times = []
    for frame in source.frames(every=3, start=0.1, stop=0.5):
        times.append((frame.time, frame.index))
    source.close()
    assert all(0.1 <= moment < 0.5 for moment, _ in times)
    assert np.diff([index for _, index in times]).min() >= 3
    assert list(source.frames()) == []


def test_says_why_a_source_was_lost() -> None:
    source = LiveSource(lambda: Counter(2), "a camera", first_wait=0.01, give_up=-1.0)
    with pytest.raises(StreamError, match="the driver failed"):
        list(source.frames())
    assert source.damaged == 2


def test_a_connection_that_is_made_while_the_source_closes_is_closed() -> None:
    connections: list[Counter] = []
    connecting, go_on = threading.Event(), threading.Event()

    def connect() -> Counter:
        if connections:
            connecting.set()
            go_on.wait(10)
        connections.append(Counter(1))
        return connections[-1]

    source = LiveSource(connect, "a camera", first_wait=0.01)
    assert connecting.wait(10)
    threading.Timer(0.1, go_on.set).start()
    source.close()
    source._thread.join(10)
    assert [connection.closed for connection in connections] == [True, True]


class Stuck(Counter):
    """A connection that cannot be ended."""

    def close(self) -> None:
        raise RuntimeError("out of order")


@pytest.mark.parametrize("first", [Counter, Stuck])
def test_what_the_thread_did_not_expect_reaches_the_consumer(first: type[Counter]) -> None:
    made: list[Counter] = []

    def connect() -> Counter:
        if made:
            raise RuntimeError("out of order")
        made.append(first(1))
        return made[-1]

    errors: list[Exception] = []

    def read() -> None:
        try:
            list(source.frames())
        except Exception as error:
            errors.append(error)

    source = LiveSource(connect, "a camera", first_wait=0.01)
    reader = threading.Thread(target=read, daemon=True)  # so that the test fails, not waits, if no error comes
    reader.start()
    reader.join(10)
    assert [str(error) for error in errors] == ["source: a camera was lost: out of order"]
    assert isinstance(errors[0], StreamError) and isinstance(errors[0].__cause__, RuntimeError)
