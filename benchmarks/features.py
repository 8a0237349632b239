"""How fast features are made, as ratios within one run.

    python benchmarks/features.py [--corpora DIR] [--seconds 120] [--device cpu] [--shape base]

1. Each acoustic set: seconds of speech for a second of one process.
2. An encoder with random weights (no weights are needed to measure time):
   - the whole way (decoding, batches, pooling, shards, table) as a share of a bare forward loop
     over ready batches of the same shapes: what is lost besides the encoder;
   - the whole way against one utterance at a time, as other harnesses extract.
3. With --whisper FOLDER: its contexts (padded, own, 30s) in turn, the whole way.

Speech comes from --corpora (or CLSER_CORPORA); without any, noises of like lengths stand in.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from clser_bench.corpora.audio import content_hash, decode
from clser_bench.corpora.definitions import CorpusSpec
from clser_bench.corpora.locate import locate
from clser_bench.corpora.model import Corpus, Utterance
from clser_bench.errors import MissingExtraError
from clser_bench.features.columns import INSTANTS, pool
from clser_bench.features.encoders import run
from clser_bench.features.encoders.forward import Loaded
from clser_bench.features.encoders.models import find_encoder, parse
from clser_bench.features.extract import feature_table
from clser_bench.features.sets import FEATURE_SETS, feature_set
from clser_bench.hashing import generator
from clser_bench.problem import Floats

SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {"hidden_size": 96, "num_hidden_layers": 2, "intermediate_size": 192},
    "base": {},
    "large": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
    },
}


def main() -> None:
    """Print the figures."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=_Formatter)
    options.add_argument("--corpora", type=Path, default=os.environ.get("CLSER_CORPORA"))
    options.add_argument("--seconds", type=float, default=120, help="of speech for the encoder")
    options.add_argument("--device", default="cuda:0" if torch.cuda.is_available() else "cpu")
    options.add_argument("--shape", choices=SHAPES, default="base", help="of wav2vec 2.0")
    options.add_argument("--whisper", help="folder of a Whisper encoder: its contexts in turn")
    options.add_argument("--layers", default="2-3", help="of that encoder")
    options.add_argument("--precision", choices=("float32", "bf16", "fp16"), default="float32")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        corpus = _speech(asked.corpora, place, seconds=asked.seconds)
        total = sum(utterance.seconds for utterance in corpus.utterances)
        print(f"{_machine(asked.device)}; {corpus.spec.title}: {len(corpus.utterances)} utterances")
        print(f"{total:.0f} s of speech, {total / len(corpus.utterances):.1f} s each\n")
        _acoustic(corpus)
        _encoder(corpus, place, asked)
        if asked.whisper:
            _contexts(corpus, place, asked)


class _Formatter(argparse.RawDescriptionHelpFormatter):
    pass


def _machine(device: str) -> str:
    if device.startswith("cuda"):
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    cores = len(os.sched_getaffinity(0))
    return f"{platform.machine()}, {cores} cores, torch {torch.__version__}"


def _speech(corpora: Path | None, place: Path, *, seconds: float) -> Corpus:
    """Utterances of every corpus that is there, in turn, until there are enough seconds."""
    paths = _real(corpora) if corpora else _noises(place / "noises", seconds)
    chosen: list[Utterance] = []
    for path in paths:
        audio = decode(path)
        chosen.append(
            Utterance(
                name=path.name,
                path=path,
                emotion="neutral",
                speaker="x",
                content=content_hash(audio),
                seconds=audio.seconds,
                rate=audio.rate,
            )
        )
        if sum(one.seconds for one in chosen) >= seconds:
            break
    title = "real speech" if corpora else "noise of speech's lengths"
    spec = CorpusSpec(
        code="X", name="x", title=title, language="und", licence="", citation="", pattern=""
    )
    return Corpus(spec=spec, root=place, utterances=tuple(sorted(chosen, key=lambda u: u.content)))


def _real(corpora: Path) -> list[Path]:
    """Files of all corpora, mixed."""
    folders = [listing.root for listing in locate(corpora).listings.values()]
    files = [path for folder in folders for path in sorted(folder.rglob("*.flac"))]
    files = files or [path for folder in folders for path in sorted(folder.rglob("*.wav"))]
    order = generator("benchmark", "features").permutation(len(files))
    return [files[place] for place in order]


def _noises(folder: Path, seconds: float) -> list[Path]:
    random = generator("benchmark", "noises")
    folder.mkdir()
    paths = []
    for number in range(int(seconds)):
        length = round(16_000 * float(random.gamma(4.0, 0.6) + 0.4))
        paths.append(folder / f"{number}.flac")
        noise = 0.1 * random.standard_normal(length)
        soundfile.write(paths[-1], noise, 16_000)
    return paths


def _acoustic(corpus: Corpus) -> None:
    total = sum(utterance.seconds for utterance in corpus.utterances)
    print("acoustic sets, one process (mel, mfcc and prosody are columns of acoustic)")
    for name in FEATURE_SETS:
        features = feature_set(name)
        if features.parts:
            continue
        try:
            features.check()
        except MissingExtraError as error:
            print(f"  {name:10} left out: {error}")
            continue
        sounds = [decode(utterance.path) for utterance in corpus.utterances]
        features.extract(sounds[0].samples, sounds[0].rate)
        spent = _timed(lambda: [features.extract(s.samples, s.rate) for s in sounds])  # noqa: B023
        print(f"  {name:10} {total / spent:7.1f} times real time")
    print()


