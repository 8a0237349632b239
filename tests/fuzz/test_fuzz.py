"""Inputs of users, mutated at random: each gives a right result or a named error, never silence.

A case is named by its area and its number, and made from them alone; a failure prints both.
FUZZ_SECONDS is the time of all areas together (6 in the default tier), FUZZ_SEED shifts the
numbers: `make fuzz` takes an hour, `FUZZ_SECONDS=600 make fuzz` ten minutes.
"""

from __future__ import annotations

import csv
import io
import itertools
import os
import random
import re
import resource
import shutil
import signal
import struct
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from pyarrow import parquet

from clser_bench.corpora.audio import LONGEST, RATES, content_hash, decode
from clser_bench.corpora.definitions import definitions
from clser_bench.corpora.listings import list_manifest
from clser_bench.errors import ClserError, has_controls
from clser_bench.features.encoders.forward import Loaded
from clser_bench.features.encoders.models import find_encoder, parse
from clser_bench.features.extract import feature_table
from clser_bench.features.sets import BY_LANGUAGE, resolve_feature_sets
from clser_bench.problem import open_table
from clser_bench.protocol import EMOTIONS
from clser_bench.report.provenance import as_text, read_card, seal
from clser_bench.run.request import parse_settings
from clser_bench.store.sqlite import Store
from tests.boards import run
from tests.exports import export, shown, take
from tests.fake_corpora import define, read_corpus, toy_spec, write_tone, write_toy
from tests.tiny_encoders import save_tiny
from tests.unit.test_card import card_of

