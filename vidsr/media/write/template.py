"""The video stream of a target, made like a segment's, with what only a container says of the picture."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

import av
from av.container import InputContainer, OutputContainer
from av.video.stream import VideoStream

from vidsr.media.containers import MATROSKA, Container
from vidsr.media.write.matroska import VideoFields, placeholder, write_fields


def add_video(out: OutputContainer, container: Container, source: InputContainer, fields: VideoFields) -> VideoStream:
    """Add a stream for the packets of a segment file to an output whose header is not written yet.

    Containers with side data will say of HDR and views what the fields do; Matroska gets its fields when the file is
    complete. Packets may be taken from the segment: open it anew to read them all.
    """
    segment = source.streams.video[0]
    is_plain = fields.hdr is None and fields.stereo is None and fields.sphere is None
    if is_plain or container.picture_fields != "side data":
        return _add(out, container, segment, segment)
    # FFmpeg has these as side data of a stream, which PyAV only copies: from a file that has them, then.
    with _described(source, segment, fields) as template:
        return _add(out, container, template, segment)


def _add(out: OutputContainer, container: Container, template: VideoStream, segment: VideoStream) -> VideoStream:
    stream = out.add_stream_from_template(template, opaque=True)
    context, given = stream.codec_context, segment.codec_context
    if template is not segment:  # Matroska has milliseconds, and decoder settings that do not fit the packets
        assert segment.time_base is not None
        stream.time_base = segment.time_base
        context.extradata = given.extradata
    if context.name == "prores":  # its tag is its profile; the default one says 422 even of 4444
        context.codec_tag = given.codec_tag
    if context.name in container.codec_tags:
        context.codec_tag = container.codec_tags[context.name]
    return stream


@contextmanager
def _described(source: InputContainer, segment: VideoStream, fields: VideoFields) -> Iterator[VideoStream]:
    """The stream of a file in memory that holds the segment's first packet and says all of `fields`."""
    memory = io.BytesIO()
    with av.open(memory, "w", format=MATROSKA.name) as out:
        stream = _add(out, MATROSKA, segment, segment)
        stream.metadata["title"] = placeholder("")
        packet = next(packet for packet in source.demux(segment) if packet.size)
        packet.pts = packet.dts = 0
        packet.stream = stream
        out.mux_one(packet)
    write_fields(memory, "", fields)
    memory.seek(0)
    with av.open(memory, format=MATROSKA.name) as again:
        yield again.streams.video[0]
