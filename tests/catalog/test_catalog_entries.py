"""The catalogue: every entry leads to its code, and names that are not there are told with the nearest."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mmablate.catalog import entries, file_hash, find, fingerprint, load_target
from mmablate.catalog import fingerprint as fingerprint_module
from mmablate.catalog.entries import describe_options
from mmablate.catalog.fingerprint import files_below
from mmablate.errors import DataError

KINDS = ("dataset", "model", "loss", "method")
ALL = [(kind, name) for kind in KINDS for name in entries(kind)]


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_every_entry_leads_to_its_code(kind, name):
    entry = find(kind, name)
    assert (entry.kind, entry.name) == (kind, name)
    assert entry.summary
    assert callable(load_target(entry))
    if kind == "dataset":
        assert callable(load_target(entry, entry.check_target))


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_every_option_is_described(kind, name):
    for option in describe_options(find(kind, name).options):
        assert set(option) == {"name", "type", "default", "description"}
        assert option["description"] or option["name"] in ("channel", "value")


def test_every_loss_has_a_definition_and_every_method_knows_its_terms():
    assert all(entry.definitions for entry in entries("loss").values())
    for method in entries("method").values():
        assert method.terms
        assert set(method.terms) <= set(entries("loss"))
    symbols = {name: entry.symbol for name, entry in entries("loss").items()}
    assert (symbols["mad"], symbols["umd"], symbols["cmd"], symbols["sup"]) == ("λ", "α", "β", "")


def test_a_name_that_is_not_there_lists_those_that_are():
    with pytest.raises(KeyError) as caught:
        find("dataset", "landsta")
    assert "no dataset is called 'landsta' (there are: landsat, range_image" in caught.value.args[0]
    assert "did you mean 'landsat'?" in caught.value.args[0]


def test_the_listing_is_a_copy():
    entries("loss").clear()
    assert "sup" in entries("loss")


def test_the_catalogue_imports_no_torch():
    code = "import sys, mmablate.catalog as c; c.entries('loss'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- plugins ----------------------------------------------------------------------------------------------

PLUGIN = """
from mmablate.catalog import LossEntry, Options
from mmablate.catalog.fingerprint import files_below
class Mine(Options):
    power: int = 2
{body}
"""
GOOD = 'entries = [LossEntry("kd_mine", "mine", Mine, "plugin_code:f", definitions={"plain": "it"})]'


def with_plugin(folder, body, code):
    (folder / "plugin_code.py").write_text(PLUGIN.format(body=body))
    info = folder / "plugin_code-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin-code\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mmablate.plugins]\nmine = plugin_code:entries\n")
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


def test_an_installed_plugin_adds_its_entries(tmp_path):
    code = "from mmablate.catalog import find; print(find('loss', 'kd_mine').options().power)"
    assert with_plugin(tmp_path, GOOD, code).stdout == "2\n"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("entries = [3]", "plugin 'mine': 3 is not a catalogue entry"),
        ('entries = [LossEntry("mad", "x", Mine, "a:b")]', "plugin 'mine': the loss 'mad' exists already"),
    ],
)
def test_a_plugin_of_the_wrong_form_is_told(body, told, tmp_path):
    done = with_plugin(tmp_path, body, "from mmablate.catalog import find; find('loss', 'mad')")
    assert told in done.stderr.splitlines()[-1]


# --- fingerprints -----------------------------------------------------------------------------------------


def folder_of(path, **files):
    path.mkdir()
    for name, content in files.items():
        (path / name).write_bytes(content)
    return sorted(path.iterdir())


def test_a_fingerprint_follows_names_and_content_and_nothing_else(tmp_path):
    first = folder_of(tmp_path / "1", a=b"x", b=b"y")
    copy = folder_of(tmp_path / "2", a=b"x", b=b"y")
    os.utime(copy[0], (1, 1))
    mark = fingerprint(first, relative_to=tmp_path / "1")
    assert mark.startswith("content:")
    assert fingerprint(reversed(copy), relative_to=tmp_path / "2") == mark
    others = [
        folder_of(tmp_path / "3", a=b"x", b=b"z"),
        folder_of(tmp_path / "4", a=b"x", c=b"y"),
        folder_of(tmp_path / "5", a=b"x"),
        folder_of(tmp_path / "6", a=b"y", b=b"x"),
    ]
    marks = {fingerprint(files, relative_to=files[0].parent) for files in others}
    assert len(marks | {mark}) == 5


def test_large_sets_are_known_by_size_and_time(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["mmablate.catalog.fingerprint"], "CONTENT_LIMIT", 0)
    files = folder_of(tmp_path / "1", a=b"x")
    os.utime(files[0], ns=(1, 1))
    mark = fingerprint(files)
    assert mark.startswith("stat:")
    files[0].write_bytes(b"z")
    os.utime(files[0], ns=(1, 1))
    assert fingerprint(files) == mark
    os.utime(files[0], ns=(2, 2))
    assert fingerprint(files) != mark


def test_files_that_cannot_be_read_are_told_by_name(tmp_path):
    with pytest.raises(DataError, match=r"no\.npy: cannot be read"):
        fingerprint([tmp_path / "no.npy"])
    with pytest.raises(DataError, match="cannot be read"):
        file_hash(tmp_path)
    assert callable(fingerprint_module)


def test_files_behind_linked_folders_count_and_circles_end(tmp_path):
    real = tmp_path / "elsewhere" / "rgb"
    real.mkdir(parents=True)
    (real / "0.png").write_bytes(b"one")
    root = tmp_path / "root"
    (root / "deep").mkdir(parents=True)
    (root / "rgb").symlink_to(real)
    (root / "deep" / "again").symlink_to(root)
    (root / ".hidden.png").write_bytes(b"no")
    (root / "note.txt").write_text("no")
    assert files_below(root, {".png"}) == [root / "rgb" / "0.png"]
    before = fingerprint(files_below(root, {".png"}), relative_to=root)
    (real / "0.png").write_bytes(b"two")
    assert fingerprint(files_below(root, {".png"}), relative_to=root) != before


def test_an_image_folder_counts_what_its_patterns_lead_to(tmp_path):
    for name in ("rgb/0.jpg", "lab/0.png", "lab/0.txt", "other/0.png", "lists/train.txt", "recipe.yaml"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    settings = {
        "modalities": [["R", {"files": "rgb/{id}.jpg", "channels": None}]],
        "labels": {"files": "lab/{id}.png"},
        "splits": {"train": "lists/train.txt", "val": "val"},
    }
    found = find("dataset", "image_folder").files(tmp_path, settings)
    assert {str(path.relative_to(tmp_path)) for path in found} == {"rgb/0.jpg", "lab/0.png", "lists/train.txt"}
