"""Folders of Hugging Face in and out: config.json and safetensors to a `DecoderConfig` and its parameter tree, and back.

No code and no pickle of a folder is ever run; weights are read one tensor at a time, straight into (sharded) arrays.
"""

from pojax.models.hf.configs import ARCHITECTURES, read_config, write_config
from pojax.models.hf.folder import load, save
from pojax.models.outputs import score

__all__ = ["ARCHITECTURES", "load", "read_config", "save", "score", "write_config"]
