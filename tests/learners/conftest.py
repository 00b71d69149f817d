import jax
import pytest

from pojax import models


@pytest.fixture(autouse=True, scope="module")
def quick_compilation():
    """Programs here run for milliseconds: compile them with few optimisations, and draw the parameters of a model shape once."""
    made = {}
    init = models.init

    def once(key, config):
        if config not in made:
            with jax.ensure_compile_time_eval():
                made[config] = jax.jit(init, static_argnums=1)(jax.random.key(0), config)
        return made[config]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "init", once)
        jax.config.update("jax_disable_most_optimizations", True)
        yield
        jax.config.update("jax_disable_most_optimizations", False)
