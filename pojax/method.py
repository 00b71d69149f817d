"""From `config.method` to a `Program`: every entry bound to the names that it reads and writes, checked with abstract shapes.

`bind_method` binds in the order in which a step runs: tracker init, curriculum, arrangement, rewards, advantages, updates, copies, tracker
update. What the arrangement gives is found by `jax.eval_shape`, so a wrong name or a wrong shape is an error before anything compiles.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from pojax import binding
from pojax.binding import RESERVED, Bound, ConfigError, bind, near, root
from pojax.method_form import labels, lift, update_dicts
from pojax.program import Output, Program, Term, Update
from pojax.types import Rollout

SERVICES = (
    *("select", "render", "sample", "extend", "verify", "evaluate", "reward", "demonstrate", "cond"),
    *("encode", "environment"),
)
WRITABLE = ("rewards", "token_rewards", "advantages", "keep", "values")  # nouns that a rule may replace
TERM_KEYS = ("scale", "where", "aggregate")


def bind_method(
    method: Mapping[str, Any],
    *,
    sizes: dict[str, int],
    arrange: Callable[[Bound, dict[str, Any]], Rollout],
    default_optimizer: Any,
    at: str = "method",
    sampling: Mapping[str, Any] | None = None,
    processor: Any = None,
    vocabulary: int = 2,
) -> Program:
    """Bind `config.method`.

    sizes: the reserved sizes (num_prompts, batch_prompts, response_tokens). arrange(bound, abstract scope) -> abstract Rollout.
    sampling: {path: number} of the sampler, which takes part in the hyper-parameters. processor: an entry that may read tables.
    vocabulary: the sampler's. ConfigError for every mistake.
    """
    binder = _Binder(dict(sizes), default_optimizer, at)
    return binder.method(lift(method, at), arrange, dict(sampling or {}), processor, vocabulary)


class _Binder:
    """Carries what is known while a method is bound; used once."""

    def __init__(self, sizes: dict[str, int], default_optimizer: Any, at: str) -> None:
        self.sizes, self.default_optimizer, self.at = sizes, default_optimizer, at
        self.known: dict[str, str] = dict.fromkeys(RESERVED, "reserved")
        self.scope: dict[str, Any] = {
            "key": jax.eval_shape(lambda: jax.random.key(0)),
            "step": jax.ShapeDtypeStruct((), jnp.int32),
            **sizes,
        }
        self.numbers: dict[str, Any] = {}
        self.written: dict[str, str] = {}
        self.read: set[str] = set()
        self.outputs: dict[str, Output] = {}
        self.labels: set[str] = {"groups"}
        self.views: dict[str, dict[str, str]] = {}

    # -- the whole method ---------------------------------------------------------------------------------------------------------

    def method(
        self, method: dict[str, Any], arrange: Callable[..., Rollout], sampling: dict[str, Any], processor: Any, vocabulary: int
    ) -> Program:
        at = self.at
        self.numbers |= sampling
        trackers = self._tracker_tables(method.get("trackers") or {})
        bound_processor = self._processor(processor, set(trackers), vocabulary) if processor else None
        curriculum = self._check(
            bind("curricula", method.get("curricula", ("uniform", {})), f"{at}.curricula", self.known, "indices"), "curricula"
        )
        rollout, arrangement = self._arrangement(method, arrange)
        updates = update_dicts(method, self.at)
        heads = self._name_outputs(method, updates)
        lazy = frozenset(self.outputs)
        rewards = self._rules("rewards", method.get("rewards") or [], "rewards", lazy)
        if rewards or "rewards" in self.known:
            self._write("advantages", self.scope["rewards"], f"{at}.advantages")
        advantages = self._rules("advantages", method.get("advantages") or [], "advantages", lazy)
        before = set(self.read & set(self.outputs))
        self._check_views()
        bound = tuple(self._update(u) for u in updates)
        before |= {n for u in bound for n in (*u.outputs, *u.rule_outputs) if self.outputs[n].tree}
        self._check_early_views(before, rollout.fields_abstract)
        self._name_grams(bound)
        updaters = {name: self._tracker_update(name, pair, lazy) for name, pair in trackers.items()}
        bound = tuple(u._replace(gram=f"{u.name}_gram" in self.read) for u in bound)
        after = {n for u in updaters.values() for n in u.names() if n in self.outputs}
        copies = self._copies(method, before | after)
        self._check_unread(trackers)
        views = {root(n) for v in self.views.values() for n in v.values()}
        self.read |= views
        all_names = {n for u in bound for n in u.outputs + u.rule_outputs} | before | after
        used_heads = {self.outputs[n].base for n in all_names} & set(heads)
        if set(heads) - used_heads:
            raise ConfigError(f"{at}.heads.{min(set(heads) - used_heads)}: nothing reads this head")
        return Program(
            family=method.get("family", "group"), curriculum=curriculum, arrangement=arrangement,
            rewards=tuple(rewards), advantages=tuple(advantages), updates=bound, copies=copies,
            trackers={n: (init, updaters[n]) for n, (init, _) in trackers.items()}, heads=heads, views=self.views, outputs=self.outputs,
            before=tuple(sorted(before)), after=tuple(sorted(n for n in after if not self.outputs[n].tree or n not in before)),
            copied_roles=tuple(sorted({self.outputs[n].role for n in before | after if self.outputs[n].tree in copies})),
            numbers=self.numbers, fields=rollout.fields_abstract, sizes=self.sizes, rows=rollout.rows, block=rollout.block,
            reads=frozenset(self.read), processor=bound_processor,
        )  # fmt: skip

    # -- parts, in order ----------------------------------------------------------------------------------------------------------

    def _tracker_tables(self, trackers: Mapping[str, Any]) -> dict[str, tuple[Bound, Any]]:
        bound = {}
        for name, value in trackers.items():
            path = f"{self.at}.trackers.{name}"
            if name in self.known:
                raise ConfigError(f"{path}: {name!r} is found twice (also {self.known[name]}); rename the table")
            function, keywords = binding.entry(value, path)
            tracker = binding.find("trackers", function, path)
            if not (callable(getattr(tracker, "init", None)) and callable(getattr(tracker, "update", None))):
                raise ConfigError(f"{path}: {function!r} is no tracker, allowed: a Tracker(init, update)")
            takes = [binding.signature(f) for f in (tracker.init, tracker.update)]
            allowed = {k for t in takes for k in (*t.hypers, *t.data)}
            for keyword in keywords:
                if keyword not in allowed:
                    raise ConfigError(f"{path}.{keyword}: {function} has no parameter {keyword!r}; {near(keyword, allowed)}")
            own = {k: v for k, v in keywords.items() if k in takes[0].hypers or k in takes[0].data}
            init = binding.bind_function(
                "trackers", tracker.init, f"{function}.init", own, path, dict.fromkeys(self.sizes, "reserved"), (name,), frozenset()
            )
            self.numbers |= init.all_numbers()
            self.scope[name] = self._shape(init, {})
            rest = {k: v for k, v in keywords.items() if k in takes[1].hypers or k in takes[1].data}
            bound[name] = (init, (function, tracker.update, rest))
        self.known |= {name: f"table {self.at}.trackers.{name}" for name in bound}
        return bound

    def _processor(self, value: Any, tables: set[str], vocabulary: int) -> Bound:
        """A processor of the sampler: reads `logits` [n, V], `tokens` [n, T], `position`, the iteration's `step`, and tables."""
        given = {
            "logits": jax.ShapeDtypeStruct((1, vocabulary), jnp.result_type(float)),
            "tokens": jax.ShapeDtypeStruct((1, self.sizes["response_tokens"]), jnp.int32),
            "position": jax.ShapeDtypeStruct((), jnp.int32),
        }
        known = dict.fromkeys(given, "sampler") | {name: self.known[name] for name in (*tables, "step")}
        bound = bind("processor", value, "sampling.processor", known, None)
        self.numbers |= bound.all_numbers()
        self.read |= bound.names() & tables
        shape = getattr(self._shape(bound, self.scope | given), "shape", None)
        if shape != (1, vocabulary):
            raise ConfigError(f"{bound.path}: gives logits of shape {shape} for {(1, vocabulary)}, allowed: the same shape")
        return bound

    def _arrangement(self, method: dict[str, Any], arrange: Callable[..., Any]) -> tuple[Any, Bound]:
        path = f"{self.at}.rollouts"
        if "rollouts" not in method:
            raise ConfigError(f"{path}: a method needs a rollout arrangement")
        known = self.known | dict.fromkeys((*SERVICES, "indices", "budgets"), "service")
        bound = bind("rollouts", method["rollouts"], path, known, None)
        self.numbers |= bound.all_numbers()
        self.read |= bound.names()
        try:
            rollout: Rollout = arrange(bound, dict(self.scope))
        except ConfigError:
            raise
        except Exception as error:  # whatever a rule raises about its inputs is shown as one line with the path
            raise ConfigError(f"{path}: {_one_line(error)}") from error
        fields = jax.eval_shape(lambda r: r.fields(), rollout)
        for name, value in fields.items():
            if name in self.known:
                raise ConfigError(f"{path}: the field {name!r} is found twice (also {self.known[name]})")
            self.known[name] = "rollout"
            self.scope[name] = value
        for name in binding.STRUCTURES:
            self.known[name], self.scope[name] = "rollout", getattr(rollout, name)
        self.labels |= {*rollout.labels, "labels"}
        rows, tokens = rollout.mask.shape

        class Shape(NamedTuple):
            fields_abstract: dict[str, Any]
            rows: int
            block: int

        self.rows, self.tokens, self.block = rows, tokens, rollout.block
        return Shape(fields, rows, rollout.block), bound

    def _name_outputs(self, method: dict[str, Any], updates: list[dict[str, Any]]) -> dict[str, Bound]:
        """Every name that a forward pass could give is known from here on; those that something reads are computed."""
        heads = {}
        for name, value in (method.get("heads") or {}).items():
            path = f"{self.at}.heads.{name}"
            known = {**self.known, "hidden": "head", "logits": "head", "token": "head"}
            heads[name] = bind("heads", value, path, known, None)
            self.numbers |= heads[name].all_numbers()
            self.read |= heads[name].names()
        self.views = {k: dict(v) for k, v in (method.get("views") or {}).items()}
        self.copy_entries = dict(method.get("copies") or {})
        self.copy_entries.setdefault("ref", ("frozen", {}))
        roles = {r for u in updates for r in u["trains"]} | {"policy"}
        bases = (
            {"logprobs": "policy", "entropy": "policy", "log_partition": "policy"}
            | dict.fromkeys(heads, "policy")
            | ({"values": "value"} if "value" in roles else {})
        )
        for tree in ("", "start", *self.copy_entries):
            for view in ("", *self.views):
                for base, role in bases.items():
                    if view and role == "value":
                        continue
                    name = "_".join(part for part in (tree, view, base) if part)
                    if name in self.known:
                        raise ConfigError(
                            f"{self.at}: {name!r} is found twice: {self.known[name]} and the output {base!r} of {tree or 'the ' + role}"
                        )
                    self.outputs[name] = Output(tree, view, role, base)
                    self.known[name] = "output"
                    self.scope[name] = jax.ShapeDtypeStruct((self.rows, self.tokens), jnp.result_type(float))
        return heads

    def _rules(self, stage: str, entries: Any, noun: str, lazy: frozenset[str], at: str | None = None) -> list[Bound]:
        bound = []
        for path, value in zip(labels(entries, at or f"{self.at}.{stage}"), entries, strict=True):
            rule = self._check(bind(stage, value, path, self.known, noun, lazy), stage)
            bound.append(rule)
        return bound

    def _update(self, update: dict[str, Any]) -> Update:
        path, lazy = update["_path"], frozenset(self.outputs)
        outside = dict(self.known), dict(self.scope)  # what the per_minibatch rules write is known to this update alone
        rules = self._rules("per_minibatch", update.get("per_minibatch") or [], "advantages", lazy, f"{path}.per_minibatch")
        if not update.get("losses"):
            raise ConfigError(f"{path}.losses: an update needs at least one loss")
        terms = [self._term(p, v, update, path) for p, v in zip(labels(update["losses"], f"{path}.losses"), update["losses"], strict=True)]
        optimizer = bind(
            "optimizer",
            update.get("optimizer", self.default_optimizer),
            f"{path}.optimizer" if "optimizer" in update else "optimizer",
            {},
            None,
        )
        self.numbers |= optimizer.all_numbers()
        self._try(optimizer, {})
        counts = {k: update.get(k, d) for k, d in (("epochs", 1), ("minibatches", 1), ("microbatches", 1), ("every", 1), ("after", 0))}
        for key, value in counts.items():
            low = 0 if key == "after" else 1
            if not isinstance(value, int) or isinstance(value, bool) or value < low:
                raise ConfigError(f"{path}.{key}: found {value!r}, allowed: an int of {low} or more")
        reads = set().union(*(b.names() for b in rules), *(t.loss.names() | t.aggregate.names() | {root(t.where)} for t in terms))
        reads |= {root(n) for t in terms for kind, n in t.scales if kind == "field"}
        self.read |= reads
        whole = bool(reads & self.labels)
        self._check_split(path, counts, whole)
        loss_outputs = {n for t in terms for n in t.loss.names() if n in self.outputs}
        fixed = {n for t in terms for n in (*t.aggregate.names(), t.where, *(n for kind, n in t.scales if kind == "field"))}
        rule_outputs = {n for n in fixed.union(*(b.names() for b in rules)) if n in self.outputs}
        self.known, self.scope = outside
        return Update(
            update["name"], update["trains"], tuple(rules), tuple(terms), optimizer, **counts, whole=whole,
            outputs=tuple(sorted(loss_outputs)), rule_outputs=tuple(sorted(rule_outputs)),
        )  # fmt: skip

    def _check_split(self, path: str, counts: dict[str, int], whole: bool) -> None:
        units = self.rows // self.block if whole else self.rows
        for key in ("minibatches", "microbatches"):
            if units % counts[key]:
                what = f"{units} blocks of {self.block} rows (something here reads groups or labels)" if whole else f"{units} rows"
                legal = ", ".join(str(n) for n in range(1, units + 1) if units % n == 0)
                raise ConfigError(f"{path}.{key}: {counts[key]} does not divide {what}; allowed: {legal}")
            units //= counts[key]

    def _term(self, path: str, value: Any, update: dict[str, Any], at: str) -> Term:
        name, keywords = binding.entry(value, path)
        reserved = {k: keywords.pop(k) for k in TERM_KEYS if k in keywords}
        loss = bind("losses", (name, keywords), path, self.known, name, frozenset(self.outputs))
        self.numbers |= loss.all_numbers()
        shape = self._shape(
            loss,
            self.scope | {"advantages": jax.ShapeDtypeStruct((self.rows, self.tokens), jnp.result_type(float))}
            if "advantages" in self.known
            else self.scope,
        )
        if not hasattr(shape, "shape") or shape.shape not in ((self.rows,), (self.rows, self.tokens)):
            raise ConfigError(
                f"{path}: the loss has shape {getattr(shape, 'shape', shape)}, "
                f"allowed: [B] = ({self.rows},) or [B, T] = ({self.rows}, {self.tokens})"
            )
        scales, numbers = [], {}
        given = self.scope | {n: jax.ShapeDtypeStruct(shape.shape, jnp.result_type(float)) for n in ("where",)}
        raw = reserved.get("scale", 1.0)
        parts = list(raw) if isinstance(raw, list | tuple) and not binding.is_entry(raw) else [raw]
        for i, part in enumerate(parts):
            where = f"{path}.scale" if len(parts) == 1 else f"{path}.scale.{i}"
            if isinstance(part, str):
                self._require(part, where)
                found = self._field(part, where)
                if found.shape not in ((), (self.rows,), shape.shape):
                    legal = "a number, [B]" + (" or [B, T]" if len(shape.shape) == 2 else ", as the loss")
                    raise ConfigError(f"{where}: {part!r} has shape {found.shape}, allowed: {legal}")
                scales.append(("field", part))
            else:
                numbers[where] = binding.check_number(part, where)
                scales.append(("value", where))
        self.numbers |= numbers
        where = reserved.get("where", "keep")
        if not isinstance(where, str):
            raise ConfigError(f"{path}.where: found {where!r}, allowed: the name of a 0/1 field")
        self._require(where, f"{path}.where")
        if self._field(where, f"{path}.where").shape not in ((self.rows,), (self.rows, self.tokens)):
            raise ConfigError(f"{path}.where: {where!r} has shape {self._field(where, path).shape}, allowed: [B] or [B, T]")
        aggregate = reserved.get("aggregate", update.get("aggregate", "token_mean"))
        aggregate = (aggregate, {}) if isinstance(aggregate, str) else aggregate
        place = f"{path}.aggregate" if "aggregate" in reserved else f"{at}.aggregate"
        bound = bind("aggregate", aggregate, place, self.known | {"where": "term"}, None, frozenset(self.outputs))
        self.numbers |= bound.all_numbers()
        weights = self._shape(bound, given)
        if getattr(weights, "shape", None) != shape.shape:
            raise ConfigError(
                f"{place}: gives coefficients of shape {getattr(weights, 'shape', weights)}, allowed: {shape.shape}, as the loss {name}"
            )
        return Term(path.removeprefix(f"{at}.losses."), loss, tuple(scales), where, bound, numbers, per_row=len(shape.shape) == 1)

    def _name_grams(self, updates: tuple[Update, ...]) -> None:
        """What trackers alone may read: the products of the gradients of each update's terms, computed where one does."""
        for update in updates:
            name, terms = f"{update.name}_gram", len(update.terms)
            if name in self.known:
                raise ConfigError(f"{self.at}: {name!r} is found twice: {self.known[name]} and the gradients of the update {update.name!r}")
            self.known[name], self.scope[name] = "gradients", jax.ShapeDtypeStruct((terms, terms), jnp.result_type(float))

    def _tracker_update(self, name: str, pair: tuple[Bound, Any], lazy: frozenset[str]) -> Bound:
        init, (function, update, keywords) = pair
        known = self.known | {"table": "tracker"}
        bound = binding.bind_function("trackers", update, f"{function}.update", keywords, init.path, known, (name,), lazy)
        self.numbers |= bound.all_numbers()
        self.read |= bound.names() - {name, "table"}
        shape = self._shape(bound, self.scope | {"table": self.scope[name]})
        # The stub of PyTreeDef has no comparison.
        same = jax.tree.structure(shape) == jax.tree.structure(self.scope[name])  # type: ignore[operator]
        if not same or any(
            (a.shape, a.dtype) != (b.shape, b.dtype) for a, b in zip(jax.tree.leaves(shape), jax.tree.leaves(self.scope[name]), strict=True)
        ):
            raise ConfigError(
                f"{init.path}: update gives {shape}, init gives {self.scope[name]}; they must have the same shapes and dtypes"
            )
        return bound

    def _copies(self, method: dict[str, Any], outputs: set[str]) -> dict[str, Bound]:
        used = {self.outputs[n].tree for n in outputs} - {"", "start"}
        for name in method.get("copies") or {}:
            if name not in used and name != "ref":
                raise ConfigError(f"{self.at}.copies.{name}: nothing reads this copy")
        known = {"copy": "copy", "params": "copy", "step": "reserved"}
        bound = {name: bind("copies", self.copy_entries[name], f"{self.at}.copies.{name}", known, None) for name in sorted(used)}
        for rule in bound.values():
            self.numbers |= rule.all_numbers()
            self._try(rule, {"copy": {}, "params": {}, "step": jnp.int32(0)})
        return bound

    # -- checks -------------------------------------------------------------------------------------------------------------------

    def _require(self, name: str, path: str) -> None:
        if root(name) not in self.known:
            raise ConfigError(f"{path}: nothing provides the field {name!r} here; {near(name, self.known)}")
        self.read.add(root(name))

    def _field(self, name: str, path: str) -> Any:
        """Abstract value of a name or of a path into a table."""
        try:
            return jax.eval_shape(lambda x: binding.look({root(name): x}, name), self.scope[root(name)])
        except (AttributeError, KeyError) as error:
            raise ConfigError(f"{path}: {root(name)!r} has no {name.partition('.')[2]!r}") from error

    def _try(self, bound: Bound, scope: Mapping[str, Any]) -> None:
        """Call a function that gives no array, for the checks of its numbers."""
        for values in binding.trial_values(bound):
            try:
                bound(scope, values)
            except Exception as error:
                raise ConfigError(f"{bound.path}: {_one_line(error)}") from error

    def _shape(self, bound: Bound, scope: Mapping[str, Any]) -> Any:
        """Abstract value of a bound function; its error, whatever it is, as one line naming the entry."""
        scope = {**self.sizes, **scope}
        arrays = {n: scope[n] for n in bound.names() | set(bound.reads.values()) if n in scope and not isinstance(scope[n], int)}
        arrays |= {root(n): scope[root(n)] for n in bound.names() if root(n) in scope and not isinstance(scope[root(n)], int)}
        result = None
        for values in binding.trial_values(bound):
            try:
                result = jax.eval_shape(lambda a, v=values: bound({**self.sizes, **a}, v), arrays)
            except Exception as error:  # a rule's own ValueError, or a shape error of JAX: both name the entry here
                raise ConfigError(f"{bound.path}: {_one_line(error)}") from error
        return result

    def _check(self, bound: Bound, stage: str) -> Bound:
        """Trace a rule and enter what it writes."""
        self.numbers |= bound.all_numbers()
        self.read |= bound.names()
        value = self._shape(bound, self.scope)
        results = value if isinstance(value, tuple) else (value,)
        if len(results) != len(bound.writes) or any(not hasattr(result, "shape") for result in results):
            raise ConfigError(f"{bound.path}: writes {', '.join(bound.writes)} but gives {len(results)} values, allowed: an array for each")
        for name, result in zip(bound.writes, results, strict=True):
            if stage == "curricula":
                if name not in ("indices", "budgets"):
                    raise ConfigError(f"{bound.path}: writes {name!r}, allowed: indices, budgets")
                self.scope[name] = result
                if name == "indices" and result.shape != (self.sizes["batch_prompts"],):
                    raise ConfigError(
                        f"{bound.path}: gives indices of shape {result.shape}, allowed: [P] = ({self.sizes['batch_prompts']},)"
                    )
                continue
            if name in self.known and name not in WRITABLE and name not in self.written:
                raise ConfigError(
                    f"{bound.path}: writes {name!r}, which is given by {self.known[name]}; writable: {', '.join(WRITABLE)} and new names"
                )
            if name in ("rewards", "advantages", "keep", "token_rewards", "values") and result.shape not in (
                (self.rows,),
                (self.rows, self.tokens),
            ):
                raise ConfigError(
                    f"{bound.path}: {name} has shape {result.shape}, allowed: [B] = ({self.rows},) or [B, T] = ({self.rows}, {self.tokens})"
                )
            if not result.shape or result.shape[0] != self.rows:
                raise ConfigError(f"{bound.path}: {name} has shape {result.shape}; a field has a first axis of B = {self.rows} rows")
            self._write(name, result, bound.path)
        return bound

    def _write(self, name: str, value: Any, path: str) -> None:
        self.known[name] = path
        self.scope[name] = value
        self.written[name] = path

    def _check_views(self) -> None:
        for name, view in self.views.items():
            if "tokens" not in view or set(view) - {"tokens", "temperature", "prompt_tokens", "prompt_mask"}:
                raise ConfigError(
                    f"{self.at}.views.{name}: found {sorted(view)}, allowed: tokens (needed), temperature, prompt_tokens, prompt_mask"
                )
            for key, field in view.items():
                self._require(field, f"{self.at}.views.{name}.{key}")

    def _check_early_views(self, before: set[str], fields: Mapping[str, Any]) -> None:
        """Outputs of the start and of copies are taken before any rule runs, so their views can show fields of the rollout only."""
        for name in sorted(before):
            view = self.outputs[name].view
            for key, field in self.views.get(view, {}).items():
                if field not in fields:
                    raise ConfigError(
                        f"{self.at}.views.{view}.{key}: {name!r} is computed before {field!r} is written; "
                        f"allowed: {', '.join(sorted(fields))}"
                    )

    def _check_unread(self, trackers: Mapping[str, Any]) -> None:
        always = {"rewards", "keep"} | (
            set() if self.written.get("advantages", f"{self.at}.advantages") != f"{self.at}.advantages" else {"advantages"}
        )
        for name, path in self.written.items():
            if name not in self.read and name not in always:
                raise ConfigError(f"{path}: nothing reads {name!r}, which is written here; {near(name, self.read)}")
        for name in trackers:
            if name not in self.read:
                raise ConfigError(f"{self.at}.trackers.{name}: nothing reads this table")


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
