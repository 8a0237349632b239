import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clser_bench.errors import FeatureError
from clser_bench.features.encoders.models import Request, find_encoder, layer_numbers, parse
from clser_bench.features.encoders.run import PADDING, plan
from clser_bench.features.sets import feature_set
from tests.tiny_encoders import save_tiny

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_names():
    plain = Request(model="facebook/hubert-large-ll60k", folder=False)
    assert parse("hf:facebook/hubert-large-ll60k") == plain
    options: dict[str, Any] = {"precision": "bf16", "remote_code": True}
    whole = Request(model="a/b", folder=False, revision=COMMIT, layers="6-12", **options)
    assert parse(f"hf:a/b@{COMMIT}:layer=6-12:precision=bf16:remote-code") == whole
    assert parse("hf:/models/x").model == "/models/x"
    for folder in ("hf:./models/x:layer=3", "hf:../x@main", "hf:~nobody-of-this-name/x"):
        assert parse(folder).folder


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hf:", "neither a repository"),
        ("hf:a/b/c", "neither a repository"),
        ("hf:a/..", "neither a repository"),
        ("hf:a b", "neither a repository"),
        ("hf:a@", "no revision"),
        ("hf:a@-x", "no revision"),
        ("hf:a@x/../y", "no revision"),
        ("hf:a:layr=3", "did you mean 'layer'"),
        ("hf:a:layer=x", "write a number, a range"),
        ("hf:a:layer=3:layer=4", "given twice"),
        ("hf:a:precision=int8", "precision 'int8' is unknown"),
        ("hf:a:remote-code", "40 hexadecimal digits"),
        ("hf:a@main:remote-code", "40 hexadecimal digits"),
        (f"hf:a@{COMMIT}:remote-code=yes", "takes no value"),
    ],
)
def test_wrong_names_are_errors(name: str, message: str):
    with pytest.raises(FeatureError, match=message):
        parse(name)


@given(st.text(max_size=40))
def test_any_text_is_a_name_or_a_clear_error(text: str):
    with contextlib.suppress(FeatureError):
        request = parse(f"hf:{text}")
        assert request.folder or ".." not in request.model
        assert request.revision == "" or ".." not in request.revision


def test_layers():
    assert layer_numbers("last", count=3, name="x") == (3,)
    assert layer_numbers("all", count=3, name="x") == (0, 1, 2, 3)
    assert layer_numbers("1-3", count=3, name="x") == (1, 2, 3)
    assert layer_numbers("3+1+1", count=3, name="x") == (1, 3)
    for wrong in ("4", "2-4", "3-1", "0+9"):
        with pytest.raises(FeatureError, match="it has layers 0 to 3"):
            layer_numbers(wrong, count=3, name="x")


@given(st.lists(st.integers(1, 1000), max_size=60), st.sampled_from([0.0, PADDING, 0.5]))
def test_batches_hold_each_once_and_keep_to_the_limits(lengths: list[int], padding: float):
    batches = plan(lengths, longest=2000, padding=padding)
    assert sorted(place for batch in batches for place in batch) == list(range(len(lengths)))
    for batch in batches:
        widest, speech = max(lengths[n] for n in batch), sum(lengths[n] for n in batch)
        assert 1 - speech / (widest * len(batch)) <= padding + 1e-12
        assert len(batch) == 1 or widest * len(batch) <= 2000
    assert batches == plan(lengths, longest=2000, padding=padding)


def test_a_folder_is_named_without_its_path_and_keyed_by_its_content(tmp_path: Path):
    first, second = (save_tiny("hubert-base", tmp_path / place) for place in ("here", "there"))
    one, other = (feature_set(f"hf:{place}:layer=1") for place in (first, second))
    assert (one.name, one.key) == (other.name, other.key)
    assert str(tmp_path) not in one.name
    assert one.name.startswith("hf:hubert-base@")
    assert (len(one.instants), len(one.summary)) == (32, 32)
    assert len(feature_set(f"hf:{first}:layer=1:pool=mean+sd").summary) == 64
    for options in ("layer=2", "layer=1:precision=bf16"):
        assert feature_set(f"hf:{first}:{options}").key != one.key
    weights = second / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    find_encoder.__globals__["_described"].cache_clear()
    assert feature_set(f"hf:{second}:layer=1").key != one.key


def test_the_error_of_an_offline_machine_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    download = "hf download facebook/hubert-large-ll60k --revision main"
    use = "--features hf:./hubert-large-ll60k:layer=12"
    with pytest.raises(FeatureError, match=rf"(?s){download}.*{use}"):
        feature_set("hf:facebook/hubert-large-ll60k@main:layer=12")
