"""The grammar of claims, and what a recipe with a bad one says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmablate.claims import Comparison, Equivalence, Quantity, Trend, parse_claim, rows_of
from mmablate.errors import RecipeError
from mmablate.recipe import load_recipe

MEAN = Quantity("Mean")

CLAIMS = {
    "A > B on Mean": Comparison("A", ">", "B", 0.0, MEAN),
    "A < B on Mean": Comparison("A", "<", "B", 0.0, MEAN),
    "A > B by 0.5 on Mean": Comparison("A", ">", "B", 0.5, MEAN),
    "A < B by 5e-1 on Mean": Comparison("A", "<", "B", 0.5, MEAN),
    "A > B by 0 on Mean": Comparison("A", ">", "B", 0.0, MEAN),
    "A > 90 on Mean": Comparison("A", ">", 90.0, 0.0, MEAN),
    "A < -1.5e-3 on Mean": Comparison("A", "<", -1.5e-3, 0.0, MEAN),
    "A > +.5 by 1 on Mean": Comparison("A", ">", 0.5, 1.0, MEAN),
    "A = B within 0.5 on Mean": Equivalence("A", "B", 0.5, MEAN),
    "A = 90 within 1e1 on Mean": Equivalence("A", 90.0, 10.0, MEAN),
    "A > B on Δ Mean": Comparison("A", ">", "B", 0.0, Quantity("Mean", of_delta=True)),
    "A > 0 on ΔMean": Comparison("A", ">", 0.0, 0.0, Quantity("Mean", of_delta=True)),
    "A > 0 on \N{INCREMENT} Mean": Comparison("A", ">", 0.0, 0.0, Quantity("Mean", of_delta=True)),
    "sup+mad+umd > sup on FEL": Comparison("sup+mad+umd", ">", "sup", 0.0, Quantity("FEL")),
    "lambda=0.5 > lambda=0 on F": Comparison("lambda=0.5", ">", "lambda=0", 0.0, Quantity("F")),
    "a-b_c.d > teacher on F": Comparison("a-b_c.d", ">", "teacher", 0.0, Quantity("F")),
    "λ=1e-3+α=2 < für on F1 macro": Comparison("λ=1e-3+α=2", "<", "für", 0.0, Quantity("F1 macro")),
    "by > within on on": Comparison("by", ">", "within", 0.0, Quantity("on")),
    "A > nan on Mean": Comparison("A", ">", "nan", 0.0, MEAN),
    "Mean rises with beta": Trend(MEAN, "rises", "beta"),
    "Mean falls with beta": Trend(MEAN, "falls", "beta"),
    "Δ Mean rises with missing for late*": Trend(Quantity("Mean", of_delta=True), "rises", "missing", "late*"),
    "F1 macro falls with train.lr for sup+mad": Trend(Quantity("F1 macro"), "falls", "train.lr", "sup+mad"),
}


@pytest.mark.parametrize("text", CLAIMS)
def test_claims_read_as_they_are_meant(text):
    assert parse_claim(text) == CLAIMS[text]
    assert parse_claim("  " + text.replace(" ", "   ") + "\n") == CLAIMS[text]


BAD = {
    "": "a claim has one of the forms A > B on COL",
    "A beats B": "one of the forms",
    "A > B": "one of the forms",
    "A > B on": "one of the forms",
    "A>B on Mean": "one of the forms",
    "A >= B on Mean": "one of the forms",
    "A > B > C on Mean": "one of the forms",
    "> B on Mean": "one of the forms",
    "A = B on Mean": "= needs a margin",
    "A = B by 0.5 on Mean": "= needs a margin",
    "A > B within 0.5 on Mean": "`within` goes with =",
    "A = B within 0 on Mean": "the margin is a number above 0, got '0'",
    "A = B within -1 on Mean": "the margin is a number above 0, got '-1'",
    "A > B by -1 on Mean": "the margin is a number of at least 0, got '-1'",
    "A > B by much on Mean": "the margin is a number of at least 0, got 'much'",
    "A > B by inf on Mean": "the margin is a number of at least 0, got 'inf'",
    "A > B by nan on Mean": "the margin is a number of at least 0, got 'nan'",
    "A > B by 0,5 on Mean": "the margin is a number of at least 0, got '0,5'",
    "A > B by 1e999 on Mean": "the margin is a number of at least 0",
    "Mean rises": "one of the forms",
    "Mean rises with": "one of the forms",
    "Mean grows with beta": "one of the forms",
    "Mean rises with beta for a b": "one of the forms",
    "rises with beta": "one of the forms",
}


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_claim_is_told(text):
    with pytest.raises(ValueError) as caught:
        parse_claim(text)
    assert BAD[text] in str(caught.value)


@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from([*"AB><=Δ", "on", "by", "within", "rises", "with", "0.5", "for"])).map(" ".join)
)
def test_any_text_is_a_claim_or_a_value_error(text):
    try:
        claim = parse_claim(text)
    except ValueError as error:
        told = str(error)
    else:
        told = str(claim)
        assert set(rows_of(claim)) <= set(text.split())
    assert told


def test_the_rows_of_a_claim():
    assert rows_of(parse_claim("A > B on F")) == ("A", "B")
    assert rows_of(parse_claim("A = 5 within 1 on F")) == ("A",)
    assert rows_of(parse_claim("F rises with x for A")) == ()


RECIPE = """\
name: tiny
data: {name: landsat, modalities: [V, N]}
model: {name: anymodal_segmentor, widths: [4, 4, 8], strides: [2, 2, 2], decoder_width: 4}
losses: {sup: {weight: 1}}
rows:
  - [sup]
claims:
  - sup > 5 on Mean
  - sup beats 5
  - sup = 5 on Mean
"""


def test_a_recipe_names_the_claim_and_its_line(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load_recipe(str(path))
    first, second = caught.value.problems
    assert first.startswith(f"{path}:9: claims.1: a claim has one of the forms")
    assert first.endswith("the claim is 'sup beats 5'")
    assert second.startswith(f"{path}:10: claims.2: = needs a margin")


@pytest.mark.parametrize("claims", ["5", "sup > 5 on Mean", "[5]", "[[sup]]", "{a: b}", "[null]"])
def test_claims_are_a_list_of_sentences(tmp_path, claims):
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE.partition("claims:")[0] + f"claims: {claims}\n", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"tiny\.yaml:7: claims"):
        load_recipe(str(path))


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("A > B by 0.5 on Mean", "A > B on Mean by 0.5"),
        ("A = B within 0.5 on Δ FE", "A = B on Δ FE within 0.5"),
    ],
)
def test_a_margin_may_stand_last(first, last):
    assert parse_claim(first) == parse_claim(last)


def test_two_margins_are_refused():
    with pytest.raises(ValueError, match="one margin"):
        parse_claim("A > B by 1 on Mean by 2")
