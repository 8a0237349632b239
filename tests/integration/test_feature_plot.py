"""`features plot` from a manifest to files."""

from pathlib import Path

import pytest
import soundfile
from signals import RATE, voice
from typer.testing import CliRunner, Result

from clser_bench.cli.main import app


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speech")
    lines = ["path,speaker,emotion,language,corpus"]
    for number in range(20):
        emotion = ("anger", "sadness")[number % 2]
        soundfile.write(folder / f"{number}.wav", voice(100 + 10 * number, 0.3), RATE)
        lines.append(f"{number}.wav,<script>{number % 4},{emotion},de,$X$")
    table = folder / "mine.csv"
    table.write_text("\n".join(lines), encoding="utf-8")
    return table


@pytest.fixture
def plot(manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CLSER_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(
            app, ["features", "plot", *arguments, "--manifest", str(manifest), "--workers", "1"]
        )

    return call


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_two_figures_are_written_and_named(suffix: str, plot, manifest: Path, tmp_path: Path):
    from clser_bench.corpora.locate import load_corpora

    (corpus,) = load_corpora(manifests=[manifest], cache=tmp_path / "other").values()
    result = plot(corpus.spec.code, "--by", "speaker", "--out", f"x.{suffix}")
    assert result.exit_code == 0, result.output
    paths = [tmp_path / f"x.{suffix}", tmp_path / f"x-distributions.{suffix}"]
    for path in paths:
        assert path.name in result.stdout
        assert path.stat().st_size > 5000
    if suffix == "svg":
        assert "<script>" not in paths[0].read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere",), "nowhere"),
        (("B", "--out", "x.gif"), "a figure cannot be a 'gif'"),
        (("B", "--features", "set:heterogeneous"), "set for several languages"),
    ],
)
def test_wrong_requests_are_told(arguments: tuple[str, ...], message: str, plot):
    result = plot(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
