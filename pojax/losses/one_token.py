"""Supervised data as one-step rollouts: tokens drawn from the policy at every position, rewarded where they are the given one."""

import jax
from jaxtyping import Array, ArrayLike, Float

from pojax.annotations import Hyper
from pojax.checks import checked
from pojax.numerics import floating, per_row

__all__ = ["one_token_rollout"]


@checked(reward="(-inf, inf)")
def one_token_rollout(
    logprobs: Float[ArrayLike, "B T"], drawn_hits: Float[ArrayLike, "B T"], drawn_misses: Float[ArrayLike, "B T"], *, reward: Hyper = -0.1
) -> Float[Array, "B T"]:
    """REINFORCE on K tokens drawn at every position: -(1/K) sum_j r_j logprob(a_j), r_j = 1 where a_j is the given token, else `reward`.

    = -drawn_hits * logprob - reward * drawn_misses, of the heads `drawn_hits` (n_hit / K) and `drawn_misses` (sum over the other draws of
    their log-probability / K), which must draw the same: the same samples, temperature and seeds. The prefix is the given one.
    reward: of a token that is not the given one; 0 leaves those draws out, below 0 pushes them down (not bounded below, but a token is
    drawn ever more rarely as it becomes unlikely).
    Source: One-Token Rollout, arXiv 2509.26313; K = 256, reward -0.1 and temperature 1.3 from memory (assumed).
    """
    hits = jax.lax.stop_gradient(floating(drawn_hits))
    return -hits * floating(logprobs) - per_row(reward, 2) * floating(drawn_misses)
