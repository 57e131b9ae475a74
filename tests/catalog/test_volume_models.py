"""The catalogue's segmentor of incomplete scans: its options build the model, and what does not fit is refused."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from mmablate.catalog import find, load_target
from mmablate.catalog.volume_models import smallest_patch


@pytest.mark.parametrize("options", [{}, {"widths": (2, 4, 6), "stem_stride": 2, "depth": 2}, {"stem_stride": 3}])
def test_options_build_the_model_and_say_how_small_a_patch_may_be(options):
    entry = find("model", "incomplete_segmentor")
    assert (entry.task, entry.multimodal) == ("volumes", True)
    filled = entry.options.model_validate(options).model_dump()
    with torch.device("meta"):
        model = load_target(entry)(n_classes=4, modalities=("a", "b"), **filled)
    assert smallest_patch(options) == model.smallest_edge


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"widths": (8,)}, "at least 2 items"),
        ({"widths": (8, 7)}, "multiple of 2"),
        ({"stem_stride": 0}, "greater than or equal to 1"),
        ({"depth": 0}, "greater than or equal to 1"),
        ({"negative_slope": 1.0}, "less than 1"),
        ({"width": 3}, "Extra inputs"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, says):
    with pytest.raises(ValidationError, match=says):
        find("model", "incomplete_segmentor").options.model_validate(options)
