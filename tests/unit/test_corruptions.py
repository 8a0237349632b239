import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clser_bench.corpora.corrupt import KINDS, Corruption, parse
from clser_bench.errors import SpecError


@st.composite
def some_corruptions(draw: st.DrawFn) -> Corruption:
    name = draw(st.sampled_from(sorted(KINDS)))
    kind = KINDS[name]
    if kind.whole:
        return Corruption(name, draw(st.integers(int(kind.least), int(kind.most))))
    return Corruption(name, draw(st.floats(kind.least, kind.most)))


@given(st.lists(some_corruptions(), min_size=2, max_size=6, unique=True))
def test_each_has_one_name_and_names_go_round(some):
    names = [one.name for one in some]
    assert parse(",".join(names)) == parse(*names) == tuple(some)
    assert len(set(names)) == len(some)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("noise:20,10,0", "noise:20 noise:10 noise:0"),
        (" pink:5 , reverb:0.3, .6 ", "pink:5 reverb:0.3 reverb:0.6"),
        ("gain:-20,10", "gain:-20 gain:10"),
        ("telephone", "telephone:8 telephone:6 telephone:4"),
        ("noise:-5.0,-0.0", "noise:-5 noise:0"),
        ("reverb,noise:3", "reverb:0.3 reverb:0.6 reverb:1 noise:3"),
        ("noise:10,pink:10,20,noise:10.0", "noise:10 pink:10 pink:20"),
        ("reverb:1,reverb", "reverb:1 reverb:0.3 reverb:0.6"),
        ("noise:1e1", "noise:10"),
    ],
)
def test_lists(text, names):
    assert [one.name for one in parse(text)] == names.split()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nois:10", r"corruption 'nois' is unknown; did you mean 'noise'\? Known: babble, clip"),
        ("reverbb", r"'reverbb' is unknown; did you mean 'reverb'\?"),
        ("Noise:10", "'Noise' is unknown"),
        (":10", "'' is unknown"),
        ("10,20", "10 is a level of nothing; write noise:20,10"),
        ("noise:10,reverb,5", "5 is a level of nothing"),
        ("", "empty between commas"),
        ("noise:20,,10", "empty between commas"),
        ("noise:", "'' is no number"),
        ("noise:loud", "'loud' is no number; write noise:10"),
        ("noise:20:10", "'20:10' is no number"),
        ("noise:61", r"'noise:61': the level \(signal-to-noise ratio, dB\) .* -30 and 60"),
        ("noise:nan", "must lie within -30 and 60"),
        ("noise:10,inf", "must lie within -30 and 60"),
        ("reverb:0", r"'reverb:0': the level \(RT60, s\) must lie within 0.05 and 5"),
        ("speed:0.4", "must lie within 0.5 and 2"),
        ("telephone:7.5", r"'telephone:7.5': the level \(bits\) must be a whole number"),
        ("telephone:16", "must lie within 3 and 8"),
        ("clip:-1", "must lie within 0 and 60"),
    ],
)
def test_words_that_are_no_corruption_are_refused(text, message):
    with pytest.raises(SpecError, match=message):
        parse(text)


def test_a_corruption_cannot_be_wrong_and_lists_are_apart():
    with pytest.raises(SpecError, match="unknown"):
        Corruption("hum", 50)
    with pytest.raises(SpecError, match="within"):
        dataclasses.replace(Corruption("gain", 10), level=100)
    assert Corruption("noise", 10) == Corruption("noise", 10.0)
    assert Corruption("noise", -0.0).name == "noise:0"
    assert parse("noise:10", "clip:3") == (Corruption("noise", 10), Corruption("clip", 3))
    assert parse() == ()
    with pytest.raises(SpecError, match="'20': 20 is a level of nothing"):
        parse("noise:10", "20")
