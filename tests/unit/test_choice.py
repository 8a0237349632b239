from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clser_bench.corpora.definitions import corpus_specs
from clser_bench.corpora.model import Corpus
from clser_bench.errors import CorpusError, SpecError
from clser_bench.progress import SILENT
from clser_bench.protocol import Condition, CorpusSpec, Pair
from clser_bench.run import choice
from clser_bench.run.choice import Choice
from clser_bench.run.request import Request

Choose = Callable[..., Choice]


def own_corpus(code: str, *emotions: str) -> Corpus:
    spec = CorpusSpec(
        code=code,
        name=code,
        title=code,
        language="en",
        licence="",
        citation="",
        labels={emotion: emotion for emotion in emotions},
    )
    return Corpus(spec=spec, root=Path(), utterances=())


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: list[str]) -> Choose:
    """Chooses with pretended folders and manifests."""

    def make(folders: str = "", manifests: tuple[Corpus, ...] = (), **options: Any) -> Choice:
        found = {code: tmp_path / code for code in folders.split()}
        monkeypatch.setattr(choice, "find_corpora", lambda *_: found)
        monkeypatch.setattr(choice, "read_manifest", lambda *_, **__: manifests)
        monkeypatch.setattr(choice, "demo_corpora", lambda folder, **_: folder)
        config = Request(
            corpora=tmp_path if folders else None,
            manifests=(Path("m.csv"),) if manifests else (),
            **options,
        )
        return choice.choose(config, cache=tmp_path, progress=SILENT, say=said.append)

    return make


@pytest.mark.parametrize(
    ("folders", "suite", "pairs"),
    [
        ("B C E O R", "bceo", 12),
        ("B C O R N T U", "bcro", 12),
        ("B C O", "custom", 6),
        ("N T U", "custom", 6),
    ],
)
def test_the_suite_is_chosen_from_the_corpora(
    choose: Choose, said: list[str], folders: str, suite: str, pairs: int
) -> None:
    made = choose(folders)
    assert (made.suite, len(made.pairs), len(made.table)) == (suite, pairs, pairs)
    assert said[0].startswith(f"suite {suite}: ")


def test_without_corpora_the_demo_is_chosen_and_said(choose: Choose, said: list[str]) -> None:
    made = choose("DE IT ZH EN", condition=Condition(suite="demo"))
    assert (made.suite, len(made.pairs), said) == ("demo", 12, [])
    with pytest.raises(CorpusError, match="missing: synthetic German"):  # none was really made
        choose()
    assert "synthetic" in said[0]


def test_pairs_outside_a_suite_make_a_custom_one(choose: Choose) -> None:
    made = choose("B C O R N", pairs=(Pair("N", "B"),))
    assert (made.suite, made.table) == ("custom", (Pair("N", "B"),))


def test_pairs_of_a_suite_keep_its_table(choose: Choose) -> None:
    made = choose("B C O R", pairs=(Pair("C", "B"),))
    assert (made.suite, made.pairs, len(made.table)) == ("bcro", (Pair("C", "B"),), 12)
    assert made.codes == ("C", "B")


def test_a_suite_needs_only_the_corpora_of_its_pairs(choose: Choose) -> None:
    bcro = Condition(suite="bcro")
    assert choose("B C", condition=bcro, pairs=(Pair("C", "B"),)).codes == ("C", "B")
    with pytest.raises(CorpusError, match=r"missing: RAVDESS \(R\), EMOVO \(O\): not below"):
        choose("B C", condition=bcro)


def test_speaker_normalisation_drops_corpora(choose: Choose) -> None:
    by_speaker = Condition(normalisation="speaker")
    made = choose("N T U", condition=by_speaker.replace(suite="dev"))
    assert made.table == (Pair("N", "T"), Pair("T", "N"))
    with pytest.raises(SpecError, match="U drops out of suite dev under speaker normalisation"):
        choose("N T U", condition=by_speaker.replace(suite="dev"), pairs=(Pair("N", "U"),))


def test_manifests_stand_alone_unless_others_are_named(choose: Choose) -> None:
    own = (own_corpus("X", "anger", "fear"), own_corpus("Y", "anger", "fear"))
    assert choose("B C", own).codes == ("X", "Y")
    assert choose("B C", own, pairs=(Pair("X", "B"),)).codes == ("X", "B")
    custom = Condition(suite="custom")
    assert set(choose("B C", own, condition=custom).codes) == {"X", "Y", "B", "C"}
    assert set(choose("B", own[:1]).codes) == {"X", "B"}


def test_pairs_that_share_too_little_are_left_out_and_said(choose: Choose, said: list[str]) -> None:
    corpora = (
        own_corpus("X", "anger", "fear"),
        own_corpus("Y", "anger", "fear"),
        own_corpus("Z", "sadness"),
    )
    made = choose("", corpora)
    assert made.pairs == (Pair("X", "Y"), Pair("Y", "X"))
    assert any("X→Z is left out" in line for line in said)
    with pytest.raises(SpecError, match="share 0 emotion"):
        choose("", corpora, pairs=(Pair("X", "Z"),))


def test_one_corpus_is_too_few(choose: Choose) -> None:
    with pytest.raises(CorpusError, match="a pair needs two corpora, found only B"):
        choose("B")


def test_a_corpus_in_two_places_is_refused(choose: Choose) -> None:
    with pytest.raises(CorpusError, match="'B' is in a manifest and below"):
        choose("B C", (own_corpus("B", "anger", "fear"),))


def test_specs_of_suites_exist() -> None:
    assert set("BCEORNTU") <= set(corpus_specs())
