"""Two-level fractional factorial designs: which combinations, and which effects they cannot tell apart.

Of p generated factors each is the product of others, with the first level as -1 and the second as +1: `D = A*B*C`
puts D at its second level where an even number of A, B and C are at their first. The words that the generators
make equal to the identity, and all products of them, are the defining relation; the length of the shortest is the
resolution; effects whose words differ by one of these are aliased.

Source: Box, Hunter, Hunter, Statistics for Experimenters, 2nd edition, chapter 6; NIST/SEMATECH e-Handbook, 5.3.3.4.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

Word = frozenset[str]
SHOWN = 8  # words and alias sets in a note
MOST_GENERATORS = 12  # 2^p - 1 words make up the relation
ROMAN = ("0", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X")


@dataclass(frozen=True)
class Fraction:
    """A fraction of all combinations of two-level factors.

    Attributes:
        factors: all of them, in order.
        generators: generated factor -> (sign, the factors whose product it is).
    """

    factors: tuple[str, ...]
    generators: Mapping[str, tuple[int, tuple[str, ...]]]

    def __post_init__(self) -> None:
        """Refuses what is no design.

        Raises:
            ValueError: with what is wrong, for the user.
        """
        if len(self.generators) > MOST_GENERATORS:
            raise ValueError(f"at most {MOST_GENERATORS} generators, got {len(self.generators)}")
        for name, (_, product) in self.generators.items():
            wrong = [factor for factor in product if factor in self.generators]
            if wrong:
                raise ValueError(f"{name} is made of {wrong[0]}, which is generated too: write factors that are not")
            if len(set(product)) != len(product):
                raise ValueError(f"{name}: a factor is given twice")
        for word, sign in self.relation.items():
            if len(word) < 3:
                told = "the same level" if sign > 0 else "opposite levels"
                names = [factor for factor in self.factors if factor in word]
                raise ValueError(f"{' and '.join(names)} would have {told} in all rows: no row could tell them apart")

    @cached_property
    def relation(self) -> dict[Word, int]:
        """The defining relation: word -> sign of its product, the same in all rows; without the identity."""
        made = [(frozenset({name, *product}), sign) for name, (sign, product) in self.generators.items()]
        words: dict[Word, int] = {}
        for size in range(1, len(made) + 1):
            for some in itertools.combinations(made, size):
                word, sign = Word(), 1
                for other, its in some:
                    word, sign = word ^ other, sign * its
                words[word] = sign
        return words

    @property
    def resolution(self) -> int | None:
        """Length of the shortest word; None for the full factorial."""
        return min(map(len, self.relation), default=None)

    def rows(self) -> Iterator[dict[str, int]]:
        """Factor -> -1 or +1, the last of the factors that are not generated changing fastest."""
        free = [factor for factor in self.factors if factor not in self.generators]
        for signs in itertools.product((-1, 1), repeat=len(free)):
            row = dict(zip(free, signs, strict=True))
            for name, (sign, product) in self.generators.items():
                row[name] = sign
                for factor in product:
                    row[name] *= row[factor]
            yield {factor: row[factor] for factor in self.factors}

    def aliases(self, order: int = 2) -> list[list[tuple[int, Word]]]:
        """Sets of two or more effects that the rows cannot tell apart, of at most `order` factors each.

        Each effect with its sign relative to the first of its set: A = -B*C is [(1, {A}), (-1, {B, C})].
        """
        relation = {Word(): 1, **self.relation}
        seen: set[Word] = set()
        sets = []
        for size in range(1, order + 1):
            for some in itertools.combinations(self.factors, size):
                effect = Word(some)
                if effect in seen:
                    continue
                same = [(sign, effect ^ word) for word, sign in relation.items() if 0 < len(effect ^ word) <= order]
                seen |= {word for _, word in same}
                if len(same) > 1:
                    same.sort(key=lambda item: (len(item[1]), self._places(item[1])))
                    sets.append([(sign * same[0][0], word) for sign, word in same])
        return sets

    def note(self) -> str:
        """What the design is, and what it cannot tell apart, in sentences."""
        count, p = len(self.factors), len(self.generators)
        text = f"The rows are a fraction of the factorial of {', '.join(self.factors)}: {2 ** (count - p)} of "
        text += f"{2**count} combinations (2^({count}-{p}))"
        if self.resolution is None:
            return f"{text}, all of them."
        relation = sorted(self.relation.items(), key=lambda item: (len(item[0]), self._places(item[0])))
        words = [self._text(sign, word) for word, sign in relation]
        roman = ROMAN[self.resolution] if self.resolution < len(ROMAN) else str(self.resolution)
        text += f", defining relation I = {_some(words, ' = ')}, resolution {roman}. {self._meaning()}"
        sets = [" = ".join(self._text(sign, word) for sign, word in effects) for effects in self.aliases()]
        if sets:
            text += f" Not told apart, among effects of one or two factors: {_some(sets, ', ')}."
        return text

    def _meaning(self) -> str:
        assert self.resolution is not None
        if self.resolution == 3:
            return "Effects of single factors are mixed with interactions of two: read them only where those are nil."
        if self.resolution == 4:
            return "Effects of single factors are clear of interactions of two; those are mixed with one another."
        return f"Effects of one and two factors are mixed only with interactions of {self.resolution - 2} or more."

    def _places(self, word: Word) -> list[int]:
        return [place for place, factor in enumerate(self.factors) if factor in word]

    def _text(self, sign: int, word: Word) -> str:
        return ("-" if sign < 0 else "") + "*".join(factor for factor in self.factors if factor in word)


def parse_generators(factors: Sequence[str], generators: Sequence[str]) -> dict[str, tuple[int, tuple[str, ...]]]:
    """`D = A*B*C` or `D = -A*B*C` as factor -> (sign, product).

    Raises:
        ValueError: names the generator and what is wrong with it.
    """
    found: dict[str, tuple[int, tuple[str, ...]]] = {}
    for text in generators:
        name, sign, product = _parse(factors, text)
        if name in found:
            raise ValueError(f"{name} is generated twice")
        found[name] = sign, product
    return found


def _parse(factors: Sequence[str], text: str) -> tuple[str, int, tuple[str, ...]]:
    """Names may hold "=", "+" and "-", but no "*" and no blank, and begin with a letter or digit."""
    sides = [(text[:i].strip(), text[i + 1 :].strip()) for i, letter in enumerate(text) if letter == "="]
    sides = [(left, right) for left, right in sides if left in factors] or sides
    if not sides:
        raise ValueError(f"a generator is FACTOR = FACTOR*FACTOR..., got {text!r}")
    left, right = sides[0]
    sign = -1 if right.startswith("-") else 1
    product = tuple(part.strip() for part in right.removeprefix("-").split("*"))
    unknown = [name for name in (left, *product) if name not in factors]
    if unknown:
        raise ValueError(
            f"no factor of these rows is called {unknown[0]!r} (there are: {', '.join(factors)}): {text!r}"
        )
    return left, sign, product


def _some(parts: Sequence[str], joiner: str) -> str:
    more = len(parts) - SHOWN
    return joiner.join(parts) if more <= 1 else f"{joiner.join(parts[:SHOWN])} and {more} more"
