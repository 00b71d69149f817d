"""The names, shapes and layout of Hugging Face's tensors, beside those of our parameter tree. This file is the whole mapping."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from pojax.models.config import DecoderConfig
from pojax.models.decoder import init
from pojax.models.targets import LAYER, PROJECTIONS

# Our leaf -> their tensor. A kernel of ours is [*inputs, *outputs], theirs [outputs, inputs], flat.
TOP = {
    ("embedding",): "model.embed_tokens.weight",
    ("norm", "scale"): "model.norm.weight",
    ("unembedding",): "lm_head.weight",
    ("value",): "score.weight",  # [1, hidden]: the one label of ...ForSequenceClassification
}
# Below a layer, beside its linear maps (`targets.PROJECTIONS`). Two names: the entries of the axis of length 2 of a leaf that holds a pair.
NORMS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("attention_norm", "scale"): ("input_layernorm.weight",),
    ("query_norm", "scale"): ("self_attn.q_norm.weight",),
    ("key_norm", "scale"): ("self_attn.k_norm.weight",),
    ("mlp_norm", "scale"): ("post_attention_layernorm.weight",),
}
LINEAR: dict[tuple[str, ...], tuple[str, ...]] = {
    (module, ours): tuple(f"{name}.{theirs}" for name in projection.names)
    for module, projection in PROJECTIONS.items()
    for ours, theirs in (("kernel", "weight"), ("bias", "bias"))
}
PARTS = {**NORMS, **LINEAR}
# Gemma's name of the norm after attention is everybody else's name of the norm before the MLP.
PARTS_WITH_POST_NORMS = PARTS | {
    ("attention_post_norm", "scale"): ("post_attention_layernorm.weight",),
    ("mlp_norm", "scale"): ("pre_feedforward_layernorm.weight",),
    ("mlp_post_norm", "scale"): ("post_feedforward_layernorm.weight",),
}


class Tensor(NamedTuple):
    """A tensor of theirs, and the part of a leaf of ours that holds the same numbers."""

    name: str
    shape: tuple[int, ...]  # theirs
    path: tuple[str, ...]  # of our leaf
    start: tuple[int, ...]  # where the part begins in the leaf
    size: tuple[int, ...]  # its shape, of the leaf's rank

    def part(self) -> tuple[slice, ...]:
        """The index of the part in its leaf."""
        return tuple(slice(begin, begin + length) for begin, length in zip(self.start, self.size, strict=True))

    def ours(self, theirs: np.ndarray) -> np.ndarray:
        """Their tensor -> the part; a view."""
        return (theirs.T if self.path[-1] == "kernel" else theirs).reshape(self.size)

    def theirs(self, ours: np.ndarray) -> np.ndarray:
        """The part -> their tensor."""
        return ours.reshape(self.shape[::-1]).T if self.path[-1] == "kernel" else ours.reshape(self.shape)


def shapes(config: DecoderConfig) -> Any:
    """The parameter tree, without adapters, as shapes and types."""
    return jax.eval_shape(lambda: init(jax.random.key(0), config))


def tensors(config: DecoderConfig) -> list[Tensor]:
    """All tensors of a model, in the order in which transformers has them: embedding, layers, last norm, head."""
    tree = shapes(config)
    top = {path: leaf for path, leaf in _leaves(tree) if path in TOP}
    whole = {path: Tensor(TOP[path], leaf.shape, path, (0,) * len(leaf.shape), leaf.shape) for path, leaf in top.items()}
    if ("value",) in whole:
        whole[("value",)] = whole[("value",)]._replace(shape=(1, config.hidden))
    layers: list[Tensor] = []
    i = 0
    for segment, windows, repeats in config.segments:
        for repeat in range(repeats):
            for j in range(len(windows)):
                prefix = (segment, f"layer_{j}")
                for path, leaf in _leaves(tree[segment][prefix[1]]):
                    layers += _of_leaf(i, repeat, prefix, path, leaf, config)
                i += 1
    return [whole[("embedding",)], *layers, *(whole[path] for path in whole if path != ("embedding",))]


def _of_leaf(layer: int, repeat: int, prefix: tuple[str, ...], path: tuple[str, ...], leaf: Any, config: DecoderConfig) -> Iterator[Tensor]:
    names = (PARTS_WITH_POST_NORMS if config.post_norms else PARTS)[path]
    for entry, name in enumerate(names):
        start, size = [repeat, *(0,) * (leaf.ndim - 1)], [1, *leaf.shape[1:]]
        if len(names) == 2:
            axis = 2 if path[-1] == "kernel" else 1
            start[axis], size[axis] = entry, 1
        shape: tuple[int, ...] = (math.prod(size),)
        if path[-1] == "kernel":
            inputs = math.prod(size[1 : 1 + PROJECTIONS[path[0]].inputs])
            shape = (shape[0] // inputs, inputs)
        yield Tensor(LAYER.format(layer) + name, shape, (*prefix, *path), tuple(start), tuple(size))


def _leaves(tree: Any) -> list[tuple[tuple[str, ...], Any]]:
    return [(tuple(key.key for key in path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)]
