"""Bandits small enough to enumerate: the expected gradient of every estimator is a finite sum, compared with what theory says it is.

A policy softmax(theta) chooses one of K actions; a batch is G independent choices, so there are K^G batches, each with its probability.
Gradients are of the loss, so they are minus those of what is maximised.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pojax import advantages, losses, rewards
from pojax.losses import aggregations as aggregate

K, G = 3, 4
THETA = np.array([0.3, -0.5, 0.9])
RETURNS = np.array([1.0, 0.2, -0.7])  # of each action
CORRECT = np.array([1.0, 0.0, 0.0])
REF = np.array([-0.2, 0.4, 0.1])
BATCHES = np.array(list(itertools.product(range(K), repeat=G)))  # [K^G, G]
ONE_GROUP = np.zeros(G, int)

pytestmark = pytest.mark.usefixtures("x64")


def logpi(theta):
    return jax.nn.log_softmax(jnp.asarray(theta))


def true_gradient(objective):
    return np.asarray(jax.grad(objective)(jnp.asarray(THETA)))


def expected_reward(theta, returns=RETURNS):
    return jnp.sum(jnp.exp(logpi(theta)) * returns)


def kl(p, q):
    return jnp.sum(jnp.exp(logpi(p)) * (logpi(p) - logpi(q)))


def expected_gradient(loss_of_batch, sampler=THETA, size=G):
    """Sum over all batches of their probability under the sampler (held constant) times the gradient of loss_of_batch(theta, actions)."""
    batches = BATCHES if size == G else np.array(list(itertools.product(range(K), repeat=size)))
    probability = jnp.exp(jnp.sum(logpi(sampler)[batches], axis=1))

    def total(theta):
        return jnp.sum(probability * jax.vmap(lambda actions: loss_of_batch(theta, actions))(batches))

    return np.asarray(jax.jit(jax.grad(total))(jnp.asarray(THETA)))


def reinforce(rule, returns=RETURNS):
    """Mean over the batch of -A * logprob, A by the rule from rewards [G]."""

    def loss(theta, actions):
        advantage = jax.lax.stop_gradient(rule(jnp.asarray(returns)[actions]))
        return jnp.sum(
            aggregate.sequence_mean(np.ones((G, 1))) * losses.policy_gradient(logpi(theta)[actions][:, None], advantage[:, None])
        )

    return loss


@pytest.mark.parametrize("baseline", [0.0, 0.7])
def test_reinforce_is_unbiased_for_any_constant_baseline(baseline):
    found = expected_gradient(reinforce(lambda r: advantages.subtract_baseline(r, baseline)))
    np.testing.assert_allclose(found, -true_gradient(expected_reward), rtol=1e-9)


def test_leave_one_out_is_unbiased():
    found = expected_gradient(reinforce(lambda r: advantages.leave_one_out(r, ONE_GROUP)))
    np.testing.assert_allclose(found, -true_gradient(expected_reward), rtol=1e-9)


@pytest.mark.parametrize("rule", [advantages.group_center, advantages.batch_center, advantages.beta_normalize])
def test_own_reward_in_the_baseline_shrinks_the_gradient(rule):
    """A sample's reward is part of its group's mean: the expected gradient is (G - 1) / G of the true one.

    So is that of BNPO for a single group.
    """
    returns = (RETURNS + 1) / 2
    found = expected_gradient(reinforce(lambda r: rule(r, ONE_GROUP), returns))
    np.testing.assert_allclose(found, -(G - 1) / G * true_gradient(lambda t: expected_reward(t, returns)), rtol=1e-9)


def test_group_normalize_is_biased_as_theory_says():
    """For binary rewards with success rate p, dividing by the group's std scales the gradient by E[sqrt(q (1 - q))] / (p (1 - p)).

    q is the success rate of the G samples. The direction stays; prompts that are nearly always or never solved weigh more.
    """
    p = float(jnp.exp(logpi(THETA)) @ CORRECT)
    q = np.arange(G + 1) / G
    binomial = np.array([len(list(itertools.combinations(range(G), s))) for s in range(G + 1)]) * p ** (q * G) * (1 - p) ** (G - q * G)
    factor = np.sum(binomial * np.sqrt(q * (1 - q))) / (p * (1 - p))
    rule = functools.partial(advantages.group_normalize, groups=ONE_GROUP, epsilon=0.0, ddof=0)
    found = expected_gradient(reinforce(rule, CORRECT))
    np.testing.assert_allclose(found, -factor * true_gradient(lambda t: expected_reward(t, CORRECT)), rtol=1e-9)
    assert abs(factor - (G - 1) / G) > 0.1  # it is not what centring alone gives


def test_dividing_by_the_std_turns_the_gradient_where_rewards_are_not_binary():
    rule = functools.partial(advantages.group_normalize, groups=ONE_GROUP, epsilon=0.0)
    found, truth = expected_gradient(reinforce(rule)), -true_gradient(expected_reward)
    cosine = found @ truth / np.linalg.norm(found) / np.linalg.norm(truth)
    assert 0.5 < cosine < 0.9999


def test_remax_is_unbiased_without_discount():
    """The greedy action's reward is a baseline that does not depend on the sample."""
    greedy = np.full(G, RETURNS[np.argmax(THETA)])

    def rule(r):
        return advantages.remax(r, greedy, np.ones((G, 1)), gamma=1.0)[:, 0]

    np.testing.assert_allclose(expected_gradient(reinforce(rule)), -true_gradient(expected_reward), rtol=1e-9)


