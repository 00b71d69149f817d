"""The services of an arrangement, over a model and a task: inside one compiled program, on the host, or as abstract shapes."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from pojax import models
from pojax.binding import Bound, trial_values
from pojax.learners import updates
from pojax.sampling import Held, extend, sample
from pojax.sharding import Layout
from pojax.tasks import Environment, Tally, Task, encode_prompts, encode_solutions, verify_rows
from pojax.types import Prompts, Rollout, Samples

MOST_ENDS = 8


class Source(NamedTuple):
    """The training split as arrays, and what sampling from it needs. Nothing here changes during a run."""

    task: Task
    prompts: Prompts  # [N, S]
    rows: np.ndarray  # [N] rows of the task (dropped prompts are not among them)
    solutions: tuple[Any, Any] | None  # tokens and mask [N, T], where an arrangement asks for them
    columns: dict[str, Any]  # data-set columns, [N]
    response_tokens: int
    end_tokens: Any
    processor: Callable[..., Any] | None
    entropy: bool
    say: Callable[[str], None]  # where failures of the verifier go
    tally: Tally  # what verification on the host cost
    reward_models: Mapping[str, Callable[..., Any]] = {}  # component: (prompts [n], samples [n]) -> [n]

    def for_names(self, names: set[str], *, entropy: bool) -> "Source":
        """The source with what the named services and fields cost: worked solutions, and the sampler's entropy (or where asked for)."""
        solutions = encode_solutions(self.task, self.response_tokens, self.rows) if "demonstrate" in names else self.solutions
        return self._replace(solutions=solutions, entropy=entropy or "old_entropy" in names)

    @property
    def size(self) -> int:
        return len(self.rows)

    @property
    def on_device(self) -> bool:
        return self.task.verify_tokens is not None and not self.reward_models


def make_source(
    task: Task,
    *,
    prompt_tokens: int,
    response_tokens: int,
    drop_long: bool,
    solutions: bool,
    processor: Any,
    entropy: bool,
    say: Callable[[str], None],
) -> Source:
    """Encode a split once. ValueError for prompts or solutions that are too long."""
    tokens, mask, rows = encode_prompts(task, prompt_tokens, drop_long)
    if len(rows) < task.size:
        say(
            f"task {task.name}/{task.split}: {task.size - len(rows)} of {task.size} prompts are longer than {prompt_tokens} tokens "
            "and were dropped"
        )
    encoded = encode_solutions(task, response_tokens, rows) if solutions else None
    columns = {name: np.asarray(values)[rows] for name, values in task.columns.items()}
    ends = end_tokens(task.tokenizer.ends)
    return Source(task, Prompts(tokens, mask), rows, encoded, columns, response_tokens, ends, processor, entropy, say, Tally())


def end_tokens(ends: Sequence[int]) -> np.ndarray:
    """[8] int32, -1 behind the last one: padded to a fixed number, so that another set of end tokens compiles nothing."""
    if len(ends) > MOST_ENDS:
        raise ValueError(f"tokenizer: {len(ends)} end tokens {tuple(ends)}, allowed: at most {MOST_ENDS}")
    return np.asarray([*ends, *[-1] * (MOST_ENDS - len(ends))], np.int32)


def sampling_controls(values: dict[str, Any]) -> dict[str, Any]:
    """Truncations of the training samples, traced even where the config holds ints."""
    return {
        "top_k": jnp.asarray(values["sampling.top_k"]).astype(jnp.int32),
        "top_p": values["sampling.top_p"],
        "min_p": values["sampling.min_p"],
    }


def processor_of_tables(bound: Bound) -> Callable[..., Any]:
    """A bound processor as a function of its data: (tables and step, hyper-parameters, logits, tokens, position) -> logits."""

    def processor(scope: dict[str, Any], values: dict[str, Any], logits: Any, tokens: Any, position: Any) -> Any:
        return bound({**scope, "logits": logits, "tokens": tokens, "position": position}, values)

    return processor


