"""Everything decided and checked before the first frame: sizes, formats, streams, and what will be lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from vidsr.errors import LossError, UsageError
from vidsr.frames import PictureFormat, PixelLayout
from vidsr.media.containers import PICTURES, Container, container_of
from vidsr.media.formats import output_color
from vidsr.media.hdr import hdr_loss, with_hdr
from vidsr.media.read.deinterlace import FieldWork, choose_field_work, delivered, field_losses, field_notes
from vidsr.media.read.fields import Scan
from vidsr.media.read.probe import SourceInfo
from vidsr.media.read.source import probe, read_frames, recognise_fields
from vidsr.media.read.video import DecodedFrame, Window
from vidsr.media.views import sphere_loss, stereo_loss
from vidsr.media.write.copies import CopyPlan, plan_copies
from vidsr.media.write.encoders import (
    Encoder,
    SegmentFormat,
    carries_captions,
    check_options,
    choose_layout,
    find_encoder,
    fit_slices,
    sample_options,
)
from vidsr.media.write.join import Cut
from vidsr.media.write.scc import SCC_KIND
from vidsr.media.write.segment import EncodeSettings, Naming
from vidsr.options.upscale import UpscaleOptions
from vidsr.pipeline.plan import Plan, make_plan, point_to_ticks
from vidsr.pixels.sizes import Orientation, orientation, output_sample_aspect_ratio, output_size
from vidsr.run.losses import picture_losses
from vidsr.run.targets.pictures import PictureTarget, check_pictures, picture_target, video_base
from vidsr.run.targets.video import check_sidecar, check_target, possible_targets

# H.273 transfers that displays show much as sRGB: BT.709, unspecified, gamma 2.2 and 2.8, BT.601, 240M, sRGB, BT.2020.
_DISPLAY_TRANSFERS = frozenset({1, 2, 4, 5, 6, 7, 13, 14, 15})


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """One source, one target, all that lies between decided: nothing has been written yet."""

    options: UpscaleOptions
    source: SourceInfo
    scan: Scan
    fields: FieldWork | None  # what is done to the frames on reading
    delivered: SourceInfo  # the source with the times and the number of the frames that then come
    target: Path
    encoder: Encoder
    encoder_options: Mapping[str, str]
    picture: PictureFormat  # of the target
    orientation: Orientation  # what is applied to the pixels
    window: Window
    plan: Plan
    copies: CopyPlan
    pictures: PictureTarget | None = None  # an image sequence instead of a file

    @property
    def container(self) -> Container:
        """What the target is written into."""
        return PICTURES if self.pictures is not None else container_of(self.target)

    @property
    def naming(self) -> Naming | None:
        """Of pictures: numbered as the source's are, or from 1."""
        if self.pictures is None:
            return None
        sequence = self.source.sequence
        offset = None if sequence is None else sequence.first + self.shift
        return Naming(pattern=self.pictures.pattern, offset=offset)

    @property
    def numbers(self) -> tuple[int, int]:
        """The first and the last number of the pictures to come."""
        sequence = self.source.sequence
        if sequence is None:
            return 1, self.plan.num_frames_expected
        inside = [pts for pts in self.source.pts if pts in self.window]
        return sequence.first + inside[0], sequence.first + inside[-1]

    @property
    def sample_aspect_ratio(self) -> Fraction:
        """Of the target."""
        video, picture = self.source.video, self.picture
        width, height = self.orientation.size(video.picture.width, video.picture.height)
        ratio = 1 / video.sample_aspect_ratio if self.orientation.transposed else video.sample_aspect_ratio
        return output_sample_aspect_ratio(ratio, width, height, picture.width, picture.height)

    @property
    def display_matrix(self) -> bytes | None:
        """Of the target: what is left for a player to turn."""
        return self.source.display_matrix if self.orientation == Orientation() else None

    @property
    def shift(self) -> int:
        """Ticks that all time stamps lose: the output of a part starts at 0, that of a whole not before it."""
        return self.window.start if self.window.start is not None else min(self.delivered.pts[0], 0)

    @property
    def cut(self) -> Cut:
        base = self.delivered.video.time_base
        start, stop = self.window.start, self.window.stop
        return Cut(
            start=None if start is None else start * base,
            stop=None if stop is None else stop * base,
            shift=self.shift * base,
        )

    @property
    def clock_zero(self) -> Fraction:
        """Seconds on the target's time stamps when a player's clock reads 0."""
        if self.window.start is not None:
            return Fraction(0)
        return self.source.start_seconds - self.shift * self.delivered.video.time_base

    @property
    def scc(self) -> Path | None:
        """The file beside the target for closed captions that its codec has no place for."""
        if self.pictures is not None or carries_captions(self.encoder.name):
            return None
        return self.target.with_suffix(".scc")

    @property
    def codec(self) -> str:
        """Encoder, pixel format and speed, as people say them."""
        name, speed = self.encoder.name, self.encoder_options.get(self.encoder.preset_option)
        return f"{name} {self.picture.layout.name}" + (f", {self.encoder.preset_option} {speed}" if speed else "")

    @property
    def encode_settings(self) -> EncodeSettings:
        video = self.delivered.video
        return EncodeSettings(
            codec=self.encoder.name,
            segment_format=self._segment_format,
            options=self.encoder_options,
            picture=self.picture,
            time_base=video.time_base,
            frame_rate=video.average_rate or Fraction(25),
            sample_aspect_ratio=self.sample_aspect_ratio,
            naming=self.naming,
        )

    @property
    def _segment_format(self) -> SegmentFormat:
        with_alpha = self.encoder.alpha_segment_format
        return with_alpha if with_alpha and self.picture.layout.has_alpha else self.encoder.segment_format

    def notes(self) -> list[str]:
        """What else there is to know before the work: what the target has in another form, and what is done to it."""
        lines = [*self.copies.conversions, *field_notes(self.scan, self.fields)]
        if self.scc is not None and SCC_KIND in self.source.captions:
            lines.append(f"closed captions go into {self.scc.name}, as {self.encoder.name} has no place for them")
        return lines

    def losses(self) -> list[str]:
        """One line for everything of the source that the target will not have."""
        layout, target_layout = self.source.video.picture.layout, self.picture.layout
        lines = [*self.copies.losses, *(f"left out: {text}" for text in self.source.unkept)]
        lost_captions = sorted(self.source.captions - {SCC_KIND}) if self.scc is not None else []
        if lost_captions:
            lines.append(
                f"left out: closed captions of {' and '.join(lost_captions)}, for which {self.encoder.name} has no "
                f"place; an .scc file holds {SCC_KIND} only"
            )
        lines.extend(field_losses(self.scan, self.fields))
        if self.source.crop is not None:
            crop, shown = self.source.crop, self.source.video.picture
            width, height = shown.width + crop.left + crop.right, shown.height + crop.top + crop.bottom
            lines.append(
                f"of its {width}x{height} pixels the source shows {shown.width}x{shown.height} (clean aperture); "
                "what lies outside is cut off"
            )
        lost = _lost_by_format(layout, target_layout)
        if lost and self.options.pix_fmt is None:
            lines.append(
                f"{self.encoder.name} writes {target_layout.name}, which loses {' and '.join(lost)} of the source's "
                f"{layout.name}; {'exr' if layout.is_float else 'ffv1'} keeps more"
            )
        if self.pictures is not None:
            is_turned = self.display_matrix is not None
            return [*lines, *picture_losses(self.delivered, self.pictures, self.picture.color, is_turned=is_turned)]
        lost_by_container = (
            hdr_loss(self.container, self.source.hdr),
            stereo_loss(self.container, self.source.stereo),
            sphere_loss(self.container, self.source.sphere),
        )
        return lines + [line for line in lost_by_container if line is not None]


