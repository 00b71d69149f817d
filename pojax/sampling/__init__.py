"""Parameters and prompts to tokens and log-probabilities."""

from pojax.sampling.filters import truncate
from pojax.sampling.forks import extend, join
from pojax.sampling.sampler import Held, sample

__all__ = ["Held", "extend", "join", "sample", "truncate"]
