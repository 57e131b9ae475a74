"""Text for LaTeX that pdflatex sets as it reads: ASCII escaped, Unicode mapped, the rest replaced and named.

Two steps. `escape` and `label` make every ASCII character of untrusted text harmless and leave the others;
`encode` walks over the finished fragment and turns what pdflatex cannot read into commands, or into a letter
or a "?" that the caller reports.
"""

from __future__ import annotations

import re
import unicodedata

from mmablate.report import labels

ASCII = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\`{}",  # two of them would become a quotation mark
    '"': r"\char34{}",  # a bare one is a command in some languages of babel
    "[": "{[}",  # behind the end of a row a bare one opens an option
    "]": "{]}",
    "*": "{*}",
    "-": "{-}",  # two of them would become a dash
    ",": "{,}",
    "'": "{'}",
}
# Those that only their neighbours make a command of: they stay bare elsewhere.
_LIGATURES = frozenset("-,'")

_GREEK_NAMES = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "varepsilon", "ζ": "zeta", "η": "eta",
    "θ": "theta", "ι": "iota", "κ": "kappa", "λ": "lambda", "μ": "mu", "ν": "nu", "ξ": "xi", "π": "pi",
    "ρ": "rho", "ς": "varsigma", "σ": "sigma", "τ": "tau", "υ": "upsilon", "φ": "varphi", "χ": "chi",
    "ψ": "psi", "ω": "omega", "ϵ": "epsilon", "ϑ": "vartheta", "ϕ": "phi", "ϖ": "varpi", "ϱ": "varrho",
    "Γ": "Gamma", "Δ": "Delta", "Θ": "Theta", "Λ": "Lambda", "Ξ": "Xi", "Π": "Pi", "Σ": "Sigma",
    "Υ": "Upsilon", "Φ": "Phi", "Ψ": "Psi", "Ω": "Omega", "µ": "mu", "∆": "Delta",
}  # fmt: skip
_GREEK_AS_LATIN = dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΧο", "ABEZHIKMNOPTXo", strict=True))
_MATH_NAMES = {
    "−": "-", "±": "\\pm", "∓": "\\mp", "×": "\\times", "·": "\\cdot", "÷": "\\div", "∗": "\\ast",
    "≥": "\\geq", "≤": "\\leq", "≠": "\\neq", "≈": "\\approx", "≡": "\\equiv", "∼": "\\sim", "∝": "\\propto",
    "≪": "\\ll", "≫": "\\gg", "∞": "\\infty", "√": "\\surd", "∑": "\\sum", "∏": "\\prod", "∂": "\\partial",
    "∇": "\\nabla", "∫": "\\int", "∈": "\\in", "∉": "\\notin", "∋": "\\ni", "⊂": "\\subset", "⊆": "\\subseteq",
    "∩": "\\cap", "∪": "\\cup", "∅": "\\emptyset", "∀": "\\forall", "∃": "\\exists", "¬": "\\neg",
    "∧": "\\wedge", "∨": "\\vee", "⊕": "\\oplus", "⊗": "\\otimes", "⊙": "\\odot", "∘": "\\circ", "⊥": "\\perp",
    "→": "\\rightarrow", "←": "\\leftarrow", "↑": "\\uparrow", "↓": "\\downarrow", "↔": "\\leftrightarrow",
    "⇒": "\\Rightarrow", "⇐": "\\Leftarrow", "⇔": "\\Leftrightarrow", "↦": "\\mapsto", "ℓ": "\\ell",
    "°": "^\\circ", "′": "'", "⟨": "\\langle", "⟩": "\\rangle", "‖": "\\|", "⋅": "\\cdot", "⋯": "\\cdots",
    "★": "\\star", "☆": "\\star", "◯": "\\bigcirc", "○": "\\circ", "●": "\\bullet", "△": "\\triangle",
    "⁰": "^0", "¹": "^1", "²": "^2", "³": "^3", "⁺": "^+", "⁻": "^-",
    **{c: f"^{n}" for n, c in enumerate("⁴⁵⁶⁷⁸⁹", start=4)},
    **{c: f"_{n}" for n, c in enumerate("₀₁₂₃₄₅₆₇₈₉")},
}  # fmt: skip
_TEXT_NAMES = {
    "†": r"\dag{}", "‡": r"\ddag{}", "§": r"\S{}", "¶": r"\P{}", "•": r"\textbullet{}", "…": r"\ldots{}",
    "–": r"\textendash{}", "—": r"\textemdash{}", "‐": "-", "‑": "-", "‒": r"\textendash{}", "―": r"\textemdash{}",
    "‘": r"\textquoteleft{}", "’": r"\textquoteright{}", "‚": r"\quotesinglbase{}",
    "“": r"\textquotedblleft{}", "”": r"\textquotedblright{}", "„": r"\quotedblbase{}",
    "‹": r"\guilsinglleft{}", "›": r"\guilsinglright{}", "€": r"\texteuro{}", "™": r"\texttrademark{}",
    "‰": r"\textperthousand{}", "‱": r"\textpertenthousand{}", "\N{NO-BREAK SPACE}": "~",
    "\N{NARROW NO-BREAK SPACE}": r"\,", "\N{THIN SPACE}": r"\,", "ʷ": r"\textsuperscript{w}",
}  # fmt: skip
# Latin letters and signs that `inputenc` reads as UTF-8 and T1 has.
_UNREAD = frozenset("ĦħĸĿŀŉŦŧſ\N{SOFT HYPHEN}")
READ = frozenset(chr(code) for code in (*range(0xA1, 0x180), *range(0x218, 0x21C), 0x1E9E)) - _UNREAD
# Letters without a decomposition that have an obvious one.
_LATIN = {"Ħ": "H", "ħ": "h", "ĸ": "k", "Ŧ": "T", "ŧ": "t", "ſ": "s", "ə": "e", "ı": "i"}

COMMANDS = {
    **{c: f"\\ensuremath{{\\{name}}}" for c, name in _GREEK_NAMES.items()},
    **_GREEK_AS_LATIN,
    **{c: f"\\ensuremath{{{name}}}" for c, name in _MATH_NAMES.items()},
    **_TEXT_NAMES,
}
_MATH_SUBSCRIPT = re.compile(r"[A-Za-z0-9]+")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_SYMBOL = re.compile(f"[{''.join(_GREEK_NAMES)}]*[L{''.join(_GREEK_NAMES)}]$")


def escape(text: str) -> str:
    """Text that prints as itself, one line; characters beyond ASCII are left to `encode`."""
    return _escaped(_composed(labels.clean(text)))


def _composed(text: str) -> str:
    """Letters with their marks as one character, which `inputenc` reads."""
    return unicodedata.normalize("NFC", text)


def _escaped(text: str) -> str:
    found = []
    for index, character in enumerate(text):
        alone = character in _LIGATURES and text[index + 1 : index + 2] != character
        found.append(character if alone else ASCII.get(character, character))
    return "".join(found)


def label(text: str) -> str:
    """A label with real subscripts: "λL_mad" becomes `$\\lambda L_{\\mathrm{mad}}$`."""
    runs = labels.runs(_composed(text))
    found = []
    for index, run in enumerate(runs):
        if run.subscript:
            continue  # set with the run before it, which every subscript has
        below = runs[index + 1].text if index + 1 < len(runs) else None
        found.append(_escaped(run.text) if below is None else _with_subscript(run.text, below))
    return "".join(found)


def _with_subscript(text: str, below: str) -> str:
    """A run whose last letters carry a subscript."""
    match = _SYMBOL.search(text)
    if match is None:  # a Greek capital that looks like a Latin one
        return _escaped(text) + rf"\textsubscript{{{_escaped(below)}}}"
    symbol = "".join(f"\\{_GREEK_NAMES[c]} " if c in _GREEK_NAMES else c for c in match[0]).rstrip()
    before = _escaped(text[: match.start()])
    if _MATH_SUBSCRIPT.fullmatch(below):
        return rf"{before}${symbol}_{{\mathrm{{{below}}}}}$"
    return rf"{before}${symbol}$\textsubscript{{{_escaped(below)}}}"


def encode(fragment: str) -> tuple[str, dict[str, str]]:
    """LaTeX in which nothing stands that pdflatex cannot read.

    Args:
        fragment: LaTeX, its ASCII already escaped.

    Returns:
        The fragment, and what took the place of each character that has no command: a letter, or "?".
    """
    replaced: dict[str, str] = {}

    def command(match: re.Match[str]) -> str:
        character = match[0]
        if character in COMMANDS:
            return COMMANDS[character]
        if character in READ:
            return character
        replaced[character] = _transliterated(character)
        return replaced[character]

    return _NOT_ASCII.sub(command, fragment), replaced


def _transliterated(character: str) -> str:
    """The letters that a character is made of, without their marks; "?" where it is made of none."""
    text = "".join(_LATIN.get(c, c) for c in unicodedata.normalize("NFKD", character))
    kept = "".join(c for c in text if not unicodedata.combining(c))
    if not kept:
        return ""
    parts = [COMMANDS.get(c, c if c in READ else _escaped(c) if c.isascii() else "?") for c in kept]
    return "".join(parts)


def names_of(replaced: dict[str, str]) -> list[str]:
    """Each replaced character by code point and name, for a comment: ASCII only."""
    return [
        f"U+{ord(c):04X} {unicodedata.name(c, 'unnamed')} as {text!a}" if text else f"U+{ord(c):04X} left out"
        for c, text in sorted(replaced.items())
    ]
