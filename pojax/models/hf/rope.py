"""Rotary positions of config.json: the keys of transformers 5 (rope_parameters) and those of before (rope_theta, rope_scaling)."""

import math
from collections.abc import Mapping
from typing import Any

from pojax.models.config import DecoderConfig

GLOBAL_THETA, LOCAL_THETA = 1_000_000.0, 10_000.0  # defaults of Gemma 3
ALWAYS = {"rope_theta", "rope_type", "type", "partial_rotary_factor"}
# Their kind -> {their key: our field of RopeScaling}; "default" is no scaling.
KEYS: dict[str, dict[str, str]] = {
    "default": {},
    "linear": {"factor": "factor"},
    "dynamic": {"factor": "factor"},
    "llama3": {
        "factor": "factor",
        "low_freq_factor": "low_frequency_factor",
        "high_freq_factor": "high_frequency_factor",
        "original_max_position_embeddings": "original_context",
    },
    "yarn": {
        "factor": "factor",
        "attention_factor": "attention_factor",
        "beta_fast": "beta_fast",
        "beta_slow": "beta_slow",
        "truncate": "truncate",
        "original_max_position_embeddings": "original_context",
    },
    "longrope": {
        "factor": "factor",
        "attention_factor": "attention_factor",
        "short_factor": "short_factor",
        "long_factor": "long_factor",
        "original_max_position_embeddings": "original_context",
    },
}
MSCALES = {"mscale", "mscale_all_dim"}  # of yarn; they only give the attention factor


def read_rope(fields: Any, nested: bool) -> dict[str, Any]:
    """rope_theta, rope_scaling and local_rope_theta of a config.json (`configs.Fields`); nested: local layers have their own base."""
    if fields.get("partial_rotary_factor") not in (None, 1, 1.0):
        raise fields.refusal("partial_rotary_factor", "1.0")
    if not nested:
        given = fields.get("rope_scaling") or fields.get("rope_parameters") or {}
        theta = given.get("rope_theta") or fields.get("rope_theta") or 10_000.0
        return {"rope_theta": float(theta), "rope_scaling": _scaling(fields, given)}
    parts = fields.get("rope_parameters") or {}
    whole, local = parts.get("full_attention") or {}, parts.get("sliding_attention") or {}
    whole = {**whole, **(fields.get("rope_scaling") or {})}
    if _kind(local) != "default":
        raise fields.refusal("rope_parameters", f"no scaling under sliding_attention, found {_kind(local)}")
    return {
        "rope_theta": float(whole.get("rope_theta") or fields.get("rope_theta") or GLOBAL_THETA),
        "rope_scaling": _scaling(fields, whole),
        "local_rope_theta": float(local.get("rope_theta") or fields.get("rope_local_base_freq") or LOCAL_THETA),
    }


def _kind(given: Mapping[str, Any]) -> str:
    return given.get("rope_type") or given.get("type") or "default"


def _scaling(fields: Any, given: Mapping[str, Any]) -> dict[str, Any] | None:
    kind, key = _kind(given), "rope_scaling" if fields.get("rope_scaling") else "rope_parameters"
    if kind not in KEYS:
        raise fields.refusal(key, f"rope_type {', '.join(KEYS)}")
    used = KEYS[kind]
    ignored = {"original_max_position_embeddings"} if kind in ("default", "linear", "dynamic") else set()
    unknown = {name for name, value in given.items() if value is not None} - ALWAYS - set(used) - ignored
    if unknown - (MSCALES if kind == "yarn" else set()) or given.get("partial_rotary_factor") not in (None, 1, 1.0):
        raise fields.refusal(key, f"{', '.join(used) or 'rope_theta'} for rope_type {kind}, and all of a head rotated")
    if kind == "default":
        return None
    scaling = {"kind": kind} | {ours: _number(given[theirs]) for theirs, ours in used.items() if given.get(theirs) is not None}
    longest = fields.needed("max_position_embeddings")
    if kind == "dynamic":
        scaling["original_context"] = longest
    elif kind != "linear":
        scaling.setdefault("original_context", longest)
        if fields.get("original_max_position_embeddings"):  # another place for it, which wins
            scaling["original_context"] = fields["original_max_position_embeddings"]
    if "original_context" in scaling:
        scaling["original_context"] = int(scaling["original_context"])
    if kind in ("yarn", "longrope"):
        scaling.setdefault("factor", longest / scaling["original_context"])
    if "factor" not in scaling:
        raise fields.refusal(key, f"a factor for rope_type {kind}")
    if kind == "yarn" and given.get("mscale") and given.get("mscale_all_dim"):
        scale = lambda weight: 0.1 * weight * math.log(scaling["factor"]) + 1.0 if scaling["factor"] > 1 else 1.0  # noqa: E731
        scaling.setdefault("attention_factor", scale(given["mscale"]) / scale(given["mscale_all_dim"]))
    return scaling


def _number(value: Any) -> Any:
    """JSON's numbers as floats, its lists as tuples of floats; true and false as they are."""
    if isinstance(value, list):
        return tuple(float(each) for each in value)
    return value if isinstance(value, bool) else float(value)


def write_rope(config: DecoderConfig, nested: bool) -> dict[str, Any]:
    """max_position_embeddings and rope_parameters."""
    scaling = config.rope_scaling
    given: dict[str, Any] = {"rope_type": "default" if scaling is None else scaling.kind, "rope_theta": config.rope_theta}
    if scaling is not None:
        given |= {theirs: getattr(scaling, ours) for theirs, ours in KEYS[scaling.kind].items()}
        given = {key: list(value) if isinstance(value, tuple) else value for key, value in given.items()}
    longest = scaling.original_context if scaling is not None and scaling.kind == "dynamic" else config.context
    if nested:
        local = {"rope_type": "default", "rope_theta": config.local_rope_theta}
        return {"max_position_embeddings": longest, "rope_parameters": {"full_attention": given, "sliding_attention": local}}
    return {"max_position_embeddings": longest, "rope_parameters": given}
