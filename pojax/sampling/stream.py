"""One response, token by token as it is drawn: what a person in front of a terminal reads."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from pojax.models import Cache, DecoderConfig, decode_params, decode_step, logits_of, prefill, unembedding
from pojax.sampling.filters import truncate

SMALLEST_BUCKET = 64  # prompt tokens


class Stream:
    """Draws responses of at most response_tokens tokens to one prompt at a time.

    Prompts are padded to the next of 64, 128, 256, ... tokens, so that a conversation compiles a few programs and not one per turn.
    Raises ValueError for a model without a vocabulary and a response that does not fit into its context.
    """

    def __init__(self, config: DecoderConfig, params: Any, *, response_tokens: int):
        if config.output != "tokens":
            raise ValueError(f"model.output is {config.output!r}, allowed for sampling: 'tokens'")
        if not 0 < response_tokens < config.context:
            raise ValueError(f"response_tokens is {response_tokens}, allowed: 1 to {config.context - 1}, below the model's context")
        self.config, self.params, self.response_tokens = config, params, response_tokens
        self._stepping = decode_params(params, config)

    @property
    def longest_prompt(self) -> int:
        """Tokens of the longest prompt that leaves room for a response."""
        return self.config.context - self.response_tokens

    def __call__(
        self,
        prompt: Sequence[int],
        key: Key[Array, ""],
        *,
        end_tokens: Sequence[int],
        temperature: float | int = 1.0,
        top_k: int = 0,
        top_p: float | int = 1.0,
        min_p: float | int = 0.0,
    ) -> Iterator[int]:
        """The tokens of a response, one of end_tokens the last unless the limit came first. temperature 0 is greedy.

        The law of a token is that of `sample`. Raises ValueError for an empty prompt and one that is too long.
        """
        if not 0 < len(prompt) <= self.longest_prompt:
            raise ValueError(
                f"the prompt has {len(prompt)} tokens, allowed: 1 to {self.longest_prompt}, so that {self.response_tokens} fit"
            )
        width = min(bucket(len(prompt)), self.longest_prompt)
        tokens = np.zeros((1, width), np.int32)
        tokens[0, width - len(prompt) :] = prompt
        mask = np.arange(width)[None] >= width - len(prompt)
        controls = (jnp.float32(temperature), jnp.int32(top_k), jnp.float32(top_p), jnp.float32(min_p))
        token, cache = _first(self.params, self.config, self.response_tokens, tokens, mask, key, controls)
        for position in range(self.response_tokens):
            drawn = int(token[0])
            yield drawn
            if drawn in end_tokens or position + 1 == self.response_tokens:
                return
            token, cache = _next(self._stepping, self.config, cache, token, jnp.full((1,), position, jnp.int32), key, controls)


def bucket(length: int) -> int:
    """The least of 64, 128, 256, ... that is not below the length."""
    return max(SMALLEST_BUCKET, 1 << (length - 1).bit_length())


@partial(jax.jit, static_argnums=(1, 2))
def _first(
    params: Any, config: DecoderConfig, response_tokens: int, tokens: Array, mask: Array, key: Array, controls: tuple
) -> tuple[Int[Array, "1"], Cache]:
    hidden, cache = prefill(params, config, tokens, mask, 1, response_tokens)
    return _draw(unembedding(params, config), config, hidden, jax.random.fold_in(key, 0), controls), cache


@partial(jax.jit, static_argnums=1, donate_argnums=2)
def _next(
    params: Any, config: DecoderConfig, cache: Cache, token: Array, slot: Array, key: Array, controls: tuple
) -> tuple[Int[Array, "1"], Cache]:
    hidden, cache = decode_step(params, config, cache, token, slot)
    return _draw(unembedding(params, config), config, hidden, jax.random.fold_in(key, slot[0] + 1), controls), cache


def _draw(table: Array, config: DecoderConfig, hidden: Float[Array, "1 hidden"], key: Array, controls: tuple) -> Int[Array, "1"]:
    temperature, *cuts = controls
    greedy = temperature == 0
    logits = logits_of(table, hidden, config) / jnp.where(greedy, 1.0, temperature)
    cut = truncate(logits, *(x[None] for x in cuts))
    noise = jax.random.gumbel(key, logits.shape[1:], logits.dtype)
    return jnp.argmax(jnp.where(greedy, cut, cut + noise), axis=-1).astype(jnp.int32)
