"""The record of what a run ran on."""

import json
import shutil
import subprocess

import jax
import numpy as np
import pytest

from pojax import environment


def test_versions_and_features():
    found = environment.versions_and_features()
    assert json.loads(json.dumps(found)) == found
    assert found["jax"] == jax.__version__ and found["numpy"] == np.__version__
    assert found["devices"] == 8 and found["platform"] == "cpu" and found["cpu_cores"] >= 1 and found["x64"] is False
    assert None not in found.values()


def test_cpu_features(tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text("processor : 0\nflags\t\t: fpu sse2 avx512f avx2 smep\n\nprocessor : 1\nflags : fpu\n")
    assert environment._cpu_features(file) == ["avx2", "avx512f", "sse2"]
    file.write_text("Features\t: fp asimd evtstrm sve\n")
    assert environment._cpu_features(file) == ["asimd", "sve"]
    assert environment._cpu_features(tmp_path / "missing") == []


def test_checkout(tmp_path):
    """The commit of the package's own checkout, whether files differ from it, and nothing for a copy that git does not know."""
    if shutil.which("git") is None:
        pytest.skip("git is not there: apt-get install git")

    def git(*arguments):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
        return subprocess.run(
            ["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True, text=True
        ).stdout.strip()

    package = tmp_path / "pojax"
    package.mkdir()
    (package / "__init__.py").write_text("")
    assert environment.checkout(package) is None
    git("init", "-q")
    assert environment.checkout(package) is None
    git("add", "pojax")
    git("commit", "-qm", "first")
    assert environment.checkout(package) == git("rev-parse", "HEAD") and len(git("rev-parse", "HEAD")) == 40
    (package / "__init__.py").write_text("x = 1")
    assert environment.checkout(package) == f"{git('rev-parse', 'HEAD')} + changes"