SECONDS = float(os.environ.get("FUZZ_SECONDS", "6"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
LIMIT = 10.0  # seconds of the processor that one case may take; the slowest takes about one
STUCK = 120  # seconds after which a case is taken for stuck, however busy the machine is
GROWTH = 2 << 30  # bytes by which memory may grow over all cases of an area

NAMED, RIGHT = "named error", "right result"
Random = random.Random
Case = Callable[[Random, Path], None]


class SilentError(AssertionError):
    """A result that is wrong, without a word."""


def right(condition: bool, what: str) -> None:
    if not condition:
        raise SilentError(what)


# How inputs are mutated.

_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_TEXTS = (
    "", " ", "\0", "\x1b]0;x\x07", "\u202e", "\ud7ff", "\ufeff", '"', "'", ",", ";", "\t", "\r",
    "\n", "\\", "/", "..", "../../etc/passwd", "/dev/zero", "~", "#t=0,1", "-1", "1e999", "nan",
    "inf", "9" * 5000, "x" * 20_000, "[" * 2000, "{" * 2000, "=", "[[", "]]", '"""', "true",
    "null", "anger", "Anger", "de", "DE", "deu", "pt_BR", "(?P<speaker>", "(a+)+$", "\\d", "é",
    "e\u0301",
)  # fmt: skip


def mutated(content: bytes, rng: Random, *, head: int = 0) -> bytes:
    """Bytes after one to four changes; with `head`, most of them in so many first bytes."""
    made = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        size = len(made)
        place = rng.randrange(min(head, size) if head and rng.random() < 0.8 else max(1, size))
        kind = rng.randrange(7)
        if kind <= 1 and place < size:
            made[place] ^= 1 << rng.randrange(8)
        elif kind == 2:
            number = struct.pack(rng.choice("<>") + "I", rng.choice(_NUMBERS))
            made[place : place + 4] = number[: rng.choice((2, 4))]
        elif kind == 3:
            made[place : place + rng.choice((1, 8, 512))] = b""
        elif kind == 4:
            made[place:place] = rng.randbytes(rng.choice((1, 4, 100)))
        elif kind == 5:
            made[place : place + 512] = bytes(min(512, len(made) - place))
        else:
            del made[rng.randrange(max(1, size)) :]
    return bytes(made)


def reworded(text: str, rng: Random) -> bytes:
    """A text after some changes of its words and lines, or of its bytes."""
    for _ in range(rng.choice((1, 1, 2, 5))):
        parts = re.split(r"(\n|[,=\"\[\]]| = )", text)
        place = rng.randrange(len(parts))
        kind = rng.randrange(5)
        if kind <= 1:
            parts[place] = parts[place] * kind + rng.choice(_TEXTS)
        elif kind == 2:
            parts[place] = rng.choice(parts)
        elif kind == 3:
            lines = text.splitlines(keepends=True) or [""]
            lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
            parts = lines
        else:
            del parts[place]
        text = "".join(parts)
    made = text.encode(rng.choice(("utf-8",) * 8 + ("utf-8-sig", "utf-16")), "surrogatepass")
    return mutated(made, rng) if rng.random() < 0.2 else made


# The areas: each makes good inputs once, and gives a function that runs a case.


def audio(place: Path) -> Case:
    rng = np.random.default_rng(0)
    samples = np.clip(rng.standard_normal((8000, 2)) * 0.1, -1, 1)
    kinds = {
        "wav": ("WAV", "PCM_16"), "float.wav": ("WAV", "FLOAT"), "24.wav": ("WAVEX", "PCM_24"),
        "flac": ("FLAC", "PCM_16"), "ogg": ("OGG", "VORBIS"), "mp3": ("MP3", "MPEG_LAYER_III"),
        "aiff": ("AIFF", "PCM_16"), "au": ("AU", "PCM_16"), "w64": ("W64", "PCM_16"),
        "rf64": ("RF64", "PCM_16"), "caf": ("CAF", "PCM_16"), "nist": ("NIST", "PCM_16"),
    }  # fmt: skip
    good = {}
    for name, (container, subtype) in kinds.items():
        path = place / f"good.{name}"
        soundfile.write(path, samples, 16_000, format=container, subtype=subtype)
        good[name] = path.read_bytes(), content_hash(decode(path))

    def case(rng: Random, folder: Path) -> None:
        name = rng.choice(list(good))
        content, known = good[name]
        path = folder / f"x.{name}"
        changed = mutated(content, rng, head=rng.choice((0, 64, 200)))
        path.write_bytes(changed)
        found = decode(path)
        right(RATES[0] <= found.rate <= RATES[1], f"{found.rate} Hz")
        right(0 < found.seconds <= LONGEST, f"{found.seconds} s")
        right(bool(np.isfinite(found.samples).all()), "samples that are not finite")
        if name == "flac" and changed[:400] == content[:400]:  # each frame has a checksum
            right(content_hash(found) == known, "damaged frames are taken for sound")
        cut_short = content.startswith(changed) and len(changed) < len(content) - 512
        right(not cut_short, f"cut short from {len(content)} to {len(changed)} bytes")
        decode(path, rate=16_000)

    return case


def _rows(place: Path) -> list[list[str]]:
    files = [f"a/{n}.wav" for n in range(8)]
    for file in files:
        write_tone(place / file)
    return [
        ["path", "speaker", "emotion", "language", "gender", "text", "start", "end"],
        *(
            [file, f"s{n % 3}", EMOTIONS[n % 3], "de" if n < 4 else "it", "female", "t", "0", "0.1"]
            for n, file in enumerate(files)
        ),
    ]


def _check_listings(path: Path, place: Path) -> int:
    (path.parent / "a").symlink_to(place / "a")
    names = []
    for listing in list_manifest(path):
        for item in listing.utterances:
            names.append((listing.spec.code, item.name))
            right(item.emotion in EMOTIONS, f"emotion {item.emotion!r}")
            right(bool(item.speaker), "no speaker")
            texts = (item.name, item.speaker, listing.spec.code)
            right(not any(map(has_controls, texts)), f"control characters in {texts}")
            right(item.end is None or item.end > item.start, f"{item.start} to {item.end}")
        names += [(listing.spec.code, f"bad {n}") for n, _ in enumerate(listing.bad)]
    right(len(set(names)) == len(names), "an utterance is there twice")
    return len(names)


def manifests(place: Path) -> Case:
    rows = _rows(place)
    text = io.StringIO()
    csv.writer(text).writerows(rows)

    def case(rng: Random, folder: Path) -> None:
        path = folder / "m.csv"
        path.write_bytes(reworded(text.getvalue(), rng))
        count = _check_listings(path, place)
        read = path.read_text(encoding="utf-8-sig")
        names, *made = csv.reader(io.StringIO(read, newline=""))
        known = [n for n, name in enumerate(names) if name.strip() in rows[0]]
        filled = [row for row in made if any(row[n].strip() for n in known if n < len(row))]
        right(count == len(filled), f"{len(filled)} rows, {count} utterances and faults")

    return case


def parquet_manifests(place: Path) -> Case:
    names, *rows = _rows(place)
    table = pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows])
    parquet.write_table(table, place / "m.parquet")
    content = (place / "m.parquet").read_bytes()

    def case(rng: Random, folder: Path) -> None:
        path = folder / "m.parquet"
        path.write_bytes(mutated(content, rng))
        _check_listings(path, place)

    return case


