"""Everything beside the picture: sound, subtitles, data, attachments, chapters, tags, timecode."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from vidsr.judge.timing import Part, sound_tolerance, tolerance, track_shift
from vidsr.judge.verdict import Check, Outcome
from vidsr.media.survey.survey import Survey, Track

# What a muxer or encoder writes about its own work, or what another check looks at.
_TECHNICAL = re.compile(
    r"encoder|encoding_.*|duration.*|bps.*|number_of_.*|_statistics_.*|source_id.*|handler_name|vendor_id|language|"
    r"major_brand|minor_version|compatible_brands|timecode|filename|mimetype|stereo_mode|alpha_mode|reel_name",
    re.IGNORECASE,
)
_FLAGS = ("default", "forced", "hearing_impaired", "visual_impaired", "comment", "original", "dub", "lyrics")


@dataclass(frozen=True, kw_only=True)
class Common:
    """What tracks are held against: by how much the picture moved, on which clocks, and what all streams share."""

    shift: Fraction | None  # None: the picture has no times to tell
    source_base: Fraction
    output_base: Fraction
    output_tags: Mapping[str, str]  # of the container: Matroska has the time of creation only there
    slack: Fraction = Fraction(0)  # seconds by which the shift may be off: it comes from other frames


@dataclass(frozen=True, kw_only=True)
class _Content:
    outcome: Outcome
    text: str
    skipped: int = 0  # packets of the source before the output's first
    is_paired: bool = True  # packet n + skipped of the source is packet n of the output


def pair_tracks(source: Sequence[Track], output: Sequence[Track]) -> list[tuple[Track, Track | None]]:
    """Each source track with what became of it: the same payload first, then the same codec, then the same kind."""
    left = list(output)
    found: dict[int, Track] = {}
    rules: tuple[Callable[[Track, Track], bool], ...] = (
        lambda a, b: a.payload == b.payload,
        lambda a, b: bool(a.texts) and a.texts == b.texts,
        lambda a, b: a.codec == b.codec and a.kind not in ("cover", "attachment"),
        lambda a, b: a.kind in ("audio", "subtitle", "video"),
    )
    for rule in rules:
        for track in source:
            if track.index in found:
                continue
            match = next((other for other in left if other.kind == track.kind and rule(track, other)), None)
            if match is not None:
                found[track.index] = match
                left.remove(match)
    return [(track, found.get(track.index)) for track in source]


def check_track(source: Track, output: Track | None, part: Part, common: Common) -> Check:
    """One stream: there, with its bytes, its times and its names."""
    name = f"stream {source.index} ({source.kind}, {source.codec}"
    name += f", {source.language})" if source.language else ")"
    if output is None:
        begin, end = _inside(source, part)
        if not part.is_whole and source.kind == "subtitle" and begin == end:
            return Check(name=name, outcome="ok", found="has nothing in this part")
        return Check(name=name, outcome="lost", found="not there", expected=_amount(source))
    content = _content(source, output, part, common)
    findings = [(content.outcome, content.text)]
    if source.kind in ("audio", "subtitle", "data"):
        findings += _track_times(source, output, content, part, common)
    findings += _names(source, output, common)
    order = ("ok", "lost", "wrong")
    outcome = max((finding[0] for finding in findings), key=order.index)
    return Check(name=name, outcome=outcome, found=", ".join(text for _, text in findings), expected=_amount(source))


def _amount(track: Track) -> str:
    if track.kind in ("attachment", "cover"):
        return track.name or "the same file"
    return f"{len(track.packets)} packets"


def _content(source: Track, output: Track, part: Part, common: Common) -> _Content:
    if part.is_whole or source.kind in ("attachment", "cover"):
        return _whole(source, output)
    return _piece(source, output, part, common)


def _whole(source: Track, output: Track) -> _Content:
    if source.packets == output.packets and source.payload == output.payload:
        count = f"{len(source.packets)} packets, " if source.packets and source.kind != "cover" else ""
        return _Content(outcome="ok", text=f"{count}the same bytes")
    if source.payload == output.payload:
        return _Content(outcome="ok", text="the same bytes, in other packets", is_paired=False)
    if source.texts and source.texts == output.texts:
        changed = "" if source.codec == output.codec else f", as {output.codec}"
        return _Content(outcome="ok", text=f"the same {len(source.texts)} texts{changed}")
    if source.codec != output.codec:
        return _Content(outcome="lost", text=f"encoded anew as {output.codec}", is_paired=False)
    return _differing(source, output)


def _differing(source: Track, output: Track) -> _Content:
    text = f"{len(output.packets)} packets instead of {len(source.packets)}"
    if len(output.packets) == len(source.packets):
        text = f"{len(output.packets)} packets, not the same"
    skip = _find_run(output.packets, source.packets, 0)
    if skip is not None:
        begin, end = skip, len(source.packets) - skip - len(output.packets)
        where = [f"{begin} at the beginning"] * bool(begin) + [f"{end} at the end"] * bool(end)
        return _Content(outcome="wrong", text=f"{text}: {' and '.join(where)} not there", skipped=skip)
    pairs = zip(source.packets, output.packets, strict=False)
    first = next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(source.packets), len(output.packets)))
    seconds = float(source.pts[min(first, len(source.pts) - 1)] * source.time_base) if source.pts else 0.0
    return _Content(outcome="wrong", text=f"{text}; the first other one is {first} ({seconds:.3f} s)", is_paired=False)


def _piece(source: Track, output: Track, part: Part, common: Common) -> _Content:
    """The output's packets are those of the source within the part; at its ends, one more or less is no error."""
    begin, end = _inside(source, part)
    has_texts = bool(source.texts) and bool(output.texts) and source.codec != output.codec
    haystack, needle = (source.texts, output.texts) if has_texts else (source.packets, output.packets)
    around = begin
    if common.shift is not None and output.pts:  # silence has many equal packets: only their times tell
        first = (output.pts[0] * output.time_base - common.shift) / source.time_base
        around = min(range(len(source.pts)), key=lambda n: abs(source.pts[n] - first), default=begin)
    skip = _find_run(needle, haystack, around)
    if skip is not None:
        last = skip + len(needle)
        right = skip <= begin + 1 and last >= end - 1
        text = f"{len(needle)} packets from {skip} on, the same bytes"
        return _Content(
            outcome="ok" if right else "wrong", text=text if right else f"{text}, not {begin} to {end}", skipped=skip
        )
    if source.codec.startswith("pcm_") and output.codec.startswith("pcm_"):
        return _Content(
            outcome="ok",
            text="in other packets, so that bytes of a part are not compared",
            skipped=begin,
            is_paired=False,
        )
    if source.codec != output.codec:
        return _Content(outcome="lost", text=f"encoded anew as {output.codec}", is_paired=False)
    text = f"{len(needle)} packets that are not in this order in the source"
    return _Content(outcome="wrong", text=text, is_paired=False)


