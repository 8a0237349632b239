"""What `--methods` may name: plugins, and routines that are given the answers."""

from __future__ import annotations

from collections.abc import Iterable

from clser_bench import registry
from clser_bench.errors import SpecError, did_you_mean
from clser_bench.scoring.routines import ROUTINES


def expand(words: Iterable[str]) -> tuple[str, ...]:
    """Names from what users write, each once, in order; see `registry.expand`.

    Args:
        words: `all` ends with the routines.

    Raises:
        SpecError: a name is unknown, or a method has no ablations.
    """
    names: dict[str, None] = {}
    for word in words:
        if word in ROUTINES:
            names[word] = None
            continue
        if word != "all" and ":" not in word:
            check(word)
        names.update(dict.fromkeys(registry.expand([word])))
        if word == "all":
            names.update(dict.fromkeys(ROUTINES))
    return tuple(names)


def check(name: str) -> None:
    """Refuse a name that is neither a method nor a routine.

    Raises:
        SpecError: naming what there is.
    """
    known = (*registry.entries(), *ROUTINES)
    if name not in known:
        raise SpecError(f"method '{name}' is unknown{did_you_mean(name, known)}")
