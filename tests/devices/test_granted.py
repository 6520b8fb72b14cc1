"""What a process may use: of faked machines, and of real limits where this machine lets a test set them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from vidsr.devices import granted
from vidsr.devices.names import settle

GIB = 2**30
V2 = "34 23 0:31 {top} {mount} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = "32 23 0:30 {top} {mount}/{name} rw - cgroup cgroup rw,{name}\n"


class Machine:
    """A faked root folder, with as much free memory as given."""

    def __init__(self, root: Path, gib: float = 64) -> None:
        self.root = root
        self.write("proc/meminfo", f"MemTotal: 99999999 kB\nMemAvailable: {int(gib * GIB) // 1024} kB\n")
        self.write("proc/self/status", "Name:\tpython\nVmSize:\t 1048576 kB\nVmData:\t  524288 kB\n")

    def write(self, name: str, text: str) -> None:
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def gib(self) -> float:
        return granted.free_bytes(self.root) / GIB


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def _groups_of_version_2(machine: Machine, path: str, top: str = "/") -> None:
    machine.write("proc/self/cgroup", f"0::{path}\n")
    machine.write("proc/self/mountinfo", V2.format(top=top, mount="/sys/fs/cgroup"))


def _groups_of_version_1(machine: Machine, path: str, top: str = "/") -> None:
    machine.write("proc/self/cgroup", f"9:name=systemd:/\n4:memory:{path}\n2:cpu,cpuacct:{path}\n0::/\n")
    mounts = [V1.format(top=top, mount="/sys/fs/cgroup", name=name) for name in ("memory", "cpu", "cpuset")]
    machine.write("proc/self/mountinfo", "".join(mounts))


def test_without_groups_the_machine_counts(machine: Machine) -> None:
    assert machine.gib() == 64
    assert granted.num_processors(machine.root) == len(os.sched_getaffinity(0))


def test_group_of_version_2(machine: Machine) -> None:
    _groups_of_version_2(machine, "/jobs/7")
    machine.write("sys/fs/cgroup/jobs/7/memory.max", "max\n")
    machine.write("sys/fs/cgroup/jobs/7/memory.current", f"{GIB}\n")
    assert machine.gib() == 64, "max is no limit"
    machine.write("sys/fs/cgroup/jobs/memory.max", f"{8 * GIB}\n")
    machine.write("sys/fs/cgroup/jobs/memory.current", f"{3 * GIB}\n")
    machine.write("sys/fs/cgroup/jobs/memory.stat", f"anon 1\ninactive_file {GIB}\nactive_file {GIB // 2}\n")
    assert machine.gib() == 8 - 3 + 1.5, "cached files give way, and a group is bound by those around it"


def test_group_of_version_1(machine: Machine) -> None:
    _groups_of_version_1(machine, "/docker/abc")
    machine.write("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", f"{6 * GIB}\n")
    machine.write("sys/fs/cgroup/memory/docker/abc/memory.usage_in_bytes", f"{2 * GIB}\n")
    assert machine.gib() == 4


@pytest.mark.parametrize("top", ["/", "/docker/abc"])
def test_a_container_that_sees_the_path_of_its_host(machine: Machine, top: str) -> None:
    _groups_of_version_1(machine, "/docker/abc", top)
    machine.write("sys/fs/cgroup/memory/memory.limit_in_bytes", f"{6 * GIB}\n")
    machine.write("sys/fs/cgroup/memory/memory.usage_in_bytes", f"{2 * GIB}\n")
    assert machine.gib() == 4


def test_more_used_than_granted_is_nothing_free(machine: Machine) -> None:
    _groups_of_version_2(machine, "/")
    machine.write("sys/fs/cgroup/memory.max", f"{GIB}\n")
    machine.write("sys/fs/cgroup/memory.current", f"{2 * GIB}\n")
    assert machine.gib() == 0


def test_limit_of_address_space(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    limits = {resource.RLIMIT_AS: 5 * GIB}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limits.get(kind, resource.RLIM_INFINITY), 0))
    assert machine.gib() == 4
    limits[resource.RLIMIT_DATA] = GIB
    assert machine.gib() == 0.5


@pytest.fixture
def sixteen_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)


@pytest.mark.usefixtures("sixteen_processors")
@pytest.mark.parametrize(
    ("text", "expected"), [("max 100000", 16), ("400000 100000", 4), ("150000 100000", 2), ("5000 100000", 1)]
)
def test_processors_of_version_2(machine: Machine, text: str, expected: int) -> None:
    _groups_of_version_2(machine, "/job")
    machine.write("sys/fs/cgroup/job/cpu.max", f"{text}\n")
    assert granted.num_processors(machine.root) == expected


@pytest.mark.usefixtures("sixteen_processors")
@pytest.mark.parametrize(("quota", "expected"), [("-1", 16), ("300000", 3), ("9900000", 16)])
def test_processors_of_version_1(machine: Machine, quota: str, expected: int) -> None:
    _groups_of_version_1(machine, "/job")
    machine.write("sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", f"{quota}\n")
    machine.write("sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n")
    assert granted.num_processors(machine.root) == expected


@pytest.fixture
def group_of_2_gib() -> Iterator[Path]:
    group = Path("/sys/fs/cgroup/memory/vidsr-test")
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(f"{2 * GIB}")
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    yield group
    group.rmdir()


@pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")
def test_real_group_bounds_what_is_free(group_of_2_gib: Path) -> None:
    code = (
        f"open('{group_of_2_gib}/cgroup.procs', 'w').write('0')\n"
        "from vidsr.devices import granted\nprint(granted.free_bytes())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 1.5 * GIB < int(done.stdout) <= 2 * GIB


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no ulimit")
def test_real_limit_bounds_what_is_free() -> None:
    code = (
        f"import resource\nresource.setrlimit(resource.RLIMIT_AS, ({3 * GIB}, {3 * GIB}))\n"
        "from vidsr.devices import granted\nprint(granted.free_bytes())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 2 * GIB < int(done.stdout) < 3 * GIB


@pytest.mark.parametrize(
    ("num_granted", "variable", "expected"), [(1, None, 1), (2, None, 2), (9, None, 2), (1, "2", 2)]
)
def test_torch_has_no_more_threads_than_granted(
    monkeypatch: pytest.MonkeyPatch, num_granted: int, variable: str | None, expected: int
) -> None:
    monkeypatch.setattr(granted, "num_processors", lambda: num_granted)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if variable is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        settle(torch.device("cpu"))
        assert torch.get_num_threads() == expected
    finally:
        torch.set_num_threads(before)