def toml(place: Path) -> Case:
    specs = {code: toy_spec(code) for code in ("XX", "YY")}
    spec = (define(place / "tasks", toy_spec("XX")) / "toy_xx.toml").read_text()
    suite = '[[suite]]\nname = "own"\ncorpora = ["B", "C"]\nuse = "x"\n'
    settings = '[sere]\nsteps = 3\nweight = 0.5\nkind = "x"\ndual = true\n\n[dann]\nsteps = 4\n'
    features = 'de = "minimal"\nit = "egemaps"\n'
    texts = {"x.toml": spec, "suites.toml": suite, "params.toml": settings, "sets.toml": features}

    def case(rng: Random, folder: Path) -> None:
        name = rng.choice(list(texts))
        path = folder / name
        path.write_bytes(reworded(texts[name], rng))
        if name == "params.toml":
            parse_settings([], path)
        elif name == "sets.toml":
            resolve_feature_sets(f"{BY_LANGUAGE}{path}", specs)
        else:
            definitions([folder])

    return case


def results(place: Path) -> Case:
    export(place / "r.sqlite")
    content = (place / "r.sqlite").read_bytes()
    known = shown(place / "r.sqlite")

    def case(rng: Random, folder: Path) -> None:
        path = folder / "r.sqlite"
        path.write_bytes(mutated(content, rng, head=rng.choice((0, 0, 100))))
        right(shown(path) == known, "another table")

    return case


def imports(place: Path) -> Case:
    export(place / "r.sqlite")
    content = (place / "r.parquet").read_bytes()
    take(place / "known.sqlite", place / "r.parquet")
    known = shown(place / "known.sqlite")

    def case(rng: Random, folder: Path) -> None:
        path, pool = folder / "r.parquet", folder / "pool.sqlite"
        path.write_bytes(mutated(content, rng))
        take(pool, path)
        with Store(pool, read_only=True) as store:
            right(not store.verify(), "what was imported does not verify")
        right(shown(pool) == known, "another table")

    return case


def caches(place: Path) -> Case:
    spec = toy_spec("XX")
    root, whole = write_toy(place / "toy"), place / "cache"

    def made(cache: Path) -> tuple[bytes, ...]:
        open_table.cache_clear()
        corpus = read_corpus(spec, root, cache=cache, workers=1)
        table = feature_table(corpus, "minimal", cache=cache, workers=1)
        names = "\n".join(item.name for item in corpus.utterances)
        return names.encode(), table.instants.tobytes(), table.summary.tobytes()

    known = made(whole)
    files = [path.relative_to(whole) for path in sorted(whole.rglob("*")) if path.is_file()]

    def case(rng: Random, folder: Path) -> None:
        cache = folder / "cache"
        shutil.copytree(whole, cache)
        for _ in range(rng.choice((1, 1, 2))):
            path = cache / rng.choice(files)
            path.write_bytes(mutated(path.read_bytes(), rng))
        right(made(cache) == known, "another table")

    return case


