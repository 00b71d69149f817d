import jax.numpy as jnp
import numpy as np
import pytest
import tiny_services as tiny

from pojax.rollouts import every, from_prefixes

NAMES = ("render", "sample", "demonstrate", "verify")
# Worked solutions of 3, 1, 5 and 4 tokens, their end among them.
SOLUTIONS = np.array([[4, 2, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0], [5, 5, 3, 6, 1, 0], [2, 6, 4, 1, 0, 0]], np.int32)
LENGTHS = np.array([3, 1, 5, 4])


def demonstrate(indices):
    return jnp.asarray(SOLUTIONS)[indices], jnp.arange(tiny.T) < jnp.asarray(LENGTHS)[indices][:, None]


@pytest.mark.parametrize("size", [1, 2])
def test_rows_begin_with_steps_of_the_solution(size):
    params, samples = tiny.parameters(), 40

    def boundaries(**given):
        return every(given["mask"], tokens=size)

    services = tiny.Services(params, demonstrate=demonstrate)
    rollout = services(from_prefixes, *NAMES, boundaries=boundaries, samples=samples)
    np.testing.assert_array_equal(rollout.groups, np.repeat(np.arange(tiny.P), samples))
    found = [set() for _ in range(tiny.P)]
    for row in range(tiny.P * samples):
        problem, prefix = row // samples, rollout.labels["prefix"][row]
        k = int((prefix >= 0).sum())
        np.testing.assert_array_equal(prefix, [c if c < k else -1 for c in range(tiny.T)])
        given = k * size  # tokens of the prefix
        np.testing.assert_array_equal(rollout.tokens[row, :given], SOLUTIONS[problem, :given])
        assert not rollout.mask[row, :given].any() and rollout.mask[row, given]
        assert (rollout.old_logprobs[row, :given] == 0).all()
        read = np.where(rollout.mask[row] | (np.arange(tiny.T) < given), rollout.tokens[row], 0)
        assert rollout.components["score"][row] == read.sum() + 10 * (3 in read)  # judged together with its prefix
        found[problem].add(k)
    assert found == [set(range(-(-n // size))) for n in LENGTHS]  # every prefix but the whole solution
    np.testing.assert_allclose(rollout.old_logprobs, tiny.learner_logprobs(params, rollout), atol=1e-4)
    counts = np.bincount((rollout.labels["prefix"][2 * samples : 3 * samples] >= 0).sum(1), minlength=-(-5 // size))
    assert counts.min() > 0.4 * samples / len(counts)  # drawn evenly


def test_refused():
    with pytest.raises(ValueError, match="from_prefixes: samples is 0, allowed: 1 or more"):
        tiny.Services(tiny.parameters(), demonstrate=demonstrate)(from_prefixes, *NAMES, boundaries=lambda **x: x["mask"], samples=0)
