"""Groups cut down to their best responses before the advantages are taken (Group Filtered Policy Optimization)."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Shaped

from pojax.annotations import Hyper, Mask, writes
from pojax.checks import checked
from pojax.groups import group_max, group_rank, inside, whole_batch
from pojax.numerics import floating, masked, per_row

__all__ = ["brevity_score", "keep_best"]


@writes("score")
@checked(metric="{length, efficiency, mixed}", response_tokens="[1, inf)")
def brevity_score(
    rewards: Float[ArrayLike, "B"],
    lengths: Shaped[ArrayLike, "B"],
    groups: Int[ArrayLike, "B"],
    response_tokens: int,
    *,
    metric: str = "length",
) -> Float[Array, "B"]:
    """How well a response does for its length, higher is better: -length, or r / length.

    metric: "length"; "efficiency", reward per token; "mixed", 0.5 * e / max|e| + 0.5 * (1 - length / response_tokens) with the
    efficiency e over its largest absolute value in the whole batch, so that a group's order depends on other prompts (EasyDeL).
    Lengths are token counts, at least 1 here. Zero for rows that are out. Raises ValueError for another metric.
    Source: GFPO, "Sample More to Think Less", arXiv 2508.09726 (shortest k, token efficiency); "mixed": EasyDeL gfpo (2025).
    """
    is_in = inside(groups)
    lengths = masked(lengths, is_in)
    if metric == "length":
        return -lengths
    efficiency = masked(rewards, is_in) / jnp.maximum(lengths, 1.0)
    if metric == "efficiency":
        return efficiency
    largest = group_max(jnp.abs(efficiency), whole_batch(groups))
    share = efficiency / jnp.where(largest > 0.0, largest, 1.0)
    return jnp.where(is_in, 0.5 * share + 0.5 * (1.0 - lengths / response_tokens), 0.0)


@writes("keep", "kept_groups")
@checked(k="[0, inf)")
def keep_best(
    keep: Mask, score: Float[ArrayLike, "B"], groups: Int[ArrayLike, "B"], *, k: Hyper
) -> tuple[Float[Array, "B T"], Int[Array, "B"]]:
    """Keep the k rows of every group with the highest score: keep, cleared elsewhere, and the groups of the kept rows, -1 elsewhere.

    Advantages over the kept rows: ("group_normalize", dict(groups="kept_groups")), which gives dropped rows 0; no divisor counts them.
    k may be a number or a field (more for hard prompts, as the adaptive variant does). Ties by the order of the rows; k at or above the
    group's size keeps it whole. Raises ValueError for a negative k.
    Source: GFPO, "Sample More to Think Less", arXiv 2508.09726, the retained set S.
    """
    rank = group_rank(-floating(score), groups)
    best = inside(groups) & (rank < per_row(k, 1))
    return masked(keep, best[:, None]), jnp.where(best, jnp.asarray(groups), -1).astype(jnp.int32)
