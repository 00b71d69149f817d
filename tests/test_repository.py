"""What the repository promises about itself: pins, extras, version."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SETUP, MAKEFILE = (ROOT / "setup.py").read_text(), (ROOT / "Makefile").read_text()
REQUIREMENT = re.compile(r'"([A-Za-z][\w-]*)(?:\[[a-z0-9]+\])?(?:[=><]=[\w.]+)?"')


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(extra: str) -> set[str]:
    """Names that an extra in setup.py lists."""
    line = re.search(rf'^    "{extra}": \[(.+?)\],', SETUP, re.MULTILINE)
    return {canonical(name) for name in REQUIREMENT.findall(line.group(1))}


def makefile_list(name: str) -> set[str]:
    return set(re.search(rf"^{name} := (.+)$", MAKEFILE, re.MULTILINE).group(1).split(","))


@pytest.mark.parametrize("version", ["py311", "py312"])
def test_constraints_pin_every_requirement(version):
    lines = (ROOT / "constraints" / f"{version}.txt").read_text().splitlines()
    pins = {canonical(line.split("==")[0]) for line in lines if not line.startswith("#")}
    assert all(re.fullmatch(r"#.*|[\w.-]+==[\w.]+", line) for line in lines)
    core = SETUP[SETUP.index("install_requires") : SETUP.index("extras_require")]
    needed = {canonical(name) for name in REQUIREMENT.findall(core)}
    needed = needed.union(*(requirements(extra) for extra in makefile_list("ALL_EXTRAS")))
    assert len(needed) > 20 and needed <= pins


def test_extras_of_training_are_installed_for_the_tests_too():
    train, test, everything = (makefile_list(f"{name}_EXTRAS") for name in ("TRAIN", "TEST", "ALL"))
    assert {"data", "tensorboard", "plots"} <= train < test < everything
    assert {"torch", "transformers"} <= requirements("hf-test") and not {"torch", "transformers"} & requirements("hf")


def test_one_version():
    version = re.search(r'^__version__ = "(.+)"$', (ROOT / "pojax" / "__init__.py").read_text(), re.MULTILINE).group(1)
    assert f"version: {version}" in (ROOT / "CITATION.cff").read_text().splitlines()
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()


def test_pyproject_holds_settings_only():
    assert set(tomllib.loads((ROOT / "pyproject.toml").read_text())) == {"build-system", "tool"}
