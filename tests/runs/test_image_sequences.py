"""Image sequences through the whole of `upscale_video`: exact samples, numbers, names, losses, and no half results."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from picture_files import noise, read_picture, shape_of_pixels, write_picture
from PIL import Image

from vidsr import upscale_video
from vidsr.errors import LossError, SourceError, SourceMissingError, TargetError, TargetExistsError, UsageError
from vidsr.events import Notice
from vidsr.inference.upscaler import Upscaler
from vidsr.options.upscale import UpscaleOptions
from vidsr.pixels.linear_light import decode_srgb, encode_srgb
from vidsr.run.prepare import prepare

pytestmark = pytest.mark.usefixtures("one_thread")


def upscale(source, target=None, overwrite=False, **given):
    """(result, notices)"""
    values = {"model": "nearest", "device": "cpu", "scale": Fraction(1)} | given
    if "height" in given or "size" in given:
        del values["scale"]
    events = []
    result = upscale_video(source, target, UpscaleOptions(**values), on_event=events.append, overwrite=overwrite)
    return result, [event.text for event in events if isinstance(event, Notice)]


def fill(folder: Path, suffix: str = ".png", pix_fmt: str = "rgb24", numbers=(1, 2, 3), name: str = "a.{:04d}", **how):
    pictures = {}
    for number in numbers:
        pictures[number] = noise(pix_fmt, seed=number, **how)
        write_picture(folder / f"{name.format(number)}{suffix}", pictures[number], pix_fmt)
    return pictures


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


EXACT = [
    *((".png", name) for name in ("gray", "gray16be", "rgb24", "rgba", "rgb48be", "rgba64be")),
    *((".tif", name) for name in ("gray", "gray16le", "rgb24", "rgba", "rgb48le", "rgba64le")),
    *((".dpx", name) for name in ("gray", "rgb24", "rgba", "gbrp10be", "gbrp12be", "rgb48be", "rgba64be")),
    *((".exr", name) for name in ("gbrpf32le", "grayf32le")),
]


@pytest.mark.parametrize(("suffix", "pix_fmt"), EXACT)
def test_at_scale_one_every_sample_returns(tmp_path, suffix, pix_fmt):
    given = fill(tmp_path / "in", suffix, pix_fmt)
    result, notices = upscale(tmp_path / "in")
    assert result.target == tmp_path / "in_1x" / f"a.%04d{suffix}" and notices == []
    assert names(tmp_path / "in_1x") == names(tmp_path / "in")
    assert names(tmp_path) == ["in", "in_1x"]
    for number, samples in given.items():
        _, seen = read_picture(tmp_path / "in_1x" / f"a.{number:04d}{suffix}")
        if pix_fmt == "grayf32le":  # its three equal parts are weighed and added
            assert np.allclose(seen, samples, rtol=1e-6, atol=0)
        else:
            assert np.array_equal(seen, samples)
        assert seen.dtype == samples.dtype


def test_halves_and_their_alpha_return(tmp_path):
    samples = noise("gbrapf32le")
    samples[..., 3] = np.abs(samples[..., 3] / 16).clip(0, 1).astype(np.float16)
    (tmp_path / "in").mkdir()
    write_picture(tmp_path / "in" / "a.1.exr", samples, "gbrapf32le", {"format": "half"})
    upscale(tmp_path / "in")
    pix_fmt, seen = read_picture(tmp_path / "in_1x" / "a.1.exr")
    assert pix_fmt == "gbrapf16le" and np.array_equal(seen.astype(np.float32), samples)


@pytest.mark.parametrize(("suffix", "target"), [(".tif", ".png"), (".png", ".tif"), (".png", ".dpx")])
def test_another_format_has_the_same_samples(tmp_path, suffix, target):
    given = fill(tmp_path / "in", suffix, "rgb48le" if suffix == ".tif" else "rgb48be")
    _, notices = upscale(tmp_path / "in", tmp_path / "out" / f"b_%d{target}")
    assert names(tmp_path / "out") == [f"b_{number}{target}" for number in (1, 2, 3)] and notices == []
    assert np.array_equal(read_picture(tmp_path / "out" / f"b_2{target}")[1], given[2])


def test_numbers_gaps_and_parts_keep_their_places(tmp_path):
    fill(tmp_path / "in", numbers=(1001, 1002, 1005, 1006), name="x.{}", width=8, height=8)
    _, notices = upscale(tmp_path / "in", tmp_path / "out")
    assert names(tmp_path / "out") == names(tmp_path / "in")
    assert notices == ["frames 1003 to 1004 are missing"]
    upscale(tmp_path / "in", tmp_path / "part", start=1, stop=3)
    assert names(tmp_path / "part") == ["x.1002.png", "x.1005.png"]
    upscale(tmp_path / "in", tmp_path / "times", start=Fraction(4, 24))
    assert names(tmp_path / "times") == ["x.1005.png", "x.1006.png"]


def test_a_sequence_becomes_a_video_that_plays_in_time(tmp_path, look):
    fill(tmp_path / "in", numbers=(1001, 1002, 1005, 1006), name="x.{}", width=64, height=48)
    rate = Fraction(24000, 1001)
    result, _ = upscale(tmp_path / "in", tmp_path / "out.mp4", rate=rate, codec="libx264", preset="ultrafast")
    assert (result.num_frames, look.video(result.target).times) == (4, [n / rate for n in (0, 1, 4, 5)])
    given = fill(tmp_path / "in16", ".tif", "rgb48le")
    upscale(tmp_path / "in16", tmp_path / "out.mkv", codec="ffv1")
    green = look.planes(tmp_path / "out.mkv")[2][0]
    assert np.array_equal(green, given[3][..., 1])


def animated_gif(path: Path) -> list[np.ndarray]:
    """Four frames of which each covers a part of the one before, shown 40, 100, 200 and 70 ms."""
    frames = [np.zeros((40, 60, 3), np.uint8)]
    for number in range(1, 4):
        frames.append(frames[-1].copy())
        frames[-1][:, : 15 * number] = 80 * number
    images = [Image.fromarray(frame).quantize(4, dither=0) for frame in frames]
    images[0].save(path, save_all=True, append_images=images[1:], duration=[40, 100, 200, 70], loop=0)
    return [np.asarray(image.convert("RGB")) for image in images]


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
@pytest.mark.parametrize("target", ["out.mkv", "out.mp4"])
def test_animations_keep_their_delays_to_the_last(tmp_path, look, suffix, target):
    source = tmp_path / f"in{suffix}"
    if suffix == ".gif":
        animated_gif(source)
    else:
        images = [Image.fromarray(noise("rgb24", 60, 40, seed)) for seed in range(4)]
        images[0].save(source, save_all=True, append_images=images[1:], duration=[40, 100, 200, 70], lossless=True)
    upscale(source, tmp_path / target, codec="ffv1" if target.endswith("mkv") else "libx264", preset=None)
    assert look.video(tmp_path / target).times == [Fraction(ms, 1000) for ms in (0, 40, 140, 340)]
    with av.open(str(tmp_path / target)) as container:
        assert container.duration == 410_000


def test_a_gif_is_composed_as_a_player_does(tmp_path):
    frames = animated_gif(tmp_path / "in.gif")
    upscale(tmp_path / "in.gif", tmp_path / "out", codec="png")
    for number, frame in enumerate(frames, 1):
        seen = read_picture(tmp_path / "out" / f"in.{number:06d}.png")[1]
        assert np.array_equal(seen[..., :3], frame) and (seen[..., 3] == 255).all()


def test_a_video_becomes_pictures_and_says_what_they_do_not_hold(make_clip, tmp_path, look):
    clip = make_clip("in.mkv", audio="aac", chapters=[(0, 200, "one")], metadata={"title": "T"}, frames=5)
    _, notices = upscale(clip.path, tmp_path / "out", codec="png")
    assert names(tmp_path / "out") == [f"in.{number:06d}.png" for number in range(1, 6)]
    holds = "an image sequence holds pictures only"
    assert [text for text in notices if holds in text] == [
        f"left out: stream 1 (audio, aac): {holds}",
        f"left out: 1 chapters: {holds}",
        f"left out: tags (title): {holds}",
    ]
    mean = [round(value, 1) for value in read_picture(tmp_path / "out" / "in.000001.png")[1].mean((0, 1))]
    assert mean == pytest.approx(
        look.rgb_mean(clip.path), abs=3
    )  # FFmpeg enlarges chroma otherwise; a wrong matrix gives ten
    with pytest.raises(LossError):
        upscale(clip.path, tmp_path / "strict", codec="png", strict=True)
    assert not (tmp_path / "strict").exists()


def test_uneven_times_are_told_as_lost_even_ones_are_not(make_clip, tmp_path):
    uneven = make_clip("a.mkv", pts=[0, 1, 2, 9, 10], time_base=Fraction(1, 25))
    assert "not evenly spaced" in " ".join(upscale(uneven.path, tmp_path / "a", codec="tiff")[1])
    assert upscale(make_clip("b.mkv", frames=4).path, tmp_path / "b", codec="tiff")[1] == []


def test_closed_captions_are_told_as_lost(make_clip, tmp_path, monkeypatch):
    import dataclasses

    from vidsr.media.read import source as source_room

    clip, probe = make_clip("a.mp4", frames=1), source_room.probe
    monkeypatch.setattr(
        "vidsr.run.prepare.probe", lambda *given: dataclasses.replace(probe(*given), captions=frozenset({"CEA-608"}))
    )
    assert upscale(clip.path, tmp_path / "a", codec="png")[1] == [
        "left out: closed captions (CEA-608): an image sequence holds pictures only"
    ]
    assert names(tmp_path) == ["a", "a.mp4"]


def test_a_turn_is_told_as_lost_unless_it_is_applied(make_clip, tmp_path):
    clip = make_clip("a.mp4", rotation=90, frames=1)
    assert "the display matrix" in upscale(clip.path, tmp_path / "a", codec="png")[1][0]
    assert upscale(clip.path, tmp_path / "b", codec="png", rotation="apply")[1] == []
    assert read_picture(tmp_path / "b" / "a.000001.png")[1].shape == (64, 48, 3)


@pytest.mark.parametrize("codec", ["png", "tiff", "dpx"])
def test_hdr_code_stays_and_only_png_can_say_so(make_clip, tmp_path, codec):
    clip = make_clip("in.mkv", pix_fmt="yuv420p10le", codec="ffv1", tags=(9, 1, 9, 16), frames=1)
    _, notices = upscale(clip.path, tmp_path / "out", codec=codec)
    assert [text for text in notices if "colour tags" in text and "transfer 16" in text] == notices
    assert len(notices) == (codec != "png")
    assert read_picture(next((tmp_path / "out").iterdir()))[1].dtype == np.uint16
    with pytest.raises(UsageError, match=r"transfer 16 .16 is PQ"):
        upscale(clip.path, tmp_path / "light", codec="exr")


def test_dpx_has_a_place_for_linear(make_clip, tmp_path):
    clip = make_clip("in.mkv", pix_fmt="gbrp10le", codec="ffv1", tags=(0, 2, 1, 8), frames=1)
    assert upscale(clip.path, tmp_path / "dpx", codec="dpx")[1] == []
    assert "colour tags" in upscale(clip.path, tmp_path / "tiff", codec="tiff")[1][0]


def test_light_and_code_are_one_curve_apart(tmp_path):
    given = fill(tmp_path / "in", numbers=(1,))
    upscale(tmp_path / "in", tmp_path / "light", codec="exr")
    _, light = read_picture(tmp_path / "light" / "a.0001.exr")
    expected = decode_srgb(torch.from_numpy(given[1] / np.float32(255))).half().numpy()
    assert np.array_equal(light, expected)
    _, notices = upscale(tmp_path / "light", tmp_path / "back", codec="png", pix_fmt="rgb24")
    back = read_picture(tmp_path / "back" / "a.0001.png")[1].astype(int)
    assert np.abs(back - given[1]).max() <= 1  # halves are coarser than codes near white, and depth goes down dithered
    _, notices = upscale(tmp_path / "light", tmp_path / "deep", codec="png")
    assert ["beyond black and white" in text for text in notices] == [True]


def test_light_in_a_video_is_coded_and_tagged_as_srgb(tmp_path, look):
    (tmp_path / "in").mkdir()
    write_picture(tmp_path / "in" / "1.exr", np.full((48, 64, 3), 0.2140411, np.float32), "gbrpf32le")
    upscale(tmp_path / "in", tmp_path / "out.mkv", codec="ffv1", pix_fmt="gbrp16le")
    seen = look.video(tmp_path / "out.mkv")
    assert seen.tags[3] == 13 and seen.means[0] == pytest.approx(0.5 * 65535, abs=2)


def test_a_network_sees_light_coded_and_highlights_survive(tmp_path):
    light = np.full((32, 32, 3), 0.2, np.float32)
    light[8:16, 8:16] = 0.8
    light[18:24, 18:24] = 40.0
    (tmp_path / "in").mkdir()
    write_picture(tmp_path / "in" / "1.exr", light, "gbrpf32le")
    upscale(tmp_path / "in", scale=Fraction(2), model="realesr-animevideov3")
    _, seen = read_picture(tmp_path / "in_2x" / "1.exr")
    coded = encode_srgb(torch.from_numpy(light).permute(2, 0, 1)[None].clamp(0, 1))
    upscaler = Upscaler(UpscaleOptions(model="realesr-animevideov3", device="cpu"))
    expected = decode_srgb(upscaler.upscale_tensor(coded).clamp(0, 1))[0].permute(1, 2, 0).numpy()
    assert np.allclose(seen[:30, :30], expected[:30, :30], rtol=1e-4, atol=1e-5)  # away from the highlight: it alone
    assert seen[40:44, 40:44].mean() == pytest.approx(40, rel=0.05) and seen.min() > 0.1


@pytest.mark.parametrize("at", [1, 3, 5])
def test_a_damaged_picture_is_a_gap_and_the_rest_goes_on(tmp_path, look, at):
    fill(tmp_path / "in", numbers=range(1, 6))
    broken = tmp_path / "in" / f"a.000{at}.png"
    broken.write_bytes(broken.read_bytes()[:200])
    result, notices = upscale(tmp_path / "in")
    left = [number for number in range(1, 6) if number != at]
    assert names(tmp_path / "in_1x") == [f"a.000{number}.png" for number in left]
    assert result.num_frames == 4 and f"1 picture is left out: a.000{at}.png: cannot be decoded" in notices[0]
    broken.write_bytes(b"")
    upscale(tmp_path / "in", tmp_path / "out.mkv", codec="ffv1", rate=Fraction(25))
    assert look.video(tmp_path / "out.mkv").times == [Fraction(number - 1, 25) for number in left]


def test_alpha_is_enlarged_with_the_picture(tmp_path):
    fill(tmp_path / "in", ".tif", "rgba64le", numbers=(1,))
    upscale(tmp_path / "in", scale=Fraction(2))
    pix_fmt, seen = read_picture(tmp_path / "in_2x" / "a.0001.tif")
    assert pix_fmt == "rgba64le" and seen.shape == (58, 74, 4)


def test_the_shape_of_pixels_is_kept(tmp_path):
    (tmp_path / "in").mkdir()
    Image.fromarray(noise("rgb24")).save(tmp_path / "in" / "1.png", dpi=(72, 144))
    upscale(tmp_path / "in")
    assert shape_of_pixels(tmp_path / "in_1x" / "1.png") == 2
    upscale(tmp_path / "in", tmp_path / "out.mp4", preset="ultrafast")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].sample_aspect_ratio == 2  # as wide as two are high


def test_single_pictures(tmp_path):
    Image.fromarray(noise("rgb24")).save(tmp_path / "still.webp", lossless=True)
    fill(tmp_path, numbers=(7,), name="photo.{}")
    upscale(tmp_path / "photo.7.png")
    upscale(tmp_path / "still.webp", tmp_path / "b.tif")
    assert names(tmp_path) == ["b.tif", "photo.7.png", "photo.7_1x.png", "still.webp"]
    assert np.array_equal(read_picture(tmp_path / "b.tif")[1][..., :3], noise("rgb24"))


def test_names_with_anything_in_them(tmp_path):
    folder = tmp_path / "100% #1 é"
    fill(folder, numbers=(1, 2), name="a b%20ü'.{:03d}")
    upscale(folder)
    assert names(tmp_path / "100% #1 é_1x") == names(folder)
    upscale(folder / "a b%20ü'.###.png", tmp_path / "o" / "50%%_##.tif")
    assert names(tmp_path / "o") == ["50%%_01.tif", "50%%_02.tif"]
    upscale(folder, tmp_path / "p" / "50%%_%02d.tif")
    assert names(tmp_path / "p") == ["50%_01.tif", "50%_02.tif"]


def test_nothing_is_replaced_unless_told(tmp_path):
    given = fill(tmp_path / "in", numbers=(1, 2))
    fill(tmp_path / "out", numbers=(2, 9))
    with pytest.raises(TargetExistsError, match=r"a\.0002\.png: already there"):
        upscale(tmp_path / "in", tmp_path / "out")
    upscale(tmp_path / "in", tmp_path / "out", stop=1)  # number 1 alone is in nobody's way
    upscale(tmp_path / "in", tmp_path / "out", overwrite=True)
    assert names(tmp_path / "out") == ["a.0001.png", "a.0002.png", "a.0009.png"]
    assert np.array_equal(read_picture(tmp_path / "out" / "a.0002.png")[1], given[2])


def test_a_run_that_fails_leaves_no_picture_and_goes_on_later(tmp_path, monkeypatch):
    fill(tmp_path / "in", numbers=range(1, 9))
    (tmp_path / "there").mkdir()

    def fail(*_):
        raise RuntimeError("lightning")

    with monkeypatch.context() as patched:
        patched.setattr("vidsr.run.upscale.publish_pictures", fail)
        for target in ("new", "there"):
            with pytest.raises(RuntimeError, match="lightning"):
                upscale(tmp_path / "in", tmp_path / target)
    assert not [name for folder in ("new", "there") for name in names(tmp_path / folder) if name.endswith(".png")]
    for target in ("new", "there"):
        upscale(tmp_path / "in", tmp_path / target)
        assert names(tmp_path / target) == [f"a.{n:04d}.png" for n in range(1, 9)]


@pytest.mark.parametrize(
    ("target", "given", "error", "said"),
    [
        ("in", {}, UsageError, "is the source itself"),
        ("in/a.####.png", {"overwrite": True}, UsageError, "is the source itself"),
        ("one.png", {}, UsageError, "3 frames do not fit into one picture"),
        ("no/where/%04d.png", {}, TargetError, "there is no folder"),
        ("out/%04d.jpg", {}, UsageError, ".jpg is not written; use one of .png, .tif, .exr, .dpx"),
        ("out/%04d.png", {"codec": "ffv1"}, UsageError, "contradict each other"),
        ("out/%04d.png", {"codec": "exr"}, UsageError, "contradict each other"),
        ("out.mp4", {"codec": "exr"}, UsageError, "name a folder, or shot.%04d.exr"),
        ("out/%04d.png", {"container": "mp4"}, UsageError, "container mp4 is for videos"),
        ("out/%04d.png", {"crf": 20}, UsageError, "png has no crf"),
        ("out/%04d.png", {"pix_fmt": "yuv420p"}, UsageError, "png does not write 'yuv420p'"),
    ],
)
def test_what_cannot_be_is_refused_before_the_work(tmp_path, target, given, error, said):
    fill(tmp_path / "in")
    with pytest.raises(error) as caught:
        upscale(tmp_path / "in", tmp_path / target, **given)
    assert said in str(caught.value)
    assert names(tmp_path) == ["in"]


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    fill(tmp_path / "in")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(TargetError, match="is a file, a folder for pictures was expected"):
        upscale(tmp_path / "in", tmp_path / "file")


def test_what_is_not_there_is_named(tmp_path):
    fill(tmp_path / "in")
    with pytest.raises(SourceMissingError, match=r"b\.%04d\.png: no file fits this pattern"):
        upscale(tmp_path / "in" / "b.%04d.png")
    with pytest.raises(SourceMissingError):
        upscale(tmp_path / "gone.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="is a folder"):
        upscale(tmp_path / "empty")


def test_where_a_sequence_goes_by_default(tmp_path):
    fill(tmp_path / "shots.v2", ".bmp", "bgr24", name="a_{}_left")

    def target(source, **given):
        return prepare(source, None, UpscaleOptions(device="cpu", **given)).target.relative_to(tmp_path).as_posix()

    folder = tmp_path / "shots.v2"
    assert target(folder) == "shots.v2_2x/a_%d_left.png"
    assert target(folder / "a_#_left.bmp", scale=Fraction(3, 2)) == "shots.v2_1.5x/a_%d_left.png"
    assert target(folder, codec="tiff") == "shots.v2_2x/a_%d_left.tif"
    assert target(folder, codec="ffv1") == "shots.v2_2x.mkv"
    assert target(folder, container="mov") == "shots.v2_2x.mov"
    assert target(folder / "a_1_left.bmp") == "shots.v2/a_1_left_2x.png"


def test_many_pictures_are_found_without_being_opened(tmp_path, monkeypatch):
    fill(tmp_path / "in", numbers=(0,), name="{:06d}", width=4, height=4)
    data = (tmp_path / "in" / "000000.png").read_bytes()
    for number in range(1, 500):
        (tmp_path / "in" / f"{number:06d}.png").write_bytes(data)
    opened = []
    monkeypatch.setattr(Path, "read_bytes", lambda path: opened.append(path) or data)
    prepared = prepare(tmp_path / "in", None, UpscaleOptions(device="cpu", scale=Fraction(2)))
    assert prepared.plan.num_frames_expected == 500 and len(opened) <= 16


def test_the_command_line(tmp_path, capsys):
    from typer.testing import CliRunner

    from vidsr.cli.main import app

    def run(*words):
        outcome = CliRunner().invoke(app, [str(word) for word in words])
        return outcome.exit_code, outcome.output

    fill(tmp_path / "in", numbers=(1, 3))
    plain = ("--model", "nearest", "--device", "cpu", "--scale", "2")
    code, output = run("upscale", tmp_path / "in", *plain)
    assert code == 0 and "frame 2 is missing" in output, output
    assert names(tmp_path / "in_2x") == ["a.0001.png", "a.0003.png"]
    code, output = run("upscale", tmp_path / "in" / "a.%04d.png", "-o", tmp_path / "o.mkv", *plain, "--rate", "25")
    assert code == 0 and (tmp_path / "o.mkv").is_file(), output
    code, output = run("probe", tmp_path / "in", "--json")
    facts = json.loads(output)
    assert (facts["first_number"], facts["last_number"], facts["frames_from_index"]) == (1, 3, 2)
    assert "numbers 1 to 3 of a.%04d.png; frame 2 is missing" in run("probe", tmp_path / "in")[1]
    code, output = run("upscale", tmp_path / "in", tmp_path / "in_2x", "-o", tmp_path / "both", *plain)
    assert code == 0 and names(tmp_path / "both") == ["in_2x", "in_2x_2x"], output
    (tmp_path / "in" / "clip.mp4").write_bytes(b"")
    code, output = run("upscale", tmp_path / "in", *plain)
    assert code == 2 and "holds videos and numbered pictures" in output
    code, output = run("preview", tmp_path / "in_2x", "--model", "nearest", "--device", "cpu", "-n", "2")
    assert code == 0 and (tmp_path / "in_2x_preview.png").is_file(), output


def test_real_sequences(shared_media, tmp_path):
    for name, suffix in (("17_png16_seq", ".png"), ("17_exr_seq", ".exr")):
        source = shared_media / name
        upscale(source, tmp_path / name)
        assert names(tmp_path / name) == names(source)
        for file in source.iterdir():
            given, seen = read_picture(file), read_picture(tmp_path / name / file.name)
            assert given[0] == seen[0] and np.array_equal(given[1], seen[1]), suffix
