"""From a listing to a corpus: decoding, copies, contradictions, and what is said about them."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from clser_bench.corpora.definitions import CorpusSpec
from clser_bench.corpora.figures import Sound, measure
from clser_bench.corpora.model import Corpus, Listing, Utterance, alike, finding, overlaps
from clser_bench.errors import CorpusError, counted
from clser_bench.problem import Finding, SkippedFile
from clser_bench.progress import SILENT, Progress
from clser_bench.protocol import EMOTIONS

SHORTEST = 0.1  # seconds below which a recording is too short to be an utterance
FULL_SCALE = 1.5  # peak above which samples were not meant for full scale ±1
LOUD = 0.5  # root mean square above which nothing is speech: noise over full scale has 0.58
_STEP = 2.0**-15  # of 16 bits
_DISTORTED = "; is the byte order or the format of their samples another, or are they clipped?"
_COPIES = "pair(s) of recordings look like copies at another gain or encoding"
_LOOK = "if one is a copy of the other, move it away"
_SHOWN = 20  # lines of a refusal
_EACH = 3  # files of one reason that are listed one by one


def assemble(
    listing: Listing,
    *,
    cache: Path,
    recall: bool = True,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> Corpus:
    """Decode listed utterances and put them in order; `recall` as for `measure`.

    Bad files are set aside in `skipped`. Of recordings of the same audio the first by name is
    kept, and a finding names the others; where their emotions differ, all of them are bad. A
    speaker of two genders has none.
    """
    spec = listing.spec
    measured, trouble = measure(
        listing.utterances,
        listing.root,
        cache=cache,
        what=f"reading {spec.title}",
        recall=recall,
        workers=workers,
        progress=progress,
    )
    good, bad, sounds = [], list(listing.bad), {}
    for item in listing.utterances:
        sound = measured[item.name]
        if isinstance(sound, Sound):
            sounds[item.name] = sound
            facts: dict[str, Any] = {
                name: getattr(sound, name) for name in ("content", "seconds", "rate", "shape")
            }
            good.append(replace(item, **facts))
        else:
            bad.append(_skipped(listing, item, sound.reason))
    kept, contradictions, copies = _without_copies(listing, good)
    kept, genders = _one_gender(spec, kept)
    return Corpus(
        spec=spec,
        root=listing.root,
        utterances=tuple(sorted(kept, key=lambda item: (item.content, item.name))),
        skipped=tuple(sorted([*bad, *contradictions], key=lambda item: item.name)),
        left_out=listing.left_out,
        findings=(
            *listing.findings,
            *copies,
            *_alike(spec, kept),
            *(() if spec.table or not spec.pattern else _namesakes(spec, kept)),
            *genders,
            *_like_speakers(spec, kept),
            *_odd_sounds(spec, sounds),
            *_differences(spec, good),
            *(Finding(kind="index", corpus="", sentence=text) for text in trouble),
        ),
    )


def refuse_bad(corpus: Corpus, origin: Path, *, skip_bad: bool) -> None:
    """Raise (CorpusError, with all reasons) if files are bad, or if nothing is left.

    `origin` is the folder or table that the user named.
    """
    bad, heading = corpus.skipped, corpus.spec.heading
    if bad and not skip_bad:
        total = counted(len(bad) + len(corpus.utterances), "file")
        refusal = (
            f"{heading} in {origin}: {len(bad)} of {total} cannot be used:",
            *reasons(bad),
            "Mend or remove them, or go on without them by --skip-bad.",
        )
        raise CorpusError("\n".join(refusal))
    if not corpus.utterances:
        head = f"{origin}: no usable utterance of {heading} in it{':' if bad else ''}"
        raise CorpusError("\n".join([head, *reasons(bad)]))


def reasons(bad: Sequence[SkippedFile]) -> list[str]:
    """Why files cannot be used, one line for a file or for many of like reason."""
    groups: dict[str, list[SkippedFile]] = defaultdict(list)
    for item in bad:
        reason = re.sub(r"^(line|row) \d+: ", "", item.reason)
        groups[re.sub(r"'[^']*'|\d+", "…", reason)].append(item)
    lines = []
    for items in groups.values():
        more = len(items) - _EACH
        if more > 0:
            names = ", ".join(item.name for item in items[:_EACH])
            lines.append(f"  {len(items)} files ({names} and {more} more): {items[0].reason}")
        else:
            lines += [f"  {item.name}: {item.reason}" for item in items]
    more = len(lines) - _SHOWN
    return [*lines[:_SHOWN], f"  and {more} more reasons"] if more > 0 else lines


def shared_recordings(source: Corpus, target: Corpus) -> tuple[Finding, ...]:
    """Recordings that both corpora of a pair have; the source's are left out of its trials.

    Segments of one file that overlap are named only.
    """
    own = {item.content: item.name for item in target.utterances}
    shared = [(item.name, own[item.content]) for item in source.utterances if item.content in own]
    partly = [
        (one.name, other.name)
        for one, other in overlaps(source.utterances, target.utterances)
        if one.content != other.content
    ]
    sides = {id(item): side for side, c in enumerate((source, target)) for item in c.utterances}
    same = [
        tuple(item.name for item in sorted(pair, key=lambda item: sides[id(item)]))
        for pair in alike((*source.utterances, *target.utterances))
        if sides[id(pair[0])] != sides[id(pair[1])]
    ]
    pair, found = f"{source.spec.code}→{target.spec.code}", []
    for kind, pairs, what, sign, end in (
        ("alike", same, _COPIES, "and", _LOOK),
        ("shared", shared, "recording(s) are", "=", "they are left out of the source"),
        ("overlap", partly, "segment(s) of one file overlap", "and", "cut them apart"),
    ):
        if pairs:
            such = f" {sign} ".join(pairs[0])
            sentence = f"{pair}: {len(pairs)} {what} in source and target, such as {such}; {end}"
            names = tuple(dict.fromkeys(name for name, _ in pairs))
            found.append(Finding(kind=kind, corpus=pair, files=names, sentence=sentence))
    return tuple(found)


def _skipped(listing: Listing, utterance: Utterance, reason: str) -> SkippedFile:
    place = listing.places.get(utterance.name)
    text = f"{place}: {reason}" if place else reason
    return SkippedFile(corpus=listing.spec.code, name=utterance.name, reason=text)


def _without_copies(
    listing: Listing, utterances: Iterable[Utterance]
) -> tuple[list[Utterance], list[SkippedFile], list[Finding]]:
    """What is kept, what contradicts itself, and what is said about copies."""
    groups: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in sorted(utterances, key=lambda item: item.name):
        groups[utterance.content].append(utterance)
    kept: list[Utterance] = []
    bad: list[SkippedFile] = []
    copies: list[tuple[str, str]] = []
    speakers = 0
    for first, *others in groups.values():
        odd = next((item for item in others if item.emotion != first.emotion), None)
        if odd is None:
            kept.append(first)
            copies += [(item.name, first.name) for item in others]
            speakers += any(item.speaker != first.speaker for item in others)
            continue
        for item, other in ((first, odd), *((item, first) for item in others)):
            label = "likewise" if item.emotion == other.emotion else other.emotion
            reason = f"is {item.emotion}, and the same audio as {other.name}, which is {label}"
            bad.append(_skipped(listing, item, reason))
    if not copies:
        return kept, bad, []
    count, such = len(copies), " = ".join(copies[0])
    what = f": {count} recording(s) are copies of others and are left out, such as {such}"
    if speakers:
        what += f"; {speakers} of them are listed under two speakers"
    names = (name for pair in copies for name in pair)
    return kept, bad, [finding("copies", listing.spec, what, names)]


def _alike(spec: CorpusSpec, utterances: Iterable[Utterance]) -> Iterator[Finding]:
    """Recordings that are there twice, but for their gain or encoding."""
    pairs = [sorted(item.name for item in pair) for pair in alike(utterances)]
    if pairs:
        names = dict.fromkeys(name for pair in pairs for name in pair)
        what = f": {len(pairs)} {_COPIES}, such as {' and '.join(pairs[0])}; {_LOOK}"
        yield finding("alike", spec, what, names)


def _namesakes(spec: CorpusSpec, utterances: Iterable[Utterance]) -> Iterator[Finding]:
    """Recordings of one speaker, emotion, text and file name in two folders: one may be a copy."""
    groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for item in utterances:
        stem = PurePosixPath(item.name).stem
        groups[item.speaker, item.emotion, item.text, stem].append(item.name)
    twice = [names for names in groups.values() if len(names) > 1]
    if twice:
        what = (
            f": {len(twice)} file name(s) are there in two folders with the same speaker and "
            f"emotion, such as {' and '.join(twice[0][:2])}; if one is a copy of the other, move "
            "it away"
        )
        yield finding("namesakes", spec, what, (name for names in twice for name in names))


def _one_gender(
    spec: CorpusSpec, utterances: list[Utterance]
) -> tuple[list[Utterance], Iterable[Finding]]:
    """Give each speaker one gender: the one that is known, or none where two are."""
    genders: dict[str, set[str]] = defaultdict(set)
    for item in utterances:
        genders[item.speaker] |= {item.gender} - {""}
    torn = sorted(speaker for speaker, known in genders.items() if len(known) > 1)
    same = [
        replace(item, gender="".join(genders[item.speaker]) if item.speaker not in torn else "")
        for item in utterances
    ]
    names = [item.name for item in utterances if item.speaker in torn]
    more = f", as have {len(torn) - _EACH} more speakers" if len(torn) > _EACH else ""
    what = f": {', '.join(torn[:_EACH])} has several genders{more}; it is taken as unknown"
    return same, [finding("gender", spec, what, names)] if torn else []


def _like_speakers(spec: CorpusSpec, utterances: Iterable[Utterance]) -> Iterator[Finding]:
    """Speakers whose names differ by case, width, zeros or punctuation only: `01`, `1`."""
    groups: dict[str, set[str]] = defaultdict(set)
    for name in {item.speaker for item in utterances}:
        words = re.sub(r"[\W_]+", " ", unicodedata.normalize("NFKC", name)).casefold()
        groups[re.sub(r"(?<![0-9])0+(?=[0-9])", "", words)].add(name)
    alike = sorted(sorted(names) for names in groups.values() if len(names) > 1)
    if alike:
        pairs = "; ".join(" and ".join(f"'{name}'" for name in names) for names in alike[:_EACH])
        more = f" and {len(alike) - _EACH} more" if len(alike) > _EACH else ""
        what = f": names of speakers are nearly the same and are taken for several: {pairs}{more}"
        yield finding("speaker", spec, what)


def _odd_sounds(spec: CorpusSpec, sounds: Mapping[str, Sound]) -> Iterator[Finding]:
    # without sound: below a step of 16 bits, or one value all along, whose root mean square is
    # its peak
    silent = [
        name
        for name, sound in sounds.items()
        if sound.peak < _STEP or sound.peak - sound.rms < _STEP * sound.peak
    ]
    short = {name: sound.seconds for name, sound in sounds.items() if sound.seconds < SHORTEST}
    loud = {name: sound.peak for name, sound in sounds.items() if sound.peak > FULL_SCALE}
    noise = [
        name
        for name, sound in sounds.items()
        if sound.rms > LOUD and sound.peak <= FULL_SCALE and name not in silent
    ]
    least, most = min(short.values(), default=0.0), max(loud.values(), default=0.0)
    too_loud = (
        f" (the largest is {most:.4g}, full scale is 1); divide them, by 32768 if they are 16-bit "
        "integers"
    )
    for kind, names, what, more in (
        ("silent", silent, "have no sound in them", ""),
        ("short", short, f"are shorter than {SHORTEST} s", f" (the shortest has {least:.4f} s)"),
        ("scale", loud, "have float samples beyond full scale", too_loud),
        ("scale", noise, "are at full scale all along, as no speech is", _DISTORTED),
    ):
        if names:
            first = next(iter(names))
            sentence = f": {len(names)} recording(s) {what}, such as {first}{more}"
            yield finding(kind, spec, sentence, names)


def _differences(spec: CorpusSpec, utterances: Sequence[Utterance]) -> Iterator[Finding]:
    """Where the corpus, copies included, is not as large as its definition says."""
    counts = Counter(item.emotion for item in utterances)
    speakers = len({item.speaker for item in utterances})
    differs = [
        f"{emotion} has {counts[emotion]} of {spec.counts[emotion]} utterances"
        for emotion in EMOTIONS
        if emotion in spec.counts and counts[emotion] != spec.counts[emotion]
    ]
    if spec.speakers and speakers != spec.speakers:
        differs.append(f"{speakers} of {spec.speakers} speakers are there")
    if differs:
        yield finding("differs", spec, f" differs from its definition: {', '.join(differs)}")
