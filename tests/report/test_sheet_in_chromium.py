"""Contact sheets in a real browser: nothing to complain about, nothing asked for, no overflow, both schemes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from report_samples import HOSTILE
from test_contact_sheet import ABOUT, drawn, ranked, row, sheet
from test_page_in_chromium import CHROMIUM, Browser, browser  # noqa: F401 (a fixture)

from mmablate.report.contact_sheet import render_contact_sheet
from mmablate.report.scene_sheet import render_scene_sheet

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


def opened(browser: Browser, path: Path, text: str, width: int, scheme: str) -> np.ndarray:  # noqa: F811
    path.write_text(text, encoding="utf-8")
    browser.open(path, width, scheme=scheme, touch=width < 600)
    assert browser.value("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    assert browser.complaints == []
    assert [url for url in browser.asked if not url.startswith("data:")] == [path.as_uri()]
    pixels = browser.picture()
    assert (pixels.mean() > 128) == (scheme == "light")
    return pixels


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light")])
def test_the_sheet_of_samples(browser: Browser, tmp_path: Path, width: int, scheme: str) -> None:  # noqa: F811
    long = "unbreakable" * 20
    made = sheet((row(), row("L_kd", text=HOSTILE), row("x", text=long)), class_names=(long, HOSTILE, "owl"))
    opened(browser, tmp_path / "sheet.html", render_contact_sheet(ABOUT, made, drawn(made, long)), width, scheme)
    shown = "[...document.querySelectorAll('.pic')].map(p => p.getBoundingClientRect())"
    assert browser.value(f"{shown}.filter(r => r.width < 20 || r.height < 1).length") == 0
    filled = "[...document.querySelectorAll('.pic')].filter(p => getComputedStyle(p).backgroundImage == 'none').length"
    assert browser.value(filled) == 0
    right = "[...document.querySelectorAll('.one *')].filter(e => e.getBoundingClientRect().right > innerWidth).length"
    assert browser.value(right) == 0


def test_the_sheet_of_scenes(browser: Browser, tmp_path: Path) -> None:  # noqa: F811
    opened(browser, tmp_path / "scenes.html", render_scene_sheet(ABOUT, ranked()), 1280, "light")
    seen = "['.as-classes', '.as-errors'].map(c => getComputedStyle(document.querySelector(c)).display)"
    assert browser.value(seen) == ["block", "none"]
    browser.value("document.querySelector('.to-errors').click()")
    assert browser.value(seen) == ["none", "block"]
