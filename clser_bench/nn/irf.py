"""The Instantaneous Resonance Field (IRF): a chain of prototypes from few labels to the target.

Reference: SERE, arXiv 2604.07417; equations reconstructed from its abstract, numbered as in
docs/sere.md; equation 9 is in `clser_bench.nn.tric`. Everything here is in closed form.

Letters: n source utterances, r rows of the target side (those to adapt to, then others that are
only scored), e values of an embedding, c classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

SINKHORN_STEPS = 15
START_SHRINKAGE = 0.8
"""Of the labelled utterances' covariance in the start: five a class estimate little of it."""
SHRINKAGES = (0.3, 0.5, 0.8)  # of the chains that equation 8 averages
ADDED_MASS = 1.0  # rho_a: of the speech of added corpora against the source link
ADDED_SHARE = 0.25  # of the covariance of added corpora in the metric
ADDED_ROUNDS = 3
SPREAD = 3.0
"""Standard deviation of averaged scores, so that balancing them gives probabilities of use."""
FLOOR = 1e-12


class Axes(NamedTuple):
    """Equation 1, without labels: how summaries and mean instants become embeddings."""

    # principal axes [f + d, e], the summary's rows first, each block over its scale
    vectors: Float[Tensor, "v e"]
    mean: Float[Tensor, " v"]  # of both blocks, the sides weighing alike [f + d]
    # covariance of instants around their utterance's mean, with the summary's part of the axes, as
    # `instant_covariance` has it [e, e]
    within: Float[Tensor, "e e"]


class Chain(NamedTuple):
    """What one chain (equations 2 to 7) finds."""

    # balanced log-probabilities of the rows from the labels alone [r, c]
    start: Float[Tensor, "r c"]
    source_link: Float[Tensor, "r c"]  # after the source link
    target_link: Float[Tensor, "r c"]  # after the target link
    answer: Float[Tensor, "r c"]  # what the check takes
    source: Float[Tensor, "n c"]  # balanced log-probabilities of the source [n, c]
    prototypes: Float[Tensor, "c e"]  # after the target link [c, e]
    covariance: Float[Tensor, "e e"]  # the metric after the target link [e, e]
    agreement: float  # kappa of the two links


def principal_embedding(
    summaries: Sequence[Float[Tensor, "_ f"]],
    means: Sequence[Float[Tensor, "_ d"]],
    deviations: Sequence[Float[Tensor, "d d"]],
    *,
    size: int,
    dynamic: float,
) -> Axes:
    """Equation 1: z = V^T [f / sd(f); dynamic · h / sd(h)], each side centred with both.

    sd^2 is a block's total variance, the sides weighing alike, so that neither the summary nor
    the mean instant dominates by its number of columns; V holds principal axes, unscaled.

    Of each side there are the summaries, the mean instants (of weight `dynamic`) and the covariance
    of instants around their utterance's mean; at most `size` axes.
    """
    blocks, centres = [], []
    for sides, weight in ((summaries, 1.0), (means, dynamic)):
        centre = torch.stack([side.mean(dim=0) for side in sides]).mean(dim=0)
        squares = [((side - side.mean(dim=0)) ** 2).sum() / len(side) for side in sides]
        variance = torch.stack(squares).mean()
        scale = weight / variance.clamp_min(FLOOR).sqrt()
        blocks.append((scale, [(side - centre) * scale for side in sides]))
        centres.append(centre)
    (f_scale, f_sides), (d_scale, d_sides) = blocks
    joined = [torch.cat(both, dim=1) for both in zip(f_sides, d_sides, strict=True)]
    covariance = torch.stack([x.T @ x / len(x) for x in joined]).mean(dim=0)
    vectors = torch.linalg.eigh(covariance).eigenvectors.flip(-1)[:, :size]
    f = summaries[0].shape[1]
    scales = torch.cat([f_scale.expand(f), d_scale.expand(len(vectors) - f)])
    within = instant_covariance(vectors, f, torch.stack(list(deviations)).mean(dim=0))
    return Axes(vectors * scales[:, None], torch.cat(centres), within)


