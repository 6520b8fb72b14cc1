"""What makes two runs the same: source, weights, options, program, in words that can be compared and shown."""

from __future__ import annotations

from dataclasses import replace

from vidsr.errors import SourceError, UsageError
from vidsr.events import OnEvent
from vidsr.inference.upscaler import Upscaler
from vidsr.media.read.probe import SourceInfo
from vidsr.pipeline.journal import read_identity
from vidsr.run.fingerprint import fingerprint
from vidsr.run.prepare import Prepared
from vidsr.version import __version__

_NUM_PICTURES = 16  # of a sequence, that are looked at


def identity(prepared: Prepared, upscaler: Upscaler) -> dict[str, str]:
    """Everything that decides what ends up in the target: two runs that agree in it can share segments.

    Raises:
        SourceError: the source went away.
    """
    words = prepared.options.in_words()
    picture = prepared.picture
    weights = upscaler.model.path
    return {
        **{key: text for key, text in words.items() if key not in ("device", "precision", "engine", "model")},
        "vidsr": __version__,
        "source": _source_fingerprint(prepared.source),
        "model": upscaler.model.name,
        "weights": "none" if weights is None else fingerprint([weights]),
        "device": upscaler.device.type,
        "precision": upscaler.precision,
        "engine": upscaler.engine_info.engine,
        "picture": f"{picture.width}x{picture.height} {picture.layout.name} {picture.color}",
        "encoder": " ".join(f"{key}={value}" for key, value in sorted(prepared.encoder_options.items())),
        "fields": str(prepared.fields),
    }


def upscaler_for(prepared: Prepared, known: Upscaler | None, on_event: OnEvent, *, restart: bool) -> Upscaler:
    """An upscaler of a run's options, and of the engine that the run was begun with.

    What `auto` means changes with every measurement; what was begun must go on as it was.

    Args:
        known: one of the same options but perhaps the engine, which is used again where that is the one.
        restart: it is not to go on, but to begin anew.

    Raises:
        UsageError, DeviceError, WeightsError, DownloadError: as `Upscaler`.
    """
    options = prepared.options
    if known is None or known.options.engine != options.engine:
        known = Upscaler(options, on_event)
    if restart or options.engine != "auto" or not known.is_network:
        return known
    try:
        begun = read_identity(prepared.plan.work_folder).get("engine", "none")
    except OSError:  # told where the journal is opened
        return known
    if begun in ("none", known.engine_info.engine):
        return known
    try:
        upscaler = Upscaler(replace(options, engine=begun), on_event)
    except UsageError:  # it cannot run here; the journal says what to do
        return known
    upscaler.engine_reason = "as this run was begun"
    return upscaler


def _source_fingerprint(source: SourceInfo) -> str:
    paths = [source.path]
    if source.sequence is not None:
        numbers = source.sequence.numbers
        chosen = sorted({numbers[n * (len(numbers) - 1) // (_NUM_PICTURES - 1)] for n in range(_NUM_PICTURES)})
        paths = [source.sequence.pattern.folder / source.sequence.pattern.name(number) for number in chosen]
    try:
        return f"{len(source.pts)} frames, {fingerprint(paths)[:16]}"
    except OSError as error:
        raise SourceError(f"{source.path}: went away before the run ({error.strerror})") from error
