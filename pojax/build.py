"""From a config to everything that a run needs: tasks, model shapes, mesh, bound programs, learners."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from pojax import binding, models
from pojax import config as configs
from pojax.binding import ConfigError, near
from pojax.learners import Learner, group, supervised
from pojax.learners import state as states
from pojax.learners.services import Source, abstract_arrangement, make_source, processor_of_tables
from pojax.method import bind_method
from pojax.program import Program
from pojax.sharding import Layout, check_batch, make_layout
from pojax.types import LearnerState

FAMILIES = ("group", "supervised")


class Phase(NamedTuple):
    """A stretch of iterations under one method."""

    name: str  # "warm_start" or "method"
    first: int  # iteration at which it begins
    learner: Learner


class Job(NamedTuple):
    """A config made runnable."""

    config: dict[str, Any]
    source: Source  # the training split
    tasks: Mapping[str, Any]  # {split: Task}
    model: dict[str, models.DecoderConfig]
    layout: Layout
    phases: tuple[Phase, ...]
    init: Callable[[], LearnerState]

    @property
    def program(self) -> Program:
        return self.phases[-1].learner.program

    @property
    def warm_steps(self) -> int:
        return self.phases[-1].first

    def phase(self, step: int) -> Phase:
        return self.phases[0] if step < self.warm_steps else self.phases[-1]


def build(config: Any, say: Callable[[str], None] = print, devices: Any = None) -> Job:
    """Check a config and make it runnable, on all devices or on those given.

    ConfigError (a ValueError) for every mistake in it, before anything compiles.
    """
    tree = configs.validate(config)
    tasks = make_task(tree)
    warm = tree["warm_start"] if tree["warm_start"] and tree["warm_start"].get("steps") else None
    method = tree["method"]
    _check_family(method, "method", FAMILIES)
    named = tree["sampling"]["processor"]
    processor = binding.find("processor", named, "sampling.processor") if isinstance(named, str) else None
    source = make_source(
        tasks["train"], prompt_tokens=tree["prompt_tokens"], response_tokens=tree["response_tokens"], drop_long=tree["drop_long_prompts"],
        solutions=False, processor=processor, entropy=True, say=say,
    )  # fmt: skip
    program = _bind(tree, method, source, "method", tree["optimizer"], tree["batch_prompts"])
    warm_program = None
    if warm is not None:
        _check_family(warm.get("method", {}), "warm_start.method", ("supervised",))
        optimizer = warm.get("optimizer", tree["optimizer"])
        warm_program = _bind(tree, warm["method"], source, "warm_start.method", optimizer, warm.get("batch_prompts", tree["batch_prompts"]))
    policy = make_model(tree, tasks["train"].tokenizer.vocab_size)
    trained = {r for p in (program, warm_program) if p is not None for u in p.updates for r in u.trains}
    model = {"policy": policy} | ({"value": dataclasses.replace(policy, output="scalar")} if "value" in trained else {})
    programs = [p for p in (program, warm_program) if p is not None]
    if program.processor is not None:
        source = source._replace(processor=processor_of_tables(program.processor))
    source = source.for_names(set().union(*(p.reads for p in programs)), entropy=tree["run"]["diagnostics"])
    layout = make_layout(tree["mesh"], devices)
    for each in programs:
        pieces = max(u.minibatches * u.microbatches for u in each.updates)
        check_batch(layout, each.rows, each.sizes["batch_prompts"], policy, pieces)
    init = lambda: states.init_state(tree["seed"], program, model, layout, warm_program)  # noqa: E731
    abstract = jax.eval_shape(lambda key: states.build_state(key, program, model, warm_program), jax.random.key(0))
    shardings = states.state_shardings(abstract, model, layout)
    phases = []
    first = 0
    if warm is not None and warm_program is not None:
        phases.append(Phase("warm_start", 0, supervised.make_learner(warm_program, model, source, layout, shardings, prefix="warm_start.")))
        first = warm["steps"]
    if program.family == "supervised":
        learner = supervised.make_learner(program, model, source, layout, shardings, first_step=first)
    else:
        learner = group.make_learner(program, model, source, layout, shardings, first_step=first, diagnose=tree["run"]["diagnostics"])
    phases.append(Phase("method", first, learner))
    return Job(tree, source, tasks, model, layout, tuple(phases), init)


def _check_family(method: Mapping[str, Any], at: str, allowed: tuple[str, ...]) -> None:
    family = method.get("family", "group")
    if family not in allowed:
        raise ConfigError(f"{at}.family: found {family!r}, allowed: {', '.join(allowed)}")


def _bind(tree: dict[str, Any], method: Mapping[str, Any], source: Source, at: str, optimizer: Any, prompts: int) -> Program:
    sizes = {"num_prompts": source.size, "batch_prompts": prompts, "response_tokens": source.response_tokens}
    sampling = (
        {f"sampling.{k}": tree["sampling"][k] for k in ("top_k", "top_p", "min_p")} if method.get("family", "group") != "supervised" else {}
    )
    processor = tree["sampling"]["processor"] if sampling and not isinstance(tree["sampling"]["processor"], str) else None
    return bind_method(
        method, sizes=sizes, arrange=abstract_arrangement(source, sizes), default_optimizer=optimizer, at=at, sampling=sampling,
        processor=processor, vocabulary=source.task.tokenizer.vocab_size,
    )  # fmt: skip


def make_task(tree: Mapping[str, Any]) -> Mapping[str, Any]:
    """The three splits of `config.task`; ConfigError for unknown tasks, unknown or missing keywords, and what the task itself refuses."""
    name, keywords = binding.entry(tree["task"], "task")
    return _call(binding.find("tasks", name, "task"), keywords, f"task.{name}")


def make_model(tree: Mapping[str, Any], vocab_size: int) -> models.DecoderConfig:
    """The shape that `config.model` names, with the tokenizer's vocabulary and a context of prompt and response."""
    name, keywords = binding.entry(tree["model"], "model")
    architecture = binding.find("models", name, "model")
    context = tree["prompt_tokens"] + tree["response_tokens"]
    if keywords.get("context", context) < context:
        raise ConfigError(f"model.context: found {keywords['context']}, allowed: at least prompt_tokens + response_tokens = {context}")
    if keywords.get("vocab_size", vocab_size) != vocab_size:
        raise ConfigError(
            f"model.vocab_size: found {keywords['vocab_size']}, allowed: {vocab_size}, the vocabulary of the task's tokenizer"
        )
    fields = [f.name for f in dataclasses.fields(models.DecoderConfig)]
    for key in keywords:
        if key not in fields:
            raise ConfigError(f"model.{key}: {name} has no option {key!r}; {near(key, fields)}")
    try:
        return architecture(**{"context": context, "vocab_size": vocab_size} | keywords)
    except TypeError as error:
        raise ConfigError(f"model: {error}") from error


def _call(function: Callable[..., Any], keywords: dict[str, Any], path: str) -> Any:
    parameters = inspect.signature(function).parameters
    for key in keywords:
        if key not in parameters:
            raise ConfigError(f"{path}.{key}: no keyword {key!r}; {near(key, parameters)}")
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and (key not in keywords or keywords[key] is None):
            raise ConfigError(f"{path}.{key}: needs a value: --config.task.{key}=...")
    return function(**keywords)
