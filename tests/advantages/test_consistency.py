import jax.numpy as jnp
import numpy as np
import pytest
from arrays import assert_gradient

from pojax import advantages, losses
from pojax.losses import aggregations

GROUPS = np.repeat([0, 1], 4)
REWARDS = np.array([1.0, 1, 0, 0, 1, 1, 1, 1])
ANSWERS = np.array([7, 7, 3, 5, 2, 2, 2, 2])
ONE = np.ones((8, 1))


def test_worked_example():
    entropy = advantages.answer_entropy(ANSWERS, GROUPS)
    np.testing.assert_allclose(entropy[:4], 1.5, rtol=1e-5)
    np.testing.assert_allclose(entropy[4:], 0, atol=1e-6)
    between = advantages.consistency_advantages(REWARDS, entropy, GROUPS, ONE)
    np.testing.assert_allclose(between[:, 0], np.repeat([-0.707106, 0.707106], 4), rtol=2e-6)
    local = advantages.group_normalize(REWARDS, GROUPS)
    soft, _ = advantages.consistency_weights(local, entropy, GROUPS, form="soft")
    np.testing.assert_allclose(soft, np.repeat([0.924142, 0.00669285], 4), rtol=1e-5)
    w, rest = advantages.consistency_weights(local, entropy, GROUPS)
    np.testing.assert_allclose(w[4:], 0)  # forced: the local advantage is 0 there
    np.testing.assert_allclose(w + rest, 1, rtol=1e-6)
    logprobs = np.array([0.1, -0.1, 0.3, 0, 0.1, 0.3, -0.1, 0])[:, None]
    old, coefficients = np.zeros((8, 1)), aggregations.sequence_mean(ONE)
    terms = [(w, local[:, None]), (rest, between)]
    loss = sum(jnp.sum(coefficients * x[:, None] * losses.ppo_clip(logprobs, old, a, dual_clip=3.0)) for x, a in terms)
    np.testing.assert_allclose(loss, -0.308883, rtol=1e-5)


def test_entropy_of_one_answer_as_released(x64):
    np.testing.assert_allclose(advantages.answer_entropy(ANSWERS, GROUPS)[4:], -1.4427e-08, rtol=1e-4)


def reference(r, answers, groups, *, discount, epsilon=1e-6, slope=2.0, center=0.7):
    entropy, score = np.zeros(len(r)), {}
    for g in sorted(set(groups[groups >= 0].tolist())):
        at = groups == g
        size = at.sum()
        p = np.unique(answers[at], return_counts=True)[1] / size
        entropy[at] = -np.sum(p * np.log2(p + 1e-8))
        lam = (1 - 1 / size) / np.log2(size) if size > 1 else 0.0
        score[g] = r[at].mean() * (1 - (lam * entropy[at][0] if discount else 0))
    values = np.array(list(score.values()))
    between = np.array([(score[g] - values.mean()) / (values.std(ddof=1) + epsilon) if g >= 0 else 0.0 for g in groups.tolist()])
    return entropy, between, 1 / (1 + np.exp(-slope * (entropy - center)))


@pytest.mark.parametrize("discount", [True, False])
def test_double_precision(x64, discount):
    rng = np.random.default_rng(0)
    groups = rng.permutation(np.repeat([5, 0, 3, 8, -1], [4, 3, 6, 1, 2]))
    answers, r = rng.integers(0, 3, 16), rng.normal(size=16)
    mask = rng.integers(0, 2, (16, 3))
    junk = np.where(groups < 0, np.nan, r)
    entropy, between, soft = reference(r, answers, groups, discount=discount)
    np.testing.assert_allclose(advantages.answer_entropy(answers, groups), entropy, rtol=1e-9, atol=1e-14)
    found = advantages.consistency_advantages(junk, np.where(groups < 0, np.nan, entropy), groups, mask, discount_entropy=discount)
    np.testing.assert_allclose(found, between[:, None] * mask, rtol=1e-9, atol=1e-12)
    local, is_in = rng.integers(0, 2, 16) * r, groups >= 0
    forced = local != 0
    hyper = dict(slope=2.0, center=0.7)
    expected = {"soft": soft, "soft_forced": soft * forced, "forced": 1.0 * forced, "local": 1.0 + 0 * r, "global": 0 * r}
    for form, w in expected.items():
        first, second = advantages.consistency_weights(local, entropy, groups, form=form, **hyper)
        np.testing.assert_allclose(first, w * is_in, rtol=1e-9)
        np.testing.assert_allclose(second, (1 - w) * is_in, rtol=1e-9)
    assert_gradient(lambda r: advantages.consistency_advantages(r, entropy, groups, mask, discount_entropy=discount), r)
    assert_gradient(lambda h: advantages.consistency_weights(local, h, groups, form="soft")[0], entropy)


def test_degenerate_groups():
    def between(r, groups, entropy=None):
        entropy = np.zeros(len(r)) if entropy is None else entropy
        return np.asarray(advantages.consistency_advantages(r, entropy, groups, np.ones((len(r), 2))))[:, 0]

    assert not between(REWARDS, np.zeros(8, int)).any()  # one prompt
    assert not between(np.full(8, 0.7, np.float32), np.array([0, 0, 0, 0, 0, 0, 0, 4])).any()  # equal g, from sums that round differently
    wrong = between(np.array([0.0, 0, 1, 1]), np.array([0, 0, 1, 1]))
    assert wrong[0] == wrong[1] < 0 < wrong[2]  # all wrong is pushed down where others succeed
    alone = between(np.array([0.5, 1.0]), np.array([0, 1]), np.array([9.0, 9.0]))
    np.testing.assert_allclose(alone, between(np.array([0.5, 1.0]), np.array([0, 1])))  # a group of one: lam is 0
    with pytest.raises(ValueError, match="form is 'hard', allowed: {soft_forced, soft, forced, local, global}"):
        advantages.consistency_weights(REWARDS, REWARDS, GROUPS, form="hard")
