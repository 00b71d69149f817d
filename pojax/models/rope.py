"""Rotary positions: frequencies with their scalings, and the rotation."""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from pojax.models.config import DecoderConfig


def frequencies(config: DecoderConfig) -> np.ndarray:
    """Radians per position of each pair of features: theta^(-2i / head_dim), then the scaling -> [head_dim / 2] float64.

    Source: RoFormer, arXiv 2104.09864, eq. (15); the scalings are those of `RopeScaling`.
    """
    base = config.rope_theta ** -(np.arange(0, config.head_dim, 2) / config.head_dim)
    scaling = config.rope_scaling
    if scaling is None:
        return base
    if scaling.kind == "linear":
        return base / scaling.factor
    wavelength = 2 * math.pi / base
    low, high = scaling.low_frequency_factor, scaling.high_frequency_factor
    kept = np.clip((scaling.original_context / wavelength - low) / (high - low), 0.0, 1.0)
    return base * (kept + (1 - kept) / scaling.factor)


def rotations(
    positions: Int[Array, "*rows"], length: int, config: DecoderConfig
) -> tuple[Float[Array, "*rows half"], Float[Array, "*rows half"]]:
    """Cosine and sine of position times frequency, in at least float32, for positions below `length`.

    Looked up in a table: XLA would compute the cosines again in every head of every layer, to save writing them down.
    """
    angles = np.arange(length)[:, None] * frequencies(config)
    dtype = jnp.promote_types(config.dtype, jnp.float32)
    return jnp.asarray(np.cos(angles), dtype)[positions], jnp.asarray(np.sin(angles), dtype)[positions]


def rotate(x: Float[Array, "*rows heads head_dim"], rotation: tuple) -> Float[Array, "*rows heads head_dim"]:
    """Turn the pair (x_i, x_{i + head_dim / 2}) of every head by its angle; rotation: cosine and sine [*rows, head_dim / 2]."""
    cosine, sine = (part[..., None, :] for part in rotation)
    first, second = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1).astype(x.dtype)
