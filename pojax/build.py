"""From a config to everything that a run needs: tasks, model shapes, mesh, bound programs, learners."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from pojax import binding, models, pretrained
from pojax import config as configs
from pojax.binding import ConfigError, near
from pojax.learners import Learner, group, supervised
from pojax.learners import state as states
from pojax.learners.services import Source, abstract_arrangement, make_source, processor_of_tables
from pojax.method import bind_method
from pojax.program import Program, Update
from pojax.reward_models import load_reward_models
from pojax.sharding import Layout, check_batch, make_layout
from pojax.tasks import tokenizers
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
    abstract: LearnerState  # shapes, dtypes and shardings of a state
    init: Callable[[], LearnerState]

    @property
    def say(self) -> Callable[[str], None]:
        return self.source.say

    @property
    def program(self) -> Program:
        return self.phases[-1].learner.program

    @property
    def warm_steps(self) -> int:
        return self.phases[-1].first

    def phase(self, step: int) -> Phase:
        return self.phases[0] if step < self.warm_steps else self.phases[-1]


class Subject(NamedTuple):
    """What measuring, exporting and talking to a policy need of a config: no method, no learner."""

    config: dict[str, Any]
    tasks: Mapping[str, Any]  # {split: Task}
    model: dict[str, models.DecoderConfig]
    layout: Layout
    say: Callable[[str], None]

    def abstract_params(self) -> Any:
        """{"policy": shapes, dtypes and shardings of its parameters}."""
        shapes = jax.eval_shape(lambda key: models.init(key, self.model["policy"]), jax.random.key(0))
        shardings = self.layout.params(models.logical_axes(self.model["policy"]), shapes)
        return {"policy": jax.tree.map(lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), shapes, shardings)}


def subject(tree: dict[str, Any], say: Callable[[str], None] = print, devices: Any = None) -> Subject:
    """The tasks, shape and mesh of a config in plain types. ConfigError for mistakes in `task`, `model` and `mesh`."""
    tasks = make_task(tree)
    policy = make_model(tree, tasks["train"].tokenizer, say)
    return Subject(tree, tasks, {"policy": policy}, make_layout(tree["mesh"], devices), say)


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
    layout = make_layout(tree["mesh"], devices)
    width = tree["prompt_tokens"] + tree["response_tokens"]
    source = source._replace(reward_models=load_reward_models(tree.get("reward_models") or {}, tasks["train"], layout, width))
    program = _bind(tree, method, source, "method", tree["optimizer"], tree["batch_prompts"])
    warm_program = None
    if warm is not None:
        _check_family(warm.get("method", {}), "warm_start.method", ("supervised",))
        optimizer = warm.get("optimizer", tree["optimizer"])
        warm_program = _bind(tree, warm["method"], source, "warm_start.method", optimizer, warm.get("batch_prompts", tree["batch_prompts"]))
    policy = make_model(tree, tasks["train"].tokenizer, say)
    trained = {r for p in (program, warm_program) if p is not None for u in p.updates for r in u.trains}
    model = {"policy": policy} | ({"value": dataclasses.replace(policy, output="scalar")} if "value" in trained else {})
    programs = [p for p in (program, warm_program) if p is not None]
    if program.processor is not None:
        source = source._replace(processor=processor_of_tables(program.processor))
    source = source.for_names(set().union(*(p.reads for p in programs)), entropy=tree["run"]["diagnostics"])
    for each in programs:
        pieces = max(u.minibatches * u.microbatches for u in each.updates)
        check_batch(layout, each.rows, each.sizes["batch_prompts"], policy, pieces)
    folder = None if tree["init_from"] else pretrained.folder_of(tree)

    def init() -> LearnerState:
        loaded = None if folder is None else pretrained.load_params(folder, policy, layout)
        return states.init_state(tree["seed"], program, model, layout, warm_program, loaded)

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
    placed = jax.tree.map(lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), abstract, shardings)
    return Job(tree, source, tasks, model, layout, tuple(phases), placed, init)


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
    program = bind_method(
        method, sizes=sizes, arrange=abstract_arrangement(source, sizes), default_optimizer=optimizer, at=at, sampling=sampling,
        processor=processor, vocabulary=source.task.tokenizer.vocab_size,
    )  # fmt: skip
    return program if tree.get("micro_rows") is None else in_pieces(program, tree["micro_rows"])


def in_pieces(program: Program, micro_rows: int) -> Program:
    """The program with every optimiser batch cut into the fewest micro-batches of at most micro_rows rows, where its method says nothing.

    Blocks of rows that must stay together are the least; the numbers of an update do not depend on its micro-batches.
    """

    def cut(update: Update) -> Update:
        rows, unit = program.rows // update.minibatches, program.block if update.whole else 1
        units = rows // unit
        pieces = next(n for n in range(1, units + 1) if units % n == 0 and (rows // n <= micro_rows or n == units))
        return update if update.microbatches > 1 else update._replace(microbatches=pieces)

    return program._replace(updates=tuple(cut(update) for update in program.updates))


def make_task(tree: Mapping[str, Any]) -> Mapping[str, Any]:
    """The three splits of `config.task`, its tokenizer that of `config.model.folder` where the task takes one and none is named.

    ConfigError for unknown tasks, unknown or missing keywords, what the task itself refuses, and a tokenizer that is not the folder's
    where the task has one of its own.
    """
    task, folder = binding.entry(tree["task"], "task"), pretrained.folder_of(tree)

    def takes(name: str) -> bool:
        return "tokenizer" in inspect.signature(binding.find("tasks", name, "task")).parameters

    name, keywords = task if folder is None else pretrained.task_entry(task, folder, takes)
    tasks = _call(binding.find("tasks", name, "task"), keywords, f"task.{name}")
    if folder is not None and not takes(name) and "task" not in keywords:
        own = tasks["train"].tokenizer
        if tokenizers.load(folder).fingerprint() != own.fingerprint():
            raise ConfigError(
                f"task.{name}: has a tokenizer of its own, {own.vocab_size} tokens, which is not that of model.folder {folder}"
            )
    return tasks


def make_model(tree: Mapping[str, Any], tokenizer: tokenizers.Tokenizer, say: Callable[[str], None] = print) -> models.DecoderConfig:
    """The shape of `config.model.folder`, or the one that `config.model` names, with the tokenizer's vocabulary and a context of
    prompt and response where it says nothing else. say: gets a line where the config's sizes are not the folder's.
    """
    name, keywords = binding.entry(tree["model"], "model")
    architecture = binding.find("models", name, "model")
    context, folder = tree["prompt_tokens"] + tree["response_tokens"], pretrained.folder_of(tree)
    keywords.pop("folder", None)
    fields = [f.name for f in dataclasses.fields(models.DecoderConfig)]
    for key in keywords:
        if key not in fields:
            raise ConfigError(f"model.{key}: {name} has no option {key!r}; {near(key, ['folder', *fields])}")
    options = [f.name for f in dataclasses.fields(models.LoRA)]
    for key in keywords["lora"] if isinstance(keywords.get("lora"), Mapping) else ():
        if key not in options:
            raise ConfigError(f"model.lora.{key}: adapters have no option {key!r}; {near(key, options)}")
    try:
        model = architecture(**{"context": context, "vocab_size": tokenizer.vocab_size} | keywords)
    except TypeError as error:
        if folder is None:
            raise ConfigError(f"model: {error}") from error
        model = None  # the config leaves the sizes to the folder
    if folder is not None:
        model = pretrained.shape_of(folder, model, keywords, say)
    if model.context < context:
        raise ConfigError(f"model.context: found {model.context}, allowed: at least prompt_tokens + response_tokens = {context}")
    if model.vocab_size < tokenizer.vocab_size:
        raise ConfigError(
            f"model.vocab_size: found {model.vocab_size}, allowed: at least {tokenizer.vocab_size}, the vocabulary of the task's tokenizer"
        )
    return model


def _call(function: Callable[..., Any], keywords: dict[str, Any], path: str) -> Any:
    parameters = inspect.signature(function).parameters
    for key in keywords:
        if key not in parameters:
            raise ConfigError(f"{path}.{key}: no keyword {key!r}; {near(key, parameters)}")
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and (key not in keywords or keywords[key] is None):
            raise ConfigError(f"{path}.{key}: needs a value: --config.task.{key}=...")
    return function(**keywords)