def _inside(track: Track, part: Part) -> tuple[int, int]:
    """The range of packets that begin within the part."""
    stamps = sorted(track.pts)
    begin, end = 0, len(stamps)
    if part.start_seconds is not None:
        begin = bisect_left(stamps, part.start_seconds / track.time_base)
    if part.stop_seconds is not None:
        end = bisect_left(stamps, part.stop_seconds / track.time_base)
    return begin, max(begin, end)


def _find_run(needle: array[int], haystack: array[int], around: int) -> int | None:
    """Where `needle` lies in `haystack`, nearest to `around`."""
    if not needle:
        return min(around, len(haystack))
    size = len(needle)
    places = [
        n for n in range(len(haystack) - size + 1) if haystack[n] == needle[0] and haystack[n : n + size] == needle
    ]
    return min(places, key=lambda n: abs(n - around), default=None)


def _track_times(
    source: Track, output: Track, content: _Content, part: Part, common: Common
) -> Iterator[tuple[Outcome, str]]:
    skipped = content.skipped
    if source.kind == "subtitle" and part.start_seconds is not None:
        # What was on the screen already when the part begins may begin with it.
        inside, _ = _inside(source, part)
        early = min(max(inside - skipped, 0), len(output.pts))
        output, skipped = replace(output, pts=output.pts[early:]), skipped + early
    measured = track_shift(source, output, skipped)
    if measured is None or common.shift is None or not (content.is_paired or content.skipped == 0):
        return
    shift, error = measured
    allowed = common.slack + sound_tolerance(source, output, common.source_base, common.output_base)
    if abs(shift - common.shift) > allowed and content.is_paired:
        milliseconds = float(shift - common.shift) * 1000
        yield "wrong", f"{milliseconds:+.3g} ms against the picture"
    if content.is_paired and error > allowed:
        yield "wrong", f"times are uneven by {float(error) * 1000:.3g} ms"


