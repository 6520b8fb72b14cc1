"""Tags, languages and dispositions: which of them a container keeps, known by writing and reading back a tiny file."""

from __future__ import annotations

import dataclasses
import io
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
from av.packet import Packet
from av.stream import Disposition, Stream

from vidsr.media.containers import Container

# What a muxer writes by itself, or what is true of the old file only.
_ABOUT_THE_FILE = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder"})
_ABOUT_THE_PICTURES = frozenset({"encoder", "alpha_mode", "stereo_mode"})  # the join says these of the new ones
_STATISTICS = re.compile(r"(BPS|DURATION|NUMBER_OF_FRAMES|NUMBER_OF_BYTES|_STATISTICS_\w+)(-\w+)?$", re.IGNORECASE)
# No loss if they are gone: names of software, what the muxer writes in another place.
_TRIFLES = frozenset({"encoder", "vendor_id", "handler_name", "timecode", "creation_time"})
# Players look for these where FFmpeg writes them only if it does not write tags by any name.
_TAGS_OF_PLAYERS = frozenset({"title", "artist", "album"})
_UNTOLD_LANGUAGE = "und"
# Of each language with two codes in ISO 639-2: the bibliographic and the terminological one.
_PAIRS = (
    "alb/sqi arm/hye baq/eus bur/mya chi/zho cze/ces dut/nld fre/fra geo/kat ger/deu "
    "gre/ell ice/isl mac/mkd mao/mri may/msa per/fas rum/ron slo/slk tib/bod wel/cym"
)
_SAME_LANGUAGE = {a: b for a, b in re.findall(r"(\w+)/(\w+)", _PAIRS) for a, b in ((a, b), (b, a))}
# MP4 sets or needs this by itself; the others are compared.
_NOT_COMPARED = Disposition.default | Disposition.attached_pic


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What a stream says of itself."""

    tags: Mapping[str, str]
    disposition: int

    def apply(self, stream: Stream) -> None:
        stream.metadata.update(self.tags)
        stream.disposition = Disposition(self.disposition)


def labels_of(stream: Stream, *, is_upscaled: bool) -> Labels:
    """The labels that are still true of a copy of the stream, or of its upscaled pictures."""
    untrue = _ABOUT_THE_PICTURES if is_upscaled else frozenset()
    tags = {k: v for k, v in stream.metadata.items() if k.lower() not in untrue and not _STATISTICS.match(k)}
    if "name" in tags and "title" not in tags:  # MP4's demuxer calls it by the one, its muxer by the other name
        tags["title"] = tags.pop("name")
    return Labels(tags=tags, disposition=int(stream.disposition))


_NO_LABELS = Labels(tags={}, disposition=0)


@dataclass(frozen=True, kw_only=True)
class TagPlan:
    """What the target says of itself, and what it cannot say."""

    file_tags: Mapping[str, str]
    labels: Mapping[int, Labels]  # by index of the source's stream
    keeps_any_tag: bool  # MP4 and MOV are written with tags by any name, not with the few that all players know
    lost_file_tags: tuple[str, ...]
    lost_labels: Mapping[int, tuple[str, ...]]  # only of streams that lose something


def plan_tags(
    container: Container, file_tags: Mapping[str, str], labels: Mapping[int, Labels], unchecked: Collection[int] = ()
) -> TagPlan:
    """Choose how tags are written, so that most are kept, and find out what is lost.

    Args:
        container: which is to keep them.
        file_tags: of the source.
        labels: of the streams that the target will have, by any index.
        unchecked: indices of cover pictures and attachments, whose labels are not tried.
    """
    file_tags = {k: v for k, v in file_tags.items() if k.lower() not in _ABOUT_THE_FILE and not _is_echo(k, file_tags)}
    checked = [index for index in labels if index not in unchecked]
    keeps_any_tag = container.tags == "keys" or (
        container.tags == "few or keys"
        and not unchecked  # covers are only written beside the usual tags
        and not any(key.lower() in _TAGS_OF_PLAYERS for key in file_tags)
        and bool(lost_tags(file_tags, read_back(container, file_tags, [_NO_LABELS], {})[0]))
    )
    options = {"movflags": "+use_metadata_tags"} if keeps_any_tag else {}
    writable = _with_writable_languages(container, [labels[index] for index in checked], options)
    kept_tags, kept = read_back(container, file_tags, writable, options)
    lost = {index: tuple(lost_labels(*pair)) for index, *pair in zip(checked, writable, kept, strict=True)}
    return TagPlan(
        file_tags=file_tags,
        labels={**labels, **dict(zip(checked, writable, strict=True))},
        keeps_any_tag=keeps_any_tag,
        lost_file_tags=tuple(lost_tags(file_tags, kept_tags)),
        lost_labels={index: names for index, names in lost.items() if names},
    )


def _is_echo(key: str, tags: Mapping[str, str]) -> bool:
    """Whether a tag repeats another with its language behind the name ("make-fra"), as FFmpeg's MP4 demuxer does."""
    name, dash, language = key.rpartition("-")
    return bool(dash) and len(language) == 3 and (name in _ABOUT_THE_FILE or tags.get(name) == tags[key])


