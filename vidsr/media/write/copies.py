"""The streams that are copied, not upscaled: which of them a container can hold, known before any work is done."""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.stream import DataStream, Discard, Stream

from vidsr.media.containers import Container
from vidsr.media.read.probe import SourceInfo, is_cover, open_source
from vidsr.media.timecode import is_timecode, tagged_timecode
from vidsr.media.write.subtitles import TextTrack, converted_codec
from vidsr.media.write.tags import TagPlan, labels_of, plan_tags

_COVER_SUFFIXES = {"mjpeg": "jpg"}
_COVER_MIME_TYPES = {"mjpeg": "jpeg"}
# By number of channels, for files that do not say which speakers they are for.
_USUAL_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


@dataclass(frozen=True, kw_only=True)
class CopyPlan:
    """What travels along from a source into a container, and what does not."""

    streams: tuple[int, ...]  # indices of streams that become streams
    covers: tuple[int, ...]  # indices of cover pictures that become attachments
    converted: Mapping[int, str]  # of `streams`, the subtitles that get another codec, and which
    tags: TagPlan  # of the file, of the video and of `streams`
    losses: tuple[str, ...]  # one line for each thing that is left out
    conversions: tuple[str, ...]  # one line for each thing that gets another form

    def add_to(
        self, out: OutputContainer, original: InputContainer, texts: Mapping[int, TextTrack]
    ) -> dict[int, Stream]:
        """Add the copies to an output whose header is not written yet.

        Args:
            out: the output.
            original: the source.
            texts: the tracks of `converted`.

        Returns:
            The new stream for each index of the source whose packets are to be copied.
        """
        for index in self.covers:
            _attach_cover(out, original, index)
        copies: dict[int, Stream] = {}
        for index in self.streams:
            copy = texts[index].add_to(out) if index in texts else _add_copy(out, original.streams[index])
            self.tags.labels[index].apply(copy)
            if index not in texts:
                copies[index] = copy
        return copies


def plan_copies(source: SourceInfo, container: Container) -> CopyPlan:
    """Find out what of the source's other streams a container takes.

    Args:
        source: where they come from.
        container: where they are to go.

    Raises:
        SourceError: the source cannot be opened any more.
    """
    if not container.holds_streams:
        return _plan_beside_pictures(source)
    streams, covers, losses, conversions = [], [], [], []
    converted: dict[int, str] = {}
    with open_source(source.header_file) as original:
        for stream in original.streams:
            if stream.index == source.video.stream_index or _is_made_anew(stream, original):
                continue
            reason = _why_not(stream, container)
            codec = _converted(stream, container) if reason is not None else None
            if codec is not None:
                converted[stream.index] = codec
                streams.append(stream.index)
                conversions.append(f"{_describe(stream)} becomes {codec}: text, times, bold and italics stay")
            elif reason is not None:
                losses.append(f"left out: {_describe(stream)}: {reason}")
            elif is_cover(stream) and container.covers == "attachment":
                covers.append(stream.index)
            else:
                streams.append(stream.index)
        tags = _plan_tags(original, source.video.stream_index, streams, container)
        losses += _lost_tags(original, tags, container)
        for given in (original.metadata, original.streams[source.video.stream_index].metadata):
            timecode = tagged_timecode(given)
            if timecode is not None and not is_timecode(timecode):
                losses.append(f"left out: the time code {timecode!r}, which is none (hh:mm:ss:ff)")
    return CopyPlan(
        streams=tuple(streams),
        covers=tuple(covers),
        converted=converted,
        tags=tags,
        losses=tuple(losses),
        conversions=tuple(conversions),
    )


def _plan_beside_pictures(source: SourceInfo) -> CopyPlan:
    with open_source(source.header_file) as original:
        others = [s for s in original.streams if s.index != source.video.stream_index]
        left_out = [_describe(stream) for stream in others if not _is_made_anew(stream, original)]
    return CopyPlan(
        streams=(),
        covers=(),
        converted={},
        tags=TagPlan(file_tags={}, labels={}, keeps_any_tag=False, lost_file_tags=(), lost_labels={}),
        losses=tuple(f"left out: {stream}: an image sequence holds pictures only" for stream in left_out),
        conversions=(),
    )


