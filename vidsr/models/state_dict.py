"""State dicts as files hold them: prefixes and numbered keys."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

State = Mapping[str, Tensor]
Weights = Sequence[tuple[Tensor, Tensor | None]]  # (weight, bias) of each layer in the order in which they are used
_PREFIXES = ("module.", "netG.")


def without_prefix(state: State) -> State:
    """The state without what DataParallel and training frameworks put before every name."""
    while True:
        for prefix in _PREFIXES:
            picked = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            if picked:
                state = picked
                break
        else:
            return state


def indices(named: State, pattern: str) -> set[int]:
    return {int(m[1]) for key in named if (m := re.match(pattern, key))}
