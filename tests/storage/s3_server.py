"""A bucket on a local server that speaks S3, for tests of what lies on an object store.

The server is a process of its own: it is written with Flask, whose module-level proxies raise where vLLM, starting an
engine, looks at what every loaded module holds.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import s3fs


@contextmanager
def bucket_of(name: str) -> Iterator[str]:
    """The URI of an empty bucket, whose name no other test has; the environment names the server, as a user's would."""
    command = [sys.executable, "-m", "tests.storage.s3_server"]
    with (
        pytest.MonkeyPatch.context() as patch,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server,
    ):
        try:
            address = server.stdout.readline().strip()
            assert address, "the S3 server did not start"
            patch.setenv("AWS_ACCESS_KEY_ID", "test")
            patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
            patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
            patch.setenv("AWS_ENDPOINT_URL", address)
            s3fs.S3FileSystem.clear_instance_cache()
            s3fs.S3FileSystem().mkdir(name)
            yield f"s3://{name}"
        finally:
            server.kill()
            s3fs.S3FileSystem.clear_instance_cache()


def main() -> None:
    """Serve on a free port of the loopback, tell the address, and end when standard input does: with who asked."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    print(f"http://{host}:{port}", flush=True)
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    main()
