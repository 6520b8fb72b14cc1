"""The middle stage on a GPU: every frame comes back, in order, with its own planes."""

from __future__ import annotations

import numpy as np
import pytest
from test_worker import doubled, make_format, make_frames, make_worker, stream

from vidsr.transfer import open_lane


@pytest.mark.parametrize("name", ["gbrp", "gbrap12le", "yuv444p10le"])
def test_every_frame_comes_back_in_order(device, name):
    source, target = make_format(name, 64, 36), make_format(name, 128, 72)
    worker = make_worker(source, target, open_lane(device), batch=3, queue_batches=2, device=str(device))
    frames = make_frames(source, 50)
    come = stream(worker, frames, batch=3, queue_batches=2)
    assert [stamp.pts for stamp, _ in come] == [n * 10 for n in range(50)]
    for planes, (_, found) in zip(frames, come, strict=True):
        assert all(np.array_equal(f, doubled(p)) for f, p in zip(found[:3], planes[:3], strict=True))
