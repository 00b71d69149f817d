"""Where the numbers of a run go: a sink is two functions, `write(step, metrics)` and `close()`.

Every line and event is handed to the operating system before `write` returns, so a killed process loses at most a line that it was
writing; `cut_back` removes that one, and whatever is newer than the checkpoint from which the run goes on.
"""

import io
import json
import math
import os
import socket
import struct
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pojax.environment import optional

__all__ = ["Sink", "cut_back", "jsonl", "progress", "progress_line", "read", "tensorboard", "wandb"]

FILE = "metrics.jsonl"
TensorBoardExtra = dict(extra="tensorboard", what="TensorBoard output")


class Sink(NamedTuple):
    """write(step, {name: number}) and close()."""

    write: Callable[[int, Mapping[str, Any]], None]
    close: Callable[[], None]


def _numbers(metrics: Mapping[str, Any]) -> dict[str, int | float]:
    """Python numbers, in the order of the names; ValueError naming the metric that is not one number."""
    numbers: dict[str, int | float] = {}
    for name in sorted(metrics):
        value = np.asarray(metrics[name])
        if value.size != 1 or value.dtype.kind not in "biuf" and value.dtype.name != "bfloat16":
            raise ValueError(f"metrics: {name} is {value.dtype} of shape {value.shape}, allowed: one number")
        numbers[name] = int(value.reshape(())) if value.dtype.kind in "biu" else float(value.reshape(()))
    return numbers


# ---- JSON lines


def jsonl(path: str | os.PathLike) -> Sink:
    """Append one line {"step": step, name: number, ...} per write; numbers that are not finite become null, which is what JSON has."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a", encoding="utf-8")

    def write(step: int, metrics: Mapping[str, Any]) -> None:
        numbers = {name: value if math.isfinite(value) else None for name, value in _numbers(metrics).items()}
        file.write(json.dumps({"step": int(step), **numbers}) + "\n")
        file.flush()

    return Sink(write, file.close)


def read(path: str | os.PathLike) -> list[dict[str, Any]]:
    """The lines of a metrics file, oldest first; a last line that a killed process left unfinished is not one.

    Raises ValueError naming file and line for anything else that is not a JSON object with an integer step.
    """
    return [line for line, _ in _lines(Path(path))]


def _lines(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    texts = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.exists() else [""]
    for number, text in enumerate(texts[:-1], 1):  # what stands after the last newline is unfinished
        try:
            line = json.loads(text)
        except ValueError:
            line = None
        if not isinstance(line, dict) or not isinstance(line.get("step"), int):
            raise ValueError(f'{path}:{number}: found {text[:60]!r}, allowed: a JSON object with an integer "step"')
        yield line, text + "\n"


# ---- TensorBoard


def tensorboard(folder: str | os.PathLike) -> Sink:
    """Write scalars as TensorBoard events, one event per step. Raises ImportError naming the extra where tensorboardX is missing."""
    event_pb2 = optional("tensorboardX.proto.event_pb2", **TensorBoardExtra)
    summary_pb2 = optional("tensorboardX.proto.summary_pb2", **TensorBoardExtra)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # TensorBoard reads the files of a run in the order of their names; the nanoseconds keep two starts within a second apart.
    now = time.time_ns()
    file = (folder / f"events.out.tfevents.{now // 10**9}.{socket.gethostname()}.{now % 10**9:09d}").open("ab")

    def put(event: Any) -> None:
        data = event.SerializeToString()
        header = struct.pack("<Q", len(data))
        file.write(b"".join((header, struct.pack("<I", _masked_crc32c(header)), data, struct.pack("<I", _masked_crc32c(data)))))
        file.flush()

    def write(step: int, metrics: Mapping[str, Any]) -> None:
        values = [summary_pb2.Summary.Value(tag=name, simple_value=value) for name, value in _numbers(metrics).items()]
        put(event_pb2.Event(wall_time=time.time(), step=int(step), summary=summary_pb2.Summary(value=values)))

    put(event_pb2.Event(wall_time=time.time(), file_version="brain.Event:2"))
    return Sink(write, file.close)


def _records(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(record as stored, its data), up to the first that is cut short: nothing behind it can be found."""
    at = 0
    while at + 12 <= len(content):
        size, header_sum = struct.unpack("<QI", content[at : at + 12])
        end = at + 16 + size
        if header_sum != _masked_crc32c(content[at : at + 8]) or end > len(content):
            return
        yield content[at:end], content[at + 12 : end - 4]
        at = end


def _masked_crc32c(data: bytes) -> int:
    """The checksum of TensorFlow records: CRC-32C (Castagnoli), rotated and offset."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _crc_entry(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


CRC_TABLE = tuple(map(_crc_entry, range(256)))


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A protobuf integer and the position behind it."""
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return value, at


