"""Shape and options of a decoder language model."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

__all__ = ["llama3", "qwen2"]  # the architectures that a config may name

OUTPUTS = ("tokens", "scalar")
SCALINGS = ("linear", "llama3")


@dataclasses.dataclass(frozen=True)
class RopeScaling:
    """How rotary frequencies are changed to reach positions beyond the trained context.

    kind "linear": every frequency is divided by `factor`. kind "llama3": a frequency is divided by `factor` where its wavelength is above
    original_context / low_frequency_factor, kept where it is below original_context / high_frequency_factor, interpolated in between
    (Llama 3.1, arXiv 2407.21783). Raises ValueError for any other kind, a factor of 0 or less, and an empty range.
    """

    kind: str
    factor: float
    low_frequency_factor: float = 1.0
    high_frequency_factor: float = 4.0
    original_context: int = 8192

    def __post_init__(self):
        if self.kind not in SCALINGS:
            raise ValueError(f"rope_scaling.kind is {self.kind!r}, allowed: {', '.join(SCALINGS)}")
        if not self.factor > 0:
            raise ValueError(f"rope_scaling.factor is {self.factor}, allowed: above 0")
        if not 0 < self.low_frequency_factor < self.high_frequency_factor:
            found = f"{self.low_frequency_factor} and {self.high_frequency_factor}"
            raise ValueError(f"rope_scaling: low_frequency_factor and high_frequency_factor are {found}, allowed: 0 < low < high")


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
    """A decoder transformer: grouped-query attention with rotary positions, RMSNorm before each part, SwiGLU.

    heads: query heads; kv_heads: key and value heads, each shared by heads / kv_heads query heads. head_dim: default hidden / heads.
    rope_scaling: None, a RopeScaling, or its fields as a dict.
    windows: attention windows in tokens (None: all earlier tokens) of one period of layers; layer i has windows[i % len(windows)].
    context: largest number of positions, prompt and response together. dtype: matmuls and activations; norms, softmax and logits are
    at least float32. param_dtype: storage. remat: recompute each period of layers in the backward pass.
    unroll: models of at most so many layers are compiled layer by layer (faster), deeper ones as a scan over the periods.
    output: "tokens" (logits over the vocabulary) or "scalar" (one number per position: a value or reward model).
    Raises ValueError for sizes that do not fit together and unknown options.
    """

    vocab_size: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    mlp: int
    head_dim: Any = None  # int after construction
    rope_theta: float = 10_000.0
    rope_scaling: Any = None  # RopeScaling or None after construction
    norm_epsilon: float = 1e-6
    qkv_bias: bool = False
    tie_embeddings: bool = False
    windows: tuple[int | None, ...] = (None,)
    context: int = 4096
    dtype: str = "float32"
    param_dtype: str = "float32"
    remat: bool = False
    unroll: int = 8
    output: str = "tokens"

    def __post_init__(self):
        for name in ("vocab_size", "hidden", "layers", "heads", "kv_heads", "mlp", "context"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"model.{name} is {value!r}, allowed: an integer above 0")
        if self.heads % self.kv_heads:
            raise ValueError(f"model.heads is {self.heads}, allowed: a multiple of kv_heads ({self.kv_heads})")
        if self.head_dim is None:
            if self.hidden % self.heads:
                raise ValueError(f"model.hidden is {self.hidden}, allowed: a multiple of heads ({self.heads}), or give head_dim")
            object.__setattr__(self, "head_dim", self.hidden // self.heads)
        if not isinstance(self.head_dim, int) or self.head_dim < 2 or self.head_dim % 2:
            raise ValueError(f"model.head_dim is {self.head_dim}, allowed: an even number (rotary positions turn pairs)")
        if isinstance(self.rope_scaling, Mapping):
            object.__setattr__(self, "rope_scaling", RopeScaling(**self.rope_scaling))
        if not isinstance(self.rope_scaling, RopeScaling | None):
            raise ValueError(f"model.rope_scaling is {self.rope_scaling!r}, allowed: None, a RopeScaling or a dict of its fields")
        object.__setattr__(self, "windows", tuple(self.windows))
        if not self.windows or self.layers % len(self.windows):
            raise ValueError(f"model.windows has {len(self.windows)} entries, allowed: a divisor of layers ({self.layers})")
        if any(window is not None and window < 1 for window in self.windows):
            raise ValueError(f"model.windows is {self.windows}, allowed: None or numbers of tokens above 0")
        if not (math.isfinite(self.rope_theta) and self.rope_theta > 1):
            raise ValueError(f"model.rope_theta is {self.rope_theta}, allowed: above 1")
        for name in ("dtype", "param_dtype"):
            if not jnp.issubdtype(jnp.dtype(getattr(self, name)), jnp.floating):
                raise ValueError(f"model.{name} is {getattr(self, name)!r}, allowed: a floating-point type")
        if self.output not in OUTPUTS:
            raise ValueError(f"model.output is {self.output!r}, allowed: {', '.join(OUTPUTS)}")

    @property
    def period(self) -> int:
        """Number of layers after which the architecture repeats: what the layer scan steps over."""
        return len(self.windows)


def llama3(**sizes) -> DecoderConfig:
    """Options of Llama 3 (arXiv 2407.21783): no biases, rotary base 500000, epsilon 1e-5; sizes and changes by keyword."""
    return DecoderConfig(**{"rope_theta": 500_000.0, "norm_epsilon": 1e-5, **sizes})


def qwen2(**sizes) -> DecoderConfig:
    """Options of Qwen2 (arXiv 2407.10671): biases on query, key and value, rotary base 1e6; sizes and changes by keyword."""
    return DecoderConfig(**{"rope_theta": 1_000_000.0, "norm_epsilon": 1e-6, "qkv_bias": True, **sizes})
