"""Arguments by their names for the sweeps in sweep.py: add here what a new public function of a pure stage reads.

ARGUMENTS: data; HYPERS: hyper-parameters without a default, or whose default is not interesting; TABLES: the tables of trackers.
"""

import jax
import jax.numpy as jnp
import numpy as np

from pojax import trackers

# Every argument by its name: B = 6 rows, T = 4 tokens, N = 8 prompts. A group of three, a group of equal rewards, a row that is out with
# masked tokens of its own, and a row without any token.
GROUPS = np.array([5, 5, 2, -1, 2, 5])
MASK = np.array([[1, 1, 1, 0], [1, 0, 1, 1], [0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]])
RNG = np.random.default_rng(0)
LOGPROBS = ["logprobs", "old_logprobs", "ref_logprobs", "start_logprobs", "rollout_logprobs", "previous_logprobs"]
ARGUMENTS = {
    "key": jax.random.key(0),
    "num_prompts": 8,
    "batch_prompts": 3,
    "response_tokens": 4,
    "success": np.linspace(0, 1, 8),
    "column": np.linspace(0, 1, 8),
    "prompt_index": np.array([0, 7, 2, -1, 4, 1]),
    "rewards": np.array([1.0, 0.0, 0.7, 0.3, 0.7, 0.4]),
    "greedy_rewards": np.array([0.5, 0.1, 0.7, 0.2, 9.0, -9.0]),
    "lengths": MASK.sum(1),
    "truncated": np.array([True, False, False, True, False, True]),
    "temperature": np.full(6, 0.7),
    "groups": GROUPS,
    "mask": MASK,
    "where": MASK,
    "keep": MASK,
    "tokens": np.ones((6, 4), int),
    "answers": np.array([3, 3, 0, -1, 9, 1]),
    "answer_entropy": np.linspace(0, 1.5, 6),
    "bundle_rewards": np.array([1.5, 0.5, 0.5, 9.0, 2.0, 1.5]),
    "bundle": np.array([0, 1, 1, -1, 2, 0]),
    "low": np.float32(0.6),
    "high": np.float32(1.6),
    "started": np.array(True),
    "roles": np.array([0, 1, 1, 2, 0, 2]),
    "role_baselines": np.linspace(0, 1, 3),
    "solution_tokens": np.tile([1, 1, 2, 1], (6, 1)),
    "solution_mask": np.tile([1, 1, 1, 0], (6, 1)),
    "step_ends": np.tile([1, 0, 1, 1], (6, 1)),
    **{name: -RNG.uniform(0.01, 3, (6, 4)) for name in [*LOGPROBS, "entropy", "token_rewards"]},
    "components": {
        "correct": np.array([1.0, 0, 1, 0, 1, 0]),
        "speed": np.array([0.3, 0.2, 0.2, 0.9, 0.2, 0.5]),
        "speed_confidence": np.array([0.9, 0.1, 0.3, 0.5, 0.2, 0.4]),
    },
    "sizes": np.array([0.3, 0.2, 0.1, 0.9, 0.0, 0.5]),
    "score": np.array([0.3, 0.2, 0.2, 0.9, 0.2, 0.5]),
    "satisfied": np.array([1, 0, 1, 1, 0, 1]),
    "is_base": np.array([0, 1, 0, 0, 1, 0]),
    "calibrated": np.array([0.3, 0.2, 0.2, 0.9, 0.2, 0.5]),
    "multiplier": np.array(1.3),
    "gram": np.array([[1.0, 0.2, 0.1], [0.2, 0.5, -0.3], [0.1, -0.3, 0.8]]),
    "role": np.array([1, -1, 0, 1, 1, 0]),
    "episode": np.array([0, 0, 1, 2, 1, 0]),
    "list_value": np.linspace(-1, 1, 6),
    "list_slope": np.linspace(1, -1, 6),
    "predicted_boxes": np.array([[0.0, 0, 4, 4], [1, 1, 2, 2], [3, 3, 1, 1], [np.nan, 0, 1, 1], [0, 0, 9, 9], [5, 5, 6, 7]]),
    "target_boxes": np.array([[1.0, 0, 4, 5], [1, 1, 2, 2], [0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 9, 9], [0, 0, 1, 1]]),
    "image_sizes": np.array([[10.0, 20]] * 5 + [[4, 0]]),
    "advantages": np.linspace(-2, 2, 24).reshape(6, 4),
    "baseline": np.linspace(0, 1, 6),
    "entropy_signal": np.linspace(-1, 1, 24).reshape(6, 4),
    "collision_probability": RNG.uniform(0.1, 0.9, (6, 4)),
    "initial_entropy": np.array(0.5),
    "marker_position": np.array([0.0, 2.0, 0.0, 1.0, 3.0, 1.0]),
    "has_marker": np.array([1, 1, 0, 1, 1, 1]),
    "correct": np.array([1.0, 1.0, 0.0, 1.0, 1.0, 0.0]),
    "x": np.linspace(-1, 1, 6),
    "parts": np.array([1, 0, 3, 3, 3, 1]),
    # Trees, prefixes, budgets, sets and turns: two leaves of one tree share their first edge.
    "segment": np.array([[0, 0, 1, -1], [0, -1, 1, 2], [-1] * 4, [0, 1, -1, -1], [0, 0, 0, 1], [0, -1, -1, -1]]),
    "node": np.array([[0, 1, 1, -1], [0, -1, 2, 2], [-1] * 4, [7, 8, -1, -1], [3, 3, 4, 4], [5, -1, -1, -1]]),
    "tree": np.array([0, 0, 1, 2, 1, 3]),
    "prefix": np.array([[-1, -1], [4, -1], [-1, -1], [4, -1], [4, 5], [4, 6]]),
    "budget_scores": np.linspace(0, 1, 18).reshape(6, 3) ** 2,
    "budget": np.array([[0, 0, 1, -1], [0, -1, 1, 2], [-1] * 4, [0, 1, -1, -1], [0, 0, 1, 2], [0, -1, -1, -1]]),
    "cut": np.array([0, 0, 1, 2, 1, 3]),
    "summary": np.array([0, 0, -1, 2, 0, -1]),
    "signature": np.array([0, 1, 2, 3, 2, 1]),
    "sets": np.array([[1, 0, 1], [1, 1, 0], [1, 1, 0], [1, 1, 1], [0, 1, 1], [0, 1, 1]]),
    "elsewhere": np.linspace(1, 2, 6),
    "turn": np.array([[0, 0, 1, -1], [0, -1, 1, 1], [-1] * 4, [0, 1, -1, -1], [0, 0, 1, 2], [0, -1, -1, -1]]),
    "step_rewards": np.linspace(-1, 1, 18).reshape(6, 3),
    "anchor": np.array([[0, 1, -1], [0, 0, -1], [-1] * 3, [0, 1, -1], [2, 2, 3], [0, -1, -1]]),
    "arrival_logprobs": -RNG.uniform(0.01, 3, (6, 4)),
    "divergence": RNG.uniform(0, 0.3, (6, 4)),
    "importance": RNG.uniform(0.5, 2, (6, 4)),
    "values": RNG.normal(size=(6, 4)),
    "selected": np.array([1, 0, 1, 1, 0, 1]),
    "multiplicity": np.array([2.0, 1.0, 0.0, 3.0, 2.0, 0.0]),
    "filtration": np.array([0.5, 0.3, 0.4, 0.0, 0.6, 0.2]),
    "expert": np.array([1, 0, 0, 0, 1, 0]),
    "retempered": np.array([0, 0, 1, 0, 1, 1]),
    "replayed": np.array([0, 0, 1, 0, 1, 0]),
    "above": np.array(True),
    "policy_step": np.arange(6),
    "stable": MASK,
    "drawn_hits": RNG.uniform(0, 1, (6, 4)),
    "drawn_misses": -RNG.uniform(0, 3, (6, 4)),
    "reference_logprobs": -RNG.uniform(0.01, 3, (6, 4)),
    # Regression, pairs, mirror descent, curvature, occupancy and Q#.
    "levels": np.array([1, 3, 2, 1, 4, 2]),
    "format": np.array([1.0, 1.0, 0.0, 1.0, 1.0, 0.0]),
    "v_star": np.linspace(0.2, 0.8, 6),
    "history": np.array(0.4),
    **{name: RNG.normal(size=(6, 4)) for name in ["log_partition", "ref_log_partition", "q_values", "ref_logits", "value_logits"]},
    **{name: RNG.uniform(0.1, 0.9, (6, 4)) for name in ["kl", "probability", "distribution", "gradient_gain", "gradient_curvature"]},
    **{name: RNG.uniform(0.5, 2, (6, 2)) for name in ["mean", "std", "other_mean", "other_std"]},
    "atoms": np.linspace(0, 1, 4),
    "scores": np.linspace(-1, 2, 6),
    "on_policy": np.array([1, 0, 1, 1, 0, 1]),
}
HYPERS = {
    "weights": {"correct": 1.0, "speed": 0.5},
    "confidences": {"speed_confidence": 0.5},
    "thresholds": {"correct": 0.5, "speed": 0.25},
    "directions": {"correct": 1.0, "speed": -1.0},
    "terms": {"correct": 0, "speed": 2},
    "coefficient": 0.3,
    "k": 2.0,
    "cache": 2.0,
    "length": 8.0,
    "limit": 4.0,
    "number": 2.0,
    "share": 0.3,
    "token": 1,
    "epsilon_high": 0.3,
    "dual_clip": 3.0,
    "tau": 0.5,
    "threshold": 0.1,
    "q": 0.5,
    "learning_rate": 0.1,
}


