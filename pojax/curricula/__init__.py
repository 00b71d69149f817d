"""Curricula: which prompts an iteration samples from."""

from pojax.curricula.selection import bernoulli_uncertainty, uniform, uniform_subset

__all__ = [
    "bernoulli_uncertainty",
    "uniform",
    "uniform_subset",
]
