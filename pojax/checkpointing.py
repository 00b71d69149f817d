"""Checkpoints of the whole state: asynchronous, atomic, verified by sha256 when they are read.

A checkpoint is one orbax step folder with two items: `state`, every array under its path ("params/policy/embed"), and `facts`, a JSON
record of the config, of (dtype, shape, sha256) of every array, and of its own sha256. Orbax gives a step its final name only when all of
it is written, so a killed save leaves nothing that looks like a checkpoint; but it restores an altered byte without a word.
"""

import contextlib
import gc
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

__all__ = ["Checkpoints", "abstract", "digest", "load_config", "load_params"]

LARGE = 2**31  # bytes of a state of which no second copy is taken in the same memory

Tree = Any
Say = Callable[[str], None]


class _Damaged(Exception):
    """A checkpoint that cannot be trusted: a part is missing, unreadable or altered."""


class _Leaf(NamedTuple):
    """One array of a state as it is stored; typed PRNG keys are stored as the integers they hold."""

    kind: str  # dtype name, "key<fry>" for typed keys
    data: Any  # jax.Array or np.ndarray


# ---- what a state is made of


def _paths(tree: Tree) -> Iterator[tuple[str, Any]]:
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        yield jax.tree_util.keystr(path, simple=True, separator="/"), leaf


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _leaves(state: Tree) -> dict[str, _Leaf]:
    """Path -> leaf. ValueError, naming the path, for anything that could not be restored to what it was."""
    leaves: dict[str, _Leaf] = {}
    for path, leaf in _paths(state):
        # A Python number would come back as an array (another compilation), a string or an object would poison orbax for the process.
        if not isinstance(leaf, (jax.Array, np.ndarray)) or not (
            _is_key(leaf) or jnp.issubdtype(leaf.dtype, np.number) or leaf.dtype == bool
        ):
            raise ValueError(f"state: {path} is {type(leaf).__name__} ({str(leaf)[:40]!r}), allowed: numeric and boolean arrays, PRNG keys")
        if path in leaves:
            raise ValueError(f"state: two arrays have the path {path!r}; no key may contain '/'")
        leaves[path] = _Leaf(str(leaf.dtype), jax.random.key_data(leaf) if _is_key(leaf) else leaf)
    return leaves


def _host(data: Any) -> np.ndarray:
    """The whole array on this host; every process of a run must call it for the same arrays in the same order."""
    if isinstance(data, jax.Array) and not data.is_fully_addressable:
        if data.is_fully_replicated:
            return np.asarray(data.addressable_data(0))
        return np.asarray(multihost_utils.process_allgather(data, tiled=True))
    return np.asarray(data)


def _fingerprint(leaf: _Leaf) -> list:
    """[dtype, shape, sha256 of the bytes in C order]."""
    data = np.ascontiguousarray(_host(leaf.data))  # (turns a scalar into [1]: the shape is taken from the leaf)
    return [leaf.kind, list(leaf.data.shape), hashlib.sha256(data.reshape(-1).view(np.uint8).data).hexdigest()]


def _fingerprints(leaves: dict[str, _Leaf]) -> dict[str, list]:
    return {path: _fingerprint(leaf) for path, leaf in leaves.items()}


