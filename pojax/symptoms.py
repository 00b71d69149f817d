"""What the numbers of a run warn of, in plain words: rules over the lines of metrics.jsonl.

A rule compares the last tenth of the method's iterations with the first tenth (means; the warm start is left out), so that a noisy
iteration is no symptom. Thresholds stand in the calls below, beside the words that explain them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Symptom", "symptoms"]


class Symptom(NamedTuple):
    """A warning, or a note where it may as well be harmless."""

    kind: str  # name of the rule
    serious: bool
    text: str  # what was seen and what it may mean
    metric: str  # where to look


class Ends(NamedTuple):
    """A metric at the start and at the end of a run."""

    name: str
    first: float
    last: float
    low: float  # of means over windows of a tenth
    high: float


def symptoms(lines: Sequence[Mapping[str, Any]]) -> list[Symptom]:
    """The warnings of a run, serious ones first; none for a run of fewer than 10 iterations of its method."""
    lines = [line for line in lines if "reward" in line or not any(name.startswith("warm_start.") for name in line)]
    if len(lines) < 10:
        return []
    found = [symptom for rule in RULES for symptom in rule(lines)]
    return sorted(found, key=lambda symptom: not symptom.serious)


def _ends(lines: Sequence[Mapping[str, Any]], name: str) -> Ends | None:
    """None where fewer than 10 lines have the metric. `name` is looked for alone and as the metric of an update, `policy/NAME`."""
    for full in (name, *sorted({key for key in lines[-1] if key.endswith(f"/{name}") and not key.startswith(("components/", "time/"))})):
        values = np.array([line[full] for line in lines if line.get(full) is not None], float)
        if len(values) >= 10:
            width = max(len(values) // 10, 3)
            means = np.convolve(values, np.ones(width) / width, "valid")
            return Ends(full, means[0], means[-1], means.min(), means.max())
    return None


def _entropy(lines: Sequence[Mapping[str, Any]]) -> Iterator[Symptom]:
    entropy, reward = _ends(lines, "entropy"), _ends(lines, "reward")
    if entropy and entropy.first > 0 and entropy.last < 0.1 * entropy.first:
        went = f", while the reward went from {reward.first:.3g} to {reward.last:.3g}" if reward else ""
        yield Symptom(
            "entropy collapse", not (reward and reward.last > reward.first), f"Entropy fell from {entropy.first:.3g} to "
            f"{entropy.last:.3g} nats per token{went}. A policy without entropy samples the same answer again and again and stops "
            "exploring. Expected where the task is solved; otherwise lower the learning rate, clip higher, or add an entropy term.",
            entropy.name,
        )  # fmt: skip
    if entropy and entropy.last > 3 * entropy.first and entropy.last > 0.5:
        yield Symptom(
            "entropy rises", True, f"Entropy rose from {entropy.first:.3g} to {entropy.last:.3g} nats per token: the policy is "
            "becoming random. The learning rate or an entropy bonus may be too high.", entropy.name,
        )  # fmt: skip


def _reward(lines: Sequence[Mapping[str, Any]]) -> Iterator[Symptom]:
    reward, validation = _ends(lines, "reward"), _ends(lines, "validation/pass_at_1")
    if reward and reward.high - reward.last > 0.5 * max(reward.high - min(reward.first, reward.low), 1e-6) and reward.high > reward.first:
        yield Symptom(
            "reward collapse", True, f"The mean reward was {reward.high:.3g} at its best and is {reward.last:.3g} at the end: the run lost "
            "more than half of what it had gained. An earlier checkpoint is better; try a smaller learning rate or a KL term.", reward.name,
        )  # fmt: skip
    if reward and validation and reward.last > reward.first and validation.last < validation.first - 0.02:
        yield Symptom(
            "reward without validation", True, f"The training reward rose from {reward.first:.3g} to {reward.last:.3g} while validation "
            f"pass@1 fell from {validation.first:.1%} to {validation.last:.1%}: the reward may be exploited, or the prompts memorised.",
            validation.name,
        )  # fmt: skip


def _length(lines: Sequence[Mapping[str, Any]]) -> Iterator[Symptom]:
    length, truncated = _ends(lines, "length"), _ends(lines, "truncated")
    if length and length.last > 2 * length.first:
        yield Symptom(
            "length explosion", True, f"Responses grew from {length.first:.3g} to {length.last:.3g} tokens on average. Check in the "
            "samples whether the added tokens help; a loss that divides by the length of a response favours long wrong ones.", length.name,
        )  # fmt: skip
    if length and length.last < 0.5 * length.first:
        yield Symptom(
            "length collapse", True, f"Responses shrank from {length.first:.3g} to {length.last:.3g} tokens on average. Check in the "
            "samples whether the policy still works the answer out.", length.name,
        )  # fmt: skip
    if truncated and truncated.last > 0.3:
        yield Symptom(
            "truncated responses", True, f"{truncated.last:.0%} of the responses end at the length limit. What is cut off rarely "
            "counts as right: raise response_tokens, or reward shorter answers.", truncated.name,
        )  # fmt: skip


def _groups(lines: Sequence[Mapping[str, Any]]) -> Iterator[Symptom]:
    groups, reward = _ends(lines, "effective_groups"), _ends(lines, "reward")
    if groups and groups.last < 0.2:
        solved = reward is not None and reward.last > reward.first
        yield Symptom(
            "dead groups", not solved, f"In {1 - groups.last:.0%} of the groups all responses had the same reward at the end. "
            "Methods that compare the responses of a prompt learn nothing from those. "
            + ("Prompts are too easy by now: " if solved else "Prompts are too hard or too easy: ")
            + "choose prompts by pass rate, refill groups, or take more samples of each.", groups.name,
        )  # fmt: skip


def _gap(lines: Sequence[Mapping[str, Any]]) -> Iterator[Symptom]:
    for name in ("sampler_gap", "logprob_gap"):
        gap = _ends(lines, name)
        if gap and gap.high > 0.03:
            yield Symptom(
                "sampler-learner gap", True, f"Sampler and learner disagree by up to {gap.high:.2g} nats per token about the same tokens "
                "of the same parameters. Ratios then are not 1 where nothing was learned. Causes: half precision in one of them, another "
                "temperature, or rows that were sampled several iterations ago.", gap.name,
            )  # fmt: skip
            return


def _updates(lines: Sequence[Mapping[str, Any]]) -> Iterator[Symptom]:
    for name in sorted({key for line in lines for key in line if key.endswith("/skipped_nonfinite")}):
        steps = [line for line in lines if line.get(name)]
        if steps:
            yield Symptom(
                "gradient not finite", True, f"In {len(steps)} of {len(lines)} iterations, the first of them {steps[0]['step']}, updates "
                "were skipped because a gradient was not finite.", name,
            )  # fmt: skip
    name = next((key for key in lines[-1] if key.endswith("/gradient_norm")), "")
    norms = np.array([line[name] for line in lines if line.get(name) is not None], float)
    if len(norms) >= 10 and norms.max() > 20 * np.median(norms) > 0:
        yield Symptom(
            "gradient spikes", False, f"The gradient norm reached {norms.max():.3g}, {norms.max() / np.median(norms):.0f} times its "
            "median: clip it if the curves jump there.", name,
        )  # fmt: skip
    clipped = [e for e in (_ends(lines, f"clip_fraction_{side}") for side in ("high", "low")) if e]
    if clipped and sum(e.last for e in clipped) > 0.4:
        yield Symptom(
            "much is clipped", False, f"{sum(e.last for e in clipped):.0%} of the tokens have no gradient because of clipping: steps are "
            "large, or rollouts are reused too often.", clipped[0].name,
        )  # fmt: skip


def _reference(lines: Sequence[Mapping[str, Any]]) -> Iterator[Symptom]:
    kl = _ends(lines, "k3_ref")
    if kl and kl.last > 1:
        yield Symptom(
            "far from the reference", False, f"The KL estimate to the reference reached {kl.last:.3g} nats per token: the policy has left "
            "the model that it started from.", kl.name,
        )  # fmt: skip


def _rows(lines: Sequence[Mapping[str, Any]]) -> Iterator[Symptom]:
    rows = _ends(lines, "rows_in")
    if rows and rows.last < 0.5 * rows.high:
        yield Symptom(
            "rows are out", True, f"Only {rows.last:.3g} of up to {rows.high:.3g} rows count at the end: filtered, not filled, or the "
            "verifier failed for them.", rows.name,
        )  # fmt: skip


RULES: tuple[Callable[[Sequence[Mapping[str, Any]]], Iterator[Symptom]], ...] = (
    _updates, _reward, _entropy, _length, _groups, _gap, _reference, _rows,
)  # fmt: skip
