"""What programs read: one JSON object a line, of the schema that docs/json.md describes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

# Grows when a key goes or means something else; a new key does not change it.
SCHEMA = 1


def json_line(fields: Mapping[str, object]) -> str:
    """An object with the version of its schema before its own keys."""
    return json.dumps({"schema": SCHEMA, **plain(fields)}, allow_nan=False)


def plain(value: Any) -> Any:
    """As JSON has it: paths as texts, fractions as "30000/1001", sets sorted, records by their fields."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (frozenset, set)):
        return sorted(plain(item) for item in value)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Fraction):
        return f"{value.numerator}/{value.denominator}"
    return str(value) if isinstance(value, Path) else value
