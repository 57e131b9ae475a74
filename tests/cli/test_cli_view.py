"""`mmablate view`: the sheet of a study with real data, without its data, and what cannot be shown."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from fiftyone_stand_in import FiftyOne
from typer.testing import CliRunner
from view_samples import VIEWS, N, digits, scenes, study

from mmablate.cli import fiftyone_view
from mmablate.cli.app import app
from mmablate.data.mfeat import open_mfeat

RUNNER = CliRunner()


def run(*words: object, code: int = 0):
    result = RUNNER.invoke(app, ["view", *map(str, words)], env={"COLUMNS": "100"})
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


@pytest.fixture(autouse=True)
def no_fiftyone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether or not it is installed on this machine."""
    monkeypatch.setattr("mmablate.cli.viewing.find_spec", lambda name: None)


def test_the_sheet_stands_in_the_study_with_pictures_of_the_data(tmp_path: Path) -> None:
    store = digits(tmp_path)
    told = run(store.folder, "--samples", "3").stderr
    page = (store.folder / "view/index.html").read_text()
    assert told == f"contact sheet: {store.folder / 'view/index.html'}\n"
    pictures = re.findall(r'aria-label="modality (\w+) of (\d/\d{4})"', page)
    assert {name for name, _ in pictures} == set(VIEWS)
    assert str(tmp_path) not in page
    assert page.count("<article") == len(pictures) / 2


def test_options(tmp_path: Path) -> None:
    store = digits(tmp_path)
    page = tmp_path / "new/sheet.html"
    run(tmp_path, "-o", page, "--row", "r1", "--seed", "1", "--samples", "1")
    text = page.read_text()
    assert 'id="r1"' in text
    assert 'id="r2"' not in text
    assert "seed 1" in text
    assert not (store.folder / "view").exists()
    assert run(store.folder, "--html", "-").stdout.startswith("<!DOCTYPE html>")
    assert "--row nix: no row has that name" in run(store.folder, "--row", "nix", code=2).stderr
    assert "--seeds x" in run(store.folder, "--seed", "x", code=2).stderr
    run(store.folder, "--samples", "0", code=2)


def test_without_the_data_the_sheet_has_ids_and_predictions(tmp_path: Path) -> None:
    store = digits(tmp_path)
    path = store.folder / "study.json"
    content = json.loads(path.read_text())
    content["recipe"]["data"] = {"name": "ravdess", "modalities": ["audio", "image"]}
    path.write_text(json.dumps(content))
    for words, reason in (((), "say which with --data-root DIR"), (("--data-root", tmp_path / "gone"), "gone")):
        told = run(store.folder, *words).stderr
        assert told.count("pictures left out") == 1
        assert reason in told
        page = (store.folder / "view/index.html").read_text()
        assert "shown without their pictures" in page
        assert "background-image" not in page
        assert re.search(r"\d/\d{4}", page)
        assert str(tmp_path) not in page
    content["recipe"]["data"] = {"name": 7}
    path.write_text(json.dumps(content))
    assert "recipe.data" in run(store.folder).stderr


@pytest.mark.parametrize("field", ["ids", "labels"])
def test_samples_of_other_data_get_no_picture(tmp_path: Path, field: str) -> None:
    """One id or label of the runs is another one in the data."""
    split = open_mfeat(modalities=VIEWS).splits["test"]
    values = [split.describe(i).id for i in range(N)] if field == "ids" else split.labels_of(range(N))
    values[5] = "x" if field == "ids" else (values[5] + 1) % 10
    store = digits(tmp_path, **{field: values})
    told = run(store.folder, "--samples", N).stderr
    assert f"1 of {N} samples have another id or class" in told
    page = (store.folder / "view/index.html").read_text()
    assert f"1 of {N} samples have another id or class" in page
    assert f'modality pix of {values[5] if field == "ids" else split.describe(5).id}"' not in page
    assert f"modality pix of {split.describe(6).id}" in page


def test_changed_data_are_told(tmp_path: Path) -> None:
    store = digits(tmp_path)
    for data, words in (({"fingerprint": "other"}, "have changed since"), ({"split_seed": 3}, "settings of their own")):
        (store.run_folder("r1-0") / "config.json").write_text(json.dumps({"data": data}))
        assert words in run(store.folder).stderr
        assert words in (store.folder / "view/index.html").read_text()
    for content in ("[1]", '{"data": 3}', "{"):
        (store.run_folder("r1-0") / "config.json").write_text(content)
        assert "have changed" not in run(store.folder).stderr


def test_what_cannot_be_shown_is_told(tmp_path: Path) -> None:
    assert "no study in it" in run(tmp_path, code=2).stderr
    assert "no such file" in run(tmp_path / "gone", code=2).stderr
    first = digits(tmp_path / "a")
    for path in first.runs.glob("*/class_predictions.npz"):
        path.write_bytes(b"PK\x03\x04")
    told = run(first.folder, code=2).stderr
    assert "has kept predictions" in told
    assert "r0-0/class_predictions.npz: damaged" in told
    study(tmp_path / "a", "second")
    assert "holds several studies (made, second)" in run(tmp_path / "a", code=2).stderr
    assert "--force trains them again" in run(tmp_path / "a/second", code=2).stderr


