"""The unified view: the gradient of every likelihood loss is one product, here in closed form, without automatic differentiation.

    -dL / dlogprob[b, t] = coefficient * mask * (pi / reference) * advantage

    coefficient   of the aggregation, for the token or the row (`pojax.losses.aggregations`), times scale
    mask          1 where the token passes a gradient: clips, gates; where a trust region is smooth, a factor that is 1 on policy
    pi / reference   weight of a sample of another policy: pi / pi_old in PPO, 1 in REINFORCE and supervised fine-tuning
    advantage     direction: reward minus baseline; the residual, where a loss is a regression

`factors("gspo", logprobs, old_logprobs, advantages, mask, epsilon=0.1)` takes what the loss takes and gives (mask, weight, advantage).
Losses couple tokens in three ways, the `level` of a view: "token": none; "response": the tokens of a row, whose coefficient is that of
the row; "group": the rows of a group, whose coefficients must be equal. Where a loss clamps a log-ratio at 20 nats the view does not.
Source: Towards a Unified View of LLM Post-Training, arXiv 2509.04419, eq. (unified policy gradient estimator), for the product.
"""

import difflib
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pojax import losses
from pojax.numerics import counts, floating
from pojax.unified_view.coupled import COUPLED
from pojax.unified_view.inputs import Inputs, View
from pojax.unified_view.responses import RESPONSES
from pojax.unified_view.tokens import TOKENS

__all__ = ["VIEWS", "WITHOUT", "Factors", "View", "factors"]

VIEWS: dict[str, View] = TOKENS | RESPONSES | COUPLED
WITHOUT = {
    "entropy_bonus": "its gradient is that of all tokens' probabilities, not of the sampled one's",
    "gaussian_kl": "a divergence of two distributions",
    "mdpo_off_policy": "its gradient flows through the action",
    "occupancy_discriminator": "trains a discriminator",
    "q_sharp_bernoulli": "a value",
    "q_sharp_categorical": "a value",
    "q_sharp_loss": "trains a value model",
    "q_sharp_policy": "a policy",
    "tsallis_log": "a function of a probability",
}


class Factors(NamedTuple):
    """The gradient's factors, [B, T] each."""

    mask: Float[Array, "B T"]
    weight: Float[Array, "B T"]  # pi / reference
    advantage: Float[Array, "B T"]

    @property
    def product(self) -> Float[Array, "B T"]:
        """What multiplies grad log pi, beside the coefficient; 0 where the mask is, whatever the others hold."""
        on = counts(self.mask)
        return jnp.where(on, self.mask * jnp.where(on, self.weight, 0.0) * jnp.where(on, self.advantage, 0.0), 0.0)


def factors(loss: str | Callable[..., Any], *data: Any, **given: Any) -> Factors:
    """Mask, pi / reference and advantage of a loss of `pojax.losses`, from the same arguments and with its own defaults.

    Raises ValueError for a loss that has no view (`WITHOUT` says why), for a hyper-parameter whose gradient is no such product, and
    whatever the loss refuses. Source: as the module; each loss names its own paper.
    """
    name = loss if isinstance(loss, str) else loss.__name__
    if name not in VIEWS:
        near = difflib.get_close_matches(name, VIEWS)
        raise ValueError(f"factors: loss is {name!r} ({WITHOUT.get(name, 'unknown')}), allowed: {near or sorted(VIEWS)}")
    view, function = VIEWS[name], getattr(losses, name)
    jax.eval_shape(lambda: function(*data, **given))  # the loss's own checks of shapes and ranges
    signature = inspect.signature(function)
    bound = signature.bind(*data, **given)
    bound.apply_defaults()
    for hyper, allowed in view.only.items():
        if bound.arguments[hyper] not in allowed:
            raise ValueError(f"factors: {hyper} of {name} is {bound.arguments[hyper]!r}, allowed: {', '.join(map(repr, allowed))}")
    hypers = [p.name for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY]
    shape = np.shape(bound.arguments["logprobs"])
    return Factors(*(jnp.broadcast_to(floating(x), shape) for x in view.rule(Inputs(bound.arguments, hypers))))
