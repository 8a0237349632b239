"""Walking folders of recordings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from clser_bench.errors import CorpusError

AUDIO = (".wav", ".flac")
"""Extensions of files that are utterances, in any case of letters."""

VIDEO = (".avi",)
"""Extensions of files that hold an utterance's sound but cannot be decoded here."""


@dataclass(frozen=True, kw_only=True)
class MediaFile:
    """A recording on disk.

    Attributes:
        name: POSIX path relative to the folder walked.
        stem: the same without its extension.
        path: the file.
        video: whether it is a video.
        linked: whether it is, or lies behind, a symbolic link.
    """

    name: str
    stem: str
    path: Path
    video: bool
    linked: bool


def media_files(root: Path, *, skip_unreadable: bool = False) -> Iterator[MediaFile]:
    """Walk a folder for files with an audio or video extension, sorted within each folder.

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
            if suffix.lower() in (*AUDIO, *VIDEO):
                name = prefix + entry.name
                yield MediaFile(
                    name=name,
                    stem=name.removesuffix(suffix),
                    path=Path(entry.path),
                    video=suffix.lower() in VIDEO,
                    linked=behind,
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
    except OSError:  # links in a circle: reading the file will tell
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
