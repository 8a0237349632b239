"""Every architecture against plain transformers, and against itself in other batches."""

import numpy as np
import pytest
import torch

from clser_bench.features.encoders.forward import Loaded, MaskedGroupNorm
from clser_bench.features.encoders.models import ALONE, Encoder, find_encoder, parse
from tests import tiny_encoders
from tests.signals import RATE
from tests.tiny_encoders import MAKERS, save_tiny

hub = tiny_encoders.hub
LAYERS = (0, 1, 2, 3)
SAME = 1e-4
LENGTHS = (16000, 15800, 15333, 15999, 14000, 9000)


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("encoders")
    return {kind: find_encoder(parse(f"hf:{save_tiny(kind, folder)}")) for kind in MAKERS}


def noises(lengths=LENGTHS):
    rng = np.random.default_rng(5)
    return [(0.1 * rng.standard_normal(n) + 0.02).astype(np.float32) for n in lengths]


def encoded(subject: Loaded, samples: np.ndarray) -> list[np.ndarray]:
    """The frames of one utterance at each layer."""
    (layers,) = subject.run(subject.prepare(samples))
    return layers


def apart(subject: Loaded) -> tuple[list[np.ndarray], list[list[np.ndarray]]]:
    """The noises as the network takes them, and the frames of each alone."""
    pieces = [subject.prepare(samples)[0] for samples in noises()]
    return pieces, [subject.run([piece])[0] for piece in pieces]


def furthest(first, second) -> float:
    return max(
        float(np.abs(a - b).max())
        for one, other in zip(first, second, strict=True)
        for a, b in zip(one, other, strict=True)
    )


def reference(encoder: Encoder, samples: np.ndarray) -> list[np.ndarray]:
    """Every layer of one utterance by transformers alone; the last is the encoder's output."""
    inputs = hub.AutoFeatureExtractor.from_pretrained(encoder.folder)
    model = hub.AutoModel.from_pretrained(encoder.folder).eval()
    network = model.get_encoder() if encoder.family == "whisper" else model
    made = inputs(samples, sampling_rate=RATE, return_tensors="pt")
    made.pop("attention_mask", None)
    with torch.no_grad():
        output = network(**made, output_hidden_states=True)
    return [states[0].numpy() for states in (*output.hidden_states[:-1], output.last_hidden_state)]


@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")  # plain WavLM
@pytest.mark.parametrize("kind", MAKERS)
def test_loading_is_silent_and_one_utterance_is_what_transformers_gives(
    kind: str, encoders, capfd: pytest.CaptureFixture[str]
):
    encoder = encoders[kind]
    capfd.readouterr()  # of making the encoders
    subject = Loaded(encoder, LAYERS)
    assert capfd.readouterr() == ("", "")
    samples = noises()[0]
    mine = encoded(subject, samples)
    theirs = reference(encoder, samples)
    frames = 50 if encoder.family == "whisper" else len(theirs[0])
    for layer in range(4):
        assert mine[layer].shape == (frames, 32)
        assert np.abs(mine[layer] - theirs[layer][:frames]).max() < SAME
    assert np.abs(mine[1] - mine[3]).max() > 0.1


@pytest.mark.parametrize("kind", MAKERS)
def test_the_batch_does_not_matter(kind: str, encoders):
    subject = Loaded(encoders[kind], LAYERS)
    pieces, alone = apart(subject)
    if not subject.padding:
        pieces = [piece for piece in pieces if len(piece) == len(pieces[0])]
        alone = alone[: len(pieces)]
    together = subject.run(pieces)
    backwards = subject.run(pieces[::-1])[::-1]
    assert furthest(alone, together) < SAME
    assert furthest(alone, backwards) < SAME
    assert furthest(together, subject.run(pieces)) == 0


@pytest.mark.parametrize("family", ALONE)
def test_those_that_leak_from_the_padding_do_leak(family: str, encoders):
    # Should this fail, the library has changed and the family can be padded.
    subject = Loaded(encoders[family], LAYERS)
    assert not subject.padding
    pieces, alone = apart(subject)
    assert furthest(alone, subject.run(pieces)) > SAME


@pytest.mark.parametrize("kind", ["wav2vec2-base", "hubert-large", "whisper"])
def test_layers_above_the_wanted_one_are_not_run(kind: str, encoders):
    whole, lower = Loaded(encoders[kind], LAYERS), Loaded(encoders[kind], (0, 2))
    every, some = (encoded(subject, noises()[0]) for subject in (whole, lower))
    assert np.array_equal(some[0], every[0])
    assert np.array_equal(some[1], every[2])
    stack = lower.network.layers if kind == "whisper" else lower.network.encoder.layers
    assert len(stack) == 2


def test_whisper_ignores_its_padding(encoders):
    subject = Loaded(encoders["whisper"], (3,))
    for seconds, frames in ((1.0, 50), (0.5, 25), (2.01, 101)):
        (states,) = encoded(subject, noises((round(seconds * RATE),))[0])
        assert len(states) == frames


def test_long_and_short_utterances(encoders):
    subject = Loaded(encoders["hubert-large"], (3,))
    pieces = subject.prepare(noises((61 * RATE,))[0])
    assert [len(piece) for piece in pieces] == [325334, 325333, 325333]
    (short,) = subject.prepare(np.ones(3, np.float32))
    ((states,),) = subject.run([short])
    assert len(short) == RATE // 10
    assert len(states) >= 1


def test_half_precision_is_near(encoders):
    encoder = encoders["wavlm-large"]
    (exact,) = encoded(Loaded(encoder, (3,)), noises()[0])
    (rough,) = encoded(Loaded(encoder, (3,), precision="bf16"), noises()[0])
    assert rough.dtype == np.float32
    assert 0 < np.abs(exact - rough).mean() < 0.05


def test_masked_group_norm_is_the_group_norm_of_each_alone():
    torch.manual_seed(0)
    norm = torch.nn.GroupNorm(4, 4)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    hidden = torch.randn(3, 4, 20) + 3
    subject = MaskedGroupNorm(norm)
    assert torch.equal(subject(hidden), norm(hidden))
    subject.frames = torch.tensor([20, 11, 2])
    made = subject(hidden)
    for row, count in enumerate(subject.frames.tolist()):
        valid = hidden[row, :, :count]
        deviation = valid.var(dim=1, correction=0, keepdim=True).add(norm.eps).sqrt()
        alone = (valid - valid.mean(dim=1, keepdim=True)) / deviation
        wanted = alone * norm.weight[:, None] + norm.bias[:, None]
        assert torch.allclose(made[row, :, :count], wanted, atol=1e-5)
        assert not made[row, :, count:].any()
    with pytest.raises(ValueError, match="each channel"):
        MaskedGroupNorm(torch.nn.GroupNorm(2, 4))
