"""`python -m pojax.report --workdir=RUN[,RUN ...] [--out=report.html]`: one self-contained HTML file about one run or several."""

import pathlib
import sys

from pojax import commands
from pojax.binding import ConfigError
from pojax.report import write_report

USAGE = "report --workdir=RUN[,RUN ...] [--out=report.html]"


def main(argv: list[str] | None = None) -> int:
    def body() -> None:
        given = commands.options(sys.argv[1:] if argv is None else argv, ("workdir", "out"), USAGE)
        folders = [name for name in given.get("workdir", "").split(",") if name]
        if not folders:
            raise ConfigError(f"--workdir is missing; usage: python -m pojax.{USAGE}")
        print(write_report(folders, given.get("out", pathlib.Path(folders[0]) / "report.html")))

    return commands.run(body)


if __name__ == "__main__":
    sys.exit(main())
