"""Arabic and Hebrew for a page that is set from left to right, letter by letter.

PDF files place glyphs, not text: whoever makes them has to join Arabic letters and to reverse runs
himself. Names and short messages come out right; this is no typesetting of whole paragraphs (a run
that is broken over two lines has its words in the wrong order). Facts are Unicode's: the joined
forms are those whose compatibility decomposition is the letter.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from functools import cache
from typing import Final

__all__ = ["visual_order"]

_FORMS_AT: Final = (range(0xFB50, 0xFC00), range(0xFE70, 0xFEFD))
_LAM: Final = "\u0644"
_LETTERS: Final = frozenset({"R", "AL"})
_NUMBERS: Final = frozenset({"EN", "AN"})
_BETWEEN: Final = frozenset({"NSM", "WS", "ON", "CS", "ES", "ET", "EN", "AN", "BN"})
_OPENING: Final = {")": "(", "]": "[", "}": "{"}
_MIRRORED: Final = str.maketrans("()[]{}<>«»", ")(][}{><»«")


def visual_order(text: str, can_show: Callable[[str], bool] = bool) -> str:
    """The text with each run of right-to-left letters joined and reversed; a run of which a
    character can't be shown is told as in Python's texts, in the order in which it is read."""
    out: list[str] = []
    at = 0
    while at < len(text):
        if unicodedata.bidirectional(text[at]) not in _LETTERS:
            out.append(text[at])
            at += 1
            continue
        end = _end_of_run(text, at)
        run = _reversed(_joined(text[at:end]))
        if not all(map(can_show, run)):
            run = text[at:end].encode("unicode_escape").decode("ascii")
        out.append(run)
        at = end
    return "".join(out)


def _end_of_run(text: str, begin: int) -> int:
    """After the last letter that belongs to the run, with what stands between its letters."""
    end = begin + 1
    for place in range(begin, len(text)):
        kind = unicodedata.bidirectional(text[place])
        if kind in _LETTERS or (kind == "NSM" and place == end):
            end = place + 1
        elif kind not in _BETWEEN:
            break
    run, closing = text[begin:end], text[end : end + 1]
    opening = _OPENING.get(closing)
    return end + 1 if opening and run.count(opening) > run.count(closing) else end


def _reversed(run: str) -> str:
    """Backwards, with marks after their letters and numbers the right way round."""
    clusters: list[str] = []
    for one in run:
        kind = unicodedata.bidirectional(one)
        follows = clusters and unicodedata.bidirectional(clusters[-1][-1]) in _NUMBERS
        if (kind == "NSM" and clusters) or (kind in _NUMBERS and follows):
            clusters[-1] += one
        else:
            clusters.append(one.translate(_MIRRORED))
    return "".join(reversed(clusters))


@cache
def _forms() -> Mapping[str, Mapping[str, str]]:
    """For each letter, or lam with an alef, its joined forms by name."""
    found: dict[str, dict[str, str]] = {}
    for places in _FORMS_AT:
        for place in places:
            name, *letters = unicodedata.decomposition(chr(place)).split() or [""]
            letter = "".join(chr(int(one, 16)) for one in letters)
            if name.startswith("<") and (len(letter) == 1 or letter[:1] == _LAM):
                found.setdefault(letter, {}).setdefault(name.strip("<>"), chr(place))
    return found


def _joined(run: str) -> str:
    """Each letter in the form that its neighbours ask for."""
    forms = _forms()
    out: list[str] = []
    joins = False  # whether the letter before reaches out to the next one
    at = 0
    while at < len(run):
        letter = run[at]
        if unicodedata.bidirectional(letter) == "NSM":
            out.append(letter)
            at += 1
            continue
        if run[at : at + 2] in forms and len(run[at : at + 2]) == 2:
            letter = run[at : at + 2]
        own = forms.get(letter, {})
        at += len(letter)
        following = next((one for one in run[at:] if unicodedata.bidirectional(one) != "NSM"), "")
        before = joins and "final" in own
        joins = "initial" in own and "final" in forms.get(following, {})
        name = {(True, True): "medial", (True, False): "final", (False, True): "initial"}.get(
            (before, joins), "isolated"
        )
        out.append(own.get(name, letter))
    return "".join(out)
