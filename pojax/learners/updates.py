"""What every family's step is made of: forward passes on demand, rules, and one optimiser's update of a batch.

Normalisation happens once, in advance: `prepare` turns every term's `where` into coefficients over the whole optimiser batch, so that the
loss stays a plain sum and micro-batches, devices and packing cannot change its gradient.
"""

import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from pojax import diagnostics, models
from pojax.binding import Bound, look, root
from pojax.models import lora
from pojax.program import Program, Term, Update
from pojax.sharding import Layout
from pojax.types import Rollout

Arrays = dict[str, Any]
DATA = (
    "prompt_tokens",
    "prompt_mask",
    "tokens",
    "mask",
    "groups",
    "keep",
    "temperature",
    "old_logprobs",
    "ref_logprobs",
)  # travel where they exist


class Context(NamedTuple):
    """What does not change during an iteration."""

    program: Program
    models: dict[str, models.DecoderConfig]  # {role: shape}
    layout: Layout
    values: Arrays  # resolved hyper-parameters
    scope: Arrays  # reserved names and tables
    key: Any  # of this iteration


def fields_of(batch: Rollout) -> Arrays:
    """The rows' fields as one flat dict; `components` and `labels` stand beside their members, for functions that read them whole."""
    return jax.tree.map(jnp.asarray, {**batch.fields(), "components": dict(batch.components), "labels": dict(batch.labels)})


def step_key(key: Any, path: str) -> Any:
    return jax.random.fold_in(key, zlib.crc32(path.encode()))


# -- forward passes ---------------------------------------------------------------------------------------------------------------


def forward(context: Context, trees: Mapping[str, Any], fields: Arrays, names: Iterable[str]) -> Arrays:
    """The named outputs [B, T]; one pass for each (parameters, tokens, role) that a name needs.

    trees: {"" | "start" | copy: {role: params}}, whole ones (see `with_parts`).
    """
    program = context.program
    passes: dict[tuple[str, str, str], list[str]] = {}
    for name in sorted(names):
        output = program.outputs[name]
        passes.setdefault((output.tree, output.view, output.role), []).append(name)
    result: Arrays = {}
    for (tree, view, role), wanted in passes.items():
        given: dict[str, Any] = {
            key: fields.get(program.views[view].get(key, key) if view else key)
            for key in ("prompt_tokens", "prompt_mask", "tokens", "temperature")
        }
        if given["temperature"] is None:
            given["temperature"] = jnp.ones(given["tokens"].shape[:1], jnp.result_type(float))
        bases = {name: program.outputs[name].base for name in wanted}
        heads = {base: _head(program.heads[base], context.values) for base in bases.values() if base in program.heads}
        read = {n for base in heads for n in program.heads[base].names()} & set(fields)
        values = models.token_outputs(
            trees[tree][role], context.models[role],
            given["prompt_tokens"], given["prompt_mask"], given["tokens"], given["temperature"],
            tuple(sorted(set(bases.values()))), heads=heads, fields={n: fields[n] for n in sorted(read)},
        )  # fmt: skip
        result |= {name: values[base] for name, base in bases.items()}
    return result


def _head(bound: Bound, values: Arrays) -> Callable[..., Any]:
    return lambda hidden, logits, token, **fields: bound({"hidden": hidden, "logits": logits, "token": token, **fields}, values)


def forward_in_pieces(context: Context, trees: Mapping[str, Any], fields: Arrays, names: tuple[str, ...], pieces: int) -> Arrays:
    """`forward` without gradient, `pieces` times a part of the rows, so that its memory is that of a micro-batch."""
    if not names:
        return {}
    read = {n for v in context.program.views.values() for n in v.values()} | {n for h in context.program.heads.values() for n in h.names()}
    needed = {n: fields[n] for n in sorted({"prompt_tokens", "prompt_mask", "tokens", "temperature"} | read) if n in fields}
    if pieces == 1:
        return jax.lax.stop_gradient(forward(context, trees, needed, names))
    parts = split(needed, pieces, 1)
    outputs = jax.lax.map(lambda part: forward(context, trees, context.layout.rows(part), names), parts)
    return jax.lax.stop_gradient(join(outputs, 1))


