"""Parts of methods that exist to use every contract of the design; configs name them `tests.methods_under_test:function`."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Float, Int, Shaped

from pojax.annotations import Hyper, RandomKey, writes
from pojax.checks import checked
from pojax.groups import group_mean
from pojax.models import DecoderConfig, qwen2
from pojax.rollouts import independent
from pojax.tasks import arithmetic
from pojax.trackers import Tracker
from pojax.types import Rollout

HERE = "tests.methods_under_test:"


# -- curricula and arrangements ---------------------------------------------------------------------------------------------------


@writes("indices", "budgets")
def with_budgets(num_prompts: int, batch_prompts: int) -> tuple[Int[Array, "P"], Int[Array, "P"]]:
    """The first prompts, and a budget for each."""
    return jnp.arange(batch_prompts) % num_prompts, jnp.full(batch_prompts, 2)


def first_prompts(num_prompts: int, batch_prompts: int) -> Int[Array, "P"]:
    """The first prompts of the data set, always."""
    return jnp.arange(batch_prompts, dtype=jnp.int32) % num_prompts


def labelled(key: Any, indices: Any, render: Any, sample: Any, verify: Any, *, samples: int = 4, noise: Hyper = 0.0) -> Rollout:
    """`independent` with a label `half` (two pairs of each group), a `role` of +1 and -1, and the component `noise`."""
    rollout = independent(key, indices, render, sample, verify, samples=samples)
    row = jnp.arange(rollout.groups.shape[0])
    extra = {"role": jnp.where(row % 2 == 0, 1, -1), "noise": noise * jnp.ones(row.shape)}
    return dataclasses.replace(rollout, labels={"half": (row // 2).astype(jnp.int32)}, components={**rollout.components, **extra})


def budgeted(key: Any, indices: Any, budgets: Any, render: Any, sample: Any, verify: Any) -> Rollout:
    """`independent` with the budget of its prompt as a component of every row."""
    rollout = independent(key, indices, render, sample, verify, samples=2)
    return dataclasses.replace(rollout, components={**rollout.components, "budget": jnp.repeat(budgets, 2)})


def unscorable(key: Any, indices: Any, render: Any, sample: Any, verify: Any) -> Rollout:
    """`independent` whose first row has a verdict that is not a number."""

    def failing(rows: Any, samples: Any) -> dict[str, Any]:
        verdict = verify(rows, samples)
        return verdict | {"correct": verdict["correct"].at[0].set(jnp.nan)}

    return independent(key, indices, render, sample, failing, samples=4)


def spanned(key: Any, indices: Any, render: Any, sample: Any, verify: Any) -> Rollout:
    """`independent` with a component `span` per token."""
    rollout = independent(key, indices, render, sample, verify, samples=4)
    return dataclasses.replace(rollout, components={**rollout.components, "span": jnp.ones(rollout.tokens.shape)})


def half_right(key: Any, indices: Any, render: Any, sample: Any, verify: Any, *, samples: int = 4) -> Rollout:
    """`independent` with verdicts of its own: groups of odd prompts hold both verdicts, those of even prompts one."""

    def verdicts(rows: Any, drawn: Any) -> dict[str, Any]:
        row = jnp.arange(rows.shape[0])
        return verify(rows, drawn) | {"correct": jnp.where(rows % 2 == 1, row % 2, 0).astype(jnp.float32)}

    return independent(key, indices, render, sample, verdicts, samples=samples)


# -- rewards and advantages -------------------------------------------------------------------------------------------------------


def all_components(components: dict[str, Shaped[ArrayLike, "B"]], labels: dict[str, Array], *, factor: Hyper = 1.0) -> Float[Array, "B"]:
    """Sum of all components, with the structures read whole."""
    return factor * sum(jnp.asarray(x, float) for _, x in sorted(components.items())) + 0.0 * len(labels)


def bad_logarithm(correct: Float[ArrayLike, "B"]) -> Float[Array, "B"]:
    """A reward that is -inf for wrong rows."""
    return jnp.log(jnp.asarray(correct))


@checked(factor="[0, 1]")
def times(rewards: Float[ArrayLike, "B"], *, factor: Hyper = 0.5) -> Float[Array, "B"]:
    """Rewards times a factor in [0, 1]."""
    factor = jnp.asarray(factor)
    return jnp.asarray(rewards) * (factor[:, 0] if factor.ndim == 2 else factor)


@writes("intra", "inter")
def two_values(rewards: Float[ArrayLike, "B"], groups: Int[ArrayLike, "B"]) -> tuple[Float[Array, "B"], Float[Array, "B"]]:
    """The part of a reward within its group, and its group's mean."""
    mean = group_mean(rewards, groups)
    return rewards - mean, mean


