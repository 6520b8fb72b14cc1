"""Which layers run together, and which picture in memory holds what they make."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from vidsr.engines.winograd_layers import Layers


@dataclass(frozen=True, kw_only=True)
class PlacedPicture:
    """As the kernels are told of it: its sides are the input's doubled so many times."""

    num_channels: int
    doublings: int
    is_local: bool  # no band reads what another left in it


@dataclass(frozen=True, kw_only=True)
class Places:
    """What `place` finds."""

    bands: tuple[int, ...]  # of each layer: those with the same number run together, some rows at a time
    joined: tuple[int | None, ...]  # of each layer, the picture with the parts beside the first that it reads or makes
    pictures: tuple[PlacedPicture, ...]  # the first is the input, the last the output
    of: Mapping[int, tuple[int, int]]  # of each value, the picture and the first of its channels there


@dataclass(eq=False)
class _Room:
    """What one value needs, or several that lie side by side."""

    doublings: int
    begin: int  # the first and the last band that need it
    end: int
    is_output: bool
    num_channels: int = 0
    is_local: bool = False
    readings: list[tuple[int, int, bool]] = field(default_factory=list)  # (band, layer, as a residual) of each
    over: _Room | None = None  # what it is written over

    @property
    def kind(self) -> tuple[bool, bool, int, int]:
        """Only rooms of one kind can have the same picture, one after the other."""
        return self.is_local, self.is_output, self.num_channels, self.doublings


def padded(num_channels: int, lanes: int) -> int:
    """The multiple of the lanes that holds them."""
    return -(-num_channels // lanes) * lanes


def place(layers: Layers, lanes: int) -> Places:
    """Where everything lies for registers of so many floats."""
    home = {value: values[0] for values in layers.joined for value in values}
    # What the layers of a dense block work on stays in the cache, and so does that of a chain with no joined values.
    groups = [home.get((*layer.parts[1:], layer.value)[0]) for layer in layers.layers]
    bands = [0]
    for before, group in pairwise(groups):
        bands.append(bands[-1] + (group != before))
    rooms = _rooms(layers, bands, home)
    channels = {layer.value: padded(layer.convolution.weight.shape[0], lanes) for layer in layers.layers}
    first_channel = dict.fromkeys(channels, 0)
    for values in layers.joined:
        for before, value in pairwise(values):
            first_channel[value] = first_channel[before] + channels[before]
    for value, count in channels.items():
        rooms[home.get(value, value)].num_channels += count
    _write_over(layers, bands, rooms, home)
    numbers, pictures = _numbered(rooms)
    in_channels = padded(layers.layers[0].convolution.weight.shape[1], lanes)
    pictures.insert(0, PlacedPicture(num_channels=in_channels, doublings=0, is_local=False))
    of = {value: (1 + numbers[home.get(value, value)], first_channel[value]) for value in channels}
    return Places(
        bands=tuple(bands),
        joined=tuple(None if group is None else 1 + numbers[group] for group in groups),
        pictures=tuple(pictures),
        of={layers.picture: (0, 0), **of},
    )


def _rooms(layers: Layers, bands: Sequence[int], home: Mapping[int, int]) -> dict[int, _Room]:
    """By the first of the values that they are for, in the order in which they are first written to."""
    doublings = {layers.picture: 0}
    rooms: dict[int, _Room] = {}
    for index, (layer, band) in enumerate(zip(layers.layers, bands, strict=True)):
        level = doublings[layer.value] = doublings[layer.parts[0]] + layer.doubles
        residuals = [value for value, _ in layer.residuals]
        for value in (*layer.parts, *residuals):
            if value != layers.picture:
                room = rooms[home.get(value, value)]
                room.end = band
                room.readings.append((band, index, value in residuals and value not in layer.parts))
        is_output = layer is layers.layers[-1]
        rooms.setdefault(home.get(layer.value, layer.value), _Room(level, band, band, is_output)).end = band
    for room in rooms.values():
        room.is_local = room.begin == room.end
    return rooms


def _write_over(layers: Layers, bands: Sequence[int], rooms: Mapping[int, _Room], home: Mapping[int, int]) -> None:
    """A residual that is added for the last time can be written over, if nothing else of its band reads it."""
    for index, (layer, band) in enumerate(zip(layers.layers, bands, strict=True)):
        target = rooms[home.get(layer.value, layer.value)]
        for value, _ in layer.residuals:
            room = None if value == layers.picture else rooms[value]
            if room is None or room.kind != target.kind or room.is_local or target.over is not None:
                continue
            if room.begin < band == room.end and [r for r in room.readings if r[0] == band] == [(band, index, True)]:
                target.over, room.end = room, band - 1


def _numbered(rooms: Mapping[int, _Room]) -> tuple[dict[int, int], list[PlacedPicture]]:
    """The number of each room's picture, and the pictures: local ones last, in the order of their first use."""
    of_kind = defaultdict(list)
    for room in rooms.values():
        of_kind[room.kind].append(room)
    shared = {room: (kind, number) for kind, some in of_kind.items() for room, number in _in_turn(some).items()}
    numbers: dict[tuple[object, int], int] = {}
    pictures: list[PlacedPicture] = []
    for room in sorted(rooms.values(), key=lambda room: room.is_local):
        if shared[room] not in numbers:
            numbers[shared[room]] = len(pictures)
            pictures.append(
                PlacedPicture(num_channels=room.num_channels, doublings=room.doublings, is_local=room.is_local)
            )
    return {value: numbers[shared[room]] for value, room in rooms.items()}, pictures


def _in_turn(rooms: Sequence[_Room]) -> dict[_Room, int]:
    """Which of as few places as they need rooms of one kind get: the one that was given back first.

    What one band reads, no other room gets before the next band: its layers do not run one after the other.
    """
    most = max(sum(other.begin <= room.begin <= other.end for other in rooms) for room in rooms)
    free, held, places = deque(range(most)), list[_Room](), dict[_Room, int]()
    for room in rooms:
        over = sorted((other for other in held if other.end < room.begin), key=lambda other: other.end)
        free.extend(places[other] for other in over)
        held = [other for other in held if other not in over]
        if room.over is not None and places[room.over] in free:
            places[room] = places[room.over]
            free.remove(places[room])
        else:
            places[room] = free.popleft()
        held.append(room)
    return places