def instant_covariance(
    vectors: Float[Tensor, "v e"], f: int, deviation: Float[Tensor, "d d"]
) -> Float[Tensor, "e e"]:
    """The instantaneous part of equation 2: what varies within an utterance is not emotion.

    On the summary's part of the axes, which has no instants, the identity; on the instants' part
    their covariance around the utterance's mean, scaled so that the trace is e.

    The first f rows of the axes belong to the summary. A deviation of zero (one instant an
    utterance) gives the identity.
    """
    size = vectors.shape[1]
    identity = torch.eye(size, dtype=vectors.dtype)
    part = vectors[f:].T @ deviation @ vectors[f:]
    if float(part.trace()) <= FLOOR:
        return identity
    static = vectors[:f].T @ vectors[:f]
    return static + part * ((size - static.trace()) / part.trace())


def shrunk(
    covariance: Float[Tensor, "e e"], within: Float[Tensor, "e e"], *, amount: float, mix: float
) -> Float[Tensor, "e e"]:
    """Equation 2: (1 - a) S + a tr(S)/e ((1 - b) I + b W), with a = amount and b = mix."""
    size = len(covariance)
    scale = (covariance.trace() / size).clamp_min(FLOOR)
    toward = (1 - mix) * torch.eye(size, dtype=covariance.dtype) + mix * within
    return (1 - amount) * covariance + amount * scale * toward


def resonance(
    z: Float[Tensor, "n e"], prototypes: Float[Tensor, "c e"], metric: Float[Tensor, "e e"]
) -> Float[Tensor, "n c"]:
    """Equation 3: log softmax_k of -|z - c[k]|^2 / 2 in the metric's inverse."""
    directions = torch.linalg.solve(metric, prototypes.T)
    offsets = -0.5 * (prototypes * directions.T).sum(dim=1)
    return torch.log_softmax(z @ directions + offsets, dim=-1)


def balanced(
    log_p: Float[Tensor, "n c"], adapt: int, *, steps: int = SINKHORN_STEPS
) -> Float[Tensor, "n c"]:
    """Equation 4: offsets of the classes give them equal shares of the first `adapt` rows.

    The other rows get the same offsets; 0 Sinkhorn rounds (`steps`) only normalise.
    """
    classes = log_p.shape[1]
    prior = torch.full((classes,), 1 / classes, dtype=log_p.dtype)
    # Bounded, so that a class that no row is near still gets finite offsets.
    log_p = (log_p - log_p.amax(dim=-1, keepdim=True)).clamp_min(-30)
    offsets = balancing_offsets(log_p[:adapt], prior, steps=steps)
    return torch.log_softmax(log_p + offsets, dim=-1)


def confidence(q: Float[Tensor, "n c"]) -> Float[Tensor, " n"]:
    """1 - H(q) / log C, of rows of probabilities; 0 for uniform ones, 1 for certain ones."""
    share: Tensor = 1 + torch.special.xlogy(q, q).sum(dim=-1) / math.log(q.shape[-1])
    return share


def class_means(
    weights: Float[Tensor, "n c"], z: Float[Tensor, "n e"]
) -> tuple[Float[Tensor, "c e"], Float[Tensor, " c"]]:
    """Weighted mean of each class, and its total weight."""
    mass = weights.sum(dim=0)
    return weights.T @ z / mass.clamp_min(FLOOR)[:, None], mass


def within_classes(
    q: Float[Tensor, "n c"], z: Float[Tensor, "n e"], whole: Float[Tensor, "e e"]
) -> Float[Tensor, "e e"]:
    """Covariance of z, which is `whole`, less the covariance of the soft classes' means."""
    means, mass = class_means(q, z)
    share = mass / mass.sum()
    means = means - share @ means
    return whole - (means * share[:, None]).T @ means


def covariance(z: Float[Tensor, "n e"]) -> Float[Tensor, "e e"]:
    """Covariance with divisor n."""
    centred = z - z.mean(dim=0)
    return centred.T @ centred / len(z)


