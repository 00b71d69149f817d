"""What holds for the text of every public function of the pure stages. What they compute is swept in test_sweep_*.py."""

import ast
import inspect
import re
import subprocess
import sys
import typing
from pathlib import Path

import numpy as np
import pytest
from sweep import FUNCTIONS, REGISTERED, is_hyper, members, parameters

import pojax
from pojax.checks import in_range

PACKAGE = Path(pojax.__file__).parent


@pytest.mark.parametrize("name", REGISTERED)
def test_convention(name):
    function = REGISTERED[name]
    kinds = {p.kind for p in inspect.signature(function).parameters.values()}
    assert kinds <= {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
    for p in parameters(function, keyword_only=False):
        assert p.annotation is not p.empty, f"{p.name} has no annotation"
        assert p.default in (p.empty, None), f"{p.name} is data: its default may only be None"
        assert not is_hyper(p.annotation), f"{p.name} is a hyper-parameter: keyword-only"
    for p in parameters(function, keyword_only=True):
        static = all(m in (int, bool, str, dict) or typing.get_origin(m) is dict for m in members(p.annotation))
        assert is_hyper(p.annotation) or static, f"{p.name}: {p.annotation} is neither Hyper nor int, bool, str, dict"
        assert float not in members(p.annotation) or is_hyper(p.annotation), f"{p.name}: a plain float is never traced"
    assert inspect.signature(function).return_annotation is not inspect.Signature.empty


@pytest.mark.parametrize("name", REGISTERED)
def test_docstring_says_what_and_where_from(name):
    doc = inspect.getdoc(REGISTERED[name])
    first = doc.splitlines()[0]
    assert first.endswith((".", ":")) or ". " in first, first
    source = re.search(r"Source: ([^\n]+(\n[^\n]+)*)", doc)
    assert source, "no source"
    assert re.search(r"arXiv \d{4}\.\d{4,5}|(19|20)\d\d|simple random sampling|indexing", source[1]), source[1]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_defaults_lie_in_the_ranges(name):
    function, known = FUNCTIONS[name], inspect.signature(FUNCTIONS[name]).parameters
    for parameter, allowed in getattr(function, "ranges", {}).items():
        default = known[parameter].default
        assert default is None or default is inspect.Parameter.empty or in_range(default, allowed)


def test_what_the_pure_stages_import():
    """jax, numpy, jaxtyping, the standard library, and each other."""
    names = "annotations checks numerics reductions groups curricula rewards advantages losses trackers"
    pure = {f"pojax.{name}" for name in names.split(" ")}
    allowed = {"jax", "numpy", "jaxtyping"} | sys.stdlib_module_names
    files = [f for name in pure for f in (PACKAGE / f"{name[6:]}.py", *(PACKAGE / name[6:]).glob("*.py")) if f.exists()]
    assert len(files) > 20
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            modules = (
                [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module] if isinstance(node, ast.ImportFrom) else []
            )
            for module in modules:
                inside = ".".join(module.split(".")[:2]) in pure
                assert inside or module.split(".")[0] in allowed, f"{file.name} imports {module}"


def test_import_is_light():
    heavy = "torch tensorflow transformers matplotlib orbax tensorflow_datasets flax sentencepiece optax chex ml_collections beartype"
    code = f"""
import sys, time
start = time.perf_counter()
import pojax.advantages, pojax.losses
seconds = time.perf_counter() - start
print([m for m in {heavy.split()} if m in sys.modules], seconds)
"""
    fastest = np.inf
    for _ in range(3):  # the machine may be busy with something else
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
        loaded, seconds = done.stdout.strip().rsplit(" ", 1)
        assert loaded == "[]"
        fastest = min(fastest, float(seconds))
        if fastest < 2.0:
            return
    pytest.fail(f"import takes {fastest:.1f} s")
