"""Corpora before anything is decoded: by the layout of a folder, by their table, by a manifest."""

from __future__ import annotations

import os
import posixpath  # pathlib is several times as slow, and a table may have half a million rows
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import get_args

from clser_bench.corpora import outside
from clser_bench.corpora.audio import LONGEST, VIDEO
from clser_bench.corpora.definitions import CorpusSpec, definitions
from clser_bench.corpora.model import Listing, Utterance, finding, overlaps
from clser_bench.corpora.rows import Row, check_columns, header, read_rows
from clser_bench.errors import CorpusError, did_you_mean, has_controls
from clser_bench.files import is_file, require_folder
from clser_bench.problem import Finding, SkippedFile
from clser_bench.protocol import EMOTIONS, Gender, canonical_language

REQUIRED = ("path", "speaker", "emotion", "language")  # columns that a manifest must have
OPTIONAL = ("gender", "text", "corpus", "start", "end")  # that it may have; others are passed over
# extensions of recordings that a layout does not read; a manifest may name such a file
_UNREAD = (
    *(".mp3", ".m4a", ".mp4a", ".aac", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".aifc", ".au"),
    *(".wma", ".sph", ".webm", ".amr", ".3gp"),
)
_KINDS = {".wav": "audio", ".flac": "audio"} | dict.fromkeys(VIDEO, "video")
_KINDS |= dict.fromkeys(_UNREAD, "unread")
_LETTERS = {"f": "female", "m": "male", "w": "female"}
_SECONDS = re.compile(r"[0-9]{1,9}([.][0-9]{1,30})?(e-[0-9]{1,3})?")  # also as Python writes floats
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8})*")
# texts, in lower case, that pandas and others write, or ISO 639 has, where nothing is known
_NO_VALUE = {
    "speaker": ("nan", "none", "null", "<na>", "nat"),
    "language": ("und", "mul", "mis", "zxx"),
}
# an utterance, a bad file, or the reason why a file is left out on purpose
_Read = Utterance | SkippedFile | str


@dataclass(frozen=True, kw_only=True)
class MediaFile:
    """A recording on disk."""

    name: str  # POSIX path relative to the folder walked
    stem: str  # the same without its extension
    path: Path  # the file
    kind: str  # `audio`, `video`, or `unread` for a format that a layout does not read
    linked: bool  # whether it is, or lies behind, a symbolic link


def media_files(root: Path, *, skip_unreadable: bool = False) -> Iterator[MediaFile]:
    """Walk a folder for recordings, sorted within each folder; CorpusError if it cannot be read.

    Links to folders are followed, but not back into a folder that contains them. Hidden files
    and folders (a leading dot, and `__MACOSX`) are no recordings and are passed over.
    """
    table = "; for a table of recordings use --manifest" if is_file(root) else ""
    require_folder(root, error=CorpusError, about=table)
    above: frozenset[tuple[int, int]] = frozenset()
    pending = [(root, "", False, above)]
    while pending:
        folder, prefix, linked, above = pending.pop()
        status = folder.stat()
        place = (status.st_dev, status.st_ino)
        if place in above:
            continue
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            if skip_unreadable:
                continue
            raise CorpusError(f"{folder}: cannot be read ({error.strerror})") from error
        for entry in entries:
            if entry.name.startswith(".") or entry.name == "__MACOSX":
                continue
            behind, name = linked or entry.is_symlink(), prefix + entry.name
            suffix = PurePosixPath(entry.name).suffix
            if _is_folder(entry):
                pending.append((Path(entry.path), f"{name}/", behind, above | {place}))
            elif kind := _KINDS.get(suffix.lower()):
                stem = name.removesuffix(suffix)
                path = Path(entry.path)
                yield MediaFile(name=name, stem=stem, path=path, kind=kind, linked=behind)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links in a circle: reading the file gives the reason
        return False