def agreement(a: Float[Tensor, "n c"], b: Float[Tensor, "n c"]) -> float:
    """Kappa of two answers against equal chances: (o - 1/C) / (1 - 1/C)."""
    chance = 1 / a.shape[1]
    same = (a.argmax(dim=1) == b.argmax(dim=1)).to(torch.float64).mean()
    return float((same - chance) / (1 - chance))


def chain(
    source: Float[Tensor, "n e"],
    labels: Float[Tensor, "n c"],
    rows: Float[Tensor, "r e"],
    adapt: int,
    *,
    within: Float[Tensor, "e e"],
    shrinkage: float,
    mix: float,
    source_mass: float,
    target_mass: float,
    source_rounds: int = 5,
    target_rounds: int = 3,
    threshold: float | None = 0.65,
    chained: bool = True,
    steps: int = SINKHORN_STEPS,
    added: Float[Tensor, "_ e"] | None = None,
) -> Chain:
    """Equations 2 to 7: labelled source, unlabelled source, unlabelled target.

    Args:
        source: embeddings, labelled or not.
        labels: one-hot; zero for an unlabelled utterance. Every class has one labelled at least.
        rows: embeddings of the target side, those to adapt to first.
        adapt: how many those are.
        within: the instantaneous part of the metric.
        shrinkage: a of equation 2.
        mix: b of equation 2.
        source_mass: rho_s, the unlabelled source's mass against the labels'; 0 for no link.
        target_mass: rho_t, likewise of the target.
        source_rounds: of the source link.
        target_rounds: of the target link.
        threshold: of kappa; None takes the target link unchecked.
        chained: the source link, then the target link; else one link in which both sides pull at
            once, for `source_rounds`, with nothing to check (an ablation).
        steps: of balancing.
        added: embeddings of added corpora, for a link of their own.
    """
    target = rows[:adapt]
    around_source, around_target = covariance(source), covariance(target)
    known: Bool[Tensor, " n"] = labels.sum(dim=1) > 0
    z, y = source[known], labels[known]
    anchors, counts = class_means(y, z)
    freedom = len(z) - len(counts)
    one_shot = freedom <= 0
    if one_shot:
        # One utterance a class has no spread: the target's whole covariance, for its scale.
        spread, first = around_target, 1.0
    else:
        residual = z - y @ anchors
        spread, first = residual.T @ residual / freedom, START_SHRINKAGE

    def metric(covariance: Tensor, amount: float) -> Tensor:
        return shrunk(covariance, within, amount=amount, mix=mix)

    prototypes, measure = anchors, metric(spread, first)
    start = balanced(resonance(rows, prototypes, measure), adapt, steps=steps)
    linked = source_mass > 0 and bool((~known).any())
    if not linked and not one_shot:
        measure = metric(spread, shrinkage)
    for _ in range(source_rounds if linked else 0):  # equation 5
        q = balanced(resonance(source, prototypes, measure), len(source), steps=steps).exp()
        before = prototypes, measure
        weights = q * (confidence(q) * ~known)[:, None]
        means, mass = class_means(weights, source)
        prototypes = _pulled(anchors, means, mass, source_mass)
        spread = within_classes(torch.where(known[:, None], labels, q), source, around_source)
        if not chained and target_mass > 0:
            q = balanced(resonance(target, *before), adapt, steps=steps).exp()
            means, mass = class_means(q * confidence(q)[:, None], target)
            # (labelled + rho_s source + rho_t target) / (1 + rho_s + rho_t)
            prototypes = _pulled(prototypes, means, mass, target_mass / (1 + source_mass))
            spread = 0.5 * spread + 0.5 * within_classes(q, target, around_target)
        measure = metric(spread, shrinkage)
    answers = balanced(resonance(source, prototypes, measure), len(source), steps=steps)
    if added is not None and len(added) and source_mass > 0:
        prototypes, spread = added_link(
            source, added, prototypes, spread, lambda found: metric(found, shrinkage), steps=steps
        )
        measure = metric(spread, shrinkage)
    source_link = balanced(resonance(rows, prototypes, measure), adapt, steps=steps)
    base = prototypes
    last = 1.0 if one_shot and not linked else shrinkage
    apart = target_mass > 0 and (chained or not linked)
    for _ in range(target_rounds if apart else 0):  # equation 6
        q = balanced(resonance(target, prototypes, measure), adapt, steps=steps).exp()
        means, mass = class_means(q * confidence(q)[:, None], target)
        prototypes = _pulled(base, means, mass, target_mass)
        measure = metric(0.5 * spread + 0.5 * within_classes(q, target, around_target), last)
    target_link = balanced(resonance(rows, prototypes, measure), adapt, steps=steps)
    kappa = agreement(source_link[:adapt], target_link[:adapt])
    answer = target_link  # equation 7
    if threshold is not None and kappa <= threshold:
        answer = balanced(start + source_link + target_link, adapt, steps=steps)
    return Chain(start, source_link, target_link, answer, answers, prototypes, measure, kappa)


