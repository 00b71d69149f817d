"""Rules that copies of the parameters follow: rule(copy, params, step, *, hyper) -> copy, called after the last update of an iteration.

Of a model with adapters a copy holds, and a rule sees, only them: the base is the same in every copy and stands once in the state.
"""

from typing import Any

import jax
import jax.numpy as jnp

from pojax.annotations import Hyper

__all__ = ["ema", "frozen", "refreshed"]

Tree = Any  # {role: tree of arrays}


def frozen(copy: Tree) -> Tree:
    """The parameters at the start of the run (of reinforcement learning, where a warm start comes before)."""
    return copy


def refreshed(copy: Tree, params: Tree, step: Any, *, every: int) -> Tree:
    """The current parameters after every `every`-th iteration, kept in between (DeepSeek-R1, arXiv 2501.12948: every 400)."""
    if every < 1:
        raise ValueError(f"refreshed: every is {every}, allowed: 1 or more")
    now = (jnp.asarray(step) + 1) % every == 0
    return jax.tree.map(lambda new, old: jnp.where(now, new, old), params, copy)


def ema(copy: Tree, params: Tree, *, decay: Hyper) -> Tree:
    """Exponential moving average of the parameters: copy <- decay * copy + (1 - decay) * params."""
    return jax.tree.map(lambda old, new: (decay * old + (1.0 - decay) * new).astype(old.dtype), copy, params)
