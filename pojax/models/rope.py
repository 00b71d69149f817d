"""Rotary positions: frequencies with their scalings, and the rotation."""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from pojax.models.config import DecoderConfig


def frequencies(config: DecoderConfig, local: bool = False) -> np.ndarray:
    """Radians per position of each pair of features: theta^(-2i / head_dim), then the scaling -> [head_dim / 2] float64.

    local: of the layers with a window where these have a base of their own.
    Source: RoFormer, arXiv 2104.09864, eq. (15); the scalings are those of `RopeScaling`.
    """
    theta = config.local_rope_theta if local and config.local_rope_theta is not None else config.rope_theta
    exponents = np.arange(0, config.head_dim, 2) / config.head_dim
    base = theta**-exponents
    scaling = config.rope_scaling
    if scaling is None or (local and config.local_rope_theta is not None):
        return base
    if scaling.kind == "linear":
        return base / scaling.factor
    if scaling.kind == "dynamic":
        growth = scaling.factor * max(config.context / scaling.original_context, 1.0) - (scaling.factor - 1)
        return (theta * growth ** (config.head_dim / (config.head_dim - 2))) ** -exponents
    if scaling.kind == "longrope":
        return base / np.array(scaling.long_factor if config.context > scaling.original_context else scaling.short_factor)
    if scaling.kind == "yarn":
        # The pair that turns n times within the original context, as a real number.
        pair = lambda n: config.head_dim * math.log(scaling.original_context / (n * 2 * math.pi)) / (2 * math.log(theta))  # noqa: E731
        low, high = pair(scaling.beta_fast), pair(scaling.beta_slow)
        if scaling.truncate:
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, config.head_dim - 1)
        kept = 1 - np.clip((np.arange(config.head_dim // 2) - low) / (high - low if high != low else 0.001), 0.0, 1.0)
    else:
        wavelength = 2 * math.pi / base
        low, high = scaling.low_frequency_factor, scaling.high_frequency_factor
        kept = np.clip((scaling.original_context / wavelength - low) / (high - low), 0.0, 1.0)
    return base * (kept + (1 - kept) / scaling.factor)


def rotations(positions: Int[Array, "*rows"], length: int, config: DecoderConfig) -> tuple[tuple[Array, Array], ...]:
    """Cosine and sine of position times frequency [*rows, head_dim / 2], in at least float32, for positions below `length`.

    One pair for all layers, or two: of the layers without a window and of those with one (`rotation_of`).
    Looked up in a table: XLA would compute the cosines again in every head of every layer, to save writing them down.
    """
    dtype = jnp.promote_types(config.dtype, jnp.float32)

    def look_up(local: bool) -> tuple[Array, Array]:
        angles = np.arange(length)[:, None] * frequencies(config, local)
        factor = 1.0 if local or config.rope_scaling is None else config.rope_scaling.attention_factor
        return jnp.asarray(factor * np.cos(angles), dtype)[positions], jnp.asarray(factor * np.sin(angles), dtype)[positions]

    return tuple(look_up(local) for local in ((False,) if config.local_rope_theta is None else (False, True)))


def rotation_of(rotations: tuple, window: int | None) -> tuple[Array, Array]:
    """The cosine and sine that a layer with this window uses."""
    return rotations[0 if window is None else -1]


def rotate(x: Float[Array, "*rows heads head_dim"], rotation: tuple) -> Float[Array, "*rows heads head_dim"]:
    """Turn the pair (x_i, x_{i + head_dim / 2}) of every head by its angle; rotation: cosine and sine [*rows, head_dim / 2]."""
    cosine, sine = (part[..., None, :] for part in rotation)
    first, second = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1).astype(x.dtype)
