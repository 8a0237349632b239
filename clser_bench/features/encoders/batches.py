"""Which utterances an encoder sees together."""

from __future__ import annotations

from collections.abc import Sequence

PADDING = 0.05
"""The largest share of padding in a batch."""


def plan(
    lengths: Sequence[int], *, longest: int, padding: float = PADDING
) -> tuple[tuple[int, ...], ...]:
    """Cut utterances into batches of like length.

    Args:
        lengths: samples of each.
        longest: the most samples of a batch, padding included; one utterance may exceed it.
        padding: the largest share of padding; 0 puts equal lengths together only.

    Returns:
        Positions in `lengths`, each once; the longest batches come first, so that memory that
        does not suffice shows at once.
    """
    order = sorted(range(len(lengths)), key=lambda place: (-lengths[place], place))
    batches: list[tuple[int, ...]] = []
    current: list[int] = []
    total = 0
    for place in order:
        # The first is the longest: all others are padded to it.
        width = lengths[current[0]] if current else lengths[place]
        full = width * (len(current) + 1)
        spare = full - total - lengths[place]
        if current and (full > longest or spare > padding * full):
            batches.append(tuple(current))
            current, total = [], 0
        current.append(place)
        total += lengths[place]
    return (*batches, tuple(current)) if current else ()


def padding_share(lengths: Sequence[int], batches: Sequence[Sequence[int]]) -> float:
    """The share of padding in all batches together, 0 to below 1."""
    full = sum(max(lengths[place] for place in batch) * len(batch) for batch in batches)
    return 1 - sum(lengths[place] for batch in batches for place in batch) / full if full else 0.0