def training_processor(source: Source, context: updates.Context) -> Partial | None:
    """The processor of the training samples with what it reads: its function is static, its data are traced."""
    bound = context.program.processor
    if source.processor is None or bound is None:
        return None if source.processor is None else Partial(source.processor)
    scope = {name: context.scope[name] for name in sorted(bound.names()) if name in context.scope}
    return Partial(source.processor, scope, {path: context.values[path] for path in bound.all_numbers()})


def verify_on_device(source: Source, indices: Any, samples: Samples) -> dict[str, Any]:
    """Components of rows, in JAX. indices [n] into the source."""
    assert source.task.verify_tokens is not None
    return dict(source.task.verify_tokens(jnp.asarray(source.rows)[indices], samples.tokens, samples.mask))


def verify_on_host(source: Source, indices: Any, samples: Samples, step: int = 0) -> dict[str, Any]:
    """Components of rows by the task's own verifier, NaN where it failed; failures are said, with their text.

    All cores are used where the verifier runs in worker processes. An arrangement reads the verdicts before it goes on, so that nothing
    of a training iteration overlaps with them; an evaluation samples its next batch meanwhile.
    """
    tokens, mask, ended = (np.asarray(x) for x in (samples.tokens, samples.mask, samples.ended))
    components, ok, failures = verify_rows(
        source.task, source.rows[np.asarray(indices)], tokens, mask, ended, step=step, tally=source.tally
    )
    for failure in failures:
        source.say(f"step {step}: {failure}")
    return {n: np.where(ok.reshape((-1,) + (1,) * (v.ndim - 1)), v, np.nan).astype(np.float32) for n, v in components.items()}


class Samplers(NamedTuple):
    """`sample` and `extend` with the model's shape and the mesh filled in: (params, ..., *, settings, hold) -> Samples, or with Held."""

    sample: Callable[..., Any]
    extend: Callable[..., Any]

    def jitted(self) -> "Samplers":
        return Samplers(*(jax.jit(function, static_argnames="hold") for function in self))


def make_samplers(source: Source, layout: Layout, config: models.DecoderConfig) -> Samplers:
    return Samplers(partial(sample_rows, source, layout, config), partial(extend_rows, source, layout, config))


