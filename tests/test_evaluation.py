"""pass@k, majority votes and intervals against counting, and evaluations whose answer is known."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pojax.evaluation import (
    Outcome,
    Report,
    accuracy_by_length,
    bootstrap_interval,
    compare,
    evaluate,
    maj_at_k,
    max_at_k,
    pass_at_k,
    summarize,
)
from pojax.types import Samples


@pytest.mark.parametrize("n, c, k", [(5, 2, 1), (5, 2, 3), (5, 2, 4), (4, 0, 2), (4, 4, 4), (6, 1, 6), (1, 1, 1)])
def test_pass_at_k_counts_subsets(n, c, k):
    subsets = list(itertools.combinations([1] * c + [0] * (n - c), k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, subsets)) / len(subsets), rel=1e-12)


def test_pass_at_k_arrays_and_large_numbers():
    n, c = np.array([[10], [400]]), np.array([0, 3, 10])
    expected = [[1 - math.comb(int(a) - int(b), 7) / math.comb(int(a), 7) for b in c] for a in n[:, 0]]
    np.testing.assert_allclose(pass_at_k(n, c, 7), expected, rtol=1e-12, atol=1e-15)
    assert pass_at_k(100_000, 50, 1000) == pytest.approx(1 - math.comb(99_950, 1000) / math.comb(100_000, 1000), rel=1e-9)
    assert pass_at_k(np.array([], int), 0, 3).shape == (0,)


def test_max_at_k():
    r = np.array([0.2, 0.9, 0.5, 0.0])
    assert max_at_k(r, 2) == pytest.approx(0.65, rel=1e-12)
    both = np.stack([r, r[::-1] ** 2])
    for k in (1, 2, 3, 4):
        expected = [np.mean([max(s) for s in itertools.combinations(row, k)]) for row in both]
        np.testing.assert_allclose(max_at_k(both, k), expected, rtol=1e-12)
    correct = np.repeat([1, 0], [2, 6])
    np.testing.assert_allclose([max_at_k(correct, k) for k in (1, 4, 7)], [0.25, 0.785714, 1], rtol=1e-5)
    assert max_at_k(correct, 4) == pytest.approx(pass_at_k(8, 2, 4), rel=1e-12)
    for k in (0, 5):
        with pytest.raises(ValueError, match=f"max_at_k: k is {k}, allowed: 1 to the number of samples, 4"):
            max_at_k(r, k)


def test_pass_at_k_is_unbiased():
    p, n, k = 0.3, 6, 3
    law = [math.comb(n, c) * p**c * (1 - p) ** (n - c) for c in range(n + 1)]
    assert np.dot(law, pass_at_k(n, np.arange(n + 1), k)) == pytest.approx(1 - (1 - p) ** k, rel=1e-12)
    plug_in = np.dot(law, 1 - (1 - np.arange(n + 1) / n) ** k)
    assert abs(plug_in - (1 - (1 - p) ** k)) > 0.03  # what it is there for


@pytest.mark.parametrize(
    "n, c, k, message", [(4, 1, 0, "k is 0"), (4, 1, 5, "k is 5"), (4, 5, 1, "found 5 correct"), (4, -1, 1, "found -1 correct")]
)
def test_pass_at_k_ranges(n, c, k, message):
    with pytest.raises(ValueError, match=message):
        pass_at_k(n, c, k)


def test_maj_at_k():
    answers = [["7", "8", "8", "8"], ["1", "2", "3", "1"], ["a", "b", "b", "a"]]
    correct = [[1, 0, 0, 0], [1, 0, 0, 1], [0, 1, 1, 0]]
    np.testing.assert_allclose(maj_at_k(answers, correct, 4), [0, 1, 0.5])  # a tie: half of the leading answers is right
    np.testing.assert_allclose(maj_at_k(answers, correct, 1), [0.25, 0.5, 0.5])  # one voter is pass@1
    np.testing.assert_allclose(maj_at_k(answers, correct, 2), [(0.5 + 0) / 2, (0.5 + 0.5) / 2, 0.5])
    np.testing.assert_allclose(maj_at_k(answers, correct, 3), [0, 1 / 3, 1])  # the fourth sample is no block of three
    with pytest.raises(ValueError, match="k is 5, allowed: 1 to the number of samples, 4"):
        maj_at_k(answers, correct, 5)
    with pytest.raises(ValueError, match="answers have other sizes"):
        maj_at_k(answers[:2], correct, 1)


def test_bootstrap_interval():
    values = np.random.default_rng(0).normal(3.0, 1.0, size=400)
    low, high = bootstrap_interval(values, seed=1)
    error = values.std() / 20
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error + 0.01)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error + 0.01)
    assert bootstrap_interval(values, seed=1) == (low, high) != bootstrap_interval(values, seed=2)
    narrow = bootstrap_interval(values, seed=1, level=0.5)
    assert low < narrow[0] < narrow[1] < high
    assert bootstrap_interval([1.0, 1.0]) == (1.0, 1.0)
    for bad, message in (
        (dict(values=[]), "0 problems"),
        (dict(values=[1.0], level=1.0), "level is 1.0"),
        (dict(values=[1.0], draws=0), "draws 0"),
    ):
        with pytest.raises(ValueError, match=message):
            bootstrap_interval(**bad)


def test_bootstrap_interval_covers():
    generator = np.random.default_rng(0)
    hits = 0
    for trial in range(200):
        low, high = bootstrap_interval(generator.random(60) < 0.4, seed=trial, draws=300)
        hits += low <= 0.4 <= high
    assert 0.88 <= hits / 200 <= 0.99


# ---- a policy whose pass@1 is known: problem i is solved with probability i / 10, greedily from problem 5 on


@jax.jit
def _policy(indices, keys, temperature):
    uniform = jax.vmap(jax.random.uniform)(keys)
    right = jnp.where(temperature == 0, indices >= 5, uniform < indices / 10)
    tokens = jnp.stack([right.astype(jnp.int32), indices, jnp.zeros_like(indices)], axis=1)
    mask = jnp.stack([right | True, right | True, ~right], axis=1)
    zeros = jnp.zeros(tokens.shape)
    return Samples(tokens, mask, right | (indices % 2 == 0), zeros, zeros)


def policy(indices, keys, temperature):
    return _policy(indices, keys, temperature)


def verify(indices, samples):
    return {"correct": jnp.where(indices == 3, jnp.nan, samples.tokens[:, 0])}


def test_evaluate():
    report = evaluate(policy, verify, np.arange(11), samples=400, batch_rows=512, ks=(1, 2), seed=3)
    truth = np.where(np.arange(11) == 3, 0, np.arange(11) / 10)
    error = np.sqrt(np.sum(truth * (1 - truth)) / 400) / 11
    assert report.pass_at_1 == pytest.approx(truth.mean(), abs=4 * error)
    assert report.pass_at_k[1] == pytest.approx(report.pass_at_1, rel=1e-12)
    assert report.pass_at_k[2] == pytest.approx((1 - (1 - truth) ** 2).mean(), abs=8 * error)
    assert report.greedy == 6 / 11 and report.greedy_interval[0] < 6 / 11 < report.greedy_interval[1]
    assert report.interval[0] < report.pass_at_1 < report.interval[1]
    assert report.unscorable == 401  # every response to problem 3
    assert (report.problems, report.samples, report.temperature, report.maj_at_k) == (11, 400, 1.0, None)
    wrong = 1 - np.arange(11) / 10  # those are one token longer; on odd problems they never end
    assert report.length == pytest.approx(2 + wrong.mean(), abs=4 * error) and report.length_max == 3
    assert report.truncated == pytest.approx(wrong[1::2].sum() / 11, abs=4 * error)
    named = report.metrics("held_out/")
    assert named["held_out/pass_at_1"] == report.pass_at_1 and named["held_out/pass_at_2"] == report.pass_at_k[2]
    assert named["held_out/pass_at_1_low"] == report.interval[0] and "held_out/maj_at_1" not in named
    assert all(isinstance(value, (int, float)) for value in named.values())


def test_rows_do_not_depend_on_the_batch_and_shapes_are_one():
    seen = {}

    def recorded(shapes):
        def sample_rows(indices, keys, temperature):
            shapes.add((indices.shape, keys.shape, temperature.shape))
            found = policy(indices, keys, temperature)
            for i, t, key in zip(indices.tolist(), temperature.tolist(), jax.random.key_data(keys).tolist(), strict=True):
                seen.setdefault((i, t), set()).add(tuple(key))
            return found

        return sample_rows

    shapes = [set(), set(), set()]
    one = evaluate(recorded(shapes[0]), verify, [2, 5, 8], samples=5, batch_rows=4)
    keys = {row: set(found) for row, found in seen.items()}
    two = evaluate(recorded(shapes[1]), verify, [2, 5, 8], samples=5, batch_rows=64)
    assert one == two and isinstance(one, Report) and sorted(one.pass_at_k) == [1, 2, 4, 5]
    evaluate(recorded(shapes[2]), verify, [5], samples=5, batch_rows=4)
    assert seen == keys and all(len(found) == (1 if t == 0 else 5) for (_, t), found in keys.items())
    assert shapes == [{((4,),) * 3}, {((64,),) * 3}, {((4,),) * 3}]
    assert evaluate(policy, verify, [2, 5, 8], samples=5, seed=1) != one


def test_majority_and_no_greedy():
    answers = lambda indices, samples: [str(t) for t in np.asarray(samples.tokens)[:, 0]]  # noqa: E731
    report = evaluate(policy, verify, np.arange(4, 11), samples=9, greedy=False, answers=answers, batch_rows=10, ks=(1, 9))
    assert report.greedy is None and report.greedy_interval is None and "greedy" not in report.metrics()
    assert report.maj_at_k[1] == pytest.approx(report.pass_at_1, rel=1e-12)
    assert report.maj_at_k[9] > report.pass_at_1  # most of these problems are solved more often than not
    assert report.metrics("x/")["x/maj_at_9"] == report.maj_at_k[9]


def test_evaluate_ranges():
    with pytest.raises(ValueError, match="found 0 problems"):
        evaluate(policy, verify, [])
    with pytest.raises(ValueError, match=r"ks are \[1, 8\], allowed: 1 to the number of samples, 4"):
        evaluate(policy, verify, [1], ks=[1, 8])
    with pytest.raises(ValueError, match=r"the verifier gives \['correct'\], and no 'solved'"):
        evaluate(policy, verify, [1], correct="solved")


def outcome(right, greedy=None, lengths=None, indices=None, texts=None):
    """What became of samples, written by hand."""
    right = np.asarray(right, bool)
    lengths = np.ones(right.shape, int) if lengths is None else np.asarray(lengths)
    indices = np.arange(len(right)) if indices is None else np.asarray(indices)
    return Outcome(indices, 1.0, right, None if greedy is None else np.asarray(greedy, bool), lengths, np.ones(right.shape, bool), 0, texts)


def test_summaries_have_intervals_and_count_answers():
    """Two of four votes agree on an answer although their texts differ."""
    texts = [["so 4", "hence 4", "5", "6"], ["1", "1", "2", "3"]]
    found = summarize(outcome([[1, 1, 0, 0], [0, 0, 1, 0]], texts=texts), vote=lambda text: text[-1])
    assert found.pass_at_1 == 0.375 and found.interval == found.pass_at_k_interval[1] == found.maj_at_k_interval[1] == (0.25, 0.5)
    assert found.maj_at_k == {1: 0.375, 2: 0.375, 4: 0.5} and found.maj_at_k_interval[4] == (0.0, 1.0)
    assert summarize(outcome([[1, 1, 0, 0]], texts=texts[:1])).maj_at_k[4] == 0.5  # every text is an answer of its own
    assert found.pass_at_k == {1: 0.375, 2: pytest.approx((5 / 6 + 1 / 2) / 2), 4: 1.0} and found.greedy is None
    with pytest.raises(ValueError, match="ks are .5., allowed: 1 to the number of samples, 4"):
        summarize(outcome([[1, 1, 0, 0]]), ks=[5])


def test_accuracy_by_length():
    parts = accuracy_by_length(outcome([[1, 1, 0, 0], [1, 0, 0, 1]], lengths=[[1, 2, 3, 4], [5, 6, 7, 8]]), bins=4)
    assert parts == [
        {"from": a, "to": a + 1, "samples": 2, "right": right} for a, right in zip((1, 3, 5, 7), (1.0, 0.0, 0.5, 0.5), strict=True)
    ]
    assert accuracy_by_length(outcome([[1, 0, 1]], lengths=[[9, 9, 9]])) == [
        {"from": 9, "to": 9, "samples": 3, "right": pytest.approx(2 / 3)}
    ]


def test_compare_is_in_pairs():
    """Problems 1 to 3 are in both; their difficulty, which is large, is in no interval, because each gains the same."""
    first = outcome([[1, 1, 1, 0], [0, 0, 0, 1], [1, 1, 0, 1], [0, 0, 0, 0]], greedy=[1, 1, 0, 0], indices=[1, 2, 3, 9])
    second = outcome([[1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 1]], greedy=[1, 0, 1], indices=[1, 2, 3])
    found = compare(first, second)
    assert found == {
        "problems": 3, "pass_at_1": {"difference": 0.25, "interval": (0.25, 0.25)},
        "greedy": {"difference": 0.0, "interval": found["greedy"]["interval"]}, "better": 3, "worse": 0, "equal": 0,
    }  # fmt: skip
    low, high = found["greedy"]["interval"]
    assert low < 0 < high and "greedy" not in compare(first, outcome([[1, 0]], indices=[9]))
    assert compare(second, first)["worse"] == 3
    with pytest.raises(ValueError, match="no problem is in both"):
        compare(first, outcome([[1]], indices=[7]))
