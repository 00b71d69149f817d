"""Divergence between what two policies visit (ORPO, "Correlated Proxies"), and the discriminator that estimates it."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Shaped

from pojax.annotations import Mask
from pojax.checks import checked
from pojax.numerics import counts, floating
from pojax.reductions import row_sum

__all__ = ["occupancy_discriminator", "response_divergence"]

LINEAR_FROM = 10.0  # of the released code: beyond it the exponential goes on as its tangent


@checked(form="{chi2, kl}")
def response_divergence(
    logprobs: Float[ArrayLike, "B T"], ref_logprobs: Float[ArrayLike, "B T"], mask: Mask, *, form: str = "chi2"
) -> Float[Array, "B"]:
    """Divergence from the reference on whole sampled responses: f(x) + f(-x) for chi2, x + f(-x) for kl, f(x) = exp(x) - 1.

    x = sum_t mask (logprob - ref) on samples of the policy; f continues linearly beyond 10. Neither is ever negative; a response without
    tokens has 0. The paper's penalty is the square root of the chi2's mean: scale it by the per_minibatch rule `chi2_root`.
    Raises ValueError for another form.
    Source: Correlated Proxies (ORPO), arXiv 2403.03185, released code of the language-model experiments.
    """
    x = row_sum(floating(logprobs) - floating(ref_logprobs), mask)
    return (_expm1(x) if form == "chi2" else x) + _expm1(-x)


@checked()
def occupancy_discriminator(scores: Float[ArrayLike, "B"], on_policy: Shaped[ArrayLike, "B"]) -> Float[Array, "B"]:
    """Logistic loss of a discriminator of two policies' states: log(1 + exp(-d)) on the current one's, log(1 + exp(d)) on the base's.

    scores: d, at its minimum the log of (current occupancy / base occupancy); on_policy: 1 where the row is the current policy's, else 0.
    The paper adds the two means: two terms, each with its own where and sequence_mean.
    Source: Correlated Proxies (ORPO), arXiv 2403.03185, section 5 and released code.
    """
    scores = floating(scores)
    return jax.nn.softplus(jnp.where(counts(on_policy), -scores, scores))


def _expm1(x: Float[Array, "B"]) -> Float[Array, "B"]:
    """exp(x) - 1, and its tangent beyond 10."""
    low = jnp.minimum(x, LINEAR_FROM)
    return jnp.where(x > LINEAR_FROM, jnp.expm1(LINEAR_FROM) + jnp.exp(LINEAR_FROM) * (x - LINEAR_FROM), jnp.expm1(low))
