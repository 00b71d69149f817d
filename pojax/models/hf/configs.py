"""config.json of Hugging Face to a `DecoderConfig` and back. What the decoder cannot do is refused by name, never ignored."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from pojax.models.config import DecoderConfig
from pojax.models.hf.files import INDEX, SINGLE, TYPES, contents, read_json
from pojax.models.hf.rope import read_rope, write_rope

CONFIG = "config.json"
RUN_OPTIONS = ("context", "dtype", "param_dtype", "remat", "unroll", "output", "lora")  # what a run chooses, not the architecture
FREQUENCIES = "rotary_emb.inv_freq"  # tensors of old files that are no parameters
FULL, SLIDING = "full_attention", "sliding_attention"


@dataclasses.dataclass(frozen=True)
class Architecture:
    """What a model_type of transformers fixes, and the defaults of its configuration class.

    causal, reward: names of the classes. options: of `DecoderConfig`. activation: the key and its only value that is supported.
    softcaps: (attention, logits). pattern: every so many layers one sees everything, the others the window (0: no such pattern).
    refused: {key: values that are allowed}.
    """

    causal: str
    reward: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    activation: tuple[str, str] = ("hidden_act", "silu")
    head_dim: int | None = None
    tied: bool = False
    softcaps: tuple[float | None, float | None] | None = None
    pattern: int = 0
    window: int | None = None
    refused: Mapping[str, tuple] = dataclasses.field(default_factory=dict)


def _architecture(name: str, reward: str = "", **rest: Any) -> Architecture:
    return Architecture(f"{name}ForCausalLM", f"{reward or name}ForSequenceClassification", **rest)


def _gemma(name: str, reward: str = "", qk_norm: bool = False, **rest: Any) -> Architecture:
    options = {"activation": "gelu_tanh", "norm_offset": True, "post_norms": True, "embedding_scale": True, "qk_norm": qk_norm}
    refused = {"attention_bias": (False,), "use_bidirectional_attention": (False, None)}
    activation = ("hidden_activation", "gelu_pytorch_tanh")
    return _architecture(
        name, reward, options=options, activation=activation, head_dim=256, tied=True, window=4096, refused=refused, **rest
    )


ARCHITECTURES: dict[str, Architecture] = {
    "llama": _architecture("Llama", refused={"attention_bias": (False,), "mlp_bias": (False,)}),
    "mistral": _architecture("Mistral", window=4096, refused={"layer_types": (None,)}),
    "qwen2": _architecture("Qwen2", options={"qkv_bias": True}, refused={"dual_chunk_attention_config": (None,)}),
    "qwen3": _architecture("Qwen3", options={"qk_norm": True}, head_dim=128, refused={"attention_bias": (False,)}),
    "gemma2": _gemma("Gemma2", softcaps=(50.0, 30.0), pattern=2),
    "gemma3_text": _gemma("Gemma3", "Gemma3Text", qk_norm=True, softcaps=(None, None), pattern=6),
}
REFUSED = {"quantization_config": (None,), "attention_dropout": (0.0, None)}  # of every architecture


class Fields(dict):
    """A config.json; its errors name the file and the key."""

    def __init__(self, file: Path, values: Mapping[str, Any]):
        super().__init__(values)
        self.file = file

    def needed(self, key: str) -> Any:
        if self.get(key) is None:
            raise ValueError(f"{self.file}: {key} is missing")
        return self[key]

    def refusal(self, key: str, allowed: Any) -> ValueError:
        found = repr(self.get(key))
        return ValueError(f"{self.file}: {key} is {found if len(found) < 100 else found[:100] + ' ...'}, allowed: {allowed}")


def read_config(folder: str | Path, **changes: Any) -> DecoderConfig:
    """The shape that folder/config.json describes; changes: context, dtype, param_dtype, remat, unroll, output, lora.

    Default context: max_position_embeddings. Default param_dtype: the type that holds every tensor of the folder's safetensors unchanged
    (config.json's dtype where there are none); default dtype: param_dtype. Default output: "scalar" for ...ForSequenceClassification, else
    "tokens". Raises ValueError naming the file and the key for unknown architectures, for options that the decoder has not, and for sizes
    that do not fit together.
    """
    if unknown := sorted(set(changes) - set(RUN_OPTIONS)):
        raise ValueError(f"{unknown[0]} cannot be changed, the folder says it; allowed: {', '.join(RUN_OPTIONS)}")
    folder = Path(folder)
    fields = Fields(folder / CONFIG, read_json(folder / CONFIG))
    if "param_dtype" not in changes:
        changes["param_dtype"] = _stored_dtype(folder, fields)
    return parse(fields, **changes)


def _stored_dtype(folder: Path, fields: Fields) -> str:
    if (folder / SINGLE).is_file() or (folder / INDEX).is_file():
        types = {stored.dtype for name, stored in contents(folder).items() if not name.endswith(FREQUENCIES)} & set(TYPES)
        if types:
            return str(jnp.result_type(*(TYPES[name] for name in types)))
    return str(fields.get("dtype") or fields.get("torch_dtype") or "float32")


def is_reward(fields: Mapping[str, Any]) -> bool:
    """Whether the folder holds a sequence classifier."""
    return any(str(name).endswith("ForSequenceClassification") for name in fields.get("architectures") or ())


def parse(fields: Fields, **changes: Any) -> DecoderConfig:
    """`read_config` of what the file holds."""
    try:
        options = {**_options(fields), "output": "scalar" if is_reward(fields) else "tokens", **changes}
        return DecoderConfig(**{"dtype": options.get("param_dtype", "float32"), **options})
    except (ValueError, TypeError, AttributeError) as error:  # the last two: text where a number or an object should be
        raise error if str(fields.file) in str(error) else ValueError(f"{fields.file}: {error}") from error


def _options(fields: Fields) -> dict[str, Any]:
    """Everything but what a run chooses."""
    model_type = fields.get("model_type")
    if model_type not in ARCHITECTURES:
        raise fields.refusal("model_type", ", ".join(ARCHITECTURES))
    architecture = ARCHITECTURES[model_type]
    for key, allowed in {**REFUSED, **architecture.refused}.items():
        if key in fields and fields[key] not in allowed:
            raise fields.refusal(key, " or ".join(str(value) for value in allowed))
    key, value = architecture.activation
    if fields.get(key, value) != value:
        raise fields.refusal(key, value)
    heads, layers = fields.needed("num_attention_heads"), fields.needed("num_hidden_layers")
    options: dict[str, Any] = {
        "vocab_size": fields.needed("vocab_size"),
        "hidden": fields.needed("hidden_size"),
        "layers": layers,
        "heads": heads,
        "kv_heads": fields.get("num_key_value_heads") or (heads if model_type == "llama" else fields.needed("num_key_value_heads")),
        "head_dim": fields.get("head_dim") or architecture.head_dim,
        "mlp": fields.needed("intermediate_size"),
        "norm_epsilon": float(fields.get("rms_norm_eps", 1e-6)),
        "tie_embeddings": fields.get("tie_word_embeddings", architecture.tied),
        "context": fields.needed("max_position_embeddings"),
        "windows": tuple(_windows(fields, architecture, model_type, layers)),
        **architecture.options,
        **read_rope(fields, nested=model_type == "gemma3_text"),
    }
    if architecture.softcaps is not None:
        options["attention_scalar"] = fields.get("query_pre_attn_scalar", 256)
        options["attention_softcap"] = _real(fields.get("attn_logit_softcapping", architecture.softcaps[0]))
        options["logit_softcap"] = _real(fields.get("final_logit_softcapping", architecture.softcaps[1]))
    return options


def _windows(fields: Fields, architecture: Architecture, model_type: str, layers: int) -> list[int | None]:
    """The window of every layer."""
    if model_type == "llama":
        return [None] * layers
    window = fields.get("sliding_window", architecture.window)
    if model_type == "mistral":
        return [window] * layers
    kinds = fields.get("layer_types")
    if model_type in ("qwen2", "qwen3"):
        window = fields.get("sliding_window", 4096) if fields.get("use_sliding_window", False) else None
        first = layers if window is None else fields.get("max_window_layers", 28)
        kinds = kinds or [SLIDING if i >= first else FULL for i in range(layers)]
    else:
        pattern = fields.get("sliding_window_pattern", architecture.pattern) if model_type == "gemma3_text" else architecture.pattern
        kinds = kinds or [SLIDING if (i + 1) % pattern else FULL for i in range(layers)]
    if len(kinds) != layers or set(kinds) - {FULL, SLIDING}:
        raise fields.refusal("layer_types", f"{FULL} or {SLIDING} for each of the {layers} layers")
    if SLIDING in kinds and window is None:
        raise fields.refusal("sliding_window", f"a number of tokens, as layer_types names {SLIDING}")
    return [window if kind == SLIDING else None for kind in kinds]


def structure(config: DecoderConfig) -> DecoderConfig:
    """The config without what a run chooses: equal for equal architectures."""
    defaults: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(DecoderConfig) if field.name in RUN_OPTIONS}
    return dataclasses.replace(config, **defaults)


def write_config(config: DecoderConfig) -> dict[str, Any]:
    """What config.json has to say of the architecture. ValueError where transformers has none with these options."""
    for model_type, architecture in ARCHITECTURES.items():
        values = _fields_of(config, model_type, architecture)
        try:
            again = parse(Fields(Path(CONFIG), values))
        except ValueError:
            continue
        if structure(again) == structure(config):
            return values
    raise ValueError(f"no architecture of transformers that is known here ({', '.join(ARCHITECTURES)}) has the options of {config}")


def _fields_of(config: DecoderConfig, model_type: str, architecture: Architecture) -> dict[str, Any]:
    windows = [config.windows[i % len(config.windows)] for i in range(config.layers)]
    widest = max((window for window in windows if window is not None), default=None)
    kinds = [FULL if window is None else SLIDING for window in windows]
    values: dict[str, Any] = {
        **head_fields(model_type, config.output),
        "model_type": model_type,
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.mlp,
        "rms_norm_eps": config.norm_epsilon,
        "tie_word_embeddings": config.tie_embeddings,
        architecture.activation[0]: architecture.activation[1],
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
        **write_rope(config, nested=model_type == "gemma3_text"),
    }
    if model_type != "llama":
        values["sliding_window"] = widest
    if model_type in ("qwen2", "qwen3"):
        values |= {"use_sliding_window": widest is not None, "max_window_layers": _first(kinds, SLIDING), "layer_types": kinds}
    if architecture.softcaps is not None:
        values |= {"layer_types": kinds, "query_pre_attn_scalar": _whole(config.attention_scalar)}
        values |= {"attn_logit_softcapping": config.attention_softcap, "final_logit_softcapping": config.logit_softcap}
    return values


def head_fields(model_type: str, output: str) -> dict[str, Any]:
    """The keys that say what stands on the trunk: logits, or one number."""
    architecture = ARCHITECTURES[model_type]
    if output == "tokens":
        return {"architectures": [architecture.causal]}
    return {"architectures": [architecture.reward], "id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}


def _first(items: Sequence[str], item: str) -> int:
    return items.index(item) if item in items else len(items)


def _real(x: float | None) -> float | None:
    return None if x is None else float(x)


def _whole(x: float) -> float | int:
    return int(x) if x == int(x) else x
