"""The errors that a user can mend: each says what was wrong, what was got, and what to do.

The command line prints the message of a `ClserError` without a traceback; any other
exception is a defect of clser-bench and keeps its traceback.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable


class ClserError(Exception):
    """Something in the input, the set-up or the request is wrong; the message says the mend."""


class SpecError(ClserError):
    """A definition (corpus, suite, hyper-parameter, option) is not usable."""


class CorpusError(ClserError):
    """A corpus on disk is missing, incomplete or not what its definition says."""


class AudioError(ClserError):
    """A file cannot be used as audio; carries its path as given, and the reason in words."""

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = str(path)
        self.reason = reason

    def __reduce__(self) -> tuple[type[AudioError], tuple[str, str]]:  # for worker processes
        return type(self), (self.path, self.reason)


class FeatureError(ClserError):
    """Features cannot be extracted, found or read."""


class StoreError(ClserError):
    """The results database cannot be read or written."""


class DamagedError(StoreError):
    """A value of the results database is not what was stored; `Store` adds the file."""


class MethodError(ClserError):
    """A method cannot work on the problem it was given (a failed cell, with this message)."""


class NotApplicableError(ClserError):
    """A method does not apply to a problem: an answer with a reason, not a failure."""


class WorkerError(ClserError):
    """A process that runs methods ended by itself: no fault of any trial."""


class MissingExtraError(ClserError):
    """An optional dependency is absent; says what needs it and which extra brings it."""

    def __init__(self, purpose: str, extra: str) -> None:
        super().__init__(f"{purpose} needs the extra '{extra}': pip install 'clser-bench[{extra}]'")
        self.purpose = purpose
        self.extra = extra

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str]]:
        return type(self), (self.purpose, self.extra)


def did_you_mean(name: str, allowed: Iterable[str], *, command: str = "") -> str:
    """The end of an error: `"; did you mean 'sere'? Known: chance, sere"`.

    The guess is left out where nothing is near. Of many names only the first ten are named, with
    how many there are, and the command of clser-bench that lists all.
    """
    names = sorted(allowed)
    near = difflib.get_close_matches(name, names, n=1)
    guess = f"; did you mean '{near[0]}'?" if near else "."
    known = ", ".join(names[:_NAMED]) or "none"
    if len(names) > _NAMED:
        lists = f"; `clser-bench {command}` has all" if command else ""
        known += f" and {len(names) - _NAMED} more{lists}"
    return f"{guess} Known: {known}"


def counted(count: int, noun: str) -> str:
    """A number with its noun: `1 draw`, `2 draws`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # controls, bidirectional marks and such
_JOINERS = "\u200c\u200d"  # spelling of Persian and of Indic languages needs them
_LONGEST = 20_000
_NAMED = 10


def has_controls(text: str) -> bool:
    """Whether a text has characters that move the cursor, hide or reorder what is around them."""
    return not text.isprintable() and any(map(_is_control, text))


def printable(text: str, *, limit: int = _LONGEST) -> str:
    """A text from a user's file, safe to print.

    Control characters (C0, C1), bidirectional and other invisible marks, line separators and lone
    surrogates are written as escapes; line feeds and tabs stay. What has more characters than the
    limit is cut in the middle, since a traceback says at its end what was wrong.
    """
    if len(text) > limit:
        half = limit // 2
        out = f"… ({len(text) - 2 * half} characters left out) …"
        text = f"{text[:half]}{out}{text[-half:]}"
    return "".join(
        character.encode("unicode_escape").decode("ascii")
        if character not in "\n\t" and _is_control(character)
        else character
        for character in text
    )


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in _UNPRINTABLE and character not in _JOINERS
