#!/usr/bin/env python3
"""A hook that is a file, as behaviour.py says. Links to it are named after events; HOOK_RECORD names the record, or else it
is `calls.jsonl` in the directory that it is run in.

    python3 file_hook.py install DIRECTORY

makes a directory with such a link for each event.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve()
sys.path.insert(0, str(HERE.parent))

import behaviour  # noqa: E402

EVENTS = [
    "pre-create",
    "post-create",
    "post-receive",
    "pre-finish",
    "post-finish",
    "pre-terminate",
    "post-terminate",
    "pre-access",
    "post-interrupt",
    "post-expire",
]


def install(directory):
    os.makedirs(directory, exist_ok=True)
    for event in EVENTS:
        os.symlink(HERE, os.path.join(directory, event))


def called():
    call = json.load(sys.stdin)
    assert call["Type"] == os.path.basename(sys.argv[0]), "another event's file was run"
    names = ["TUS_ID", "TUS_SIZE", "TUS_OFFSET", "WHARF_EVENT_ID"]
    fields = {name: [os.environ[name]] for name in names}
    record = behaviour.Record(os.environ.get("HOOK_RECORD", "calls.jsonl"))
    attempt = record.add("file", os.environ["WHARF_EVENT_ID"], fields, call)
    action, argument = behaviour.wish(call)
    print(f"{call['Type']} was called", file=sys.stderr)
    act(call["Type"], attempt, action, argument)


def act(kind, attempt, action, argument):
    if action == "flaky":
        if attempt <= int(argument or 1):
            sys.exit("not yet")
        action = "ok"
    answer = behaviour.verdict(kind, action, argument)
    if answer is not None:
        print(json.dumps(answer))
    elif action == "fail":
        print(argument or "it failed")
        sys.exit(1)
    elif action == "nonsense":
        print("<html>hello</html>")
    elif action == "huge":
        print(json.dumps({"pad": "x" * behaviour.HUGE}))
    elif action == "hang":
        # With a child that holds its standard output open.
        subprocess.Popen(["sleep", "86400"])
        time.sleep(86400)
    elif action == "die":
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "install":
        install(sys.argv[2])
    else:
        called()