def with_optional(
    rewards: Float[ArrayLike, "B"], ref_logprobs: Float[ArrayLike, "B T"] | None = None, lengths: Array | None = None
) -> Array:
    """Rewards; minus 1 where the reference was given, plus 2 where lengths were."""
    return jnp.asarray(rewards) - (0 if ref_logprobs is None else 1) + (0 if lengths is None else 2)


def apply_twice(rewards: Float[ArrayLike, "B"], *, inner: Callable[..., Any]) -> Float[Array, "B"]:
    """A rule of the same stage, applied twice."""
    return inner(rewards=inner(rewards=rewards))


def whiten_by_current(
    advantages: Float[ArrayLike, "B"], logprobs: Float[ArrayLike, "B T"], groups: Int[ArrayLike, "B"]
) -> Float[Array, "B"]:
    """Advantages minus their group's mean of current log-probabilities: couples rows and reads current outputs."""
    return jnp.asarray(advantages) - group_mean(jnp.mean(logprobs, axis=1), groups)


def spread(logprobs: Float[ArrayLike, "B T"], keep: Shaped[ArrayLike, "B T"]) -> Float[Array, "B T"]:
    """Token log-probability relative to the mean over the optimiser batch."""
    mean = jnp.sum(logprobs * keep) / jnp.maximum(jnp.sum(keep), 1)
    return jnp.asarray(logprobs) - mean


@writes("drawn")
def draw(key: RandomKey, keep: Shaped[ArrayLike, "B T"]) -> Float[Array, "B"]:
    """One random number for the optimiser batch, at each of its rows."""
    return jnp.full(np.shape(keep)[0], jax.random.uniform(key))


# -- losses, aggregations, heads --------------------------------------------------------------------------------------------------


def score(logprobs: Float[ArrayLike, "B T"], *, weight: Hyper = 1.0) -> Float[Array, "B T"]:
    """-weight * logprob; a weight per row arrives as [B, 1]."""
    assert jnp.ndim(weight) != 1
    return -weight * jnp.asarray(logprobs)


def pairs(
    logprobs: Float[ArrayLike, "B T"], keep: Shaped[ArrayLike, "B T"], role: Shaped[ArrayLike, "B"], half: Int[ArrayLike, "B"]
) -> Float[Array, "B"]:
    """A pair term [B]: softplus of minus the difference of the two sums of a pair, at its row of role +1."""
    total = jnp.sum(logprobs * keep, axis=1) * role
    margin = jax.ops.segment_sum(total, jnp.maximum(half - jnp.min(half), 0), num_segments=1024)[jnp.maximum(half - jnp.min(half), 0)]
    return jnp.where(jnp.asarray(role) > 0, jax.nn.softplus(-margin), 0.0)


def squared_value_error(values: Float[ArrayLike, "B T"], rewards: Float[ArrayLike, "B"]) -> Float[Array, "B T"]:
    """Half the squared difference of value and reward."""
    return 0.5 * (jnp.asarray(values) - jnp.asarray(rewards)[:, None]) ** 2


def root_of_mask(logprobs: Float[ArrayLike, "B T"], old_logprobs: Float[ArrayLike, "B T"]) -> Float[Array, "B T"]:
    """A loss whose gradient is infinite wherever logprobs equal old_logprobs - 100."""
    return jnp.sqrt(jnp.maximum(jnp.asarray(logprobs) - old_logprobs - 100.0, 0.0))


