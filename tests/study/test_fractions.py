"""Fractional factorials: rows, resolution and aliases, against the columns of the design itself; rules for rows."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from study_samples import BASE, Opener, names

from mmablate.errors import RecipeError
from mmablate.study.fractional import Fraction, parse_generators

KEYS = ("train.lr", "train.weight_decay", "losses.mad.weight", "losses.umd.weight", "model.decoder_width")
FACTORS = {
    name: {f"{name}0": {key: 1}, f"{name}1": {key: 2}} for name, key in zip("ABCDE", KEYS, strict=True)
}  # fmt: skip


@pytest.fixture
def opened(tmp_path):
    return Opener(tmp_path)


@pytest.fixture
def factored(opened):
    def run(rows, **changes):
        return opened(**{"rows": rows, "factors": FACTORS, "baseline": None, "seeds": [0], **changes})

    return run


def told(call) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        call()
    return [text.partition(": ")[2] for text in caught.value.problems]


# --- the design, from its columns -------------------------------------------------------------------------


def column(rows, effect):
    """The product of the factors' columns, row by row."""
    return tuple(math.prod(row[factor] for factor in effect) for row in rows)


def effects(factors, order):
    return [frozenset(c) for size in range(1, order + 1) for c in itertools.combinations(factors, size)]


def measured_resolution(rows, factors):
    """Fewest factors whose columns multiply to a constant."""
    return min((len(e) for e in effects(factors, len(factors)) if len(set(column(rows, e))) == 1), default=None)


def measured_aliases(rows, factors, order):
    """Sets of effects whose columns are equal up to the sign."""
    sets = {}
    for effect in effects(factors, order):
        values = column(rows, effect)
        sets.setdefault(max(values, tuple(-v for v in values)), set()).add(effect)
    return {frozenset(some) for some in sets.values() if len(some) > 1}


@st.composite
def fractions(draw):
    names_ = "ABCDEFG"[: draw(st.integers(3, 7))]
    p = draw(st.integers(1, len(names_) - 2))
    free, made = names_[: len(names_) - p], names_[len(names_) - p :]
    generators = {}
    for name in made:
        product = draw(st.sets(st.sampled_from(free), min_size=2 if len(free) > 1 else 1))
        generators[name] = (draw(st.sampled_from([1, -1])), tuple(sorted(product)))
    order = draw(st.permutations(names_))
    try:
        return Fraction(tuple(order), generators)
    except ValueError:
        assume(False)


@given(fractions())
def test_resolution_and_aliases_are_those_of_the_columns(fraction):
    rows, factors = list(fraction.rows()), fraction.factors
    assert len(rows) == len({tuple(row.values()) for row in rows}) == 2 ** (len(factors) - len(fraction.generators))
    assert fraction.resolution == measured_resolution(rows, factors)
    constant = {e: column(rows, e)[0] for e in effects(factors, len(factors)) if len(set(column(rows, e))) == 1}
    assert fraction.relation == constant
    for order in (1, 2, 3):
        found = fraction.aliases(order)
        assert {frozenset(word for _, word in some) for some in found} == measured_aliases(rows, factors, order)
        for some in found:
            assert some[0][0] == 1
            assert len({tuple(sign * v for v in column(rows, word)) for sign, word in some}) == 1


@given(fractions())
def test_single_effects_of_a_fraction_are_balanced_and_orthogonal(fraction):
    rows = list(fraction.rows())
    for a, b in itertools.combinations(fraction.factors, 2):
        assert sum(column(rows, a)) == 0
        assert sum(x * y for x, y in zip(column(rows, a), column(rows, b), strict=True)) == 0


def test_the_textbook_designs():
    """NIST/SEMATECH e-Handbook, table 3.17 of 5.3.3.4.7."""
    for count, text, resolution in [
        (3, "C = A*B", 3), (4, "D = A*B*C", 4), (5, "E = A*B*C*D", 5), (5, "D = A*B; E = A*C", 3),
        (6, "E = A*B*C; F = B*C*D", 4), (7, "D = A*B; E = A*C; F = B*C; G = A*B*C", 3),
        (7, "E = A*B*C; F = B*C*D; G = A*C*D", 4), (8, "G = A*B*C*D; H = A*B*E*F", 5),
    ]:  # fmt: skip
        factors = "ABCDEFGH"[:count]
        fraction = Fraction(tuple(factors), parse_generators(factors, text.split("; ")))
        assert fraction.resolution == resolution, text


