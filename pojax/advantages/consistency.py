"""Credit between prompts: how right and how consistent the answers of a group are (COPO).

COPO minimises w * PPO(local advantage) + (1 - w) * PPO(global advantage), two terms whose scales are fields:
    advantages=[("identical_responses", dict(writes="answers")), ("answer_entropy", {}), ("group_normalize", {}),
                ("consistency_advantages", {}), ("consistency_weights", {})]
    losses=[("ppo_clip", dict(dual_clip=3.0, scale="local_weight")),
            ("ppo_clip", dict(dual_clip=3.0, scale="global_weight", advantages="global_advantages"))]
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from pojax.annotations import Hyper, Mask, writes
from pojax.checks import checked
from pojax.groups import first_rows, group_mean, group_size, inside, refine
from pojax.numerics import counts, floating, masked, per_row
from pojax.reductions import masked_mean, masked_std

__all__ = ["answer_entropy", "consistency_advantages", "consistency_weights"]

LOG_FLOOR = 1e-8  # of the released code, inside the logarithm of the entropy


@writes("answer_entropy")
@checked()
def answer_entropy(answers: Int[ArrayLike, "B"], groups: Int[ArrayLike, "B"]) -> Float[Array, "B"]:
    """Entropy of the answers of each row's group, in bits: H = -sum over answers of p log2(p + 1e-8), p the share of the group's rows.

    answers: any integers >= 0, compared within a group; rows with answer -1 count in no share. 0 for rows that are out; of a group of one
    answer -1.4e-8, as in the released code.
    Source: COPO, arXiv 2508.04138, answer entropy; 1e-8 of the released code.
    """
    counted = jnp.where(jnp.asarray(answers) >= 0, jnp.asarray(groups), -1)
    share = group_size(refine(counted, answers)) / jnp.maximum(group_size(counted), 1.0)
    return -group_mean(jnp.log2(share + LOG_FLOOR), counted)  # every row of an answer adds p / (rows of the answer)


@writes("global_advantages")
@checked(epsilon="[0, inf)")
def consistency_advantages(
    rewards: Float[ArrayLike, "B"],
    answer_entropy: Float[ArrayLike, "B"],
    groups: Int[ArrayLike, "B"],
    mask: Mask,
    *,
    epsilon: Hyper = 1e-6,
    discount_entropy: bool = True,
) -> Float[Array, "B T"]:
    """Advantage between prompts, the same for all tokens of a group: A = (g - mean g) / (std g + epsilon), 0 where mask is 0.

    g = mean_g(r) * (1 - lam * H), lam = (1 - 1/G) / log2(G) (0 for a group of one); mean and std (ddof 1) over the groups, each once.
    epsilon is in units of reward. discount_entropy: False is g = mean_g(r), the released code with its coefficient off.
    So a group that is all wrong is pushed down where others succeed. Exactly zero for a single group, where all g are equal, for rows out.
    Source: COPO, arXiv 2508.04138, global reward and global advantage; the constants are those of the released code.
    """
    size = group_size(groups)
    lam = jnp.where(size > 1.0, (1.0 - 1.0 / jnp.maximum(size, 2.0)) / jnp.log2(jnp.maximum(size, 2.0)), 0.0)
    entropy = masked(answer_entropy, inside(groups))
    score = group_mean(rewards, groups) * (1.0 - lam * entropy if discount_entropy else 1.0)
    first = first_rows(groups)
    mean, std = masked_mean(score, first), masked_std(score, first)
    flat = std <= 4.0 * jnp.finfo(std.dtype).eps * jnp.max(jnp.abs(score))  # equal g of groups of different sizes may differ in rounding
    advantages = jnp.where(flat | ~inside(groups), 0.0, (score - mean) / jnp.where(flat, 1.0, std + per_row(epsilon, 1)))
    return jnp.where(counts(mask), advantages[:, None], 0.0)


@writes("local_weight", "global_weight")
@checked(form="{soft_forced, soft, forced, local, global}")
def consistency_weights(
    advantages: Float[ArrayLike, "B"],
    answer_entropy: Float[ArrayLike, "B"],
    groups: Int[ArrayLike, "B"],
    *,
    slope: Hyper = 5.0,
    center: Hyper = 1.0,
    form: str = "soft_forced",
) -> tuple[Float[Array, "B"], Float[Array, "B"]]:
    """Weights of the local and of the global advantage of each row: w and 1 - w, both 0 for rows that are out.

    form "soft_forced": w = sigmoid(slope * (H - center)) where the local advantage is not 0, else 0; "soft": without that condition;
    "forced": w = 1 where the local advantage is not 0, else 0; "local": w = 1; "global": w = 0.
    slope is per bit, center in bits of answer entropy H: consistent groups learn from the comparison between prompts.
    Raises ValueError for another form.
    Source: COPO, arXiv 2508.04138, blend of local and global optimisation; 5 and 1 are those of the released scripts.
    """
    is_in = inside(groups)
    known = {"local": 1.0, "global": 0.0, "forced": 1.0}
    soft = jax.nn.sigmoid(per_row(slope, 1) * (masked(answer_entropy, is_in) - per_row(center, 1)))
    weight = jnp.full_like(soft, known[form]) if form in known else soft
    if "forced" in form:
        weight = jnp.where(floating(advantages) != 0.0, weight, 0.0)
    return jnp.where(is_in, weight, 0.0), jnp.where(is_in, 1.0 - weight, 0.0)
