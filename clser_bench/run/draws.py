"""What is labelled, unlabelled and to be scored in each trial, for systems outside this package.

A folder of draws has `draws.json` (the rules, the trials with their classes, a digest), a table of
the rows of each trial, and on request the audio. An utterance is named by an opaque id: a keyed
hash of its audio, another one as a source than as a target, so that the labels of a pair say
nothing about the pair the other way round. The key stays beside the results file.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import soundfile

from clser_bench.corpora.audio import decode
from clser_bench.corpora.definitions import classes_of
from clser_bench.corpora.locate import load_corpora
from clser_bench.corpora.model import Corpus, Utterance
from clser_bench.errors import SpecError, StoreError
from clser_bench.files import cache_folder, regular_size, write_whole
from clser_bench.hashing import Hashable, digest
from clser_bench.problem import Table
from clser_bench.progress import SILENT, Progress, shown
from clser_bench.protocol import Condition, Pair, Shots
from clser_bench.run.choice import Say, choose
from clser_bench.run.request import Request
from clser_bench.splits import Fold, build

COLUMNS = ("trial", "part", "fold", "id", "emotion", "audio")
PARTS = ("labelled", "unlabelled", "adapt", "scored")
HEADING = "draws.json"
_TABLES = {"csv": "draws.csv", "parquet": "draws.parquet"}
_MOST_BYTES = 1 << 26


class Row(NamedTuple):
    """An utterance of a trial."""

    part: str  # one of `PARTS`
    fold: int  # number of the fold; 0 but in the inductive setting
    id: str  # its opaque name
    emotion: str  # of labelled rows; empty for others
    utterance: Utterance


@dataclass(frozen=True, eq=False, kw_only=True)
class Draw:
    """A trial without a method."""

    pair: Pair
    classes: tuple[str, ...]
    shots: Shots
    seed: int
    synthetic: bool
    # of the audio, the labels and the speakers of both sides, for the trial's id
    keys: tuple[str, str]
    folds: tuple[Fold, ...]  # answers, and problems whose only feature is the row's number
    rows: tuple[Row, ...]  # of all parts, ordered by part, fold and id
    # of the scored utterances of each fold, in the order of its answers
    ids: tuple[tuple[str, ...], ...]

    @property
    def name(self) -> str:
        """`B:C:5:0`: source, target, shots, seed."""
        return f"{self.pair.source}:{self.pair.target}:{self.shots}:{self.seed}"


@dataclass(frozen=True, eq=False, kw_only=True)
class Draws:
    """The draws of a request."""

    condition: Condition  # the rules with nothing left open but the number of shots
    table: tuple[Pair, ...]  # ordered pairs of the whole suite
    languages: Mapping[str, str]  # of each corpus, by code
    trials: Mapping[str, Draw]  # by name

    @property
    def rules(self) -> dict[str, str]:
        """The rules that all trials share."""
        return {name: text for name, text in self.condition.texts().items() if name != "shots"}

    @functools.cached_property
    def digest(self) -> str:
        """Hash of the rules and of every row: 64 hexadecimal digits."""
        rows: dict[str, Hashable] = {
            name: [list(row[:-1]) for row in one.rows] for name, one in self.trials.items()
        }
        return digest([dict(self.rules), rows])


def draws(
    request: Request, salt: str, *, progress: Progress = SILENT, say: Say = lambda _: None
) -> Draws:
    """Read corpora and draw what a run of the same request would be given."""
    cache, rules = cache_folder(), request.condition
    choice = choose(request, cache=cache, progress=progress, say=say)
    condition, _ = choice.resolved(rules)
    corpora = load_corpora(
        codes=choice.codes,
        located=choice.located,
        cache=cache,
        skip_bad=request.skip_bad,
        workers=request.workers,
        progress=progress,
        say=say,
    )
    made = (
        _draw(corpora[pair.source], corpora[pair.target], condition.replace(shots=k), seed, salt)
        for k in dict.fromkeys(request.shots)
        for pair in choice.pairs
        for seed in range(1 if k == "all" and rules.prior == "natural" else request.seeds)
    )
    return Draws(
        condition=condition,
        table=choice.table,
        languages={code: corpus.spec.language for code, corpus in corpora.items()},
        trials={one.name: one for one in made},
    )


def _draw(source: Corpus, target: Corpus, condition: Condition, seed: int, salt: str) -> Draw:
    classes = classes_of(source.spec, target.spec, classes=condition.classes)

    def named(side: str, utterance: Utterance) -> str:
        """A name that says nothing: 20 hexadecimal digits of a keyed hash."""
        message = f"{side} {utterance.content}".encode("ascii")
        return hmac.new(bytes.fromhex(salt), message, hashlib.sha256).hexdigest()[:20]

    # the only feature is the number of the row, whatever order a problem has
    first, second = (
        Table(
            f"{n} numbers", np.zeros((n, 1, 0), np.float32), np.arange(n, dtype=np.float32)[:, None]
        )
        for n in (len(source.utterances), len(target.utterances))
    )
    folds = build(
        source,
        target,
        classes=classes,
        shots=condition.shots,
        seed=seed,
        condition=condition,
        tables=lambda *_: (first, second),
    )
    rows = []
    for number, fold in enumerate(folds):
        problem = fold.problem
        labels = [classes[index] for index in problem.labelled.y]
        for part, places in (
            ("labelled", problem.labelled.rows),
            ("unlabelled", problem.unlabelled),
            ("adapt", problem.adapt),
            ("scored", problem.scored),
        ):
            side = "target" if part in ("adapt", "scored") else "source"
            table, corpus = getattr(problem, side), target if side == "target" else source
            given = labels if part == "labelled" else [""] * len(places)
            for at, label in zip(table.summary[places, 0], given, strict=True):
                utterance = corpus.utterances[int(at)]
                rows.append(Row(part, number, named(side, utterance), label, utterance))
    by_name = {utterance.name: utterance for utterance in target.utterances}
    facts = [[c.content, c.emotions.tolist(), c.speakers.tolist()] for c in (source, target)]
    return Draw(
        pair=Pair(source.spec.code, target.spec.code),
        classes=classes,
        shots=condition.shots,
        seed=seed,
        synthetic=source.spec.synthetic or target.spec.synthetic,
        keys=(digest(facts[0]), digest(facts[1])),
        folds=folds,
        rows=tuple(sorted(rows, key=lambda row: (PARTS.index(row.part), *row[1:3]))),
        ids=tuple(
            tuple(named("target", by_name[name]) for name in fold.key.names) for fold in folds
        ),
    )


def write_draws(
    request: Request,
    folder: Path,
    *,
    audio: Literal["none", "copy", "link"] = "none",
    table: Literal["csv", "parquet"] = "csv",
    progress: Progress = SILENT,
    say: Say = lambda _: None,
) -> Draws:
    """Write the draws of a request into a folder; the same request gives the same bytes.

    The key of the ids and the request are kept in a file beside the results file, which is where
    predictions will be scored.

    Args:
        audio: `copy` writes each utterance as the benchmark reads it (mono, without metadata);
            `link` makes hard links to whole files.

    Raises:
        ClserError: as for `draws`; or the results file lies in the folder, or it cannot be written.
    """
    if folder.resolve() in request.results.resolve().parents:
        raise SpecError(
            f"{folder}: the results file {request.results} lies in it, and with it the key of the "
            "ids; name another folder"
        )
    for path in request.manifests:
        if path.resolve() in ((folder / name).resolve() for name in (*_TABLES.values(), HEADING)):
            raise SpecError(f"{path}: the draws would overwrite this manifest; name another folder")
    private = _read_private(request.results)
    salt = private.setdefault("salt", secrets.token_hex(32))
    made = draws(request, salt, progress=progress, say=say)
    private.setdefault("requests", {})[made.digest] = request.json
    place = private_file(request.results)
    write_whole(place, json.dumps(private, indent=1) + "\n")
    place.chmod(0o600)
    sounds = {row.id: row.utterance for one in made.trials.values() for row in one.rows}
    names = {}
    if audio != "none":
        with shown(progress, f"audio ({audio})", len(sounds)):
            for name, utterance in sorted(sounds.items()):
                names[name] = _put_audio(folder, name, utterance, audio)
                progress.advance()
    rows = [
        (name, *row[:-1], names.get(row.id, ""))
        for name, one in made.trials.items()
        for row in one.rows
    ]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    content: bytes | str = (
        frame.to_csv(index=False) if table == "csv" else frame.to_parquet(index=False)
    )
    for form, name in _TABLES.items():
        if form == table:
            write_whole(folder / name, content, error=SpecError)
        else:
            (folder / name).unlink(missing_ok=True)  # of an earlier request
    heading = {
        "version": 1,
        "digest": made.digest,
        "condition": made.rules,
        "languages": dict(made.languages),
        "trials": {
            name: {
                "source": one.pair.source,
                "target": one.pair.target,
                "shots": one.shots,
                "seed": one.seed,
                "classes": one.classes,
                "rows": {part: sum(row.part == part for row in one.rows) for part in PARTS},
            }
            for name, one in made.trials.items()
        },
    }
    text = json.dumps(heading, indent=1, ensure_ascii=False) + "\n"
    write_whole(folder / HEADING, text, error=SpecError)
    return made


def _put_audio(folder: Path, name: str, utterance: Utterance, how: str) -> str:
    """Put an utterance under its id; the path relative to the folder."""
    suffix = ".wav" if how == "copy" else utterance.path.suffix.lower()
    place = folder / "audio" / f"{name}{suffix}"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        if how == "copy":
            sound = decode(utterance.path, start=utterance.start, end=utterance.end)
            scaled = sound.samples * np.float32(32768)
            # in 16 bits where these hold the samples, else as floats
            whole = bool((scaled == np.round(scaled)).all() and scaled.max() <= 32767)
            subtype = "PCM_16" if whole and scaled.min() >= -32768 else "FLOAT"
            soundfile.write(place, sound.samples, sound.rate, subtype=subtype, format="WAV")
        elif utterance.start > 0 or utterance.end is not None:
            raise SpecError(
                f"{utterance.path}: an utterance is a segment of it, which cannot be linked; "
                "use --audio copy"
            )
        else:
            place.unlink(missing_ok=True)
            os.link(utterance.path, place)
    except OSError as error:
        remedy = "; use --audio copy" if how == "link" else ""
        why = error.strerror or error
        raise SpecError(f"{place}: cannot be written ({why}){remedy}") from error
    return place.relative_to(folder).as_posix()


def stored_draws(
    folder: Path,
    results: Path,
    *,
    corpora: Path | None = None,
    manifests: Sequence[Path] = (),
    progress: Progress = SILENT,
    say: Say = lambda _: None,
) -> Draws:
    """The draws of a folder, drawn again from the corpora with the key beside the results file.

    The corpora lie where they were when the folder was written, unless others are named.

    Raises:
        SpecError: it is no such folder, its key is not beside the results file, or the corpora give
            other draws.
    """
    place = folder / HEADING
    regular_size(place, error=SpecError, most=_MOST_BYTES)
    try:
        name = str(json.loads(place.read_text(encoding="utf-8"))["digest"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise SpecError(f"{place}: is not what `clser-bench draws` wrote ({error})") from error
    private = _read_private(results)
    if name not in private.get("requests", {}):
        raise SpecError(
            f"{folder}: its draws {name[:12]} are not known to {private_file(results)}; name the "
            "results file that they were written for with --results, or write them again with "
            "`clser-bench draws`"
        )
    request = Request.from_json(private["requests"][name], results=results)
    request = request.replace(
        corpora=corpora or request.corpora, manifests=tuple(manifests) or request.manifests
    )
    found = draws(request, private["salt"], progress=progress, say=say)
    if found.digest != name:
        raise SpecError(
            f"{folder}: the corpora at hand give the draws {found.digest[:12]}, not {name[:12]}: "
            "recordings, labels or the protocol changed since; write the draws again with "
            "`clser-bench draws`"
        )
    return found


def private_file(results: Path) -> Path:
    """The file beside a results file that keeps the key of the ids."""
    return results.with_name(f"{results.name}.draws.json")


def _read_private(results: Path) -> dict[str, Any]:
    place = private_file(results)
    if not place.exists():
        return {}
    regular_size(place, error=StoreError, most=_MOST_BYTES)
    try:
        found: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
        bytes.fromhex(found["salt"])
        found["requests"].keys()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(
            f"{place}: is damaged ({error}); take it from a backup, or delete it and write the "
            "draws again"
        ) from error
    return found
