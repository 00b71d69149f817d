"""One mesh with axes data, fsdp and tensor, and one table of rules from logical axes to mesh axes.

Rows of a batch are split over data and fsdp; parameters over fsdp and tensor. The same code runs on one device, where every constraint
is a no-op, and on many, where `jax.jit` and XLA's partitioner place the collectives.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

AXES = ("data", "fsdp", "tensor")
ROWS = ("data", "fsdp")
# logical axis of a parameter -> mesh axes; what is not listed is never split
RULES: dict[str, tuple[str, ...]] = {
    "embed": ("fsdp",),
    "mlp": ("tensor",),
    "heads": ("tensor",),
    "kv_heads": ("tensor",),
    "vocab": ("fsdp", "tensor"),
}


class Layout(NamedTuple):
    """The mesh, and where arrays live on it."""

    mesh: Mesh

    def row_shards(self) -> int:
        return self.mesh.shape["data"] * self.mesh.shape["fsdp"]

    def rows(self, tree: Any) -> Any:
        """Constrain every array of a tree to be split along its first axis; for arrays of rows inside a compiled function.

        Needed after collection and after every gather of a minibatch: without it XLA computes every row on every device.
        """
        if self.mesh.size == 1:
            return tree
        shards = self.row_shards()

        def constrain(x: Any) -> Any:
            if x.ndim == 0 or x.shape[0] % shards:
                return x
            return jax.lax.with_sharding_constraint(x, NamedSharding(self.mesh, P(ROWS, *(None,) * (x.ndim - 1))))

        return jax.tree.map(constrain, tree)

    def replicated(self) -> NamedSharding:
        return NamedSharding(self.mesh, P())

    def params(self, axes: Any, shapes: Any) -> Any:
        """Shardings of a parameter tree from its logical axes; a dimension that a mesh axis does not divide is not split by it."""
        return jax.tree.map(
            lambda names, x: NamedSharding(self.mesh, self.spec(names, x.shape)), axes, shapes, is_leaf=lambda n: isinstance(n, tuple)
        )

    def spec(self, names: tuple[str | None, ...], shape: tuple[int, ...]) -> P:
        spec = []
        for name, size in zip(names, shape, strict=True):
            chosen: list[str] = []
            for axis in RULES.get(name or "", ()):
                if size % math.prod(self.mesh.shape[a] for a in (*chosen, axis)) == 0:
                    chosen.append(axis)
            spec.append(tuple(chosen) or None)
        return P(*spec)

    def like_params(self, tree: Any, params: Any, shardings: Any) -> Any:
        """Shardings of a tree that holds arrays shaped like parameters (an optimiser state), found by their paths."""
        known = {
            jax.tree_util.keystr(path): (x.shape, s)
            for (path, x), s in zip(jax.tree_util.tree_leaves_with_path(params), jax.tree.leaves(shardings), strict=True)
        }

        def find(path: Any, x: Any) -> NamedSharding:
            name = jax.tree_util.keystr(path)
            for suffix, (shape, sharding) in known.items():
                if name.endswith(suffix) and shape == x.shape:
                    return sharding
            return self.replicated()

        return jax.tree_util.tree_map_with_path(find, tree)


def make_layout(sizes: Mapping[str, int], devices: Any = None) -> Layout:
    """The mesh of the given sizes {axis: devices}; one size may be -1 (all that are left).

    Raises ValueError, with the legal values, where the sizes do not multiply to the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    count = len(devices)
    shape = [sizes.get(axis, 1) for axis in AXES]
    given = math.prod(s for s in shape if s != -1)
    if shape.count(-1) > 1 or any(s < 1 and s != -1 for s in shape):
        raise ValueError(f"mesh: found {dict(zip(AXES, shape, strict=True))}, allowed: sizes of 1 or more, at most one of them -1")
    if -1 in shape and count % given == 0:
        shape[shape.index(-1)] = count // given
    if math.prod(shape) != count:
        raise ValueError(
            f"mesh: {' x '.join(f'{a}={s}' for a, s in zip(AXES, shape, strict=True))} is not the {count} devices; "
            f"allowed: sizes whose product is {count}"
        )
    array = np.asarray(devices).reshape(shape)
    # Auto axes: with Explicit ones (the default) flax's logical constraints and gathers over sharded axes raise.
    return Layout(Mesh(array, AXES, axis_types=(AxisType.Auto,) * len(AXES)))


def check_batch(layout: Layout, rows: int, prompts: int, model: Any, pieces: int = 1) -> None:
    """ValueError, with the legal values, where rows, prompts or heads do not divide the mesh. pieces: that rows are cut into."""
    shards, tensor = layout.row_shards(), layout.mesh.shape["tensor"]
    for key, number in (("rows of a batch", rows), ("rows of a micro-batch", rows // pieces), ("batch_prompts", prompts)):
        if number % shards:
            raise ValueError(f"mesh: data x fsdp = {shards} does not divide the {number} {key}; allowed: {_divisors(number)}")
    for key, number in (("model.heads", model.heads), ("model.kv_heads", model.kv_heads)):
        if number % tensor:
            raise ValueError(f"mesh.tensor: {tensor} does not divide {key} = {number}; allowed: {_divisors(number)}")


def _divisors(n: int) -> str:
    return ", ".join(str(d) for d in range(1, n + 1) if n % d == 0)
