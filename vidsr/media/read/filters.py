"""FFmpeg's filters on video frames: a graph for one size and format, frames pushed in, frames that come out."""

from __future__ import annotations

from fractions import Fraction

from av.filter import Graph
from av.filter.context import FilterContext
from av.video.frame import VideoFrame


def add_source(
    graph: Graph, frame: VideoFrame, time_base: Fraction, frame_rate: Fraction | None = None
) -> FilterContext:
    """The node that takes frames of this one's size and format; some filters want to know a frame rate too."""
    settings = {
        "video_size": f"{frame.width}x{frame.height}",
        "pix_fmt": frame.format.name,
        "time_base": str(time_base),
        "pixel_aspect": "1/1",
    }
    if frame_rate is not None:
        settings["frame_rate"] = str(frame_rate)
    return graph.add("buffer", **settings)


def make_graph(frame: VideoFrame, name: str, **settings: str) -> Graph:
    """One filter by itself; its frames are numbered by their pts."""
    graph = Graph()
    graph.threads = 1
    source = add_source(graph, frame, Fraction(1, 25))
    graph.link_nodes(source, graph.add(name, **settings), graph.add("buffersink")).configure()
    return graph


def push(graph: Graph, frame: VideoFrame | None) -> list[VideoFrame]:
    """Give a graph a frame, or None for the end, and take all that come out for it."""
    graph.vpush(frame)
    frames = []
    while True:
        try:
            frames.append(graph.vpull())
        except (BlockingIOError, EOFError):
            return frames
