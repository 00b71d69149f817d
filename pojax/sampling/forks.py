"""Going on from inside rows that were sampled, without running what they share through the model again."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, ArrayLike, Float, Int, Key

from pojax.models import DecoderConfig, decode_params, decode_step, fork, take_rows
from pojax.sampling.sampler import Controls, Forced, Held, Loop, Processor, controls_of, forced_of, place, processor_of, run
from pojax.types import Samples


def extend(
    params: dict[str, Any],
    config: DecoderConfig,
    held: Held,
    keys: Key[Array, "m"],
    parents: Int[ArrayLike, "m"],
    cuts: Int[ArrayLike, "m"],
    *,
    temperature: Float[ArrayLike, "..."] | int,
    end_tokens: Int[ArrayLike, "E"] | tuple[int, ...],
    limits: Int[ArrayLike, "..."] | None = None,
    top_k: Int[ArrayLike, "..."] = 0,
    top_p: Float[ArrayLike, "..."] | int = 1.0,
    min_p: Float[ArrayLike, "..."] | int = 0.0,
    forced: Forced | None = None,
    processor: Processor | None = None,
    hold: bool = False,
) -> Any:
    """m rows; row r is row parents[r] up to its token cuts[r] (that one excluded), then forced tokens, then tokens drawn as by `sample`.

    parents [m]: rows of `held`; m is a multiple of its P prompts, and row r and its parent continue the same prompt r // (m / P).
    cuts [m]: 0 (from the prompt) to held.lengths[parents[r]] (behind the last token; above is cut down to it).
    limits [m]: tokens drawn in this call, default as many as fit. Token t is drawn with fold_in(keys[r], t), t counted from the start of
    the row: with its parent's key and settings a row goes on as its parent did. The parent's rows of the cache are copied, its prompt is
    not, and per row one token (the one before the cut) is fed again; forced tokens are fed one by one.
    Gives whole rows as wide as the parent's: its mask and numbers up to the cut, 0 where tokens are forced. ended: an end token was drawn
    in this call, or the row is all of a parent that had ended. hold: give (Samples, Held), for forks of forks.
    Shapes, config, the processor's function and hold are static, all else is traced: other parents and cuts compile nothing.
    Raises ValueError for sizes that do not fit and for numpy or Python values out of range.
    """
    rows, prompts, before = keys.shape[0], held.hidden.shape[0], held.lengths.shape[0]
    if rows % prompts:
        raise ValueError(f"keys are of {rows} rows, allowed: a multiple of the number of prompts ({prompts})")
    for name, value, high in (("parents", parents, before - 1), ("cuts", cuts, held.samples.tokens.shape[1])):
        if np.shape(value) != (rows,):
            raise ValueError(f"{name} has shape {np.shape(value)}, allowed: one per row ({rows},)")
        if not isinstance(value, jax.Array) and (np.min(value) < 0 or np.max(value) > high):
            raise ValueError(f"{name} holds {np.min(value) if np.min(value) < 0 else np.max(value)}, allowed: 0 to {high}")
    own = np.arange(rows) // (rows // prompts)
    if not isinstance(parents, jax.Array) and (wrong := np.flatnonzero(np.asarray(parents) // (before // prompts) != own)).size:
        row = int(wrong[0])
        raise ValueError(f"parents: row {row} continues prompt {own[row]}, its parent {np.asarray(parents)[row]} does not")
    controls = controls_of(
        keys, config, temperature=temperature, end_tokens=end_tokens,
        limits=held.samples.tokens.shape[1] if limits is None else limits, top_k=top_k, top_p=top_p, min_p=min_p,
    )  # fmt: skip
    parents, cuts = jnp.asarray(parents, jnp.int32), jnp.asarray(cuts, jnp.int32)
    return _extend(params, controls, held, parents, cuts, forced_of(forced, rows), processor_of(processor), config, hold)


@partial(jax.jit, static_argnums=(7, 8))
def _extend(
    params: dict[str, Any],
    controls: Controls,
    held: Held,
    parents: Array,
    cuts: Array,
    forced: Forced | None,
    processor: Partial | None,
    config: DecoderConfig,
    hold: bool,
) -> Any:
    prompts, width = held.hidden.shape[0], held.samples.tokens.shape[1]
    parent, lengths = jax.tree.map(lambda x: take_rows(x, parents, prompts), (held.samples, held.lengths))
    cuts = jnp.clip(cuts, 0, lengths)
    loop = Loop(decode_params(params, config), config, controls, forced, processor, cuts, parent.tokens)
    # The token before the cut again: a cache holds keys and values, not what the last layer made of them.
    slots = jnp.maximum(cuts - 1, 0)
    last = jnp.take_along_axis(parent.tokens, slots[:, None], axis=1)[:, 0]
    hidden, cache = decode_step(loop.params, config, fork(held.cache, parents), last, slots)
    of_prompt = jnp.repeat(held.hidden, parents.shape[0] // prompts, axis=0)
    state, cache = run(loop, jnp.where(cuts[:, None] == 0, of_prompt, hidden), cache, width, parent.entropy is not None)
    new = Samples(ended=state.ended, **{"entropy": None, **state.samples})
    placed = {
        name: place(getattr(parent, name), value, cuts) for name, value in new._asdict().items() if name != "ended" and value is not None
    }
    unchanged = (state.taken == 0) & (cuts == lengths)
    samples = new._replace(ended=state.ended | (unchanged & parent.ended), **placed)
    if not hold:
        return samples
    decoded = state.decoded + jnp.sum(cuts > 0, dtype=jnp.int32)
    return samples, Held(cache, held.hidden, samples, cuts + state.taken, jnp.zeros((), jnp.int32), decoded)


def join(first: Held, second: Held, parts: int) -> Held:
    """The rows of both: cut into `parts` parts of adjacent rows each, a part of the first and then its part of the second.

    Both go on from the same prompts, and parts is a multiple of their number, so that the rows of a prompt stay side by side.
    """

    def beside(a: Array, b: Array, axis: int = 0) -> Array:
        split = [x.reshape(*x.shape[:axis], parts, x.shape[axis] // parts, *x.shape[axis + 1 :]) for x in (a, b)]
        joined = jnp.concatenate(split, axis=axis + 1)
        return joined.reshape(*a.shape[:axis], -1, *a.shape[axis + 1 :])

    samples, lengths = jax.tree.map(beside, (first.samples, first.lengths), (second.samples, second.lengths))
    cache = first.cache
    if cache is not None:  # of a Held that stands for shapes alone
        cache = cache._replace(rows=jax.tree.map(lambda a, b: beside(a, b, a.ndim - 4), cache.rows, second.cache.rows))
    cost = first.prefilled + second.prefilled, first.decoded + second.decoded
    return Held(cache, first.hidden, samples, lengths, *cost)