# --- in a recipe ------------------------------------------------------------------------------------------


def test_a_fraction_of_factors(factored):
    study = factored({"fractional": {"factors": ["A", "B", "C", "D"], "generators": ["D = A*B*C"]}})
    assert len(study.rows) == 8
    assert names(study)[:3] == ["A0+B0+C0+D0", "A0+B0+C1+D1", "A0+B1+C0+D1"]
    assert study.notes == (
        "The rows are a fraction of the factorial of A, B, C, D: 8 of 16 combinations (2^(4-1)), defining relation "
        "I = A*B*C*D, resolution IV. Effects of single factors are clear of interactions of two; those are mixed with "
        "one another. Not told apart, among effects of one or two factors: A*B = C*D, A*C = B*D, A*D = B*C.",
    )


def test_the_other_half_has_the_other_sign(factored):
    rows = [{"fractional": {"factors": ["A", "B", "C"], "generators": [f"C = {sign}A*B"]}} for sign in ("", "-")]
    both = [factored(form) for form in rows]
    assert not set(names(both[0])) & set(names(both[1]))
    assert len({*names(both[0]), *names(both[1])}) == 8
    assert "I = -A*B*C, resolution III" in both[1].notes[0]
    assert "A = -B*C, B = -A*C, C = -A*B" in both[1].notes[0]


def test_a_fraction_of_losses(opened):
    form = {"fractional": {"factors": "losses", "generators": ["cmd = mad*umd"]}, "keep": ["sup"]}
    study = opened(rows=form, baseline=None)
    assert names(study) == ["sup+cmd", "sup+umd", "sup+mad", "sup+mad+umd+cmd"]  # -1 * -1 = +1
    assert "mad = umd*cmd" in study.notes[0]


def test_a_fraction_with_an_empty_row_is_told(opened):
    form = {"fractional": {"factors": "losses", "generators": ["cmd = sup*mad*umd"]}}
    assert told(lambda: opened(rows=form, baseline=None)) == [
        "rows.keep: one row of the fraction has no loss: give a term that every row keeps"
    ]


def test_a_fraction_that_loses_rows_says_so(factored):
    form = {"fractional": {"factors": ["A", "B", "C"], "generators": ["C = A*B"]}, "exclude": [{"A": "A1"}]}
    (note,) = factored(form).notes
    assert note.endswith("2 of its rows are left out by exclude or require: effects are mixed further than that.")


@pytest.mark.parametrize(
    ("factors", "generators", "said"),
    [
        (["A", "B", "C"], ["C = A*X"], "no factor of these rows is called 'X' (there are: A, B, C)"),
        (["A", "B", "C"], ["A*B"], "a generator is FACTOR = FACTOR*FACTOR..., got 'A*B'"),
        (["A", "B", "C"], ["C = A"], "A and C would have the same level in all rows"),
        (["A", "B", "C"], ["C = -A"], "A and C would have opposite levels in all rows"),
        (["A", "B", "C"], ["C = C*A"], "C is made of C, which is generated too"),
        (["A", "B", "C"], ["C = A*A"], "C: a factor is given twice"),
        (["A", "B", "C"], ["C = A*B", "C = A*B"], "C is generated twice"),
        (["A", "B", "C", "D"], ["C = A*B", "D = A*C"], "D is made of C, which is generated too"),
        (["A", "B", "C", "D"], ["C = A*B", "D = A*B"], "C and D would have the same level in all rows"),
        (["A", "B", "X"], ["B = A*X"], "factors out of those defined"),
        ([], ["B = A*X"], "factors out of those defined"),
    ],
)
def test_faults_of_a_fraction(factored, factors, generators, said):
    (text,) = told(lambda: factored({"fractional": {"factors": factors, "generators": generators}}))
    assert said in text


def test_factors_of_more_levels_have_no_fraction(factored):
    factors = {**FACTORS, "A": {f"a{i}": {"train.lr": i + 1} for i in range(3)}}
    form = {"fractional": {"factors": ["A", "B", "C"], "generators": ["C = A*B"]}}
    (text,) = told(lambda: factored(form, factors=factors))
    assert text == "rows.fractional.factors: factors of two levels each, got {'A': 3}"


