"""Set before the first JAX operation: eight simulated CPU devices, and a cache of compiled programs that outlives the run."""

import os
from pathlib import Path

DEVICES = "--xla_force_host_platform_device_count=8"
SETTINGS = {
    "JAX_PLATFORMS": "cpu",
    "JAX_COMPILATION_CACHE_DIR": str(Path(__file__).parents[1] / ".jax_cache"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",  # by default programs that compile in under a second are not kept
}
# In the environment, not only in jax.config: processes that tests start inherit it.
os.environ.update({name: os.environ.get(name, value) for name, value in SETTINGS.items()})
if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {DEVICES}".strip()

import hypothesis  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402

# A plugin may have imported JAX before this file: then it has read the environment too early.
jax.config.update("jax_platforms", os.environ["JAX_PLATFORMS"])
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", float(os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"]))

# The same examples in every run; no deadline, because the first example pays for compilation.
hypothesis.settings.register_profile("pojax", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("pojax")


@pytest.fixture
def x64():
    """float64 by default inside the test, float32 again after it."""
    with jax.enable_x64(True):
        yield
