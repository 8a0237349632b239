"""Corpora made up for tests: with tones on disk, or in memory without any audio."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from clser_bench.corpora.assemble import assemble, refuse_bad
from clser_bench.corpora.definitions import CorpusSpec
from clser_bench.corpora.listings import list_corpus
from clser_bench.corpora.model import Corpus, Utterance
from clser_bench.files import cache_folder
from clser_bench.hashing import digest, generator
from clser_bench.problem import CHECKSUMS, Table, array_checksums
from clser_bench.protocol import EMOTIONS
from clser_bench.splits import sides


def write_tone(path: Path, *, rate: int = 8000, seconds: float = 0.15) -> Path:
    """Write a tone whose pitch follows from the file's name, so that no two are the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pitch = generator("tone", path.as_posix()).uniform(100, 400)
    time = np.arange(int(rate * seconds)) / rate
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * pitch * time), rate)
    return path


def toy_spec(code: str, emotions: Sequence[str] = EMOTIONS, **more: object) -> CorpusSpec:
    """A definition: `<speaker>/<emotion>_<number>`."""
    values = {
        "name": f"toy_{code.lower()}",
        "title": f"Toy {code}",
        "language": "de",
        "pattern": r"(?P<speaker>[a-z]+)/(?P<emotion>[a-z]+)_(?P<text>\d+)",
        "labels": {emotion: emotion for emotion in emotions},
    }
    rest = {"code": code, "licence": "none", "citation": "none"}
    return CorpusSpec.model_validate({**values, **rest, **more})


def define(folder: Path, spec: CorpusSpec) -> Path:
    """Write a definition as TOML; its folder is for `CLSER_TASKS`."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for name, value in spec.model_dump(exclude_defaults=True).items():
        if isinstance(value, dict):
            lines += [f"{name}.{json.dumps(key)} = {json.dumps(one)}" for key, one in value.items()]
        else:
            lines.append(f"{name} = {json.dumps(value)}")
    (folder / f"{spec.name}.toml").write_text("\n".join(lines), encoding="utf-8")
    return folder


def read_corpus(
    spec: CorpusSpec,
    root: Path,
    *,
    cache: Path | None = None,
    skip_bad: bool = False,
    workers: int | None = None,
) -> Corpus:
    """Read one corpus of a layout, by the test's own cache unless another is given."""
    corpus = assemble(list_corpus(spec, root), cache=cache or cache_folder(), workers=workers)
    refuse_bad(corpus, root, skip_bad=skip_bad)
    return corpus


def write_toy(
    root: Path, emotions: Sequence[str] = EMOTIONS[:3], speakers: Sequence[str] = ("ada", "bob")
) -> Path:
    """Lay a toy corpus down: two tones for each speaker and emotion."""
    for speaker in speakers:
        for emotion in emotions:
            for number in range(2):
                write_tone(root / speaker / f"{emotion}_{number}.wav")
    return root


def memory_corpus(
    code: str,
    counts: Mapping[str, int],
    speakers: Mapping[str, str] | None = None,
    *,
    language: str = "de",
) -> Corpus:
    """A corpus without audio, listed by path and so by label, then put in order of content.

    Args:
        code: its code.
        counts: utterances per emotion.
        speakers: speaker to gender; dealt out in turn.
        language: of its definition.
    """
    genders = speakers or {"ulla": "female", "vera": "female", "willi": "male", "xaver": "male"}
    utterances = []
    for emotion, count in counts.items():
        for number in range(count):
            speaker = list(genders)[number % len(genders)]
            name = f"{emotion}/{speaker}_{number:04d}.wav"
            who: dict[str, Any] = {"speaker": speaker, "gender": genders[speaker]}
            place, content = Path("/nowhere") / name, digest([code, name])
            item = Utterance(name=name, path=place, emotion=emotion, content=content, **who)
            utterances.append(replace(item, seconds=1.0, rate=16000))
    utterances.sort(key=lambda utterance: (utterance.content, utterance.name))
    emotions = [emotion for emotion in EMOTIONS if emotion in counts]
    spec = toy_spec(code, emotions, language=language)
    return Corpus(spec=spec, root=Path("/nowhere"), utterances=tuple(utterances))


def permuted(corpus: Corpus, classes: tuple[str, ...], seed: int) -> Corpus:
    """The corpus with the emotions of the pair's utterances shuffled among them."""
    inside = [i for i, item in enumerate(corpus.utterances) if item.emotion in classes]
    order = generator("test", seed).permutation(len(inside))
    changed = list(corpus.utterances)
    for place, other in zip(inside, order, strict=True):
        emotion = corpus.utterances[inside[other]].emotion
        changed[place] = replace(changed[place], emotion=emotion)
    return replace(corpus, utterances=tuple(changed))


def content_tables(folder: Path | None = None) -> Any:
    """`tables` for `build`: features that follow from the content and the rows allowed only."""

    def tables(
        source: Corpus, target: Corpus, rows: np.ndarray | None, added: Sequence[Corpus] = ()
    ) -> tuple[Table, Table]:
        first, second = sides(source, target, added)
        return (
            stacked([table(corpus, source, None) for corpus in first.corpora]),
            stacked([table(c, source, rows if c is target else None) for c in second.corpora]),
        )

    def stacked(parts: list[Table]) -> Table:
        if len(parts) == 1:
            return parts[0]
        instants = np.concatenate([part.instants for part in parts])
        summary = np.concatenate([part.summary for part in parts])
        return Table(digest([part.key for part in parts]), instants, summary)

    def table(corpus: Corpus, source: Corpus, rows: np.ndarray | None) -> Table:
        allowed = None if rows is None else rows.tolist()
        key = digest([corpus.content, source.content, allowed])
        rng = generator("table", key)
        n = len(corpus.utterances)
        arrays = {
            "instants": rng.standard_normal((n, 4, 3)).astype(np.float32),
            "summary": rng.standard_normal((n, 5)).astype(np.float32),
        }
        whole = Table(key, arrays["instants"], arrays["summary"])
        if folder is None:
            return whole
        place = folder / key
        place.mkdir(parents=True, exist_ok=True)
        for name, array in arrays.items():
            np.save(place / f"{name}.npy", array)
        (place / CHECKSUMS).write_text(json.dumps(array_checksums(place)))
        return replace(whole, folder=place)

    return tables