def _encoder(corpus: Corpus, place: Path, asked: argparse.Namespace) -> None:
    folder = _random_encoder(asked.shape, place / "encoder")
    name = f"hf:{folder}:precision={asked.precision}"
    encoder = find_encoder(parse(name))
    layers = (encoder.layers,)
    total = sum(utterance.seconds for utterance in corpus.utterances)
    loaded = run.load(encoder, layers, precision=asked.precision, device=asked.device)
    loaded.run(loaded.prepare(np.zeros(16_000, np.float32)))  # the first run is no measure
    warm = Corpus(spec=corpus.spec, root=corpus.root, utterances=corpus.utterances[:2])
    feature_table(warm, name, cache=place / "warm", devices=(asked.device,))

    ours = _timed(
        lambda: feature_table(corpus, name, cache=place / "cache", devices=(asked.device,))
    )
    batches = run.batches(corpus.utterances, loaded, run.batch_seconds(asked.device))
    prepared = [loaded.prepare(decode(u.path, rate=16_000).samples)[0] for u in corpus.utterances]
    ready = [_padded([prepared[row] for row in batch], asked.device) for batch in batches]
    plain = _Bare(folder, asked)
    plain.run(ready[-1:])
    bare = _timed(lambda: plain.run(ready))
    single = _timed(lambda: [_alone(loaded, utterance) for utterance in corpus.utterances])
    lengths = [[len(prepared[row]) for row in batch] for batch in batches]
    padding = 1 - sum(map(sum, lengths)) / sum(max(each) * len(each) for each in lengths)
    print(f"wav2vec 2.0 {asked.shape}, random weights, {asked.precision}, {asked.device}")
    print(f"  {len(batches)} batches, {100 * padding:.1f} % padding")
    print(f"  whole way             {total / ours:7.1f} times real time")
    print(f"  share of bare forward {100 * bare / ours:7.1f} %   (bare: {total / bare:.1f})")
    print(f"  against one at a time {single / ours:7.2f} times (alone: {total / single:.1f})")


def _contexts(corpus: Corpus, place: Path, asked: argparse.Namespace) -> None:
    """Seconds of each context of Whisper, the whole way, and its cosine to the 30 s window."""
    seconds, means = {}, {}
    for context in ("30s", "padded", "own"):
        name = f"hf:{asked.whisper}:layer={asked.layers}:context={context}"
        run.load.cache_clear()
        started = time.perf_counter()
        table = feature_table(corpus, name, cache=place / context, devices=(asked.device,))
        seconds[context] = time.perf_counter() - started
        means[context] = table.summary - np.mean(table.summary, axis=0)
    total = sum(utterance.seconds for utterance in corpus.utterances)
    print(f"\nWhisper, layers {asked.layers}: seconds, times faster than 30 s, cosine (centred)")
    for context, spent in seconds.items():
        one, other = means[context], means["30s"]
        lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
        cosine = float(((one * other).sum(axis=1) / lengths).mean())
        ratio = seconds["30s"] / spent
        print(f"  {context:7} {spent:8.1f} s  {ratio:5.1f}  {cosine:.4f}  ({total / spent:.0f} x)")


def _padded(pieces: Sequence[np.ndarray], device: str) -> tuple[torch.Tensor, torch.Tensor]:
    lengths = torch.tensor([len(piece) for piece in pieces])
    batch = torch.zeros(len(pieces), int(lengths.max()))
    for row, piece in zip(batch, pieces, strict=True):
        row[: len(piece)] = torch.from_numpy(piece)
    mask = (torch.arange(batch.shape[1]) < lengths[:, None]).long()
    return batch.to(device), mask.to(device)


class _Bare:
    """Plain transformers, batches ready on the device: nothing but the forward pass."""

    def __init__(self, folder: Path, asked: argparse.Namespace) -> None:
        import transformers

        self.model = transformers.AutoModel.from_pretrained(folder).eval().to(asked.device)
        self.kind = {"float32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[
            asked.precision
        ]
        self.device = asked.device

    @torch.inference_mode()
    def run(self, ready: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> None:
        with torch.autocast(self.device.partition(":")[0], self.kind, enabled=bool(self.kind)):
            for batch, mask in ready:
                self.model(batch, attention_mask=mask)


def _alone(loaded: Loaded, utterance: Utterance) -> Floats:
    """Decode, encode, bring back, pool: one utterance after the other."""
    (piece,) = loaded.prepare(decode(utterance.path, rate=loaded.encoder.rate).samples)
    ((frames,),) = loaded.run([piece])
    return pool(frames, INSTANTS)


def _random_encoder(shape: str, folder: Path) -> Path:
    from clser_bench.features.encoders.forward import import_transformers

    transformers = import_transformers()

    torch.manual_seed(0)
    model = transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**SHAPES[shape]))
    model.save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(folder)
    return folder


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