def test_ppo_clip_at_ratio_one_has_the_gradient_of_reinforce():
    old = logpi(THETA)

    def clipped(theta, actions):
        a = jnp.asarray(RETURNS)[actions][:, None]
        return jnp.mean(losses.ppo_clip(logpi(theta)[actions][:, None], old[actions][:, None], a, epsilon=0.1, dual_clip=2.0))

    np.testing.assert_allclose(expected_gradient(clipped), -true_gradient(expected_reward), rtol=1e-9)
    single = [jax.grad(f)(jnp.asarray(THETA), BATCHES[17]) for f in (clipped, reinforce(lambda r: r))]
    np.testing.assert_allclose(*single, rtol=1e-9)  # not only on average


SAMPLER = np.array([0.8, 0.1, -0.2])  # what generates: quantised, stale, or of another implementation


@pytest.mark.parametrize("cap", [np.inf, 1.0])
def test_importance_weights_undo_another_sampler(cap):
    """Untruncated: the true gradient. Truncated: that of the sum of min(pi, cap * sampler) * reward, biased but bounded."""

    def loss(theta, actions):
        start, rollout = logpi(THETA)[actions][:, None], logpi(SAMPLER)[actions][:, None]
        weight = advantages.truncated_importance(start, rollout, np.ones((G, 1)), cap=cap)
        return jnp.mean(weight * losses.policy_gradient(logpi(theta)[actions][:, None], jnp.asarray(RETURNS)[actions][:, None]))

    chosen = np.minimum(np.exp(logpi(THETA)), cap * np.exp(logpi(SAMPLER)))
    expected = -true_gradient(lambda theta: jnp.sum(chosen * RETURNS * logpi(theta)))
    np.testing.assert_allclose(expected_gradient(loss, SAMPLER), expected, rtol=1e-9)
    truth = -true_gradient(expected_reward)
    assert np.allclose(expected, truth, rtol=1e-9) == (cap == np.inf)


KL_GRADIENTS = {
    "k1": lambda theta: 0.0 * jnp.sum(theta),
    "k2": lambda theta: kl(theta, REF),
    "k3": lambda theta: kl(REF, theta),
    "k1_value_k2_gradient": lambda theta: kl(theta, REF),
    "k3_value_k2_gradient": lambda theta: kl(theta, REF),
}


@pytest.mark.parametrize("name", KL_GRADIENTS)
def test_expected_gradients_of_the_kl_estimates(name):
    """As losses on samples of the current policy: k1 pulls nowhere, k2 along KL(pi || ref), k3 along KL(ref || pi)."""
    estimate = getattr(losses, name)

    def loss(theta, actions):
        return jnp.mean(estimate(logpi(theta)[actions][:, None], logpi(REF)[actions][:, None]))

    np.testing.assert_allclose(expected_gradient(loss, size=1), true_gradient(KL_GRADIENTS[name]), rtol=1e-9, atol=1e-12)
    actions = np.arange(K)
    value = jnp.exp(logpi(THETA)) @ estimate(logpi(THETA)[actions][:, None], logpi(REF)[actions][:, None])[:, 0]
    unbiased = np.allclose(value, kl(THETA, REF), rtol=1e-9)
    assert unbiased == (name != "k2")


@pytest.mark.parametrize("kind", ["sequence", "token"])
def test_kl_in_the_reward_is_unbiased(kind):
    """k1 as a constant part of the reward gives the gradient of E[r] - coefficient * KL(pi || ref)."""

    def loss(theta, actions):
        old, ref, mask = logpi(THETA)[actions][:, None], logpi(REF)[actions][:, None], np.ones((G, 1))
        r = jnp.asarray(RETURNS)[actions]
        if kind == "sequence":
            r = rewards.sequence_kl_penalty(r, old, ref, mask, coefficient=0.3)
        else:
            r = r + rewards.token_kl_penalty(old, ref, mask, coefficient=0.3)[:, 0]
        advantage = jax.lax.stop_gradient(advantages.leave_one_out(r, ONE_GROUP))
        return jnp.mean(losses.policy_gradient(logpi(theta)[actions][:, None], advantage[:, None]))

    np.testing.assert_allclose(expected_gradient(loss), -true_gradient(lambda t: expected_reward(t) - 0.3 * kl(t, REF)), rtol=1e-9)


@pytest.mark.parametrize("name", ["sequence_mean", "constant", "sequence_mean_token_sum"])
def test_length_bias_of_the_aggregations(name):
    """Each action is a response of its own length, its first token the choice, the others forced.

    Sums over tokens and constant divisors keep the true direction; a mean over each response's tokens follows the gradient of
    E[reward / length], so that long wrong responses are punished less.
    """
    lengths = np.array([1, 3, 6])
    masks = np.arange(6) < lengths[:, None]

    def loss(theta, actions):
        where = jnp.asarray(masks)[actions]
        logprobs = jnp.where(jnp.arange(6) == 0, logpi(theta)[actions][:, None], 0.0)
        a = jnp.broadcast_to(jnp.asarray(RETURNS)[actions][:, None], where.shape)
        coefficients = aggregate.constant(where, length=6.0) if name == "constant" else getattr(aggregate, name)(where)
        return jnp.sum(coefficients * losses.policy_gradient(logprobs, a))

    found = expected_gradient(loss, size=2)
    divisor = {"sequence_mean": lengths, "constant": 6.0, "sequence_mean_token_sum": 1.0}[name]
    np.testing.assert_allclose(found, -true_gradient(lambda t: expected_reward(t, RETURNS / divisor)), rtol=1e-9)
