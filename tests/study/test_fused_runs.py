"""Runs of models that fuse modalities: what each reads of the data, of its pre-training, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plain_planning import plain_study
from study_samples import Opener, students

from mmablate.errors import RecipeError
from mmablate.study import Study, open_study, opening
from mmablate.study.content import content_id
from mmablate.study.plan import STAGES

FUSED: dict[str, Any] = {
    "name": "tiny",
    "data": {"name": "mfeat", "modalities": ["pix", "fou", "zer"], "fou": {"noise": 1.5}},
    "model": {"name": "fusion_classifier", "encoder": {"kind": "mlp", "hidden": [8]}, "fusion": "concat"},
    "method": "dgl",
    "train": {"epochs": 2, "batch_size": 32, "lr": 0.01, "optimizer": "sgd", "holdout": 0.2},
    "losses": {"sup": {}, "uni": {"weight": 2}, "unique": {"weight": 3}},
    "rows": [{"name": "a", "losses": ["sup"]}],
    "seeds": [0, 1],
}


@pytest.fixture
def opened(tmp_path):
    return Opener(tmp_path, FUSED)


def row(name: str, losses=("sup",), **overrides: Any) -> dict[str, Any]:
    """A row; `model__fusion` stands for the key model.fusion."""
    return {"name": name, "losses": list(losses), "overrides": {k.replace("__", "."): v for k, v in overrides.items()}}


def assert_plain(study: Study, path: str) -> None:
    """The study is that of each row by itself."""
    rows, runs = plain_study(path)
    assert [(r.name, r.label, r.recipe, dict(r.losses)) for r in study.rows] == [tuple(row) for row in rows]
    ours = [(r.run_id, r.role, r.seed, r.settings, r.depends_on, r.rows, dict(r.cells)) for r in study.runs]
    assert ours == [tuple(run) for run in runs]
    assert all(content_id(run.settings) == run.run_id for run in study.runs)


def firsts(study: Study) -> dict[str, set[str]]:
    """Row -> the pre-trainings that its runs start from."""
    by_id = {run.run_id: run for run in study.runs}
    found: dict[str, set[str]] = {}
    for run in study.runs:
        if run.role == "student":
            for name in run.rows:
                found.setdefault(name, set()).update(i for i in run.depends_on if by_id[i].role == "pretraining")
    return found


# --- ids ----------------------------------------------------------------------------------------------------


@pytest.fixture
def any_data(monkeypatch):
    """The fingerprint and the root of data that are made here mean nothing to these tests."""
    monkeypatch.setattr(opening, "data_fingerprint", lambda recipe: "of the data")
    monkeypatch.setattr(opening, "with_data", lambda base, tell: base)


# Hash of all runs of a study by role, seed and rows: those of the release that had no models of several modalities.
OLD = {
    ("deliver_losses", "mini"): "a32b19566df75d14",
    ("deliver_losses", "full"): "58d0b86e88c0109e",
    ("gauss_alpha", None): "02d6fef5686a38c0",
    ("gauss_focus", None): "f4b96b49869867fd",
    ("gauss_gamma", None): "684aaa010c64f851",
    ("landsat_factorial", None): "d3d6961009f4a6ae",
    ("landsat_fusion", None): "380b0704bb501ae5",
    ("landsat_fusion", "alpha_grid"): "48f8495ce28adeb6",
    ("landsat_leave_one_out", None): "f1679cb4ade5505d",
    ("landsat_losses", None): "810f4b747082e128",
    ("lidar_losses", None): "f6ef64ebd99a3656",
    ("mfeat_focus", None): "6980480a72d33faf",
    ("muses_fusion", "mini"): "7685797beeec5769",
    ("muses_fusion", "alpha_grid"): "580d64ca3aa276b0",
    ("muses_fusion", "full"): "1854e97f235c4767",
    ("muses_leave_one_out", "mini"): "c03305fe40015e33",
    ("muses_leave_one_out", "full"): "341b2f16f73334c6",
    ("muses_losses", "mini"): "9718379bd4399c22",
    ("muses_losses", "full"): "f67bcbcda011cdf0",
    ("ravdess_focus", "mini"): "8fd381158084591f",
    ("ravdess_focus", "full"): "be35d55bfd4c9077",
    ("vggsound_focus", "mini"): "fe7d7620a2967373",
    ("vggsound_focus", "full"): "2e556a676591759e",
}


@pytest.mark.usefixtures("any_data")
@pytest.mark.parametrize(("name", "profile"), OLD)
def test_ids_of_earlier_recipes_do_not_change(name, profile):
    """A finished run is known by its id: whoever changes these has all users train again.

    A recipe that is itself changed on purpose has another hash; then these must be made anew.
    """
    study = open_study(name, profile=profile)
    runs = {run.run_id: [run.role, run.seed, sorted(run.rows), sorted(run.cells.items())] for run in study.runs}
    assert content_id(runs) == OLD[name, profile]


# --- what is read ---------------------------------------------------------------------------------------------


def test_a_row_of_one_modality_reads_that_one_alone(opened):
    study = opened(rows=[row("all"), row("pix", model__modalities=["pix"]), row("fou", model__modalities=["fou"]),
                         row("two", model__modalities=["fou", "pix"])])  # fmt: skip
    assert_plain(study, str(opened.path))
    read = {run.rows[0]: run.settings["data"] for run in study.runs}
    assert {name: data["modalities"] for name, data in read.items()} == {
        "all": ["pix", "fou", "zer"], "pix": ["pix"], "fou": ["fou"], "two": ["pix", "fou"],
    }  # fmt: skip
    assert {name for name, data in read.items() if "fou" in data} == {"all", "fou", "two"}
    noisier = opened(rows=[row("all"), row("pix", model__modalities=["pix"])],
                     data={**FUSED["data"], "fou": {"noise": 9.0}})  # fmt: skip
    assert students(noisier)["pix", 0] == students(study)["pix", 0]
    assert students(noisier)["all", 0] != students(study)["all", 0]


def test_what_a_recipe_leaves_out_is_not_among_the_settings(opened):
    """Or an addition to the schema would give all runs other ids."""
    (run, _) = opened(train={"epochs": 2}, losses={"sup": {}}).runs
    assert not {"steps", "step_at", "encoder_lr", "holdout", "pictures"} & run.settings["train"].keys()
    assert "also" not in run.settings["evaluate"]
    assert "pretrained" not in run.settings
    said = opened(train={"epochs": 2, "step_at": 0.5, "encoder_lr": 1, "holdout": 0, "pictures": None},
                  losses={"sup": {}}, pretrain={"then": "none"}, evaluate={"also": None})  # fmt: skip
    assert [run.run_id for run in said.runs] == [
        run.run_id for run in opened(train={"epochs": 2}, losses={"sup": {}}).runs
    ]


CHANGES = {  # key -> whether the pre-training and the student of the row are other ones with it
    "train.lr=0.5": (True, True),
    "train.encoder_lr=3": (False, True),
    "train.select=last": (False, True),
    "train.holdout=0.1": (True, True),
    "model.encoder.hidden=[9]": (True, True),
    "model.fusion=sum": (False, True),
    "model.hidden=5": (False, True),
    "model.modalities=[pix, fou]": (True, True),
    "model.encoders={zer: {kind: linear}}": (True, True),
    "pretrain.dim=9": (True, True),
    "pretrain.then=freeze": (False, True),
    "pretrain.train.epochs=9": (True, True),
    "pretrain.train.select=best": (False, False),
    "losses.sup.weight=2": (False, True),
    "losses.sup.symbol=μ": (False, False),
    "method.clip=joint": (False, True),
    "data.fou.noise=3": (True, True),
    "evaluate.also=[own]": (True, True),
    "report.labels={a: b}": (False, False),
}


@pytest.mark.parametrize("override", CHANGES)
def test_what_a_pre_training_and_its_row_hang_on(opened, override):
    pretrain = {"dim": 8, "train": {"epochs": 3}}
    base = opened(pretrain=pretrain)
    other = opened(pretrain=pretrain, options={"overrides": [override]})
    assert_plain(base, str(opened.path))
    changed = tuple(
        {run.run_id for run in base.runs if run.role == role} != {run.run_id for run in other.runs if run.role == role}
        for role in ("pretraining", "student")
    )
    assert changed == CHANGES[override]
    assert [run.role for run in base.runs] == ["pretraining"] * 2 + ["student"] * 2


def test_one_pre_training_a_seed_serves_all_rows_of_equal_encoders(opened):
    linear, wide = {"kind": "linear"}, {"kind": "mlp", "hidden": [9]}
    rows = [row("none", pretrain__then="none"), row("frozen", pretrain__then="freeze"), row("tuned"),
            row("gated", model__fusion="sum"), row("dgl", ["sup", "uni"]),
            row("ogm", method="ogm_ge"), row("wide", model__encoder=wide), row("linear", model__encoder=linear),
            row("absent", pretrain=None)]  # fmt: skip
    study = opened(rows=rows, pretrain={"dim": 8})
    assert_plain(study, str(opened.path))
    found = firsts(study)
    assert found["none"] == found["absent"] == set()
    assert found["frozen"] == found["tuned"] == found["gated"] == found["dgl"] == found["ogm"]
    assert len({frozenset(found[name]) for name in ("tuned", "wide", "linear")}) == 3
    assert all(len(some) == 2 for name, some in found.items() if name not in ("none", "absent"))
    ids = students(study)
    assert ids["none", 0] == ids["absent", 0] == students(opened())["a", 0]
    assert ids["frozen", 0] != ids["tuned", 0]
    cells = {name: cell for run in study.runs for name, cell in run.cells.items()}
    assert len(set(cells.values())) == len(rows) - 1
    assert all(len({run.cells[name] for run in study.runs if name in run.cells}) == 1 for name in found)


def test_an_encoder_of_a_modality_that_a_row_leaves_out_does_no_harm(opened):
    model = {**FUSED["model"], "encoders": {"fou": {"kind": "linear", "dim": 5}}}
    study = opened(model=model, rows=[row("all"), row("pix", model__modalities=["pix"])])
    assert_plain(study, str(opened.path))
    with pytest.raises(RecipeError, match=r"model: encoders: the data have no 'kar' \(there are: pix, fou, zer\)"):
        opened(model=model, rows=[row("x", model__encoders={"kar": {"kind": "linear"}})])


def test_maps_and_vectors_of_the_same_convolutions_share_their_pre_training(opened):
    """Their encoders are the same ones."""
    maps = {"name": "map_fusion_classifier", "widths": [4, 8], "fusion": "late", "hidden": 4}
    vectors = {"name": "fusion_classifier", "encoder": {"kind": "conv", "widths": [4, 8]}}
    study = opened(rows=[row("maps"), row("vectors", model=vectors)], model=maps, pretrain={"dim": 8})
    assert_plain(study, str(opened.path))
    found = firsts(study)
    assert found["maps"] == found["vectors"]


# --- rows and faults, each by itself ------------------------------------------------------------------------

# Good and bad values of what a row may override, and of what it may not.
VALUES: dict[str, list[Any]] = {
    "model.fusion": ["sum", "gated", "film", "late", "matmul"],
    "model.modalities": [["pix"], ["fou", "pix"], ["pix", "kar"], None],
    "model.encoder": [{"kind": "linear"}, {"kind": "identity"}, {"hidden": [9]}, {"kind": "linear", "hidden": [9]}, 3],
    "model.encoder.kind": ["linear", "vit"],
    "model.encoders": [{"fou": {"kind": "linear"}}, {"kar": {"kind": "linear"}}, {"fou": {"hidden": [3]}}],
    "model.match": [{"fusion": "sum"}, {"fusion": "gated"}, {}, None],
    "model.hidden": [4, 0],
    "model": [{"name": "mlp", "modality": "pix"}, {"name": "map_fusion_classifier"}, {"name": "contrastive_encoders"}],
    "method": ["dgl", "joint_fusion", "ogm_ge", "crossmodal", "anymodal", "contrastive", {"name": "dgl", "clip": "no"}],
    "method.truncate": [False],
    "method.clip": ["joint", "both"],
    "train.holdout": [0, 0.3, 1],
    "train.encoder_lr": [4, 1, 0],
    "train.pictures": [{"modalities": ["pix"]}, {"modalities": ["rgb"]}, {"crop": [1, 0]}, None],
    "train.pictures.modalities": [["fou"], []],
    "train.lr": [0.2, -1],
    "losses.unique.adapt": ["uniform", "best"],
    "losses.unique.definition": ["residual", "exact"],
    "losses.uni.weight": [1, 0],
    "pretrain": [None, {"dim": 3}, {"then": "freeze"}, {"name": "masked"}],
    "pretrain.then": ["none", "freeze", "tune", "stop"],
    "pretrain.train": [{"epochs": 3}, {"epoch": 3}, {"lr": -1}],
    "data.fou": [{"noise": 2}, {"noise": -1}, None],
    "data.modalities": [["pix"]],
    "evaluate.also": [["own"]],
    "teacher": [None, {"name": "mlp", "modality": "pix"}],
}
some_rows = st.lists(
    st.tuples(
        st.sampled_from([["sup"], ["sup", "uni"], ["sup", "uni", "unique"]]),
        st.dictionaries(st.sampled_from(sorted(VALUES)), st.integers(0, 6), min_size=1, max_size=3),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=some_rows, method=st.sampled_from(["dgl", "joint_fusion"]), pretrained=st.booleans())
def test_rows_and_their_faults_are_those_of_each_row_by_itself(drawn, method, pretrained, tmp_path_factory):
    opened = Opener(tmp_path_factory.getbasetemp(), FUSED)
    rows = [
        {"name": f"r{i}", "losses": losses, "overrides": {k: VALUES[k][n % len(VALUES[k])] for k, n in some.items()}}
        for i, (losses, some) in enumerate(drawn)
    ]
    losses = FUSED["losses"] if method == "dgl" else {"sup": {}}  # joint_fusion has no other term
    rows = rows if method == "dgl" else [{**one, "losses": ["sup"]} for one in rows]
    changes = {"rows": rows, "method": method, "losses": losses, **({"pretrain": {"dim": 8}} if pretrained else {})}
    opened.write(**changes)
    try:
        expected: Any = plain_study(str(opened.path))
    except RecipeError as error:
        expected = error
    if isinstance(expected, RecipeError):
        with pytest.raises(RecipeError) as told:
            opened(**changes)
        assert list(told.value.problems) == list(expected.problems)
        assert all("row 'r" in text for text in expected.problems)
        return
    study = opened(**changes)
    assert [tuple(row) for row in expected[0]] == [(r.name, r.label, r.recipe, dict(r.losses)) for r in study.rows]
    assert_plain(study, str(opened.path))
    assert [run.role for run in study.runs] == sorted([run.role for run in study.runs], key=STAGES.index)


GOOD: dict[str, list[Any]] = {
    "model.fusion": ["sum", "late", "concat"],
    "model.modalities": [["pix", "zer"], ["zer", "pix"], None],
    "model.encoder": [{"kind": "linear"}, {"hidden": [9]}],
    "model.encoders": [{"fou": {"kind": "linear"}}],
    "train.holdout": [0, 0.3],
    "train.encoder_lr": [4, 1],
    "train.lr": [0.2],
    "pretrain.then": ["none", "freeze", "tune"],
    "pretrain.train": [{"epochs": 3}, {"lr": 0.5}],
    "pretrain.dim": [8, 9],
    "losses.sup.weight": [2],
    "data.fou": [{"noise": 2}],
    "method": ["ogm_ge", "dgl", "joint_fusion"],
}
good_rows = st.lists(st.dictionaries(st.sampled_from(sorted(GOOD)), st.integers(0, 2), max_size=4), min_size=1,
                     max_size=6)  # fmt: skip


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=good_rows)
def test_rows_that_differ_in_nothing_read_are_one_run_and_others_are_not(drawn, tmp_path_factory):
    opened = Opener(tmp_path_factory.getbasetemp(), FUSED)
    rows = [
        {"name": f"r{i}", "losses": ["sup"], "overrides": {k: GOOD[k][n % len(GOOD[k])] for k, n in some.items()}}
        for i, some in enumerate(drawn)
    ]
    study = opened(rows=rows, pretrain={"dim": 8}, losses={"sup": {}})
    assert_plain(study, str(opened.path))
    for seed in study.seeds:
        by_content: dict[str, set[str]] = {}
        for one in study.rows:
            sections = one.sections
            first = None
            if sections.pretrain is not None and sections.pretrain.then != "none":
                first = sections.pretrain.model_dump(mode="json")
            reads = set(sections.model.options["modalities"] or FUSED["data"]["modalities"])
            what = {
                "data": {k: v for k, v in sections.data.options.items() if k != "fou" or "fou" in reads},
                "model": sections.model.options, "method": sections.method.model_dump(mode="json"),
                "train": sections.train.model_dump(mode="json"), "pretrain": first,
                "losses": {key: loss.model_dump(mode="json") for key, loss in one.losses.items()},
            }  # fmt: skip
            by_content.setdefault(content_id(what), set()).add(students(study)[one.name, seed])
        assert all(len(ids) == 1 for ids in by_content.values())
        assert len(set.union(*by_content.values())) == len(by_content)
