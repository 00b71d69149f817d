"""Diagnostics: every number against numpy, and rows that are out or masked never show."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pojax import diagnostics, types
from pojax.diagnostics import policy_metrics, rollout_metrics, write_samples

B, T = 7, 4
GROUPS = np.array([9, 4, 9, -1, 4, 2, 2], np.int32)
MASK = np.arange(T) < np.array([4, 2, 1, 3, 0, 4, 3])[:, None]
REWARDS = np.array([1, 0.7, 0, np.nan, 0.7, 0, 1], np.float32)
INSIDE = GROUPS >= 0


def draw(seed, out=np.nan):
    """[B, T] log-probabilities; what is masked or out holds `out`."""
    x = np.random.default_rng(seed).uniform(-3, -0.1, (B, T)).astype(np.float32)
    return np.where(MASK & INSIDE[:, None], x, out).astype(np.float32)


OLD, START, REF = draw(0), draw(1), draw(2)
ADVANTAGES = np.where(INSIDE, [0.5, 0, -0.5, 0, 0, -2, 1], np.inf).astype(np.float32)
FIELDS = dict(
    groups=GROUPS, mask=MASK, truncated=np.array([1, 0, 0, 1, 0, 1, 0], bool), policy_step=np.zeros(B, np.int32),
    old_entropy=draw(3), old_logprobs=OLD, start_logprobs=START, ref_logprobs=REF, prompt_tokens=np.zeros((B, 3), np.int32),
    correct=np.where(INSIDE, REWARDS, np.nan), step_score=draw(4),
)  # fmt: skip

rollout_jit = jax.jit(rollout_metrics, static_argnames="components")
policy_jit = jax.jit(policy_metrics)


def k3(policy, other):
    difference = np.float64(other) - policy
    return (np.exp(difference) - difference - 1).mean()


def test_rollout_metrics():
    found = rollout_jit(FIELDS, REWARDS, ADVANTAGES)
    on = MASK & INSIDE[:, None]
    rewards, advantages = REWARDS[INSIDE].astype(float), ADVANTAGES[INSIDE].astype(float)
    expected = dict(
        rows_in=6, reward=rewards.mean(), reward_std=rewards.std(), effective_groups=2 / 3, advantage_std=advantages.std(), advantage_max=2,
        truncated=2 / 6, length=14 / 6, length_max=4, entropy=FIELDS["old_entropy"][on].mean(), k3_ref=k3(OLD[on], REF[on]),
        sampler_gap=np.abs(START - OLD)[on].mean(), sampler_gap_max=np.abs(START - OLD)[on].max(),
    ) | {"components/correct": rewards.mean(), "components/step_score": FIELDS["step_score"][on].mean()}  # fmt: skip
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=2e-6, err_msg=name)
        assert found[name].shape == () and found[name].dtype == jnp.float32


def test_rollout_metrics_takes_what_is_there():
    few = {name: FIELDS[name] for name in ("groups", "mask", "correct")}
    found = rollout_metrics(few, REWARDS, np.broadcast_to(ADVANTAGES[:, None], (B, T)), components=())
    assert found.keys() == {"rows_in", "reward", "reward_std", "effective_groups", "advantage_std", "advantage_max", "length", "length_max"}
    per_token = np.broadcast_to(ADVANTAGES[:, None], (B, T))[MASK & INSIDE[:, None]]
    np.testing.assert_allclose(found["advantage_std"], per_token.astype(float).std(), rtol=1e-6)


def test_nouns_are_no_components():
    zeros = np.zeros((B, T), np.float32)
    rollout = types.Rollout(
        np.zeros((B, 3), np.int32), np.zeros((B, 3), bool), zeros.astype(np.int32), MASK, GROUPS, np.zeros(B, np.int32),
        zeros, zeros, zeros, zeros[:, 0], np.zeros(B, np.int32), np.zeros(B, bool), components={"correct": REWARDS},
    )  # fmt: skip
    found = rollout_metrics(rollout.fields() | {"rewards": REWARDS}, REWARDS, ADVANTAGES)
    assert [name for name in found if "/" in name] == ["components/correct"]


def test_policy_metrics():
    new, on = draw(5), MASK & INSIDE[:, None]
    found = policy_jit(new, OLD, on.astype(np.float32), REF)
    difference = np.float64(new[on]) - OLD[on]
    ratio = np.exp(difference)
    expected = dict(
        ratio=ratio.mean(), ratio_max=ratio.max(), k3_old=k3(OLD[on], new[on]),
        effective_samples=ratio.sum() ** 2 / (on.sum() * (ratio**2).sum()),
        logprob_gap=np.abs(difference).mean(), logprob_gap_max=np.abs(difference).max(), k3_ref=k3(new[on], REF[on]),
    )  # fmt: skip
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=3e-6, err_msg=name)
    assert "k3_ref" not in policy_metrics(new, OLD, on)


def test_policy_metrics_at_ratio_one():
    found = policy_metrics(OLD, OLD, MASK & INSIDE[:, None])
    assert {name: float(value) for name, value in found.items()} == dict(
        ratio=1, ratio_max=1, k3_old=0, effective_samples=1, logprob_gap=0, logprob_gap_max=0
    )


@pytest.mark.parametrize("kind", ["all out", "all masked", "no rows", "overflow"])
def test_degenerate_batches_are_finite(kind):
    rows = 0 if kind == "no rows" else B
    groups = np.full(rows, -1, np.int32) if kind == "all out" else GROUPS[:rows]
    mask = np.zeros((rows, T), bool) if kind == "all masked" else MASK[:rows]
    fields = {name: value[:rows] for name, value in FIELDS.items()} | dict(groups=groups, mask=mask)
    found = rollout_metrics(fields, REWARDS[:rows], ADVANTAGES[:rows])
    far = np.where(np.isnan(OLD), np.nan, 1000 * OLD) if kind == "overflow" else OLD
    found |= policy_metrics(OLD[:rows], far[:rows], mask & (groups >= 0)[:, None], far[:rows])
    assert all(np.isfinite(value) for value in found.values()), found
    if kind == "overflow":
        assert 0 < found["effective_samples"] <= 1
    else:
        assert found["ratio"] == found["effective_samples"] == found["k3_old"] == found["length"] == 0


def test_half_precision_and_float64(x64):
    on = MASK & INSIDE[:, None]
    assert policy_metrics(jnp.asarray(OLD, jnp.bfloat16), jnp.asarray(REF, jnp.bfloat16), on)["ratio"].dtype == jnp.float32
    found = policy_metrics(OLD.astype(np.float64), REF.astype(np.float64), on)["k3_old"]
    assert found.dtype == jnp.float64
    np.testing.assert_allclose(found, k3(REF[on].astype(float), OLD[on].astype(float)), rtol=1e-12)


def test_write_samples(tmp_path):
    path = tmp_path / "samples" / "12.npz"
    text = ["α = 1", "", "x" * 50, "a\nb", "\ud800", "#", "7"]
    fields = FIELDS | {"tokens": jnp.ones((B, T), jnp.int32), "rewards": jnp.ones(B, jnp.bfloat16), "advantages": ADVANTAGES}
    write_samples(path, fields, text)
    with np.load(path, allow_pickle=False) as found:
        assert set(found.files) == set(fields) | {"text"}
        assert found["text"].tolist() == text
        assert found["rewards"].dtype == np.float32 and found["tokens"].dtype == np.int32
        for name, value in fields.items():
            np.testing.assert_array_equal(found[name], np.asarray(value))
    assert [file.name for file in path.parent.iterdir()] == ["12.npz"]
    with pytest.raises(ValueError, match="found 1 texts, allowed: 7, one per row"):
        write_samples(path, fields, ["x"])
    with pytest.raises(ValueError, match=r"the file is 12, allowed: a name that ends with \.npz"):
        write_samples(tmp_path / "12", fields, text)


# ---- rows that a person reads


def decode_bytes(ids):
    """A tokenizer whose tokens are bytes, end token 1 without text; a space at the start of a text is dropped, as some do."""
    return bytes(i for i in ids if i > 1).decode("utf-8", "replace").removeprefix(" ")


def test_pieces_of_text_are_what_every_token_adds():
    text = "é a€\U0001f600 b"
    ids = [*text.encode(), 1]
    pieces = list(diagnostics._pieces(ids, decode_bytes))
    assert "".join(pieces) == text and len(pieces) == len(ids)
    assert pieces[:3] == ["", "é", " "] and pieces[-1] == "" and pieces[4:7] == ["", "", "€"]  # characters stand at their last byte
    broken = list(diagnostics._pieces([0xC3, 0x28, 0xFF, 0xFE, 0x41], decode_bytes))
    assert "".join(broken) == bytes([0xC3, 0x28, 0xFF, 0xFE, 0x41]).decode("utf-8", "replace")
    assert list(diagnostics._pieces([], decode_bytes)) == []


def test_readable_rows():
    n, length = 20, 4
    text = np.frombuffer(b"abc\x01" * n, np.uint8).reshape(n, length).astype(np.int32)
    mask = np.array([[1, 0, 1, 1]] * n, bool)
    mask[1] = [1, 1, 0, 0]
    mask[2] = 0
    fields = dict(
        prompt_tokens=np.array([[0, 120, 121]] * n), prompt_mask=np.array([[0, 1, 1]] * n), tokens=text, mask=mask,
        groups=np.repeat(np.arange(10), 2), prompt_index=np.arange(n), rewards=np.arange(n, dtype=np.float32),
        truncated=np.arange(n) == 1, advantages=np.arange(n) / 3, logprobs=np.full((n, length), -1.5),
        old_logprobs=np.full((n, length), -2.0),
        rollout_logprobs=np.full((n, length), -2.0), old_entropy=np.array([[1.0, np.nan, np.inf, 0.25]] * n),
        correct=np.arange(n) % 2, steps=np.arange(n * length).reshape(n, length) * 1.0,
    )  # fmt: skip
    rows = diagnostics.readable_rows(fields, decode_bytes, components=("correct", "steps"))
    assert len(rows) == 16 and json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert rows[4] == {
        "prompt": "xy", "response": "ac", "tokens": ["a", "b", "c", ""], "mask": [1, 0, 1, 1], "cut": 0, "group": 2, "prompt_index": 4,
        "length": 3, "components": {"correct": 0.0, "steps": 17.67}, "truncated": False, "reward": 4.0,
        "advantage": [1.333, None, 1.333, 1.333], "log_ratio": [0.5, None, 0.5, 0.5], "entropy": [1.0, None, None, 0.25],
    }  # fmt: skip
    assert rows[1]["tokens"] == ["a", "b"] and rows[1]["truncated"] and rows[2]["tokens"] == [] and rows[2]["length"] == 0
    fields["rollout_logprobs"][0, 0], fields["start_logprobs"] = -1.0, fields["old_logprobs"]
    del fields["logprobs"]
    (row,) = diagnostics.readable_rows(fields, decode_bytes, rows=1, tokens=2)
    assert row["log_ratio_sampling"] == [-1.0, None] and row["log_ratio"] == [0.0, None] and row["cut"] == 2 and row["tokens"] == ["a", "b"]
