"""A server that answers hooks by gRPC, as behaviour.py says. Its messages are made from the .proto file that wharf gives to
others, so it also holds that against what wharf sends. Needs what is in requirements.txt.

    python grpc_server.py RECORD [--port PORT] [--certificate PEM --key PEM [--client-ca PEM]]

It prints `listening on http://127.0.0.1:PORT` when it is ready.
"""

import argparse
import importlib
import pathlib
import sys
import tempfile
import threading
from concurrent import futures

import grpc
from grpc_tools import protoc

import behaviour

ARGUMENTS = argparse.ArgumentParser()
ARGUMENTS.add_argument("record")
ARGUMENTS.add_argument("--port", type=int, default=0)
ARGUMENTS.add_argument("--certificate")
ARGUMENTS.add_argument("--key")
ARGUMENTS.add_argument("--client-ca")

PROTO = pathlib.Path(__file__).resolve().parents[3] / "actors/src/hooks/grpc/hooks.proto"


def messages():
    """The module that protoc makes of the .proto file."""
    with tempfile.TemporaryDirectory() as directory:
        status = protoc.main(["protoc", f"--proto_path={PROTO.parent}", f"--python_out={directory}", PROTO.name])
        if status != 0:
            sys.exit(f"{PROTO} is not understood")
        sys.path.insert(0, directory)
        try:
            return importlib.import_module("hooks_pb2")
        finally:
            sys.path.remove(directory)


MESSAGES = messages()


def as_json(request):
    """A call as it would be in JSON. What gRPC can't tell from nothing is empty."""
    upload, caller = request.event.upload, request.event.httpRequest
    event = {
        "Upload": {
            "ID": upload.id,
            "Size": upload.size,
            "SizeIsDeferred": upload.sizeIsDeferred,
            "Offset": upload.offset,
            "MetaData": dict(upload.metaData),
            "IsPartial": upload.isPartial,
            "IsFinal": upload.isFinal,
            "PartialUploads": list(upload.partialUploads),
            "Storage": dict(upload.storage),
        },
        "HTTPRequest": {
            "Method": caller.method,
            "URI": caller.uri,
            "RemoteAddr": caller.remoteAddr,
            "Header": {name: [value] for name, value in caller.header.items()},
        },
    }
    if request.event.cause:
        event["Cause"] = request.event.cause
    return {"Type": request.type, "Event": event}


def as_message(verdict):
    """A verdict in JSON, as a message: there names begin with small letters, and some are others."""
    answer = MESSAGES.HookResponse()
    for name in ("RejectUpload", "StopUpload", "RejectTermination", "RejectAccess"):
        setattr(answer, name[0].lower() + name[1:], verdict.get(name, False))
    answer.cacheSeconds = verdict.get("CacheSeconds", 0)
    response = verdict.get("HTTPResponse", {})
    answer.httpResponse.statusCode = response.get("StatusCode", 0)
    answer.httpResponse.body = response.get("Body", "")
    answer.httpResponse.header.update(response.get("Header", {}))
    changes = verdict.get("ChangeFileInfo", {})
    answer.changeFileInfo.id = changes.get("ID", "")
    answer.changeFileInfo.metaData.update(changes.get("MetaData", {}))
    answer.changeFileInfo.storage.update(changes.get("Storage", {}))
    return answer.SerializeToString()


class Handler(grpc.GenericRpcHandler):
    """Answers calls."""

    def __init__(self, record):
        self.record = record
        self.turn = threading.Lock()

    def service(self, handler_call_details):
        if handler_call_details.method != "/proto.HookHandler/InvokeHook":
            return None
        return grpc.unary_unary_rpc_method_handler(self.invoke)

    def invoke(self, message, context):
        call = as_json(MESSAGES.HookRequest.FromString(message))
        fields = {}
        for name, value in context.invocation_metadata():
            fields.setdefault(name, []).append(value)
        with self.turn:
            attempt = self.record.add("grpc", fields["wharf-event-id"][0], fields, call)
        action, argument = behaviour.wish(call)
        if action == "flaky":
            if attempt <= int(argument or 1):
                context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
            action = "ok"
        answer = behaviour.verdict(call["Type"], action, argument)
        if answer is not None:
            return as_message(answer)
        if action == "nonsense":
            return b"\xff\xff"
        if action == "huge":
            return as_message({"HTTPResponse": {"Body": "x" * behaviour.HUGE}})
        if action == "hang":
            # Until the other end gives up.
            given_up = threading.Event()
            if context.add_callback(given_up.set):
                given_up.wait()
            return b""
        if action == "die":
            context.abort(grpc.StatusCode.UNAVAILABLE, "dying")
        context.abort(grpc.StatusCode.INTERNAL, argument or "it failed")


def main():
    arguments = ARGUMENTS.parse_args()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32))
    server.add_generic_rpc_handlers((Handler(behaviour.Record(arguments.record)),))
    address = f"127.0.0.1:{arguments.port}"
    if arguments.certificate:
        read = lambda path: pathlib.Path(path).read_bytes() if path else None  # noqa: E731
        client_ca = read(arguments.client_ca)
        pair = (read(arguments.key), read(arguments.certificate))
        credentials = grpc.ssl_server_credentials([pair], client_ca, require_client_auth=client_ca is not None)
        port, scheme = server.add_secure_port(address, credentials), "https"
    else:
        port, scheme = server.add_insecure_port(address), "http"
    server.start()
    print(f"listening on {scheme}://127.0.0.1:{port}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