@dataclass(frozen=True)
class SoundOffset:
    """By how much a sound moved against the picture, and what rounding excuses, in seconds."""

    seconds: Fraction
    allowed: Fraction

    def check(self) -> Check:
        return Check(
            name="sound offset",
            outcome="ok" if abs(self.seconds) <= self.allowed else "wrong",
            found=f"{float(self.seconds) * 1000:+.3g} ms against the picture",
            expected=f"at most {float(self.allowed) * 1000:.3g} ms",
        )


def sound_offset(pairs: Sequence[tuple[Track, Track | None]], part: Part, common: Common) -> SoundOffset | None:
    """The worst offset of all sound tracks; None without sound that can be compared."""
    found: list[SoundOffset] = []
    for source, output in pairs:
        if source.kind != "audio" or output is None or not output.pts or not source.pts or common.shift is None:
            continue
        content = _content(source, output, part, common)
        if content.is_paired:
            measured = track_shift(source, output, content.skipped)
            moved = measured[0] if measured is not None else common.shift
        elif part.is_whole:
            moved = output.pts[0] * output.time_base - source.pts[0] * source.time_base
        else:
            continue
        allowed = common.slack + sound_tolerance(source, output, common.source_base, common.output_base)
        found.append(SoundOffset(moved - common.shift, allowed))
    return max(found, key=lambda offset: abs(offset.seconds) - offset.allowed, default=None)


def _names(source: Track, output: Track, common: Common) -> Iterator[tuple[Outcome, str]]:
    if source.language and source.language != output.language:
        kind: Outcome = "wrong" if output.language else "lost"
        yield kind, f"language {output.language or 'not stated'} instead of {source.language}"
    for flag in _FLAGS:
        if (flag in source.flags) != (flag in output.flags) and source.kind in ("audio", "subtitle"):
            # MP4 and MOV enable the first track of each kind where none is; players start with that one anyway.
            is_harmless = flag == "default" and flag in output.flags
            yield "ok" if is_harmless else "lost", f"{'not' if flag in source.flags else 'newly'} marked {flag}"
    lost = lost_tags(source.tags, output.tags, common.output_tags)
    if lost:
        yield "lost", f"without {', '.join(lost)}"
    if source.kind == "attachment" and source.name != output.name:
        yield "lost", f"called {output.name} instead of {source.name}"


def check_extra(pairs: Sequence[tuple[Track, Track | None]], output: Survey) -> Iterator[Check]:
    """Streams that the source does not have are told, not judged."""
    known = {track.index for _, track in pairs if track is not None}
    extra = [track for track in output.tracks if track.index not in known]
    if extra:
        names = ", ".join(f"{track.kind} {track.codec}" for track in extra)
        yield Check(name="further streams", outcome="ok", found=names)


def lost_tags(source: Mapping[str, str], *outputs: Mapping[str, str]) -> list[str]:
    """Keys whose value is in none of the outputs' tags under the same key, whatever its case."""
    after = {key.lower(): value for output in reversed(outputs) for key, value in output.items()}
    after.setdefault("title", after.get("name", ""))  # what MP4's demuxer calls a track's title
    lost = []
    for key, value in source.items():
        plain = re.sub(r"-[a-z]{3}$", "", key.lower())  # "title-eng" repeats "title"
        is_repeated = plain != key.lower() and source.get(plain) == value
        is_unset = key.lower() == "creation_time" and value.startswith(("1904-01-01", "1970-01-01"))
        if not value.strip() or _TECHNICAL.fullmatch(plain) or is_repeated or is_unset:
            continue
        if _plain(key, after.get(key.lower(), "")) != _plain(key, value):
            lost.append(key)
    return lost


def _plain(key: str, value: str) -> str:
    """A value without what containers write differently: fractions of a second, zeros at the end of a place."""
    if key.lower().startswith("location"):  # ISO 6709: +40.680-074.500/
        return " ".join(str(float(number)) for number in re.findall(r"[+-]\d+(?:\.\d+)?", value))
    if key.lower() != "creation_time":
        return value.strip()
    return re.sub(r"\.\d+(?=Z?$)", "", value.strip()).removesuffix("Z").replace(" ", "T")


