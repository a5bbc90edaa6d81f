#!/usr/bin/env python3
"""How soon the admin listener answers while uploads run: p50, p99 and maximum for each of its views.

    cargo build --release && benches/admin_latency.py [--uploads 2000] [--rounds 100] [--server target/release/wharf]

One process sends to all uploads, each a KiB a second, so that all of them run all the time; another asks. Both share the
processors with the server. Ends with 1 when an upload broke off or an answer was not a 200.
"""

import argparse
import http.client
import multiprocessing
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time

VIEWS = ["/healthz", "/readyz", "/pools", "/mailboxes", "/uploads?limit=100", "/metrics"]
PIECE = b"w" * 1024
LENGTH = 1 << 20


def begin(address, number):
    """A connection on which an upload is under way."""
    connection = socket.create_connection(address)
    head = f"POST /files/ HTTP/1.1\r\nHost: bench\r\nTus-Resumable: 1.0.0\r\nUpload-Length: {LENGTH}\r\n\r\n"
    connection.sendall(head.encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += connection.recv(4096)
    assert answer.startswith(b"HTTP/1.1 201"), answer
    location = next(line for line in answer.decode().split("\r\n") if line.lower().startswith("location:"))
    path = "/files/" + location.rsplit("/", 1)[1]
    head = (
        f"PATCH {path} HTTP/1.1\r\nHost: bench\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"
        f"Content-Type: application/offset+octet-stream\r\nContent-Length: {LENGTH}\r\n\r\n"
    )
    connection.sendall(head.encode())
    return connection


def drive(address, count, ready, done):
    """Keeps so many uploads running until it is told to end; says how many were answered before that."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (count + 100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    connections = [begin(address, number) for number in range(count)]
    ready.set()
    broken = 0
    while not done.is_set():
        start = time.monotonic()
        for number, connection in enumerate(connections):
            try:
                connection.sendall(PIECE)
            except OSError:
                broken += 1
            # Spread over the second.
            ahead = start + (number + 1) / count - time.monotonic()
            if ahead > 0.005:
                time.sleep(ahead)
    sys.exit(1 if broken else 0)


def measure(host, rounds):
    """The latencies of each view in ms, asked in turn."""
    connection = http.client.HTTPConnection(host)
    times = {view: [] for view in VIEWS}
    for _ in range(rounds):
        for view in VIEWS:
            start = time.perf_counter()
            connection.request("GET", view)
            answer = connection.getresponse()
            answer.read()
            times[view].append((time.perf_counter() - start) * 1000)
            if answer.status != 200:
                raise SystemExit(f"{view} was answered with {answer.status}")
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--uploads", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--server", default="target/release/wharf")
    options = parser.parse_args()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    with tempfile.TemporaryDirectory() as home:
        server = subprocess.Popen(
            [os.path.abspath(options.server), "--bind", "127.0.0.1:0", "--set", "admin.bind=127.0.0.1:0"],
            cwd=home, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        try:
            public = admin = None
            while not (public and admin):
                line = server.stdout.readline()
                if not line:
                    raise SystemExit("the server did not start")
                for word in line.split():
                    if word.startswith("http://"):
                        host = word.removeprefix("http://").split("/")[0]
                        public, admin = (public, host) if "tells of itself" in line else (public or host, admin)
            ready, done = multiprocessing.Event(), multiprocessing.Event()
            name, port = public.rsplit(":", 1)
            driver = multiprocessing.Process(target=drive, args=((name, int(port)), options.uploads, ready, done))
            driver.start()
            while not ready.wait(1):
                if not driver.is_alive():
                    raise SystemExit("the uploads could not be begun")
            times = measure(admin, options.rounds)
            done.set()
            driver.join()
        finally:
            server.terminate()
            server.wait()
    print(f"{options.uploads} uploads running, {options.rounds} requests for each view; ms")
    print(f"{'view':22}{'p50':>8}{'p99':>8}{'max':>8}")
    for view, found in times.items():
        p99 = statistics.quantiles(found, n=100)[98]
        print(f"{view:22}{statistics.median(found):8.1f}{p99:8.1f}{max(found):8.1f}")
    everything = sorted(time for found in times.values() for time in found)
    print(f"{'all':22}{statistics.median(everything):8.1f}{statistics.quantiles(everything, n=100)[98]:8.1f}{everything[-1]:8.1f}")
    if driver.exitcode:
        raise SystemExit("uploads broke off")


main()