def encoders(place: Path) -> Case:
    good = {kind: save_tiny(kind, place) for kind in ("hubert-base", "whisper", "wavlm-base")}

    def case(rng: Random, folder: Path) -> None:
        own = folder / "encoder"
        shutil.copytree(good[rng.choice(list(good))], own)
        path = rng.choice(sorted(own.iterdir()))
        content = path.read_bytes()
        if path.suffix == ".json" and rng.random() < 0.8:
            path.write_bytes(reworded(content.decode(), rng))
        else:
            path.write_bytes(mutated(content, rng, head=rng.choice((0, 4000))))
        encoder = find_encoder(parse(f"hf:{own}"))
        right(0 < encoder.layers < 1000, f"{encoder.layers} layers")
        Loaded(encoder, (1,))

    return case


def cards(place: Path) -> Case:
    with Store(place / "r.sqlite") as store:
        run(store, {"sere": 20, "dann": 12})
        known = card_of(store)

    def case(rng: Random, folder: Path) -> None:
        path = folder / "card.json"
        path.write_bytes(reworded(as_text(known), rng))
        card = read_card(path)
        right(seal(card) == card, "a card that does not fit its hash")
        right(card == known, "another card")  # of which keys may have another order

    return case


AREAS: dict[str, Callable[[Path], Case]] = {
    area.__name__.replace("_", " "): area
    for area in (
        audio, manifests, parquet_manifests, toml, results, imports, caches, encoders, cards,
    )
}  # fmt: skip


# Running them.


def _late(*_: object) -> None:
    raise TimeoutError(f"more than {STUCK} s")


def attempt(case: Case, area: str, number: int, place: Path) -> tuple[str, str, float]:
    """Run one case in a folder of its own: a word, the trace of what must not happen, seconds."""
    rng = Random(f"{area} {number}")
    started = time.process_time()
    signal.signal(signal.SIGALRM, _late)
    signal.alarm(STUCK)
    try:
        with tempfile.TemporaryDirectory(dir=place) as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of libraries, about damage that is met
            case(rng, Path(folder))
            word, trace = RIGHT, ""
    except ClserError as error:
        word, trace = NAMED, ""
        if not str(error).strip() or len(str(error)) > 30_000:
            word, trace = "unclear error", f"{len(str(error))} characters"
    except Exception as error:  # noqa: BLE001
        # Whatever escapes is what is looked for.
        word, trace = type(error).__name__, traceback.format_exc(limit=-6)
    finally:
        signal.alarm(0)
    seconds = time.process_time() - started
    if seconds > LIMIT:
        word, trace = "too slow", f"{seconds:.1f} s of the processor"
    return word, trace, seconds


@pytest.mark.parametrize("area", AREAS)
def test_fuzz(area: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = AREAS[area](tmp_path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    counts: Counter[str] = Counter()
    failures, slowest = [], (0.0, 0)
    end = time.monotonic() + SECONDS / len(AREAS)
    for number in itertools.count(SEED * 1_000_000):
        if time.monotonic() > end and number > SEED * 1_000_000 + 2:
            break
        (tmp_path / "case").write_text(f"{area} {number}")  # where the process dies, this is why
        word, trace, seconds = attempt(case, area, number, tmp_path)
        counts[word] += 1
        slowest = max(slowest, (seconds, number))
        if trace:
            failures.append(f"case {number} of {area}: {word}\n{trace}")
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    with capsys.disabled():
        words = ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))
        head = f"\nfuzz {area}: {counts.total()} cases: {words}; "
        slow = f"slowest {slowest[0]:.1f} s (case {slowest[1]}), "
        print(f"{head}{slow}memory + {grown / 2**20:.0f} MiB")
    assert not failures, f"{len(failures)} failures\n" + "\n".join(failures[:10])
    assert grown < GROWTH
