"""What a config computes, in the order in which it computes it: `python -m pojax.explain --config=configs/bnpo.py`."""

import json
import math
import sys
from typing import Any

import jax

from pojax import models
from pojax.binding import Bound
from pojax.build import Job
from pojax.config import to_json
from pojax.models import lora
from pojax.program import Program, Term, Update


def number(value: Any) -> str:
    """A hyper-parameter as the config gives it."""
    if isinstance(value, tuple):
        function, numbers = value
        return f"{function.__name__}({', '.join(f'{k}={v:g}' for k, v in numbers.items())})"
    return f"{value:g}" if isinstance(value, int | float) else "array"


def call(bound: Bound) -> str:
    """`group_normalize(rewards, groups; epsilon=1e-06, ddof=1)`: what it reads, then its hyper-parameters."""
    data = [
        name if name == parameter else f"{parameter}={name}"
        for parameter, name in bound.reads.items()
        if not (parameter == "components" and bound.weights)
    ]
    hypers = [f"{k}={number(bound.numbers[path])}" for k, path in bound.traced.items()]
    hypers += [f"{field}: {number(bound.numbers[path])}" for fields in bound.weights.values() for field, path in fields.items()]
    hypers += [f"{k}={name}" for k, name in bound.field_hypers.items()] + [f"{k}={call(rule)}" for k, rule in bound.rules.items()]
    hypers += [f"{k}={v!r}" for k, v in bound.static.items() if v is not None]
    return f"{bound.fn.__name__}({'; '.join(filter(None, (', '.join(data), ', '.join(hypers))))})"


def _at(program: Program, bound: Bound, moment: str) -> str:
    """Says under which parameters the outputs that a function reads are taken."""
    seen = [f"{n} under {program.outputs[n].tree or moment}" for n in sorted(bound.names()) if n in program.outputs]
    return f"    [{', '.join(seen)}]" if seen else ""


def _term(term: Term) -> str:
    scales = [number(term.numbers[n]) if kind == "value" else n for kind, n in term.scales]
    aggregate = call(term.aggregate).replace("(where", f"({term.where}", 1)
    return f"    + {' * '.join(scales)} * {aggregate} * {call(term.loss)}"


def _update(program: Program, update: Update) -> list[str]:
    turn = "" if update.every == 1 and update.after == 0 else f", every {update.every} iterations from iteration {update.after} on"
    whole = (
        f"blocks of {program.block} rows kept whole" if update.whole else "rows shuffled" if update.minibatches > 1 else "all rows at once"
    )
    lines = [
        f"update {update.name}: trains {', '.join(update.trains)} with {call(update.optimizer)}{turn}",
        f"  {update.epochs} epochs x {update.minibatches} minibatches of {program.rows // update.minibatches} rows "
        f"x {update.microbatches} micro-batches ({whole})",
    ]
    lines += [f"  {', '.join(rule.writes)} <- {call(rule)}    [per minibatch, current outputs]" for rule in update.per_minibatch]
    return [*lines, "  minimises the sum of", *(_term(term) for term in update.terms)]


def passes(program: Program) -> list[str]:
    """The forward passes of an iteration beyond sampling and the updates' own."""
    lines = []
    for moment, names in (("before the updates", program.before), ("after the updates", program.after)):
        kinds: dict[tuple[str, str, str], list[str]] = {}
        for name in names:
            output = program.outputs[name]
            kinds.setdefault((output.tree or ("start" if moment.startswith("before") else "current"), output.view, output.role), []).append(
                name
            )
        lines += [
            f"{moment}: {role} of {tree}{f' on {view}' if view else ''} for {', '.join(given)}"
            for (tree, view, role), given in kinds.items()
        ]
    for update in program.updates:
        detached = [n for n in update.rule_outputs if not program.outputs[n].tree]
        extra = f", and once more for {', '.join(detached)}" if detached and update.microbatches > 1 else ""
        extra += f", and forward and {len(update.terms)} times backward for {update.name}_gram" if update.gram else ""
        lines.append(f"update {update.name}: forward and backward, {update.epochs} times over all rows{extra}")
    return lines


