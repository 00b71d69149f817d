"""A rollout on problems that worker processes judge, from random weights, which are never right."""

import json

import numpy as np
import pytest
import runs

from pojax import advantages, rewards
from pojax.build import build
from pojax.config import override


@pytest.mark.slow
def test_random_weights_get_advantages(tmp_path):
    """Nothing is correct, but the share of Latin letters differs from row to row; what verifying cost is known to the log."""
    pytest.importorskip("math_verify", reason="the extra math is not installed")
    rows = [{"prompt": f"half of {i} жя?", "answer": f"{i}/2", "solution": f"\\boxed{{\\frac{{{i}}}{{2}}}}"} for i in range(40)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    verifier = [("expression", {"extract": ["boxed", "whole"], "ended": False}), ("language_consistency", {})]
    options = dict(path=str(tmp_path / "rows.jsonl"), tokenizer="characters", validation=5, held_out=8, verifier=verifier)
    config = runs.get_config("grpo", task=("json_lines", options), prompt_tokens=16, response_tokens=12, warm_start=None)
    weights = dict(correct=1.0, format=0.1, language=0.5)
    job = build(override(config, {"method.rewards.weighted_sum.weights": weights, "run.diagnostics": False}), say=lambda line: None)
    learner = job.phases[-1].learner
    batch, _ = learner.collect(job.init(), learner.hyper)
    assert not np.any(batch.components["correct"]) and np.all(batch.groups >= 0)
    scores = rewards.weighted_sum({name: batch.components[name] for name in weights}, weights=weights)
    spread = np.asarray(advantages.group_normalize(scores, batch.groups))
    assert np.mean(np.abs(spread) > 0.1) > 0.5
    found = job.source.tally.take()
    assert found.pop("verify/answers_per_second") > 0 and set(found.values()) == {0} and len(found) == 3
