"""The record of what a run ran on."""

import json

import jax
import numpy as np

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
