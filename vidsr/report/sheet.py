"""One sheet of many pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def stack_rows(rows: Sequence[Sequence[NDArray[np.uint8]]], gap_px: int = 8) -> NDArray[np.uint8]:
    """One picture from rows of equally sized (H, W, 3) pictures, with white gaps between."""
    height, width = rows[0][0].shape[:2]
    num_columns = len(rows[0])
    shape = (len(rows) * (height + gap_px) - gap_px, num_columns * (width + gap_px) - gap_px, 3)
    sheet = np.full(shape, 255, np.uint8)
    for row_index, row in enumerate(rows):
        for column_index, picture in enumerate(row):
            top, left = row_index * (height + gap_px), column_index * (width + gap_px)
            sheet[top : top + height, left : left + width] = picture
    return sheet
