"""Random numbers of optimiser batches, and processors of the sampler that read tables."""

import zlib

import jax
import jax.numpy as jnp
import jobs
import numpy as np
import pytest

from pojax.binding import ConfigError

pytestmark = pytest.mark.slow
HERE = "tests.methods_under_test:"


def test_every_optimiser_batch_draws_other_numbers():
    """Rules and losses: 2 epochs of 2 minibatches are 4 draws, each from the key of the iteration and the number of the batch."""
    method = dict(advantages=[], per_minibatch=[(HERE + "draw", {})], losses=[(HERE + "drawn_loss", {}), (HERE + "loss_with_key", {})])
    made = jobs.job(jobs.tiny(method=jobs.GROUP | method | dict(epochs=2, minibatches=2)))
    learner, state = made.phases[-1].learner, made.init()
    key = jax.random.fold_in(state.key, 0)
    (update,) = made.program.updates
    bounds = {"drawn_loss": update.per_minibatch[0], "loss_with_key": update.terms[1].loss}
    entries = {name: zlib.crc32(bound.path.encode()) for name, bound in bounds.items()}
    _, metrics = learner.train_step(state, jobs.rollout(), learner.hyper)
    for name, entry in entries.items():
        draws = [float(jax.random.uniform(jax.random.fold_in(jax.random.fold_in(key, i), entry))) for i in range(4)]
        assert len(set(draws)) == 4
        assert metrics[f"policy/loss/{HERE}{name}"] == pytest.approx(np.mean(draws), rel=1e-5)


def config(**entry):
    method = jobs.GROUP | dict(trackers=dict(stats=("entropy_statistics", dict(entropy="old_entropy"))))
    return jobs.tiny(method=method, **{"sampling.processor": ("entropy_temperature", dict(statistics="stats") | entry)})


def gap(learner, state, hyper):
    """Largest difference between the log-probabilities that sampled and those of the policy, over an iteration's tokens."""
    batch = learner.collect(state, hyper)[0]
    return float(np.max(np.abs(batch.rollout_logprobs - batch.old_logprobs), where=np.asarray(batch.mask), initial=0.0))


def test_a_processor_reads_a_table_and_traced_numbers():
    made = jobs.job(config(tau=("linear", dict(start=0.0, end=0.8, steps=2))))
    learner, state = made.phases[-1].learner, made.init()
    gaps, off = [], []
    for _ in range(3):
        gaps.append(gap(learner, state, learner.hyper))
        path = "sampling.processor.tau"
        off.append(gap(learner, state, learner.hyper | {path: jax.tree.map(jnp.zeros_like, learner.hyper[path])}))
        state, _ = learner.train_step(state, learner.collect(state, learner.hyper)[0], learner.hyper)
    assert gaps[0] == 0  # nothing was seen before the first iteration, and the schedule begins at 0
    assert gaps[2] > gaps[1] > 1e-4
    assert max(off) < 1e-6
    assert learner.collect._cache_size() <= 1  # neither the table nor the number is a constant of the program


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(statistics="stat"), ("sampling.processor", "'stat'", "nearest: stats")),
        (dict(statistics="rewards"), ("sampling.processor", "'rewards'")),  # no rollout is there yet
        (dict(tau=1.5), ("sampling.processor", "tau is 1.5")),
        (dict(taus=0.1), ("sampling.processor.taus", "nearest: tau")),
    ],
)
def test_errors_of_a_bound_processor(changes, words):
    with pytest.raises(ConfigError) as error:
        jobs.job(config(**changes))
    for word in words:
        assert word in str(error.value)


def test_a_bound_processor_keeps_the_shape():
    with pytest.raises(ConfigError, match="gives logits of shape"):
        jobs.job(jobs.tiny(method=jobs.GROUP, **{"sampling.processor": (HERE + "cut_logits", {})}))