def read_back(
    container: Container, file_tags: Mapping[str, str], labels: Sequence[Labels], options: Mapping[str, str]
) -> tuple[dict[str, str], list[Labels]]:
    """What is read from a file that was written with these labels, on streams that stand in for the real ones.

    Args:
        container: which is to keep them.
        file_tags: of the file.
        labels: of its streams.
        options: of the muxer.
    """
    memory = io.BytesIO()
    with av.open(memory, "w", format=container.name, options=dict(options)) as out:
        out.metadata.update(_without_timecode(file_tags))
        streams = []
        for label in labels:
            stream = out.add_mux_stream(container.stand_in_codec, rate=25, width=16, height=16)
            stream.time_base = Fraction(1, 1000)
            stream.metadata.update(_without_timecode(label.tags))
            stream.disposition = Disposition(label.disposition & ~_NOT_COMPARED)
            streams.append(stream)
        for stream in streams:
            packet = Packet(bytes(16))
            packet.stream, packet.time_base = stream, Fraction(1, 1000)
            packet.pts = packet.dts = 0
            packet.duration, packet.is_keyframe = 40, True
            out.mux_one(packet)
    memory.seek(0)
    with av.open(memory, metadata_errors="replace") as given:
        found = [Labels(tags=dict(s.metadata), disposition=int(s.disposition)) for s in given.streams]
        return dict(given.metadata), found


def _with_writable_languages(
    container: Container, labels: Sequence[Labels], options: Mapping[str, str]
) -> list[Labels]:
    """The labels with each language that the container drops replaced by its other code, where that one is kept."""
    _, found = read_back(container, {}, labels, options)
    twins = []
    for given, kept in zip(labels, found, strict=True):
        language = given.tags.get("language", "")
        is_lost = kept.tags.get("language") != language and language in _SAME_LANGUAGE
        tags = {**given.tags, "language": _SAME_LANGUAGE[language]} if is_lost else given.tags
        twins.append(dataclasses.replace(given, tags=tags))
    _, found = read_back(container, {}, twins, options)
    return [
        twin if twin.tags.get("language") == kept.tags.get("language") else given
        for given, twin, kept in zip(labels, twins, found, strict=True)
    ]


def lost_tags(given: Mapping[str, str], kept: Mapping[str, str]) -> list[str]:
    """Names of the tags that are gone or say something else; case does not count, as Matroska has capitals only."""
    found = {key.lower(): value for key, value in kept.items()}
    found.setdefault("title", found.get("name", ""))
    lost = []
    for key, value in given.items():
        name = key.lower()
        if name in _TRIFLES or not value or (name == "language" and value == _UNTOLD_LANGUAGE):
            continue
        if not _is_same(name, value, found.get(name, "")):
            lost.append(f"language {value}" if name == "language" else key)
    return lost


def _is_same(name: str, value: str, other: str) -> bool:
    if name != "location" or not other:
        return value == other
    degrees, others = ([float(part) for part in re.findall(r"[+-][\d.]+", text)] for text in (value, other))
    return len(degrees) == len(others) and all(abs(a - b) < 1e-3 for a, b in zip(degrees, others, strict=True))


def lost_labels(given: Labels, kept: Labels) -> list[str]:
    """Names of the tags and dispositions of a stream that are gone."""
    gone = Disposition(given.disposition & ~kept.disposition & ~_NOT_COMPARED)
    return [*lost_tags(given.tags, kept.tags), *(flag.name for flag in gone if flag.name is not None)]


def _without_timecode(tags: Mapping[str, str]) -> dict[str, str]:
    """It would need a track of its own."""
    return {key: value for key, value in tags.items() if key.lower() != "timecode"}
