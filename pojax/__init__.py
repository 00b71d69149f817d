"""pojax: policy optimisation in JAX, one small set of pure functions and one config per method."""

__version__ = "0.1.0"