def _combine(fingerprints: dict[str, list]) -> str:
    lines = [json.dumps([path, *fingerprints[path]]) for path in sorted(fingerprints)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def digest(state: Tree) -> str:
    """sha256 of a state: two states with the same digest hold the same bits under the same paths.

    digest = sha256 of the lines `["path", "dtype", [shape], "sha256 of the bytes"]` (JSON, sorted by path, joined by newlines).
    Bytes are in C order; typed PRNG keys count as the integers they hold; an array that is spread over devices counts as a whole, so that
    the mesh does not matter. In a run of several processes every process must call it. Raises ValueError for leaves that are not arrays.
    """
    return _combine(_fingerprints(_leaves(state)))


def abstract(state: Tree) -> Tree:
    """The same tree with a `jax.ShapeDtypeStruct` (shape, dtype, sharding) for every array; a numpy array has no sharding."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=getattr(x, "sharding", None)), state)


# ---- one checkpoint folder through orbax


class _NewestAndBest:
    """Orbax's question which checkpoints stay. (Its own BestN forgets the scores of an earlier process.)"""

    def __init__(self, keep: int, scores: dict[int, float]):
        self._keep, self._scores = keep, scores

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        steps = [checkpoint.step for checkpoint in checkpoints]
        stay = set(sorted(steps)[-self._keep :])
        scored = [step for step in steps if step in self._scores]
        if scored:
            stay.add(max(scored, key=lambda step: (self._scores[step], step)))
        return [step in stay for step in steps]


def _open(folder: Path, preserve: _NewestAndBest | None = None) -> ocp.CheckpointManager:
    """A manager of the folder. Only the run that writes it (the one with a rule of what stays) clears what killed saves left."""
    options = ocp.CheckpointManagerOptions(
        preservation_policy=preserve or ocp.checkpoint_managers.preservation_policy.PreserveAll(),
        create=preserve is not None,
        cleanup_tmp_directories=preserve is not None,
    )
    kinds = ocp.type_handlers
    # What is written is nobody else's, or is waited for: another copy of it would double a large state.
    numpy = (np.ndarray, kinds.NumpyHandler(deepcopy_host_arrays=False))
    registry = kinds.create_type_handler_registry(numpy, (jax.Array, kinds.get_type_handler(jax.Array)))
    handlers = {"state": ocp.PyTreeCheckpointHandler(type_handler_registry=registry), "facts": ocp.JsonCheckpointHandler()}
    return ocp.CheckpointManager(folder, options=options, item_handlers=handlers)


def _read_facts(manager: ocp.CheckpointManager, step: int) -> dict:
    try:
        record = manager.restore(step, args=ocp.args.Composite(facts=ocp.args.JsonRestore())).facts
        facts, expected = record["facts"], record["sha256"]
    except (MemoryError, PermissionError):
        raise
    except Exception as error:
        raise _Damaged(f"its record cannot be read ({_one_line(error)})") from error
    if _json_digest(facts) != expected:
        raise _Damaged("its record was altered (sha256 differs)")
    return facts


def _json_digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _read_arrays(manager: ocp.CheckpointManager, step: int, facts: dict, target: dict[str, jax.ShapeDtypeStruct]) -> dict[str, Any]:
    """The arrays named in `target`, laid out as it says and held against their sha256."""
    stored = {path: _stored(leaf) for path, leaf in target.items()}
    item = {path: leaf for path, leaf in stored.items() if leaf.size}
    how = {path: _how(leaf, target[path].sharding) for path, leaf in item.items()}
    args = ocp.args.Composite(state=ocp.args.PyTreeRestore(item=item, restore_args=how, partial_restore=True))
    with _quiet():
        try:
            arrays, reason = dict(manager.restore(step, args=args).state), ""
        except (MemoryError, PermissionError, jax.errors.JaxRuntimeError):
            raise  # no memory, no access: nothing is known about the checkpoint, and setting it aside would restart the run
        except Exception as error:
            arrays, reason = {}, _one_line(error)
        if reason:
            time.sleep(0.2)  # reads that have begun end, and what hangs on them is dropped, while nobody prints it
            gc.collect()
    if reason:
        raise _Damaged(f"its arrays cannot be read ({reason})")
    for path, leaf in stored.items():
        if not leaf.size:
            empty = np.zeros(leaf.shape, leaf.dtype)
            arrays[path] = empty if target[path].sharding is None else jax.device_put(empty, target[path].sharding)
        found = _fingerprint(_Leaf(str(target[path].dtype), arrays[path]))
        if found != facts["leaves"][path]:
            raise _Damaged(f"{path} was altered (sha256 differs)")
        if _is_key(target[path]):
            arrays[path] = jax.random.wrap_key_data(arrays[path], impl=_key_impl(target[path]))
    return arrays


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """When one array cannot be read, orbax drops the reads of the others, and Python prints a page about each that fails as well."""
    hook = sys.unraisablehook
    sys.unraisablehook = lambda _: None
    try:
        yield
    finally:
        sys.unraisablehook = hook


def _key_impl(leaf: jax.ShapeDtypeStruct) -> Any:
    found = []
    jax.eval_shape(lambda key: found.append(jax.random.key_impl(key)), leaf)  # key_impl takes traced keys, but no ShapeDtypeStruct
    return found[0]


def _how(leaf: jax.ShapeDtypeStruct, sharding: Any) -> ocp.RestoreArgs:
    if sharding is None:
        return ocp.RestoreArgs(restore_type=np.ndarray)
    return ocp.ArrayRestoreArgs(sharding=sharding, global_shape=leaf.shape, dtype=leaf.dtype)


def _check_layout(folder: Path, step: int, facts: dict, target: dict[str, Any], roles: set[str] | None = None) -> None:
    """ValueError naming the first array that the checkpoint and the target do not share with equal shape and dtype.

    roles: only what lies below them is compared.
    """
    where = f"checkpoint {folder}/{step}"
    found = {path: entry for path, entry in facts["leaves"].items() if roles is None or _role(path) in roles}
    for path in sorted(target.keys() | found.keys()):
        if path not in found:
            raise ValueError(f"{where}: {path} is not in it; expected {_stored(target[path]).shape} {target[path].dtype}")
        kind, shape, _ = found[path]
        if path not in target:
            raise ValueError(f"{where}: holds {path} {tuple(shape)} {kind}, which the model and config of this run do not have")
        expected = _stored(target[path]).shape
        if (tuple(shape), kind) != (expected, str(target[path].dtype)):
            raise ValueError(f"{where}: {path} is {tuple(shape)} {kind}, expected {expected} {target[path].dtype}")


def _role(path: str) -> str:
    """The role that an array belongs to: "params/policy/embed" -> "params/policy"."""
    return "/".join(path.split("/")[:2])


def _stored(leaf: Any) -> Any:
    """The shape and dtype under which a leaf is stored."""
    return jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf


def _one_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].partition(" See full TensorStore")[0][:200]


