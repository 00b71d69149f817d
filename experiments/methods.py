"""Every method in one table, from the code: `python -m experiments.methods` writes docs/methods.md.

Title, paper, hyper-parameters, differences of released code and name clashes are the labelled paragraphs of a config's docstring;
functions, tables and arrangement are those of the bound program; learning results are the rows of `experiments.learns`.
"""

import functools
import importlib
import pathlib
import re
import sys
from typing import Any, NamedTuple

from pojax import build
from pojax.binding import Bound
from pojax.program import Program

ROOT = pathlib.Path(__file__).parents[1]
PAGE = ROOT / "docs" / "methods.md"
NO_METHODS = ("common", "presets", "svamp")  # presets, and a method of another config on a data set that has to be downloaded
LABELS = ("Paper", "Code", "Assumed", "Names", "Shown on")
PARAGRAPH = re.compile(rf"\n\s*\n|\n(?=(?:{'|'.join(LABELS)}): )")
TITLE = re.compile(r"(?P<name>.+?) \((?P<paper>[^()]*(?:\([^()]*\)[^()]*)*)\): (?P<change>.+)", re.DOTALL)
STAGES = ("curricula", "rollouts", "rewards", "advantages", "per_minibatch", "losses", "trackers")


class Entry(NamedTuple):
    """What a config's docstring says."""

    config: str  # name of the file
    name: str
    paper: str
    change: str
    notes: dict[str, str]  # by label


def names() -> list[str]:
    """The configs that name a method."""
    return sorted(path.stem for path in (ROOT / "configs").glob("*.py") if path.stem not in (*NO_METHODS, "__init__"))


def entry(config: str) -> Entry:
    """Read a config's docstring; ValueError naming the file and what is missing."""
    doc = importlib.import_module(f"configs.{config}").__doc__ or ""
    paragraphs = [" ".join(p.split()) for p in PARAGRAPH.split(doc.strip())]
    title = TITLE.fullmatch(paragraphs[0])
    if title is None:
        raise ValueError(
            f"configs/{config}.py: the docstring begins {paragraphs[0][:60]!r}, allowed: 'NAME (paper, arXiv id): what it changes'"
        )
    if f"--config=configs/{config}.py" not in doc:
        raise ValueError(f"configs/{config}.py: the docstring does not give the command with --config=configs/{config}.py")
    notes = {label: p.removeprefix(f"{label}: ") for p in paragraphs[1:] for label in LABELS if p.startswith(f"{label}: ")}
    return Entry(config, title["name"], title["paper"], title["change"].strip(), notes)


@functools.cache
def bound(config: str) -> Program:
    """The bound program of a config on its default preset."""
    loaded = importlib.import_module(f"configs.{config}").get_config()
    return build.build(loaded, say=lambda line: None).program


def _functions(bounds: Any) -> list[str]:
    """Names of functions with those that they nest."""
    found = []
    for b in bounds:
        found += [b.fn.__name__, *_functions(b.rules.values())]
    return found


def functions(program: Program) -> dict[str, list[str]]:
    """{stage: names of its functions}, in the order of the program."""
    updates = program.updates
    aggregates = {t.aggregate.fn.__name__: None for u in updates for t in u.terms}
    parts: dict[str, list[Bound]] = dict(
        curricula=[program.curriculum], rollouts=[program.arrangement], rewards=list(program.rewards), advantages=list(program.advantages),
        per_minibatch=[r for u in updates for r in u.per_minibatch], losses=[t.loss for u in updates for t in u.terms],
    )  # fmt: skip
    return {stage: _functions(bounds) for stage, bounds in parts.items()} | {"aggregate": list(aggregates)}


PLAIN = {"curricula": ["uniform"], "rollouts": ["independent"], "rewards": ["weighted_sum"]}


def row(config: str, results: dict[str, str]) -> str:
    """One line of the table."""
    said, program = entry(config), bound(config)
    shown = {stage: found for stage, found in functions(program).items() if found and PLAIN.get(stage) != found}
    what = "; ".join(f"{stage}: {', '.join(f'`{f}`' for f in dict.fromkeys(found))}" for stage, found in shown.items())
    tables = ", ".join(f"`{name}`" for name in program.trackers) or "none"
    code = said.notes.get("Code", "")
    return (
        f"| [{said.name}](../configs/{config}.py) | {said.paper} | {said.change} | {what} | {tables} | {code} | {results.get(config, '')} |"
    )


def page(results: dict[str, str]) -> str:
    """The whole page. results: {config: learning result}."""
    entries = [entry(name) for name in names()]
    head = [
        "# Methods", "",
        f"{len(entries)} configs: methods, forms of methods that have a name of their own, and the runs that both are measured by, made by",
        "`python -m experiments.methods` from the docstrings of `configs/` and the bound programs; learning results are those of",
        "[learns.md](../experiments/results/learns.md). The slots that a method leaves as",
        "they are in GRPO's config (uniform prompts, independent samples, a weighted sum of components) are not listed.", "",
        "| method | paper | what it changes | functions | tables | released code and switches | learns |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    lines = head + [row(e.config, results) for e in entries]
    lines += ["", "## Name clashes", ""]
    lines += [f"- {e.name} (`configs/{e.config}.py`): {e.notes['Names']}" for e in entries if "Names" in e.notes]
    lines += ["", "## What papers leave open and was assumed", ""]
    lines += [f"- {e.name}: {e.notes['Assumed']}" for e in entries if "Assumed" in e.notes]
    lines += ["", "## Hyper-parameters of the papers", ""]
    lines += [f"- {e.name}: {e.notes['Paper']}" for e in entries if "Paper" in e.notes]
    return "\n".join(lines) + "\n"


def main() -> int:
    from experiments import learns

    PAGE.write_text(page(learns.verdicts(learns.read())))
    print(f"wrote {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
