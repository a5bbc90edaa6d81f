#!/usr/bin/env python3
"""What meters cost: the user instructions of small uploads (POST, PATCH of 16 KiB, HEAD), by callgrind, in a build with
them and in one without. Each build runs twice, with few and with many uploads, so that starting and ending cancel out.

usage: cost_of_meters.py METERED UNMETERED [UPLOADS]
"""

import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BODY = b"x" * 16384
FEW = 50


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


def instructions(binary, uploads):
    with tempfile.TemporaryDirectory() as scratch:
        port, counts = free_port(), Path(scratch, "callgrind.out")
        settings = Path(scratch, "settings.toml")
        settings.write_text(
            f'[server]\nbind = "127.0.0.1:{port}"\n[storage]\ndir = "{scratch}/data"\ndurability = "none"\n'
            "[pools.uploads]\narbiters = 1\n[log]\nrequests = false\n"
        )
        valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={counts}", "--separate-threads=no"]
        log = Path(scratch, "log").open("wb")
        command = [*valgrind, str(Path(binary).resolve()), "--config", str(settings)]
        server = subprocess.Popen(command, cwd=scratch, stdout=log, stderr=log)
        try:
            connection = connect(port, server)
            for _ in range(uploads):
                upload(connection)
            connection.close()
            server.send_signal(signal.SIGTERM)
            server.wait(600)
        finally:
            server.kill()
        return int(re.search(r"(?m)^(?:summary|totals): (\d+)", counts.read_text()).group(1))


def each(binary, uploads):
    few, many = instructions(binary, FEW), instructions(binary, FEW + uploads)
    return (many - few) / uploads


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    if not shutil.which("valgrind"):
        sys.exit("valgrind is missing: apt-get install valgrind")
    uploads = int(sys.argv[3]) if len(sys.argv) > 3 else 500
    metered, unmetered = each(sys.argv[1], uploads), each(sys.argv[2], uploads)
    share = (metered / unmetered - 1) * 100
    print(f"{uploads} uploads: {metered:,.0f} instructions each with meters, {unmetered:,.0f} without: {share:+.2f} %")
    if share > 2:
        sys.exit("the meters cost more than 2 %")


if __name__ == "__main__":
    main()