# ---- the checkpoints of a run


class Checkpoints:
    """The checkpoints of one run: `save` often, `restore` once at the start, leave the `with` block to wait for the last save.

    keep: how many of the newest are kept, besides the one with the best score. say: gets one line about each that was set aside.
    Raises OSError with one line where the folder cannot be made or written.
    """

    def __init__(self, folder: str | os.PathLike, *, keep: int = 3, say: Say = print):
        if keep < 1:
            raise ValueError(f"checkpoints: keep is {keep}, allowed: 1 or more")
        self._folder, self._say = Path(folder).absolute(), say
        self._pending: tuple[int, Future] | None = None
        # One thread, so that saves stay in order. Several processes must enter orbax's barriers together: there the caller's thread writes.
        self._thread = ThreadPoolExecutor(1, "checkpoint") if jax.process_count() == 1 else None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            probe = self._folder / f".writable-{jax.process_index()}"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise OSError(f"checkpoints: cannot write to {self._folder}: {error.strerror or error}; nothing was changed") from error
        self._scores: dict[int, float] = {}
        self._stays = _NewestAndBest(keep, self._scores)
        self._manager = _open(self._folder, self._stays)
        for step in self._manager.all_steps():
            try:
                score = _read_facts(self._manager, step)["score"]
            except _Damaged:
                continue  # restore says so, if it comes to that checkpoint
            if score is not None:
                self._scores[step] = score

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        try:
            self.wait()
        except OSError as failure:
            if error is None:
                raise
            self._say(str(failure))  # the exception that is on its way says why the run ends
        finally:
            if self._thread is not None:
                self._thread.shutdown()
            self._manager.close()

    def steps(self) -> list[int]:
        """Steps of the finished checkpoints, oldest first."""
        self.wait()
        return sorted(self._manager.all_steps())

    def save(self, step: int, state: Tree, *, config: dict, score: float | int | None = None) -> None:
        """Write the state in the background; only a copy is taken here, so the state may be donated right after.

        A state of 2 GB or more that lives in host memory anyway is written without a copy, and this returns when it is on disk.
        score: higher is better; None or NaN has no rank. Saving the newest step again does nothing: a state is a function of its step.
        Raises ValueError for leaves that are not arrays, a config that is not JSON, a step older than the newest; OSError where the
        save before failed (disk full, folder gone): that checkpoint is missing, those before it are complete.
        """
        self.wait()
        leaves = _leaves(state)
        try:
            config = json.loads(json.dumps(config))
        except (TypeError, ValueError) as error:
            raise ValueError(f"checkpoint {step}: the config is not JSON ({_one_line(error)})") from error
        newest = self._manager.latest_step()
        if newest is not None and step <= newest:
            if step == newest:
                return
            raise ValueError(f"checkpoint: step {step} is older than the newest in {self._folder}, {newest}")
        score = None if score is None or np.isnan(score) else float(score)
        large = self._thread is not None and _large_on_host(leaves)
        copies = leaves if large else _copy(leaves)
        if self._thread is not None:
            self._pending = step, self._thread.submit(self._write, step, copies, config, score)
            if large:
                self.wait()
        else:
            self._guard(step, lambda: self._start(step, copies, config, score))

    def wait(self) -> None:
        """Return when the last save is on disk; OSError if it failed."""
        if self._pending is not None:
            (step, future), self._pending = self._pending, None
            self._guard(step, future.result)
        elif self._thread is None:
            self._guard(None, self._manager.wait_until_finished)

    def restore(self, abstract_state: Tree) -> tuple[Tree, int] | None:
        """The newest checkpoint that is whole, as (state, step), in the shardings of `abstract_state`; None where there is none.

        A damaged one (a part missing, cut short or altered) is renamed to `STEP.damaged`, with a line to `say`, and the one before is used.
        Raises ValueError, changing nothing, where the newest readable one holds other arrays than `abstract_state`.
        """
        self.wait()
        target = dict(_paths(abstract_state))
        steps = sorted(self._manager.all_steps(), reverse=True)
        for step in steps:
            arrays, reason = None, None
            try:
                facts = _read_facts(self._manager, step)
                _check_layout(self._folder, step, facts, target)
                arrays = _read_arrays(self._manager, step, facts, target)
            except _Damaged as error:
                reason = str(error)
            if _everywhere(arrays is not None) and arrays is not None:
                return jax.tree.unflatten(jax.tree.structure(abstract_state), [arrays[path] for path in target]), step
            self._set_aside(step, reason or "another process could not read it")
        if steps:
            self._say(f"no checkpoint in {self._folder} is whole: starting from the beginning")
        return None

    def _set_aside(self, step: int, reason: str) -> None:
        names = [f"{step}.damaged", *(f"{step}.damaged-{i}" for i in range(2, 1000))]
        name = next(name for name in names if not (self._folder / name).exists())
        self._scores.pop(step, None)
        if jax.process_index() == 0:
            (self._folder / str(step)).rename(self._folder / name)
            self._say(f"checkpoint {step} is damaged: {reason}; kept as {self._folder / name}, the one before it is used")
        _everywhere(True)  # nobody lists the folder before it is renamed
        self._manager.reload()

    def _start(self, step: int, leaves: dict[str, _Leaf], config: dict, score: float | None) -> None:
        fingerprints = _fingerprints(leaves)
        facts = dict(step=step, config=config, score=score, sha256=_combine(fingerprints), leaves=fingerprints)
        items = ocp.args.Composite(
            state=ocp.args.PyTreeSave({path: leaf.data for path, leaf in leaves.items() if leaf.data.size}),  # orbax takes no empty arrays
            facts=ocp.args.JsonSave(dict(facts=facts, sha256=_json_digest(facts))),
        )
        if score is not None:
            self._scores[step] = score
        self._manager.save(step, args=items, force=True)

    def _write(self, step: int, leaves: dict[str, _Leaf], config: dict, score: float | None) -> None:
        self._start(step, {path: _Leaf(leaf.kind, np.asarray(leaf.data)) for path, leaf in leaves.items()}, config, score)
        self._manager.wait_until_finished()

    def _guard(self, step: int | None, work: Callable[[], Any]) -> None:
        try:
            work()
        except Exception as error:
            # Orbax keeps the failed step in mind and would refuse it: start again from what is on disk.
            self._manager = _open(self._folder, self._stays)
            name = "the last checkpoint" if step is None else f"checkpoint {step}"
            kept = "the checkpoints before it are complete, nothing else was lost"
            raise OSError(f"{name} could not be written to {self._folder}: {_one_line(error)}; {kept}") from error


