"""What a method's objective costs beside its model: `python benchmarks/objectives.py` writes results/objectives.{json,md}.

Forward and backward of everything that a method adds to the model's outputs on [512, 1024] tokens: rewards, advantages, per-minibatch
rules, aggregation and losses, with the gradient to every output. Each is run in turn with PPO-clip on given advantages, and the added
time is the median over rounds of the difference. Rules that sort, cumulate, search or compare all pairs of rows are named, from the
traced program. The model itself never runs here.

    python benchmarks/objectives.py                                  # all configs
    python benchmarks/objectives.py --configs=grpo,bapo --rounds=5
"""

import argparse
import json
import math
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import workload
from experiments import methods
from pojax.binding import hyper_arrays, resolve
from pojax.environment import versions_and_features
from pojax.learners import updates
from pojax.sharding import make_layout

ROWS, TOKENS, PROMPT_TOKENS, GROUP = 512, 1024, 32, 8
RESULTS = pathlib.Path(__file__).parent / "results"
LARGE = ROWS * TOKENS // 8  # elements from which on something is named: what runs over rows alone costs nothing
NAMED = {
    "sort": "sorts",
    "top_k": "sorts",
    "cumsum": "cumulates",
    "cumlogsumexp": "cumulates",
    "cummax": "cumulates",
    "while": "searches",
    "gather": "looks up",  # every token, in a table of its row
}


def abstract(program, rows, tokens):
    """Fields of the rollout at another size: axes of the bound sizes are replaced, others stay."""
    response, prompt = program.fields["mask"].shape[1], program.fields["prompt_mask"].shape[1]

    def resize(x):
        shape = [rows if i == 0 else tokens if n == response else PROMPT_TOKENS if n == prompt else n for i, n in enumerate(x.shape)]
        return jax.ShapeDtypeStruct(tuple(shape), x.dtype)

    return jax.tree.map(resize, program.fields)


