import jobs
import numpy as np
import pytest

from pojax.tasks import encode_solutions


@pytest.mark.slow
@pytest.mark.parametrize("refilled", [False, True])
def test_every_row_has_the_solution_of_its_prompt(refilled):
    inner = ("independent", dict(samples=4))
    inner = ("refill", dict(inner=inner, rounds=2)) if refilled else inner
    made = jobs.job(jobs.tiny(method=jobs.GROUP | dict(rollouts=("with_solutions", dict(inner=inner)))))
    learner = made.phases[-1].learner
    batch, _ = learner.collect(made.init(), learner.hyper)
    rows = np.asarray(batch.prompt_index)
    tokens, mask = encode_solutions(made.tasks["train"], jobs.T)
    np.testing.assert_array_equal(batch.components["solution_tokens"], tokens[rows])
    np.testing.assert_array_equal(batch.components["solution_mask"], mask[rows])
    assert len(set(rows.tolist())) > 1
