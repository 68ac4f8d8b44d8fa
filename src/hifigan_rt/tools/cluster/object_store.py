"""Places at URLs that pyarrow's file systems open: objects that are listed, read, and written whole or not at all.

Options and credentials in a URL open the file system, and are in no message and no manifest.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hifigan_rt.errors import ClusterError, DatasetError, OutputError, StoreError
from hifigan_rt.system.versions import how_to_get
from hifigan_rt.tools.cluster.store_urls import StoreUrl, parse_url

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

_OWN_OBJECTS = frozenset({"s3", "gcs", "abfs"})
"""pyarrow's names of the file systems on which an object is there when its last byte has arrived, and not before."""

_S3_VARIABLES = (
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3",
)  # fmt: skip
"""Variables of the driver that a worker needs as well; files and roles that others lead to are of each machine."""

_BLOCK_BYTES = 1 << 26

_ANY_KEY = "k"
"""Key of the URL by which a store is opened: which one does not matter."""


@dataclass(frozen=True)
class ObjectInfo:
    """What a store tells of an object without giving it."""

    size_bytes: int
    mtime_ns: int
    """Time at which it was put, to the store's resolution: 1 s for S3."""


class ObjectStore:
    """File system at the host of a URL. Picklable: it is opened where it is used.

    Attributes:
        root: the URL up to its host, for people: without credentials and options.
    """

    def __init__(self, url: StoreUrl, environment: Mapping[str, str] | None = None) -> None:
        """
        Args:
            url: any in the store; its key does not matter.
            environment: variables that open it; None takes those of this process.
        """
        self._url = url
        self.root = url.root
        if environment is None:
            names = _S3_VARIABLES if self._url.is_s3 else ()
            environment = {name: os.environ[name] for name in names if name in os.environ}
        self._environment = dict(environment)
        self._opened: tuple[FileSystem, str] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return ObjectStore, (self._url, self._environment)

    @property
    def identity(self) -> str:
        """Text that differs for two stores of one name at two endpoints, without credentials."""
        endpoint = self._environment.get("AWS_ENDPOINT_URL_S3", self._environment.get("AWS_ENDPOINT_URL", ""))
        return f"{self.root}{self._url.options} {endpoint}"

    def same_as(self, other: ObjectStore) -> bool:
        """Whether both are opened with the same address, credentials and options."""
        return (self._url.address, self._url.options) == (other._url.address, other._url.options)

    def shown(self, key: str) -> str:
        """Give the URL of a key, for people and manifests; `split_url` gives the key back."""
        return f"{self.root}/{re.sub('[%?]', lambda mark: f'%{ord(mark[0]):02X}', key)}"

    def check(self) -> None:
        """Ask whether the host is there: for S3 whether the bucket is.

        Raises:
            StoreError: it is not, or does not answer, or refuses.
        """
        with self._told("cannot be asked whether it is there"):
            (found,) = self._system.get_file_info([self._path("")])
            if found.type == _pyarrow().fs.FileType.NotFound:
                raise StoreError(f"the store {self.root!r} is not there: make the bucket, or name another")

    def info(self, key: str) -> ObjectInfo | None:
        """Ask about one object; None if it is not there, or is no object but a folder.

        Raises:
            StoreError: the store does not answer, or refuses.
        """
        with self._told(f"cannot be asked about {self.shown(key)!r}"):
            (found,) = self._system.get_file_info([self._path(key)])
        return _object_info(found) if found.is_file else None

    def list(self, folder: str, *, recursive: bool) -> tuple[dict[str, ObjectInfo], list[str]]:
        """List a folder, which need not be there.

        Args:
            folder: a key; empty for everything at the host.
            recursive: list what is in folders below as well.

        Returns:
            Objects by key, in no order, and the keys of folders.

        Raises:
            StoreError: the store does not answer, or refuses.
        """
        with self._told(f"cannot list {self.shown(folder)!r}"):
            selector = _pyarrow().fs.FileSelector(self._path(folder), allow_not_found=True, recursive=recursive)
            found = self._system.get_file_info(selector)
        base = len(self._base)
        objects = {entry.path[base:]: _object_info(entry) for entry in found if entry.is_file}
        return objects, [entry.path[base:] for entry in found if not entry.is_file]

    def get(self, key: str, target: Path) -> ObjectInfo:
        """Copy an object into a file.

        Returns:
            What the store tells of it.

        Raises:
            DatasetError: it is not there, or was exchanged meanwhile.
            StoreError: the store does not answer, or refuses.
            OSError: the file cannot be written.
        """
        before = self.info(key)
        if before is None:
            raise DatasetError(f"{self.shown(key)!r} is not there, though it was when the run began")
        with target.open("wb") as file:
            for block in self._blocks(key):
                file.write(block)
            written = file.tell()
        # Asked even where the length is right: of an object that has become shorter S3's client fills up the rest.
        if written != before.size_bytes or self.info(key) != before:
            raise DatasetError(f"{self.shown(key)!r} was exchanged while it was read: run again with --resume")
        return before

    def put(self, key: str, source: Path | bytes) -> ObjectInfo:
        """Make a file's contents, or bytes, an object: whole or not at all, in the place of one that is there.

        Returns:
            What the store tells of it afterwards.

        Raises:
            StoreError: the store does not answer, or refuses.
            OutputError: it keeps something else.
        """
        # One write of everything: pyarrow completes an object when its stream is dropped, after an error too, so that
        # a stream may never hold a part of what it is to hold.
        size = source.stat().st_size if isinstance(source, Path) else len(source)
        is_file = isinstance(source, Path) and size > 0
        content = _pyarrow().memory_map(str(source)).read_buffer() if is_file else b"" if not size else source
        # In a thread of its own: Ctrl-C between opening and writing would leave an empty object.
        with self._told(f"cannot be written to at {self.shown(key)!r}"), ThreadPoolExecutor(1) as writer:
            writer.submit(self._write, key, content).result()
        stored = self.info(key)
        if stored is None or stored.size_bytes != size:
            there = "nothing" if stored is None else f"{stored.size_bytes} bytes"
            raise OutputError(f"{self.shown(key)!r} was written with {size} bytes, and holds {there}: run again")
        return stored

    def _blocks(self, key: str) -> Iterator[bytes]:
        with self._told(f"cannot give {self.shown(key)!r}"):
            file = self._system.open_input_stream(self._path(key), compression=None)
        with file:
            while True:
                with self._told(f"cannot give {self.shown(key)!r}"):
                    block = file.read(_BLOCK_BYTES)
                if not block:
                    return
                yield block

    def _write(self, key: str, content: Any) -> None:
        path = self._path(key)
        if self._system.type_name in _OWN_OBJECTS:
            _write_whole(self._system, path, content)
            return
        folder = path.rpartition("/")[0]
        temporary = f"{folder}/.hifigan-{uuid.uuid4().hex}.part"
        self._system.create_dir(folder, recursive=True)
        try:
            _write_whole(self._system, temporary, content)
            self._system.move(temporary, path)
        except BaseException:
            with contextlib.suppress(Exception):
                self._system.delete_file(temporary)
            raise

    @property
    def _system(self) -> FileSystem:
        return self._open()[0]

    @property
    def _base(self) -> str:
        """What pyarrow puts before a key: "bucket/" or "/"."""
        return self._open()[1]

    def _path(self, key: str) -> str:
        # Without the last slash: the root of a bucket is a path too.
        return f"{self._base}{key}".rstrip("/") or "/"

    def _open(self) -> tuple[FileSystem, str]:
        if self._opened is None:
            if self._url.is_s3 and "AWS_ACCESS_KEY_ID" in self._environment:
                os.environ.pop("AWS_SESSION_TOKEN", None)  # of other credentials
            os.environ.update(self._environment)
            with self._told("cannot be opened"):
                self._opened = self._from_uri()
        return self._opened

    def _from_uri(self) -> tuple[FileSystem, str]:
        pyarrow, options = _pyarrow(), self._url.options
        if self._url.is_s3 and "allow_delayed_open=" not in options:
            # One request for a clip where there would be three; pyarrow 20 and earlier do not know it in a URL.
            with contextlib.suppress(pyarrow.ArrowInvalid):
                return self._opened_by(f"{options}{'&' if options else '?'}allow_delayed_open=true")
        return self._opened_by(options)

    def _opened_by(self, options: str) -> tuple[FileSystem, str]:
        system, path = _pyarrow().fs.FileSystem.from_uri(f"{self._url.address}/{_ANY_KEY}{options}")
        return system, path.removesuffix(_ANY_KEY)

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Turn whatever a file system raises into an error of ours."""
        try:
            yield
        except (StoreError, ClusterError):
            raise
        except Exception as error:  # fsspec's raise anything
            text = self._redacted(" ".join(str(error).split()))
            raise StoreError(f"the store {self.root!r} {what}: {text}{_way_out(text)}") from error

    def _redacted(self, text: str) -> str:
        for secret in (f"{self._url.address}/{_ANY_KEY}", self._url.address, self._url.options):
            shown = self.root if secret.startswith(self._url.address) else "?..."
            text = text.replace(secret, shown) if len(secret) > 1 else text
        return text


def split_url(url: str) -> tuple[ObjectStore, str]:
    """Give the store and the key of a URL.

    Raises:
        DatasetError: no URL, or one that climbs.
    """
    parsed = parse_url(url)
    return ObjectStore(parsed), parsed.key


def _pyarrow() -> Any:
    """Import pyarrow.

    Raises:
        ClusterError: it is not installed.
    """
    try:
        import pyarrow.fs
    except ImportError as error:
        raise ClusterError(
            f"URLs need the package pyarrow, which is not installed on {socket.gethostname()}: {how_to_get('ray')}"
        ) from error
    return pyarrow


def _write_whole(system: FileSystem, path: str, content: Any) -> None:
    stream = system.open_output_stream(path, compression=None)
    stream.write(content)
    stream.close()


def _object_info(found: Any) -> ObjectInfo:
    return ObjectInfo(found.size or 0, found.mtime_ns or 0)


def _way_out(text: str) -> str:
    if re.search("NO_SUCH_BUCKET|[Bb]ucket .*not (found|exist)|NoSuchBucket", text):
        return "; make the bucket, or name another"
    if "Unrecognized filesystem type" in text:
        return "; pyarrow opens s3, gs, abfs, hdfs and file"
    if re.search("ACCESS_DENIED|INVALID_ACCESS_KEY|SIGNATURE|status 40[13]|InvalidAccessKey|Forbidden", text):
        return (
            "; credentials come from the URL, from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, from ~/.aws, or from "
            "the machine's role: check that they may list, read and write there"
        )
    if re.search("NETWORK_CONNECTION|curlCode|Couldn't connect|timed? ?out", text):
        return "; check the network, and the endpoint (AWS_ENDPOINT_URL, or ?endpoint_override=HOST:PORT&scheme=http)"
    return ""