def _single_stream():
    """A table in which the batch's prompts were seen before, with the same tokens masked."""
    where = np.where(GROUPS >= 0, ARGUMENTS["prompt_index"], 8)
    table = trackers.single_stream.init(8, 4)
    return table._replace(mask=table.mask.at[where].set(MASK != 0, mode="drop"), visited=jnp.ones(8, bool))


def _pareto_front():
    """A front of one point and a free place, after the first iteration."""
    table = trackers.pareto_front.init(objectives=2, capacity=2)
    return table._replace(points=table.points.at[0].set(jnp.array([0.9, -0.6])), used=table.used.at[0].set(True), started=jnp.array(True))


TABLES = {  # {update function: () -> table}
    trackers.running_quantiles.update: trackers.running_quantiles.init,
    trackers.role_averages.update: lambda: trackers.role_averages.init(roles_count=3),
    trackers.reward_history.update: trackers.reward_history.init,
    trackers.adaptive_entropy.update: trackers.adaptive_entropy.init,
    trackers.entropy_target.update: trackers.entropy_target.init,
    trackers.entropy_statistics.update: trackers.entropy_statistics.init,
    trackers.initial_entropy.update: trackers.initial_entropy.init,
    trackers.pareto_front.update: _pareto_front,
    trackers.replay_buffer.update: lambda: trackers.replay_buffer.init(8, 4, size=2),
    trackers.reward_weights.update: lambda: trackers.reward_weights.init(terms=HYPERS["terms"]),
    trackers.running_mean.update: trackers.running_mean.init,
    trackers.single_stream.update: _single_stream,
}


def table_of(function):
    """The table that the update function of a tracker reads; None for functions that are none."""
    return TABLES[function]() if function in TABLES else None
