"""Folders of recordings: walking them, and reading a corpus off its file names."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from clser_bench.corpora.audio import VIDEO
from clser_bench.corpora.definitions import CorpusSpec
from clser_bench.corpora.model import Listing, Utterance
from clser_bench.corpora.rows import check_columns, header, read_rows
from clser_bench.errors import CorpusError, SpecError, did_you_mean, has_controls
from clser_bench.files import is_file, require_folder
from clser_bench.problem import Finding, SkippedFile

AUDIO = (".wav", ".flac")
"""Extensions of files that are utterances, in any case of letters."""

UNREAD = (
    *(".mp3", ".m4a", ".mp4a", ".aac", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".aifc", ".au"),
    *(".wma", ".sph", ".webm", ".amr", ".3gp"),
)
"""Extensions of recordings that a layout does not read; a manifest may name such a file."""


@dataclass(frozen=True, kw_only=True)
class MediaFile:
    """A recording on disk."""

    name: str  # POSIX path relative to the folder walked
    stem: str  # the same without its extension
    path: Path  # the file
    # `audio`, `video`, or `unread` for a format that a layout does not read
    kind: Literal["audio", "video", "unread"]
    linked: bool  # whether it is, or lies behind, a symbolic link


def media_files(root: Path, *, skip_unreadable: bool = False) -> Iterator[MediaFile]:
    """Walk a folder for recordings, sorted within each folder; CorpusError if it cannot be read.

    Links to folders are followed, but not back into a folder that contains them. Hidden files
    and folders (a leading dot, and `__MACOSX`) are no recordings and are passed over.
    """
    table = "; for a table of recordings use --manifest" if is_file(root) else ""
    require_folder(root, error=CorpusError, about=table)
    pending: list[tuple[Path, str, bool, frozenset[tuple[int, int]]]] = [
        (root, "", False, frozenset())
    ]
    while pending:
        folder, prefix, linked, above = pending.pop()
        status = folder.stat()
        place = (status.st_dev, status.st_ino)
        if place in above:
            continue
        for entry in _entries(folder, skip_unreadable=skip_unreadable):
            behind = linked or entry.is_symlink()
            if _is_folder(entry):
                below = f"{prefix}{entry.name}/"
                pending.append((Path(entry.path), below, behind, above | {place}))
                continue
            suffix = PurePosixPath(entry.name).suffix
            kind = _KINDS.get(suffix.lower())
            if kind:
                name = prefix + entry.name
                yield MediaFile(
                    name=name,
                    stem=name.removesuffix(suffix),
                    path=Path(entry.path),
                    kind=kind,
                    linked=behind,
                )


_KINDS: Mapping[str, Literal["audio", "video", "unread"]] = {
    **dict.fromkeys(AUDIO, "audio"),
    **dict.fromkeys(VIDEO, "video"),
    **dict.fromkeys(UNREAD, "unread"),
}


def list_corpus(spec: CorpusSpec, root: Path) -> Listing:
    """List a corpus by its file names, or by the table it comes with; nothing is decoded.

    CorpusError where folder or table cannot be read, SpecError where there is no pattern either.
    """
    if spec.table:
        return _list_table(spec, root)
    if not spec.pattern:
        raise SpecError(f"{spec.name}: the definition has no pattern, so no file name can be read")
    files = list(media_files(root))
    reader = _Reader(
        spec,
        re.compile(spec.pattern),
        tuple((re.compile(expression), why) for expression, why in spec.ignored.items()),
        root,
        Counter(file.stem for file in files if file.kind == "audio"),
    )
    read = [reader.read(file) for file in files if file.kind != "unread"]
    unread = [file for file in files if file.kind == "unread" and not reader.ignores(file)]
    findings = unread_findings(f"{spec.title} ({spec.code})", spec.code, unread, files)
    return _listing(spec, root, root, read, places={}, findings=findings)


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
        yield Finding(
            kind="stray",
            corpus=corpus,
            files=tuple(names),
            sentence=f"{where}: {len(names)} {suffix} file(s), such as {names[0]}, are of a "
            "format that is not read; convert them to WAV or FLAC, or list them in a manifest",
        )


@dataclass(frozen=True)
class _Reader:
    """Reads one file name of a corpus."""

    spec: CorpusSpec
    pattern: re.Pattern[str]
    ignored: tuple[tuple[re.Pattern[str], str], ...]
    root: Path
    stems: Counter[str]

    def ignores(self, file: MediaFile) -> str:
        """Why the definition leaves a file out; empty where it does not."""
        return next((why for shape, why in self.ignored if shape.fullmatch(file.name)), "")

    def read(self, file: MediaFile) -> Utterance | SkippedFile | str:
        """An utterance, a bad file, or the reason why the file is left out on purpose."""
        if why := self.ignores(file):
            return why
        match = self.pattern.fullmatch(file.stem)
        if file.kind == "video" and (self.stems[file.stem] or match is None):
            return "video, not sound"
        fault = ""
        if has_controls(file.name):
            fault = "has control characters in its name; rename it"
        elif file.linked and not inside(file.path, self.root):
            fault = "is a link that leaves the corpus folder"
        elif match is None:
            fault = (
                f"does not lie as {self.spec.title} does ({self.spec.pattern}); move it away, or "
                "name it under [ignored] in a definition of your own"
            )
        elif self.stems[file.stem] > 1:
            fault = "is there twice, with different extensions"
        if fault or match is None:
            return SkippedFile(corpus=self.spec.code, name=file.name, reason=fault)
        return _utterance(self.spec, file.name, file.path, match.groupdict(default=""))


_GENDERS = {"f": "female", "m": "male", "w": "female"}


def _utterance(
    spec: CorpusSpec, name: str, path: Path, facts: Mapping[str, str]
) -> Utterance | SkippedFile | str:
    """An utterance by what its name or its row says; else as `_Reader.read`."""
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
    letter = facts.get("gender", "")[:1].lower()
    return Utterance(
        name=name,
        path=path,
        emotion=emotion,
        speaker=speaker,
        gender=spec.genders.get(speaker) or _GENDERS.get(letter, ""),
        text=facts.get("text", ""),
    )


def _list_table(spec: CorpusSpec, root: Path) -> Listing:
    """List a corpus by the CSV table that it comes with."""
    place = root / spec.table
    check_columns(place, header(place), required=tuple(spec.columns.values()), optional=())
    read: list[Utterance | SkippedFile | str] = []
    places: dict[str, str] = {}
    for row in read_rows(place, {own: name for name, own in spec.columns.items()}):
        name = os.path.normpath(spec.recordings.format(path=row.cells["path"]))
        found = _utterance(spec, name, root / name, row.cells)
        if isinstance(found, Utterance):
            if name in places:
                reason = f"the path stands in {places[name]} too"
                found = SkippedFile(corpus=spec.code, name=name, reason=reason)
            else:
                places[name] = row.where
        if isinstance(found, SkippedFile):
            found = replace(found, reason=f"{row.where}: {found.reason}")
        read.append(found)
    return _listing(spec, root, place, read, places=places)


def _listing(
    spec: CorpusSpec,
    root: Path,
    origin: Path,
    read: Sequence[Utterance | SkippedFile | str],
    *,
    places: Mapping[str, str],
    findings: Iterable[Finding] = (),
) -> Listing:
    return Listing(
        spec=spec,
        root=root,
        origin=origin,
        utterances=tuple(item for item in read if isinstance(item, Utterance)),
        bad=tuple(item for item in read if isinstance(item, SkippedFile)),
        left_out=tuple(sorted(Counter(item for item in read if isinstance(item, str)).items())),
        places=places,
        findings=tuple(findings),
    )


def inside(path: Path, folder: Path) -> bool:
    """Whether a path, which need not exist, lies in a folder; links are followed."""
    try:
        place = os.path.realpath(path)
    except ValueError:  # a NUL character: no path at all
        return False
    return Path(place).is_relative_to(os.path.realpath(folder))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links in a circle: reading the file gives the reason
        return False


def _entries(folder: Path, *, skip_unreadable: bool) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        if skip_unreadable:
            return []
        raise CorpusError(f"{folder}: cannot be read ({error.strerror})") from error
    return [e for e in found if not e.name.startswith(".") and e.name != "__MACOSX"]
