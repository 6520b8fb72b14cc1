"""How much memory a device has left, and running out of it as one kind of error."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from vidsr.devices import granted
from vidsr.errors import DeviceMemoryError

# Torch's allocator is of all GPUs: while one records, it has memory of its own for that, and frees none.
_allocating = threading.RLock()

_OUT_OF_MEMORY = (
    "not enough memory",
    "can't allocate memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    # torch keeps to itself that the workspace of none of cuDNN's ways did fit.
    "unable to find an engine to execute this computation",
)


def free_bytes(device: torch.device) -> int:
    """Memory that could be allocated now, in bytes: of the GPU, or what this process may still take of its machine."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + _idle_bytes(device)
    return granted.free_bytes()


def _idle_bytes(device: torch.device) -> int:
    """What torch holds of a GPU's memory and gives to whoever asks next; what recordings hold is theirs alone."""
    held = torch.cuda.memory_snapshot()  # type: ignore[no-untyped-call]
    segments = [segment for segment in held if segment["device"] == device.index]
    shared = [segment for segment in segments if segment["segment_pool_id"] == (0, 0)]
    return sum(segment["total_size"] - segment["active_size"] for segment in shared)


@contextmanager
def memory_errors(device: torch.device, what: str, words: tuple[str, ...] = ()) -> Iterator[None]:
    """Turn what torch and the C library raise when memory runs out into a DeviceMemoryError that says on what.

    Args:
        words: further ones that mean the same in the text of a RuntimeError.
    """
    message = f"{device} ran out of memory on {what}; try a smaller --tile or --batch"
    try:
        yield
    except DeviceMemoryError:
        raise
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise DeviceMemoryError(message) from error
    except RuntimeError as error:
        # Neither the CPU's allocator nor CUDA's libraries and driver have an exception type of their own.
        if any(word in str(error) for word in (*_OUT_OF_MEMORY, *words)):
            raise DeviceMemoryError(message) from error
        raise


@contextmanager
def only_one_allocates() -> Iterator[None]:
    """Let no two threads record launches, or give back memory while another one does."""
    with _allocating:
        yield


def give_back_memory(device: torch.device) -> None:
    """Have torch return what it holds of a GPU's memory and does not use."""
    if device.type == "cuda":
        with only_one_allocates():
            torch.cuda.empty_cache()
