"""Optimisers: keyword-only factories that are called inside the compiled step, so every number in them is traced."""

import optax

from pojax.annotations import Hyper

__all__ = ["adamw", "sgd"]


def adamw(
    *, learning_rate: Hyper, b1: Hyper = 0.9, b2: Hyper = 0.999, epsilon: Hyper = 1e-8, weight_decay: Hyper = 0.0, clip_norm: Hyper = 1.0
) -> optax.GradientTransformation:
    """Adam with decoupled weight decay after clipping the gradient to a global norm (arXiv 1711.05101, algorithm 2).

    The decay is multiplied by the learning rate, as in PyTorch and optax. clip_norm: a large number turns clipping off.
    """
    return optax.chain(
        optax.clip_by_global_norm(clip_norm),
        optax.scale_by_adam(b1=b1, b2=b2, eps=epsilon),
        optax.add_decayed_weights(weight_decay),
        optax.scale_by_learning_rate(learning_rate),
    )


def sgd(*, learning_rate: Hyper, momentum: Hyper = 0.0, clip_norm: Hyper = 1e9) -> optax.GradientTransformation:
    """Stochastic gradient descent: m <- momentum * m + g; p <- p - learning_rate * m, g clipped to a global norm."""
    return optax.chain(optax.clip_by_global_norm(clip_norm), optax.trace(decay=momentum), optax.scale_by_learning_rate(learning_rate))
