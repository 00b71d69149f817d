"""What the package is and what it needs; exact versions that work together stand in constraints/."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'^__version__ = "(.+)"$', (ROOT / "pojax" / "__init__.py").read_text(), re.MULTILINE).group(1)
README = ROOT / "README.md"

EXTRAS = {
    "data": ["tensorflow-datasets>=4.9.9", "array_record>=0.8", "sentencepiece>=0.2.1", "pyarrow>=18"],
    "hf": ["tokenizers>=0.22", "safetensors>=0.6", "jinja2>=3.1.6", "sentencepiece>=0.2.1"],
    "math": ["math-verify>=0.9"],
    "json": ["jsonschema>=4.20"],
    "hf-test": ["torch==2.13.0", "transformers==5.23.0", "peft>=0.17"],  # exact: an open range of torch brings gigabytes of CUDA
    "tensorboard": ["tensorboardX>=2.6.4"],
    "plots": ["matplotlib>=3.10"],
    "wandb": ["wandb>=0.19"],
    "notebooks": ["ipykernel>=6.29", "nbclient>=0.10", "nbformat>=5.10", "matplotlib>=3.10"],
    "test": ["pytest>=8", "pytest-xdist>=3.6", "hypothesis>=6.100", "beartype>=0.22", "ruff>=0.17", "mypy>=2"],
    "cuda": ["jax[cuda12]"],
    "tpu": ["jax[tpu]"],
}

setup(
    name="pojax",
    version=VERSION,
    description="Policy optimisation in JAX: pure functions, and one config per method",
    long_description=README.read_text() if README.exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    packages=find_packages(include=["pojax", "pojax.*"]),
    package_data={"pojax.report": ["*.html", "*.css", "*.js"]},
    python_requires=">=3.11",
    install_requires=[
        "jax>=0.10",
        "flax>=0.12",
        "optax>=0.2.6",
        "orbax-checkpoint>=0.12",
        "chex>=0.1.91",
        "ml-collections>=1.1",
        "jaxtyping>=0.3.4",
        "numpy>=2.1",
    ],
    extras_require=EXTRAS,
)
