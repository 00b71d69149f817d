"""Volume that a set of vectors dominates, and the scaling of rewards by what a new vector adds to it."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Shaped

from pojax.checks import checked
from pojax.numerics import counts, floating

__all__ = ["hypervolume", "scale_reward"]


@checked()
def scale_reward(rewards: Float[ArrayLike, "B"], multiplier: Float[ArrayLike, ""] | Float[ArrayLike, "B"]) -> Float[Array, "B"]:
    """Reward times a number that others carry: multiplier * r_b, such as `pareto.multiplier` of the tracker `pareto_front`.

    An advantage that is divided by a standard deviation of the same rewards does not feel it.
    Source: Dynamic Reward Weighting, arXiv 2509.11452, hypervolume-guided weight adaptation.
    """
    return floating(rewards) * floating(multiplier)


@checked()
def hypervolume(
    points: Shaped[ArrayLike, "C K"], used: Shaped[ArrayLike, "C"], reference: Shaped[ArrayLike, "K"], *, clamp: bool = True
) -> Float[Array, ""]:
    """Volume of the union of the boxes between a reference and each used point; more is better in every coordinate.

    Exact, by slices along the first coordinate, recursively: C^(K-1) steps, so a few objectives and some tens of points.
    clamp: a point below the reference in a coordinate dominates nothing; False lets the last coordinate count
    negative, as the released code does.
    0 without points. A constant of the gradient.
    Source: recursive slicing, Fonseca et al. 2006, as in Dynamic Reward Weighting, arXiv 2509.11452.
    """
    points, reference = jax.lax.stop_gradient((floating(points), floating(reference)))
    return _slices(points - reference, counts(used), clamp)


def _slices(above: Float[Array, "C K"], used: Bool[Array, "C"], clamp: bool) -> Float[Array, ""]:
    first = jnp.where(used, above[:, 0], -jnp.inf)
    if above.shape[1] == 1:
        best = jnp.max(first)
        return jnp.where(jnp.any(used), jnp.maximum(best, 0.0) if clamp else jnp.where(jnp.isfinite(best), best, 0.0), 0.0)
    levels = jnp.sort(jnp.maximum(first, 0.0))
    widths = levels - jnp.concatenate([jnp.zeros(1, levels.dtype), levels[:-1]])
    inner = jax.vmap(lambda level: _slices(above[:, 1:], used & (first >= level), clamp))(levels)
    return jnp.sum(jnp.where(widths > 0.0, widths * inner, 0.0))
