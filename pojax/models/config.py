"""Shape and options of a decoder language model."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from pojax.models.targets import LoRA, chosen

__all__ = ["gemma2", "gemma3", "llama2", "llama3", "mistral", "qwen2", "qwen3"]  # the architectures that a config may name

OUTPUTS = ("tokens", "scalar")
SCALINGS = ("linear", "dynamic", "yarn", "longrope", "llama3")
ACTIVATIONS = ("silu", "gelu_tanh")


@dataclasses.dataclass(frozen=True)
class RopeScaling:
    """How rotary frequencies are changed to reach positions beyond the trained context.

    kind "linear": every frequency is divided by `factor`. "dynamic": the rotary base grows so that config.context fits (NTK).
    "llama3": a frequency is divided by `factor` where its wavelength is above original_context / low_frequency_factor, kept where it is
    below original_context / high_frequency_factor, interpolated in between (Llama 3.1, arXiv 2407.21783).
    "yarn": pairs that turn less than beta_slow times within original_context are divided by `factor`, those that turn more than beta_fast
    times are kept, a ramp over the pairs in between, its ends whole pairs where `truncate` (arXiv 2309.00071).
    "longrope": pair i is divided by long_factor[i] where config.context is above original_context, else by short_factor[i]
    (arXiv 2402.13753). attention_factor multiplies cosine and sine; default 0.1 ln(factor) + 1 for yarn,
    sqrt(1 + ln(factor) / ln(original_context)) for longrope (both 1 where factor is at most 1), 1 for the others.

    "dynamic" and "longrope" are functions of a length. Here it is config.context for every token of a run, so that sampler and learner
    agree; up to original_context neither changes with the length. Raises ValueError for any other kind, a factor of 0 or less, an empty
    range, and factors that the kind does not have.
    """

    kind: str
    factor: float
    low_frequency_factor: float = 1.0
    high_frequency_factor: float = 4.0
    original_context: int = 8192
    attention_factor: Any = None  # float after construction
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True
    short_factor: tuple[float, ...] = ()
    long_factor: tuple[float, ...] = ()

    def __post_init__(self):
        if self.kind not in SCALINGS:
            raise ValueError(f"rope_scaling.kind is {self.kind!r}, allowed: {', '.join(SCALINGS)}")
        if not self.factor > 0:
            raise ValueError(f"rope_scaling.factor is {self.factor}, allowed: above 0")
        if not 0 < self.low_frequency_factor < self.high_frequency_factor:
            found = f"{self.low_frequency_factor} and {self.high_frequency_factor}"
            raise ValueError(f"rope_scaling: low_frequency_factor and high_frequency_factor are {found}, allowed: 0 < low < high")
        if not 0 < self.beta_slow <= self.beta_fast:
            raise ValueError(f"rope_scaling: beta_slow and beta_fast are {self.beta_slow} and {self.beta_fast}, allowed: 0 < slow <= fast")
        if not self.original_context > 1:
            raise ValueError(f"rope_scaling.original_context is {self.original_context}, allowed: above 1")
        for name in ("short_factor", "long_factor"):
            object.__setattr__(self, name, tuple(float(factor) for factor in getattr(self, name)))
            if bool(getattr(self, name)) != (self.kind == "longrope") or not all(factor > 0 for factor in getattr(self, name)):
                raise ValueError(f"rope_scaling.{name} is {getattr(self, name)}, allowed: numbers above 0 for longrope, nothing otherwise")
        if self.attention_factor is None:
            object.__setattr__(self, "attention_factor", self._default_attention_factor())

    def _default_attention_factor(self) -> float:
        if self.factor <= 1 or self.kind not in ("yarn", "longrope"):
            return 1.0
        if self.kind == "yarn":
            return 0.1 * math.log(self.factor) + 1.0
        return math.sqrt(1 + math.log(self.factor) / math.log(self.original_context))


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
    """A decoder transformer: grouped-query attention with rotary positions, RMSNorm before each part, a gated MLP.

    heads: query heads; kv_heads: key and value heads, each shared by heads / kv_heads query heads. head_dim: default hidden / heads.
    rope_scaling: None, a RopeScaling, or its fields as a dict. local_rope_theta: rotary base, unscaled, of layers with a window
    (None: they are as the others).
    windows: attention windows in tokens (None: all earlier tokens) of one period of layers; layer i has windows[i % len(windows)].
    Stored as the shortest period that gives the same layers; a last period may be incomplete.
    activation: of the gate, "silu" or "gelu_tanh". norm_offset: norms multiply by 1 + scale. post_norms: a norm after each part, too.
    qk_norm: norms over head_dim on queries and keys, before rotation. embedding_scale: embeddings are multiplied by sqrt(hidden).
    attention_scalar: attention scores are divided by its square root (default head_dim). attention_softcap, logit_softcap: a score or
    logit x becomes cap * tanh(x / cap).
    context: largest number of positions, prompt and response together. dtype: matmuls and activations; norms, softmax and logits are
    at least float32. param_dtype: storage. remat: recompute each period of layers in the backward pass.
    unroll: models of at most so many layers are compiled layer by layer (faster), deeper ones as a scan over the periods.
    output: "tokens" (logits over the vocabulary) or "scalar" (one number per position: a value or reward model).
    lora: None, a LoRA, or its fields as a dict: adapters beside the kernels; the learner trains them (and a value head) alone.
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
    local_rope_theta: float | None = None
    activation: str = "silu"
    norm_offset: bool = False
    post_norms: bool = False
    qk_norm: bool = False
    embedding_scale: bool = False
    attention_scalar: Any = None  # float after construction
    attention_softcap: float | None = None
    logit_softcap: float | None = None
    context: int = 4096
    dtype: str = "float32"
    param_dtype: str = "float32"
    remat: bool = False
    unroll: int = 8
    output: str = "tokens"
    lora: Any = None  # LoRA or None after construction

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
        if self.rope_scaling is not None and self.rope_scaling.kind == "longrope":
            for name in ("short_factor", "long_factor"):
                if (count := len(getattr(self.rope_scaling, name))) != self.head_dim // 2:
                    raise ValueError(f"rope_scaling.{name} has {count} numbers, allowed: one per pair of features ({self.head_dim // 2})")
        if not self.windows or any(window is not None and window < 1 for window in self.windows):
            raise ValueError(f"model.windows is {self.windows}, allowed: None or numbers of tokens above 0, at least one")
        object.__setattr__(self, "windows", shortest_period([self.windows[i % len(self.windows)] for i in range(self.layers)]))
        for name in ("rope_theta", "local_rope_theta"):
            value = getattr(self, name)
            if not (name == "local_rope_theta" and value is None) and not (math.isfinite(value) and value > 1):
                raise ValueError(f"model.{name} is {value}, allowed: above 1")
        object.__setattr__(self, "attention_scalar", float(self.head_dim if self.attention_scalar is None else self.attention_scalar))
        for name in ("attention_scalar", "attention_softcap", "logit_softcap"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"model.{name} is {value}, allowed: above 0")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"model.activation is {self.activation!r}, allowed: {', '.join(ACTIVATIONS)}")
        for name in ("dtype", "param_dtype"):
            if not jnp.issubdtype(jnp.dtype(getattr(self, name)), jnp.floating):
                raise ValueError(f"model.{name} is {getattr(self, name)!r}, allowed: a floating-point type")
        if self.output not in OUTPUTS:
            raise ValueError(f"model.output is {self.output!r}, allowed: {', '.join(OUTPUTS)}")
        if isinstance(self.lora, Mapping):
            object.__setattr__(self, "lora", LoRA(**self.lora))
        if not isinstance(self.lora, LoRA | None):
            raise ValueError(f"model.lora is {self.lora!r}, allowed: None, a LoRA or a dict of its fields")
        if self.lora is not None:
            chosen(self.lora, self.layers)

    @property
    def segments(self) -> tuple[tuple[str, tuple[int | None, ...], int], ...]:
        """(name in the parameter tree, windows of its layers, repetitions): whole periods, which a scan steps over, and what is left."""
        repeats, left = divmod(self.layers, len(self.windows))
        return (("blocks", self.windows, repeats), ("rest", self.windows[:left], 1))[: 2 if left else 1]


