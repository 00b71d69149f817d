"""The linear maps of a layer, their names in Hugging Face's models, and which of them adapters change."""

import dataclasses
import functools
import math
import re
from typing import Any, NamedTuple

import jax.numpy as jnp

LAYER = "model.layers.{}."  # path of a layer, before the names of its parts


class Projection(NamedTuple):
    """A linear map of a layer: how many leading axes of its kernel are inputs, and its names below Hugging Face's layer.

    Two names: the kernel holds two products of one input, side by side on the axis behind the inputs.
    """

    inputs: int
    names: tuple[str, ...]


PROJECTIONS = {
    "query": Projection(1, ("self_attn.q_proj",)),
    "key_value": Projection(1, ("self_attn.k_proj", "self_attn.v_proj")),
    "out": Projection(2, ("self_attn.o_proj",)),
    "gate_up": Projection(1, ("mlp.gate_proj", "mlp.up_proj")),
    "down": Projection(1, ("mlp.down_proj",)),
}
NAMES = tuple(name for projection in PROJECTIONS.values() for name in projection.names)


@dataclasses.dataclass(frozen=True)
class LoRA:
    """Low-rank adapters (arXiv 2106.09685): y = x W + scale * (x A) B, A of `rank` columns; base parameters are not trained.

    scale: alpha / rank, or with rs alpha / sqrt(rank) (rsLoRA, arXiv 2312.03732). dtype: storage of A and B.
    targets, by Hugging Face's names: "all-linear"; names such as ("q_proj", "v_proj"), each the end of a module's path; or a regular
    expression that matches a name ("[qv]_proj") or a whole path ("model.layers.*mlp.*") completely.
    Raises ValueError for ranks and scales out of range, and for targets that are neither.
    """

    rank: int = 16
    alpha: float | int = 32.0
    targets: Any = "all-linear"  # str or tuple of str after construction
    rs: Any = False  # bool after construction
    dtype: str = "float32"

    def __post_init__(self):
        if not isinstance(self.rank, int) or isinstance(self.rank, bool) or self.rank < 1:
            raise ValueError(f"model.lora.rank is {self.rank!r}, allowed: an integer above 0")
        if isinstance(self.alpha, bool) or not isinstance(self.alpha, int | float) or not (math.isfinite(self.alpha) and self.alpha > 0):
            raise ValueError(f"model.lora.alpha is {self.alpha!r}, allowed: a number above 0")
        if not isinstance(self.rs, bool):
            raise ValueError(f"model.lora.rs is {self.rs!r}, allowed: True or False")
        if not jnp.issubdtype(jnp.dtype(self.dtype), jnp.floating):
            raise ValueError(f"model.lora.dtype is {self.dtype!r}, allowed: a floating-point type")
        if isinstance(self.targets, list | tuple | set | frozenset):
            object.__setattr__(self, "targets", tuple(self.targets))
        elif isinstance(self.targets, str):
            try:
                re.compile(self.targets)
            except re.error as error:
                raise ValueError(f"model.lora.targets is {self.targets!r}, allowed: a regular expression ({error})") from error
        else:
            raise ValueError(f"model.lora.targets is {self.targets!r}, allowed: 'all-linear', a regular expression, or a tuple of names")

    @property
    def scale(self) -> float:
        """What the product of the adapters is multiplied by."""
        return float(self.alpha / (self.rank**0.5 if self.rs else self.rank))


@functools.cache
def chosen(lora: LoRA, layers: int) -> dict[str, tuple[int, ...]]:
    """{module: which of its products} that the targets choose.

    Raises ValueError for a name that no linear map of a layer has, and where nothing, or a map in only some of the layers, is chosen.
    """
    short = ", ".join(name.rpartition(".")[2] for name in NAMES)
    for target in lora.targets if isinstance(lora.targets, tuple) else ():
        if not isinstance(target, str) or not any(_ends(name, target) for name in NAMES):
            raise ValueError(f"model.lora.targets: no linear map of a layer is named {target!r}, allowed: {short}")
    found: dict[str, tuple[int, ...]] = {}
    for module, projection in PROJECTIONS.items():
        for half, name in enumerate(projection.names):
            hits = [i for i in range(layers) if _hit(lora.targets, LAYER.format(i), name)]
            if 0 < len(hits) < layers:  # the layers of a kernel are one array, and so are those of its adapters
                raise ValueError(
                    f"model.lora.targets: {lora.targets!r} chooses {name} in layers {hits} of {layers}, allowed: in all or in none"
                )
            if hits:
                found[module] = (*found.get(module, ()), half)
    if not found:
        raise ValueError(f"model.lora.targets: {lora.targets!r} chooses no linear map, allowed: 'all-linear' or names among {short}")
    return found


def _ends(name: str, target: str) -> bool:
    return f".{name}".endswith(f".{target}")


def _hit(targets: str | tuple[str, ...], layer: str, name: str) -> bool:
    if isinstance(targets, tuple):
        return any(_ends(name, target) for target in targets)
    return targets == "all-linear" or any(re.fullmatch(targets, text) for text in (layer + name, name, name.rpartition(".")[2]))