def test_a_segmentation_study_shows_its_scenes(tmp_path: Path) -> None:
    store = scenes(tmp_path)
    run(store.folder)
    page = (store.folder / "view/index.html").read_text()
    assert page.count("<details") == 2 * 3
    assert "from VN" in page


# --- FiftyOne: against a stand-in, see there -----------------------------------------------------------------


@pytest.fixture
def fiftyone(monkeypatch: pytest.MonkeyPatch) -> FiftyOne:
    module = FiftyOne()
    monkeypatch.setattr("mmablate.cli.viewing.find_spec", lambda name: object())
    monkeypatch.setattr(fiftyone_view, "import_fiftyone", lambda: module)
    return module


def test_a_group_a_sample_a_slice_a_modality_a_field_a_run(tmp_path: Path, fiftyone: FiftyOne) -> None:
    store = digits(tmp_path)
    told = run(store.folder).stderr
    assert f"FiftyOne dataset: mmablate-made ({N} samples)" in told
    assert not (store.folder / "view/index.html").exists()
    (dataset,) = fiftyone.datasets.values()
    assert dataset.persistent
    assert (dataset.group_field, dataset.default) == ("group", "mor")
    assert dataset.info == {"study": "Made", "synthetic": False, "made_by": "mmablate"}
    assert fiftyone.opened == [dataset.name]
    assert fiftyone.waited == 1
    assert len(dataset.samples) == N * len(VIEWS)
    groups: dict[str, set[str]] = {}
    for sample in dataset.samples:
        assert Path(sample.filepath).is_file()
        assert store.folder / "view" in Path(sample.filepath).parents
        group = sample.fields["group"]
        groups.setdefault(group.id, set()).add(group.name)
        assert f"_{group.name}" in Path(sample.filepath).parent.name
        fields = {key for key in sample.fields if key.startswith("at_r")}
        assert fields == {f"at_r{r}_{last}" for r in (0, 1) for last in ("seed0", "seed1", "true", "wrong")}
        rights = [sample.fields[f"at_r{r}_seed{s}"].label == sample.fields["ground_truth"].label
                  for r in (0, 1) for s in (0, 1)]  # fmt: skip
        assert ("never right" in sample.tags) == (not any(rights))
        assert sample.fields["at_r0_wrong"] == 1 - sum(rights[:2]) / 2
    assert list(groups.values()) == [set(VIEWS)] * N
    run(store.folder, "--no-launch", "--row", "r0")  # its own dataset is made anew
    assert len(fiftyone.opened) == 1
    run(store.folder, "--no-fiftyone")
    assert (store.folder / "view/index.html").exists()
    run(store.folder, "--fiftyone", "-o", tmp_path / "both.html")
    assert (tmp_path / "both.html").exists()
    assert len(fiftyone.opened) == 2


def test_of_a_large_split_the_ends_go_there(
    tmp_path: Path, fiftyone: FiftyOne, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fiftyone_view, "MOST_SAMPLES", 12)
    store = digits(tmp_path)
    told = run(store.folder, "--no-launch").stderr
    n = len(fiftyone.datasets["mmablate-made"].samples) // len(VIEWS)
    assert 2 <= n <= 12
    assert f"{n} of {N} samples" in told


def test_somebody_elses_dataset_is_not_touched(tmp_path: Path, fiftyone: FiftyOne) -> None:
    own = fiftyone.Dataset("mmablate-made")
    store = digits(tmp_path)
    told = run(store.folder, "--no-launch").stderr
    assert "has not made" in told
    assert "the contact sheet is written instead" in told
    assert fiftyone.datasets == {"mmablate-made": own}
    assert (store.folder / "view/index.html").exists()


@pytest.mark.parametrize("wanted", [True, False])
def test_without_a_database_the_sheet_is_written(tmp_path: Path, fiftyone: FiftyOne, wanted: bool) -> None:
    fiftyone.broken = ConnectionError("Could not connect to `mongod`")
    store = digits(tmp_path)
    told = run(store.folder, *(["--fiftyone"] if wanted else []), code=2 if wanted else 0).stderr
    assert "Could not connect to `mongod`" in told
    assert "needs a MongoDB that runs" in told
    assert (store.folder / "view/index.html").exists()


def test_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError("No module named 'fiftyone'", name="fiftyone")

    monkeypatch.setattr(fiftyone_view, "import_module", missing)
    store = digits(tmp_path)
    told = run(store.folder, "--fiftyone", code=2).stderr
    assert 'pip install "mmablate[fiftyone]"' in told
    assert (store.folder / "view/index.html").exists()


def test_scenes_are_left_to_the_sheet(tmp_path: Path, fiftyone: FiftyOne) -> None:
    store = scenes(tmp_path)
    assert "only studies of classification" in run(store.folder).stderr
    assert (store.folder / "view/index.html").exists()


def test_names_that_fiftyone_takes() -> None:
    names = fiftyone_view.field_names(["a+b", "a b", "_x", "$y.z", "λ", "A_b", "id"])
    assert names["a+b"] == "at_a_b"
    assert names["a b"] == "at_a_b_2"
    assert names["A_b"] == "at_A_b_3"
    assert len({name.lower() for name in names.values()}) == 7
    assert all(re.fullmatch(r"at_\w+", name) for name in names.values())
    assert fiftyone_view.dataset_name("a/../b λ") == "mmablate-a-b"
