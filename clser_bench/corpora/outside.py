"""Data sets in the formats of other systems, to the rows of a manifest.

- audformat (audb): a folder with `db.yaml` and tables in CSV or Parquet.
- Hugging Face datasets: a folder of `save_to_disk`, or Parquet with sound in it.
- EmoBox: JSON lines. They name no speakers: the data set must be one that is defined here, whose
  file names do.
- Nkululeko: CSV with the columns file, emotion, speaker.

A file `NAME.toml` beside the data (`speech.csv.toml`, `my-dataset.toml`) adds what they do not say
(`Supplement`). Nothing of the other systems is imported. A data set with the name of a defined
corpus is that corpus, with its code. Labels are English; those that mean none of `EMOTIONS` are
left out.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from clser_bench.corpora.definitions import CorpusSpec, definitions
from clser_bench.corpora.rows import (
    MOST_BYTES,
    MOST_ROWS,
    Row,
    Table,
    header,
    is_parquet,
    parquet_with_sound,
    read_rows,
    saved_splits,
    text_of,
)
from clser_bench.errors import CorpusError
from clser_bench.files import is_file, read_toml, regular_size, validated
from clser_bench.protocol import EMOTIONS

# columns of a manifest, and their names in other systems
_COLUMNS = {
    "path": ("path", "file", "audio", "wav", "file_name", "filename"),
    "emotion": ("emotion", "emo", "label", "labels", "emotion_label", "category"),
    "speaker": ("speaker", "speaker_id", "spk", "actor", "actor_id"),
    "language": ("language", "lang", "locale"),
    "gender": ("gender", "sex"),
    "text": ("text", "transcription", "transcript", "sentence"),
    "start": ("start",),
    "end": ("end",),
}

_SYNONYMS = {
    "anger": "angry ang",
    "boredom": "bored",
    "disgust": "disgusted dis",
    "fear": "fearful fea scared afraid",
    "happiness": "happy hap joy joyful",
    "neutral": "neutrality neu",
    "sadness": "sad",
    "surprise": "surprised sur",
}
_EMOTIONS = {
    word: emotion for emotion, words in _SYNONYMS.items() for word in (emotion, *words.split())
}
_GENDERS = {"f": "female", "female": "female", "m": "male", "male": "male", "other": "other"}
_NAMES = (
    "am:amharic ar:arabic bn:bengali,bangla zh:chinese,mandarin nl:dutch en:english et:estonian "
    "fi:finnish fr:french de:german el:greek hi:hindi hu:hungarian id:indonesian it:italian "
    "ja:japanese kk:kazakh ko:korean fa:persian,farsi pl:polish pt:portuguese ru:russian "
    "es:spanish sv:swedish ta:tamil te:telugu th:thai tr:turkish ur:urdu vi:vietnamese"
)
_LANGUAGES = {name: entry[:2] for entry in _NAMES.split() for name in entry[3:].split(",")}


@dataclass(frozen=True, kw_only=True)
class Data:
    """Rows of a manifest, whatever format they come from."""

    rows: Sequence[Row]  # with the columns of a manifest
    folder: Path  # what relative paths are relative to
    # how many rows have a label without a counterpart, by reason
    left_out: Mapping[str, int] = field(default_factory=dict)
    spec: CorpusSpec | None = None  # the defined corpus that this is; None for another


class Supplement(BaseModel):
    """What a file `NAME.toml` beside a data set may say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = ""  # of the corpus; that of a definition makes it that corpus
    language: str = ""  # BCP 47 tag, where no column gives it
    speaker: str = ""  # of all rows, where no column gives it
    # column of a manifest (`path`, `speaker`, `emotion`, `language`, `gender`, `text`,
    # `start`, `end`) to that of the data set
    columns: dict[str, str] = Field(default_factory=dict)
    # the data set's label to one of `EMOTIONS`
    labels: dict[str, str] = Field(default_factory=dict)
    tables: tuple[str, ...] = ()  # the tables of an audformat database that hold the emotion


