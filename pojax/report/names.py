"""The names of metrics in words: title, unit and what it means, and the section of the page that shows it."""

from typing import Any

SECTIONS = ("Learning", "Policy", "Update", "Reward components", "Time", "Warm start", "Other")

# By the metric's name, or by its name within its update ("policy/entropy" is "entropy" there): section, title, unit, meaning.
NAMES = {
    "reward": ("Learning", "Reward", "", "mean over the rows that count"),
    "validation/pass_at_1": ("Learning", "Validation pass@1", "share", "share of validation prompts answered right by one sample"),
    "effective_groups": ("Learning", "Groups with a signal", "share", "groups whose responses do not all have the same reward"),
    "entropy": ("Policy", "Entropy", "nats per token", "of the policy that samples"),
    "length": ("Policy", "Response length", "tokens", "mean over the rows that count"),
    "truncated": ("Policy", "Truncated", "share", "responses that end at the length limit"),
    "k3_ref": ("Policy", "KL to the reference", "nats per token", "estimate k3"),
    "loss": ("Update", "Loss", "", "what the step minimises; its value says little, its slope is what counts"),
    "gradient_norm": ("Update", "Gradient norm", "", "before the optimiser"),
    "clip_fraction_high": ("Update", "Clipped from above", "share of tokens", "tokens with a positive advantage that get no gradient"),
    "clip_fraction_low": ("Update", "Clipped from below", "share of tokens", "tokens with a negative advantage that get no gradient"),
    "k3_old": ("Update", "KL to the sampling policy", "nats per token", "estimate k3"),
    "ratio_max": ("Update", "Largest ratio", "", "of learner to sampling policy, over tokens"),
    "logprob_gap": ("Update", "Sampler-learner gap", "nats per token", "how far both disagree about the same tokens before an update"),
    "sampler_gap": ("Update", "Sampler-learner gap at the start", "nats per token", "how far both disagree about the same tokens"),
    "skipped_nonfinite": ("Update", "Skipped updates", "", "steps left out because a gradient was not finite"),
    "tokens_per_second": ("Time", "Tokens per second", "", "response tokens that are learned from"),
    "time/collect": ("Time", "Collecting", "seconds", "sampling and verifying"),
    "time/update": ("Time", "Updating", "seconds", "the train step and reading its metrics"),
}
ORDER = {name: at for at, name in enumerate(NAMES)}


def describe(name: str) -> dict[str, Any]:
    """Of a metric: name, title, unit, meaning, section, and its order on the page."""
    if name.startswith("components/"):
        found = ("Reward components", name.removeprefix("components/"), "", "mean over the rows that count")
    elif name in NAMES:
        found = NAMES[name]
    else:
        update, _, inner = name.removeprefix("warm_start.").partition("/")
        section, title, unit, meaning = NAMES.get(inner, ("Other", name.replace("/", ", ").replace("_", " "), "", ""))
        if inner in ("entropy", "k3_ref"):  # an update's own; the sampling policy's stands under Policy
            section, meaning = "Update", "of the policy that is trained"
        title = title if update == "policy" or section == "Other" else f"{title} ({update})"
        found = ("Warm start" if name.startswith("warm_start.") else section, title, unit, meaning)
    section, title, unit, meaning = found
    at = ORDER.get(name, ORDER.get(name.removeprefix("warm_start.").partition("/")[2], len(ORDER)))
    return dict(name=name, title=title, unit=unit, meaning=meaning, section=section, order=[SECTIONS.index(section), at])