def list_corpus(spec: CorpusSpec, root: Path) -> Listing:
    """List a corpus by its file names, or by the table it comes with; nothing is decoded.

    CorpusError where folder or table cannot be read.
    """
    if spec.table:
        return _list_table(spec, root)
    files = list(media_files(root))
    pattern = re.compile(spec.pattern)
    ignored = [(re.compile(expression), why) for expression, why in spec.ignored.items()]
    stems = Counter(file.stem for file in files if file.kind == "audio")
    read: list[_Read] = []
    unread = []
    for file in files:
        reason = next((why for shape, why in ignored if shape.fullmatch(file.name)), "")
        match = pattern.fullmatch(file.stem)
        fault = ""
        if file.kind == "unread":
            unread += [] if reason else [file]
            continue
        if not reason and file.kind == "video" and (stems[file.stem] or match is None):
            reason = "video, not sound"
        if has_controls(file.name):
            fault = "has control characters in its name; rename it"
        elif file.linked and not _inside(file.path, root):
            fault = "is a link that leaves the corpus folder"
        elif match is None:
            fault = (
                f"does not lie as {spec.title} does ({spec.pattern}); move it away, or "
                "name it under [ignored] in a definition of your own"
            )
        elif stems[file.stem] > 1:
            fault = "is there twice, with different extensions"
        if reason:
            read.append(reason)
        elif fault or match is None:
            read.append(SkippedFile(corpus=spec.code, name=file.name, reason=fault))
        else:
            read.append(_utterance(spec, file.name, file.path, match.groupdict(default="")))
    findings = unread_findings(spec.heading, spec.code, unread, files)
    return _listing(spec, root, root, read, findings=findings)


def unread_findings(
    where: str, corpus: str, unread: list[MediaFile], files: list[MediaFile]
) -> Iterator[Finding]:
    """Name recordings of formats that are not read, but those that are there as WAV or FLAC too.

    `where` is the corpus or the folder, for the sentence; `files` are all of the place.
    """
    read = {PurePosixPath(file.stem).name for file in files if file.kind != "unread"}
    groups: dict[str, list[str]] = defaultdict(list)
    for file in unread:
        if PurePosixPath(file.stem).name not in read:
            groups[PurePosixPath(file.name).suffix.lower()].append(file.name)
    for suffix, names in sorted(groups.items()):
        sentence = (
            f"{where}: {len(names)} {suffix} file(s), such as {names[0]}, are of a format that is "
            "not read; convert them to WAV or FLAC, or list them in a manifest"
        )
        yield Finding(kind="stray", corpus=corpus, files=tuple(names), sentence=sentence)


def _utterance(spec: CorpusSpec, name: str, path: Path, facts: Mapping[str, str]) -> _Read:
    """What the name or the row of a recording says."""
    label, speaker, again = facts["emotion"], facts["speaker"], facts.get("emotion_again", "")
    if label in spec.excluded:
        return f"'{label}': {spec.excluded[label]}"
    emotion, fault = spec.labels.get(label, ""), ""
    if not emotion:
        known = did_you_mean(label, {**spec.labels, **spec.excluded})
        fault = f"has the unknown label '{label}'{known}"
    elif again and spec.labels.get(again) != emotion:
        other = spec.labels.get(again, "unknown")
        fault = f"is labelled twice: '{label}' is {emotion}, '{again}' is {other}"
    if fault:
        return SkippedFile(corpus=spec.code, name=name, reason=fault)
    gender = spec.genders.get(speaker) or _LETTERS.get(facts.get("gender", "")[:1].lower(), "")
    text = facts.get("text", "")
    return Utterance(
        name=name, path=path, emotion=emotion, speaker=speaker, gender=gender, text=text
    )


def _list_table(spec: CorpusSpec, root: Path) -> Listing:
    """List a corpus by the CSV table that it comes with."""
    place = root / spec.table
    check_columns(place, header(place), required=tuple(spec.columns.values()), optional=())
    read: list[_Read] = []
    places: dict[str, str] = {}
    for row in read_rows(place, {own: name for name, own in spec.columns.items()}):
        name = os.path.normpath(spec.recordings.format(path=row.cells["path"]))
        item = _utterance(spec, name, root / name, row.cells)
        if isinstance(item, Utterance) and name in places:
            reason = f"the path stands in {places[name]} too"
            item = SkippedFile(corpus=spec.code, name=name, reason=reason)
        elif isinstance(item, Utterance):
            places[name] = row.where
        if isinstance(item, SkippedFile):
            item = replace(item, reason=f"{row.where}: {item.reason}")
        read.append(item)
    return _listing(spec, root, place, read, places=places)