def recognised(folder: Path) -> bool:
    """Whether a folder is a data set of audformat, or of `datasets` on disk."""
    return any((folder / name).is_file() for name in ("db.yaml", "state.json", "dataset_dict.json"))


def read(path: Path) -> Data | None:
    """Read the list of a data set of another system; None for a table that is none.

    CorpusError where it is damaged or lacks what a corpus needs; says what, and how to add it.
    """
    more = _supplement(path)
    if path.suffix.lower() == ".jsonl":
        return _emobox(path, more)
    if (path / "db.yaml").is_file():
        return _audformat(path, more)
    tables: Sequence[Table] | None = None
    if path.is_dir():
        tables = saved_splits(path)
        if tables is None:
            raise CorpusError(
                f"{path}: is a folder, and neither an audformat database (db.yaml) nor a data set "
                "of `save_to_disk`"
            )
    elif is_parquet(path) and (table := parquet_with_sound(path)):
        tables = [table]
    if tables is not None:
        rows = []
        for columns, found in tables:
            names = _names(path, columns, more)
            for row in found:
                cells = {new: row.cells.get(name, "") for name, new in names.items()}
                rows.append(Row(row.where, cells))
        return _data(path, rows, more, folder=path if path.is_dir() else path.parent)
    columns = header(path) if not is_parquet(path) else ()
    if "path" in columns or not ("file" in columns or more.columns):
        return None
    return _data(path, read_rows(path, _names(path, columns, more)), more, folder=path.parent)


def _supplement(path: Path) -> Supplement:
    file = path.with_name(f"{path.name}.toml")
    if not file.is_file():
        return Supplement()
    values = read_toml(file, error=CorpusError)
    more = validated(Supplement, values, file, error=CorpusError)
    unknown = [name for name in more.columns if name not in _COLUMNS]
    wrong = [label for label in more.labels.values() if label not in EMOTIONS]
    if unknown or wrong:
        kind = "column of a manifest" if unknown else "emotion"
        raise CorpusError(f"{file}: '{(unknown or wrong)[0]}' is no {kind}")
    return more


def _usual(name: str, more: Supplement) -> tuple[str, ...]:
    """What a column of a manifest may be called in a data set."""
    return (more.columns[name],) if name in more.columns else _COLUMNS[name]


def _names(path: Path, columns: Sequence[str], more: Supplement) -> dict[str, str]:
    """Column of a data set to that of a manifest."""
    names = {}
    for name in _COLUMNS:
        present = [column for column in _usual(name, more) if column in columns]
        if present:
            names[present[0]] = name
        elif name in more.columns:
            raise CorpusError(f"{path}: has no column '{more.columns[name]}'")
    return names


def _data(
    path: Path,
    rows: Iterable[Row],
    more: Supplement,
    *,
    folder: Path,
    name: str = "",
    language: str = "",
) -> Data:
    """Check that nothing is missing, and write labels, genders and languages as a manifest does."""
    name = more.name or name
    spec = _defined(name)
    language = more.language or language or (spec.language if spec else "")
    labels = {**_EMOTIONS, **{label.lower(): emotion for label, emotion in more.labels.items()}}
    kept: list[Row] = []
    left_out: Counter[str] = Counter()
    for row in rows:
        cells = dict(row.cells)
        label, tongue = cells.get("emotion", ""), cells.get("language", "") or language
        emotion = labels.get(label.lower())
        if emotion is None:
            reason = f"'{label}' is no emotion of the benchmark" if label else "without an emotion"
            left_out[reason] += 1
            continue
        cells |= {
            "emotion": emotion,
            "speaker": cells.get("speaker", "") or more.speaker,
            "language": _LANGUAGES.get(tongue.lower(), tongue),
            "gender": _GENDERS.get(cells.get("gender", "").lower(), ""),
            "start": _seconds(cells.get("start", "")),
            "end": _seconds(cells.get("end", "")),
            **({"corpus": name} if name else {}),
        }
        kept.append(Row(row.where, cells))
    for column in ("path", "speaker", "language"):
        if kept and not any(row.cells.get(column) for row in kept):
            whole = f'{column} = "…" or ' if column != "path" else ""
            raise CorpusError(
                f"{path}: no column gives the {column}; write {path.name}.toml beside it with "
                f'{whole}columns.{column} = "…"'
            )
    return Data(rows=kept, folder=folder, left_out=left_out, spec=spec)


