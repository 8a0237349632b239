"""Length, level, gender and human recognition of utterances: to see where methods fail."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from clser_bench.corpora.index import measure
from clser_bench.corpora.model import Corpus
from clser_bench.errors import AudioError, CorpusError
from clser_bench.progress import SILENT, Progress

RECOGNITION = {"emodb": "erkennung.txt"}
"""Corpora that come with the share of listeners who recognised each file: name to file."""

_NAME, _RATE = "Satz", "erkannt"
_PERCENT = re.compile(r"[0-9]{1,3}(?:[.,][0-9]{1,6})?")
_LARGEST = 1 << 20  # bytes; the original has 25 thousand
_SHOWN = 60  # characters of a wrong value


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """One utterance.

    Attributes:
        name: POSIX path relative to the corpus folder.
        seconds: duration.
        level: root mean square in dBFS, where a square wave at full scale has 0; None for
            digital silence.
        gender: of the speaker; empty where unknown.
        human: percent of listeners who recognised the emotion; None where unknown.
    """

    name: str
    seconds: float
    level: float | None
    gender: str = ""
    human: float | None = None


def utterance_metadata(
    corpus: Corpus, *, cache: Path, workers: int | None = None, progress: Progress = SILENT
) -> tuple[Metadata, ...]:
    """Duration, level, gender and human recognition rate of every utterance.

    The figures come from the index that reading a corpus keeps in the cache, so nothing is
    decoded twice; files that changed since are decoded again.

    Args:
        corpus: as read.
        cache: the cache folder it was read with.
        workers: threads that decode; None takes the cores this process may use.
        progress: shows each file.

    Returns:
        One entry per utterance, in the corpus's order.

    Raises:
        AudioError: a file has been broken since the corpus was read.
        CorpusError: its table of recognition rates is damaged.
    """
    what = f"measuring {corpus.spec.title}"
    sounds = measure(
        corpus.utterances, corpus.root, cache=cache, what=what, workers=workers, progress=progress
    ).sounds
    table = _rates_of(corpus)
    rates = recognition_rates(table) if table else {}
    facts = []
    for utterance in corpus.utterances:
        sound = sounds[utterance.name]
        if isinstance(sound, AudioError):
            raise sound
        facts.append(
            Metadata(
                name=utterance.name,
                seconds=sound.seconds,
                level=level(sound.rms),
                gender=utterance.gender,
                human=rates.get(PurePosixPath(utterance.name).stem),
            )
        )
    return tuple(facts)


def level(rms: float) -> float | None:
    """A root mean square (full scale is 1) in dBFS, 20 log10(rms); None for silence."""
    return 20 * math.log10(rms) if rms > 0 else None


def recognition_rates(path: Path) -> dict[str, float]:
    """Read EMO-DB's table of how many listeners recognised each file.

    Tab-separated in Latin-1, with decimal commas and no-break spaces; the columns `Satz` (the
    file) and `erkannt` (percent) are read.

    Args:
        path: the table.

    Returns:
        File name without its extension, to percent.

    Raises:
        CorpusError: it cannot be read, or a line of it cannot be true; names the line.
    """
    try:
        size = path.stat().st_size
        lines = path.read_text(encoding="latin-1").splitlines() if size <= _LARGEST else []
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror or error})") from error
    if size > _LARGEST:
        raise CorpusError(f"{path}: has {size} bytes, more than a table of EMO-DB can ({_LARGEST})")
    rates: dict[str, float] = {}
    for where, name, rate in _entries(path, lines):
        if rates.setdefault(name, rate) != rate:
            raise CorpusError(
                f"{where}: '{name}' has {rate:g} %, and {rates[name]:g} % in a line before; "
                "take the file from the corpus again"
            )
    return rates


def _rates_of(corpus: Corpus) -> Path | None:
    """The table of a corpus, in its folder, or beside the folder of its recordings."""
    name = RECOGNITION.get(corpus.spec.name)
    if name is None:
        return None
    folders = [corpus.root]
    if corpus.root.name.lower() == "wav":
        folders.append(corpus.root.parent)
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def _entries(path: Path, lines: list[str]) -> Iterator[tuple[str, str, float]]:
    """Where each line stands, its file and its rate."""
    # strip also takes no-break spaces away
    header = [cell.strip() for cell in lines[0].split("\t")] if lines else []
    if _NAME not in header or _RATE not in header:
        raise CorpusError(
            f"{path}: line 1: columns '{_NAME}' and '{_RATE}' are expected, parted by tabs; got "
            f"{_quoted(' | '.join(header))}"
        )
    places = header.index(_NAME), header.index(_RATE)
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        where = f"{path}: line {number}"
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) <= max(places) or not cells[places[0]]:
            raise CorpusError(f"{where}: a file and its rate are expected; got {_quoted(line)}")
        name, rate = (cells[place] for place in places)
        yield where, PurePosixPath(name).stem, _percent(rate, where)


def _percent(text: str, where: str) -> float:
    if _PERCENT.fullmatch(text):
        value = float(text.replace(",", "."))
        if value <= 100:
            return value
    raise CorpusError(
        f"{where}: recognition rate {_quoted(text)}: a percentage from 0 to 100 is expected, such "
        "as 85,71"
    )


def _quoted(text: str) -> str:
    """A value from a file in one line, not too long, without control characters."""
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
