"""What of a source its target will not have, a line each."""

from __future__ import annotations

from itertools import pairwise

from vidsr.frames import ColorTags
from vidsr.media.read.probe import SourceInfo
from vidsr.run.targets.pictures import PictureTarget

_TECHNICAL_TAGS = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder", "creation_time"})
# H.273 codes of what pictures without tags are taken for, or are close to it: BT.709, unspecified, BT.601, gamma 2.2.
_USUAL_PRIMARIES, _USUAL_TRANSFERS = frozenset({1, 2, 5, 6}), frozenset({1, 2, 4, 6, 13})
_DPX_TRANSFERS = frozenset({5, 8})  # gamma 2.8 and linear, which have a code in its header


def picture_losses(source: SourceInfo, pictures: PictureTarget, color: ColorTags, *, is_turned: bool) -> list[str]:
    """One line for everything beside its streams that a source has and its pictures will not have.

    Args:
        source, pictures: from what, and into what.
        color: the tags of the pictures.
        is_turned: whether a player is to turn them.
    """
    lines = []
    if source.num_chapters:
        lines.append(f"left out: {source.num_chapters} chapters: an image sequence holds pictures only")
    beside = {
        "mastering display and content light (HDR10)": source.hdr,
        "stereo 3D layout": source.stereo,
        "spherical projection": source.sphere,
    }
    lines += [f"left out: {name}: pictures do not say it here" for name, value in beside.items() if value is not None]
    if source.captions:
        kinds = " and ".join(sorted(source.captions))
        lines.append(f"left out: closed captions ({kinds}): an image sequence holds pictures only")
    tags = [key for key in source.tags if key.lower() not in _TECHNICAL_TAGS]
    if tags:
        lines.append(f"left out: tags ({', '.join(tags)}): an image sequence holds pictures only")
    if source.sequence is None:
        steps = {b - a for a, b in pairwise(source.pts)}
        if steps and max(steps) - min(steps) > 1:
            lines.append("left out: the times of the frames, which are not evenly spaced: pictures have numbers only")
    if is_turned:
        lines.append("left out: the display matrix, so the pictures lie as they are coded; try --rotation apply")
    transfers = _USUAL_TRANSFERS | _DPX_TRANSFERS if pictures.codec == "dpx" else _USUAL_TRANSFERS
    is_usual = color.primaries in _USUAL_PRIMARIES and color.transfer in transfers
    if pictures.codec in ("tiff", "dpx") and not is_usual:
        lines.append(
            f"left out: colour tags (primaries {color.primaries}, transfer {color.transfer}): {pictures.codec} has no "
            "place for them; png has"
        )
    if pictures.codec == "exr" and color.primaries not in _USUAL_PRIMARIES:
        lines.append(f"left out: primaries {color.primaries}: exr files are written without, which means BT.709")
    return lines
