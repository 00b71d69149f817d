"""What earlier iterations say about the entropy of the policy."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from pojax.advantages.entropy_credit import EntropyScale, entropy_scale
from pojax.annotations import Hyper, Mask
from pojax.checks import checked
from pojax.groups import inside
from pojax.numerics import counts
from pojax.reductions import masked_mean, one_number, row_count, row_mean
from pojax.trackers.tracker import Tracker

__all__ = [
    "AdaptiveEntropy",
    "EntropyStatistics",
    "InitialEntropy",
    "adaptive_entropy",
    "entropy_statistics",
    "initial_entropy",
]


class InitialEntropy(NamedTuple):
    """Mean entropy of the responses of the first iteration, in nats; -1 before it."""

    value: Float[Array, ""]


def init_initial_entropy() -> InitialEntropy:
    """Nothing seen: -1. Source: GTPO, arXiv 2508.03772."""
    return InitialEntropy(jnp.full((), -1.0, jnp.result_type(float)))


@checked()
def update_initial_entropy(
    table: InitialEntropy, entropy: Float[ArrayLike, "B T"], mask: Mask, groups: Int[ArrayLike, "B"]
) -> InitialEntropy:
    """Keep the value of the first iteration that had a response: the mean over responses of the mean over tokens.

    Source: GTPO, arXiv 2508.03772: the mean entropy of the initial policy decides whether responses of high entropy are dropped.
    """
    used = inside(groups) & (row_count(mask) > 0.0)
    seen = jnp.where(jnp.any(used), masked_mean(row_mean(entropy, mask), used), -1.0)
    return InitialEntropy(jnp.where(table.value >= 0.0, table.value, seen.astype(table.value.dtype)))


class EntropyStatistics(NamedTuple):
    """The scale of log-entropies of the previous iteration; `ready` is False before the first."""

    scale: EntropyScale
    ready: Bool[Array, ""]


def init_entropy_statistics() -> EntropyStatistics:
    """Nothing seen. Source: HAPO, From Uniform to Heterogeneous, arXiv 2509.16591."""
    zero, one = jnp.zeros((), jnp.result_type(float)), jnp.ones((), jnp.result_type(float))
    return EntropyStatistics(EntropyScale(zero, one, one, -one), jnp.zeros((), bool))


@checked(quantile="[0, 1]")
def update_entropy_statistics(
    table: EntropyStatistics, entropy: Float[ArrayLike, "B T"], mask: Mask, groups: Int[ArrayLike, "B"], *, quantile: Hyper = 0.8
) -> EntropyStatistics:
    """The scale of this iteration's tokens (`entropy_signal` says how it is taken); unchanged where no row is in.

    Source: HAPO, From Uniform to Heterogeneous, arXiv 2509.16591, adaptive temperature, and its released code.
    """
    on = counts(mask) & inside(groups)[:, None]
    new, some = entropy_scale(entropy, on, quantile=quantile), jnp.any(on)
    kept = [jnp.where(some, a.astype(b.dtype), b) for a, b in zip(new, table.scale, strict=True)]
    return EntropyStatistics(EntropyScale(*kept), table.ready | some)


class AdaptiveEntropy(NamedTuple):
    """A coefficient of the entropy bonus, and the entropy of the previous iteration."""

    coefficient: Float[Array, ""]
    on: Bool[Array, ""]  # whether that entropy was at or below the target

    @property
    def applied(self) -> Float[Array, ""]:
        """The coefficient that this iteration's bonus has: 0 while the entropy is above the target."""
        return jnp.where(self.on, self.coefficient, 0.0)


@checked(start="[0, inf)")
def init_adaptive_entropy(*, start: Hyper = 0.0) -> AdaptiveEntropy:
    """The coefficient `start`, with the bonus on (assumed; nothing is known of the entropy yet).

    Source: Skywork Open Reasoner 1, arXiv 2505.22312, adaptive entropy control.
    """
    return AdaptiveEntropy(one_number(start), jnp.ones((), bool))


@checked(change="[0, inf)", low="[0, inf)", high="[0, inf]")
def update_adaptive_entropy(
    table: AdaptiveEntropy,
    entropy: Float[ArrayLike, "B T"],
    keep: Mask,
    *,
    target: Hyper = 0.2,
    change: Hyper = 0.005,
    low: Hyper = 0.0,
    high: Hyper = 1.0,
) -> AdaptiveEntropy:
    """a <- min(a + change, high) where the mean entropy over the kept tokens is at or below target, else max(a - change, low).

    The next iteration's bonus is on only in the first case. target: nats. Once per iteration (TRL: after every optimiser step);
    unchanged where nothing is kept. Name the coefficient as scale="<table>.applied" of `entropy_bonus`, aggregated by token_mean.
    Source: Skywork Open Reasoner 1, arXiv 2505.22312, adaptive entropy control; TRL's use_adaptive_entropy.
    """
    below = masked_mean(entropy, keep) <= one_number(target)
    up = jnp.minimum(table.coefficient + one_number(change), one_number(high))
    down = jnp.maximum(table.coefficient - one_number(change), one_number(low))
    some = jnp.any(counts(keep))
    new = jnp.where(some, jnp.where(below, up, down), table.coefficient)
    return AdaptiveEntropy(new.astype(table.coefficient.dtype), jnp.where(some, below, table.on))


# GTPO: advantages=[..., ("penalize_entropy", dict(entropy="old_entropy", initial_entropy="initial.value"))],
#   trackers=dict(initial=("initial_entropy", dict(entropy="old_entropy")))
initial_entropy = Tracker(init_initial_entropy, update_initial_entropy)
# HAPO: sampling.processor=("entropy_temperature", dict(statistics="entropies")),
#   trackers=dict(entropies=("entropy_statistics", dict(entropy="old_entropy")))
entropy_statistics = Tracker(init_entropy_statistics, update_entropy_statistics)
# Adaptive entropy: losses=[..., ("entropy_bonus", dict(scale="bonus.applied"))],
#   trackers=dict(bonus=("adaptive_entropy", dict(entropy="old_entropy")))
adaptive_entropy = Tracker(init_adaptive_entropy, update_adaptive_entropy)