def _defined(name: str) -> CorpusSpec | None:
    """The corpus that is defined under a name, whatever its case and punctuation."""
    wanted = _plain(name)
    for spec in definitions().corpora.values():
        if wanted and wanted in map(_plain, (spec.name, *spec.folders)):
            return spec
    return None


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name.lower())


def _seconds(text: str) -> str:
    """Seconds, of a number or of a duration such as `0 days 00:00:01.5`; empty where missing."""
    match = re.fullmatch(r"(?:(\d+) days? )?(\d+):(\d+):(\d+(?:\.\d+)?)", text)
    if match:
        days, hours, minutes, seconds = match.groups(default="0")
        total = 60 * (60 * (24 * int(days) + int(hours)) + int(minutes)) + float(seconds)
        return f"{total:.9f}".rstrip("0").rstrip(".")
    return "" if text in ("NaT", "nan", "None") else text


def _emobox(path: Path, more: Supplement) -> Data:
    """Read EmoBox's JSON lines: `dataset`, `wav`, `emo` and, for some, `start_time`, `end_time`."""
    entries = dict(_json_lines(path))
    datasets = dict.fromkeys(text_of(entry.get("dataset")) for entry in entries.values())
    if len(datasets) > 1:
        raise CorpusError(f"{path}: lists several data sets ({', '.join(datasets)}); part them")
    name = more.name or next(iter(datasets), "")
    spec = _defined(name)
    if not more.speaker and (spec is None or not spec.pattern):
        raise CorpusError(
            f"{path}: EmoBox names no speakers, and '{name}' is no corpus whose file names do; "
            "write a manifest with the column speaker, or a definition (docs/corpora.md)"
        )
    rows = []
    own = {"path": "wav", "emotion": "emo", "start": "start_time", "end": "end_time"}
    for number, entry in entries.items():
        cells = {new: text_of(entry.get(key)) for new, key in own.items()}
        if not more.speaker and spec is not None:
            cells |= _of_name(cells, spec)
        rows.append(Row(f"line {number}", cells))
    # Paths are relative to EmoBox's own folder, above its folder `data`.
    first = rows[0].cells["path"] if rows else ""
    folder = next((place for place in path.parents if is_file(place / first)), path.parent)
    return _data(path, rows, more, folder=folder, name=name)


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    regular_size(path, error=CorpusError, most=MOST_BYTES)
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if number > MOST_ROWS:
                    raise CorpusError(f"{path}: has more than {MOST_ROWS} lines")
                entry = json.loads(line) if line.strip() else None
                if isinstance(entry, dict):
                    yield number, entry
                elif entry is not None:
                    raise CorpusError(f"{path}: line {number} is no JSON object")
    except (OSError, ValueError, RecursionError) as error:
        raise CorpusError(f"{path}: is not in JSON lines ({error})") from error


def _of_name(cells: Mapping[str, str], spec: CorpusSpec) -> dict[str, str]:
    """Speaker, gender and emotion by the file name; nothing (a bad row) where it does not fit."""
    parts = re.sub(r"\.\w+$", "", cells["path"]).split("/")
    for length in range(1, len(parts) + 1):
        match = re.fullmatch(spec.pattern, "/".join(parts[-length:]))
        if match:
            speaker = match["speaker"]
            letter = match.groupdict(default="").get("gender", "")[:1].lower()
            emotion = spec.labels.get(match["emotion"], cells["emotion"])
            gender = spec.genders.get(speaker) or letter
            return {"speaker": speaker, "gender": gender, "emotion": emotion}
    return {}


