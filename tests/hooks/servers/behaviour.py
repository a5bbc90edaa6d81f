"""What the hooks of the tests do about an event, and what they write down of it. The same for all transports.

An upload says by its metadata what its hooks are to do: the key `hook-pre-create` is for that event, and `hook` for all
events that have no key of their own. The value is one of these, with what is in brackets or without:

    ok                  has nothing to say, as without such a key
    reject [STATUS]     rejects what is asked for, with this status (403), a body and a field
    stop [STATUS]       stops the upload, with this status (406), a body and a field
    change CHANGES      changes the upload: `ChangeFileInfo` in JSON
    respond RESPONSE    answers with this `HTTPResponse` in JSON
    answer JSON         answers with just this
    fail [WORDS]        fails, and says why
    flaky [N]           fails in the first N (1) calls for an event, in a way that may pass, and is fine then
    nonsense            answers what can't be understood
    huge                answers 10 MB
    hang                does not answer
    die                 ends in the midst of it

Each call is a line of JSON in a file, written before anything is done about it:

    {"transport": "http", "event_id": "...", "try": 1, "fields": {"content-type": ["application/json"]}, "call": {...}}

`try` counts the calls for this event. `fields` are the request's fields, the call's metadata, or the environment as far as
it is wharf's. `call` is the event, as it stands in JSON.
"""

import json
import os

HUGE = 10_000_000
REJECTIONS = {
    "pre-create": "RejectUpload",
    "pre-terminate": "RejectTermination",
    "pre-access": "RejectAccess",
}


def wish(call):
    """What an upload wants its hook to do: an action and its argument."""
    metadata = call["Event"]["Upload"]["MetaData"] or {}
    value = metadata.get("hook-" + call["Type"]) or metadata.get("hook") or "ok"
    action, _, argument = value.partition(" ")
    return action, argument


def response(kind, status):
    """An answer that can be known again."""
    return {
        "StatusCode": int(status),
        "Body": f"the {kind} hook has a say\n",
        "Header": {"X-Hook": kind},
    }


def verdict(kind, action, argument):
    """The answer of an action that has one; `None` for one that hasn't."""
    if action == "ok":
        return {}
    if action == "reject":
        return {REJECTIONS.get(kind, "RejectUpload"): True, "HTTPResponse": response(kind, argument or 403)}
    if action == "stop":
        return {"StopUpload": True, "HTTPResponse": response(kind, argument or 406)}
    if action == "change":
        return {"ChangeFileInfo": json.loads(argument)}
    if action == "respond":
        return {"HTTPResponse": json.loads(argument)}
    if action == "answer":
        return json.loads(argument)
    if action in ("fail", "flaky", "nonsense", "huge", "hang", "die"):
        return None
    raise ValueError(f"no action: {action!r}")


class Record:
    """The file in which the calls are."""

    def __init__(self, path):
        self.path = path
        open(path, "a").close()

    def add(self, transport, event_id, fields, call):
        """Writes down a call, and says the how manyth for its event it is."""
        line = {
            "transport": transport,
            "event_id": event_id,
            "try": 1 + self.count(transport, event_id),
            "fields": fields,
            "call": call,
        }
        # In one write, so that whoever reads sees whole lines.
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(file, (json.dumps(line) + "\n").encode())
        finally:
            os.close(file)
        return line["try"]

    def count(self, transport, event_id):
        """How many calls for an event there have been."""
        with open(self.path) as lines:
            calls = [json.loads(line) for line in lines]
        return sum(call["transport"] == transport and call["event_id"] == event_id for call in calls)
