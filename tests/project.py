"""Places and settings that tests of several rooms name."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHARED = ROOT / ".." / "shared" / "data"

# The smallest settings at which every stage of a run still happens.
TINY = [
    "train.epochs=1",
    "seeds=[0,1]",
    "model.widths=[4,4,8]",
    "model.decoder_width=4",
]


def shared_data(name: str) -> Path:
    """Real data beside the checkout; the test is skipped, with the reason, where it is not there."""
    folder = SHARED / name
    if not folder.exists():
        pytest.skip(f"real data not at hand: shared/data/{name}")
    return folder