def added_link(
    source: Float[Tensor, "n e"],
    added: Float[Tensor, "m e"],
    prototypes: Float[Tensor, "c e"],
    spread: Float[Tensor, "e e"],
    metric: Callable[[Tensor], Tensor],
    *,
    steps: int,
) -> tuple[Float[Tensor, "c e"], Float[Tensor, "e e"]]:
    """Equation 5a: speech of added corpora pulls at what the source link found.

    Classes are balanced on the source alone: an added corpus need not have all of them.

    Prototypes and the covariance within classes, from those after the source link.
    """
    base, own, around = prototypes, spread, covariance(added)
    both = torch.cat([source, added])
    for _ in range(ADDED_ROUNDS):
        q = balanced(resonance(both, prototypes, metric(spread)), len(source), steps=steps).exp()
        q = q[len(source) :]
        means, mass = class_means(q * confidence(q)[:, None], added)
        prototypes = _pulled(base, means, mass, ADDED_MASS)
        spread = torch.lerp(own, within_classes(q, added, around), ADDED_SHARE)
    return prototypes, spread


def averaged(
    scores: Sequence[Float[Tensor, "n c"]],
    adapt: int,
    *,
    weights: Sequence[float] = (),
    steps: int = SINKHORN_STEPS,
) -> Float[Tensor, "n c"]:
    """Equation 8: standardised scores averaged, spread and balanced.

    The spread and the shares of the first `adapt` rows count; the weights of the scores sum to one.
    """
    weights = weights or [1 / len(scores)] * len(scores)
    total = torch.zeros_like(scores[0])
    for one, weight in zip(scores, weights, strict=True):
        centred = one - one.mean(dim=-1, keepdim=True)
        total = total + weight * centred / centred[:adapt].std(correction=0).clamp_min(FLOOR)
    return balanced(SPREAD * total, adapt, steps=steps)


def _pulled(base: Tensor, means: Tensor, mass: Tensor, rho: float) -> Tensor:
    """Bounded mass: (base + rho mean) / (1 + rho); a class without weight stays."""
    pulled = (base + rho * means) / (1 + rho)
    return torch.where((mass > FLOOR)[:, None], pulled, base)


def balancing_offsets(
    log_p: Float[Tensor, "n c"], prior: Float[Tensor, " c"], *, steps: int
) -> Float[Tensor, " c"]:
    """What to add to each class's log-assignments so that their shares approach a prior.

    Reference: Cuturi, Sinkhorn Distances, NIPS 2013, algorithm 1; rows have mass 1/n, columns
    the prior's.

    Each row of log-assignments may have an offset; the prior is positive and sums to one.
    """
    # Factors of the classes instead of their logarithms: a round is two products.
    kernel = (log_p - log_p.amax(dim=-1, keepdim=True)).exp()
    factors = torch.ones_like(prior)
    for _ in range(steps):
        factors = len(kernel) * prior / ((1 / (kernel @ factors)) @ kernel)
    return factors.log()
