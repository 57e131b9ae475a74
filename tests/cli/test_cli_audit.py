"""`mmablate audit`: exit codes, the JSON form, and messages that name the file."""

from __future__ import annotations

import json

import pytest

CLEAN = "| m | F | Δ |\n|-|-|-|\n| sup | 40.0 | - |\n| kd | 41.0 | {} |\n| x | 42.0 | +2.0 |\n"


def test_exit_code_and_json(mmablate, tmp_path):
    (tmp_path / "t.md").write_text(CLEAN.format("+1.0"))
    assert mmablate("audit", "t.md").code == 0
    (tmp_path / "t.md").write_text(CLEAN.format("+1.1"))
    assert mmablate("audit", "t.md").code == 0  # right by rounding is no fault
    (tmp_path / "t.md").write_text(CLEAN.format("+1.5"))
    done = mmablate("audit", "t.md", "--format", "json")
    assert done.code == 1
    found = json.loads(done.out)
    (wrong,) = found["wrong_delta"]
    assert (wrong["row"], wrong["column"], wrong["printed"], wrong["computed"]) == ("kd", "F", 1.5, 1.0)
    assert found["wrong_mean"] == found["bold_not_best"] == found["colour_contradicts"] == []
    assert found["tables"][0]["cells_unread"] == 0
    shown = mmablate("audit", "t.md")
    assert shown.code == 1
    assert "printed +1.5, computed +1.0" in shown.out
    assert max(map(len, shown.out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["nowhere.md"], "nowhere.md"),
        (["."], "folder"),
        (["words.txt"], "words.txt: no table"),
        (["large.csv"], "large.csv: tables of more than"),
        (["t.md", "--baseline", "nope"], "--baseline nope"),
        (["t.md", "--samples", "0"], "--samples"),
        (["t.md", "--runs", "3"], "--samples"),
        (["t.md", "--samples", "10", "--grim-columns", "nope"], "'nope'"),
    ],
)
def test_a_mistake_is_told_in_one_message(arguments, named, mmablate, tmp_path):
    (tmp_path / "t.md").write_text(CLEAN.format("+1.0"))
    (tmp_path / "large.csv").write_text("a,1\n" * 1600 + ",".join("1" * 1600) + "\n")
    (tmp_path / "words.txt").write_text("only words\n")
    done = mmablate("audit", *arguments)
    assert done.code == 2
    assert named in " ".join(done.err.split())
    assert "Traceback" not in done.err
    assert done.out == ""
