"""The products of the gradients of an update's terms, which a tracker may read."""

import copy

import jobs
import numpy as np
import pytest

from pojax.binding import ConfigError

pytestmark = pytest.mark.slow
STILL = ("sgd", dict(learning_rate=0.0))
SCALES = (["balance.weights.correct", "correct_advantages"], ["balance.weights.format", "format_advantages"])


def method(**changes):
    return copy.deepcopy(dict(jobs.tiny("dynamic_weights_gradient").method)) | {"optimizer": STILL} | changes


def step(method):
    """State after one step on a hand-made rollout, and its metrics."""
    made = jobs.job(jobs.tiny(method=method))
    learner = made.phases[-1].learner
    return learner.train_step(made.init(), jobs.rollout(block=made.program.block), learner.hyper)


def kept(**changes):
    """The method, with a table that holds the products as they are."""
    given = method(**changes)
    last = ("tests.methods_under_test:last_gram", dict(gram="policy_gram"))
    kl = ("k1", dict(scale=[1e-3, "last.one"]))  # whose gradient is not 0 at the reference
    return given | {"trackers": dict(given["trackers"]) | dict(last=last), "losses": [*given["losses"][:2], kl]}


def gradient(loss, **changes):
    """Of one term alone, which sgd without momentum keeps as its trace."""
    state, _ = step(method(losses=[loss], trackers={}, **changes))
    return jobs.leaves(state.opt["policy"][1].trace["policy"])


@pytest.fixture(scope="module")
def expected():
    terms = [("negative_log_likelihood", dict(scale=scale[1])) for scale in SCALES]
    rules = method()["advantages"]
    g = [gradient(term, advantages=[rule]) for term, rule in zip(terms, rules, strict=True)]
    return [*g, gradient(("k1", {}), advantages=[])]


@pytest.mark.parametrize("microbatches", [1, 4])
def test_products_of_the_terms_apart(expected, microbatches):
    """Weights and other scales that are one number are left out, scales per row are not; KL is the third term."""
    state, metrics = step(kept(microbatches=microbatches))
    found = np.asarray(state.tables["last"].value)
    wanted = np.array([[a @ b for b in expected] for a in expected])
    assert found.shape == (3, 3) and abs(wanted[0, 0]) > 1e-3 and abs(wanted[1, 1]) > 1e-3
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
    assert "policy/gram" not in metrics
    s = wanted[:2, :2].sum(axis=1)
    w = np.exp(1e-3 * s) / np.exp(1e-3 * s).sum()  # the step of the config
    weights = state.tables["balance"].weights
    np.testing.assert_allclose([weights["correct"], weights["format"]], w, rtol=1e-5)


def test_minibatches_are_averaged_and_no_tracker_no_gram():
    state, metrics = step(kept(minibatches=2))
    found = np.asarray(state.tables["last"].value)
    assert metrics["policy/ran"] == 2 and np.all(np.diag(found)[:2] > 1e-3)
    np.testing.assert_allclose(found, found.T, rtol=1e-5)
    plain = jobs.job(jobs.tiny("grpo")).program
    assert not any(update.gram for update in plain.updates)


def test_only_trackers_may_read_it():
    with pytest.raises(ConfigError, match="policy_gram"):
        jobs.job(jobs.tiny(method=method(advantages=[("group_center", dict(rewards="policy_gram"))])))
    with pytest.raises(ConfigError, match="value_gram"):
        jobs.job(
            jobs.tiny(method=method(trackers=dict(balance=("reward_weights", dict(gram="value_gram", terms=dict(correct=0, format=1))))))
        )
