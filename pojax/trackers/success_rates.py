"""Success rates of every prompt of the data set, learned from the responses of earlier iterations."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Int32, Shaped

from pojax.annotations import Hyper, Mask
from pojax.checks import check_range, check_shapes, checked
from pojax.groups import inside
from pojax.numerics import floating, masked, per_row
from pojax.trackers.tracker import Tracker

__all__ = ["SingleStream", "beta_prior", "policy_distance", "retention", "single_stream"]


class SingleStream(NamedTuple):
    """A Beta law of the success rate of each of N prompts, and the prompt's latest response, by which forgetting is measured.

    logprobs were taken with the row's temperature, after the updates of the iteration that sampled the response.
    """

    alpha: Float[Array, "N"]
    beta: Float[Array, "N"]
    tokens: Int32[Array, "N T"]
    mask: Bool[Array, "N T"]
    logprobs: Float[Array, "N T"]
    temperature: Float[Array, "N"]
    visited: Bool[Array, "N"]

    @property
    def value(self) -> Float[Array, "N"]:
        """Expected success rate: alpha / (alpha + beta)."""
        return self.alpha / (self.alpha + self.beta)


@checked(num_prompts="[1, inf)", response_tokens="[1, inf)", alpha="(0, inf)", beta="(0, inf)")
def init_single_stream(num_prompts: int, response_tokens: int, *, alpha: Hyper = 0.5, beta: Hyper = 0.5) -> SingleStream:
    """The table before any response: Beta(alpha, beta) for each prompt. [N] arrays, such as `beta_prior` of offline samples, are welcome.

    Source: Single-stream Policy Optimization, arXiv 2509.13232.
    """
    rows, tokens, dtype = (num_prompts,), (num_prompts, response_tokens), jnp.result_type(float)
    return SingleStream(
        alpha=jnp.broadcast_to(jnp.asarray(alpha, dtype), rows),
        beta=jnp.broadcast_to(jnp.asarray(beta, dtype), rows),
        tokens=jnp.zeros(tokens, jnp.int32),
        mask=jnp.zeros(tokens, bool),
        logprobs=jnp.zeros(tokens, dtype),
        temperature=jnp.ones(rows, dtype),
        visited=jnp.zeros(rows, bool),
    )


@checked(rewards="[0, 1]", halving="(0, inf)", low="[0, 1]", high="[0, 1]")
def update_single_stream(
    table: SingleStream,
    rewards: Float[ArrayLike, "B"],
    prompt_index: Int[ArrayLike, "B"],
    groups: Int[ArrayLike, "B"],
    tokens: Int[ArrayLike, "B T"],
    mask: Mask,
    logprobs: Float[ArrayLike, "B T"],
    temperature: Float[ArrayLike, "B"],
    previous_logprobs: Float[ArrayLike, "B T"],
    *,
    halving: Hyper = 0.06,
    low: Hyper = 0.875,
    high: Hyper = 0.96,
) -> SingleStream:
    """Forget as far as the policy has moved, then count: alpha <- rho alpha + r, beta <- rho beta + 1 - r, for the prompts of the batch.

    rho = `retention` of the distance D (`policy_distance`) between the stored log-probabilities of the prompt's previous response and
    previous_logprobs, those of the same tokens under the updated policy; a prompt never visited has D = 0. Then the batch's response
    and its logprobs under the updated policy are stored. Rewards are success rates: clipped to [0, 1] where they are traced.
    Of several rows of one prompt the last one counts. Rows that are out change nothing.
    Raises ValueError where a concrete reward is outside [0, 1], or an index is not below N.
    Source: Single-stream Policy Optimization, arXiv 2509.13232, and its released code (D is a mean absolute log-ratio).
    """
    number, is_in = table.alpha.shape[0], inside(groups)
    check_shapes("update_single_stream", table=(table.logprobs, "N T"), logprobs=(logprobs, "B T"))
    check_range("update_single_stream", "prompt_index", prompt_index, f"[-1, {number})")
    is_in &= jnp.asarray(prompt_index) >= 0
    safe = jnp.clip(jnp.asarray(prompt_index), 0, number - 1)
    order = jnp.arange(safe.shape[0])
    # Scattering the same index twice leaves the winner open, so all rows but the last are sent out of the table first.
    last = jax.ops.segment_max(jnp.where(is_in, order, -1), safe, num_segments=number)
    target = jnp.where(is_in & (last[safe] == order), safe, number)

    known = is_in & table.visited[safe]
    distance = policy_distance(table.logprobs[safe], previous_logprobs, table.mask[safe] & known[:, None])
    rho = retention(distance, halving=halving, low=low, high=high)
    success = jnp.clip(masked(rewards, is_in), 0.0, 1.0)

    def put(old: Shaped[Array, "N ..."], new: Shaped[Array, "B ..."]) -> Shaped[Array, "N ..."]:
        return old.at[target].set(new.astype(old.dtype), mode="drop")

    return SingleStream(
        alpha=put(table.alpha, rho * table.alpha[safe] + success),
        beta=put(table.beta, rho * table.beta[safe] + 1.0 - success),
        tokens=put(table.tokens, jnp.asarray(tokens)),
        mask=put(table.mask, jnp.asarray(mask) != 0),
        logprobs=put(table.logprobs, masked(logprobs, mask)),
        temperature=put(table.temperature, jnp.asarray(temperature)),
        visited=put(table.visited, jnp.ones_like(is_in)),
    )


@checked()
def policy_distance(before: Float[ArrayLike, "B T"], after: Float[ArrayLike, "B T"], mask: Mask) -> Float[Array, "B"]:
    """How far the policy has moved on a response: D_b = mean over masked tokens of |before - after|, in nats; 0 where no token counts.

    Source: Single-stream Policy Optimization, arXiv 2509.13232, released code (the text calls it a KL divergence).
    """
    difference = jnp.abs(masked(floating(before) - floating(after), mask))
    return jnp.sum(difference, axis=1) / jnp.maximum(jnp.sum(jnp.asarray(mask) != 0, axis=1), 1)


@checked(halving="(0, inf)", low="[0, 1]", high="[0, 1]")
def retention(distance: Float[ArrayLike, "B"], *, halving: Hyper = 0.06, low: Hyper = 0.875, high: Hyper = 0.96) -> Float[Array, "B"]:
    """Share of the evidence that is kept: rho_b = min(max(2^(-D_b / halving), low), high).

    halving: the distance in nats at which evidence counts half.
    Source: Single-stream Policy Optimization, arXiv 2509.13232.
    """
    rho = jnp.exp2(-floating(distance) / per_row(halving, 1))
    return jnp.clip(rho, per_row(low, 1), per_row(high, 1))


@checked(low="[0, 1)")
def beta_prior(
    successes: Shaped[ArrayLike, "N"], samples: Shaped[ArrayLike, ""] | int, *, low: Hyper = 0.875
) -> tuple[Float[Array, "N"], Float[Array, "N"]]:
    """Prior from offline samples: alpha = n (s + 0.5) / (n0 + 1), beta = n (n0 - s + 0.5) / (n0 + 1), n = 1 / (1 - low).

    successes: how many of the n0 = samples responses to each prompt succeeded. n is the evidence that forgetting at rate low lets build up.
    Source: Single-stream Policy Optimization, arXiv 2509.13232.
    """
    s, n0 = floating(successes), floating(samples)
    evidence = 1.0 / (1.0 - jnp.asarray(low))
    return evidence * (s + 0.5) / (n0 + 1.0), evidence * (n0 - s + 0.5) / (n0 + 1.0)


# Single-stream Policy Optimization: curricula=("bernoulli_uncertainty", dict(success="prompts.value")),
#   advantages=[("lookup", dict(column="prompts.value", writes="baseline")), ("subtract_baseline", {}), ("batch_normalize", {})],
#   trackers=dict(prompts=("single_stream", {}))
single_stream = Tracker(init_single_stream, update_single_stream)
