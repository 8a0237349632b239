from pathlib import Path

import pytest
from fake_corpora import toy_spec

from clser_bench.errors import FeatureError
from clser_bench.features.encoders.names import known_encoders, parse
from clser_bench.features.languages import LanguageSet, language_sets, resolve_feature_sets, rooted
from clser_bench.features.sets import feature_set, known_names

SPECS = {
    "G": toy_spec("G", language="de"),
    "M": toy_spec("M", language="zh-TW"),
    "I": toy_spec("I", language="it"),
}


def test_one_set_for_all():
    heard = resolve_feature_sets("egemaps", SPECS)
    assert heard.name == "egemaps"
    assert heard.one
    assert set(heard.sets) == {"G", "M", "I"}


def test_written_out():
    heard = resolve_feature_sets("set:de=egemaps,zh=mel,*=mfcc+prosody", SPECS)
    assert heard.name == "set:[de=egemaps,it=mfcc+prosody,zh-TW=mel]"
    assert not heard.one
    assert heard.sets["M"] == feature_set("mel")


def test_code_before_language_and_long_tags_before_short():
    chosen = LanguageSet(languages={"zh": "mel", "zh-TW": "mfcc", "G": "egemaps", "de": "mel"})
    assert [chosen.name_for(SPECS[code]) for code in "GM"] == ["egemaps", "mfcc"]
    with pytest.raises(FeatureError, match=r"nothing for Toy I \(I, language 'it'\)"):
        chosen.name_for(SPECS["I"])


def test_two_corpora_of_a_language_that_differ_are_named_by_code():
    specs = {**SPECS, "H": toy_spec("H", language="de")}
    heard = resolve_feature_sets("set:H=mel,*=mfcc", specs)
    assert heard.name == "set:[G=mfcc,H=mel,I=mfcc,M=mfcc]"


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
    with pytest.raises(FeatureError, match="cannot be read"):
        resolve_feature_sets(f"set:{tmp_path / 'none.toml'}", SPECS)


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


def test_a_set_for_languages_is_none_for_one_corpus():
    with pytest.raises(FeatureError, match="set for several languages"):
        feature_set("set:heterogeneous")


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


def test_names_can_be_used_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert rooted("acoustic") == "acoustic"
    assert rooted("hf:a/b@main:layer=3") == "hf:a/b@main:layer=3"
    assert rooted("hf:./x:layer=3") == f"hf:{tmp_path}/x:layer=3"
    assert rooted("set:./x.toml") == f"set:{tmp_path}/x.toml"
    assert rooted("set:heterogeneous") == "set:heterogeneous"
    assert rooted("set:de=hf:./x,*=mel") == f"set:de=hf:{tmp_path}/x,*=mel"
