"""Processors: what is done to the logits of the training samples before the division by the temperature.

`config.sampling.processor` is the name of a function (logits [n, V], tokens [n, T] so far, position) -> logits [n, V], or an entry
`(name, dict)`: then the function's first parameters are named so, further positional ones are tables of the method's trackers, with their
value at the start of the iteration, and keyword-only ones are hyper-parameters. Both are traced.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from pojax.advantages.entropy_credit import scale_entropy, z_score
from pojax.annotations import Hyper
from pojax.checks import checked
from pojax.models.outputs import entropy_of
from pojax.trackers.entropy import EntropyStatistics

__all__ = ["entropy_temperature", "float8_logits"]


LEAST_FACTOR = 0.05  # of a temperature that falls without a bound


@checked(tau="[0, 1)", form="{signed, released, z_score}")
def entropy_temperature(
    logits: Float[Array, "n V"], statistics: EntropyStatistics, *, tau: Hyper = 0.1, form: str = "signed"
) -> Float[Array, "n V"]:
    """Temperature by entropy: logits / (1 + tau * h), with h in [-1, 1] from the entropy H of softmax(logits).

    h = z / max z where z = (log H - Q) / s > 0, else z / |min z|, with Q, s, max and min of the previous iteration's tokens (the tracker
    `entropy_statistics`), clamped to [-1, 1]; 0 in the first iteration. Multiplies the row's temperature, which H does not see.
    form "released": as in the released code z <= 0 is divided by min z, so that the temperature rises for tokens of low entropy too.
    form "z_score": logits / max(1 + tau * z, 0.05), as the paper prints it, without a bound above; the one below is assumed, for z of a
    token that is nearly certain would make the temperature negative.
    Raises ValueError for tau outside [0, 1) or another form.
    Source: HAPO, From Uniform to Heterogeneous, arXiv 2509.16591, adaptive temperature sampling, and its released code.
    """
    entropy = entropy_of(logits, jax.nn.logsumexp(logits, axis=-1))
    if form == "z_score":
        h = z_score(entropy, statistics.scale)
    else:
        h = jnp.clip(scale_entropy(entropy, statistics.scale, form=form), -1.0, 1.0)
    factor = jnp.maximum(1.0 + tau * jnp.where(statistics.ready, h, 0.0), LEAST_FACTOR)
    return logits / factor[:, None]


def float8_logits(logits: Float[Array, "n V"], tokens: Int[Array, "n T"], position: Int[Array, ""] | int) -> Float[Array, "n V"]:
    """Logits with the 3 bits of mantissa of an 8-bit float (E4M3): the sampler disagrees with the learner as one that is quantised does.

    Rounding a logit between 4 and 8 moves it by up to 0.25, so ratios of learner and sampler scatter to both sides of 1.
    """
    return jax.lax.reduce_precision(logits, exponent_bits=8, mantissa_bits=3)
