"""Rewards of predicted boxes (x1, y1, x2, y2), in pixels; a box that is not finite or has no area earns 0."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Shaped

from pojax.annotations import Hyper
from pojax.checks import checked
from pojax.numerics import floating, per_row

__all__ = ["box_edges", "box_hit", "box_iou", "box_reward"]


@checked()
def box_hit(predicted_boxes: Shaped[ArrayLike, "B 4"], target_boxes: Shaped[ArrayLike, "B 4"]) -> Float[Array, "B"]:
    """1 where the centre of the predicted box lies in the target box, borders included, else 0.

    Source: GUI-G1, arXiv 2505.15810, hit reward.
    """
    predicted, target, good = _boxes(predicted_boxes, target_boxes)
    centre = (predicted[:, :2] + predicted[:, 2:]) / 2.0
    within = jnp.all((centre >= target[:, :2]) & (centre <= target[:, 2:]), axis=1)
    return floating(good & within)


@checked(min_overlap="[0, inf)")
def box_iou(
    predicted_boxes: Shaped[ArrayLike, "B 4"], target_boxes: Shaped[ArrayLike, "B 4"], *, min_overlap: Hyper = 0.0
) -> Float[Array, "B"]:
    """Area of the intersection over area of the union.

    min_overlap: an overlap of at most so many pixels in either axis counts as none; the released code of GUI-G1 has 1.
    Source: GUI-G1, arXiv 2505.15810, intersection-over-union reward.
    """
    a, b, good = _boxes(predicted_boxes, target_boxes)
    sides = jnp.minimum(a[:, 2:], b[:, 2:]) - jnp.maximum(a[:, :2], b[:, :2])
    bound = per_row(min_overlap, 1)
    overlaps = good & jnp.all(sides > (bound if bound.ndim == 0 else bound[:, None]), axis=1)
    common = jnp.where(overlaps, sides[:, 0] * sides[:, 1], 0.0)
    union = _area(a) + _area(b) - common
    return jnp.where(overlaps, common / jnp.where(union > 0.0, union, 1.0), 0.0)


@checked()
def box_edges(
    predicted_boxes: Shaped[ArrayLike, "B 4"], target_boxes: Shaped[ArrayLike, "B 4"], image_sizes: Shaped[ArrayLike, "B 2"]
) -> Float[Array, "B"]:
    """How well the four edges agree: 4 / sum_i(1 / e_i), the harmonic mean of their e.

    e = 1 - |dx| / W of vertical and 1 - |dy| / H of horizontal edges.
    image_sizes: width W and height H in pixels. 0 where an edge is off by the whole image or more.
    Source: GUI-G1, arXiv 2505.15810, edge reward of its released code.
    """
    predicted, target, good = _boxes(predicted_boxes, target_boxes)
    size = floating(image_sizes)
    sized = jnp.all(jnp.isfinite(size) & (size > 0.0), axis=1)
    size = jnp.where(sized[:, None], size, 1.0)
    edges = 1.0 - jnp.abs(predicted - target) / jnp.concatenate([size, size], axis=1)
    used = good & sized & jnp.all(edges > 0.0, axis=1)
    return jnp.where(used, 4.0 / jnp.sum(1.0 / jnp.where(used[:, None], edges, 1.0), axis=1), 0.0)


@checked(min_overlap="[0, inf)")
def box_reward(
    predicted_boxes: Shaped[ArrayLike, "B 4"],
    target_boxes: Shaped[ArrayLike, "B 4"],
    image_sizes: Shaped[ArrayLike, "B 2"],
    *,
    iou_weight: Hyper = 0.25,
    edge_weight: Hyper = 0.125,
    min_overlap: Hyper = 0.0,
) -> Float[Array, "B"]:
    """Reward of a predicted box: hit + iou_weight * IoU + edge_weight * edge agreement.

    The parts are `box_hit`, `box_iou` (with min_overlap) and `box_edges`; 0 for a malformed box.
    Source: GUI-G1, arXiv 2505.15810, and its released code (the weights).
    """
    hit = box_hit(predicted_boxes, target_boxes)
    iou = box_iou(predicted_boxes, target_boxes, min_overlap=min_overlap)
    edges = box_edges(predicted_boxes, target_boxes, image_sizes)
    return hit + per_row(iou_weight, 1) * iou + per_row(edge_weight, 1) * edges


def _boxes(
    predicted: Shaped[ArrayLike, "B 4"], target: Shaped[ArrayLike, "B 4"]
) -> tuple[Float[Array, "B 4"], Float[Array, "B 4"], Bool[Array, "B"]]:
    """Both boxes, and where both are finite and have an area; what is not finite is 0."""
    both = [floating(predicted), floating(target)]
    finite = [jnp.all(jnp.isfinite(box), axis=1) for box in both]
    a, b = (jnp.where(ok[:, None], box, 0.0) for box, ok in zip(both, finite, strict=True))
    shaped = [jnp.all(box[:, 2:] > box[:, :2], axis=1) for box in (a, b)]
    return a, b, finite[0] & finite[1] & shaped[0] & shaped[1]


def _area(box: Float[Array, "B 4"]) -> Float[Array, "B"]:
    return (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])