def explain(program: Program) -> str:
    """The bound program as text."""
    sizes = program.sizes
    lines = [
        f"family {program.family}: {sizes['batch_prompts']} prompts of {sizes['num_prompts']}, "
        f"{program.rows} rows in blocks of {program.block}, up to {sizes['response_tokens']} response tokens"
    ]
    lines += [f"table {name} <- {call(init)}" for name, (init, _) in program.trackers.items()]
    lines += [f"{', '.join(program.curriculum.writes)} <- {call(program.curriculum)}", f"rollout <- {call(program.arrangement)}"]
    lines += [f"logits of the sampler <- {call(program.processor)}"] if program.processor else []
    lines += [f"  {name} {list(x.shape)} {x.dtype}" for name, x in sorted(program.fields.items())]
    lines += [f"{', '.join(rule.writes)} <- {call(rule)}{_at(program, rule, 'start')}" for rule in program.rewards]
    if program.rewards:
        lines.append("advantages <- rewards")
    lines += [f"{', '.join(rule.writes)} <- {call(rule)}{_at(program, rule, 'start')}" for rule in program.advantages]
    lines += [f"view {name}: {', '.join(f'{k} = {v}' for k, v in view.items())}" for name, view in program.views.items()]
    lines += [f"head {name}: {call(head)}" for name, head in program.heads.items()]
    for update in program.updates:
        lines += _update(program, update)
    lines += [f"copy {name} <- {call(rule)}" for name, rule in program.copies.items()]
    lines += [
        f"table {name} <- {call(update)}{_at(program, update, 'the updated policy')}" for name, (_, update) in program.trackers.items()
    ]
    return "\n".join([*lines, "forward passes of an iteration, sampling apart:", *(f"  {line}" for line in passes(program))])


def explain_job(job: Job) -> str:
    """Every phase of a run."""
    parts = [f"== {phase.name}, from iteration {phase.first} ==\n{explain(phase.learner.program)}" for phase in job.phases]
    return "\n\n".join(parts)


def show(job: Job) -> str:
    """What `train --print` says: the resolved config, parameter shapes, batch arithmetic, and the program."""
    lines = ["== config ==", json.dumps(to_json(job.config), indent=1), "", "== parameters =="]
    for role, config in job.model.items():
        shapes = jax.eval_shape(lambda key, c=config: models.init(key, c), jax.random.key(0))
        leaves = jax.tree_util.tree_leaves_with_path(shapes)
        lines += [f"{role}/{'/'.join(str(k.key) for k in path)} {list(x.shape)} {x.dtype}" for path, x in leaves]
        trained = sum(math.prod(x.shape) for x in jax.tree.leaves(lora.trainable(shapes)))
        apart = f", {trained:,} of them trained (adapters)" if config.lora else ""
        lines.append(f"{role}: {sum(math.prod(x.shape) for _, x in leaves):,} parameters{apart}")
    mesh = " x ".join(f"{axis}={size}" for axis, size in job.layout.mesh.shape.items())
    lines += ["", "== batch ==", f"mesh {mesh}: rows in {job.layout.row_shards()} shares"]
    for phase in job.phases:
        program, prompts = phase.learner.program, phase.learner.program.sizes["batch_prompts"]
        tokens = program.rows * (job.config["prompt_tokens"] + job.config["response_tokens"])
        lines.append(
            f"{phase.name}: {prompts} prompts x {program.rows // prompts} = {program.rows} rows, at most {tokens:,} tokens an iteration"
        )
        for u in program.updates:
            size = program.rows // u.minibatches
            lines.append(
                f"  update {u.name}: {u.epochs} x {u.minibatches} optimiser steps of {size} rows "
                f"in {u.microbatches} pieces of {size // u.microbatches}"
            )
    return "\n".join([*lines, "", explain_job(job)])


def main(argv: list[str] | None = None) -> int:
    from pojax import commands
    from pojax.build import build

    return commands.run(lambda: print(explain_job(build(commands.parse(sys.argv[1:] if argv is None else argv, "explain").config))))


if __name__ == "__main__":
    sys.exit(main())
