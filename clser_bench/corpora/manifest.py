"""Corpora listed in a table, for recordings that lie in no layout of their own."""

from __future__ import annotations

import posixpath  # pathlib is several times as slow, and a table may have half a million rows
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from clser_bench.corpora import outside
from clser_bench.corpora.audio import LONGEST
from clser_bench.corpora.definitions import CorpusSpec, definitions
from clser_bench.corpora.model import Listing, Utterance, overlaps
from clser_bench.corpora.rows import Row, check_columns, header, read_rows
from clser_bench.errors import CorpusError, did_you_mean, has_controls
from clser_bench.problem import Finding, SkippedFile
from clser_bench.protocol import EMOTIONS, Gender, canonical_language

REQUIRED = ("path", "speaker", "emotion", "language")
"""Columns that a manifest must have."""

OPTIONAL = ("gender", "text", "corpus", "start", "end")
"""Columns that it may have; any other is passed over."""

_GENDERS = get_args(Gender)
_SECONDS = re.compile(r"[0-9]{1,9}([.][0-9]{1,30})?(e-[0-9]{1,3})?")  # also as Python writes floats
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8})*")
_NO_VALUE = {
    "speaker": ("nan", "none", "null", "<na>", "nat"),
    "language": ("und", "mul", "mis", "zxx"),
}
"""Texts, in lower case, that pandas and others write, or ISO 639 has, where nothing is known."""

_NO_CONTROLS = ("path", "speaker", "emotion", "language", "corpus")


def list_manifest(path: Path) -> tuple[Listing, ...]:
    """List the corpora of a manifest; nothing is decoded.

    A manifest is a CSV or Parquet table with the columns `path`, `speaker`, `emotion` (one of
    `EMOTIONS`), `language` (BCP 47) and optionally `gender`, `text`, `corpus`, `start` and `end`
    (seconds of a segment), or data of another system (`outside`). Paths are absolute, or relative
    to the manifest's folder. One listing for each value of `corpus`, else for each language, sorted
    by code; rows that are wrong are in `Listing.bad`.

    Raises:
        CorpusError: the table cannot be read or lacks a column, a corpus has no name or two
            languages, or a code is taken.
    """
    data = outside.read(path)
    if data is None:
        check_columns(path, header(path), required=REQUIRED, optional=OPTIONAL)
        names = {name: name for name in (*REQUIRED, *OPTIONAL)}
        data = outside.Data(rows=read_rows(path, names), folder=path.parent)
    if not data.rows:
        raise CorpusError(f"{path}: has no rows that can be used")
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in data.rows:
        language = canonical_language(row.cells.get("language", ""))
        groups[row.cells.get("corpus") or language].append(row)
    if nameless := groups.pop("", []):  # bad rows, which are named with those of a corpus
        groups[next(iter(groups), "und")] += nameless
    codes: dict[str, str] = {}
    listings = []
    for name, rows in groups.items():
        spec = data.spec or _spec(path, name, rows, codes)
        listing = _Reader(spec=spec, origin=path, folder=data.folder).read(rows)
        listings.append(replace(listing, left_out=tuple(sorted(data.left_out.items()))))
    return tuple(sorted(listings, key=lambda listing: listing.spec.code))


def _spec(path: Path, name: str, rows: list[Row], codes: dict[str, str]) -> CorpusSpec:
    """The definition of a listed corpus, its code not taken by another."""
    code = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-_")[:16]
    if not code:
        raise CorpusError(f"{path}: {rows[0].where}: '{name}' gives no name for a corpus")
    shipped = definitions().corpora
    if code in shipped or code in codes:
        owner = shipped[code].title if code in shipped else f"'{codes[code]}'"
        raise CorpusError(
            f"{path}: corpus '{name}' would get the code {code} of {owner}; write another name in "
            "the column 'corpus'"
        )
    codes[code] = name
    tags = {row.cells.get("language", "") for row in rows} - {""}
    languages = sorted({canonical_language(tag) for tag in tags}) or ["und"]
    if len(languages) > 1:
        raise CorpusError(
            f"{path}: corpus '{name}' has the languages {', '.join(languages)}; "
            "give each its own name in the column corpus"
        )
    return CorpusSpec(
        code=code,
        name=code.lower(),
        title=name,
        language=languages[0],
        licence="not stated",
        citation=f"listed in {path.name}",
        labels={
            emotion: emotion
            for emotion in sorted({row.cells.get("emotion", "") for row in rows} & set(EMOTIONS))
        },
    )


