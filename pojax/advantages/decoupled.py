"""Several rewards, each standardised in its group before they are added (reward-decoupled GDPO of NVIDIA)."""

from functools import reduce
from operator import add, or_

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Shaped

from pojax.advantages.normalizers import batch_normalize, group_normalize, token_whiten
from pojax.annotations import Hyper, Mask
from pojax.checks import checked
from pojax.groups import inside
from pojax.rewards.combination import select_components

__all__ = ["decoupled_normalize"]


@checked(epsilon="[0, inf)", batch_epsilon="[0, inf)", level="{row, token, none}")
def decoupled_normalize(
    components: dict[str, Shaped[ArrayLike, "B"]],
    groups: Int[ArrayLike, "B"],
    mask: Mask,
    *,
    weights: dict[str, Hyper],
    epsilon: Hyper = 1e-4,
    batch_epsilon: Hyper = 1e-4,
    level: str = "row",
) -> Float[Array, "B"] | Float[Array, "B T"]:
    """Every reward standardised in its group, added, standardised over the batch: A_b = (s_b - mean(s)) / (std(s) + batch_epsilon).

    s_b = sum_k weight_k * (r_bk - mean_g r_k) / (std_g r_k + epsilon), with ddof 1 in both steps. GRPO on the sum of the rewards lets
    different combinations of rewards share one advantage, and the reward of the largest spread decide; here every reward has its own scale.
    weights: names the rewards. The paper gives no epsilon; 1e-4 twice is TRL's, 1e-8 twice ms-swift's, verl has epsilon 1e-6.
    level: "row", the batch step over responses (paper, TRL, ms-swift): [B]; "token", over all tokens with sqrt(var + 1e-8), batch_epsilon
    unused, so that long responses weigh more (verl): [B, T], 0 where mask is 0; "none" leaves the step out.
    A reward that is equal in a group adds exactly 0 there; groups of one and a batch with fewer than two scored rows give 0. A NaN reward
    (unscorable) is in no statistic and adds 0; a row whose rewards are all NaN is out of the batch statistics too.
    Raises ValueError where weights is empty or names a component that is not there, and for another level.
    Source: GDPO (group reward-decoupled normalisation), arXiv 2601.05242; TRL multi_objective_aggregation="normalize_then_sum".
    """
    selected = select_components("decoupled_normalize", components, weights)
    scored = [inside(groups) & ~jnp.isnan(component) for component, _ in selected]
    parts = [
        weight * group_normalize(jnp.where(on, component, 0.0), jnp.where(on, jnp.asarray(groups), -1), epsilon=epsilon)
        for (component, weight), on in zip(selected, scored, strict=True)
    ]
    total, rows = reduce(add, parts), jnp.where(reduce(or_, scored), jnp.asarray(groups), -1)
    if level == "token":
        return token_whiten(total, mask, rows)
    return batch_normalize(total, rows, epsilon=batch_epsilon) if level == "row" else total