def drawn_loss(logprobs: Float[ArrayLike, "B T"], drawn: Float[ArrayLike, "B"]) -> Float[Array, "B T"]:
    """The number that a rule drew."""
    return 0.0 * jnp.asarray(logprobs) + jnp.asarray(drawn)[:, None]


def loss_with_key(logprobs: Float[ArrayLike, "B T"], key: RandomKey) -> Float[Array, "B T"]:
    """A number that the loss draws."""
    return 0.0 * jnp.asarray(logprobs) + jax.random.uniform(key)


def margin_loss(margin: Float[ArrayLike, "B T"]) -> Float[Array, "B T"]:
    """Minus the output of the head `margin`."""
    return -jnp.asarray(margin)


def margin_head(
    hidden: Float[Array, "n hidden"], logits: Float[Array, "n V"], token: Int[Array, "n"], noise: Float[Array, "n"], *, power: Hyper = 1.0
) -> Array:
    """The token's logit minus the mean logit, times power, plus a field of its row."""
    return power * (jnp.take_along_axis(logits, token[:, None], axis=1)[:, 0] - logits.mean(axis=1)) + noise


def plain_sum(where: Shaped[ArrayLike, "..."], *, divisor: Hyper = 1.0) -> Array:
    """where / divisor."""
    return jnp.asarray(where) / divisor


def entropy_weighted(where: Float[ArrayLike, "B T"], entropy: Float[ArrayLike, "B T"]) -> Float[Array, "B T"]:
    """Coefficients in proportion to an output of the policy."""
    return where * entropy / jnp.sum(where * entropy)


# -- trackers, optimisers, copies, schedules, tasks, models, processors -----------------------------------------------------------


class Counter(NamedTuple):
    """How often it was written, and what it saw."""

    number: Float[Array, ""]
    logprob: Float[Array, ""]

    @property
    def rows(self) -> Float[Array, ""]:
        return self.number + 0.5


def _count(table: Counter, logprobs: Float[ArrayLike, "B T"], *, by: Hyper = 1.0) -> Counter:
    return Counter(table.number + by, jnp.asarray(logprobs)[0, 0])


counter = Tracker(lambda *, start=0: Counter(jnp.full((), start, jnp.result_type(float)), jnp.zeros(())), _count)


class LastGram(NamedTuple):
    """The products of the gradients of three terms, and a 1 that a scale can name, so that something reads the table."""

    value: Float[Array, "3 3"]
    one: Float[Array, ""]


last_gram = Tracker(lambda: LastGram(jnp.zeros((3, 3)), jnp.ones(())), lambda table, gram: table._replace(value=gram))


def halved(*, learning_rate: Hyper) -> optax.GradientTransformation:
    """Plain gradient descent with half the learning rate."""
    return optax.scale(-0.5 * learning_rate)


def opposite(copy: Any, params: Any) -> Any:
    """The negated parameters."""
    return jax.tree.map(lambda x: -x, params)


def step_squared(step: Shaped[ArrayLike, ""], *, scale: Hyper) -> Array:
    """scale * step^2, a schedule."""
    return scale * jnp.asarray(step, jnp.result_type(float)) ** 2


def small_sums(*, digits: int = 1) -> dict[str, Any]:
    """Sums, as a task of one's own."""
    return arithmetic(digits=digits, validation=5, held_out=5)


def small_model(**sizes: Any) -> DecoderConfig:
    """A model of one's own."""
    return qwen2(**{"hidden": 16, "layers": 1, "heads": 2, "kv_heads": 2, "mlp": 32, **sizes})


def only_nines(logits: Float[Array, "n V"], tokens: Int[Array, "n T"], position: Any) -> Float[Array, "n V"]:
    """A processor that leaves one token."""
    return jnp.where(jnp.arange(logits.shape[-1]) == 11, logits, -np.inf)


def cut_logits(logits: Float[Array, "n V"]) -> Float[Array, "n V"]:
    """A processor that loses a token."""
    return logits[:, 1:]
