"""What a run ran on: the versions and the hardware that must be equal for two runs to end in the same bits."""

import importlib
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp

import pojax

__all__ = ["checkout", "optional", "versions_and_features"]

# Instruction sets from which XLA picks its kernels; the flags of a processor that have nothing to do with numbers are left out.
SIMD = ("asimd", "avx", "f16c", "fma", "neon", "sse", "ssse3", "sve", "vsx", "amx", "bf16", "i8mm")


def versions_and_features() -> dict[str, Any]:
    """Versions (python, pojax, jax, jaxlib, flax, optax, orbax, numpy), devices, x64, CPU cores and features, as JSON has them.

    Two runs of one config and seed end in the same bits where these are equal; elsewhere they agree within floating-point tolerance.
    """
    packages = dict(jax="jax", jaxlib="jaxlib", flax="flax", optax="optax", orbax="orbax-checkpoint", numpy="numpy")
    return dict(
        python=platform.python_version(),
        pojax=pojax.__version__,
        **{name: _version(package) for name, package in packages.items()},
        system=f"{platform.system()} {platform.machine()}",
        platform=jax.default_backend(),
        device_kind=jax.devices()[0].device_kind,
        devices=jax.device_count(),
        processes=jax.process_count(),
        x64=jnp.result_type(float) == jnp.float64,
        cpu_cores=_cores(),
        cpu_features=_cpu_features(),
    )


def checkout(folder: Path = Path(pojax.__file__).parent) -> str | None:
    """Commit of the git checkout that the package lies in, "+ changes" behind it where files differ; None where it lies in none."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(pojax.__file__).name)  # a site-packages below somebody else's checkout is not ours
        commit = git("rev-parse", "HEAD")
        return f"{commit} + changes" if git("status", "--porcelain", "--untracked-files=no") else commit
    except (OSError, subprocess.SubprocessError):
        return None


def optional(module: str, *, extra: str, what: str) -> ModuleType:
    """Import a package that not every installation has; ImportError in one line that names what is left out and the extra to install."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name != module.split(".")[0]:
            raise  # the package is there, something that it needs is not
        package = module.split(".")[0]
        raise ImportError(f"{what} needs the package {package}: pip install 'pojax[{extra}]'", name=package) from None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cores() -> int:
    # The cores this process may use: XLA cuts its work by them, and the cut decides the order of sums.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def _cpu_features(cpuinfo: Path = Path("/proc/cpuinfo")) -> list[str]:
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        return []
    for line in lines:
        name, _, flags = line.partition(":")
        if name.strip() in ("flags", "Features"):  # x86, ARM
            return sorted(flag for flag in flags.split() if flag.startswith(SIMD))
    return []
