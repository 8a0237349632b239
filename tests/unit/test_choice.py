"""The suite and the pairs of a run: chosen from the corpora at hand, and why others are not."""

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
FEAR = ("anger", "fear")


def listing(spec: CorpusSpec, speaker: str = "ada", **more: Any) -> Listing:
    items = [
        Utterance(name=f"{speaker}-{emotion}", path=Path(), emotion=emotion, speaker=speaker)
        for emotion in spec.emotions
    ]
    return Listing(spec=spec, root=Path(), origin=Path(), utterances=tuple(items), **more)


def defined(codes: str) -> dict[str, Listing]:
    return {code: listing(definitions().corpora[code]) for code in codes.split()}


def own(code: str, *emotions: str, language: str = "", **more: Any) -> Listing:
    language = language or f"x{code.lower()}"
    return listing(toy_spec(code, emotions, title=code, language=language), **more)


def texts(pairs: tuple[Pair, ...]) -> list[str]:
    return [str(pair) for pair in pairs]


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def choose(tmp_path: Path, said: list[str]) -> Choose:
    """Chooses among pretended corpora of layouts and manifests."""

    def make(folders: str = "", *manifests: Listing, **options: Any) -> Choice:
        listed = {item.spec.code: item for item in manifests}
        located = Located(
            listings=listed | defined(folders),
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


def test_the_suite_is_chosen_from_the_corpora(choose, said):
    for folders, suite, pairs in (
        ("B C E O R", "bceo", 12),
        ("N T U", "custom", 6),
        ("B C O R N T U", "bcro", 12),
    ):
        said.clear()
        made = choose(folders)
        assert made.suite.split("-")[0] == suite
        assert (len(made.pairs), len(made.table)) == (pairs, pairs)
        assert said[0].startswith(f"suite {made.suite}: ")
    pair = Pair("N", "B")  # outside of the suites that have all their corpora there
    assert choose("B C O R N T U", pairs=(pair,)).table == (pair,)


def test_without_corpora_the_demo_is_chosen_and_said(monkeypatch, tmp_path, said):
    monkeypatch.setattr(choice, "demo_corpora", lambda folder, **_: folder)
    demo = Located(listings=defined("DE IT ZH EN"))
    monkeypatch.setattr(choice, "locate", lambda *_, **__: demo)
    for suite in ("", "demo"):
        request = Request(condition=Condition(suite=suite))
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
    def name(speaker: str, **options: Any) -> str:
        return choose("", own("X", *FEAR), own("Y", *FEAR, speaker=speaker), **options).suite

    one, other = name("ben"), name("eve")
    assert one != other
    assert one == name("ben", pairs=(Pair("X", "Y"),)) == name("ben", suite=one)
    with pytest.raises(SpecError, match=f"suite {one} is made of other corpora: .* {other}"):
        name("eve", suite=one)


def test_pairs_of_one_language_or_too_few_emotions_are_left_out_and_said(choose, said):
    german = own("X", *FEAR, language="de-AT"), own("Y", *FEAR, language="ger")
    made = choose("", *german, own("Z", *FEAR))
    assert texts(made.pairs) == ["X→Z", "Y→Z", "Z→X", "Z→Y"]
    assert "X→Y is left out: de-AT and ger are one language" in said
    with pytest.raises(SpecError, match="X→Y is left out: de-AT and ger are one language"):
        choose("", *german, pairs=(Pair("X", "Y"),))
    with pytest.raises(SpecError, match="no pair of 2 is left; X→Y is left out"):
        choose("", *german)
    few = own("X", *FEAR), own("Y", *FEAR), own("Z", "sadness")
    assert texts(choose("", *few).pairs) == ["X→Y", "Y→X"]
    assert any("X→Z is left out" in line for line in said)
    with pytest.raises(SpecError, match="share 0 emotion"):
        choose("", *few, pairs=(Pair("X", "Z"),))
    bad = SkippedFile(corpus="X", name="a.wav", reason="line 2: unknown emotion 'Anger'")
    with pytest.raises(SpecError, match=r"share 0 emotion.*\n.*a.wav: line 2: unknown emotion"):
        choose("", own("X", bad=(bad,)), own("Y", *FEAR))


def test_suites_of_one_language_and_of_parts_of_a_corpus(choose):
    made = choose("B C O", own("X", *FEAR, language="de-AT"), suite="same-language")
    assert made.suite.startswith("same-language-")
    assert texts(made.pairs) == ["X→B", "B→X"]
    made = choose("B C O R", suite="gender")
    assert len(made.table) == 48
    assert Pair("B.female", "B.male") not in made.table
    assert Pair.parse("B.female->O.male") in made.table


def test_a_suite_may_name_its_sources_and_targets():
    suite = Suite(name="x", corpora=("B", "C", "O"), sources=("B", "C"), targets=("C", "O"), use="")
    assert texts(suite.pairs()) == ["B→C", "B→O", "C→O"]
    with pytest.raises(ValueError, match="source 'R' is not among"):
        Suite(name="x", corpora=("B", "C"), sources=("R",), use="")
    with pytest.raises(ValueError, match="parts are female, male, first"):
        Suite(name="x", corpora=("B.old",), use="")


def test_pairs_of_a_suite_keep_its_table_and_need_only_their_corpora(choose):
    made = choose("B C O R", pairs=(Pair("C", "B"),))
    assert (made.suite, made.pairs, len(made.table)) == ("bcro", (Pair("C", "B"),), 12)
    assert made.codes == ("C", "B")
    assert choose("B C", suite="bcro", pairs=(Pair("C", "B"),)).codes == ("C", "B")
    with pytest.raises(CorpusError, match=r"missing: RAVDESS \(R\), EMOVO \(O\): not below"):
        choose("B C", suite="bcro")
    with pytest.raises(CorpusError, match="a pair needs two corpora, found only B"):
        choose("B")


def test_speaker_normalisation_drops_corpora(choose):
    made = choose("N T U", suite="dev", normalisation="speaker")
    assert made.table == (Pair("N", "T"), Pair("T", "N"))
    with pytest.raises(SpecError, match="U drops out of suite dev under speaker normalisation"):
        choose("N T U", suite="dev", normalisation="speaker", pairs=(Pair("N", "U"),))


def test_manifests_stand_alone_unless_others_are_named(choose):
    both = own("X", *FEAR), own("Y", *FEAR)
    assert choose("B C", *both).codes == ("X", "Y")
    assert choose("B C", *both, pairs=(Pair("X", "B"),)).codes == ("X", "B")
    assert set(choose("B C", *both, suite="custom").codes) == {"X", "Y", "B", "C"}
    assert set(choose("B", both[0]).codes) == {"X", "B"}
