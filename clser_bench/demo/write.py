"""Writing the demo corpora to disk: all of them, or nothing."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import soundfile

from clser_bench.corpora.definitions import corpus_specs
from clser_bench.demo.espeak import synthesise
from clser_bench.demo.languages import LANGUAGES, Language
from clser_bench.demo.sound import RATE, record
from clser_bench.demo.takes import VERSION, recipe, takes
from clser_bench.errors import CorpusError
from clser_bench.files import cache_folder
from clser_bench.progress import SILENT, Progress

_MARKER = "complete.json"


def demo_corpora(folder: Path | None = None, *, progress: Progress | None = None) -> Path:
    """Make the four synthetic corpora, unless they are there already.

    They are written aside and put in place in one step, so that an interrupted run leaves
    nothing that could be taken for a corpus.

    Args:
        folder: where to put them; the cache when None.
        progress: told of each utterance.

    Returns:
        `folder/demo-v1`, which holds `demo_de`, `demo_it`, `demo_zh` and `demo_en`.

    Raises:
        MissingExtraError: they must be made and espeak-ng is not installed.
        CorpusError: they cannot be made or written.
    """
    parent = cache_folder() if folder is None else folder
    place = parent / f"demo-v{VERSION}"
    if _is_complete(place):
        return place
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=parent, prefix=".demo-") as aside:
            made = Path(aside) / place.name
            _write(made, progress or SILENT)
            _put_in_place(made, place)
    except (OSError, soundfile.SoundFileError) as error:
        raise CorpusError(f"{place}: the demo corpora cannot be written ({error})") from error
    return place


def _is_complete(place: Path) -> bool:
    try:
        marker = json.loads((place / _MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(marker == {"recipe": recipe()}) and all(
        (place / corpus_specs()[language.code].name / take.name).is_file()
        for language in LANGUAGES
        for take in takes()[language.code]
    )


def _write(place: Path, progress: Progress) -> None:
    progress.start("making synthetic speech", sum(map(len, takes().values())))
    try:
        for language in LANGUAGES:
            _write_corpus(place / corpus_specs()[language.code].name, language, progress)
    finally:
        progress.stop()
    (place / _MARKER).write_text(json.dumps({"recipe": recipe()}), encoding="utf-8")


def _write_corpus(folder: Path, language: Language, progress: Progress) -> None:
    wanted = takes()[language.code]
    spoken = synthesise([take.request for take in wanted])
    for take, samples in zip(wanted, spoken, strict=True):
        file = folder / take.name
        file.parent.mkdir(parents=True, exist_ok=True)
        heard = record(samples, take=take, channel=language.channel)
        soundfile.write(file, heard, RATE, subtype="PCM_16")
        progress.advance()


def _put_in_place(made: Path, place: Path) -> None:
    """Rename, unless another process was faster; what is there and incomplete goes."""
    if place.exists() and not _is_complete(place):
        shutil.rmtree(place)
    try:
        made.rename(place)
    except OSError:
        if not _is_complete(place):
            raise
