import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pojax import schedules

CASES = {
    "linear": (dict(start=2.0, end=1.0, steps=4), {0: 2.0, 1: 1.75, 4: 1.0, 9: 1.0}),
    "cosine": (dict(start=2.0, end=1.0, steps=4), {0: 2.0, 2: 1.5, 4: 1.0, 9: 1.0}),
    "exponential": (dict(start=2.0, rate=0.5, steps=2), {0: 2.0, 2: 1.0, 3: 2.0 * 0.5**1.5}),
    "piecewise": (dict(first=3.0, then=5.0, boundary=2), {0: 3.0, 1: 3.0, 2: 5.0, 7: 5.0}),
    "warmup_cosine": (dict(peak=4.0, warmup=2, steps=6, end=1.0), {0: 2.0, 1: 4.0, 2: 4.0, 4: 2.5, 6: 1.0, 60: 1.0}),
    "warmup_ramp_cosine": (dict(peak=0.5, end=0.02, warmup=200, decay=400), {0: 0.0, 100: 0.25, 200: 0.5, 400: 0.26, 600: 0.02}),
}


def test_every_schedule_has_a_case():
    assert set(CASES) == set(schedules.__all__)


@pytest.mark.parametrize("name", CASES)
def test_values(name):
    numbers, expected = CASES[name]
    schedule = getattr(schedules, name)
    for step, value in expected.items():
        np.testing.assert_allclose(schedule(step, **numbers), value, rtol=1e-6)
    # Iteration and numbers are traced, and all iterations at once give the same.
    steps = jnp.array(list(expected))
    many = jax.jit(jax.vmap(schedule, in_axes=0))(steps, **{k: jnp.full(len(expected), float(v)) for k, v in numbers.items()})
    np.testing.assert_allclose(many, list(expected.values()), rtol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_float64_is_kept_and_types_are_strong(name, x64):
    value = getattr(schedules, name)(jnp.int32(3), **{k: jnp.asarray(v, float) for k, v in CASES[name][0].items()})
    assert value.dtype == jnp.float64 and not value.weak_type
    assert all(p.kind is p.KEYWORD_ONLY for n, p in inspect.signature(getattr(schedules, name)).parameters.items() if n != "step")
