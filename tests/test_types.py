import dataclasses

import jax
import jax.numpy as jnp
import jobs
import numpy as np
import pytest

from pojax.types import Rollout


def test_clean_takes_away_what_must_never_reach_a_loss():
    rollout = jobs.rollout()
    clean = rollout.clean()
    out, mask = rollout.groups < 0, rollout.mask
    for name in ("old_logprobs", "rollout_logprobs", "temperature"):
        before, after = np.asarray(getattr(rollout, name)), np.asarray(getattr(clean, name))
        assert np.isnan(before).any() and np.isfinite(after).all()
        assert (after[out] == 0).all()
        kept = ~out[:, None] & mask if before.ndim == 2 else ~out
        np.testing.assert_array_equal(after[kept], before[kept])
    assert (np.asarray(clean.components["correct"])[out] == 0).all()


def test_clean_keeps_finite_entries_integers_and_what_counts():
    rollout = jobs.rollout(junk=7.0)
    span = np.full((jobs.ROWS, jobs.T), 2.5, np.float32)  # a span over tokens that the policy did not choose
    rollout = dataclasses.replace(rollout, components={**rollout.components, "span": span}, labels={"tree": np.arange(jobs.ROWS)})
    clean, inside = rollout.clean(), rollout.groups >= 0
    np.testing.assert_array_equal(np.asarray(clean.components["span"])[inside], 2.5)
    np.testing.assert_array_equal(clean.tokens, rollout.tokens)
    np.testing.assert_array_equal(clean.components["difficulty"], rollout.components["difficulty"])
    np.testing.assert_array_equal(clean.labels["tree"], np.arange(jobs.ROWS))
    bad = rollout.old_logprobs.copy()
    bad[0, 0] = np.inf  # a token that counts: it must be seen, and the update skipped
    assert np.isinf(np.asarray(dataclasses.replace(rollout, old_logprobs=bad).clean().old_logprobs)[0, 0])


def test_fields_are_flat_and_keep_starts_as_mask_on_rows_that_are_in():
    rollout = jobs.rollout(labels={"tree": np.arange(jobs.ROWS)})
    fields = rollout.fields()
    np.testing.assert_array_equal(fields["keep"], rollout.mask & (rollout.groups >= 0)[:, None])
    np.testing.assert_array_equal(fields["lengths"], rollout.mask.sum(1))
    assert {"tokens", "correct", "difficulty", "tree"} <= set(fields) and "values" not in fields and "block" not in fields


@pytest.mark.parametrize("kind", ["components", "labels"])
def test_a_name_found_twice(kind):
    with pytest.raises(ValueError, match=f"the {kind} hold 'mask', which is found twice"):
        jobs.rollout(**{kind: {"mask": np.zeros(jobs.ROWS, np.int32)}}).fields()


def test_a_rollout_is_a_pytree_whose_block_is_static():
    rollout = jobs.rollout()
    doubled = jax.jit(lambda r: jax.tree.map(lambda x: x * 2, r))(jax.tree.map(jnp.asarray, rollout))
    assert isinstance(doubled, Rollout) and doubled.block == rollout.block
    np.testing.assert_array_equal(doubled.prompt_index, 2 * rollout.prompt_index)
