#!/usr/bin/env python3
"""What meters cost: the user instructions of small uploads (POST, PATCH of 16 KiB, HEAD), by callgrind, in a build with
them and in one without. Each build runs with few and with many uploads, so that starting and ending cancel out, and at rest,
so that what goes by the clock can be taken off: it is little, but valgrind stretches an upload to many times its length.
Threads that wait spin for a moment, hence the rounds. Settings are those of callgrind.py.

usage: cost_of_meters.py METERED UNMETERED [UPLOADS]
"""

import sys
import time
from functools import cache
from statistics import median

import callgrind

BODY = b"x" * 16384
FEW = 50
REST_SECS = (1, 9)
ROUNDS = 5


def instructions(binary, uploads, rest_secs=0.0):
    """Those of a server's whole life, and how many seconds it was under load, or at rest."""

    def load(connection):
        for _ in range(uploads):
            path = callgrind.create(connection, len(BODY))
            callgrind.append(connection, path, BODY)
            callgrind.inspect(connection, path)
        time.sleep(rest_secs)

    return callgrind.instructions(binary, load)


def each(binary, uploads):
    (few, few_secs), (many, many_secs) = instructions(binary, FEW), instructions(binary, FEW + uploads)
    return (many - few - at_rest(binary) * (many_secs - few_secs)) / uploads


@cache
def at_rest(binary):
    """What goes by the clock, in instructions a second."""
    (rest, rest_secs), (longer, longer_secs) = (instructions(binary, 0, secs) for secs in REST_SECS)
    return (longer - rest) / (longer_secs - rest_secs)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    uploads = int(sys.argv[3]) if len(sys.argv) > 3 else 500
    shares = []
    for _ in range(ROUNDS):
        metered, unmetered = each(sys.argv[1], uploads), each(sys.argv[2], uploads)
        shares.append((metered / unmetered - 1) * 100)
        print(f"{metered:,.0f} instructions an upload with meters, {unmetered:,.0f} without: {shares[-1]:+.2f} %", flush=True)
    share = median(shares)
    print(f"median of {ROUNDS} rounds of {uploads} uploads: {share:+.2f} %")
    if share > 2:
        sys.exit("the meters cost more than 2 %")


if __name__ == "__main__":
    main()
