"""The journal: what is done is known after any crash, what is damaged is done again, another run is refused."""

from __future__ import annotations

import json

import pytest

from vidsr.errors import ResumeError
from vidsr.pipeline.journal import Journal, read_plan, read_records
from vidsr.pipeline.plan import make_plan
from vidsr.pipeline.tally import Tally

IDENTITY = {"source": "abc", "crf": "17"}


@pytest.fixture
def plan(tmp_path):
    plan = make_plan(tmp_path / "out.mkv", range(50), [], None, None, min_frames=10, max_frames=10)
    plan.work_folder.mkdir()
    return plan


def finish(journal, plan, index, data=b"a segment"):
    segment = plan.segments[index]
    plan.segment_path(segment).write_bytes(data + bytes([index]))
    tally = Tally(num_frames=segment.num_frames, num_recomputed=index, drift_sum=(0.5, 0.25 * index, -1.0))
    journal.add(segment, tally, 1.5, tile_px=100 * index)


def left(journal):
    return [segment.index for segment in journal.remaining]


def test_what_is_done_is_known_to_the_next_run(plan):
    journal = Journal(plan, IDENTITY)
    assert left(journal) == [0, 1, 2, 3, 4]
    finish(journal, plan, 0)
    finish(journal, plan, 3)
    assert left(journal) == [1, 2, 4]
    again = Journal(plan, IDENTITY)
    assert left(again) == [1, 2, 4]
    assert again.records == journal.records
    assert again.records[3].num_frames == 10
    assert again.tally == Tally(num_frames=20, num_recomputed=3, drift_sum=(1.0, 0.75, -2.0))
    assert again.tally.color_drift == (0.05 * 255, 0.0375 * 255, -0.1 * 255)


def test_the_tiles_of_the_segment_before_or_else_the_first_are_known(plan):
    journal = Journal(plan, IDENTITY)
    assert journal.tile_px_near(plan.segments[0]) is None
    finish(journal, plan, 1)
    finish(journal, plan, 2)
    finish(journal, plan, 4)
    again = Journal(plan, IDENTITY)
    assert [again.tile_px_near(segment) for segment in plan.segments] == [100, 100, 100, 200, 200]


@pytest.mark.parametrize("damage", ["gone", "shorter", "other bytes"])
def test_a_segment_that_is_no_longer_what_it_was_is_done_again_alone(plan, damage):
    journal = Journal(plan, IDENTITY)
    for index in range(5):
        finish(journal, plan, index)
    path = plan.segment_path(plan.segments[2])
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(data[:-1] if damage == "shorter" else b"X" + data[1:])
    again = Journal(plan, IDENTITY)
    assert left(again) == [2]
    finish(again, plan, 2)
    assert left(Journal(plan, IDENTITY)) == []


def test_a_segment_without_a_record_does_not_count(plan):
    journal = Journal(plan, IDENTITY)
    plan.segment_path(plan.segments[0]).write_bytes(b"written, but the power went before it was noted")
    assert left(Journal(plan, IDENTITY)) == left(journal) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("num_bytes", [1, 20, 60, 100])
def test_a_line_that_a_crash_cut_short_costs_only_itself(plan, num_bytes):
    journal = Journal(plan, IDENTITY)
    finish(journal, plan, 0)
    finish(journal, plan, 1)
    records = plan.work_folder / "journal.jsonl"
    data = records.read_bytes()
    records.write_bytes(data[: data.index(b"\n", 1) + 2 + num_bytes])
    again = Journal(plan, IDENTITY)
    assert left(again) == [1, 2, 3, 4]
    finish(again, plan, 4)
    assert left(Journal(plan, IDENTITY)) == [1, 2, 3]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 99}', "\x00" * 50])
def test_a_plan_that_is_not_whole_starts_over(plan, text):
    journal = Journal(plan, IDENTITY)
    finish(journal, plan, 0)
    (plan.work_folder / "plan.json").write_text(text)
    assert read_plan(plan.work_folder) is None
    assert left(Journal(plan, IDENTITY)) == [0, 1, 2, 3, 4]
    assert left(Journal(plan, IDENTITY)) == [0, 1, 2, 3, 4]


def test_damaged_records_are_no_records(plan):
    Journal(plan, IDENTITY)
    lines = [
        b"\xff\xfe",
        b"null",
        b'{"index": 1}',
        b'{"index": 1, "num_frames": 1, "num_bytes": 1, "sha256": "", "seconds": 1, "x": 1}',
    ]
    (plan.work_folder / "journal.jsonl").write_bytes(b"\n".join(lines))
    assert read_records(plan.work_folder) == {}


def test_another_run_is_refused_with_the_difference_named(plan):
    finish(Journal(plan, IDENTITY), plan, 0)
    with pytest.raises(ResumeError, match=r"crf was 17, is 20; model was not given, is x\. .*--restart"):
        Journal(plan, {"source": "abc", "crf": "20", "model": "x"})
    assert left(Journal(plan, IDENTITY)) == [1, 2, 3, 4]


def test_another_cut_is_refused(plan, tmp_path):
    Journal(plan, IDENTITY)
    other = make_plan(tmp_path / "out.mkv", range(50), [], None, None, min_frames=5, max_frames=5)
    with pytest.raises(ResumeError, match="its frames are cut otherwise"):
        Journal(other, IDENTITY)


def test_the_plan_is_readable_for_others(plan):
    Journal(plan, IDENTITY)
    content = json.loads((plan.work_folder / "plan.json").read_text())
    assert content["identity"] == IDENTITY
    assert [s["num_frames"] for s in content["segments"]] == [10] * 5


def test_a_segment_may_be_a_folder_of_pictures_or_nothing(plan):
    journal = Journal(plan, IDENTITY)
    folder = plan.segment_path(plan.segments[0])
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.png").write_bytes(b"picture")
    journal.add(plan.segments[0], Tally(num_frames=3), 1.0, tile_px=64)
    journal.add(plan.segments[1], Tally(), 1.0, tile_px=0)  # nothing could be decoded there
    assert left(Journal(plan, IDENTITY)) == [2, 3, 4]
    assert journal.num_frames == 3
    (folder / "1.png").rename(folder / "7.png")
    assert left(Journal(plan, IDENTITY)) == [0, 2, 3, 4]