def _listing(
    spec: CorpusSpec,
    root: Path,
    origin: Path,
    read: Sequence[_Read],
    *,
    places: Mapping[str, str] | None = None,
    findings: Iterable[Finding] = (),
) -> Listing:
    return Listing(
        spec=spec,
        root=root,
        origin=origin,
        utterances=tuple(item for item in read if isinstance(item, Utterance)),
        bad=tuple(item for item in read if isinstance(item, SkippedFile)),
        left_out=tuple(sorted(Counter(item for item in read if isinstance(item, str)).items())),
        places=places or {},
        findings=tuple(findings),
    )


def _inside(path: Path, folder: Path) -> bool:
    """Whether a path, which need not exist, lies in a folder; links are followed."""
    try:
        place = os.path.realpath(path)
    except ValueError:  # a NUL character: no path at all
        return False
    return Path(place).is_relative_to(os.path.realpath(folder))


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
        listing = _list_rows(spec, path, data.folder, rows)
        listings.append(replace(listing, left_out=tuple(sorted(data.left_out.items()))))
    return tuple(sorted(listings, key=lambda listing: listing.spec.code))


def _tags(rows: list[Row]) -> list[str]:
    return sorted({row.cells.get("language", "") for row in rows} - {""})


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
    languages = sorted(set(map(canonical_language, _tags(rows)))) or ["und"]
    if len(languages) > 1:
        raise CorpusError(
            f"{path}: corpus '{name}' has the languages {', '.join(languages)}; "
            "give each its own name in the column corpus"
        )
    emotions = sorted({row.cells.get("emotion", "") for row in rows} & set(EMOTIONS))
    return CorpusSpec(
        code=code,
        name=code.lower(),
        title=name,
        language=languages[0],
        licence="not stated",
        citation=f"listed in {path.name}",
        labels={emotion: emotion for emotion in emotions},
    )


def _list_rows(spec: CorpusSpec, origin: Path, folder: Path, rows: list[Row]) -> Listing:
    """List the rows of one corpus of a manifest, with paths relative to a folder."""
    files = {row.where: _file(row.cells.get("path", ""), folder) for row in rows}
    root = _root(files.values(), folder)
    base = posixpath.abspath(root)
    names = {row.where: _name(row, files[row.where], base) for row in rows}
    uses = Counter(names.values())
    read: list[_Read] = []
    for row in rows:
        name, cells = names[row.where], row.cells
        if faults := _faults(row, repeated=uses[name] > 1):
            reason = f"{row.where}: {'; '.join(faults)}"
            read.append(SkippedFile(corpus=spec.code, name=name, reason=reason))
            continue
        read.append(
            Utterance(
                name=name,
                path=Path(files[row.where]),
                emotion=cells["emotion"],
                speaker=cells["speaker"],
                gender=cells.get("gender", ""),
                text=cells.get("text", ""),
                start=float(cells.get("start") or 0),
                end=float(cells["end"]) if cells.get("end") else None,
            )
        )
    findings, tags = [], _tags(rows)
    if len({tag.replace("_", "-") for tag in tags}) > 1:
        what = f": the language is written {' and '.join(tags)}; all are {spec.language}"
        findings.append(finding("language", spec, what))
    pairs = overlaps(item for item in read if isinstance(item, Utterance))
    if shared := list(dict.fromkeys(item.name for pair in pairs for item in pair)):
        what = (
            f": {len(shared)} segments overlap with others of the same file, such as {shared[0]} "
            f"and {shared[1]}"
        )
        findings.append(finding("overlap", spec, what, shared))
    places = {name: where for where, name in names.items()}
    return _listing(spec, root, origin, read, places=places, findings=findings)


def _file(text: str, folder: Path) -> str:
    """The file of a row: as written, else with / for a backslash, else in Unicode form NFD."""
    forms = (text, unicodedata.normalize("NFD", text))
    spellings = (part for one in forms for part in (one, one.replace("\\", "/")))
    for spelling in dict.fromkeys(spellings):
        if spelling and posixpath.isfile(place := posixpath.join(folder, spelling)):
            return posixpath.normpath(place)
    written = str(folder / text)
    return written if "\0" in text else posixpath.normpath(written)


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
    texts = {name: cells.get(name, "") for name in (*REQUIRED, "corpus")}
    faults = [f"{name} holds control characters" for name in texts if has_controls(texts[name])]
    if cells["emotion"] not in EMOTIONS:
        known = did_you_mean(cells["emotion"], EMOTIONS)
        faults.append(f"unknown emotion '{cells['emotion']}'{known}")
    if cells.get("gender", "") not in get_args(Gender):
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