def _event(data: bytes) -> tuple[int, bool]:
    """Step of an event, and whether it holds scalars. The two fields are read by hand: going back needs no package."""
    step, scalars, at = 0, False, 0
    while at < len(data):
        tag, at = _varint(data, at)
        field, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            step = value if field == 2 else step
        elif wire == 2:
            size, at = _varint(data, at)
            scalars, at = scalars or field == 5, at + size
        else:
            at += 8 if wire == 1 else 4
    return step, scalars


# ---- going back to a checkpoint


def cut_back(workdir: str | os.PathLike, step: int) -> None:
    """Remove what is newer than `step` from metrics.jsonl and from all TensorBoard events below the workdir.

    Each file is replaced in one move, so being killed here loses nothing; a last line or record that was not finished goes too.
    Raises ValueError for a metrics file that holds something else, naming file and line.
    """
    workdir = Path(workdir)
    path = workdir / FILE
    if path.exists():
        _replace(path, "".join(text for line, text in _lines(path) if line["step"] <= step).encode())
    for path in sorted(workdir.rglob("events.out.tfevents.*")):
        _cut_events(path, step)


def _cut_events(path: Path, step: int) -> None:
    kept, points = [], 0
    for record, data in _records(path.read_bytes()):
        at, scalars = _event(data)
        if not scalars or at <= step:  # the first record holds the version of the format
            kept.append(record)
            points += scalars
    if points:
        _replace(path, b"".join(kept))
    else:
        path.unlink()  # TensorBoard would show a run without points


def _replace(path: Path, content: bytes) -> None:
    if path.read_bytes() == content:
        return
    temporary = path.with_name(f".{path.name}.new")  # not a name that TensorBoard or `cut_back` looks for
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


# ---- Weights & Biases


def wandb(folder: str | os.PathLike, *, project: str, name: str | None = None, config: dict | None = None) -> Sink:
    """Log to Weights & Biases; a run that is resumed in the same folder goes on as the same run. ImportError names the extra.

    Its history cannot be cut back: steps that a resumed run repeats are dropped by wandb, with the same numbers already there.
    """
    package = optional("wandb", extra="wandb", what="Weights & Biases output")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    identity = folder / "wandb_id"
    if not identity.exists():
        identity.write_text(uuid.uuid4().hex[:12])
    run = package.init(dir=str(folder), project=project, name=name, config=config, id=identity.read_text(), resume="allow")
    return Sink(lambda step, metrics: run.log(_numbers(metrics), step=int(step)), run.finish)


# ---- the terminal


def progress(
    total: int, *, stream: io.TextIOBase | None = None, every: float | int = 5.0, clock: Callable[[], float] = time.monotonic
) -> Sink:
    """Show how far the run is, on stderr: one line that is rewritten on a terminal, else a line at most every `every` seconds.

    Metrics that not every step has (validation) stay in the line with their last value. The time left is what the steps since the first
    write took, per step, times the steps that are left: compiling, which happens before it, does not count.
    """
    out: Any = sys.stderr if stream is None else stream
    live = out.isatty()
    known: dict[str, float] = {}
    first: list[float] = []  # step and time of the first write
    shown = [-math.inf, 0]  # time and step of the last line

    def write(step: int, metrics: Mapping[str, Any]) -> None:
        now = clock()
        known.update(_numbers(metrics))
        if not first:
            first.extend((step, now))
        left = (now - first[1]) / (step - first[0]) * (total - step) if step > first[0] else None
        if now - shown[0] >= (0.1 if live else every) or step >= total:
            shown[:] = now, step
            line = progress_line(step, total, known, left)
            out.write(f"\r\x1b[K{line}" if live else f"{line}\n")
            out.flush()

    def close() -> None:
        if live and shown[1]:
            out.write("\n")
            out.flush()

    return Sink(write, close)


def progress_line(step: int, total: int, metrics: Mapping[str, Any], seconds_left: float | int | None = None) -> str:
    """The line that `progress` shows: bar, step, reward (loss where there is none), validation pass@1, tokens/s, time left."""
    done = min(step / total, 1.0) if total else 1.0
    parts = [f"[{'#' * int(20 * done):<20}] {step}/{total}"]
    first = "reward" if metrics.get("reward") is not None else "loss"
    for name, form in ((first, f"{first} {{:.3f}}"), ("validation/pass_at_1", "pass@1 {:.1%}"), ("tokens_per_second", "{:,.0f} tokens/s")):
        if metrics.get(name) is not None:
            parts.append(form.format(metrics[name]))
    if seconds_left is not None:
        minutes, seconds = divmod(round(seconds_left), 60)
        hours, minutes = divmod(minutes, 60)
        parts.append(f"{hours}:{minutes:02d}:{seconds:02d} left" if hours else f"{minutes}:{seconds:02d} left")
    return "  ".join(parts)