def make_services(
    source: Source, context: updates.Context, params: Any, trees: Any, step: Any, compiled: Samplers | None
) -> dict[str, Any]:
    """The services at given parameters. compiled: jitted samplers where the verifier is on the host; None inside a compiled program."""
    on_host = compiled is not None
    program = context.program
    samplers = compiled or make_samplers(source, context.layout, context.models["policy"])

    def settings() -> dict[str, Any]:  # a supervised method samples nothing and has none of them
        controls = sampling_controls(context.values)
        return dict(end_tokens=source.end_tokens, processor=training_processor(source, context), **controls)

    def render(indices: Any) -> Prompts:
        return jax.tree.map(lambda x: jnp.asarray(x)[indices], source.prompts)

    def draw(keys: Any, prompts: Prompts, *, temperature: Any, limits: Any = None, forced: Any = None, hold: bool = False) -> Any:
        given = dict(temperature=temperature, limits=limits, forced=forced, hold=hold)
        return samplers.sample(params["policy"], keys, prompts, **given, **settings())

    def go_on(
        held: Held, keys: Any, parents: Any, cuts: Any, *, temperature: Any, limits: Any = None, forced: Any = None, hold: bool = False
    ) -> Any:
        given = dict(temperature=temperature, limits=limits, forced=forced, hold=hold)
        return samplers.extend(params["policy"], held, keys, parents, cuts, **given, **settings())

    def verify(indices: Any, samples: Samples) -> dict[str, Any]:
        verdict = verify_on_host(source, indices, samples, int(step)) if on_host else verify_on_device(source, indices, samples)
        verdict = {name: jnp.asarray(value) for name, value in verdict.items()}
        verdict |= {name: score(render(indices), samples) for name, score in source.reward_models.items()}
        return verdict | {name: jnp.asarray(values)[indices] for name, values in source.columns.items()}

    def evaluate(prompts: Prompts, samples: Samples, temperature: Any) -> Any:
        per_prompt = samples.tokens.shape[0] // prompts.tokens.shape[0]
        rows = jax.tree.map(lambda x: jnp.repeat(x, per_prompt, axis=0), prompts)
        outputs = models.token_outputs(
            params["policy"], context.models["policy"], rows.tokens, rows.mask, samples.tokens, temperature, ("logprobs",)
        )
        return outputs["logprobs"]

    def reward(rollout: Rollout) -> Any:
        fields = updates.fields_of(rollout.clean())
        names = {n for b in program.rewards for n in b.names()} & set(program.outputs)
        fields |= updates.forward(context, trees, fields, names)
        return updates.run_rules(program.rewards, context, fields)["rewards"]

    def demonstrate(indices: Any) -> tuple[Any, Any]:
        if source.solutions is None:
            raise ValueError(f"task {source.task.name}: no worked solutions were encoded for this arrangement")
        tokens, mask = (jnp.asarray(x)[indices] for x in source.solutions)
        return tokens, mask

    def eager_cond(predicate: Any, true: Callable[..., Any], false: Callable[..., Any], *operands: Any) -> Any:
        return true(*operands) if bool(predicate) else false(*operands)

    def select(key: Any) -> Any:
        chosen = program.curriculum({**context.scope, "key": key}, context.values, key=key)
        return chosen[program.curriculum.writes.index("indices")] if len(program.curriculum.writes) > 1 else chosen

    return dict(
        select=select, render=render, sample=draw, extend=go_on, verify=verify, evaluate=evaluate, reward=reward, demonstrate=demonstrate,
        cond=eager_cond if on_host else jax.lax.cond, encode=source.task.tokenizer.encode_more, environment=environment_of(source),
    )  # fmt: skip


def environment_of(source: Source) -> Environment:
    """The task's environment for rows of the source; one whose functions raise a ValueError where the task has none."""
    environment = source.task.environment
    if environment is None:

        def missing(*_: Any) -> Any:
            raise ValueError(f"task {source.task.name} has no environment, in which an arrangement could take turns")

        return Environment(missing, missing, missing)
    return environment._replace(reset=lambda indices: environment.reset(jnp.asarray(source.rows)[indices]))


def stamp(rollout: Rollout, step: Any) -> Rollout:
    """The rollout with the learner step that sampled each row: this one, but where the arrangement says another (0 or more)."""
    now = jnp.full(rollout.groups.shape, step, jnp.int32)
    known = rollout.policy_step
    return dataclasses.replace(rollout, policy_step=now if known is None else jnp.where(known >= 0, known, now).astype(jnp.int32))


def sample_rows(
    source: Source, layout: Layout, config: models.DecoderConfig, params: Any, keys: Any, prompts: Prompts, **given: Any
) -> Any:
    """The sampler with rows split over the mesh."""
    prompts = layout.rows(prompts)
    drawn = sample(
        params, config, keys, prompts.tokens, prompts.mask,
        response_tokens=source.response_tokens, entropy=source.entropy, **given,
    )  # fmt: skip
    return _split(layout, drawn)


def extend_rows(
    source: Source, layout: Layout, config: models.DecoderConfig, params: Any, held: Held, keys: Any, parents: Any, cuts: Any, **given: Any
) -> Any:
    """The continuation of held rows, split over the mesh."""
    parents, cuts = layout.rows((parents, cuts))
    return _split(layout, extend(params, config, held, keys, parents, cuts, **given))


def _split(layout: Layout, drawn: Any) -> Any:
    """Rows over the mesh; those of a cache follow them."""
    if isinstance(drawn, Samples):
        return layout.rows(drawn)
    samples, held = drawn
    samples = layout.rows(samples)
    return samples, held._replace(samples=samples, lengths=layout.rows(held.lengths))