@dataclass(frozen=True, kw_only=True)
class _Reader:
    """Reads the rows of one corpus."""

    spec: CorpusSpec
    origin: Path
    folder: Path

    def read(self, rows: list[Row]) -> Listing:
        places = {row.where: self._place(row.cells.get("path", "")) for row in rows}
        root = _root(places.values(), self.folder)
        base = posixpath.abspath(root)
        names = {row.where: _name(row, places[row.where], base) for row in rows}
        uses = Counter(names.values())
        utterances, bad = [], []
        for row in rows:
            name = names[row.where]
            faults = _faults(row, repeated=uses[name] > 1)
            if faults:
                reason = f"{row.where}: {'; '.join(faults)}"
                bad.append(SkippedFile(corpus=self.spec.code, name=name, reason=reason))
                continue
            cells = row.cells
            utterances.append(
                Utterance(
                    name=name,
                    path=Path(places[row.where]),
                    emotion=cells["emotion"],
                    speaker=cells["speaker"],
                    gender=cells.get("gender", ""),
                    text=cells.get("text", ""),
                    start=float(cells.get("start") or 0),
                    end=float(cells["end"]) if cells.get("end") else None,
                )
            )
        return Listing(
            spec=self.spec,
            root=root,
            origin=self.origin,
            utterances=tuple(utterances),
            bad=tuple(bad),
            places={name: where for where, name in names.items()},
            findings=(*self._tags(rows), *_overlaps(self.spec, utterances)),
        )

    def _place(self, text: str) -> str:
        """The file of a row: as written, else with / for a backslash, else in Unicode form NFD."""
        forms = (text, unicodedata.normalize("NFD", text))
        spellings = (part for one in forms for part in (one, one.replace("\\", "/")))
        for spelling in dict.fromkeys(spellings):
            if spelling and posixpath.isfile(place := posixpath.join(self.folder, spelling)):
                return posixpath.normpath(place)
        written = str(self.folder / text)
        return written if "\0" in text else posixpath.normpath(written)

    def _tags(self, rows: list[Row]) -> Iterable[Finding]:
        tags = sorted({row.cells.get("language", "") for row in rows} - {""})
        if len({tag.replace("_", "-") for tag in tags}) > 1:
            yield Finding(
                kind="language",
                corpus=self.spec.code,
                sentence=f"{self.spec.title} ({self.spec.code}): the language is written "
                f"{' and '.join(tags)}; all are {self.spec.language}",
            )


def _root(places: Iterable[str], folder: Path) -> Path:
    """The manifest's folder, or the deepest folder that holds it all where it does not."""
    normal = posixpath.normpath(folder)
    inside = f"{normal}/".removeprefix("./") if normal != "/" else normal
    outer = [
        place
        for place in places
        if (not f"{place}/".startswith(inside) if inside else place.startswith("/"))
    ]
    if not outer:
        return folder
    folders = {posixpath.dirname(place) for place in outer} | {normal}
    return Path(posixpath.commonpath(map(posixpath.abspath, folders)))


def _name(row: Row, place: str, root: str) -> str:
    """The utterance's name: the path below the root, which is absolute, and the segment."""
    start, end = (row.cells.get(column, "") for column in ("start", "end"))
    absolute = place if "\0" in place else posixpath.abspath(place)
    inside = absolute.removeprefix(f"{root.rstrip('/')}/")
    if inside in ("", absolute):
        inside = "." if absolute == root else place
    name = unicodedata.normalize("NFC", inside)
    return f"{name}#t={start or 0},{end}".rstrip(",") if start or end else name


def _faults(row: Row, *, repeated: bool) -> list[str]:
    cells = row.cells
    if row.fault:
        return [row.fault]
    empty = [name for name in REQUIRED if not cells.get(name)]
    if empty:
        return [f"{', '.join(empty)} is empty"]
    for name in ("speaker", "language"):
        if cells[name].lower() in _NO_VALUE[name]:
            return [f"{name} '{cells[name]}' stands for a missing value; write the {name}"]
    faults = [
        f"{name} holds control characters"
        for name in _NO_CONTROLS
        if has_controls(cells.get(name, ""))
    ]
    if cells["emotion"] not in EMOTIONS:
        known = did_you_mean(cells["emotion"], EMOTIONS)
        faults.append(f"unknown emotion '{cells['emotion']}'{known}")
    if cells.get("gender", "") not in _GENDERS:
        faults.append(f"gender '{cells['gender']}': write female, male, other or nothing")
    if not _LANGUAGE.fullmatch(cells["language"]):
        faults.append(f"language '{cells['language']}' is no BCP 47 tag such as de or pt-BR")
    faults += _segment_faults(cells)
    if repeated:
        faults.append("the path stands in several rows")
    return faults


def _segment_faults(cells: Mapping[str, str]) -> list[str]:
    seconds = {}
    for name in ("start", "end"):
        text = cells.get(name, "")
        if not text:
            continue
        if not _SECONDS.fullmatch(text):
            return [f"{name} '{text}': write seconds, such as 1.25"]
        seconds[name] = float(text)
    start, end = seconds.get("start", 0.0), seconds.get("end")
    if end is not None and end <= start:
        return [f"the segment ends at {end:g} s and starts at {start:g} s"]
    if end is not None and end - start > LONGEST:
        return [f"the segment lasts {end - start:g} s; at most {LONGEST:g} s are read"]
    return []


def _overlaps(spec: CorpusSpec, utterances: list[Utterance]) -> Iterable[Finding]:
    """Segments of one file that share sound."""
    shared = [item.name for pair in overlaps(utterances) for item in pair]
    if shared:
        names = tuple(dict.fromkeys(shared))
        yield Finding(
            kind="overlap",
            corpus=spec.code,
            files=names,
            sentence=f"{spec.title} ({spec.code}): {len(names)} segments overlap with others of "
            f"the same file, such as {names[0]} and {names[1]}",
        )
