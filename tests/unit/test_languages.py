from pathlib import Path

import pytest

from clser_bench.errors import FeatureError
from clser_bench.features.encoders.models import known_encoders, parse
from clser_bench.features.sets import (
    LanguageSet,
    feature_set,
    known_names,
    language_sets,
    resolve_feature_sets,
    rooted,
)
from tests.fake_corpora import toy_spec

TAGS = {"G": "de", "M": "zh-TW", "I": "it"}
SPECS = {code: toy_spec(code, language=tag) for code, tag in TAGS.items()}


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("egemaps", "egemaps"),
        ("set:de=egemaps,zh=mel,*=mfcc+prosody", "set:[de=egemaps,it=mfcc+prosody,zh-TW=mel]"),
        # Two corpora of a language that differ are named by code.
        ("set:H=mfcc,M=mel,*=prosody", "set:[G=prosody,H=mfcc,I=prosody,M=mel]"),
    ],
)
def test_names_are_written_out(asked: str, name: str):
    specs = {**SPECS, "H": toy_spec("H", language="de")} if "H=" in asked else SPECS
    assigned = resolve_feature_sets(asked, specs)
    assert assigned.name == name
    assert assigned.one == (asked == "egemaps")
    assert set(assigned.sets) == set(specs)
    assert assigned.sets["M"] == feature_set("egemaps" if assigned.one else "mel")


def test_code_before_language_and_long_tags_before_short():
    chosen = LanguageSet(languages={"zh": "mel", "zh-TW": "mfcc", "G": "egemaps", "de": "mel"})
    assert [chosen.name_for(SPECS[code]) for code in "GM"] == ["egemaps", "mfcc"]
    with pytest.raises(FeatureError, match=r"nothing for Toy I \(I, language 'it'\)"):
        chosen.name_for(SPECS["I"])


def test_a_file(tmp_path: Path):
    file = tmp_path / "mine.toml"
    file.write_text('default = "acoustic"\n[languages]\nde = "egemaps"\n', encoding="utf-8")
    assert resolve_feature_sets(f"set:{file}", SPECS).name == (
        "set:mine[de=egemaps,it=acoustic,zh-TW=acoustic]"
    )
    for text, message in (
        ("default = ", "not valid TOML"),
        ('fallback = "mel"', "unknown key 'fallback'"),
        ("default = 3", "default: Input should be a valid string"),
    ):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(FeatureError, match=message):
            resolve_feature_sets(f"set:{file}", SPECS)
    file.unlink()
    with pytest.raises(FeatureError, match=r"mine\.toml.*cannot be read"):
        resolve_feature_sets(f"set:{file}", SPECS)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("set:heterogenous", "did you mean 'heterogeneous'"),
        ("set:de=", "is not LANGUAGE=FEATURES"),
        ("set:de=mel,de=mfcc", "each language once"),
        ("set:de=mell,*=mel", "feature set 'mell' is unknown"),
        ("acustic", "did you mean 'acoustic'"),
        ("hubert-larg", "did you mean 'hubert-large'"),
        ("mel+egemap", r"feature set 'mel\+egemap' is unknown"),
    ],
)
def test_wrong_names_are_errors(name: str, message: str):
    with pytest.raises(FeatureError, match=message):
        resolve_feature_sets(name, SPECS)
    with pytest.raises(FeatureError, match="set for several" if ":" in name else message):
        feature_set(name)


def test_everything_that_ships_can_be_read():
    for name in known_encoders():
        assert known_names()[name].startswith("hf:")
        parse(known_names()[name])
    for chosen in language_sets().values():
        for name in (chosen.default, *chosen.languages.values()):
            if name.startswith("hf:"):
                parse(name)
            else:
                assert name in known_names() or feature_set(name)


def test_joined_choices_have_each_column_once():
    both = feature_set("mfcc+prosody+mfcc")
    assert both.name == "mfcc+prosody"
    assert both.instants == feature_set("mfcc").instants + feature_set("prosody").instants
    assert len(set(both.summary)) == len(both.summary) == 52 + 31


@pytest.mark.parametrize(
    ("name", "rooted_name"),
    [
        ("acoustic", "acoustic"),
        ("hf:a/b@main:layer=3", "hf:a/b@main:layer=3"),
        ("hf:./x:layer=3", "hf:{}/x:layer=3"),
        ("minimal+table:x.npz", "minimal+table:{}/x.npz"),
        ("set:./x.toml", "set:{}/x.toml"),
        ("set:heterogeneous", "set:heterogeneous"),
        ("set:de=hf:./x,*=mel", "set:de=hf:{}/x,*=mel"),
    ],
)
def test_names_can_be_used_from_any_folder(
    name: str, rooted_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert rooted(name) == rooted_name.format(tmp_path)
