"""Folders of recordings: walking them, and reading a corpus off its file names."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from clser_bench.corpora.audio import VIDEO
from clser_bench.corpora.model import Listing, Utterance
from clser_bench.corpora.rows import check_columns, header, read_rows
from clser_bench.errors import CorpusError, SpecError, did_you_mean, has_controls
from clser_bench.problem import Finding, SkippedFile
from clser_bench.protocol import CorpusSpec

AUDIO = (".wav", ".flac")
"""Extensions of files that are utterances, in any case of letters."""

UNREAD = (
    *(".mp3", ".m4a", ".mp4a", ".aac", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".aifc", ".au"),
    *(".wma", ".sph", ".webm", ".amr", ".3gp"),
)
"""Extensions of recordings that a layout does not read; a manifest may name such a file."""


@dataclass(frozen=True, kw_only=True)
class MediaFile:
    """A recording on disk.

    Attributes:
        name: POSIX path relative to the folder walked.
        stem: the same without its extension.
        path: the file.
        kind: `audio`, `video`, or `unread` for a format that a layout does not read.
        linked: whether it is, or lies behind, a symbolic link.
    """

    name: str
    stem: str
    path: Path
    kind: Literal["audio", "video", "unread"]
    linked: bool


def media_files(root: Path, *, skip_unreadable: bool = False) -> Iterator[MediaFile]:
    """Walk a folder for recordings, sorted within each folder.

    Links to folders are followed, but not back into a folder that contains them. Hidden files
    and folders (a leading dot, and `__MACOSX`) are no recordings and are passed over.

    Args:
        root: the folder.
        skip_unreadable: pass over folders that may not be read, instead of raising.

    Raises:
        CorpusError: the folder is missing, or a folder in it cannot be read.
    """
    if not root.is_dir():
        raise CorpusError(f"{root}: there is no such folder")
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

    Args:
        spec: its definition.
        root: its folder.

    Raises:
        CorpusError: the folder is missing or cannot be read, or its table cannot.
        SpecError: the definition has neither a pattern nor a table.
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
    utterances = tuple(item for item in read if isinstance(item, Utterance))
    unread = [file for file in files if file.kind == "unread" and not reader.ignores(file)]
    return Listing(
        spec=spec,
        root=root,
        origin=root,
        utterances=utterances,
        bad=tuple(item for item in read if isinstance(item, SkippedFile)),
        left_out=tuple(sorted(Counter(item for item in read if isinstance(item, str)).items())),
        findings=tuple(unread_findings(f"{spec.title} ({spec.code})", spec.code, unread, files)),
    )


def unread_findings(
    where: str, corpus: str, unread: list[MediaFile], files: list[MediaFile]
) -> Iterator[Finding]:
    """Name recordings of formats that are not read, but those that are there as WAV or FLAC too.

    Args:
        where: the corpus or the folder, for the sentence.
        corpus: code of the corpus; empty where they belong to none.
        unread: what is not read.
        files: all recordings of the place.
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
        fault = self._fault(file, match)
        if fault or match is None:
            return self._bad(file, fault)
        return self._utterance(file, match)

    def _fault(self, file: MediaFile, match: re.Match[str] | None) -> str:
        if has_controls(file.name):
            return "has control characters in its name; rename it"
        if file.linked and not inside(file.path, self.root):
            return "is a link that leaves the corpus folder"
        if match is None:
            return (
                f"does not lie as {self.spec.title} does ({self.spec.pattern}); move it away, or "
                "name it under [ignored] in a definition of your own"
            )
        return "is there twice, with different extensions" if self.stems[file.stem] > 1 else ""

    def _utterance(self, file: MediaFile, match: re.Match[str]) -> Utterance | SkippedFile | str:
        parts = match.groupdict(default="")
        label, speaker = parts["emotion"], parts["speaker"]
        emotion, why, fault = _label(self.spec, label)
        if why:
            return why
        if fault:
            return self._bad(file, fault)
        again = parts.get("emotion_again", "")
        if again and self.spec.labels.get(again) != emotion:
            return self._bad(
                file,
                f"is labelled twice: '{label}' is {emotion}, "
                f"'{again}' is {self.spec.labels.get(again, 'unknown')}",
            )
        letter = parts.get("gender", "")[:1].lower()
        return Utterance(
            name=file.name,
            path=file.path,
            emotion=emotion,
            speaker=speaker,
            gender=self.spec.genders.get(speaker) or _GENDERS.get(letter, ""),
            text=parts.get("text", ""),
        )

    def _bad(self, file: MediaFile, reason: str) -> SkippedFile:
        return SkippedFile(corpus=self.spec.code, name=file.name, reason=reason)


_GENDERS = {"f": "female", "m": "male", "w": "female"}


def _label(spec: CorpusSpec, label: str) -> tuple[str, str, str]:
    """Of a corpus's own label: the emotion, or why it is left out, or what is wrong with it."""
    if label in spec.excluded:
        return "", f"'{label}': {spec.excluded[label]}", ""
    if label in spec.labels:
        return spec.labels[label], "", ""
    known = did_you_mean(label, {**spec.labels, **spec.excluded})
    return "", "", f"has the unknown label '{label}'{known}"


def _list_table(spec: CorpusSpec, root: Path) -> Listing:
    """List a corpus by the CSV table that it comes with."""
    place = root / spec.table
    check_columns(place, header(place), required=tuple(spec.columns.values()), optional=())
    utterances: list[Utterance] = []
    bad: list[SkippedFile] = []
    left_out: Counter[str] = Counter()
    places: dict[str, str] = {}
    for row in read_rows(place, {own: name for name, own in spec.columns.items()}):
        cells = row.cells
        name = os.path.normpath(spec.recordings.format(path=cells["path"]))
        emotion, why, fault = _label(spec, cells["emotion"])
        if why:
            left_out[why] += 1
            continue
        if fault or name in places:
            reason = f"{row.where}: {fault or f'the path stands in {places[name]} too'}"
            bad.append(SkippedFile(corpus=spec.code, name=name, reason=reason))
            continue
        places[name] = row.where
        letter = cells.get("gender", "")[:1].lower()
        utterances.append(
            Utterance(
                name=name,
                path=root / name,
                emotion=emotion,
                speaker=cells["speaker"],
                gender=spec.genders.get(cells["speaker"]) or _GENDERS.get(letter, ""),
                text=cells.get("text", ""),
            )
        )
    return Listing(
        spec=spec,
        root=root,
        origin=place,
        utterances=tuple(utterances),
        bad=tuple(bad),
        left_out=tuple(sorted(left_out.items())),
        places=places,
    )


def inside(path: Path, folder: Path) -> bool:
    """Whether a path, links followed, lies in a folder.

    Args:
        path: any path; it need not exist.
        folder: the folder.
    """
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
