"""The page in a real browser: nothing to complain about, nothing asked for, sorting, touch, widths, both schemes."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import classification_samples as samples
import numpy as np
import pytest
import suppression_samples
from PIL import Image
from report_samples import hostile, losses, per_row_baselines, sweep, wide, with_failures
from test_page_details import failed, study
from test_saliency_report import put
from test_study_page import shown

from mmablate.analysis.building import build_table
from mmablate.analysis.details import load_details
from mmablate.cli.tables import write_study_page
from mmablate.report.html import render_page
from mmablate.report.study_page import render_study

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
PATIENCE = 60


class Browser:
    """A headless Chromium, spoken to over a pipe in its DevTools protocol; one tab."""

    def __init__(self, profile: Path) -> None:
        to_browser, self.writing = os.pipe()
        self.reading, from_browser = os.pipe()
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 20) for fd in (to_browser, from_browser)]

        def place() -> None:  # Chromium reads from 3 and writes to 4
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        self.process = subprocess.Popen(
            [str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--no-first-run", "--hide-scrollbars", "--remote-debugging-pipe", f"--user-data-dir={profile}"],
            pass_fds=(3, 4), preexec_fn=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for fd in (to_browser, from_browser, *high):
            os.close(fd)
        self.numbers = itertools.count(1)
        self.buffer = b""
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.events: list[str] = []
        self.session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.writing, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return dict(answer["result"])
            self._note(answer)

    def _read(self) -> dict[str, Any]:
        until = time.monotonic() + PATIENCE
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.reading], [], [], max(0.0, until - time.monotonic()))
            assert ready, "Chromium is silent"
            more = os.read(self.reading, 1 << 20)
            assert more, "Chromium has ended"
            self.buffer += more
        line, _, self.buffer = self.buffer.partition(b"\0")
        return dict(json.loads(line))

    def _note(self, event: dict[str, Any]) -> None:
        method, about = event.get("method", ""), event.get("params", {})
        self.events.append(method)
        if method in ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"):
            self.complaints.append(json.dumps(about)[:500])
        if method == "Network.requestWillBeSent":
            self.asked.append(about["request"]["url"])

    def open(self, path: Path, width: int, *, scheme: str = "light", touch: bool = False) -> None:
        self.complaints, self.asked, self.events = [], [], []
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=touch)
        self.call("Emulation.setTouchEmulationEnabled", enabled=touch)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Page.navigate", url=path.as_uri())
        while "Page.loadEventFired" not in self.events:
            self._note(self._read())

    def value(self, expression: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        code = {"Enter": 13}.get(key, 0)
        more = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **more)

    def picture(self) -> np.ndarray:
        data = self.call("Page.captureScreenshot", format="png")["data"]
        with Image.open(BytesIO(base64.b64decode(data))) as image:
            return np.asarray(image.convert("RGB"))

    def close(self) -> None:
        with contextlib.suppress(OSError, AssertionError):
            self.session = None
            self.call("Browser.close")
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.writing)
        os.close(self.reading)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pages") / "page.html"
    endless = losses(title="Übergröße" * 40, row_header="Kopf" * 30, notes=("Hinweis" * 60,), caption="Satz" * 90)
    label = "unbreakable" * 20
    endless = endless.model_copy(update={"rows": tuple(r.model_copy(update={"label": label}) for r in endless.rows)})
    tables = [losses(), endless, sweep(), with_failures(), hostile(), wide(), per_row_baselines()]
    path.write_text(render_page(tables), encoding="utf-8")
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_opens_without_complaint_request_or_overflow(
    browser: Browser, page: Path, width: int, scheme: str
) -> None:
    browser.open(page, width, scheme=scheme, touch=width == 390)
    wider = browser.value("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wider == 0
    spilled = "th => th.scrollWidth > th.clientWidth + 1"
    assert browser.value(f"[...document.querySelectorAll('table.scores th.label')].filter({spilled}).length") == 0
    assert browser.value("document.querySelectorAll('thead button').length") > 0  # the script was let in
    assert browser.complaints == []
    assert browser.asked == [page.as_uri()]
    pixels = browser.picture()
    assert pixels.shape == (900, width, 3)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50
    assert (pixels.mean() > 128) == (scheme == "light")


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_of_a_study_opens_the_same_way(browser: Browser, tmp_path: Path, width: int) -> None:
    store = study(tmp_path)
    store.finish_run(failed("sup+mad1", "sup+mad", 1, "out of " + "memory" * 60, 3))
    path = tmp_path / "index.html"
    night = losses(condition="night", title="Night")
    path.write_text(render_study(losses(), [night], shown(), details=load_details(store)), encoding="utf-8")
    browser.open(path, width, touch=width == 390)
    browser.value("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert browser.value("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    assert browser.value("document.querySelectorAll('.card svg').length") >= 4
    seen = "['.as-classes', '.as-errors'].map(c => getComputedStyle(document.querySelector(c)).display)"
    assert browser.value(seen) == ["block", "none"]
    browser.value("document.querySelector('.to-errors').click()")
    assert browser.value(seen) == ["none", "block"]
    assert browser.complaints == []
    assert [url for url in browser.asked if not url.startswith("data:")] == [path.as_uri()]


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_of_a_classification_opens_the_same_way(browser: Browser, tmp_path: Path, width: int) -> None:
    store = samples.write(tmp_path)
    for seed in (0, 1):
        put(store, f"1+focus-{seed}", seed, n=300)
    _, path = write_study_page(store)
    browser.open(path, width, touch=width == 390)
    assert browser.value("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    spilled = "[...document.querySelectorAll('.card text')].filter(t => t.getBoundingClientRect().right > innerWidth)"
    assert browser.value(f"{spilled}.length") == 0
    assert browser.value("document.querySelectorAll('#saliency .card svg').length") >= 1
    assert browser.value("document.querySelectorAll('#t1 .card svg').length") >= 1
    assert browser.complaints == []
    assert browser.asked == [path.as_uri()]


COLUMN = "[...document.querySelector('table.scores').tBodies[0].rows].map(r => r.cells[8].querySelector('b').innerText)"


def test_a_click_sorts_another_turns_it_round_and_the_third_restores(browser: Browser, page: Path) -> None:
    browser.open(page, 1280)
    original = browser.value(COLUMN)
    assert original == ["39.29", "40.11", "39.72", "40.23"]
    head = "document.querySelector('table.scores thead').rows[0].cells[8]"
    for order, said in ((["40.23", "40.11", "39.72", "39.29"], "descending"),
                        (["39.29", "39.72", "40.11", "40.23"], "ascending"), (original, None)):  # fmt: skip
        browser.value(f"{head}.querySelector('button').focus()")
        browser.press("Enter")
        assert browser.value(COLUMN) == order
        assert browser.value(f"{head}.getAttribute('aria-sort')") == said
    assert browser.complaints == []


def test_failed_rows_stay_last_whichever_way(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "failures.html"
    path.write_text(render_page([with_failures()]), encoding="utf-8")
    browser.open(path, 1280)
    last = "document.querySelector('table.scores tbody tr:last-child').innerText"
    click = "document.querySelectorAll('table.scores thead button')[{}].click()"
    for column, times in ((8, 1), (8, 1), (10, 1), (10, 1)):  # Mean, then seconds, both ways
        for _ in range(times):
            browser.value(click.format(column))
        assert "failed" in browser.value(last)


def test_what_stands_behind_a_cell_is_shown_on_touch_and_by_keyboard(browser: Browser, page: Path) -> None:
    browser.open(page, 390, touch=True)
    box = "document.getElementById('behind')"
    assert browser.value(f"{box}.hidden") is True
    spot = browser.value(
        "(c => { c.scrollIntoView({block: 'center'}); const r = c.getBoundingClientRect();"
        " return [r.left + r.width / 2, r.top + r.height / 2]; })(document.querySelectorAll('table.scores td')[10])"
    )
    for kind, points in (("touchStart", [{"x": spot[0], "y": spot[1]}]), ("touchEnd", [])):
        browser.call("Input.dispatchTouchEvent", type=kind, touchPoints=points)
    for _ in range(50):
        if not browser.value(f"{box}.hidden"):
            break
        time.sleep(0.05)
    shown = browser.value(f"{box}.innerText")
    assert "seed 4: 44.110" in shown
    assert "adjusted p" in shown
    inside = browser.value(f"(r => r.left >= 0 && r.right <= innerWidth)({box}.getBoundingClientRect())")
    assert inside is True
    browser.press("ArrowRight")
    assert "seed 4: 23.400" in browser.value(f"{box}.innerText")
    browser.press("Escape")
    assert browser.value(f"{box}.hidden") is True


def test_without_scripts_everything_is_there(browser: Browser, page: Path) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(page, 1280)
        tree = browser.call("DOM.getDocument", depth=-1)["root"]["nodeId"]
        markup = browser.call("DOM.getOuterHTML", nodeId=tree)["outerHTML"]
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)
    assert "<button" not in markup
    assert 'title="seed 0: 45.510' in markup
    assert "All numbers" in markup
    assert browser.complaints == []


@pytest.mark.parametrize("width", [1280, 390])
def test_modalities_in_training_fit_their_page_and_can_be_sorted(browser: Browser, tmp_path: Path, width: int) -> None:
    names = ("audio", "unbreakable" * 12, "<b>$x_1$</b>", "mor", "pix", "zer")
    rows = ("joint", "dgl+unique")
    store = suppression_samples.write(tmp_path, rows=rows, seeds=(0, 1), modalities=names)
    path = tmp_path / "index.html"
    path.write_text(render_study(build_table(store), details=load_details(store)), encoding="utf-8")
    browser.open(path, width, touch=width == 390)
    browser.value("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert browser.value("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    assert browser.value("document.querySelectorAll('#modalities .card svg[viewBox]').length") >= 3
    assert browser.value("document.querySelectorAll('#modalities b').length") == 0
    table = "document.querySelector('#modalities table')"
    browser.value(f"{table}.querySelectorAll('thead button')[8].click()")  # what is left of the gradient
    shown = browser.value(f"[...{table}.tBodies[0].rows].map(row => Number(row.cells[8].dataset.v))")
    assert shown == sorted(shown, reverse=True)
    assert len(shown) == 12
    assert browser.complaints == []
    assert [url for url in browser.asked if not url.startswith("data:")] == [path.as_uri()]