def abstract_arrangement(source: Source, sizes: dict[str, int]) -> Callable[[Bound, dict[str, Any]], Rollout]:
    """What the binder calls: the arrangement under `jax.eval_shape`, with services that give zeros of the right shapes."""
    n_prompts, length, dtype = sizes["batch_prompts"], source.response_tokens, jnp.result_type(float)
    width = source.prompts.tokens.shape[1]

    def render(indices: Any) -> Prompts:
        n = indices.shape[0]
        return Prompts(jnp.zeros((n, width), jnp.int32), jnp.ones((n, width), bool))

    def rows(keys: Any, hold: bool, function: str, **settings: Any) -> Any:
        n, forced = keys.shape[0], settings.pop("forced")
        for name, value in settings.items():
            if value is not None and jnp.shape(value) != (n,):
                raise ValueError(f"{function}: {name} has shape {jnp.shape(value)}, allowed: an array [n] of n = {n} rows")
        if forced is not None and (jnp.ndim(forced[0]) != 2 or jnp.shape(forced[0])[0] != n or jnp.shape(forced[1]) != (n,)):
            raise ValueError(f"{function}: forced are tokens [n, F] and counts [n] of n = {n} rows")
        zeros = jnp.zeros((n, length), dtype)
        samples = Samples(zeros.astype(jnp.int32), zeros > 0, jnp.ones(n, bool), zeros, zeros, zeros if source.entropy else None)
        nothing = jnp.zeros((), jnp.int32)
        no: Any = None  # what only the sampler looks at
        return (samples, Held(no, no, samples, jnp.zeros(n, jnp.int32), nothing, nothing)) if hold else samples

    def draw(keys: Any, prompts: Prompts, *, temperature: Any, limits: Any = None, forced: Any = None, hold: bool = False) -> Any:
        return rows(keys, hold, "sample", temperature=temperature, limits=limits, forced=forced)

    def go_on(
        held: Held, keys: Any, parents: Any, cuts: Any, *, temperature: Any, limits: Any = None, forced: Any = None, hold: bool = False
    ) -> Any:
        return rows(keys, hold, "extend", parents=parents, cuts=cuts, temperature=temperature, limits=limits, forced=forced)

    def verify(indices: Any, samples: Samples) -> dict[str, Any]:
        n = indices.shape[0]
        columns = {name: jnp.zeros((n, *np.shape(v)[1:]), np.asarray(v).dtype) for name, v in source.columns.items()}
        shapes = {**source.task.fields, **dict.fromkeys(source.reward_models, ())}
        return {name: jnp.zeros((n, *shape), jnp.float32) for name, shape in shapes.items()} | columns

    services = dict(
        select=lambda key: jnp.zeros(n_prompts, jnp.int32), render=render, sample=draw, extend=go_on, verify=verify,
        evaluate=lambda prompts, samples, temperature: jnp.zeros(samples.tokens.shape, dtype),
        reward=lambda rollout: jnp.zeros(rollout.groups.shape, dtype),
        demonstrate=lambda indices: (jnp.zeros((indices.shape[0], length), jnp.int32), jnp.ones((indices.shape[0], length), bool)),
        cond=jax.lax.cond, encode=source.task.tokenizer.encode_more, environment=environment_of(source),
    )  # fmt: skip

    def arrange(bound: Bound, scope: dict[str, Any]) -> Rollout:
        sizes_only = {k: v for k, v in scope.items() if isinstance(v, int)}
        arrays = {k: v for k, v in scope.items() if not isinstance(v, int)}

        def call(values: dict[str, Any], arrays: dict[str, Any], indices: Any) -> Rollout:
            rollout = bound({"budgets": None, **arrays, **sizes_only, **services, "indices": indices}, values)
            if not isinstance(rollout, Rollout):
                raise ValueError(f"gives {type(rollout).__name__}, allowed: a Rollout")
            return stamp(rollout, 0)

        indices = jax.ShapeDtypeStruct((n_prompts,), jnp.int32)
        return [jax.eval_shape(partial(call, values), arrays, indices) for values in trial_values(bound)][-1]

    return arrange
