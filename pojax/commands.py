"""What the commands share: `--config=file.py[:preset] --config.path=value --workdir=...`, and errors as one line with exit code 2."""

import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pojax import config as configs
from pojax.binding import ConfigError, near

FLAGS = ("config", "workdir", "print", "help")
HELP = {
    "train": "Train what the config says, or go on where the workdir stopped. --config=FILE.py[:PRESET]; "
    "--config.PATH=VALUE changes one value\n"
    "(--config.run.steps=20 --config.method.losses.ppo_clip.epsilon=0.1); --print shows the resolved config, "
    "shapes and batches, and stops.",
    "collect": "Sample every training prompt from the policy that the config starts from, and write rewards and optimal values: "
    "--out=FILE.npz\n--samples=8 --beta=0.5 --split=train.",
    "explain": "Print the bound program of the config: what every function reads and writes, and the forward passes of an iteration.",
}


class Help(Exception):
    """The text that --help asks for."""


class Arguments(NamedTuple):
    config: Any  # ConfigDict with the overrides applied, or None
    workdir: str | None
    show: bool  # --print: say what would run and stop


def parse(argv: list[str], command: str, needs: tuple[str, ...] = ("config",)) -> Arguments:
    """Read the command line; ConfigError with the usage for what it does not know."""
    usage = (
        f"python -m pojax.{command} "
        + " ".join(f"--{n}=..." for n in needs)
        + (" [--config.<path>=<value> ...]" if "config" in needs else "")
    )
    spec, workdir, show, changes = None, None, False, {}
    if "--help" in argv or "-h" in argv:
        raise Help(f"usage: {usage}\n{HELP[command]}")
    for argument in argv:
        name, equals, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--"):
            raise ConfigError(f"{argument!r}: found a bare word, allowed: --name=value; usage: {usage}")
        if name == "print" and not equals:
            show = True
        elif not equals:
            raise ConfigError(f"--{name}: needs a value, --{name}=...; usage: {usage}")
        elif name == "config":
            spec = value
        elif name == "workdir":
            workdir = value
        elif name.startswith("config."):
            changes[name.removeprefix("config.")] = configs.parse_value(value)
        else:
            raise ConfigError(f"--{name}: unknown option; {near(name, FLAGS)}; usage: {usage}")
    for need, found in (("config", spec), ("workdir", workdir)):
        if need in needs and found is None and not (need == "workdir" and show):
            raise ConfigError(f"--{need} is missing; usage: {usage}")
    config = None if spec is None else configs.override(configs.load(spec), changes)
    return Arguments(config, workdir, show)


def options(argv: list[str], names: tuple[str, ...], usage: str, switches: tuple[str, ...] = ()) -> dict[str, str]:
    """`--name=value` pairs (`--name value` will do) of a command without a config, and switches, `--name` alone, as "yes".

    ConfigError for anything else.
    """
    found, rest = {}, list(argv)
    if "--help" in argv or "-h" in argv:
        raise Help(f"usage: python -m pojax.{usage}")
    while rest:
        argument = rest.pop(0)
        name, equals, value = argument.removeprefix("--").partition("=")
        known = argument.startswith("--") and name in (*names, *switches)
        if known and not equals:
            if name in switches:
                value = "yes"
            elif rest and not rest[0].startswith("--"):
                value = rest.pop(0)
            else:
                raise ConfigError(f"--{name}: needs a value, --{name}=...; usage: python -m pojax.{usage}")
        elif not known or name in switches:
            allowed = [*(f"--{n}=..." for n in names), *(f"--{n}" for n in switches)]
            raise ConfigError(f"{argument!r}: {near(argument, allowed)}; usage: python -m pojax.{usage}")
        found[name] = value
    return found


class Options:
    """Numbers among the options of a command, {name: text}; ConfigError for what is none."""

    def __init__(self, options: Mapping[str, str]) -> None:
        self.options = options

    def whole(self, name: str, default: Any, least: int = 0) -> Any:
        text = self.options.get(name)
        if text is not None and not (text.isdecimal() and int(text) >= least):
            raise ConfigError(f"--{name}: found {text!r}, allowed: a whole number of {least} or more")
        return default if text is None else int(text)

    def number(self, name: str, default: float) -> float:
        text = self.options.get(name)
        try:
            return default if text is None else float(text)
        except ValueError as error:
            raise ConfigError(f"--{name}: found {text!r}, allowed: a number") from error


def split_changes(argv: list[str]) -> tuple[list[str], dict[str, Any]]:
    """(the other arguments, {path: value} of `--config.path=value`)."""
    pairs = [a.removeprefix("--config.").partition("=") for a in argv if a.startswith("--config.")]
    for path, equals, _ in pairs:
        if not equals:
            raise ConfigError(f"--config.{path}: needs a value, --config.{path}=...")
    return [a for a in argv if not a.startswith("--config.")], {path: configs.parse_value(value) for path, _, value in pairs}


def run(body: Callable[[], Any]) -> int:
    """Run a command; what a user can mend is shown as one line on stderr and exit code 2."""
    try:
        body()
    except Help as text:
        print(text)
    except KeyboardInterrupt:
        print("pojax: interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError) as error:
        print(f"pojax: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0
