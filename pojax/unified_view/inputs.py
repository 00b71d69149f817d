"""What the rules of the unified view read: a loss's arguments by name, and the ratios and sums that they share."""

from collections.abc import Callable, Collection, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pojax.groups import inside
from pojax.losses.ratios import beyond
from pojax.numerics import counts, floating, per_row
from pojax.reductions import per_response, row_count, row_sum


class View(NamedTuple):
    """One loss: its factors in words, and the rule that gives them, (mask, weight, advantage), each of any shape that fits [B, T]."""

    mask: str
    weight: str  # pi / reference
    advantage: str
    rule: Callable[["Inputs"], tuple[Any, Any, Any]]
    level: str = "token"  # what the loss couples: "token", "response" or "group"
    only: Mapping[str, tuple[Any, ...]] = {}  # settings for which the factors hold


class Inputs(SimpleNamespace):
    """Arguments by name, those of `hypers` as numbers or columns. The properties are [B, T], or [B, 1] for one number per row."""

    def __init__(self, arguments: Mapping[str, Any], hypers: Collection[str]) -> None:
        super().__init__(**{k: per_row(v, 2) if k in hypers and isinstance(v, np.ndarray | Array) else v for k, v in arguments.items()})

    def get(self, name: str, default: Any) -> Any:
        """An argument, or the default where the loss has none or it is None."""
        found = getattr(self, name, None)
        return default if found is None else found

    @property
    def x(self) -> Array:
        return floating(self.logprobs)

    @property
    def old(self) -> Array:
        """Log-probability in the denominator of the ratio."""
        old = floating(self.get("old_logprobs", self.get("rollout_logprobs", None)))
        return jnp.maximum(old, self.get("arrival_logprobs", -jnp.inf))

    @property
    def d(self) -> Array:
        return self.x - self.old

    @property
    def r(self) -> Array:
        return jnp.exp(self.d)

    @property
    def A(self) -> Array:
        return per_row(floating(self.advantages), 2)

    @property
    def row_A(self) -> Array:
        return per_response(self.advantages, self.mask)[:, None]

    @property
    def on(self) -> Array:
        """The tokens that count: of the mask, in rows that are in."""
        on = counts(self.mask)
        return on & inside(self.groups)[:, None] if hasattr(self, "groups") else on

    @property
    def n(self) -> Array:
        """Tokens of the row, at least 1."""
        return jnp.maximum(row_count(self.on), 1.0)[:, None]

    @property
    def low(self) -> Any:
        return 1.0 - self.get("epsilon", 1.0)

    @property
    def high(self) -> Any:
        return 1.0 + self.get("epsilon_high", self.get("epsilon", jnp.inf))

    def total(self, x: Array) -> Array:
        """Sum over the row's tokens that count."""
        return row_sum(x, self.on)[:, None]

    def log_ratio_of_rows(self, other: str) -> Array:
        """Sum over the row of logprob - other."""
        return self.total(self.x - floating(getattr(self, other)))

    def unclipped(self, ratio: Array, A: Array) -> Array:
        """1 where neither PPO's clip nor the dual clip cuts the gradient."""
        below, above = beyond(ratio, A, self.low, self.high)
        return ~(below | above | ((A < 0.0) & (ratio > self.get("dual_clip", jnp.inf))))


def column(x: Any) -> Array:
    """[B] as [B, 1]."""
    return floating(x)[:, None]
