"""A corpus on disk to a table of utterances."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from clser_bench.corpora.files import MediaFile, inside, media_files
from clser_bench.corpora.index import Sound, measure
from clser_bench.corpora.model import Corpus, Utterance
from clser_bench.errors import CorpusError, SpecError, did_you_mean
from clser_bench.problem import SkippedFile
from clser_bench.progress import Progress
from clser_bench.protocol import CorpusSpec

_SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What lies in a corpus folder, before anything is decoded.

    Attributes:
        utterances: without what only decoding tells.
        bad: files that should be utterances and cannot be, each with the reason.
        left_out: how many files are left out on purpose, by reason.
        places: where the name stands in a table, to be told with what is wrong with the file.
    """

    utterances: tuple[Utterance, ...]
    bad: tuple[SkippedFile, ...]
    left_out: tuple[tuple[str, int], ...] = ()
    places: Mapping[str, str] = field(default_factory=dict)


def read_corpus(
    spec: CorpusSpec,
    root: Path,
    *,
    cache: Path,
    skip_bad: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Corpus:
    """Read every utterance of a corpus: who, what, and a hash of the decoded sound.

    Each file is decoded once; later calls recall what does not change (see `measure`).

    Args:
        spec: its definition.
        root: its folder, as `find_corpora` gives it.
        cache: the cache folder.
        skip_bad: leave bad files out and list them in `skipped`, instead of raising.
        workers: threads that decode; None takes the cores this process may use.
        progress: told of each file.

    Returns:
        The utterances ordered by content hash, then name.

    Raises:
        CorpusError: files are broken, misplaced or of unknown label (all are named, with the
            reason), or nothing is left.
        SpecError: the definition has no pattern.
    """
    listing = list_corpus(spec, root)
    corpus = assemble(spec, root, listing, cache=cache, workers=workers, progress=progress)
    refuse_bad([corpus], root, skip_bad=skip_bad)
    return corpus


def list_corpus(spec: CorpusSpec, root: Path) -> Listing:
    """Read a corpus off its file names; nothing is decoded.

    Args:
        spec: its definition.
        root: its folder.

    Raises:
        CorpusError: the folder is missing or cannot be read.
        SpecError: the definition has no pattern.
    """
    if not spec.pattern:
        raise SpecError(f"{spec.name}: the definition has no pattern, so no file name can be read")
    files = list(media_files(root))
    reader = _Reader(
        spec,
        re.compile(spec.pattern),
        tuple((re.compile(expression), why) for expression, why in spec.ignored.items()),
        root,
        Counter(file.stem for file in files if not file.video),
    )
    read = [reader.read(file) for file in files]
    return Listing(
        utterances=tuple(item for item in read if isinstance(item, Utterance)),
        bad=tuple(item for item in read if isinstance(item, SkippedFile)),
        left_out=tuple(sorted(Counter(item for item in read if isinstance(item, str)).items())),
    )


def assemble(
    spec: CorpusSpec,
    root: Path,
    listing: Listing,
    *,
    cache: Path,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Corpus:
    """Decode listed utterances and put them in order; bad files are set aside in `skipped`.

    Args:
        spec: the corpus's definition.
        root: its folder.
        listing: what lies there.
        cache: the cache folder.
        workers: as for `read_corpus`.
        progress: as for `read_corpus`.
    """
    paths = {utterance.name: utterance.path for utterance in listing.utterances}
    what = f"reading {spec.title}"
    sounds = measure(paths, root, cache=cache, what=what, workers=workers, progress=progress)
    good, bad = [], list(listing.bad)
    for utterance in listing.utterances:
        sound = sounds[utterance.name]
        if isinstance(sound, Sound):
            good.append(_heard(utterance, sound))
        else:
            place = listing.places.get(utterance.name)
            reason = f"{place}: {sound.reason}" if place else sound.reason
            bad.append(SkippedFile(corpus=spec.code, name=utterance.name, reason=reason))
    return Corpus(
        spec=spec,
        root=root,
        utterances=tuple(sorted(good, key=lambda item: (item.content, item.name))),
        skipped=tuple(sorted(bad, key=lambda item: item.name)),
    )


def refuse_bad(corpora: Sequence[Corpus], origin: Path, *, skip_bad: bool) -> None:
    """Raise if files are bad, naming them all at once, or if a corpus has nothing left.

    Args:
        corpora: as assembled.
        origin: the folder or table that the user named.
        skip_bad: accept corpora that are incomplete.

    Raises:
        CorpusError: as for `read_corpus`.
    """
    bad = [item for corpus in corpora for item in corpus.skipped]
    if bad and not skip_bad:
        total = len(bad) + sum(len(corpus.utterances) for corpus in corpora)
        titles = " and ".join(f"{corpus.spec.title} ({corpus.spec.code})" for corpus in corpora)
        raise CorpusError(_refusal(f"{titles} in {origin}", bad, total))
    for corpus in corpora:
        if not corpus.utterances:
            spec = corpus.spec
            raise CorpusError(f"{origin}: no usable utterance of {spec.title} ({spec.code}) in it")


@dataclass(frozen=True)
class _Reader:
    """Tells what a file of a corpus is."""

    spec: CorpusSpec
    pattern: re.Pattern[str]
    ignored: tuple[tuple[re.Pattern[str], str], ...]
    root: Path
    stems: Counter[str]

    def read(self, file: MediaFile) -> Utterance | SkippedFile | str:
        """An utterance, a bad file, or the reason why the file is left out on purpose."""
        for expression, why in self.ignored:
            if expression.fullmatch(file.name):
                return why
        match = self.pattern.fullmatch(file.stem)
        if file.video:
            return self._video(file, fits=match is not None)
        if file.linked and not inside(file.path, self.root):
            return self._bad(file, "is a link that leaves the corpus folder")
        if match is None:
            return self._bad(file, f"does not lie as {self.spec.title} does: {self.spec.pattern}")
        if self.stems[file.stem] > 1:
            return self._bad(file, "is there twice, with different extensions")
        return self._utterance(file, match)

    def _utterance(self, file: MediaFile, match: re.Match[str]) -> Utterance | SkippedFile | str:
        parts = match.groupdict(default="")
        label, speaker = parts["emotion"], parts["speaker"]
        if label in self.spec.excluded:
            return f"'{label}': {self.spec.excluded[label]}"
        if label not in self.spec.labels:
            known = {**self.spec.labels, **self.spec.excluded}
            return self._bad(file, f"has the unknown label '{label}'{did_you_mean(label, known)}")
        letter = parts.get("gender", "")[:1].lower()
        return Utterance(
            name=file.name,
            path=file.path,
            emotion=self.spec.labels[label],
            speaker=speaker,
            gender=self.spec.genders.get(speaker) or {"f": "female", "m": "male"}.get(letter, ""),
            text=parts.get("text", ""),
        )

    def _video(self, file: MediaFile, *, fits: bool) -> SkippedFile | str:
        if self.stems[file.stem] or not fits:
            return "video, not sound"
        return self._bad(
            file,
            "is a video; extract its sound beside it: "
            f'ffmpeg -i "{file.path.name}" -vn "{file.path.stem}.wav"',
        )

    def _bad(self, file: MediaFile, reason: str) -> SkippedFile:
        return SkippedFile(corpus=self.spec.code, name=file.name, reason=reason)


def _heard(utterance: Utterance, sound: Sound) -> Utterance:
    return replace(utterance, content=sound.content, seconds=sound.seconds, rate=sound.rate)


def _refusal(where: str, bad: Sequence[SkippedFile], total: int) -> str:
    lines = [f"  {item.name}: {item.reason}" for item in bad[:_SHOWN]]
    if len(bad) > _SHOWN:
        lines.append(f"  and {len(bad) - _SHOWN} more")
    return "\n".join(
        [
            f"{where}: {len(bad)} of {total} files cannot be used:",
            *lines,
            "Mend or remove them, or go on without them by --skip-bad.",
        ]
    )