def test_a_sweep_has_no_note_of_the_design(opened):
    from mmablate.study.sweeping import SweepRequest

    form = {"fractional": {"factors": "losses", "generators": ["cmd = mad*umd"]}, "keep": ["sup"]}
    study = opened(rows=form, baseline=None, options={"sweep": SweepRequest(("beta",))})
    assert not any("fraction" in note for note in study.notes)


# --- exclude and require ----------------------------------------------------------------------------------

LEVELS = {name: list(levels) for name, levels in FACTORS.items()}
patterns = st.dictionaries(
    st.sampled_from("ABC"), st.sampled_from([[0], [1], [0, 1]]), min_size=1, max_size=2
).map(lambda d: {f: [f"{f}{i}" for i in some] for f, some in d.items()})  # fmt: skip


@given(
    exclude=st.lists(patterns, max_size=2),
    require=st.lists(st.tuples(patterns, patterns), max_size=2),
    product=st.sampled_from(["product", "factorial"]),
)
def test_rules_keep_what_they_say(exclude, require, product, tmp_path_factory):
    expected = []
    for combination in itertools.product(*(LEVELS[f] for f in "ABC")):
        row = dict(zip("ABC", combination, strict=True))
        excluded = [all(row[f] in some for f, some in rule.items()) for rule in exclude]
        broken = [
            all(row[f] in some for f, some in when.items()) and any(row[f] not in some for f, some in then.items())
            for when, then in require
        ]
        if not any(excluded) and not any(broken):
            expected.append("+".join(combination))
    opened = Opener(tmp_path_factory.getbasetemp())
    form = {
        product: list("ABC"),
        # A list of one level may be written without the list.
        "exclude": [{f: some if len(some) > 1 else some[0] for f, some in rule.items()} for rule in exclude],
        "require": [{"if": a, "then": b} for a, b in require],
    }

    def study():
        return opened(rows=form, factors=FACTORS, baseline=None, seeds=[0])

    if expected:
        assert names(study()) == expected
    else:
        assert told(study) == ["rows: no row is left"]


def test_rules_of_losses(opened):
    form = {"factorial": "losses", "keep": ["sup"], "require": [{"if": {"umd": "umd"}, "then": {"mad": "mad"}}]}
    assert names(opened(rows=form, baseline=None)) == [
        "sup", "sup+cmd", "sup+mad", "sup+mad+cmd", "sup+mad+umd", "sup+mad+umd+cmd",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"require": [{"if": {"X": "A0"}, "then": {"B": "B0"}}]},
         "rows.require.0.if: no factor of these rows is called 'X' (there are: A, B, C)"),
        ({"require": [{"if": {"A": "A0"}, "then": {"B": ["B0", "low"]}}]},
         "rows.require.0.then: B has no level 'low' (there are: B0, B1)"),
        ({"require": [{"if": {"A": "A0"}}]}, "rows.require.0.then: missing"),
        ({"require": [{"if": {"A": "A0"}, "then": {}}]}, "rows.require.0.then: "),
        ({"require": [{"if": {"A": "A0"}, "then": {"B": "B0"}, "else": {}}]}, "rows.require.0.else: unknown key"),
        ({"exclude": [{"A": ["A0", "A3"]}]}, "rows.exclude.0: A has no level 'A3'"),
        ({"exclude": [{"A": []}]}, "rows.exclude.0: A: a level, or a list of at least one, got []"),
        ({"exclude": [{"D": "D0"}]}, "rows.exclude.0: no factor of these rows is called 'D'"),
    ],
)  # fmt: skip
def test_a_misspelt_rule_is_told(factored, rules, said):
    (text,) = told(lambda: factored({"product": ["A", "B", "C"], **rules}))
    assert text.startswith(said)


def test_what_is_written_is_in_the_schema_and_in_the_dump(factored):
    from mmablate.cli.listing import recipe_schema

    rule = {"if": {"A": "A0"}, "then": {"B": ["B0"]}}
    study = factored({"product": ["A", "B"], "require": [rule]})
    assert study.recipe.model_dump(mode="json")["rows"]["require"] == [rule]
    schema = recipe_schema()
    assert set(schema["$defs"]["Requirement"]["required"]) == {"if", "then"}
    assert {"fractional", "require", "exclude"} <= set(schema["$defs"]["Expander"]["properties"])
    assert BASE["rows"]
