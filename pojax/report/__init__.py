"""One HTML file about runs: `python -m pojax.report --workdir=RUN[,RUN ...] [--out=report.html]`.

`read` takes what a workdir holds, `data` makes of several runs what the page shows, `page` writes it into one file without a network.
"""

from pojax.report.page import write_report

__all__ = ["write_report"]
