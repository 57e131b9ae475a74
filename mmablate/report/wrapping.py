"""Lines of limited width, for formats that place text themselves."""

from __future__ import annotations

from rich.cells import cell_len


def _break_word(word: str, width: int) -> list[str]:
    """A word in pieces of at most `width` cells; a character wider than that stands alone."""
    pieces: list[str] = []
    piece, room = "", width
    for character in word:
        needs = cell_len(character)
        if piece and needs > room:
            pieces.append(piece)
            piece, room = "", width
        piece += character
        room -= needs
    return [*pieces, piece]


def wrap(text: str, width: int, *, before_plus: bool = False) -> list[str]:
    """Lines of at most `width` cells, broken at spaces, or else inside a word.

    Args:
        text: one line.
        width: of the room.
        before_plus: break only before a " + " where that suffices: terms of a loss stay whole.
    """
    words = text.replace(" + ", "\0+ ").split("\0") if before_plus else text.split(" ")
    joint = " "
    lines: list[str] = []
    for word in words:
        if lines and cell_len(lines[-1] + joint + word) <= width:
            lines[-1] += joint + word
        elif cell_len(word) <= width:
            lines.append(word)
        elif before_plus:
            lines += wrap(word, width)
        else:
            lines += _break_word(word, width)
    return lines or [""]