def split(tree: Any, pieces: int, unit: int) -> Any:
    """[B, ...] -> [pieces, B / pieces, ...], units of adjacent rows dealt in turn, so that each device has a share of every piece."""

    def deal(x: Any) -> Any:
        units = x.shape[0] // unit
        return jnp.moveaxis(x.reshape(units // pieces, pieces, unit, *x.shape[1:]), 1, 0).reshape(pieces, -1, *x.shape[1:])

    return jax.tree.map(deal, tree)


def join(tree: Any, unit: int) -> Any:
    """The inverse of `split`."""

    def gather(x: Any) -> Any:
        pieces, rows = x.shape[:2]
        return jnp.moveaxis(x.reshape(pieces, rows // unit, unit, *x.shape[2:]), 0, 1).reshape(pieces * rows, *x.shape[2:])

    return jax.tree.map(gather, tree)


# -- rules ------------------------------------------------------------------------------------------------------------------------


def run_rules(rules: Iterable[Bound], context: Context, fields: Arrays) -> Arrays:
    """Run rules in order; each replaces or adds the fields that it writes."""
    fields = dict(fields)
    for rule in rules:
        value = rule({"key": context.key, **context.scope, **fields}, context.values)
        fields |= zip(rule.writes, value if len(rule.writes) > 1 else (value,), strict=True)
    return fields


def run_stages(context: Context, fields: Arrays) -> Arrays:
    """Rewards, then advantages (which start as the rewards). A row whose reward is not finite could not be scored: it is out."""
    fields = run_rules(context.program.rewards, context, fields)
    if "rewards" in fields:
        rewards = jnp.asarray(fields["rewards"])
        scored = jnp.all(jnp.isfinite(rewards).reshape(rewards.shape[0], -1), axis=1)
        fields["groups"] = jnp.where(scored, fields["groups"], -1)
        fields["keep"] = jnp.where(scored[:, None], fields["keep"], 0)
        fields["rewards"] = jnp.where(scored if rewards.ndim == 1 else scored[:, None], rewards, 0)
        fields["advantages"] = fields["rewards"]
    return run_rules(context.program.advantages, context, fields)


# -- parameters and the part of them that is trained ------------------------------------------------------------------------------


def with_parts(params: Mapping[str, Any], parts: Mapping[str, Any]) -> dict[str, Any]:
    """{role: tree} with the roles of `parts` replaced: by whole trees, or by adapters joined with the base that `params` holds."""
    return {**params, **{role: lora.join(params[role], part) for role, part in parts.items()}}


def parts_of(params: Mapping[str, Any], roles: Iterable[str]) -> dict[str, Any]:
    """{role: what is differentiated, optimised and copied of it}: the tree, or its adapters where it has some."""
    return {role: lora.trainable(params[role]) for role in roles}


# -- one update -------------------------------------------------------------------------------------------------------------------


def prepare(update: Update, context: Context, batch: Arrays, outputs: Arrays) -> tuple[Arrays, list[Any], list[Any]]:
    """Once per optimiser batch, without gradient: per-minibatch rules, advantages as [B, T], and every term's coefficients.

    The last list holds the coefficients without scales that are one number, where the gradients of the terms are wanted apart.
    """
    outputs = jax.lax.stop_gradient(outputs)
    batch = run_rules(update.per_minibatch, context, {**batch, **outputs})
    batch = {name: value for name, value in batch.items() if name not in outputs}
    if "advantages" in batch:
        advantages = jnp.asarray(batch["advantages"])
        batch["advantages"] = jnp.broadcast_to(advantages[:, None] if advantages.ndim == 1 else advantages, batch["mask"].shape)
    fields = {**batch, **outputs}
    coefficients = [jax.lax.stop_gradient(_coefficients(term, context, fields)) for term in update.terms]
    apart = [jax.lax.stop_gradient(_coefficients(term, context, fields, numbers=False)) for term in update.terms] if update.gram else []
    return batch, coefficients, apart


def _coefficients(term: Term, context: Context, fields: Arrays, *, numbers: bool = True) -> Any:
    dtype = jnp.result_type(float)
    scope = {**context.scope, **fields}
    inside, where = fields["groups"] >= 0, jnp.asarray(look(scope, term.where), dtype)
    where = where[:, None] * fields["keep"] if where.ndim == 1 else where
    where = where * inside[:, None]
    if term.per_row:
        where = jnp.max(where, axis=1)
    coefficients = term.aggregate({**scope, "where": where}, context.values)
    for kind, name in term.scales:
        scale = context.values[name] if kind == "value" else look(scope, name)
        if jnp.ndim(scale) == 0 and not numbers:
            continue
        scale = scale[:, None] if jnp.ndim(scale) == 1 and coefficients.ndim == 2 else scale
        coefficients = jnp.where(coefficients != 0, coefficients * scale, 0)  # what does not count may hold NaN
    return coefficients


def total(update: Update, context: Context, batch: Arrays, outputs: Arrays, coefficients: list[Any]) -> tuple[Any, dict[str, Any]]:
    """The objective, a plain sum over terms, rows and tokens, and each term's share of it."""
    scope = {**context.scope, **batch, **outputs}
    shares = {}
    for term, c in zip(update.terms, coefficients, strict=True):
        shares[term.name] = jnp.sum(jnp.where(c != 0, c * term.loss(scope, context.values), 0.0))
    return sum(shares.values()), shares


class Gradients(NamedTuple):
    grads: Any
    batch: Arrays
    outputs: Arrays
    coefficients: list[Any]
    shares: dict[str, Any]
    apart: list[Any]  # coefficients without scales that are one number, where `term_gram` needs them


def gradient(update: Update, context: Context, trained: Any, trees: Mapping[str, Any], batch: Arrays) -> Gradients:
    """Gradient of the objective of one optimiser batch, in one piece or in `microbatches` pieces: the same numbers.

    trained: of `parts_of`, what the gradient is taken of; what else the model is made of stands in trees[""].
    """
    pieces, unit = update.microbatches, context.program.block if update.whole else 1
    current = tuple(n for n in update.outputs if not context.program.outputs[n].tree)
    for_rules = tuple(n for n in update.rule_outputs if not context.program.outputs[n].tree)

    def outputs_of(params: Any, rows: Arrays, names: Iterable[str]) -> Arrays:
        return forward(context, {**trees, "": with_parts(trees[""], params)}, rows, names)

    if pieces == 1:

        def objective(params: Any) -> Any:
            outputs = outputs_of(params, batch, {*current, *for_rules})
            new, coefficients, apart = prepare(update, context, batch, outputs)
            value, shares = total(update, context, new, outputs, coefficients)
            return value, Gradients(None, new, outputs, coefficients, shares, apart)

        grads, rest = jax.grad(objective, has_aux=True)(trained)
        return rest._replace(grads=grads)

    parts = split(batch, pieces, unit)
    seen = jax.lax.map(lambda rows: outputs_of(trained, context.layout.rows(rows), for_rules), parts) if for_rules else {}
    new, coefficients, apart = prepare(update, context, batch, join(seen, unit))

    def piece(carry: Any, xs: Any) -> Any:
        rows, c = context.layout.rows(xs)

        def objective(params: Any) -> Any:
            outputs = outputs_of(params, rows, current)
            value, shares = total(update, context, rows, outputs, c)
            return value, (outputs, shares)

        grads, aux = jax.grad(objective, has_aux=True)(trained)
        return jax.tree.map(jnp.add, carry, grads), aux

    zeros = jax.tree.map(jnp.zeros_like, trained)
    grads, (outputs, shares) = jax.lax.scan(piece, zeros, (split(new, pieces, unit), split(coefficients, pieces, unit)))
    return Gradients(grads, new, join(outputs, unit), coefficients, jax.tree.map(jnp.sum, shares), apart)


def term_gram(update: Update, context: Context, trained: Any, trees: Mapping[str, Any], result: Gradients) -> Any:
    """Products <g_k, g_j> of the gradients of an update's terms [terms, terms], each without the scales that are one number.

    One forward pass, and a backward pass and a tree of gradients for each term: only for trackers that read it.
    """
    names = tuple(n for n in update.outputs if not context.program.outputs[n].tree)
    pieces, unit = update.microbatches, context.program.block if update.whole else 1

    def gradients(rows: Arrays, coefficients: list[Any]) -> Any:
        def shares(params: Any) -> Any:
            outputs = forward(context, {**trees, "": with_parts(trees[""], params)}, rows, names)
            return jnp.stack(list(total(update, context, rows, outputs, coefficients)[1].values()))

        return jax.jacrev(shares)(trained)

    if pieces == 1:
        stacked = gradients(result.batch, result.apart)
    else:
        zeros = jax.tree.map(lambda x: jnp.zeros((len(update.terms), *x.shape), x.dtype), trained)
        parts = split(result.batch, pieces, unit), split(result.apart, pieces, unit)
        stacked, _ = jax.lax.scan(lambda c, xs: (jax.tree.map(jnp.add, c, gradients(*context.layout.rows(xs))), None), zeros, parts)
    flat = [jnp.reshape(x, (len(update.terms), -1)).astype(jnp.result_type(float)) for x in jax.tree.leaves(stacked)]
    return sum(jnp.matmul(x, x.T, precision=jax.lax.Precision.HIGHEST) for x in flat)


def run_update(
    update: Update, context: Context, trained: Any, opt: Any, trees: Mapping[str, Any], fields: Arrays
) -> tuple[Any, Any, Arrays]:
    """Epochs times minibatches of one update -> (trained, optimiser state, metrics); metrics are means over the steps that ran."""
    travels = _travelling(update, context.program, fields)
    order = _order(update, context)
    optimizer = update.optimizer({}, context.values)

    def body(carry: Any, xs: Any) -> Any:
        (trained, state, first), (rows, number) = carry, xs
        here = _with_key_of(context, number)
        batch = travels if update.minibatches == 1 else jax.tree.map(lambda x: x[rows], travels)
        result = gradient(update, here, trained, trees, context.layout.rows(batch))
        finite = jnp.stack([jnp.all(jnp.isfinite(g)) for g in jax.tree.leaves(result.grads)])
        wanted = jnp.any(jnp.stack([jnp.any(c != 0) for c in result.coefficients]))
        ran = wanted & jnp.all(finite)

        def take() -> Any:
            changes, new_state = optimizer.update(result.grads, state, trained)
            return optax.apply_updates(trained, changes), new_state

        # A branch, not a select: the optimiser's pass over parameters and moments is bound by memory, and a select would be another one.
        kept, kept_state = jax.lax.cond(ran, take, lambda: (trained, state))
        metrics = _metrics(update, here, result, first)
        gram = term_gram(update, here, trained, trees, result) if update.gram else None
        seen = result.outputs.get("logprobs")
        return (kept, kept_state, jnp.zeros((), bool)), (metrics, gram, seen, ran, wanted & ~finite)

    (trained, opt, _), (metrics, grams, seen, ran, broken) = jax.lax.scan(
        body, (trained, opt, jnp.ones((), bool)), (order, jnp.arange(order.shape[0]))
    )
    steps = jnp.sum(ran)
    mean = {name: jnp.sum(jnp.where(ran, m, 0.0)) / jnp.maximum(steps, 1) for name, m in metrics.items() if "gap" not in name}
    gaps = {name: jnp.sum(m) for name, m in metrics.items() if "gap" in name}  # nonzero at the first minibatch only
    counts = {"ran": steps, "nonfinite": jnp.sum(broken, axis=0)}
    if update.gram:  # not a metric: the learner hands it to the trackers
        counts["gram"] = jnp.sum(jnp.where(ran[:, None, None], grams, 0.0), axis=0) / jnp.maximum(steps, 1)
    if seen is not None:  # not a metric either: for the sample log
        counts["logprobs"] = last_seen(order, seen, update.minibatches)
    return trained, opt, {f"{update.name}/{k}": v for k, v in {**mean, **gaps, **counts}.items()}


def _with_key_of(context: Context, number: Any) -> Context:
    """The context of one optimiser batch of an update: its rules and losses draw other numbers than those of the batch before."""
    key = jax.random.fold_in(context.key, number)
    return context._replace(key=key, scope={**context.scope, "key": key})


def in_turn(update: Update, context: Context, params: Any, opt: Any, trees: Mapping[str, Any], fields: Arrays) -> tuple[Any, Any, Arrays]:
    """Run an update if it is its turn: from iteration `after` on, whenever (step + 1) % every == 0."""
    trees, trained = {**trees, "": params}, parts_of(params, update.trains)
    if update.every == 1 and update.after == 0:
        trained, opt, metrics = run_update(update, context, trained, opt, trees, fields)
        return with_parts(params, trained), opt, metrics
    step = context.scope["step"]
    turn = (step >= update.after) & ((step + 1) % update.every == 0)
    shapes = jax.eval_shape(lambda: run_update(update, context, trained, opt, trees, fields)[2])
    trained, opt, metrics = jax.lax.cond(
        turn,
        lambda: run_update(update, context, trained, opt, trees, fields),
        lambda: (trained, opt, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)),
    )
    return with_parts(params, trained), opt, metrics


def _travelling(update: Update, program: Program, fields: Arrays) -> Arrays:
    """The fields that one update reads; only they are gathered into minibatches."""
    bounds = (*update.per_minibatch, *(b for t in update.terms for b in (t.loss, t.aggregate)))
    read = (
        set().union(*(b.names() for b in bounds))
        | {root(t.where) for t in update.terms}
        | {root(n) for t in update.terms for _, n in t.scales}
    )
    read |= {n for v in program.views.values() for n in v.values()} | {n for h in program.heads.values() for n in h.names()}
    return {n: jax.tree.map(jnp.asarray, v) for n, v in fields.items() if n in read or n in DATA}


def _order(update: Update, context: Context) -> Any:
    """Row indices of every optimiser batch [epochs * minibatches, rows]; whole blocks are shuffled where groups must stay whole."""
    rows, unit = context.program.rows, context.program.block if update.whole else 1
    if update.minibatches == 1:
        return jnp.zeros((update.epochs, 0), jnp.int32)
    keys = jax.random.split(step_key(context.key, f"shuffle {update.name}"), update.epochs)
    units = jax.vmap(lambda k: jax.random.permutation(k, rows // unit))(keys)
    order = units[..., None] * unit + jnp.arange(unit)
    return order.reshape(update.epochs * update.minibatches, rows // update.minibatches)


def last_seen(order: Any, outputs: Any, minibatches: int) -> Any:
    """[epochs * minibatches, rows, T] -> [B, T]: what the last epoch saw of every row, in the order of the batch."""
    if minibatches == 1:
        return outputs[-1]
    rows = order[-minibatches:].reshape(-1)
    last = outputs[-minibatches:].reshape(rows.shape[0], -1)
    return jnp.zeros_like(last).at[rows].set(last)


def pop_logprobs(updates: Iterable[Update], metrics: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Take the log-probabilities that updates saw out of their metrics: {"logprobs": [B, T]} of the last one that runs every iteration."""
    seen = {u.name: metrics.pop(f"{prefix}{u.name}/logprobs", None) for u in updates}
    every = [seen[u.name] for u in updates if u.every == 1 and u.after == 0 and seen[u.name] is not None]
    return {"logprobs": every[-1]} if every else {}


def _metrics(update: Update, context: Context, result: Gradients, first: Any) -> dict[str, Any]:
    """Scalars of one optimiser batch."""
    metrics = {"loss": sum(result.shares.values()), "gradient_norm": optax.tree.norm(result.grads)}
    if len(update.terms) > 1:
        metrics |= {f"loss/{name}": value for name, value in result.shares.items()}
    batch, outputs = result.batch, result.outputs
    if "logprobs" in outputs and "old_logprobs" in batch:
        keep = batch["keep"] * (batch["groups"] >= 0)[:, None]
        seen = diagnostics.policy_metrics(outputs["logprobs"], batch["old_logprobs"], keep, batch.get("ref_logprobs"))
        metrics |= {name: jnp.where(first, value, 0.0) if "gap" in name else value for name, value in seen.items()}
        metrics |= _clipped(update, context, result, keep)
    if "entropy" in outputs:
        metrics["entropy"] = jnp.sum(outputs["entropy"] * batch["keep"]) / jnp.maximum(jnp.sum(batch["keep"]), 1.0)
    return metrics


def _clipped(update: Update, context: Context, result: Gradients, keep: Any) -> dict[str, Any]:
    """Share of kept tokens whose gradient a surrogate cuts, by the sign of the advantage: what every kind of clipping has in common."""
    metrics: dict[str, Any] = {}
    if "advantages" not in result.batch:
        return metrics
    advantages, count = result.batch["advantages"], jnp.maximum(jnp.sum(keep), 1.0)
    for term in update.terms:
        if not {"logprobs", "old_logprobs", "advantages"} <= term.loss.names():
            continue
        scope = {**context.scope, **result.batch, **result.outputs}
        slope = jax.grad(lambda x, t=term, s=scope: jnp.sum(t.loss({**s, "logprobs": x}, context.values)))(result.outputs["logprobs"])
        for side, sign in (("high", 1.0), ("low", -1.0)):
            metrics[f"clip_fraction_{side}"] = jnp.sum(keep * (slope == 0) * (sign * advantages > 0)) / count
    return metrics