def _audformat(folder: Path, more: Supplement) -> Data:
    """Read an audformat database (version 1 of the format), the folder of `db.yaml`.

    The rows of all tables that hold the emotion, with the facts of the others.
    """
    import yaml  # noqa: PLC0415 (seldom needed)

    file = folder / "db.yaml"
    regular_size(file, error=CorpusError, most=1 << 24)
    try:
        head = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise CorpusError(f"{file}: is not what audformat writes ({error})") from error
    if not isinstance(head, dict) or not isinstance(head.get("tables"), dict):
        raise CorpusError(f"{file}: is not what audformat writes (it has no tables)")
    chosen = {table: head["tables"][table] for table in head["tables"] if table in more.tables}
    emotions = _gathered(folder, chosen if more.tables else head["tables"], "emotion", more)
    if not emotions:
        raise CorpusError(
            f"{folder}: no table has a column 'emotion'; name it in {folder.name}.toml: "
            "columns.emotion"
        )
    facts = {
        name: _gathered(folder, head["tables"], name, more)
        for name in ("speaker", "gender", "language", "text")
    }
    genders = _genders(folder, head)
    rows = []
    for number, ((path, start, end), label) in enumerate(emotions.items(), 1):
        known = {
            name: values.get((path, start, end)) or values.get((path, "", ""), "")
            for name, values in facts.items()
        }
        known["gender"] = known["gender"] or genders.get(known["speaker"], "")
        place = {"path": path, "start": start, "end": end, "emotion": label}
        rows.append(Row(f"entry {number}", {**place, **known}))
    languages = head.get("languages") or []
    language = str(languages[0]) if len(languages) == 1 else ""
    name = str(head.get("name") or "")
    return _data(folder, rows, more, folder=folder, name=name, language=language)


def _gathered(
    folder: Path, tables: Mapping[str, Any], name: str, more: Supplement
) -> dict[tuple[str, str, str], str]:
    """Values of a manifest's column by file, start and end, from every table that has it."""
    values: dict[tuple[str, str, str], str] = {}
    origin: dict[tuple[str, str, str], str] = {}
    for table, about in tables.items():
        schemes = {
            str(column): kind.get("scheme_id") if isinstance(kind, dict) else None
            for column, kind in (about.get("columns") or {}).items()
        }
        columns = [c for c, scheme in schemes.items() if c in _usual(name, more) or scheme == name]
        if not columns:
            continue
        paths = [folder / f"db.{table}{suffix}" for suffix in (".parquet", ".csv")]
        path = next(filter(is_file, paths), None)
        if path is None:
            raise CorpusError(
                f"{paths[1]}: is not there, nor as .parquet (pickled tables are not read); save "
                "the database with storage_format='csv'"
            )
        wanted = {"file": "file", "start": "start", "end": "end", columns[0]: "value"}
        for row in read_rows(path, wanted):
            start, end = (_seconds(row.cells.get(edge, "")) for edge in ("start", "end"))
            key = (row.cells.get("file", ""), "" if start == "0" and not end else start, end)
            value = row.cells.get("value", "")
            if value and values.setdefault(key, value) != value:
                raise CorpusError(
                    f"{folder}: {key[0]} has the {name} '{values[key]}' in table '{origin[key]}' "
                    f"and '{value}' in '{table}'; name the tables that count in "
                    f"{folder.name}.toml: tables"
                )
            origin.setdefault(key, table)
    return values


def _genders(folder: Path, head: Mapping[str, Any]) -> dict[str, str]:
    """Gender by speaker, where the scheme of speakers has it."""
    labels = ((head.get("schemes") or {}).get("speaker") or {}).get("labels")
    if isinstance(labels, dict):
        return {
            text_of(speaker): text_of(about.get("gender") or about.get("sex"))
            for speaker, about in labels.items()
            if isinstance(about, dict)
        }
    path = folder / f"db.{labels}.csv"
    if isinstance(labels, str) and is_file(path):
        rows = read_rows(path, {"speaker": "speaker", "gender": "gender", "sex": "gender"})
        return {row.cells.get("speaker", ""): row.cells.get("gender", "") for row in rows}
    return {}