def _plan_tags(original: InputContainer, video: int, streams: list[int], container: Container) -> TagPlan:
    labels = {n: labels_of(original.streams[n], is_upscaled=n == video) for n in (video, *streams)}
    pictures = [n for n in streams if is_cover(original.streams[n]) or original.streams[n].type == "attachment"]
    return plan_tags(container, original.metadata, labels, unchecked=pictures)


def _lost_tags(original: InputContainer, tags: TagPlan, container: Container) -> list[str]:
    lines = [
        f"left out: {', '.join(names)} of {_describe(original.streams[index])}: {container.name} has no place for it"
        for index, names in tags.lost_labels.items()
    ]
    if tags.lost_file_tags:
        names = ", ".join(tags.lost_file_tags)
        lines.append(f"left out: tags of the file: {names}: {container.name} has no place for them")
    return lines


def _is_made_anew(stream: Stream, original: InputContainer) -> bool:
    """Whether the target's muxer writes this track by itself: of the chapters, or of the video's time code."""
    if not isinstance(stream, DataStream):
        return False
    if stream.name == "bin_data" and stream.discard == Discard.all:  # how the demuxer marks a QuickTime chapter track
        return True
    timecode = tagged_timecode(stream.metadata)
    return timecode is not None and any(timecode == tagged_timecode(v.metadata) for v in original.streams.video)


def _why_not(stream: Stream, container: Container) -> str | None:
    if isinstance(stream, DataStream):
        # GoPro's telemetry. Of other kinds FFmpeg's muxers lose the sample description or the whole track.
        if container.telemetry and stream.name == "bin_data":
            return _trial(stream, container)
        return f"{container.name} as FFmpeg writes it cannot hold {stream.name or 'this kind of data'}"
    if stream.type == "video" and not is_cover(stream):
        return "only the first video stream is upscaled"
    if is_cover(stream) and container.covers != "stream":
        return f"{container.name} cannot hold cover pictures" if container.covers is None else None  # any image goes
    if stream.type == "attachment":
        return None if container.attachments else f"{container.name} cannot hold attachments"
    return _trial(stream, container)


def _converted(stream: Stream, container: Container) -> str | None:
    if stream.type != "subtitle" or stream.codec_context is None:
        return None
    return converted_codec(stream.codec_context.codec.canonical_name, container)


def _trial(stream: Stream, container: Container) -> str | None:
    """What the container would fail with at its header: one stream must not cost the whole file."""
    trial = av.open(io.BytesIO(), "w", format=container.name)
    try:
        if stream.codec_context is not None:
            codec = stream.codec_context.codec
            if not {codec.name, codec.canonical_name} & trial.supported_codecs:
                return f"{container.name} cannot hold {codec.canonical_name}"
        if stream.type not in ("video", "attachment"):
            _add_copy(trial, stream)
            trial.start_encoding()
    except (ValueError, av.error.FFmpegError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return f"{container.name} cannot hold it ({reason})"
    finally:
        with suppress(ValueError, av.error.FFmpegError):  # a file without packets may have no valid end
            trial.close()
    return None


def _add_copy(out: OutputContainer, stream: Stream) -> Stream:
    copy: Stream = out.add_stream_from_template(stream, opaque=True)
    if isinstance(copy, AudioStream) and copy.codec_context.layout.name.endswith(" channels"):
        usual = _USUAL_LAYOUTS.get(copy.codec_context.layout.nb_channels)
        if usual is not None:  # PCM in MP4 fails without a name for its channels
            copy.codec_context.layout = usual
    return copy


def _attach_cover(out: OutputContainer, original: InputContainer, index: int) -> None:
    """Matroska keeps covers as attachments; as a stream it would become a second video track."""
    stream = original.streams[index]
    with av.open(original.name) as again:
        packets = again.demux(again.streams[index])
        data = next((bytes(packet) for packet in packets if packet.size), b"")
    codec = stream.codec_context.name
    name = stream.metadata.get("filename", f"cover.{_COVER_SUFFIXES.get(codec, codec)}")
    out.add_attachment(name, f"image/{_COVER_MIME_TYPES.get(codec, codec)}", data)


def _describe(stream: Stream) -> str:
    codec = stream.codec_context.name if stream.codec_context is not None else getattr(stream, "name", None)
    language = f", {stream.language}" if stream.language else ""
    return f"stream {stream.index} ({stream.type}, {codec or 'unknown'}{language})"
