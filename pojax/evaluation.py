"""How often a policy solves problems: unbiased pass@k, majority votes, and intervals that know which samples share a problem."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float, Int, Key, Shaped

from pojax.types import Samples

__all__ = [
    "Outcome",
    "Report",
    "accuracy_by_length",
    "bootstrap_interval",
    "compare",
    "evaluate",
    "maj_at_k",
    "max_at_k",
    "measure",
    "pass_at_k",
    "summarize",
]

SampleRows = Callable[[Int[np.ndarray, "n"], Key[jax.Array, "n"], Float[np.ndarray, "n"]], Samples]
Verify = Callable[[Int[np.ndarray, "n"], Samples], Mapping[str, Any]]
Answers = Callable[[Int[np.ndarray, "n"], Samples], Sequence[str]]


def pass_at_k(samples: Int[ArrayLike, "..."] | int, correct: Int[ArrayLike, "..."] | int, k: int) -> Float[np.ndarray, "..."] | float:
    """Probability that at least one of k samples is correct, from n samples of which c are: 1 - C(n - c, k) / C(n, k).

    Unbiased for the policy's own pass@k, where 1 - (1 - c / n)^k is not. Arrays are taken entry by entry.
    Raises ValueError for k below 1 or above n, and for c outside 0 to n.
    Source: Codex, arXiv 2107.03374, eq. (1).
    """
    n, c = np.broadcast_arrays(samples, correct)
    if n.size and not 1 <= k <= n.min():
        raise ValueError(f"pass_at_k: k is {k}, allowed: 1 to the number of samples, {n.min()}")
    if np.any((c < 0) | (c > n)):
        raise ValueError(f"pass_at_k: found {c[(c < 0) | (c > n)].flat[0]} correct samples, allowed: 0 to the number of samples")
    missed = np.ones(n.shape)
    for i in range(k):  # C(n - c, k) / C(n, k) as a product of k ratios: no factorial overflows, and it is 0 as soon as one is
        missed *= np.maximum(n - c - i, 0) / (n - i)
    return 1.0 - missed


def max_at_k(rewards: Shaped[ArrayLike, "... samples"], k: int) -> Float[np.ndarray, "..."] | float:
    """Expected largest reward of k samples, from n: sum over i of C(i - 1, k - 1) r_(i) / C(n, k), rewards in ascending order.

    Unbiased for the policy's own max@k; `pass_at_k` where rewards are 0 and 1. Further axes are taken entry by entry.
    Raises ValueError for k below 1 or above n. Source: The Best of N Worlds, arXiv 2510.23393.
    """
    ascending = np.sort(np.asarray(rewards, np.float64), axis=-1)
    n = ascending.shape[-1]
    if not 1 <= k <= n:
        raise ValueError(f"max_at_k: k is {k}, allowed: 1 to the number of samples, {n}")
    rank = np.arange(1, n + 1)
    share = np.full(n, k / n)  # that the i-th is the largest of k
    for m in range(1, k):
        share *= np.maximum(rank - m, 0) / (n - m)
    return ascending @ share


def maj_at_k(
    answers: Sequence[Sequence[str]], correct: Shaped[ArrayLike, "problems samples"] | Sequence[Sequence[int]], k: int
) -> Float[np.ndarray, "problems"]:
    """Share of majority votes of k samples that are correct, per problem.

    Samples vote in consecutive blocks of k; an answer is correct where its first sample in the block is. Where several answers lead, the
    vote counts as the share of them that is correct, which is what drawing one of them would give on average.
    answers: per problem the answer of each sample, as text. Raises ValueError for k below 1 or above the number of samples.
    Source: self-consistency, arXiv 2203.11171.
    """
    correct = np.asarray(correct, bool)
    if not 1 <= k <= correct.shape[1]:
        raise ValueError(f"maj_at_k: k is {k}, allowed: 1 to the number of samples, {correct.shape[1]}")
    if len(answers) != correct.shape[0] or any(len(row) != correct.shape[1] for row in answers):
        raise ValueError(f"maj_at_k: answers have other sizes than correct, {correct.shape[0]} problems of {correct.shape[1]} samples")
    starts = range(0, correct.shape[1] - k + 1, k)
    votes = [[_vote(row[at : at + k], right[at : at + k]) for at in starts] for row, right in zip(answers, correct, strict=True)]
    return np.mean(np.array(votes, float).reshape(len(answers), len(starts)), axis=1)


def _vote(answers: Sequence[str], correct: Shaped[np.ndarray, "k"]) -> float:
    counts: dict[str, int] = {}
    right: dict[str, bool] = {}
    for answer, verdict in zip(answers, correct, strict=True):
        counts[answer] = counts.get(answer, 0) + 1
        right.setdefault(answer, bool(verdict))
    most = max(counts.values())
    leading = [answer for answer, count in counts.items() if count == most]
    return sum(right[answer] for answer in leading) / len(leading)


def bootstrap_interval(
    values: Shaped[ArrayLike, "problems"] | Sequence[float | int], *, seed: int = 0, level: float = 0.95, draws: int = 2000
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean, by drawing problems with replacement.

    values: one per problem (its mean over samples): the samples of a problem are not independent, so they are drawn together.
    Raises ValueError without problems, and for a level outside 0 to 1 or draws below 1.
    Source: Efron, "Bootstrap methods: another look at the jackknife" (1979).
    """
    values = np.asarray(values, float)
    if values.size == 0:
        raise ValueError("bootstrap_interval: found 0 problems, allowed: at least 1")
    if not 0 < level < 1 or draws < 1:
        raise ValueError(f"bootstrap_interval: level is {level} and draws {draws}, allowed: a level between 0 and 1, draws of at least 1")
    generator = np.random.default_rng(seed)
    means = [values[generator.integers(values.size, size=values.size)].mean() for _ in range(draws)]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of every sample: what reports, comparisons and lists of wrong answers are made of."""

    indices: Int[np.ndarray, "problems"]
    temperature: float
    right: Shaped[np.ndarray, "problems samples"]  # accepted by the verifier
    greedy: Shaped[np.ndarray, "problems"] | None  # the same of the response at temperature 0
    lengths: Int[np.ndarray, "problems samples"]
    ended: Shaped[np.ndarray, "problems samples"]
    unscorable: int  # responses whose verdict was not finite
    texts: list[list[str]] | None  # of the samples


@dataclasses.dataclass(frozen=True)
class Report:
    """What an evaluation found. Shares are between 0 and 1; intervals are 95% over problems."""

    problems: int
    samples: int  # per problem, at temperature `temperature`
    temperature: float
    pass_at_1: float
    interval: tuple[float, float]  # of pass_at_1
    pass_at_k: dict[int, float]
    maj_at_k: dict[int, float] | None  # None where no answers were asked for
    greedy: float | None  # pass@1 of the one response at temperature 0
    greedy_interval: tuple[float, float] | None
    length: float  # mean number of tokens of a sample
    length_max: int
    truncated: float  # share of samples that hit the length limit
    unscorable: int  # responses whose verdict was not finite; they count as wrong
    pass_at_k_interval: dict[int, tuple[float, float]]
    maj_at_k_interval: dict[int, tuple[float, float]] | None

    def metrics(self, prefix: str = "") -> dict[str, float]:
        """The numbers by name: pass_at_1 with _low and _high, pass_at_K, maj_at_K, greedy, length, length_max, truncated, unscorable."""
        named = {"pass_at_1": self.pass_at_1, "pass_at_1_low": self.interval[0], "pass_at_1_high": self.interval[1]}
        named |= {f"pass_at_{k}": value for k, value in self.pass_at_k.items()}
        named |= {f"maj_at_{k}": value for k, value in (self.maj_at_k or {}).items()}
        named |= {} if self.greedy is None else {"greedy": self.greedy}
        named |= dict(length=self.length, length_max=self.length_max, truncated=self.truncated, unscorable=self.unscorable)
        return {prefix + name: value for name, value in named.items()}


def evaluate(
    sample_rows: SampleRows,
    verify: Verify,
    indices: Int[ArrayLike, "problems"] | Sequence[int],
    *,
    samples: int = 4,
    temperature: float | int = 1.0,
    greedy: bool = True,
    seed: int = 0,
    batch_rows: int = 256,
    ks: Sequence[int] | None = None,
    answers: Answers | None = None,
    vote: Callable[[str], str] = str,
    correct: str = "correct",
) -> Report:
    """Sample every problem `samples` times, and once greedily, and count what the verifier accepts.

    sample_rows(indices [n], keys [n], temperature [n]) -> Samples and verify(indices [n], samples) -> {component: [n]} always get
    n = batch_rows rows, so they compile once; a row is accepted where the component `correct` is above 0.5, and wrong where it is NaN.
    answers(indices [n], samples) -> each row as text: asks for majority votes, of vote(text).
    The key of a row is made of the seed, the problem and the number of the sample: its response does not depend on batch_rows or on what
    else is asked. ks: of pass@k and maj@k, default the powers of two up to `samples`, and `samples`.
    Raises ValueError without problems or samples, and for a k above the number of samples.
    """
    outcome = measure(
        sample_rows, verify, indices, samples=samples, temperature=temperature, greedy=greedy, seed=seed, batch_rows=batch_rows,
        answers=answers, correct=correct,
    )  # fmt: skip
    return summarize(outcome, ks=ks, seed=seed, vote=vote)


def measure(
    sample_rows: SampleRows,
    verify: Verify,
    indices: Int[ArrayLike, "problems"] | Sequence[int],
    *,
    samples: int,
    temperature: float | int = 1.0,
    greedy: bool = True,
    seed: int = 0,
    batch_rows: int = 256,
    answers: Answers | None = None,
    correct: str = "correct",
) -> Outcome:
    """The verdict, the length and, where `answers` is given, the text of every sample; as `evaluate` says."""
    indices = np.asarray(indices)
    if indices.size == 0 or samples < 1 or batch_rows < 1:
        raise ValueError(
            f"evaluate: found {indices.size} problems, {samples} samples, batches of {batch_rows}, allowed: at least 1 of each"
        )
    number = np.tile(np.arange(samples + greedy), indices.size)  # the last one of a problem is the greedy one
    rows = _Rows(np.repeat(indices, samples + greedy), number, np.where(number == samples, 0.0, temperature))
    verdicts, lengths, ended, texts = _run(sample_rows, verify, rows, seed, batch_rows, answers, correct)
    shape = (indices.size, samples + greedy)
    finite = np.isfinite(verdicts)
    right = (np.where(finite, verdicts, 0.0) > 0.5).reshape(shape)
    return Outcome(
        indices=indices,
        temperature=float(temperature),
        right=right[:, :samples],
        greedy=right[:, samples] if greedy else None,
        lengths=lengths.reshape(shape)[:, :samples],
        ended=ended.reshape(shape)[:, :samples],
        unscorable=int((~finite).sum()),
        texts=None if texts is None else [texts[i : i + samples] for i in range(0, len(texts), samples + greedy)],
    )


def summarize(outcome: Outcome, *, ks: Sequence[int] | None = None, seed: int = 0, vote: Callable[[str], str] = str) -> Report:
    """The report of an outcome. ks: as in `evaluate`; vote(text) -> the answer in it, by which samples vote where there are texts.

    Raises ValueError for a k above the number of samples.
    """
    samples = outcome.right.shape[1]
    ks = _powers(samples) if ks is None else list(ks)
    if any(not 1 <= k <= samples for k in ks):
        raise ValueError(f"evaluate: ks are {ks}, allowed: 1 to the number of samples, {samples}")
    by_problem = outcome.right.mean(axis=1)
    passed = {k: np.asarray(pass_at_k(samples, outcome.right.sum(axis=1), k)) for k in ks}
    voted = None
    if outcome.texts is not None:
        voters = [[vote(text) for text in texts] for texts in outcome.texts]
        voted = {k: maj_at_k(voters, outcome.right, k) for k in ks}

    def intervals(values: Mapping[int, Any]) -> dict[int, tuple[float, float]]:
        return {k: bootstrap_interval(x, seed=seed) for k, x in values.items()}

    return Report(
        problems=outcome.indices.size,
        samples=samples,
        temperature=outcome.temperature,
        pass_at_1=float(by_problem.mean()),
        interval=bootstrap_interval(by_problem, seed=seed),
        pass_at_k={k: float(x.mean()) for k, x in passed.items()},
        maj_at_k=None if voted is None else {k: float(x.mean()) for k, x in voted.items()},
        greedy=None if outcome.greedy is None else float(outcome.greedy.mean()),
        greedy_interval=None if outcome.greedy is None else bootstrap_interval(outcome.greedy, seed=seed),
        length=float(outcome.lengths.mean()),
        length_max=int(outcome.lengths.max()),
        truncated=float(1 - outcome.ended.mean()),
        unscorable=outcome.unscorable,
        pass_at_k_interval=intervals(passed),
        maj_at_k_interval=None if voted is None else intervals(voted),
    )


def accuracy_by_length(outcome: Outcome, *, bins: int = 5) -> list[dict[str, float | int]]:
    """Share of right samples in each of at most `bins` ranges of length that hold about equally many: from, to (tokens), samples, right.

    Samples of one length are in one range.
    """
    lengths, right = outcome.lengths.reshape(-1), outcome.right.reshape(-1)
    tops = np.unique(np.quantile(lengths, np.arange(1, bins + 1) / bins, method="inverted_cdf"))
    place = np.searchsorted(tops, lengths)
    parts = [(lengths[place == i], right[place == i]) for i in range(len(tops))]
    return [{"from": int(x.min()), "to": int(x.max()), "samples": x.size, "right": float(y.mean())} for x, y in parts if x.size]


def compare(first: Outcome, second: Outcome, *, seed: int = 0) -> dict[str, Any]:
    """Differences first - second over the problems that both have, in pairs, with 95% intervals over problems.

    pass_at_1, and greedy where both have it: {difference, interval}; better, worse, equal: numbers of problems by their share of right
    samples. Raises ValueError where no problem is in both.
    """
    common, here, there = np.intersect1d(first.indices, second.indices, return_indices=True)
    if common.size == 0:
        raise ValueError("compare: no problem is in both outcomes, allowed: at least 1")
    gap = first.right[here].mean(axis=1) - second.right[there].mean(axis=1)
    found: dict[str, Any] = {"problems": int(common.size), "pass_at_1": _difference(gap, seed)}
    if first.greedy is not None and second.greedy is not None:
        found["greedy"] = _difference(first.greedy[here].astype(float) - second.greedy[there], seed)
    return found | {"better": int((gap > 0).sum()), "worse": int((gap < 0).sum()), "equal": int((gap == 0).sum())}


def _difference(gaps: Shaped[np.ndarray, "problems"], seed: int) -> dict[str, Any]:
    return {"difference": float(gaps.mean()), "interval": bootstrap_interval(gaps, seed=seed)}


def _powers(samples: int) -> list[int]:
    return sorted({2**i for i in range(samples.bit_length())} | {samples})


@dataclasses.dataclass(frozen=True)
class _Rows:
    """What is to be sampled, one entry per response."""

    problems: Int[np.ndarray, "rows"]
    numbers: Int[np.ndarray, "rows"]  # which sample of its problem
    temperature: Float[np.ndarray, "rows"]


@jax.jit
def _keys(key: Key[jax.Array, ""], problems: Int[jax.Array, "n"], numbers: Int[jax.Array, "n"]) -> Key[jax.Array, "n"]:
    return jax.vmap(lambda problem, number: jax.random.fold_in(jax.random.fold_in(key, problem), number))(problems, numbers)


def _run(
    sample_rows: SampleRows, verify: Verify, rows: _Rows, seed: int, batch: int, answers: Answers | None, correct: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str] | None]:
    """Verdict, length, whether it ended, and answer of every row, in batches of one shape; the last is filled with its last row.

    A batch is judged while the devices sample the next one.
    """
    key, total = jax.random.key(seed), len(rows.problems)
    verdicts, lengths, ended = np.zeros(total), np.zeros(total, int), np.zeros(total, bool)
    texts: list[str] = []

    def judge(new: slice, problems: np.ndarray, found: Samples) -> None:
        count = new.stop - new.start
        components = verify(problems, found)
        if correct not in components:
            raise ValueError(f"evaluate: the verifier gives {sorted(components)}, and no {correct!r}")
        verdicts[new] = np.asarray(components[correct], float)[:count]
        lengths[new] = np.asarray(found.mask).astype(int).sum(axis=1)[:count]
        ended[new] = np.asarray(found.ended)[:count]
        if answers is not None:
            texts.extend(list(answers(problems, found))[:count])

    sampled: tuple[slice, np.ndarray, Samples] | None = None
    for start in range(0, total, batch):
        at = np.minimum(np.arange(start, start + batch), total - 1)
        problems = rows.problems[at].astype(np.int32)
        keys = _keys(key, jnp.asarray(problems), jnp.asarray(rows.numbers[at], jnp.int32))
        found = sample_rows(problems, keys, rows.temperature[at].astype(jnp.result_type(float)))
        if sampled is not None:
            judge(*sampled)
        sampled = slice(start, min(start + batch, total)), problems, found
    if sampled is not None:
        judge(*sampled)
    return verdicts, lengths, ended, None if answers is None else texts
