"""The form of `config.method`: which keys it may have, flat or as a list of updates, and the paths of its entries."""

from collections.abc import Mapping
from typing import Any

from pojax import binding
from pojax.binding import ConfigError, near

UPDATE_KEYS = (
    *("name", "trains", "per_minibatch", "losses", "aggregate", "optimizer"),
    *("epochs", "minibatches", "microbatches", "every", "after"),
)
METHOD_KEYS = ("family", "curricula", "rollouts", "rewards", "advantages", "updates", "trackers", "copies", "heads", "views")


def lift(method: Mapping[str, Any], at: str) -> dict[str, Any]:
    """The flat form as a list of one update; ConfigError for unknown keys or both forms at once."""
    flat = {k: method[k] for k in UPDATE_KEYS if k in method}
    unknown = [k for k in method if k not in UPDATE_KEYS and k not in METHOD_KEYS]
    if unknown:
        raise ConfigError(f"{at}.{unknown[0]}: unknown key of a method; {near(unknown[0], UPDATE_KEYS + METHOD_KEYS)}")
    if "updates" in method and flat:
        raise ConfigError(f"{at}.{next(iter(flat))}: stands beside `updates`; write it inside an update")
    if not method.get("updates") and not flat:
        raise ConfigError(f"{at}.updates: a method needs `losses` or `updates`")
    rest = {k: v for k, v in method.items() if k in METHOD_KEYS}
    return rest if "updates" in method else rest | {"updates": [flat], "_flat": True}


def labels(entries: Any, at: str) -> list[str]:
    """The path of each entry of a list: its function's name, or its index where the name is not unique."""
    if not isinstance(entries, list | tuple) or binding.is_entry(entries):
        raise ConfigError(f"{at}: found {entries!r}, allowed: a list of entries (name, dict)")
    names = [e[0] if binding.is_entry(e) else str(i) for i, e in enumerate(entries)]
    return [f"{at}.{n if names.count(n) == 1 else i}" for i, n in enumerate(names)]


def update_dicts(method: dict[str, Any], at: str) -> list[dict[str, Any]]:
    """The updates of a lifted method with their names, roles and paths filled in; ConfigError for unknown keys, roles and equal names."""
    updates = []
    for i, update in enumerate(method["updates"]):
        path = at if "_flat" in method else f"{at}.updates.{update.get('name', i)}"
        for key in update:
            if key not in UPDATE_KEYS:
                raise ConfigError(f"{path}.{key}: unknown key of an update; {near(key, UPDATE_KEYS)}")
        trains = update.get("trains", ("policy",))
        trains = (trains,) if isinstance(trains, str) else tuple(trains)
        for role in trains:
            if role not in ("policy", "value"):
                raise ConfigError(f"{path}.trains: found {role!r}, allowed: policy, value")
        updates.append(dict(update) | {"trains": trains, "name": update.get("name", "_".join(trains)), "_path": path})
    names = [u["name"] for u in updates]
    if len(set(names)) < len(names):
        raise ConfigError(f"{at}.updates: two updates are named {max(names, key=names.count)!r}; give each its `name`")
    return updates
