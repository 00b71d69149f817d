"""Parameters and prompts to tokens and log-probabilities."""

from pojax.sampling.filters import truncate
from pojax.sampling.forks import extend, join
from pojax.sampling.sampler import Held, sample
from pojax.sampling.stream import Stream

__all__ = ["Held", "Stream", "extend", "join", "sample", "truncate"]
