"""Answers per second of the verifiers, on all cores where they run in worker processes; rounds of all cases in turn, medians.

python benchmarks/verifiers.py --rounds=5 --answers=2000
"""

import argparse
import json
import os
import statistics
import time

from pojax.tasks.verifiers import bind, pool
from pojax.types import Sample

HANGING = "9^{9^{9^9}}"
SECONDS = 0.5  # processor time that a hanging call gets here; a run's default is 5


def cases(first, answers):
    """{name: (verifier, calls)}; every answer of a run is another one, so that nothing is found in a cache."""
    numeric, boxed = ("numeric", {"extract": "hash_marks"}), ("expression", {"seconds": SECONDS})
    number = [(f"so it is {i}.\n#### ${i:,}.00", str(i)) for i in range(first, first + answers)]
    fraction = [(rf"Then \boxed{{\frac{{{i}}}{{7}}}}", rf"\dfrac{{{i}}}{{7}}") for i in range(first, first + answers)]
    symbolic = [(rf"Then \boxed{{(x+{i})(x-{i})}}", rf"x^2-{i * i}") for i in range(first, first + answers)]
    hanging = [(rf"\boxed{{{HANGING}}}", answer) if i % 200 == 100 else (text, answer) for i, (text, answer) in enumerate(symbolic)]
    named = {
        "numeric, in process": (numeric, number),
        "expression, equal but for its looks": (boxed, fraction),
        "expression, by sympy": (boxed, symbolic),
        f"expression, by sympy, every 200th hangs for {SECONDS} s": (boxed, hanging),
    }
    made = {}
    for name, (entry, pairs) in named.items():
        verifier = bind(entry)
        made[name] = verifier, [(Sample(None, None, text, "end"), verifier.prepare(answer)) for text, answer in pairs]
    return made


def measure(verifier, calls):
    """Answers per second, and how many are right."""
    begun = time.perf_counter()
    if verifier.seconds is None:
        verdicts = [verifier(*call) for call in calls]
    else:
        verdicts = [outcome.verdict(verifier.fields) for outcome in pool.shared().map(verifier, calls, verifier.seconds)]
    return len(calls) / (time.perf_counter() - begun), sum(int(verdict["correct"] == 1) for verdict in verdicts)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--answers", type=int, default=2000)
    options = parser.parse_args(argv)
    found = {name: [] for name in cases(1, 1)}
    measure(*cases(1, 20)["expression, by sympy"])  # workers start
    for turn in range(options.rounds):
        for name, case in cases(100 + turn * options.answers, options.answers).items():
            found[name].append(measure(*case))
    for name, rounds in found.items():
        speeds = [speed for speed, _ in rounds]
        line = dict(case=name, answers=options.answers, right=[right for _, right in rounds], cores=pool.shared().size)
        line |= dict(answers_per_second=round(statistics.median(speeds), 1), range=[round(min(speeds), 1), round(max(speeds), 1)])
        print(json.dumps(line | dict(load=round(os.getloadavg()[0], 1))))


if __name__ == "__main__":
    main()
