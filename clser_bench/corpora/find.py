"""Finding corpora on disk by their layout."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from clser_bench.corpora.files import media_files
from clser_bench.errors import CorpusError
from clser_bench.protocol import CorpusSpec

_Parts = tuple[str, ...]


@dataclass(frozen=True)
class _Layout:
    """What is looked for, and how often it was seen below each folder."""

    pattern: re.Pattern[str]
    ignored: tuple[re.Pattern[str], ...]
    depth: int
    matched: Counter[_Parts] = field(default_factory=Counter)
    passed: Counter[_Parts] = field(default_factory=Counter)


def find_corpora(root: Path, specs: Mapping[str, CorpusSpec]) -> dict[str, Path]:
    """Find the corpora below a folder, whatever their folders are called.

    A folder is a corpus when more than half of the recordings below it lie as the corpus's
    pattern says (all of them, unless the copy is damaged: reading names those that do not).
    Of such folders within each other the outermost counts. The root itself may be a corpus.

    Args:
        root: where to look, at any depth.
        specs: what to look for, by code.

    Returns:
        Code to folder, for those that are there, in the order of `specs`.

    Raises:
        CorpusError: the root is missing, or two folders are the same corpus.
    """
    layouts = {code: _layout(spec) for code, spec in specs.items() if spec.pattern}
    total = _count(root, layouts.values())
    found = {}
    for code, layout in layouts.items():
        folders = _outermost(_corpora(layout, total))
        if len(folders) > 1:
            named = " and ".join(str(root.joinpath(*parts)) for parts in folders)
            raise CorpusError(
                f"{specs[code].title} ({code}) is there {len(folders)} times: {named}; move all "
                "but one away, or name a folder that holds only the one you want"
            )
        if folders:
            found[code] = root.joinpath(*folders[0])
    return _told_apart(found, specs)


def _layout(spec: CorpusSpec) -> _Layout:
    # a slash in a character class only makes the search look one folder deeper than it need
    depth = spec.pattern.count("/") + 1
    return _Layout(re.compile(spec.pattern), tuple(map(re.compile, spec.ignored)), depth)


def _count(root: Path, layouts: Iterable[_Layout]) -> Counter[_Parts]:
    """Fill the layouts' counters; the number of recordings below each folder."""
    total: Counter[_Parts] = Counter()
    layouts = list(layouts)
    deepest = max((layout.depth for layout in layouts), default=0)
    for file in media_files(root, skip_unreadable=True):
        parts = tuple(file.stem.split("/"))
        extension = file.name[len(file.stem) :]
        total.update(parts[:length] for length in range(len(parts)))
        for depth in range(1, min(deepest, len(parts)) + 1):
            folder, tail = parts[:-depth], "/".join(parts[-depth:])
            for layout in layouts:
                if depth > layout.depth:
                    continue
                if any(expression.fullmatch(tail + extension) for expression in layout.ignored):
                    layout.passed[folder] += 1
                elif layout.pattern.fullmatch(tail):
                    layout.matched[folder] += 1
    return total


def _corpora(layout: _Layout, total: Counter[_Parts]) -> list[_Parts]:
    return sorted(
        folder
        for folder, count in layout.matched.items()
        if 2 * count > total[folder] - layout.passed[folder]
    )


def _outermost(folders: list[_Parts]) -> list[_Parts]:
    known = set(folders)
    return [
        folder
        for folder in folders
        if not any(folder[:length] in known for length in range(len(folder)))
    ]


def _told_apart(found: dict[str, Path], specs: Mapping[str, CorpusSpec]) -> dict[str, Path]:
    """Let the usual folder names decide where one folder has the layout of several corpora."""
    kept = {}
    for code, folder in found.items():
        rivals = [other for other, place in found.items() if place == folder]
        named = [other for other in rivals if folder.name.lower() in _hints(specs[other])]
        if not named or code in named:
            kept[code] = folder
    return kept


def _hints(spec: CorpusSpec) -> set[str]:
    return {name.lower() for name in spec.folders}