def check_tags(source: Survey, output: Survey) -> Check | None:
    """Tags of the container and of the main video; None where the source has none."""
    count = len(lost_tags(source.tags)) + len(lost_tags(source.picture.tags))  # against nothing: all that count
    if not count:
        return None
    lost = lost_tags(source.tags, output.tags) + [
        f"{key} of the video" for key in lost_tags(source.picture.tags, output.picture.tags, output.tags)
    ]
    found = f"{count - len(lost)} of {count} kept" + (f", without {', '.join(lost)}" if lost else "")
    return Check(name="tags", outcome="lost" if lost else "ok", found=found, expected=f"all {count}")


def check_chapters(source: Survey, output: Survey, part: Part, shift: Fraction | None) -> Check | None:
    """Chapters by start and title; a mark may be a frame off. None where the source has none."""
    if not source.chapters:
        return None
    wanted = [
        chapter
        for chapter in source.chapters
        if (part.stop_seconds is None or chapter.start < part.stop_seconds)
        and (part.start_seconds is None or chapter.stop > part.start_seconds)
    ]
    expected = f"{len(wanted)} chapters"
    if not output.chapters:
        outcome: Outcome = "lost" if wanted else "ok"
        return Check(name="chapters", outcome=outcome, found="none", expected=expected)
    found = f"{len(output.chapters)} chapters"
    titles = [chapter.title for chapter in output.chapters]
    if titles != [chapter.title for chapter in wanted]:
        return Check(name="chapters", outcome="wrong", found=f"{found}: {', '.join(titles)}", expected=expected)
    rate = source.picture.rate or Fraction(25)
    room = 1 / rate + tolerance(Fraction(1, 1000), Fraction(1, 1000))
    late = [
        abs(after.start - max(before.start, part.start_seconds or before.start) - (shift or 0))
        for before, after in zip(wanted, output.chapters, strict=True)
    ]
    right = max(late) <= room
    text = found if right else f"{found}, up to {float(max(late)):.3f} s off"
    return Check(name="chapters", outcome="ok" if right else "wrong", found=text, expected=expected)


def check_timecode(source: Survey, output: Survey, part: Part) -> Check | None:
    """The timecode of the first frame; that of a part is later. None where the source has none."""
    if source.timecode is None:
        return None
    wanted = advance(source.timecode, *_frames_before(source, part))
    if output.timecode is None:
        return Check(name="timecode", outcome="lost", found="not there", expected=wanted)
    right = re.sub(r"[;.]", ":", output.timecode) == re.sub(r"[;.]", ":", wanted)
    return Check(name="timecode", outcome="ok" if right else "wrong", found=output.timecode, expected=wanted)


def _frames_before(source: Survey, part: Part) -> tuple[int, Fraction]:
    """(frames, rate) that a timecode has counted when a part begins: by the clock, which runs on in every rate."""
    rate, stamps = source.picture.rate or Fraction(25), source.picture.pts
    if source.timecode is not None and re.search("[;.]", source.timecode):  # only these rates drop numbers
        rate = min((Fraction(30000, 1001), Fraction(60000, 1001)), key=lambda known: abs(known - rate))
    if not stamps or part.first >= len(stamps):
        return part.first, rate
    return round((stamps[part.first] - stamps[0]) * source.picture.time_base * rate), rate


def advance(timecode: str, num_frames: int, rate: Fraction) -> str:
    """A timecode (hh:mm:ss:ff, with `;` for drop-frame) that many frames later. Source: SMPTE ST 12-1."""
    match = re.fullmatch(r"(\d+):(\d+):(\d+)([:;.])(\d+)", timecode.strip())
    if match is None or num_frames == 0:
        return timecode.strip()
    hours, minutes, seconds, frame = (int(match[group]) for group in (1, 2, 3, 5))
    fps = round(rate)
    dropped = 0 if match[4] == ":" else fps // 15  # frame numbers that are left out each minute but every tenth
    number = ((hours * 60 + minutes) * 60 + seconds) * fps + frame
    all_minutes = hours * 60 + minutes
    number += num_frames - dropped * (all_minutes - all_minutes // 10)
    if dropped:
        per_minute, per_ten = fps * 60 - dropped, fps * 600 - 9 * dropped
        tens, rest = divmod(number, per_ten)
        number += 9 * dropped * tens + dropped * max((rest - dropped) // per_minute, 0)
    seconds, frame = divmod(number, fps)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours % 24:02d}:{minutes:02d}:{seconds:02d}{match[4]}{frame:02d}"
