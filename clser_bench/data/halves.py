"""Splitting a target's speakers in two for the inductive setting."""

from __future__ import annotations

from clser_bench.errors import CorpusError
from clser_bench.seeding import generator
from clser_bench.trial import Corpus


def halves(corpus: Corpus) -> tuple[frozenset[str], frozenset[str]]:
    """Split the speakers into two halves, each gender as evenly as it goes.

    The split depends on the corpus's code and speakers only, so that all methods, sources and
    draws share it. The speakers of each gender, in seeded order, are dealt to the halves in
    turn, going on where the gender before stopped.

    Args:
        corpus: the target.

    Returns:
        Two sets of speakers; their sizes differ by one at most.

    Raises:
        CorpusError: there is only one speaker.
    """
    genders = {utterance.speaker: utterance.gender for utterance in corpus.utterances}
    if len(genders) < 2:
        raise CorpusError(
            f"{corpus.spec.title} ({corpus.spec.code}) has one speaker; the inductive setting "
            "needs at least two, use the transductive one"
        )
    dealt: list[str] = []
    for gender in sorted(set(genders.values())):
        speakers = sorted(speaker for speaker in genders if genders[speaker] == gender)
        shuffle = generator("halves", corpus.spec.code, gender)
        dealt += [speakers[place] for place in shuffle.permutation(len(speakers))]
    return frozenset(dealt[0::2]), frozenset(dealt[1::2])