def prepare(source: Path, target: Path | None, options: UpscaleOptions, *, overwrite: bool = False) -> Prepared:
    """Read the source's headers and decide everything about its target.

    Args:
        source, target, options, overwrite: as for `vidsr.upscale_video`.

    Raises:
        SourceError, UsageError, TargetError: whatever can be known to be wrong without a network.
        LossError: something would be lost and the options forbid it.
    """
    info = probe(source, options.rate)
    scan = recognise_fields(info)
    pictures = picture_target(info, target, options)
    if pictures is not None:
        prepared = _decide(info, scan, pictures.pattern.path, find_encoder(pictures.codec), options, pictures)
        first, last = prepared.numbers
        check_pictures(pictures.pattern, info, first, last, overwrite=overwrite)
    else:
        encoder = find_encoder(options.codec)
        targets = possible_targets(video_base(info), target, encoder, options)
        # The first of those that lose least.
        prepared = min((_decide(info, scan, t, encoder, options) for t in targets), key=lambda p: len(p.losses()))
        check_target(prepared.target, source, overwrite=overwrite)
    if prepared.scc is not None and SCC_KIND in info.captions:
        check_sidecar(prepared.scc, overwrite=overwrite)
    may_be_ignored = any(key.endswith(("-params", "opts")) for key, _ in options.encoder_options)
    check_options(prepared.encoder.name, prepared.encoder_options, prepared.picture, may_be_ignored=may_be_ignored)
    if options.strict and prepared.losses():
        raise LossError(f"{source}: would lose something, and strict forbids it: {'; '.join(prepared.losses())}")
    return prepared


