"""A bound method as data: its updates, their terms, and the outputs that forward passes must give. `method.py` makes it from a config."""

from typing import Any, NamedTuple

from pojax.binding import Bound


class Output(NamedTuple):
    """A name that a forward pass gives: whose parameters, which tokens, which role, which number per token."""

    tree: str  # "" = the parameters of that moment, "start", or the name of a copy
    view: str  # "" = the rollout's tokens, or the name of a view
    role: str
    base: str


class Term(NamedTuple):
    """One term of the objective: sum(scale * aggregate(where) * loss)."""

    name: str
    loss: Bound
    scales: tuple[tuple[str, str], ...]  # ("value", path) or ("field", name), multiplied
    where: str
    aggregate: Bound
    numbers: dict[str, Any]
    per_row: bool = False  # the loss is [B]


class Update(NamedTuple):
    """One optimiser and what it minimises."""

    name: str
    trains: tuple[str, ...]
    per_minibatch: tuple[Bound, ...]
    terms: tuple[Term, ...]
    optimizer: Bound
    epochs: int
    minibatches: int
    microbatches: int
    every: int
    after: int
    whole: bool  # something reads groups or labels: blocks are shuffled, never cut
    outputs: tuple[str, ...]  # differentiable outputs of the losses
    rule_outputs: tuple[str, ...]  # outputs that the per_minibatch rules read
    gram: bool = False  # a tracker reads `<name>_gram`: products of the gradients of the terms


class Program(NamedTuple):
    """A bound method. Nothing in it is an array."""

    family: str
    curriculum: Bound
    arrangement: Bound
    rewards: tuple[Bound, ...]
    advantages: tuple[Bound, ...]
    updates: tuple[Update, ...]
    copies: dict[str, Bound]
    trackers: dict[str, tuple[Bound, Bound]]
    heads: dict[str, Bound]
    views: dict[str, dict[str, str]]
    outputs: dict[str, Output]  # every output by name
    before: tuple[str, ...]  # outputs of the start of the iteration
    after: tuple[str, ...]  # outputs after the last update, for the trackers
    copied_roles: tuple[str, ...]  # roles that copies hold
    numbers: dict[str, Any]  # path -> number or schedule, of everything
    fields: dict[str, Any]  # name -> ShapeDtypeStruct of the rollout's fields
    sizes: dict[str, int]
    rows: int
    block: int
    reads: frozenset[str]  # every name that something reads
    processor: Bound | None = None  # of the training samples, where the config gives it as an entry
