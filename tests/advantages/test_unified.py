import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import EX

from pojax import advantages, losses

GROUPS = np.array([0, 0, 1, 1])


def test_clip_stability(x64):
    expected = np.zeros((4, 3))
    for b in range(4):
        for t in range(3):
            r, a = np.exp(EX.logprobs[b, t] - EX.old[b, t]), EX.advantages[b, t]
            expected[b, t] = EX.mask[b, t] and not (r > 1.28 if a > 0 else r < 0.8)
    hyper = dict(epsilon=0.2, epsilon_high=0.28)
    np.testing.assert_array_equal(advantages.clip_stability(EX.logprobs, EX.old, EX.advantages, EX.mask, **hyper), expected)
    np.testing.assert_array_equal(advantages.clip_stability(EX.logprobs, EX.old, EX.advantages[:, 0], EX.mask, **hyper), expected)
    rows = [np.exp(np.mean((EX.logprobs - EX.old)[b, EX.mask[b] != 0])) for b in range(4)]
    kept = [not (r > 1.1 if a > 0 else r < 0.9) for r, a in zip(rows, EX.advantages[:, 0], strict=True)]
    assert len(set(kept)) == 2
    value = advantages.clip_stability(EX.logprobs, EX.old, EX.advantages, EX.mask, epsilon=0.1, level="sequence")
    np.testing.assert_array_equal(value, np.array(kept)[:, None] * EX.mask)


def test_references(x64):
    """What the policy's probability is divided by: so that the quotient is the capped, or the row's ratio."""
    on = EX.mask != 0
    ratio = np.exp(EX.logprobs - EX.old)
    capped = np.exp(EX.logprobs - advantages.capped_reference(EX.logprobs, EX.old, EX.mask, low=0.8, high=1.28))
    np.testing.assert_allclose(capped[on], np.clip(ratio, 0.8, 1.28)[on], rtol=1e-9)
    one_sided = np.exp(EX.logprobs - advantages.capped_reference(EX.logprobs, EX.old, EX.mask))
    np.testing.assert_allclose(one_sided[on], np.minimum(ratio, 5.0)[on], rtol=1e-9)
    rows = np.exp(EX.logprobs - advantages.sequence_reference(EX.logprobs, EX.old, EX.mask))
    for b in range(4):
        np.testing.assert_allclose(rows[b, on[b]], np.exp(np.mean((EX.logprobs - EX.old)[b, on[b]])), rtol=1e-9)
    shaped = advantages.shaping_stability(EX.logprobs, np.zeros((4, 3)), EX.mask, gamma=0.2)
    np.testing.assert_allclose(shaped, on * 0.2 / (np.exp(EX.logprobs) + 0.2) ** 2, rtol=1e-9)


def gate(solved, n=8, **hyper):
    """A prompt with n sampled rows, of which so many are right, and one demonstration."""
    correct = np.append(np.arange(n) < solved, 1.0).astype(float)
    keep = advantages.demonstration_gate(np.ones((n + 1, 2)), correct, np.append(np.zeros(n), 1), np.zeros(n + 1, int), **hyper)
    return "rl" if keep[0, 0] else "sft", keep


@pytest.mark.parametrize(("solved", "by_count", "expected"), [(0, 0, "sft"), (1, 0, "rl"), (2, 2, "sft"), (3, 2, "rl")])
def test_worked_example_of_the_gate(solved, by_count, expected):
    for hyper in (dict(gate=by_count, form="code"), dict(gate=by_count / 8)):
        choice, keep = gate(solved, **hyper)
        assert choice == expected
        np.testing.assert_array_equal(keep[:, 0], np.append(np.full(8, choice == "rl"), choice == "sft"))


def test_gate_of_prompts_with_one_side_only():
    correct, expert = np.array([0.0, 0, 0, 1, 0, 0, np.nan]), np.array([0, 0, 0, 1, 0, 1, 1])
    groups = np.array([3, 3, 1, 5, 2, 2, -1])
    keep = advantages.demonstration_gate(np.ones((7, 1)), correct, expert, groups)
    np.testing.assert_array_equal(keep[:, 0], [1, 1, 1, 1, 0, 1, 0])  # no demonstration: rows stay; nothing sampled: it stays
    value = advantages.demonstration_gate(EX.mask, EX.correct, np.array([0, 1, 0, 1]), GROUPS)
    np.testing.assert_array_equal(value, EX.mask * np.array([[1], [0], [1], [0]]))


def test_both_kinds_of_rows_in_one_estimator():
    """One loss: on rows of experts the gradient is that of the likelihood, on the others that of the ratio."""
    expert = np.array([0, 1, 0, 1])
    a = advantages.expert_advantages(EX.rewards, expert, np.array([0, 0, 1, -1]), value=0.5)
    np.testing.assert_allclose(a, [1.0, 0.5, 0.8, 0.0], rtol=1e-6)
    reference = advantages.expert_reference(EX.logprobs, EX.old, expert, EX.mask)
    np.testing.assert_allclose(reference, EX.mask * np.where(expert[:, None], EX.logprobs, EX.old), rtol=1e-6)
    given = np.repeat(np.asarray(a)[:, None], 3, axis=1)
    found = jax.grad(lambda x: jnp.sum(EX.mask * losses.unified_policy_gradient(x, reference, given)))(jnp.asarray(EX.logprobs))
    ratio = np.exp(EX.logprobs - EX.old)
    np.testing.assert_allclose(found, -EX.mask * given * np.where(expert[:, None], 1.0, ratio), rtol=1e-5)
