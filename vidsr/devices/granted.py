"""What this process may use of its machine: containers and limits grant less than it has."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/")
# In control groups of version 2 and 1: the limit, what is used of it, and in `memory.stat` what is only cache of files.
_MEMORY_FILES = (
    ("memory.max", "memory.current", ("inactive_file", "active_file")),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")),
)


def free_bytes(root: Path = _ROOT) -> int:
    """Memory that this process could take now, in bytes: the least of what the machine, its control groups, and its
    limits of address space and data leave.

    Args:
        root: the folder that has `proc` and `sys`.
    """
    return max(min((_machine_free_bytes(root), *_group_free_bytes(root), *_limit_free_bytes(root))), 0)


def num_processors(root: Path = _ROOT) -> int:
    """Logical processors that this process may keep busy: by its affinity, and its control groups' quota of time."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(min((count, *_group_processors(root))), 1)


def _machine_free_bytes(root: Path) -> int:
    available = _kilobytes(root / "proc/meminfo", "MemAvailable")
    if available is not None:
        return available
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return 4 << 30  # a system that tells nothing: what every machine with torch on it can be expected to have


def _group_free_bytes(root: Path) -> Iterator[int]:
    for group in _groups(root, "memory"):
        for limit_name, used_name, cache_names in _MEMORY_FILES:
            limit, used = _number(group / limit_name), _number(group / used_name)
            if limit is not None and used is not None:
                stat = dict(line.split(maxsplit=1) for line in _lines(group / "memory.stat") if " " in line)
                yield limit - used + sum(int(stat.get(name, "0")) for name in cache_names)


def _group_processors(root: Path) -> Iterator[int]:
    for group in _groups(root, "cpu"):
        quota, _, period = next(iter(_lines(group / "cpu.max")), "").partition(" ")  # version 2: both in one file
        microseconds = int(quota) if quota.isdecimal() else _number(group / "cpu.cfs_quota_us")
        per = int(period) if period.isdecimal() else _number(group / "cpu.cfs_period_us")
        if microseconds is not None and microseconds > 0 and per:  # -1 and "max" are no limit
            yield math.ceil(microseconds / per)


def _limit_free_bytes(root: Path) -> Iterator[int]:
    """Of `ulimit -v` and `-d`, which some schedulers of farms set."""
    try:
        import resource  # not on Windows
    except ImportError:
        return
    for kind, used_name in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        limit, _ = resource.getrlimit(kind)
        used = _kilobytes(root / "proc/self/status", used_name)
        if limit != resource.RLIM_INFINITY and used is not None:
            yield limit - used


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of the control groups that this process is in, for memory or cpu, each with those around it."""
    inside: dict[str, str] = {}  # path of the process's group, by controller; "" is version 2
    for line in _lines(root / "proc/self/cgroup"):
        _, names, path = line.split(":", 2)
        inside |= dict.fromkeys(names.split(","), path)
    for line in _lines(root / "proc/self/mountinfo"):
        mount, _, system = line.partition(" - ")
        kind, _, options = system.split(" ", 2)
        if kind == "cgroup2":
            path = inside.get("", "/")
        elif kind == "cgroup" and controller in options.split(","):
            path = inside.get(controller, "/")
        else:
            continue
        top_path, mount_point = mount.split(" ")[3:5]
        top = root / mount_point.lstrip("/")
        # A container may be told its group's path as the host has it, which is not there: its mount's top is its group.
        inner = Path(path)
        group = top / inner.relative_to(top_path) if inner.is_relative_to(top_path) else top
        yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(top) and folder.is_dir())


def _kilobytes(file: Path, name: str) -> int | None:
    """In bytes, from a file with lines like `MemAvailable:  1234 kB`."""
    found = next((line.split()[1] for line in _lines(file) if line.startswith(f"{name}:")), None)
    return None if found is None else int(found) * 1024


def _number(file: Path) -> int | None:
    text = next(iter(_lines(file)), "")
    return int(text) if text.removeprefix("-").isdecimal() else None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(errors="replace").splitlines()
    except OSError:  # not there, or not for this process to see
        return []