def shortest_period(layers: Sequence[int | None]) -> tuple[int | None, ...]:
    """The fewest leading entries whose repetition, the last one perhaps cut short, gives all of them."""
    period = next(p for p in range(1, len(layers) + 1) if all(layers[i] == layers[i - p] for i in range(p, len(layers))))
    return tuple(layers[:period])


def llama2(**sizes) -> DecoderConfig:
    """Options of Llama 2 (arXiv 2307.09288): no biases, rotary base 10000, epsilon 1e-5; sizes and changes by keyword."""
    return DecoderConfig(**{"norm_epsilon": 1e-5, **sizes})


def llama3(**sizes) -> DecoderConfig:
    """Options of Llama 3 (arXiv 2407.21783): Llama 2 with rotary base 500000; sizes and changes by keyword."""
    return llama2(**{"rope_theta": 500_000.0, **sizes})


def mistral(**sizes) -> DecoderConfig:
    """Options of Mistral 7B (arXiv 2310.06825): Llama 2 with a window of 4096 tokens in every layer; sizes and changes by keyword."""
    return llama2(**{"windows": (4096,), **sizes})


def qwen2(**sizes) -> DecoderConfig:
    """Options of Qwen2 (arXiv 2407.10671): biases on query, key and value, rotary base 1e6; sizes and changes by keyword."""
    return DecoderConfig(**{"rope_theta": 1_000_000.0, "norm_epsilon": 1e-6, "qkv_bias": True, **sizes})


def qwen3(**sizes) -> DecoderConfig:
    """Options of Qwen3 (arXiv 2505.09388): norms on queries and keys, no biases, heads of 128; sizes and changes by keyword."""
    return DecoderConfig(**{"rope_theta": 1_000_000.0, "norm_epsilon": 1e-6, "qk_norm": True, "head_dim": 128, **sizes})


def gemma2(**sizes) -> DecoderConfig:
    """Options of Gemma 2 (arXiv 2408.00118): norms before and after, GeGLU, soft-caps, every second layer sees 4096 tokens; by keyword."""
    caps = {"attention_softcap": 50.0, "logit_softcap": 30.0}
    return DecoderConfig(**{**_gemma(), **caps, "windows": (4096, None), **sizes})


def gemma3(**sizes) -> DecoderConfig:
    """Options of Gemma 3 1B (arXiv 2503.19786): norms on queries and keys, no soft-caps, five layers of six see 512 tokens; by keyword."""
    bases = {"rope_theta": 1_000_000.0, "local_rope_theta": 10_000.0}
    return DecoderConfig(**{**_gemma(), **bases, "qk_norm": True, "windows": (*(512,) * 5, None), **sizes})


def _gemma() -> dict[str, Any]:
    parts = {"activation": "gelu_tanh", "norm_offset": True, "post_norms": True, "embedding_scale": True}
    return {**parts, "head_dim": 256, "attention_scalar": 256.0, "tie_embeddings": True, "norm_epsilon": 1e-6}
