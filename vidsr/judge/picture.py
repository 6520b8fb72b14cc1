"""The picture itself: colour, shape, orientation, depth, what stands beside it, and whether it is the same one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from vidsr.frames import (
    MATRIX_BT470BG,
    MATRIX_BT709,
    MATRIX_BT2020_NCL,
    MATRIX_FCC,
    MATRIX_NAMES,
    MATRIX_RGB,
    MATRIX_SMPTE170M,
    MATRIX_SMPTE240M,
    UNSPECIFIED,
)
from vidsr.judge.verdict import Check, Outcome
from vidsr.media.survey.decoding import Decoding
from vidsr.media.survey.survey import THUMBNAIL_PX, Picture

_UPRIGHT = (65536, 0, 0, 65536)
# Of all side data of a frame, what changes how it is shown. Names as PyAV has them.
_SIDE_DATA = {
    "MASTERING_DISPLAY_METADATA": "mastering display",
    "CONTENT_LIGHT_LEVEL": "content light level",
    "DYNAMIC_HDR_PLUS": "HDR10+",
    "DOVI_METADATA": "Dolby Vision",
    "DYNAMIC_HDR_VIVID": "HDR Vivid",
    "AMBIENT_VIEWING_ENVIRONMENT": "ambient viewing environment",
    "STEREO3D": "stereo 3D layout",
    "SPHERICAL": "spherical projection",
    "ICC_PROFILE": "ICC profile",
    "AFD": "active format description",
}
# Networks sharpen and encoders blur, but what 16x16 pixels average of a frame stays: measured at most 3 levels.
# Another picture, a turned one or one of the wrong matrix differs by more.
_ALLOWED_DIFFERENCE = 10.0
# Limited range taken for full makes 219/255 of the contrast, the other way round 255/219; networks stay within 2 %.
_LEAST_CONTRAST, _MOST_CONTRAST = 0.92, 1.09
_CONTRAST_SIDE = 112  # pixels; in fewer, what a network sharpens does not average out
_LITTLE_SPREAD = 12.0  # of 255, of the thumbnails' brightness: with less, noise decides
_LINEAR = 8  # H.273 transfer of scene light, as pictures for rendering have it
_FEW_PIXELS = 3  # on a side: an average of fewer than 3x3 keeps some of the sharpness that it should be blind to
# Luma coefficients of red and blue by H.273 matrix.
_COEFFICIENTS = {
    MATRIX_BT709: (0.2126, 0.0722),
    MATRIX_FCC: (0.30, 0.11),
    MATRIX_BT470BG: (0.299, 0.114),
    MATRIX_SMPTE170M: (0.299, 0.114),
    MATRIX_SMPTE240M: (0.212, 0.087),
    MATRIX_BT2020_NCL: (0.2627, 0.0593),
}
_LUMA = np.array([0.2126, 0.7152, 0.0722])  # BT.709
Thumbnail = npt.NDArray[np.float64]


def check_picture(
    source: Picture,
    output: Picture,
    before: Mapping[int, bytes],
    after: Mapping[int, bytes],
    *,
    is_damaged: bool = False,
) -> Check:
    """The frames show the same: compared as 16x16 pixel thumbnails, turned as a player turns them.

    Args:
        before, after: thumbnails of the same frames, by their numbers in the output.
        is_damaged: the source is; what fills its holes is up to each decoder, so that half of the frames must do.
            Of an interlaced source nine of ten must: a cut may fall between the two fields of a frame.
    """
    worst, frame = 0.0, 0
    is_colour_gone = _is_gray(output) and not _is_gray(source)  # which is told as lost, and no other picture
    drift = np.zeros(3)
    differences: list[float] = []
    common = sorted(before.keys() & after.keys())
    for number in common:
        a, b = _shown(before[number], source), _shown(after[number], output)
        if is_colour_gone:
            a = np.repeat((a @ _LUMA)[..., None], 3, axis=-1)
        difference = float(np.abs(a - b).mean())
        differences.append(difference)
        if difference >= worst:
            worst, frame = difference, number
            drift = (b - a).mean(axis=(0, 1))
    share = 0.5 if is_damaged else 0.9 if source.is_interlaced else 1.0
    judged = float(np.quantile(differences, share, method="lower")) if differences else 0.0
    few = _FEW_PIXELS * THUMBNAIL_PX / min(source.width, source.height)
    allowed = _ALLOWED_DIFFERENCE * max(few, 1.0) ** 2
    colours = ", ".join(f"{name} {value:+.1f}" for name, value in zip("RGB", drift, strict=True))
    is_recoded = source.transfer == _LINEAR != output.transfer
    is_small = min(source.width, source.height) < _CONTRAST_SIDE
    is_clear = not (is_colour_gone or is_damaged or is_recoded or is_small)
    contrast = _contrast(source, output, before, after) if is_clear else None
    if contrast is not None and not _LEAST_CONTRAST < contrast < _MOST_CONTRAST:
        return Check(
            name="picture",
            outcome="wrong",
            found=f"its contrast is {contrast:.2f} of the source's, as when limited range is taken for full",
            expected=f"{_LEAST_CONTRAST} to {_MOST_CONTRAST}",
        )
    return Check(
        name="picture",
        outcome="ok" if judged <= allowed else "wrong",
        found=f"frame {frame} differs by {worst:.1f} of 255 ({colours}), the most of {len(common)} looked at",
        expected=f"at most {allowed:.0f} for the same picture",
    )


def _contrast(
    source: Picture, output: Picture, before: Mapping[int, bytes], after: Mapping[int, bytes]
) -> float | None:
    """The slope of the output's brightness over the source's, fitted over all thumbnails; None if there is little."""
    common = before.keys() & after.keys()
    pairs = [(_shown(before[n], source) @ _LUMA, _shown(after[n], output) @ _LUMA) for n in common]
    if not pairs:
        return None
    x, y = (np.concatenate([pair[side].ravel() for pair in pairs]) for side in (0, 1))
    spread = float(x.std())
    if spread < _LITTLE_SPREAD:
        return None
    return float(np.mean((x - x.mean()) * (y - y.mean()))) / spread**2


def _shown(thumbnail: bytes, picture: Picture) -> Thumbnail:
    """(16, 16, 3) RGB as a player turns and mirrors it, by the signs of the display matrix."""
    pixels = np.frombuffer(thumbnail, np.uint8).reshape(THUMBNAIL_PX, THUMBNAIL_PX, 3).astype(np.float64)
    a, b, c, d = picture.orientation
    if abs(b) > abs(a):  # columns become rows
        pixels = pixels.transpose(1, 0, 2)
        flip_x, flip_y = c < 0, b < 0
    else:
        flip_x, flip_y = a < 0, d < 0
    return pixels[:: -1 if flip_y else 1, :: -1 if flip_x else 1]


def check_colour(source: Picture, output: Picture) -> Check:
    """The output says what its colours mean, and says what the source said.

    What neither says is right only where a player guesses the same for both sizes.
    """
    wrong, said, lost = [], [], []
    source_rgb, output_rgb = _is_rgb(source), _is_rgb(output)
    is_same_guess = not source_rgb and _is_hd(source) == _is_hd(output)
    if output_rgb:
        said.append("RGB")
    elif output.matrix in (UNSPECIFIED, MATRIX_RGB):
        if _is_gray(source) or _is_gray(output) or (source.matrix == UNSPECIFIED and is_same_guess):
            said.append("matrix unspecified, as before")
        else:
            wrong.append("matrix not stated")
    else:
        said.append(f"matrix {_matrix(output.matrix)}")
        if not source_rgb and source.matrix != UNSPECIFIED and not _matrix_is_true(source, output):
            wrong.append(f"matrix {_matrix(output.matrix)} instead of {_matrix(source.matrix)}")
    if not output_rgb:
        if output.full_range is None and source.full_range is None and not source_rgb:
            said.append("range unspecified, as before")
        elif output.full_range is None:
            wrong.append("range not stated")
        else:
            said.append(f"{_range(output.full_range)} range")
            if not source_rgb and source.full_range is not None and source.full_range != output.full_range:
                wrong.append(f"{_range(output.full_range)} range instead of {_range(source.full_range)}")
    for name in ("primaries", "transfer"):
        before, after = getattr(source, name), getattr(output, name)
        if name == "transfer" and before == _LINEAR and after not in (UNSPECIFIED, _LINEAR):
            lost.append(f"linear light, coded by transfer {after}")
        elif before != UNSPECIFIED and before != after:
            stated = "not stated" if after == UNSPECIFIED else str(after)
            wrong.append(f"{name} {stated} instead of {before}")
        elif after != UNSPECIFIED:
            said.append(f"{name} {after}")
    if wrong:
        return Check(name="colour", outcome="wrong", found=", ".join(wrong), expected=_stated(source))
    if lost:
        return Check(name="colour", outcome="lost", found=", ".join(lost), expected=_stated(source))
    return Check(name="colour", outcome="ok", found=", ".join(said))


def _stated(picture: Picture) -> str:
    parts = [f"matrix {_matrix(picture.matrix)}", f"{_range(picture.full_range)} range"]
    parts += [f"primaries {picture.primaries}", f"transfer {picture.transfer}"]
    return ", ".join(parts) + " (2: unspecified)"


def _matrix_is_true(source: Picture, output: Picture) -> bool:
    """Whether the output has the source's matrix, or its samples were converted to the one it states.

    They were, if its first frame is more like the source's by the matrix that it states than by the source's.
    """
    before, after = _COEFFICIENTS.get(source.matrix), _COEFFICIENTS.get(output.matrix)
    if source.matrix == output.matrix or before is None or after is None or before == after:
        return source.matrix == output.matrix or (before is not None and before == after)
    wanted, as_stated = _shown(source.thumbnail, source), _shown(output.thumbnail, output)
    as_before = as_stated @ (_to_rgb(*before) @ np.linalg.inv(_to_rgb(*after))).T
    return bool(np.abs(as_stated - wanted).mean() < np.abs(as_before - wanted).mean())


def _to_rgb(red: float, blue: float) -> Thumbnail:
    """Y'CbCr to R'G'B' by the luma coefficients of red and blue (ITU-T H.273, 8.3)."""
    green = 1 - red - blue
    of_cb, of_cr = 2 * (1 - blue), 2 * (1 - red)
    return np.array([[1, 0, of_cr], [1, -of_cb * blue / green, -of_cr * red / green], [1, of_cb, 0]])


def _matrix(code: int) -> str:
    return MATRIX_NAMES.get(code, str(code))


def _range(full: bool | None) -> str:
    return {True: "full", False: "limited", None: "unspecified"}[full]


def _is_hd(picture: Picture) -> bool:
    return picture.width >= 1280 or picture.height > 576


def _is_gray(picture: Picture) -> bool:
    components = picture.format.components
    return len(components) - any(component.is_alpha for component in components) == 1 and not _is_rgb(picture)


def _is_rgb(picture: Picture) -> bool:
    return picture.format.is_rgb or picture.format.has_palette


def check_shape(source: Picture, output: Picture) -> Check:
    """A circle stays a circle: width to height as shown, within the rounding of sides to whole pixels."""
    wanted, found = _shown_ratio(source), _shown_ratio(output)
    rounding = Fraction(1, output.width) + Fraction(1, output.height)
    right = abs(found / wanted - 1) <= rounding
    return Check(
        name="shape",
        outcome="ok" if right else "wrong",
        found=f"{_size(output)} is shown as {float(found):.4f}:1",
        expected=f"{float(wanted):.4f}:1 of {_size(source)}",
    )


def _size(picture: Picture) -> str:
    ratio = picture.sample_aspect_ratio
    pixels = "" if ratio == 1 else f" with pixels of {ratio.numerator}:{ratio.denominator}"
    return f"{picture.width}x{picture.height}{pixels}"


def _shown_ratio(picture: Picture) -> Fraction:
    ratio = Fraction(picture.width, picture.height) * picture.sample_aspect_ratio
    return 1 / ratio if _lies(picture) else ratio


def _lies(picture: Picture) -> bool:
    return abs(picture.orientation[1]) > abs(picture.orientation[0])


def check_orientation(source: Picture, output: Picture) -> Check:
    """The display matrix is kept, or the picture was turned by it (then its content shows whether rightly)."""
    if source.orientation == output.orientation:
        return Check(name="rotation", outcome="ok", found=_turn(output))
    turned = output.orientation == _UPRIGHT
    return Check(
        name="rotation",
        outcome="ok" if turned and abs(_shown_ratio(source) / _shown_ratio(output) - 1) < Fraction(1, 20) else "wrong",
        found=f"{_turn(output)}, the pixels themselves are turned" if turned else _turn(output),
        expected=_turn(source),
    )


def _turn(picture: Picture) -> str:
    a, b, c, d = picture.orientation
    if picture.orientation == _UPRIGHT:
        return "upright"
    degrees = round(np.degrees(np.arctan2(b, a)))
    return f"matrix turns by {degrees} degrees" + (" and mirrors" if a * d - b * c < 0 else "")


def check_format(source: Picture, output: Picture) -> Check:
    """Depth, chroma resolution and alpha are not less than the source's."""
    lost = []
    if _depth(output) < _depth(source):
        lost.append(f"{_depth(output)} instead of {_depth(source)} bits")
    if not _is_gray(source) and _chroma(output) > _chroma(source):
        lost.append("fewer chroma samples")
    if _is_gray(output) and not _is_gray(source):
        lost.append("no colour")
    if source.has_alpha and not output.has_alpha:
        lost.append("no alpha")
    text = output.format.name + (f" ({', '.join(lost)})" if lost else "")
    outcome: Outcome = "lost" if lost else "ok"
    return Check(name="pixel format", outcome=outcome, found=text, expected=source.format.name)


