#!/usr/bin/env python3
"""How many user instructions requests cost, by callgrind, beside what benches/counts.toml remembers of them.

    counts.py [--update] [--rounds 3] [--only small,get] [SERVER]

A server runs with some of every request, and again with many more of one: the difference is theirs, so that starting and
ending cancel out, and what goes by the clock is taken off. What is told is the median of the rounds, in the unit of the
figure. Ends with 1 when a figure is higher than it was by more than its tolerance; --update writes the figures down.
"""

import argparse
import sys
import time
import tomllib
from pathlib import Path
from statistics import median

import callgrind

KEPT = Path(__file__).resolve().with_name("counts.toml")
MIB = 1 << 20
SMALL, ONE_POST, LARGE = b"s" * (16 << 10), b"o" * (4 << 10), b"l" * (32 * MIB)
REST_SECS = 8

HEADER = """\
# How many user instructions requests cost wharf, as `just counts` finds them; `just counts --update` writes this file.
#
# Callgrind counts, so what else the machine does changes little; but threads that wait for one another spin for a moment, and
# a client that is kept from sending lets the server read a large PATCH in smaller pieces. Three rounds of one program on a
# machine that was busy with other work lay within 2.2 % of one another for `small`, 1.3 % for `one_post`, 1 % for `head`, 26 %
# for `patch` and 4 % for `get`, and a single round an hour later lay 2.5 % above their median for `head` and 7 % for `get`: the
# tolerance of each figure, in %, is no less. Other compilers, and a glibc or a processor for which memory is copied otherwise,
# count otherwise: compare what was counted on one machine.
"""


class Figure:
    """Some requests that are alike."""

    def __init__(self, what, tolerance, times, units, run):
        self.what, self.tolerance = what, tolerance
        # How often they are sent, how many units each time is, and how.
        self.times, self.units, self.run = times, units, run


def small(connection, placed):
    path = callgrind.create(connection, len(SMALL))
    callgrind.append(connection, path, SMALL)
    callgrind.inspect(connection, path)


def one_post(connection, placed):
    callgrind.create(connection, len(ONE_POST), ONE_POST)


def head(connection, placed):
    callgrind.inspect(connection, placed)


def patch(connection, placed):
    callgrind.append(connection, callgrind.create(connection, len(LARGE)), LARGE)


def get(connection, placed):
    callgrind.download(connection, placed)


FIGURES = {
    "small": Figure("an upload of 16 KiB by POST, PATCH and HEAD", 3, 500, 1, small),
    "one_post": Figure("an upload of 4 KiB by one POST", 3, 500, 1, one_post),
    "head": Figure("a HEAD", 4, 1500, 1, head),
    "patch": Figure("a MiB of a PATCH of 32 MiB", 30, 4, 32, patch),
    "get": Figure("a MiB of a GET of 32 MiB", 10, 8, 32, get),
}


def load(more=None, rest_secs=0):
    """Some of all requests, and many more of one."""

    def run(connection):
        placed = callgrind.create(connection, len(LARGE))
        callgrind.append(connection, placed, LARGE)
        for figure in FIGURES.values():
            for _ in range(max(2, figure.times // 10)):
                figure.run(connection, placed)
        for _ in range(more.times if more else 0):
            more.run(connection, placed)
        time.sleep(rest_secs)

    return run


def count(server, names):
    """Instructions of each figure's unit, once."""
    some, some_secs = callgrind.instructions(server, load())
    rest, rest_secs = callgrind.instructions(server, load(rest_secs=REST_SECS))
    a_second = max(0, (rest - some) / (rest_secs - some_secs))
    found = {}
    for name in names:
        figure = FIGURES[name]
        many, many_secs = callgrind.instructions(server, load(figure))
        found[name] = (many - some - a_second * (many_secs - some_secs)) / (figure.times * figure.units)
    return found


def written(kept):
    lines = [HEADER]
    for name, figure in FIGURES.items():
        if name in kept:
            lines += [f"[{name}]", f'what = "{figure.what}"', f"instructions = {kept[name]}", f"tolerance = {figure.tolerance}\n"]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("server", nargs="?", default="target/release/wharf")
    parser.add_argument("--update", action="store_true", help="write the figures down")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(FIGURES), metavar="FIGURE,...")
    options = parser.parse_args()
    rounds = []
    for number in range(options.rounds):
        print(f"round {number + 1}/{options.rounds}", file=sys.stderr, flush=True)
        rounds.append(count(options.server, options.only))
    old = tomllib.loads(KEPT.read_text()) if KEPT.exists() else {}
    kept = {name: entry["instructions"] for name, entry in old.items()}
    is_worse = False
    print(f"{'instructions for':44}{'old':>12}{'new':>12}{'change':>10}{'rounds within':>15}")
    for name in options.only:
        values = [found[name] for found in rounds]
        new = round(median(values))
        spread = (max(values) / min(values) - 1) * 100
        change = (new / kept[name] - 1) * 100 if name in kept else None
        told = ("-", "-") if change is None else (f"{kept[name]:,}", f"{change:+.2f} %")
        print(f"{FIGURES[name].what:44}{told[0]:>12}{new:>12,}{told[1]:>10}{spread:>13.2f} %")
        is_worse |= change is not None and change > old[name]["tolerance"]
        kept[name] = new
    if options.update:
        KEPT.write_text(written(kept))
    elif is_worse:
        sys.exit("higher than before by more than the tolerance")


if __name__ == "__main__":
    main()
