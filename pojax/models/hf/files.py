"""Safetensors files: their headers, one tensor at a time in and out, and the index of several files.

The format: 8 bytes with the length n of the header (little-endian), n bytes of JSON {name: {dtype, shape, data_offsets}}, the data.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
TYPES = {"F32": np.dtype("float32"), "F16": np.dtype("float16"), "BF16": np.dtype(jnp.bfloat16)}
LONGEST_HEADER = 100_000_000  # bytes; a longer one is damage, not a header
CHECKED = 2**22  # numbers looked at together for NaN


class Stored(NamedTuple):
    """A tensor in a file."""

    file: Path
    name: str
    dtype: str  # as the file calls it
    shape: tuple[int, ...]
    start: int  # byte in the file

    def read(self) -> np.ndarray:
        """The numbers; ValueError naming file and tensor for a type that is not supported and for NaN or infinite numbers."""
        if self.dtype not in TYPES:
            raise ValueError(f"{self.file}: tensor {self.name} has type {self.dtype}, allowed: {', '.join(TYPES)}")
        dtype = TYPES[self.dtype]
        flat = np.fromfile(self.file, np.uint8, math.prod(self.shape) * dtype.itemsize, offset=self.start).view(dtype)
        check_finite(flat, f"{self.file}: tensor {self.name}")
        return flat.reshape(self.shape)


def check_finite(x: np.ndarray, what: str) -> None:
    """ValueError where x holds NaN or infinite numbers."""
    flat = x.reshape(-1)
    for begin in range(0, flat.size, CHECKED):
        piece = flat[begin : begin + CHECKED]
        if not np.isfinite(piece).all():
            raise ValueError(f"{what} holds {piece[~np.isfinite(piece)][0]}, allowed: finite numbers")


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object; ValueError naming the file and the line where it is none."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"{file}: no such file") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: not JSON ({error})") from error
    if not isinstance(value, dict):
        raise ValueError(f"{file}: found {type(value).__name__}, allowed: a JSON object")
    return value


def contents(folder: Path) -> dict[str, Stored]:
    """{tensor: where it is} of a folder, from the headers alone. ValueError naming the file for whatever is missing or damaged."""
    if (folder / SINGLE).is_file():
        return header(folder / SINGLE)
    if not (folder / INDEX).is_file():
        others = sorted(path.name for path in folder.glob("*") if path.suffix in (".bin", ".pt", ".pth"))
        pickles = f"; {others[0]} may hold code and is not read: convert it to safetensors" if others else ""
        raise ValueError(f"{folder}: found neither {SINGLE} nor {INDEX}{pickles}")
    names = read_json(folder / INDEX).get("weight_map")
    if not isinstance(names, dict):
        raise ValueError(f"{folder / INDEX}: weight_map is {names!r}, allowed: an object from tensors to files")
    shards: dict[str, dict[str, Stored]] = {}
    found = {}
    for name, file in names.items():
        if not isinstance(file, str) or Path(file).name != file:
            raise ValueError(f"{folder / INDEX}: tensor {name} is in {file!r}, allowed: the name of a file beside the index")
        if file not in shards:
            if not (folder / file).is_file():
                raise ValueError(f"{folder / file}: no such file, and {INDEX} says that it holds tensor {name}")
            shards[file] = header(folder / file)
        if name not in shards[file]:
            raise ValueError(f"{folder / file}: tensor {name} is missing, and {INDEX} says that it is here")
        found[name] = shards[file][name]
    return found


def header(file: Path) -> dict[str, Stored]:
    """{tensor: where it is} of one file; ValueError naming file and tensor where the file is cut short or damaged."""
    size = file.stat().st_size
    with open(file, "rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > min(LONGEST_HEADER, size - 8):
            raise ValueError(f"{file}: the header should have {length} bytes, the file has {size}: it is cut short or no safetensors file")
        try:
            entries = json.loads(stream.read(length))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{file}: the header is not JSON ({error})") from error
    found = {}
    for name, entry in entries.items():
        if name == "__metadata__":
            continue
        try:
            dtype, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
            sized = end - begin == math.prod(shape) * TYPES[dtype].itemsize if dtype in TYPES else end >= begin
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{file}: tensor {name} has a damaged entry in the header: {entry!r}") from error
        if not sized or begin < 0:
            raise ValueError(f"{file}: tensor {name} of type {dtype} and shape {shape} cannot be the bytes {begin} to {end}")
        if 8 + length + end > size:
            raise ValueError(f"{file}: tensor {name} ends at byte {8 + length + end}, the file at {size}: it is cut short")
        found[name] = Stored(file, name, dtype, shape, 8 + length + begin)
    return found


class Item(NamedTuple):
    """A tensor to be written."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    numbers: Callable[[], np.ndarray]  # called when it is written

    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def write(folder: Path, items: Sequence[Item], shard_bytes: int) -> None:
    """One file, or several of at most shard_bytes (or one tensor) and their index. Numbers are asked for one tensor at a time."""
    shards: list[list[Item]] = [[]]
    for item in items:
        if shards[-1] and sum(each.bytes() for each in shards[-1]) + item.bytes() > shard_bytes:
            shards.append([])
        shards[-1].append(item)
    if len(shards) == 1:
        write_file(folder / SINGLE, shards[0])
        return
    names = [f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors" for i in range(len(shards))]
    for name, shard in zip(names, shards, strict=True):
        write_file(folder / name, shard)
    total = sum(item.bytes() for item in items)
    weight_map = {item.name: name for name, shard in zip(names, shards, strict=True) for item in shard}
    write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": weight_map})


def write_json(file: Path, value: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def write_file(file: Path, items: Sequence[Item]) -> None:
    """One file. ValueError naming file and tensor for NaN or infinite numbers."""
    called = {dtype: name for name, dtype in TYPES.items()}
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}  # transformers asks for it
    end = 0
    for item in items:
        begin, end = end, end + item.bytes()
        entries[item.name] = {"dtype": called[item.dtype], "shape": item.shape, "data_offsets": (begin, end)}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data begin at a multiple of 8
    with open(file, "wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for item in items:
            numbers = np.ascontiguousarray(item.numbers(), item.dtype)
            check_finite(numbers, f"{file}: tensor {item.name}, not written whole:")
            stream.write(numbers.reshape(-1).view(np.uint8).data)
