"""The words of a judgement: one line a check, and what they come to together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

# wrong: a player shows or plays something else than the source, or the file is damaged.
# lost:  the source has something that is not there any more; what is there is right.
Outcome = Literal["ok", "lost", "wrong"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was compared. `found` is about the output, `expected` about the source."""

    name: str
    outcome: Outcome
    found: str
    expected: str = ""  # empty where it is what was found

    def __str__(self) -> str:
        text = f"{self.name}: {self.found}"
        return f"{text}; expected: {self.expected}" if self.expected and self.outcome != "ok" else text


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """All checks of one output against its source, in a fixed order."""

    source: Path
    output: Path
    quick: bool  # headers, packets and the first frame only: nothing else was decoded
    checks: tuple[Check, ...]
    num_frames: int  # in the output
    time_error_seconds: float | None  # greatest over all frames; None where the source has no times
    sound_error_seconds: float | None  # greatest move of a sound against the picture; None without sound

    def of(self, outcome: Outcome) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.outcome == outcome)

    def passes(self, *, strict: bool = False) -> bool:
        """Whether nothing is wrong and, if `strict`, nothing lost."""
        return not self.of("wrong") and not (strict and self.of("lost"))

    def __str__(self) -> str:
        """One line: what was compared, or what is wrong."""
        if wrong := self.of("wrong"):
            return "; ".join(str(check) for check in wrong)
        text = f"{self.num_frames} frames, {_names(self.of('ok'))}"
        lost = self.of("lost")
        return f"{text}; not all kept: {_names(lost)}" if lost else text


def _names(checks: tuple[Check, ...]) -> str:
    """Each name once; streams are counted, not listed."""
    names = [check.name for check in checks if check.name != "frames"]
    num_streams = sum(name.startswith("stream ") for name in names)
    words = [name for name in names if not name.startswith("stream ")]
    streams = [f"{num_streams} stream{'s' if num_streams > 1 else ''}"] if num_streams else []
    return ", ".join(streams + words)