def _decide(
    info: SourceInfo,
    scan: Scan,
    target: Path,
    encoder: Encoder,
    options: UpscaleOptions,
    pictures: PictureTarget | None = None,
) -> Prepared:
    turned = orientation(info.display_matrix) if options.rotation == "apply" else Orientation()
    if turned != Orientation() and (info.stereo or info.sphere):  # halves and longitudes lie elsewhere then
        lost = "stereo 3D layout and spherical projection, as the picture is turned; see --rotation keep"
        info = replace(info, stereo=None, sphere=None, unkept=(*info.unkept, lost))
    container = PICTURES if pictures is not None else container_of(target)
    picture = _target_picture(info.video.picture, turned, encoder, container, options)
    _check_light(info, picture)
    encoder_options = encoder.options(options.crf, options.preset, options.encoder_options)
    encoder_options = {**sample_options(encoder.name, picture.layout), **encoder_options}
    if picture.layout.has_alpha:
        encoder_options = {**encoder.alpha_settings, **encoder_options}
    if "slices" not in dict(options.encoder_options):
        encoder_options = fit_slices(encoder.name, encoder_options, picture)
    encoder_options = with_hdr(encoder.name, encoder_options, info.hdr)
    fields = choose_field_work(info, scan, options)
    to_come = delivered(info, fields)
    window = _window(info, to_come, options)
    plan = _plan(info, to_come, fields, target, window)
    if plan.num_frames_expected == 0:
        raise UsageError(f"{info.path}: no frame lies between start and stop; it has {len(info.pts)} frames")
    return Prepared(
        options=options,
        source=info,
        scan=scan,
        fields=fields,
        delivered=to_come,
        target=target,
        encoder=encoder,
        encoder_options=encoder_options,
        picture=picture,
        orientation=turned,
        window=window,
        plan=plan,
        copies=plan_copies(info, container),
        pictures=pictures,
    )


def _check_light(source: SourceInfo, picture: PictureFormat) -> None:
    """Only what the sRGB curve codes can be made linear by it; PQ, HLG and logarithmic curves mean other light."""
    transfer = source.video.picture.color.transfer
    from_code = picture.layout.is_float and not source.video.picture.layout.is_float
    if from_code and transfer not in _DISPLAY_TRANSFERS:
        raise UsageError(
            f"{source.path}: its light is coded by transfer {transfer} (16 is PQ, 18 HLG), of which exr's linear light "
            "cannot be made here; write png or tiff pictures, 16 bit with --pix-fmt rgb48, which keep the code"
        )


def _target_picture(
    source: PictureFormat, turned: Orientation, encoder: Encoder, container: Container, options: UpscaleOptions
) -> PictureFormat:
    layout = choose_layout(encoder, source.layout, options.pix_fmt, container)
    even = encoder.even_sides and layout.family == "yuv"
    width, height = output_size(
        *turned.size(source.width, source.height),
        options,
        even_x=even and layout.chroma_shift_x > 0,
        even_y=even and layout.chroma_shift_y > 0,
    )
    color = output_color(source, layout, (width, height), options.matrix)
    return PictureFormat(width=width, height=height, layout=layout, color=color)


def _window(source: SourceInfo, delivered: SourceInfo, options: UpscaleOptions) -> Window:
    """The part that was asked for, in ticks of what is delivered; frame numbers are those of the source."""
    ticks = int(source.video.time_base / delivered.video.time_base)
    stamps = [*(ticks * pts for pts in source.pts), delivered.pts[-1] + 1]  # the last is the end
    start, stop = (
        point_to_ticks(point, stamps, source.start_seconds, delivered.video.time_base)
        for point in (options.start, options.stop)
    )
    return Window(start, stop)


def _plan(info: SourceInfo, to_come: SourceInfo, fields: FieldWork | None, target: Path, window: Window) -> Plan:
    """Segments of the frames that will come; one alone where cutting would change them."""
    if fields is not None and not fields.margin:  # detelecine: what comes depends on where reading begins
        given = [pts for pts in info.pts if pts in window.coarser(fields.ticks)]
        inside = [pts for pts in fields.stamps(given) if pts in window]
        return make_plan(target, inside, [], window.start, window.stop, max_frames=max(len(inside), 1))
    # Frames that share a time stamp must share a segment.
    stamps = sorted(set(to_come.pts))
    plan = make_plan(target, stamps, to_come.keyframe_pts, window.start, window.stop)
    num_more = sum(pts in window for pts in to_come.pts) - plan.num_frames_expected
    if not num_more:
        return plan
    last = replace(plan.segments[-1], num_frames=plan.segments[-1].num_frames + num_more)
    return replace(plan, segments=(*plan.segments[:-1], last))


def _lost_by_format(source: PixelLayout, target: PixelLayout) -> list[str]:
    finer = source.chroma_shift_x < target.chroma_shift_x or source.chroma_shift_y < target.chroma_shift_y
    losses = {
        "bit depth": (min(source.depth, 16) if source.is_float else source.depth) > target.depth,
        "chroma resolution": source.family != "gray" and finer,
        "the alpha channel": source.has_alpha and not target.has_alpha,
        "light beyond black and white": source.is_float and not target.is_float,
    }
    return [name for name, is_lost in losses.items() if is_lost]


def read(prepared: Prepared, window: Window, on_notice: Callable[[str], None]) -> Iterator[DecodedFrame]:
    stop_at_damage = prepared.options.on_decode_error == "stop"
    return read_frames(prepared.source, window, on_notice, prepared.fields, stop_at_damage=stop_at_damage)
