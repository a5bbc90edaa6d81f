#!/usr/bin/env python3
"""What meters cost: the user instructions of small uploads (POST, PATCH of 16 KiB, HEAD), by callgrind, in a build with
them and in one without. Each build runs with few and with many uploads, so that starting and ending cancel out, and at rest,
so that what goes by the clock can be taken off: it is little, but valgrind stretches an upload to many times its length.
Threads that wait spin for a moment, more or less often, so that counts differ by some percent: hence the rounds. Settings are
those that wharf ships with, but for one arbiter and no syncs.

usage: cost_of_meters.py METERED UNMETERED [UPLOADS]
"""

import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from statistics import median

BODY = b"x" * 16384
FEW = 50
REST_SECS = (1, 9)
ROUNDS = 5
VALGRIND = str(Path(__file__).resolve().with_name("valgrind.sh"))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def connect(port, server):
    """Waits for the server: under valgrind it takes seconds to start."""
    for _ in range(1200):
        if server.poll() is not None:
            sys.exit(f"the server has ended: {server.returncode}")
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            time.sleep(0.1)
    sys.exit("the server does not listen")


def ask(connection, method, path, headers, body=b""):
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Tus-Resumable: 1.0.0"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = connection.recv(65536)
        if not piece:
            sys.exit("the connection was closed")
        answer += piece
    head = answer.split(b"\r\n\r\n")[0].decode()
    status = int(head.split()[1])
    if status >= 300:
        sys.exit(f"{method} {path}: {head}")
    return head


def upload(connection):
    made = ask(connection, "POST", "/files/", {"Upload-Length": len(BODY), "Content-Length": 0})
    path = re.search(r"(?im)^location: *(\S+)", made).group(1)
    path = re.sub(r"^https?://[^/]*", "", path)
    patch = {
        "Content-Type": "application/offset+octet-stream",
        "Upload-Offset": 0,
        "Content-Length": len(BODY),
    }
    ask(connection, "PATCH", path, patch, BODY)
    ask(connection, "HEAD", path, {})


def instructions(binary, uploads, rest_secs=0.0):
    """Those of a server's whole life, and how many seconds it was under load, or at rest."""
    with tempfile.TemporaryDirectory() as scratch:
        port, counts = free_port(), Path(scratch, "callgrind.out")
        settings = Path(scratch, "settings.toml")
        settings.write_text(
            f'[server]\nbind = "127.0.0.1:{port}"\n[storage]\ndir = "{scratch}/data"\ndurability = "none"\n'
            "[pools.uploads]\narbiters = 1\n"
        )
        valgrind = [VALGRIND, "--tool=callgrind", f"--callgrind-out-file={counts}", "--separate-threads=no"]
        log = Path(scratch, "log").open("wb")
        command = [*valgrind, str(Path(binary).resolve()), "--config", str(settings)]
        server = subprocess.Popen(command, cwd=scratch, stdout=log, stderr=log)
        try:
            connection = connect(port, server)
            began = time.monotonic()
            for _ in range(uploads):
                upload(connection)
            time.sleep(rest_secs)
            secs = time.monotonic() - began
            connection.close()
            server.send_signal(signal.SIGTERM)
            server.wait(600)
        finally:
            server.kill()
        return int(re.search(r"(?m)^(?:summary|totals): (\d+)", counts.read_text()).group(1)), secs


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