def _depth(picture: Picture) -> int:
    return max((component.bits for component in picture.format.components), default=8)


def _chroma(picture: Picture) -> int:
    """Luma samples per chroma sample."""
    if _is_rgb(picture):
        return 1
    return (16 // picture.format.chroma_width(16)) * (16 // picture.format.chroma_height(16))


def check_side_data(source: Picture, output: Picture) -> Iterator[Check]:
    """HDR metadata and other data beside the first frame: there, and with the same values."""
    lost = []
    kept = []
    for name, words in _SIDE_DATA.items():
        before, after = source.side_data.get(name), output.side_data.get(name)
        if before is None:
            continue
        if after is None:
            lost.append(words)
        elif _same_values(name, before, after):
            kept.append(words)
        else:
            yield Check(name=words, outcome="wrong", found="other values", expected="the source's")
    if lost or kept:
        found = "; ".join([f"kept: {', '.join(kept)}"] * bool(kept) + [f"not there: {', '.join(lost)}"] * bool(lost))
        wanted = ", ".join(words for name, words in _SIDE_DATA.items() if name in source.side_data)
        yield Check(name="picture metadata", outcome="lost" if lost else "ok", found=found, expected=wanted)


def _same_values(name: str, before: bytes, after: bytes) -> bool:
    if name == "CONTENT_LIGHT_LEVEL":
        return before[:8] == after[:8]
    if name == "MASTERING_DISPLAY_METADATA":
        # 1/50000 and 1/10000 cd/m2 are the units of ITU-T H.265 D.3.28; Matroska has floating point.
        chromaticities, luminances = slice(0, 8), slice(8, 10)
        a, b = _rationals(before), _rationals(after)
        near = np.abs(a[chromaticities] - b[chromaticities]).max() <= 1.01 / 50000
        return bool(near and np.allclose(a[luminances], b[luminances], rtol=1e-4, atol=1.01 / 10000))
    return before[:4] == after[:4] if name == "STEREO3D" else True


def _rationals(data: bytes) -> npt.NDArray[np.float64]:
    """FFmpeg's AVMasteringDisplayMetadata: eight chromaticities, two luminances, as 32-bit fractions."""
    numbers = np.frombuffer(data[:80], np.int32).astype(np.float64)
    return numbers[0::2] / np.where(numbers[1::2] == 0, 1, numbers[1::2])


def check_decoding(source: Decoding, output: Decoding) -> Check:
    """The output decodes to its end without a complaint, whatever the source did."""
    clean = not output.num_complaints and not output.num_corrupt
    found = "every frame decodes cleanly"
    if not clean:
        found = f"{output.num_complaints} complaints of the decoder"
        found += f", {output.num_corrupt} damaged frames" if output.num_corrupt else ""
        found += f": {output.complaints[0]}" if output.complaints else ""
    if source.num_complaints or source.num_corrupt:
        found += " (the source itself is damaged)"
    return Check(name="decoding", outcome="ok" if clean else "wrong", found=found, expected="no complaint")


def check_captions(source: Decoding, output: Decoding) -> Iterator[Check]:
    """Closed captions in the picture's own data (CEA-608 and 708)."""
    if source.has_captions:
        kept = output.has_captions
        found = "kept" if kept else "not in the picture's data"
        yield Check(name="closed captions", outcome="ok" if kept else "lost", found=found, expected="kept")
