"""What became of frames, one by one and added up: for the report, and kept in the journal for the runs that go on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Counts and sums over some frames. Tallies add up with `+`."""

    num_frames: int = 0
    num_recomputed: int = 0  # that were no picture at first and were computed again in fp32
    num_repeated: int = 0  # that equal the one before and took its result
    num_partly: int = 0  # of which only what differs from the one before was computed
    # Sum over the frames of mean R', G', B' of the result less the source's, with 1 for white.
    drift_sum: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __add__(self, other: Tally) -> Tally:
        (r, g, b), (s, h, c) = self.drift_sum, other.drift_sum
        return Tally(
            num_frames=self.num_frames + other.num_frames,
            num_recomputed=self.num_recomputed + other.num_recomputed,
            num_repeated=self.num_repeated + other.num_repeated,
            num_partly=self.num_partly + other.num_partly,
            drift_sum=(r + s, g + h, b + c),
        )

    @property
    def repeated(self) -> Tally:
        """Of the same frames, shown once more."""
        return Tally(num_frames=self.num_frames, num_repeated=self.num_frames, drift_sum=self.drift_sum)

    @property
    def color_drift(self) -> tuple[float, float, float]:
        """Mean R', G', B' of the results less the sources', in levels of 255."""
        red, green, blue = (255 * total / max(self.num_frames, 1) for total in self.drift_sum)
        return red, green, blue