def _large_on_host(leaves: dict[str, _Leaf]) -> bool:
    arrays = [leaf.data for leaf in leaves.values() if isinstance(leaf.data, jax.Array)]
    on_host = all(device.platform == "cpu" for x in arrays for device in x.devices())
    return on_host and sum(x.nbytes for x in arrays) >= LARGE


def _copy(leaves: dict[str, _Leaf]) -> dict[str, _Leaf]:
    """The same arrays in buffers of their own, in host memory: started here, finished by whoever reads them."""
    on_device = {path: leaf.data for path, leaf in leaves.items() if isinstance(leaf.data, jax.Array)}
    to_host = {path: x.sharding.with_memory_kind("pinned_host") for path, x in on_device.items()}
    moved = jax.device_put(on_device, to_host)
    return {path: _Leaf(leaf.kind, moved[path] if path in moved else np.array(leaf.data)) for path, leaf in leaves.items()}


def _everywhere(ok: bool) -> bool:
    """True where every process says so: all of them restore the same step."""
    return ok if jax.process_count() == 1 else bool(np.all(multihost_utils.process_allgather(np.asarray(ok))))


# ---- reading the checkpoints of another run


def load_params(folder: str | os.PathLike, abstract_params: Tree, *, best: bool = False, say: Say = print) -> Tree:
    """The parameters {role: tree} of the newest checkpoint in the folder that is whole, and nothing else of its state.

    best: the one with the best score instead of the newest. A damaged one is named to `say`, left where it is, and the next is used.
    Raises ValueError naming array, found and expected shape where the parameters differ (another model, another vocabulary), and where
    no checkpoint is whole.
    """
    target = {f"params/{path}": leaf for path, leaf in _paths(abstract_params)}
    roles = {_role(path) for path in target}
    for manager, step, facts in _whole(Path(folder).absolute(), best=best, say=say):
        _check_layout(Path(folder).absolute(), step, facts, target, roles)
        try:
            arrays = _read_arrays(manager, step, facts, target)
        except _Damaged as error:
            say(f"checkpoint {step} in {folder} is damaged: {error}; the one before it is used")
            continue
        return jax.tree.unflatten(jax.tree.structure(abstract_params), [arrays[path] for path in target])
    raise ValueError(f"{folder}: no whole checkpoint in it")


def load_config(folder: str | os.PathLike, *, say: Say = print) -> dict | None:
    """The config that the newest readable checkpoint in the folder was saved with (as JSON gives it back), None without a checkpoint."""
    return next((facts["config"] for _, _, facts in _whole(Path(folder).absolute(), best=False, say=say)), None)


def _whole(folder: Path, *, best: bool, say: Say) -> Iterator[tuple[ocp.CheckpointManager, int, dict]]:
    """(manager, step, facts) of every checkpoint whose record is whole, in the order in which they should be tried."""
    if not folder.is_dir():
        return
    with _open(folder) as manager:
        records = []
        for step in sorted(manager.all_steps(), reverse=True):
            try:
                records.append((step, _read_facts(manager, step)))
            except _Damaged as error:
                say(f"checkpoint {step} in {folder} is damaged: {error}; the one before it is used")
        if best:  # a stable sort: those of equal score stay newest first, those without score come last
            records.sort(key=lambda record: -np.inf if record[1]["score"] is None else record[1]["score"], reverse=True)
        for step, facts in records:
            yield manager, step, facts
