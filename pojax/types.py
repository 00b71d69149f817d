"""The nouns of the design as data classes: what travels between the stages and what persists between iterations."""

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

Array = Any  # numpy or JAX; these classes also hold the ShapeDtypeStructs of the start-up check


class Sample(NamedTuple):
    """What a verifier sees of one sampled response. The text is untrusted: parse it, never evaluate it."""

    tokens: Array  # [T] int32
    mask: Array  # [T], 1 where the policy chose
    text: str  # decoded response, without the end token
    finish_reason: str  # "end" or "length"
    components: dict[str, Any] = {}  # the conditions under which the row was sampled (numbers of this row)
    step: int = 0  # learner step that sampled the row


class Samples(NamedTuple):
    """What the sampler returns: n rows of T tokens, right-padded."""

    tokens: Array  # [n, T] int32
    mask: Array  # [n, T] bool, True up to and with the end token
    ended: Array  # [n] bool, True where an end token was sampled, False at the length limit
    rollout_logprobs: Array  # [n, T] under the distribution that really sampled (temperature, truncation, processor)
    old_logprobs: Array  # [n, T] with the row's temperature (1 for greedy rows), not truncated
    entropy: Array | None = None  # [n, T] of the distribution of old_logprobs


class Prompts(NamedTuple):
    """P prompts, left-padded."""

    tokens: Array  # [P, S] int32
    mask: Array  # [P, S] bool


@partial(
    jax.tree_util.register_dataclass,
    data_fields=[
        *("prompt_tokens", "prompt_mask", "tokens", "mask", "groups", "prompt_index", "rollout_logprobs", "old_logprobs"),
        *("old_entropy", "temperature", "policy_step", "truncated", "values", "components", "labels"),
    ],
    meta_fields=["block"],
)
@dataclasses.dataclass(frozen=True)
class Rollout:
    """B rows of sampled responses. Shapes: B rows, S prompt tokens (left-padded), T response tokens (right-padded).

    `mask` is 1 where the policy chose the token; `groups` is -1 for a row that is out: it is in no statistic and no loss.
    `block` (static): that many adjacent rows hold whole groups, so that shuffling blocks never cuts a group.
    """

    prompt_tokens: Array  # [B, S] int32
    prompt_mask: Array  # [B, S] bool
    tokens: Array  # [B, T] int32
    mask: Array  # [B, T] bool
    groups: Array  # [B] int32
    prompt_index: Array  # [B] int32
    rollout_logprobs: Array | None = None  # [B, T]
    old_logprobs: Array | None = None  # [B, T]
    old_entropy: Array | None = None  # [B, T]
    temperature: Array | None = None  # [B]
    policy_step: Array | None = None  # [B] int32
    truncated: Array | None = None  # [B] bool
    values: Array | None = None  # [B, T], Monte Carlo values of the arrangement
    components: dict[str, Array] = dataclasses.field(default_factory=dict)  # {name: [B] or [B, T]}
    labels: dict[str, Array] = dataclasses.field(default_factory=dict)  # {name: [B] or [B, T] int32}
    block: int = 1

    def fields(self) -> dict[str, Array]:
        """All that is known of the rows as one flat dict, `lengths` and `keep` derived; ValueError for a name found twice."""
        nouns = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in ("components", "labels", "block")}
        flat = {name: value for name, value in nouns.items() if value is not None}
        flat["lengths"] = jnp.sum(self.mask, axis=1, dtype=jnp.int32)
        flat["keep"] = jnp.asarray(self.mask, jnp.result_type(float)) * (self.groups >= 0)[:, None]
        for kind, extra in (("components", self.components), ("labels", self.labels)):
            for name, value in extra.items():
                if name in flat:
                    raise ValueError(f"rollout: the {kind} hold {name!r}, which is found twice; rename the one in {kind}")
                flat[name] = value
        return flat

    def clean(self) -> "Rollout":
        """The rollout with what must never reach a loss set to 0.

        Float fields of rows that are out become 0, and so do non-finite float entries of [B, T] fields where mask is 0;
        0 * NaN is NaN in a gradient, so multiplying by the mask later is not enough. Everything else keeps its value.
        """
        inside, mask = self.groups >= 0, self.mask

        def scrub(x: Array) -> Array:
            if x is None or not jnp.issubdtype(x.dtype, jnp.floating):
                return x
            x = jnp.where(inside.reshape((-1,) + (1,) * (x.ndim - 1)), x, 0)
            if x.ndim >= 2 and x.shape[:2] == mask.shape:
                token = mask.astype(bool).reshape(mask.shape + (1,) * (x.ndim - 2))
                x = jnp.where(token | jnp.isfinite(x), x, 0)
            return x

        return jax.tree.map(scrub, self)


@partial(jax.tree_util.register_dataclass, data_fields=["step", "params", "opt", "copies", "tables", "source", "key"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class LearnerState:
    """Everything that persists between iterations, for every family."""

    step: Array  # int32, iterations done, warm start included
    params: dict[str, Any]  # {role: tree} that gradients train
    opt: dict[str, Any]  # {update: optimiser state}
    copies: dict[str, Any]  # {name: tree} that follow params by a rule
    tables: dict[str, Any]  # {name: value of a tracker}
    source: Any  # what collecting data must remember
    key: Array  # the run's PRNG key; never changes
