"""Corpora listed in a table, for recordings that lie in no layout of their own."""

from __future__ import annotations

import csv
import difflib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import get_args

from clser_bench.corpora.corpus import Listing, assemble, refuse_bad
from clser_bench.corpora.definitions import corpus_specs
from clser_bench.corpora.files import inside
from clser_bench.corpora.model import Corpus, Utterance
from clser_bench.errors import CorpusError, did_you_mean
from clser_bench.problem import SkippedFile
from clser_bench.progress import Progress
from clser_bench.protocol import EMOTIONS, CorpusSpec, Gender

REQUIRED = ("path", "speaker", "emotion", "language")
"""Columns that a manifest must have."""

OPTIONAL = ("gender", "text", "corpus")
"""Columns that it may have; any other is passed over."""

_GENDERS = get_args(Gender)
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*")


@dataclass(frozen=True)
class _Row:
    """A line of the table, and where it stands."""

    where: str
    cells: Mapping[str, str]

    @property
    def corpus(self) -> str:
        return self.cells.get("corpus") or self.cells["language"]


def read_manifest(
    path: Path,
    *,
    cache: Path,
    skip_bad: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> tuple[Corpus, ...]:
    """Read corpora from a CSV or Parquet table.

    Columns `path` (relative to the manifest's folder, and inside it), `speaker`, `emotion` (one
    of `EMOTIONS`), `language` (BCP 47), and optionally `gender`, `text` and `corpus`.

    Args:
        path: the table; `.parquet`, or anything else for CSV in UTF-8.
        cache: the cache folder.
        skip_bad: leave bad rows out and list them in `skipped`, instead of raising.
        workers: threads that decode; None takes the cores this process may use.
        progress: told of each file.

    Returns:
        One corpus for each value of `corpus`, else for each language, sorted by code.

    Raises:
        CorpusError: the table cannot be read or lacks a column, a row is wrong (all are named,
            with the row), a recording is broken, or a code is taken.
    """
    rows = _rows(path)
    groups: dict[str, list[_Row]] = defaultdict(list)
    for row in rows:
        groups[row.corpus].append(row)
    specs = _specs(path, groups)
    uses = Counter(row.cells["path"] for row in rows)
    corpora = []
    for name, spec in sorted(specs.items(), key=lambda item: item[1].code):
        read = [_read(row, path.parent, spec, uses) for row in groups[name]]
        listing = Listing(
            utterances=tuple(item for item in read if isinstance(item, Utterance)),
            bad=tuple(item for item in read if isinstance(item, SkippedFile)),
            places={row.cells["path"]: row.where for row in groups[name]},
        )
        corpora.append(
            assemble(spec, path.parent, listing, cache=cache, workers=workers, progress=progress)
        )
    refuse_bad(corpora, path, skip_bad=skip_bad)
    return tuple(corpora)


def _rows(path: Path) -> list[_Row]:
    try:
        table = _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path)
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (csv.Error, ValueError) as error:
        raise CorpusError(f"{path}: is not a table in CSV (UTF-8) or Parquet ({error})") from error
    columns, rows = table
    _check_columns(path, columns)
    if not rows:
        raise CorpusError(f"{path}: has no rows")
    return rows


def _csv(path: Path) -> tuple[list[str], list[_Row]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, restkey="", restval="", strict=True)
        columns = list(reader.fieldnames or [])
        rows = [_Row(f"line {reader.line_num}", _stripped(cells)) for cells in reader]
    return columns, rows


def _parquet(path: Path) -> tuple[list[str], list[_Row]]:
    from pyarrow import parquet  # noqa: PLC0415 - takes long to import and is seldom needed

    table = parquet.read_table(path)
    rows = enumerate(table.to_pylist(), 1)
    return table.column_names, [_Row(f"row {number}", _stripped(cells)) for number, cells in rows]


def _stripped(cells: Mapping[str, object]) -> dict[str, str]:
    wanted = (*REQUIRED, *OPTIONAL)
    texts = {name: cells.get(name) for name in wanted}
    return {name: "" if text is None else str(text).strip() for name, text in texts.items()}


def _check_columns(path: Path, columns: Iterable[str]) -> None:
    found = list(columns)
    missing = [name for name in REQUIRED if name not in found]
    if missing:
        raise CorpusError(
            f"{path}: column {', '.join(missing)} is missing; it has {', '.join(found) or 'none'}, "
            f"it needs {', '.join(REQUIRED)} and may have {', '.join(OPTIONAL)}"
        )
    for name in found:
        near = difflib.get_close_matches(name, OPTIONAL, n=1, cutoff=0.75)
        if near and name != near[0] and near[0] not in found:
            raise CorpusError(f"{path}: column '{name}' is unknown; did you mean '{near[0]}'?")


def _specs(path: Path, groups: Mapping[str, list[_Row]]) -> dict[str, CorpusSpec]:
    specs: dict[str, CorpusSpec] = {}
    shipped = corpus_specs()
    for name, rows in groups.items():
        code = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-_")[:16]
        taken = [other for other, spec in specs.items() if spec.code == code]
        languages = sorted({row.cells["language"] for row in rows} - {""}) or ["und"]
        if not code:
            raise CorpusError(f"{path}: {rows[0].where}: '{name}' gives no name for a corpus")
        if code in shipped or taken:
            owner = shipped[code].title if code in shipped else f"'{taken[0]}'"
            raise CorpusError(f"{path}: corpus '{name}' would get the code {code} of {owner}")
        if len(languages) > 1:
            raise CorpusError(
                f"{path}: corpus '{name}' has the languages {', '.join(languages)}; "
                "give each its own name in the column corpus"
            )
        specs[name] = CorpusSpec(
            code=code,
            name=code.lower(),
            title=name,
            language=languages[0],
            licence="not stated",
            citation=f"listed in {path.name}",
            labels={row.cells["emotion"]: row.cells["emotion"] for row in rows if _known(row)},
        )
    return specs


def _known(row: _Row) -> bool:
    return row.cells["emotion"] in EMOTIONS


def _read(row: _Row, folder: Path, spec: CorpusSpec, uses: Counter[str]) -> Utterance | SkippedFile:
    name = row.cells["path"]
    faults = _faults(row, folder, uses)
    if faults:
        return SkippedFile(corpus=spec.code, name=name, reason=f"{row.where}: {'; '.join(faults)}")
    return Utterance(
        name=PurePosixPath(name).as_posix(),
        path=folder / name,
        emotion=row.cells["emotion"],
        speaker=row.cells["speaker"],
        gender=row.cells["gender"],
        text=row.cells["text"],
    )


def _faults(row: _Row, folder: Path, uses: Counter[str]) -> list[str]:
    cells = row.cells
    empty = [name for name in REQUIRED if not cells[name]]
    if empty:
        return [f"{', '.join(empty)} is empty"]
    faults = []
    if not _known(row):
        known = did_you_mean(cells["emotion"], EMOTIONS)
        faults.append(f"unknown emotion '{cells['emotion']}'{known}")
    if cells["gender"] not in _GENDERS:
        faults.append(f"gender '{cells['gender']}': write female, male, other or nothing")
    if not _LANGUAGE.fullmatch(cells["language"]):
        faults.append(f"language '{cells['language']}' is no BCP 47 tag such as de or pt-BR")
    if not inside(folder / cells["path"], folder):
        faults.append("the path leaves the manifest's folder")
    if uses[cells["path"]] > 1:
        faults.append("the path stands in several rows")
    return faults
