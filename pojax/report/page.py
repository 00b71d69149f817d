"""The page as one file: its own style and script, and the data as JSON that cannot break out of its element."""

import base64
import hashlib
import json
import math
import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pojax.report.data import page_data
from pojax.report.read import read_runs

SCRIPTS = ("dom.js", "curves.js", "charts.js", "samples.js", "main.js")  # in the order in which they build on each other


def write_report(workdirs: Sequence[str | os.PathLike], out: str | os.PathLike) -> Path:
    """Write the page about some runs to `out` and return its path.

    ConfigError for a folder without a run or given twice, ValueError naming a damaged file and line, OSError for an `out` that cannot be
    written. A last line of metrics.jsonl that is half written, as a running process leaves it, is not read.
    """
    out, text = Path(out), page(page_data(read_runs(workdirs)))
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(out)
    except OSError as error:
        raise OSError(f"--out={out}: cannot be written ({error.strerror or error})") from error
    return out


def page(data: Any) -> str:
    """The whole page. Only its own script may run in it: the policy in its head names the script's hash, and allows no network."""
    style, script = _own("page.css"), '"use strict";\n(() => {\n' + "\n".join(map(_own, SCRIPTS)) + "})();\n"
    policy = f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data:; base-uri 'none'"
    text = _own("page.html")
    # The data come last: what they hold is not looked through for markers.
    for marker, content in (("POLICY", policy), ("STYLE", style), ("SCRIPT", script), ("DATA", embedded(data))):
        text = text.replace(f"@{marker}@", content, 1)
    return text


def embedded(data: Any) -> str:
    """JSON for the inside of a script element: no character in it can end the element or begin another, none is special in JavaScript."""
    try:
        text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    except ValueError:  # a file written by hand
        text = json.dumps(_finite(data), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _own(name: str) -> str:
    return resources.files("pojax.report").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
