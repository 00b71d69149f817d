"""Schedules of hyper-parameters, as data in a config: `learning_rate=("linear", dict(start=1e-3, end=0.0, steps=500))`.

Each maps the iteration (counted from 0) to a number; every parameter is traced, so changing a schedule's numbers compiles nothing.
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Shaped

from pojax.annotations import Hyper

__all__ = ["cosine", "exponential", "linear", "piecewise", "warmup_cosine", "warmup_ramp_cosine"]

Step = Shaped[ArrayLike, ""]
Number = Float[Array, ""]


def _float(x: Step | Hyper) -> Number:
    return jnp.asarray(x, jnp.result_type(float))


def _progress(step: Step, steps: Hyper) -> Number:
    return jnp.clip(_float(step) / jnp.maximum(_float(steps), 1.0), 0.0, 1.0)


def linear(step: Step, *, start: Hyper, end: Hyper, steps: Hyper) -> Number:
    """From start to end in `steps` iterations, then end: start + (end - start) * min(step / steps, 1)."""
    return _float(start) + (_float(end) - _float(start)) * _progress(step, steps)


def cosine(step: Step, *, start: Hyper, end: Hyper = 0.0, steps: Hyper) -> Number:
    """Half a cosine from start to end in `steps` iterations, then end (SGDR, arXiv 1608.03983, eq. 5, without restarts)."""
    return _float(end) + (_float(start) - _float(end)) * 0.5 * (1.0 + jnp.cos(jnp.pi * _progress(step, steps)))


def exponential(step: Step, *, start: Hyper, rate: Hyper, steps: Hyper = 1.0) -> Number:
    """start * rate^(step / steps)."""
    return _float(start) * _float(rate) ** (_float(step) / _float(steps))


def piecewise(step: Step, *, first: Hyper, then: Hyper, boundary: Hyper) -> Number:
    """`first` before the iteration `boundary`, `then` from it on."""
    return jnp.where(_float(step) < _float(boundary), _float(first), _float(then))


def warmup_cosine(step: Step, *, peak: Hyper, warmup: Hyper, steps: Hyper, end: Hyper = 0.0) -> Number:
    """Linear from peak / warmup at iteration 0 to peak at iteration warmup - 1, then half a cosine to end at `steps`."""
    now, ramp = _float(step), _float(warmup)
    rising = _float(peak) * jnp.minimum((now + 1.0) / jnp.maximum(ramp, 1.0), 1.0)
    return jnp.where(now < ramp, rising, cosine(now - ramp, start=peak, end=end, steps=_float(steps) - ramp))


def warmup_ramp_cosine(step: Step, *, start: Hyper = 0.0, peak: Hyper, end: Hyper, warmup: Hyper, decay: Hyper) -> Number:
    """Linear from start at iteration 0 to peak at `warmup`, then half a cosine to end in `decay` more iterations, then end.

    With warmup and decay 0 it is end throughout. 1 minus it is the same schedule of 1 - start, 1 - peak and 1 - end, so that a pair of them
    shifts weight between two terms. Source: mu of CHORD, arXiv 2508.11408, as in Trinity-RFT.
    """
    now, ramp, fall = _float(step), _float(warmup), _float(decay)
    rising = linear(step, start=start, end=peak, steps=warmup)
    falling = cosine(now - ramp, start=peak, end=end, steps=decay)
    return jnp.where(now < ramp, rising, jnp.where(now >= ramp + fall, _float(end), falling))
