"""Videos and cameras: reading and writing frames with their times, and the people in them."""

from cascade.video.analysis import SeenFrame, TrackSummary, VideoAnalyzer, analyze
from cascade.video.errors import CameraError, StreamError, VideoError, VideoWarning, VideoWriteError
from cascade.video.frames import VideoFrame
from cascade.video.reading import VideoInfo, VideoReader, VideoSource, read_video
from cascade.video.writing import VideoWriter

__all__ = [
    "CameraError",
    "SeenFrame",
    "StreamError",
    "TrackSummary",
    "VideoAnalyzer",
    "VideoError",
    "VideoFrame",
    "VideoInfo",
    "VideoReader",
    "VideoSource",
    "VideoWarning",
    "VideoWriteError",
    "VideoWriter",
    "analyze",
    "read_video",
]
