"""A server that speaks S3, in this process: moto's, once per session; and a way to cut the network to it."""

from __future__ import annotations

import contextlib
import http.client
import logging
import socket
import threading
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

BUCKETS = iter(range(1 << 30))

SECRET = "secret"  # noqa: S105 - the server takes any


@dataclass
class Bucket:
    """A bucket of its own for one test."""

    name: str
    port: int
    options: str = field(init=False)

    def __post_init__(self) -> None:
        self.options = f"?endpoint_override=127.0.0.1:{self.port}&scheme=http&region=us-east-1"

    def url(self, key: str = "", credentials: str = f"key:{SECRET}@") -> str:
        """The URL of a key, with all that opens it."""
        return f"s3://{credentials}{self.name}/{key}{self.options}"

    @property
    def root(self) -> str:
        return f"s3://{self.name}"

    def fill(self, folder: Path, prefix: str) -> None:
        """Put all files of a folder below a key."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(f"{prefix}/{path.relative_to(folder)}", path.read_bytes())

    def put(self, key: str, content: bytes) -> None:
        with self._system().open_output_stream(f"{self.name}/{key}", compression=None) as stream:
            stream.write(content)

    def put_plainly(self, key: str, content: bytes) -> None:
        """Put an object of a name that pyarrow writes none of, as other programs do."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        with contextlib.closing(connection):
            connection.request("PUT", f"/{self.name}/{urllib.parse.quote(key)}", content)
            assert connection.getresponse().status == 200

    def get(self, key: str) -> bytes:
        with self._system().open_input_file(f"{self.name}/{key}") as file:
            return file.read()

    def delete(self, key: str) -> None:
        self._system().delete_file(f"{self.name}/{key}")

    def names(self) -> list[str]:
        import pyarrow.fs as pafs

        found = self._system().get_file_info(pafs.FileSelector(self.name, recursive=True))
        return sorted(entry.path.removeprefix(f"{self.name}/") for entry in found if entry.is_file)

    def make(self) -> None:
        self._system().create_dir(self.name)

    def _system(self) -> Any:
        import pyarrow.fs as pafs

        return pafs.S3FileSystem(
            access_key="key", secret_key=SECRET, endpoint_override=f"127.0.0.1:{self.port}", scheme="http",
            region="us-east-1", allow_bucket_creation=True,
        )  # fmt: skip


class Folder:
    """A folder of this machine as a store at a file:// URL: quick, for what no network has to do with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = f"file://{folder}"

    def url(self, key: str = "") -> str:
        return f"{self.root}/{key}"

    def put(self, key: str, content: bytes) -> None:
        (self.folder / key).parent.mkdir(parents=True, exist_ok=True)
        written = self.folder / f".{next(BUCKETS)}.part"  # whole or not at all, as in every store
        written.write_bytes(content)
        written.rename(self.folder / key)

    def get(self, key: str) -> bytes:
        return (self.folder / key).read_bytes()

    def delete(self, key: str) -> None:
        (self.folder / key).unlink()

    def names(self) -> list[str]:
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())


class Line:
    """A line to a server that can be cut, and mended on the same port."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._pairs: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._is_cut = False
        self._allowed: int | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End all connections, and answer no new one."""
        self._is_cut = True
        for end in self._pairs:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut_after(self, sent: int) -> None:
        """Cut when the client has sent so many bytes more."""
        self._allowed = sent

    def mend(self) -> None:
        self._is_cut, self._allowed = False, None

    def close(self) -> None:
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._is_cut:
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._target))
            self._pairs += [client, server]
            for one, other, counted in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pass_on, args=(one, other, counted), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if counted and self._allowed is not None:
                    self._allowed -= len(data)
                    if self._allowed < 0:
                        self.cut()
                        break
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
                end.close()


@pytest.fixture(scope="session")
def s3_port() -> Iterator[int]:
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield server.get_host_and_port()[1]
    server.stop()


@pytest.fixture
def bucket(s3_port: int) -> Bucket:
    made = Bucket(f"bucket-{next(BUCKETS)}", s3_port)
    made.make()
    return made


@pytest.fixture
def line(s3_port: int) -> Iterator[Line]:
    made = Line(s3_port)
    yield made
    made.close()
