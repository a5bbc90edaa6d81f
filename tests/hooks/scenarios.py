"""Uploads whose metadata says what their hooks are to do, by one transport: `scenarios.py WHARF file|http|grpc`. What they can
be asked to do stands in servers/behaviour.py."""

import base64
import http.client
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from urllib.parse import urlsplit

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "servers"))

import file_hook  # noqa: E402

# Long enough for a slow machine; reached only when something hangs.
PATIENCE_SECONDS = 60
# For hooks that hang.
TIMEOUT_SECONDS = 2
EVENTS = file_hook.EVENTS[:8]
SCENARIOS = []


def scenario(body):
    """Registers a function under its name."""
    SCENARIOS.append((body.__name__.replace("_", " "), body))
    return body


def until(condition, what):
    """Waits for something to become so."""
    limit = time.monotonic() + PATIENCE_SECONDS
    while not (found := condition()):
        assert time.monotonic() < limit, f"{what} did not happen"
        time.sleep(0.02)
    return found


class Bed:
    """A wharf with hooks by one transport."""

    def __init__(self, wharf, transport, work):
        self.transport = transport
        self.record = work / "calls.jsonl"
        self.programs = []
        try:
            self.begin(wharf, work)
        except BaseException:
            self.end()
            raise

    def begin(self, wharf, work):
        transport = self.transport
        settings = {"hooks.events": json.dumps(EVENTS), "hooks.progress_interval_ms": "20"}
        if transport == "file":
            file_hook.install(work / "hooks")
            settings["hooks.file.directory"] = str(work / "hooks")
            self.record = work / "hooks" / "calls.jsonl"
        else:
            server = [sys.executable, "-B", HERE / "servers" / f"{transport}_server.py", self.record]
            if transport == "http":
                server += ["--signing-key", "open sesame, please"]
                settings["hooks.http.signing_key"] = "open sesame, please"
            line = self.start(server, work / "server", "listening on ")
            settings[f"hooks.{transport}.url"] = line.removeprefix("listening on ")
            settings[f"hooks.{transport}.forward_headers"] = '["X-Request-From"]'
            settings[f"hooks.{transport}.backoff_ms"] = "1"
        settings[f"hooks.{transport}.timeout_secs"] = str(TIMEOUT_SECONDS)
        settings[f"hooks.{transport}.max_response_bytes"] = "5120"
        self.record.touch()
        command = [wharf, "--bind", "127.0.0.1:0", "--dir", work / "data", "--set", "admin.enabled=false"]
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        line = self.start(command, work / "wharf", "http://")
        self.url = urlsplit(line[line.index("http://") :].split()[0])

    def start(self, command, place, mark):
        """Starts a program, and waits for a line with a mark in its output, which is returned."""
        place.mkdir()
        output = place / "stdout"
        with open(output, "w") as stdout, open(place / "stderr", "w") as stderr:
            program = subprocess.Popen(command, cwd=place, stdout=stdout, stderr=stderr, stdin=subprocess.DEVNULL)
        self.programs.append(program)

        def found():
            assert program.poll() is None, (place / "stderr").read_text()[-2000:]
            return next((line for line in output.read_text().splitlines(keepends=True) if mark in line and "\n" in line), None)

        return until(found, f"{place.name}'s start").strip()

    def end(self):
        for program in reversed(self.programs):
            program.send_signal(signal.SIGTERM)
        return [program.wait(PATIENCE_SECONDS) for program in reversed(self.programs)]

    def request(self, method, path, fields=None, body=None):
        """An answer: its status, fields and body."""
        connection = http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=PATIENCE_SECONDS)
        fields = {"Tus-Resumable": "1.0.0", "X-Request-From": "a scenario", **(fields or {})}
        try:
            connection.request(method, path, body, fields, encode_chunked=False)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()
        finally:
            connection.close()

    def create(self, length=5, body=None, **wishes):
        """Creates an upload with wishes for its hooks, by the names of events with underscores."""
        entries = {"hook-" + event.replace("_", "-"): wish for event, wish in wishes.items()}
        entries["filename"] = "a.txt"
        coded = [f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in entries.items()]
        fields = {"Upload-Length": str(length), "Upload-Metadata": ",".join(coded)}
        if body is not None:
            fields["Content-Type"] = "application/offset+octet-stream"
        return self.request("POST", self.url.path, fields, body)

    def created(self, **wishes):
        """Creates an upload, which must succeed, and returns its path."""
        status, fields, body = self.create(**wishes)
        assert status == 201, (status, body)
        return fields["Location"]

    def append(self, path, body, offset=0):
        fields = {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
        return self.request("PATCH", path, fields, body)

    def calls(self, path=None):
        """The calls so far, those for an upload or all."""
        calls = [json.loads(line) for line in self.record.read_text().splitlines()]
        upload_id = path and path.rsplit("/", 1)[-1]
        return [call for call in calls if not path or call["call"]["Event"]["Upload"]["ID"] == upload_id]

    def wait_for(self, path, *kinds):
        """Waits until all these kinds of events of an upload were told."""

        def told():
            calls = self.calls(path)
            return calls if set(kinds) <= {call["call"]["Type"] for call in calls} else None

        return until(told, f"{', '.join(kinds)} of {path}")


@scenario
def the_course_of_an_upload_is_told(bed):
    before = len(bed.calls())
    path = bed.created()
    status, fields, _ = bed.append(path, b"hello")
    assert (status, fields["Upload-Offset"]) == (204, "5"), status
    bed.wait_for(path, "post-finish")
    status, _, _ = bed.request("DELETE", path)
    assert status == 204, status
    calls = bed.wait_for(path, "post-create", "pre-finish", "post-finish", "pre-terminate", "post-terminate")
    (asked,) = [call for call in bed.calls()[before:] if call["call"]["Type"] == "pre-create"]
    upload = asked["call"]["Event"]["Upload"]
    assert (upload["ID"], upload["Size"], upload["Offset"]) == ("", 5, 0), upload
    kinds = {call["call"]["Type"]: call for call in calls}
    finished = kinds["post-finish"]["call"]["Event"]
    assert finished["Upload"]["Offset"] == 5 and finished["Upload"]["MetaData"]["filename"] == "a.txt", finished
    assert finished["HTTPRequest"]["Method"] == "PATCH" and finished["HTTPRequest"]["URI"] == path, finished
    assert len({call["event_id"] for call in calls}) == len(calls), "two events have one name"
    if bed.transport != "file":
        assert kinds["post-finish"]["fields"]["x-request-from"] == ["a scenario"]


@scenario
def a_rejected_upload_is_not_created(bed):
    status, fields, body = bed.create(pre_create="reject 418")
    assert (status, body, fields["X-Hook"]) == (418, "the pre-create hook has a say\n", "pre-create"), (status, body)
    assert fields["Location"] is None


@scenario
def an_upload_is_changed(bed):
    name = f"by-{bed.transport}"
    path = bed.created(pre_create=f'change {{"ID": "{name}", "MetaData": {{"kind": "changed"}}}}')
    assert path.endswith("/" + name), path
    _, fields, _ = bed.request("HEAD", path)
    assert fields["Upload-Metadata"] == "kind " + base64.b64encode(b"changed").decode(), fields["Upload-Metadata"]


@scenario
def an_upload_is_stopped(bed):
    path = bed.created(length=50_000_000, post_receive="stop 406")
    host = (bed.url.hostname, bed.url.port)
    connection = http.client.HTTPConnection(*host, timeout=PATIENCE_SECONDS)
    connection.putrequest("PATCH", path)
    for name, value in {
        "Tus-Resumable": "1.0.0",
        "Upload-Offset": "0",
        "Content-Type": "application/offset+octet-stream",
        "Content-Length": "50000000",
    }.items():
        connection.putheader(name, value)
    connection.endheaders()
    limit = time.monotonic() + PATIENCE_SECONDS
    sent = 0
    connection.sock.settimeout(0.02)
    answered = False
    # A little again and again, until there is an answer.
    while not answered and sent < 40_000_000:
        assert time.monotonic() < limit, "it was not stopped"
        try:
            connection.sock.sendall(b"x" * 1000)
            sent += 1000
            answered = bool(connection.sock.recv(1, 2))
        except TimeoutError:
            pass
        except OSError:
            break
    connection.sock.settimeout(PATIENCE_SECONDS)
    answer = connection.getresponse()
    assert (answer.status, answer.headers["X-Hook"]) == (406, "post-receive"), answer.status
    connection.close()
    bed.wait_for(path, "post-terminate")
    assert bed.request("HEAD", path)[0] in (404, 410)


@scenario
def the_answer_to_the_last_byte_is_the_applications(bed):
    wish = 'respond {"StatusCode": 200, "Body": "all here", "Header": {"X-Receipt": "7"}}'
    path = bed.created(pre_finish=wish)
    status, fields, body = bed.append(path, b"hello")
    assert (status, body, fields["X-Receipt"], fields["Upload-Offset"]) == (200, "all here", "7", "5"), (status, body)
    bed.wait_for(path, "post-finish")


@scenario
def an_upload_may_have_to_stay(bed):
    path = bed.created(pre_terminate="reject 403")
    status, _, body = bed.request("DELETE", path)
    assert (status, body) == (403, "the pre-terminate hook has a say\n"), (status, body)
    assert bed.request("HEAD", path)[0] == 200


@scenario
def who_may_not_does_not_get_to_an_upload(bed):
    path = bed.created(pre_access="reject 403")
    assert bed.request("HEAD", path)[0] == 403
    status, _, body = bed.append(path, b"hello")
    assert (status, body) == (403, "the pre-access hook has a say\n"), (status, body)


@scenario
def a_hook_that_fails_lets_nothing_pass(bed):
    wishes = ["fail a virus", "nonsense", "huge", "hang", "die", 'answer {"RejectUpload": 1}']
    # What has no type in gRPC can't be of the wrong one.
    for wish in wishes[: 5 if bed.transport == "grpc" else 6]:
        status, fields, body = bed.create(pre_create=wish)
        assert status == 500 and body.startswith("ERR_INTERNAL_SERVER_ERROR"), (wish, status, body)
        assert fields["Location"] is None, wish
        assert ("a virus" in body) == (wish == "fail a virus"), body


@scenario
def a_hook_that_passes_over_its_trouble_is_called_again(bed):
    status, _, body = bed.create(pre_create="flaky 2")
    assert status == (500 if bed.transport == "file" else 201), (status, body)


@scenario
def an_end_is_told_until_it_is_heard(bed):
    # As often as the transport tries by itself, so that the outbox has to.
    tries = 1 if bed.transport == "file" else 3
    path = bed.created(length=5, body=b"hello", post_finish=f"flaky {tries}")

    def heard():
        return [call for call in bed.calls(path) if call["call"]["Type"] == "post-finish" and call["try"] > tries]

    (last,) = until(heard, "another call")
    ids = {call["event_id"] for call in bed.calls(path) if call["call"]["Type"] == "post-finish"}
    assert ids == {last["event_id"]}, ids


def main():
    wharf, transport = sys.argv[1:]
    failed = 0
    with tempfile.TemporaryDirectory() as work:
        bed = Bed(wharf, transport, pathlib.Path(work))
        try:
            for name, body in SCENARIOS:
                try:
                    body(bed)
                    print(f"ok {transport}: {name}", flush=True)
                except Exception as error:
                    failed += 1
                    where = traceback.extract_tb(error.__traceback__)[1].lineno
                    print(f"FAIL {transport}: {name}: line {where}: {type(error).__name__}: {error}", flush=True)
        finally:
            ended = bed.end()
        if ended[0] != 0:
            failed += 1
            print(f"FAIL {transport}: wharf ended with {ended[0]}")
        if failed:
            print((pathlib.Path(work) / "wharf" / "stderr").read_text()[-4000:], file=sys.stderr)
    print(f"{transport}: {len(SCENARIOS) - failed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
