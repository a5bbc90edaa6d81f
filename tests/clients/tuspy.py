"""Uploads with tuspy, one scenario per way to use it. WHARF_URL names the server."""

import asyncio
import hashlib
import io
import os
import sys
from base64 import b64decode

# This file bears its client's package name, but the package is imported as `tusclient`.
import requests
from tusclient.client import TusClient
from tusclient.exceptions import TusUploadFailed
from tusclient.uploader import Uploader

ENDPOINT = os.environ["WHARF_URL"]
MEBIBYTE = 1024 * 1024
CLIENT = TusClient(ENDPOINT)
SCENARIOS = []


def scenario(name):
    """Registers a function as a scenario to run under `name`."""

    def register(body):
        SCENARIOS.append((name, body))
        return body

    return register


def check_equal(actual, expected, what):
    if actual != expected:
        raise AssertionError(f"{what} is {actual!r}, not {expected!r}")


def check_stored(url, payload):
    response = requests.get(url, timeout=60)
    check_equal(response.status_code, 200, "the status of GET")
    check_equal(len(response.content), len(payload), "the length of what GET returns")
    check_equal(
        hashlib.sha256(response.content).hexdigest(),
        hashlib.sha256(payload).hexdigest(),
        "the SHA-256 of what GET returns",
    )


def head(url):
    return requests.head(url, headers={"Tus-Resumable": "1.0.0"}, timeout=60)


def uploader(payload, **options):
    return CLIENT.uploader(file_stream=io.BytesIO(payload), **options)


@scenario("single request, empty Upload-Metadata")
def single():
    payload = os.urandom(3 * MEBIBYTE + 17)
    upload = uploader(payload)
    check_equal(upload.get_url_creation_headers()["upload-metadata"], "", "Upload-Metadata")
    upload.upload()
    check_equal(head(upload.url).headers.get("Upload-Metadata"), None, "Upload-Metadata of HEAD")
    check_stored(upload.url, payload)


@scenario("chunks of 1 MiB")
def chunked():
    payload = os.urandom(4 * MEBIBYTE + 1)
    upload = uploader(payload, chunk_size=MEBIBYTE)
    upload.upload()
    check_stored(upload.url, payload)


@scenario("chunks with Upload-Checksum")
def checksum():
    payload = os.urandom(2 * MEBIBYTE + 5)
    upload = uploader(payload, chunk_size=MEBIBYTE, upload_checksum=True)
    upload.upload()
    check_stored(upload.url, payload)


class WrongChecksum(Uploader):
    """Announces the digest of other bytes than it sends."""

    CHECKSUM_ALGORITHM_PAIR = ("sha1", lambda chunk: hashlib.sha1(chunk + b"x"))


@scenario("a wrong Upload-Checksum is refused and nothing is kept")
def wrong_checksum():
    payload = os.urandom(MEBIBYTE)
    stream = io.BytesIO(payload)
    upload = WrongChecksum(client=CLIENT, file_stream=stream, upload_checksum=True)
    try:
        upload.upload()
    except TusUploadFailed as error:
        check_equal(error.status_code, 460, "the status of PATCH")
    else:
        raise AssertionError("the server took bytes with a wrong checksum")
    resumed = uploader(payload, url=upload.url, upload_checksum=True)
    check_equal(resumed.offset, 0, "the offset after the refusal")
    resumed.upload()
    check_stored(upload.url, payload)


@scenario("stop early, then resume by the URL")
def resume():
    payload = os.urandom(5 * MEBIBYTE + 3)
    first = uploader(payload, chunk_size=MEBIBYTE)
    first.upload(stop_at=2 * MEBIBYTE)
    second = uploader(payload, chunk_size=MEBIBYTE, url=first.url)
    check_equal(second.offset, 2 * MEBIBYTE, "the offset to resume from")
    second.upload()
    check_stored(first.url, payload)


@scenario("metadata comes back from HEAD")
def metadata():
    payload = os.urandom(1000)
    name = "Überblick – 文件 😀.txt"
    upload = uploader(payload, metadata={"filename": name})
    upload.upload()
    key, value = head(upload.url).headers["Upload-Metadata"].split(" ")
    check_equal(key, "filename", "the metadata key")
    check_equal(b64decode(value).decode(), name, "the metadata value")
    check_stored(upload.url, payload)


@scenario("empty file")
def empty():
    upload = uploader(b"")
    upload.upload()
    check_stored(upload.url, b"")


@scenario("asynchronous client, chunks with Upload-Checksum")
def asynchronous():
    payload = os.urandom(2 * MEBIBYTE + 5)
    upload = CLIENT.async_uploader(
        file_stream=io.BytesIO(payload), chunk_size=MEBIBYTE, upload_checksum=True
    )
    asyncio.run(upload.upload())
    check_stored(upload.url, payload)


def main():
    failed = False
    for name, body in SCENARIOS:
        try:
            body()
            print(f"ok tuspy: {name}", flush=True)
        except Exception as error:
            failed = True
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            print(f"FAIL tuspy: {name}: {reason}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
