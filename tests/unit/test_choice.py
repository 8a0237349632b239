from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clser_bench.corpora.definitions import CorpusSpec, Suite, definitions
from clser_bench.corpora.locate import Located
from clser_bench.corpora.model import Listing, Utterance
from clser_bench.errors import CorpusError, SpecError
from clser_bench.problem import SkippedFile
from clser_bench.progress import SILENT
from clser_bench.protocol import Condition, Pair
from clser_bench.run import choice
from clser_bench.run.choice import Choice, resolve_suite
from clser_bench.run.request import Request
from tests.fake_corpora import toy_spec

Choose = Callable[..., Choice]


def listing(spec: CorpusSpec, speaker: str = "ada") -> Listing:
    items = [
        Utterance(name=f"{speaker}-{emotion}", path=Path(), emotion=emotion, speaker=speaker)
        for emotion in spec.emotions
    ]
    return Listing(spec=spec, root=Path(), origin=Path(), utterances=tuple(items))


def own_corpus(code: str, *emotions: str, language: str = "", speaker: str = "ada") -> Listing:
    language = language or f"x{code.lower()}"
    return listing(toy_spec(code, emotions, title=code, language=language), speaker)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def choose(tmp_path: Path, said: list[str]) -> Choose:
    """Chooses among pretended corpora of layouts and manifests."""

    def make(folders: str = "", manifests: tuple[Listing, ...] = (), **options: Any) -> Choice:
        defined = {code: listing(definitions().corpora[code]) for code in folders.split()}
        listed = {item.spec.code: item for item in manifests}
        located = Located(
            listings={**listed, **defined},
            listed=frozenset(listed),
            conflicts=options.pop("conflicts", {}),
            folder=tmp_path,
        )
        rules = {name: options.pop(name) for name in ("suite", "normalisation") if name in options}
        request = Request(
            condition=Condition(**rules),
            corpora=tmp_path if folders else None,
            manifests=(Path("m.csv"),) if manifests else (),
            **options,
        )
        return resolve_suite(request, located, say=said.append)

    return make


@pytest.mark.parametrize(
    ("folders", "suite", "pairs"),
    [
        ("B C E O R", "bceo", 12),
        ("B C O R N T U", "bcro", 12),
        ("N T U", "custom", 6),
    ],
)
def test_the_suite_is_chosen_from_the_corpora(choose, said, folders, suite, pairs):
    made = choose(folders)
    assert made.suite.split("-")[0] == suite
    assert (len(made.pairs), len(made.table)) == (pairs, pairs)
    assert said[0].startswith(f"suite {made.suite}: ")
    pair = Pair("N", "B")  # outside of the suites that have all their corpora there
    if folders == "B C O R N T U":
        assert choose(folders, pairs=(pair,)).table == (pair,)


def test_without_corpora_the_demo_is_chosen_and_said(monkeypatch, tmp_path, said):
    demo = {code: listing(definitions().corpora[code]) for code in ("DE", "IT", "ZH", "EN")}
    monkeypatch.setattr(choice, "demo_corpora", lambda folder, **_: folder)
    monkeypatch.setattr(choice, "locate", lambda *_, **__: Located(listings=demo))
    for suite in (None, "demo"):
        request = Request(condition=Condition(suite=suite or ""))
        made = choice.choose(request, cache=tmp_path, progress=SILENT, say=said.append)
        assert (made.suite, len(made.pairs)) == ("demo", 12)
    [line] = said
    assert "synthetic" in line


def test_a_suite_that_nearly_is_there_is_named(choose, said):
    choose("B C O")
    assert said[:2] == [
        "not suite bceo: eNTERFACE'05 (E) is missing (it is not there)",
        "not suite bcro: RAVDESS (R) is missing (it is not there)",
    ]
    said.clear()
    choose("B C O", conflicts={"R": "RAVDESS (R) is there 2 times: a and b"})
    assert said[1].endswith("RAVDESS (R) is missing (RAVDESS (R) is there 2 times: a and b)")


def test_two_sets_of_corpora_have_two_names(choose):
    def name(*speakers: str, **options: Any) -> str:
        emotions = ("anger", "fear")
        some = [own_corpus(c, *emotions, speaker=s) for c, s in zip("XY", speakers, strict=True)]
        return choose("", tuple(some), **options).suite

    one, other = name("ada", "ben"), name("ada", "eve")
    assert one != other
    assert one == name("ada", "ben", pairs=(Pair("X", "Y"),)) == name("ada", "ben", suite=one)
    with pytest.raises(SpecError, match=f"suite {one} is made of other corpora: .* {other}"):
        name("ada", "eve", suite=one)


