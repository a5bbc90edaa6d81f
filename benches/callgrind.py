"""A wharf under callgrind, and the requests that it is asked meanwhile: for whoever counts user instructions.

Threads that wait spin for a moment, more or less often, so that counts differ by some percent from run to run. Settings are
those that wharf ships with, but for one arbiter and no syncs. glibc would clear and copy with `rep stosb` and `rep movsb`,
which are one instruction to a processor and one for each byte to callgrind, so it is told that this processor is bad at them.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

VALGRIND = str(Path(__file__).resolve().with_name("valgrind.sh"))
# A directory in memory, where there is one: no file is to be waited for.
SCRATCH = "/dev/shm" if os.path.isdir("/dev/shm") else None
TUNABLES = "glibc.cpu.hwcaps=-ERMS,-FSRM"
UPLOAD = "application/offset+octet-stream"
# By then the server has read its settings once more, as it does when it has just started: millions of instructions, which a
# short load might end before.
SETTLED_SECS = 5


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
            connection = socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            time.sleep(0.1)
            continue
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection
    sys.exit("the server does not listen")


def ask(connection, method, path, headers, body=b""):
    """The head of the answer, and how many bytes came behind it."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Tus-Resumable: 1.0.0"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = connection.recv(65536)
        if not piece:
            sys.exit("the connection was closed")
        answer += piece
    head, rest = answer.split(b"\r\n\r\n", 1)
    status = int(head.split()[1])
    if status >= 300:
        sys.exit(f"{method} {path}: {head.decode()}")
    return head.decode(), len(rest)


def create(connection, length, body=b""):
    """The path of a new upload, which has these bytes."""
    headers = {"Upload-Length": length, "Content-Length": len(body)}
    if body:
        headers["Content-Type"] = UPLOAD
    made, _ = ask(connection, "POST", "/files/", headers, body)
    path = re.search(r"(?im)^location: *(\S+)", made).group(1)
    return re.sub(r"^https?://[^/]*", "", path)


def append(connection, path, body):
    """All bytes of an upload in one PATCH."""
    headers = {"Content-Type": UPLOAD, "Upload-Offset": 0, "Content-Length": len(body)}
    ask(connection, "PATCH", path, headers, body)


def inspect(connection, path):
    ask(connection, "HEAD", path, {})


def download(connection, path):
    head, came = ask(connection, "GET", path, {})
    left = int(re.search(r"(?im)^content-length: *(\d+)", head).group(1)) - came
    room = bytearray(1 << 20)
    while left > 0:
        came = connection.recv_into(room, min(left, len(room)))
        if came == 0:
            sys.exit("the connection was closed")
        left -= came


def instructions(binary, load):
    """Those of a server's whole life, and for how many seconds it was under the load."""
    with tempfile.TemporaryDirectory(dir=SCRATCH) as scratch:
        port, counts = free_port(), Path(scratch, "callgrind.out")
        settings = Path(scratch, "settings.toml")
        settings.write_text(
            f'[server]\nbind = "127.0.0.1:{port}"\n[storage]\ndir = "{scratch}/data"\ndurability = "none"\n'
            '[pools.uploads]\narbiters = 1\n[admin]\nbind = "127.0.0.1:0"\n'
        )
        valgrind = [VALGRIND, "--tool=callgrind", f"--callgrind-out-file={counts}", "--separate-threads=no"]
        with Path(scratch, "log").open("wb") as log:
            server = subprocess.Popen(
                [*valgrind, str(Path(binary).resolve()), "--config", str(settings)],
                cwd=scratch, stdout=log, stderr=log, env=os.environ | {"GLIBC_TUNABLES": TUNABLES},
            )
        try:
            connection = connect(port, server)
            time.sleep(SETTLED_SECS)
            began = time.monotonic()
            load(connection)
            secs = time.monotonic() - began
            connection.close()
            server.send_signal(signal.SIGTERM)
            server.wait(600)
        finally:
            server.kill()
        return int(re.search(r"(?m)^(?:summary|totals): (\d+)", counts.read_text()).group(1)), secs
