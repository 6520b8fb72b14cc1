"""The lock: two processes never write one target, and a dead one keeps nobody out."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

import pytest

from vidsr.errors import TargetBusyError
from vidsr.pipeline.lock import only_one

HOLD = """
import sys, time
from pathlib import Path
from vidsr.pipeline.lock import only_one
with only_one(Path(sys.argv[1]), Path("out.mkv")):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path / "work")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_and_told_who_has_it(tmp_path, holder):
    with (
        pytest.raises(TargetBusyError, match=rf"out\.mkv: is being written by process {holder.pid} on "),
        only_one(tmp_path / "work", tmp_path / "out.mkv"),
    ):
        pytest.fail("both have it")


def test_what_a_killed_process_held_is_free(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with only_one(tmp_path / "work", tmp_path / "out.mkv"):
        assert f"process {os.getpid()} on " in (tmp_path / "work" / "lock").read_text()


def test_it_can_be_had_again_and_again_also_after_a_failure(tmp_path):
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), only_one(tmp_path / "work", tmp_path / "out.mkv"):
            raise ZeroDivisionError
    with only_one(tmp_path / "work", tmp_path / "a"), only_one(tmp_path / "other", tmp_path / "b"):
        pass


def test_the_owner_may_remove_the_folder(tmp_path):
    with only_one(tmp_path / "work", tmp_path / "out.mkv"):
        shutil.rmtree(tmp_path / "work")
        with only_one(tmp_path / "work", tmp_path / "out.mkv"):  # another target of the same name, begun anew
            assert (tmp_path / "work" / "lock").exists()
    assert list((tmp_path / "work").iterdir()) == [tmp_path / "work" / "lock"]