def test_pairs_of_one_language_are_left_out_and_said(choose, said):
    own = (
        own_corpus("X", "anger", "fear", language="de-AT"),
        own_corpus("Y", "anger", "fear", language="ger"),
        own_corpus("Z", "anger", "fear", language="fr"),
    )
    made = choose("", own)
    assert [str(pair) for pair in made.pairs] == ["X→Z", "Y→Z", "Z→X", "Z→Y"]
    assert "X→Y is left out: de-AT and ger are one language" in said
    with pytest.raises(SpecError, match="X→Y is left out: de-AT and ger are one language"):
        choose("", own, pairs=(Pair("X", "Y"),))
    with pytest.raises(SpecError, match="no pair of 2 is left; X→Y is left out"):
        choose("", own[:2])


def test_the_control_has_pairs_of_one_language_only(choose):
    own = (own_corpus("X", "anger", "fear", language="de-AT"),)
    made = choose("B C O", own, suite="same-language")
    assert made.suite.startswith("same-language-")
    assert [str(pair) for pair in made.pairs] == ["X→B", "B→X"]


def test_parts_of_a_corpus_are_a_pair_without_a_common_speaker(choose):
    made = choose("B C O R", suite="gender")
    assert len(made.table) == 48
    assert Pair("B.female", "B.male") not in made.table
    assert Pair.parse("B.female->O.male") in made.table
    with pytest.raises(ValueError, match="parts are female, male, first"):
        Suite(name="x", corpora=("B.old",), use="")


def test_a_suite_may_name_its_sources_and_targets():
    suite = Suite(name="x", corpora=("B", "C", "O"), sources=("B", "C"), targets=("C", "O"), use="")
    assert [str(pair) for pair in suite.pairs()] == ["B→C", "B→O", "C→O"]
    with pytest.raises(ValueError, match="source 'R' is not among"):
        Suite(name="x", corpora=("B", "C"), sources=("R",), use="")


def test_pairs_of_a_suite_keep_its_table_and_need_only_their_corpora(choose):
    made = choose("B C O R", pairs=(Pair("C", "B"),))
    assert (made.suite, made.pairs, len(made.table)) == ("bcro", (Pair("C", "B"),), 12)
    assert made.codes == ("C", "B")
    assert choose("B C", suite="bcro", pairs=(Pair("C", "B"),)).codes == ("C", "B")
    with pytest.raises(CorpusError, match=r"missing: RAVDESS \(R\), EMOVO \(O\): not below"):
        choose("B C", suite="bcro")


def test_speaker_normalisation_drops_corpora(choose):
    made = choose("N T U", suite="dev", normalisation="speaker")
    assert made.table == (Pair("N", "T"), Pair("T", "N"))
    with pytest.raises(SpecError, match="U drops out of suite dev under speaker normalisation"):
        choose("N T U", suite="dev", normalisation="speaker", pairs=(Pair("N", "U"),))


def test_manifests_stand_alone_unless_others_are_named(choose):
    own = (own_corpus("X", "anger", "fear"), own_corpus("Y", "anger", "fear"))
    assert choose("B C", own).codes == ("X", "Y")
    assert choose("B C", own, pairs=(Pair("X", "B"),)).codes == ("X", "B")
    assert set(choose("B C", own, suite="custom").codes) == {"X", "Y", "B", "C"}
    assert set(choose("B", own[:1]).codes) == {"X", "B"}


def test_recordings_that_cannot_be_used_are_named_where_no_pair_is_left(choose):
    spec = own_corpus("X", language="de").spec
    bad = SkippedFile(corpus="X", name="a.wav", reason="line 2: unknown emotion 'Anger'")
    empty = Listing(spec=spec, root=Path(), origin=Path(), utterances=(), bad=(bad,))
    with pytest.raises(SpecError, match=r"share 0 emotion.*\n.*a.wav: line 2: unknown emotion"):
        choose("", (empty, own_corpus("Y", "anger", "fear")))


def test_pairs_that_share_too_little_are_left_out_and_said(choose, said):
    corpora = (*(own_corpus(c, "anger", "fear") for c in "XY"), own_corpus("Z", "sadness"))
    made = choose("", corpora)
    assert made.pairs == (Pair("X", "Y"), Pair("Y", "X"))
    assert any("X→Z is left out" in line for line in said)
    with pytest.raises(SpecError, match="share 0 emotion"):
        choose("", corpora, pairs=(Pair("X", "Z"),))


def test_one_corpus_is_too_few(choose):
    with pytest.raises(CorpusError, match="a pair needs two corpora, found only B"):
        choose("B")
