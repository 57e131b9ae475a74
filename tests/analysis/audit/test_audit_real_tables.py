"""Published tables beside the checkout: the faults that are in them, and no others."""

from __future__ import annotations

import pytest
from audit_samples import shared_file, short

from mmablate.analysis.audit import audit_file

OURS = "L_sup + λL_mad + αL_umd + βL_cmd"


def test_the_faults_of_the_published_loss_table():
    audit = audit_file(shared_file("seeds/000_ecaeae5ee4891d81.txt"))
    assert short(audit, "wrong_delta") == [(OURS, "EL", "-0.21", "-0.19")]
    assert short(audit, "wrong_mean") == []
    assert [(row, column) for row, column, _, _ in short(audit, "bold_not_best")] == [
        (OURS, c) for c in ("E", "L", "EL")
    ]
    warm = [(f.column, str(f.printed.value), f.colour) for f in audit.colour_contradicts]
    assert warm == [("L", "-0.01", "#ffd580"), ("EL", "-0.21", "#ffd580")]
    assert audit.checked == {"delta": 24, "mean": 4, "bold": 8, "colour": 24}
    assert audit.tables[0].n_unread == 0


def test_a_comparison_in_words_has_nothing_to_be_wrong():
    audit = audit_file(shared_file("seeds/001_25f0c2f24dd27657.txt"))
    assert audit.faults == 0
    assert not any(audit.checked.values())


@pytest.mark.parametrize(
    ("name", "means"),
    [
        ("balancebenchmark", 0),
        ("deliver_methods", 2),
        ("mfh_fig2_released_code", 0),
        ("mfh_fig3_released_code", 0),
        ("mfh_table2", 0),
        ("muses_alpha", 5),
        ("muses_lambda", 7),
        ("muses_losses", 4),
        ("muses_methods", 5),
        ("prism_components_brats2020", 0),
    ],
)
def test_published_csvs_are_clean(name, means):
    audit = audit_file(shared_file(f"published/{name}.csv"))
    assert audit.faults == 0
    assert not audit.only_by_rounding
    assert audit.checked["mean"] == means
    assert audit.tables[0].n_unread == 0