def values(fields, rows, tokens, rng):
    """Numbers that make every branch of the methods work: groups of eight, ragged lengths, verdicts, log-probabilities near each other."""
    lengths = rng.integers(tokens // 2, tokens + 1, rows)
    base = -rng.exponential(1.0, (rows, tokens)).astype(np.float32)
    made = {}
    for name, x in fields.items():
        if name in ("components", "labels"):
            continue
        if name == "groups":
            value = np.repeat(np.arange(rows // GROUP), GROUP)
        elif name in ("mask", "keep"):
            value = np.arange(tokens) < lengths[:, None]
        elif name == "lengths":
            value = lengths
        elif name.endswith("logprobs"):
            value = base + rng.normal(0, 0.1, base.shape)
        elif name == "temperature":
            value = np.ones(rows)
        elif x.dtype == bool:
            value = rng.integers(0, 2, x.shape)
        elif jnp.issubdtype(x.dtype, jnp.integer):
            value = rng.integers(0, 8, x.shape)
        elif jnp.issubdtype(x.dtype, jnp.floating):
            value = rng.integers(0, 2, x.shape) if len(x.shape) == 1 else rng.uniform(0, 1, x.shape)
        else:
            continue
        made[name] = jnp.asarray(value, x.dtype)
    return made


def objective_of(program, rows=ROWS, tokens=TOKENS):
    """(function, inputs): loss and gradient of the first update, as a function of outputs, fields and tables."""
    rng = np.random.default_rng(0)
    fields = values(abstract(program, rows, tokens), rows, tokens, rng)
    sizes = program.sizes | {"response_tokens": tokens}
    numbers = resolve(program.numbers, hyper_arrays(program.numbers), jnp.int32(1))
    tables = {name: init(sizes, numbers) for name, (init, _) in program.trackers.items()}
    update = program.updates[0]
    names = {n for u in program.updates for n in (*u.outputs, *u.rule_outputs)} | set(program.before)
    base = fields["old_logprobs"] if "old_logprobs" in fields else -jnp.asarray(rng.exponential(1.0, (rows, tokens)), jnp.float32)
    outputs = {n: base + jnp.asarray(rng.normal(0, 0.1, base.shape), jnp.float32) for n in sorted(names)}
    outputs |= {n: jnp.asarray(rng.uniform(0, 2, base.shape), jnp.float32) for n in sorted(names) if not n.endswith("logprobs")}
    members = [n for n in fields if n not in ("tokens", "mask", "groups")]

    def objective(outputs, fields, tables):
        scope = {**sizes, **tables, "step": jnp.int32(1), "key": jax.random.key(0)}
        context = updates.Context(
            program, {}, make_layout({"data": 1, "fsdp": 1, "tensor": 1}, jax.devices()[:1]), numbers, scope, scope["key"]
        )
        fields = fields | {kind: {n: fields[n] for n in members} for kind in ("components", "labels")}
        early = {n: outputs[n] for n in program.before}
        fields = updates.run_stages(context, {**fields, **jax.lax.stop_gradient(early)})
        fields = {n: v for n, v in fields.items() if n not in program.outputs or program.outputs[n].tree}
        now = {n: outputs[n] for n in {*update.outputs, *update.rule_outputs}}
        batch, coefficients, _ = updates.prepare(update, context, fields, now)
        return updates.total(update, context, batch, now, coefficients)[0]

    return jax.grad(objective), (outputs, fields, tables)


def named(function, inputs):
    """What the program does with tokens beside elementwise work and sums: sorts, cumulates, searches, looks up, compares all pairs.

    Told from shapes, so half the number of tokens must not be the number of rows.
    """
    found = set()

    def does(equation):
        """The label of one operation, or None."""
        name, shapes = equation.primitive.name, [getattr(x.aval, "shape", ()) for x in (*equation.invars, *equation.outvars)]
        if max(map(math.prod, shapes), default=0) < LARGE:
            return None
        if name == "scan":  # a loop over nothing but its counter narrows something down
            return "cumulates" if len(equation.invars) > equation.params["num_consts"] + equation.params["num_carry"] else "searches"
        if name == "pad" and any(interior for _, _, interior in equation.params["padding_config"]):
            return "cumulates"  # how an associative scan puts its halves together
        if any(math.prod(shape) >= 4 * ROWS * TOKENS for shape in shapes):
            return "searches"  # several candidates for every token at once
        if any(shape.count(ROWS) >= 2 for shape in shapes):
            return "compares all pairs"
        return NAMED.get(name)

    def walk(jaxpr):
        for equation in jaxpr.eqns:
            if label := does(equation):
                found.add(label)
            for value in jax.tree.leaves(equation.params, is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr")):
                inner = getattr(value, "jaxpr", value)
                if hasattr(inner, "eqns"):
                    walk(inner)

    walk(jax.make_jaxpr(function)(*inputs).jaxpr)
    return sorted(found)


def clock(compiled, inputs):
    begin = time.perf_counter()
    jax.block_until_ready(compiled(*inputs))
    return time.perf_counter() - begin


def ppo_clip(rows=ROWS, tokens=TOKENS):
    """The yardstick: PPO-clip with given advantages and a token mean."""
    from pojax import losses

    rng = np.random.default_rng(0)
    old = -jnp.asarray(rng.exponential(1.0, (rows, tokens)), jnp.float32)
    inputs = old + 0.1, old, jnp.asarray(rng.normal(size=(rows, 1)), jnp.float32), jnp.ones((rows, tokens), bool)

    def loss(logprobs, old, advantages, mask):
        advantages = jnp.broadcast_to(advantages, logprobs.shape)
        return jnp.sum(losses.aggregations.token_mean(mask) * losses.ppo_clip(logprobs, old, advantages))

    return jax.jit(jax.grad(loss)).lower(*inputs).compile(), inputs


def measure(config, rounds, yardstick):
    """The row of one config."""
    program = methods.bound(config)
    function, inputs = objective_of(program)
    compiled = jax.jit(function).lower(*inputs).compile()
    clock(compiled, inputs)
    clock(*yardstick)
    pairs = [(clock(*yardstick), clock(compiled, inputs)) for _ in range(rounds)]
    small, small_inputs = objective_of(program, workload.ROWS, workload.RESPONSE_TOKENS)
    small = jax.jit(small).lower(*small_inputs).compile()
    clock(small, small_inputs)
    at_w = statistics.median(clock(small, small_inputs) for _ in range(rounds))
    return {
        "ppo_clip_ms": round(1e3 * statistics.median(p for p, _ in pairs), 3),
        "objective_ms": round(1e3 * statistics.median(m for _, m in pairs), 3),
        "added_ms": round(1e3 * statistics.median(m - p for p, m in pairs), 3),
        "at_workload_ms": round(1e3 * at_w, 3),
        "named": named(*objective_of(program, ROWS, TOKENS - 24)),
        "further_passes": len({(program.outputs[n].tree, program.outputs[n].view) for n in program.before + program.after}),
    }


def page(record):
    step = record["step_seconds"]
    lines = [
        "# Cost of the objectives", "",
        f"`python benchmarks/objectives.py`, [{ROWS}, {TOKENS}] tokens, {record['rounds']} rounds in turn with PPO-clip, medians;",
        f"jax {record['versions']['jax']}, {record['versions']['cpu_cores']} cores. Share: at the shape of workload W (64 x 64 tokens),",
        f"of its whole step of {step:.2f} s (results/step.json).", "",
        "| config | added to PPO-clip, ms | PPO-clip, ms | does | share of a step of W | further forward passes |",
        "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name, row in sorted(record["configs"].items(), key=lambda item: -item[1]["added_ms"]):
        share = row["at_workload_ms"] / 1e3 / step
        times = f"{row['added_ms']:.2f} | {row['ppo_clip_ms']:.2f}"
        lines.append(f"| {name} | {times} | {', '.join(row['named'])} | {share:.2%} | {row['further_passes']} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configs", default=",".join(methods.names()))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--results", type=pathlib.Path, default=RESULTS)
    given = parser.parse_args()
    yardstick = ppo_clip()
    features = versions_and_features()
    step = json.loads((RESULTS / "step.json").read_text())["arms"]["pojax, 1 piece"]["step"]["median"]
    record = {"rounds": given.rounds, "versions": {k: features[k] for k in ("jax", "cpu_cores")}, "step_seconds": step, "configs": {}}
    for config in given.configs.split(","):
        try:
            record["configs"][config] = measure(config, given.rounds, yardstick)
        except Exception as error:  # one config must not lose the rows of the others
            print(f"{config}: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        print(config, record["configs"][config], flush=True)
        jax.clear_caches()
    given.results.mkdir(parents=True, exist_ok=True)
    (given.results / "objectives.json").write_text(json.dumps(record, indent=1) + "\n")
    (given.results / "objectives.md").write_text(page(record))


if __name__ == "__main__":
    main()
