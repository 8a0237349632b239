"""`features probe`: every layer and pool, from one pass of a tiny encoder."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from clser_bench.cli.main import app
from clser_bench.features.encoders.models import POOLS, exposure, known_encoders, recommended_layer
from clser_bench.features.sets import feature_set
from tests.tiny import write_corpora
from tests.tiny_encoders import save_tiny


def test_every_layer_and_pool_has_a_row_with_a_plausible_score(tmp_path: Path) -> None:
    manifest = write_corpora(tmp_path / "corpora", codes="XY", takes=5)
    encoder = save_tiny("hubert-base", tmp_path)
    call = ["features", "probe", f"hf:{encoder}", "--manifest", str(manifest), "--seeds", "1"]
    done = CliRunner().invoke(app, call)
    assert done.exit_code == 0, done.output
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert {(int(row[0]), row[1]) for row in rows} == {(n, p) for n in range(4) for p in POOLS}
    means = [float(row[2]) + float(row[4]) for row in rows]
    assert means == sorted(means, reverse=True)
    # Pitch gives the emotion away, and even random layers carry it.
    assert means[0] > 100


def test_the_recommended_layer_is_taken_and_named(tmp_path: Path) -> None:
    unknown = save_tiny("hubert-base", tmp_path)
    assert ":layer=1:pool=mean" in feature_set(f"hf:{unknown}").name
    known = unknown.rename(tmp_path / "whisper-base")
    assert ":layer=3:pool=mean" in feature_set(f"hf:{known}").name
    assert ":layer=3:" in feature_set(f"hf:{known}:layer=last").name
    assert recommended_layer("facebook/hubert-large-ll60k", count=24) == "12"


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ("minimal", "no"),
        ("hf:facebook/hubert-large-ll60k@0123:layer=12:pool=mean", "no"),
        ("hf:whisper-base@0123:layer=3:pool=mean:context=padded", "unknown"),
        ("hf:somebody/else@0123:layer=3:pool=mean", "unknown"),
        ("egemaps+table:faces.parquet@0123", "unknown"),
        ("set:x[de=hf:facebook/wav2vec2-base@1:layer=8,it=hf:a/b@2:layer=1]", "unknown"),
    ],
)
def test_exposure_of_a_set(features: str, expected: str) -> None:
    assert exposure(features, "B") == expected


def test_the_strongest_exposure_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    hubert = known_encoders()["hubert-base"]
    training = hubert.heard.model_copy(update={"corpora": {"B": "labels"}})
    tuned = hubert.model_copy(update={"heard": training})
    monkeypatch.setitem(known_encoders(), "hubert-base", tuned)
    name = "hf:facebook/hubert-base-ls960@1:layer=8:pool=mean+hf:a/b@2:layer=1:pool=mean"
    assert exposure(name, "B") == "labels"
    assert exposure(name, "O") == "unknown"


def test_every_known_encoder_says_where_its_facts_come_from() -> None:
    for name, encoder in known_encoders().items():
        source = encoder.layer_source
        assert encoder.heard.source, name
        assert source == "middle, not measured" or "measured here" in source, name
