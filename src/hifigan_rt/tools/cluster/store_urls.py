"""URLs of object stores, taken apart: `SCHEME://HOST/KEY?OPTIONS`, as pyarrow takes them."""

from __future__ import annotations

import os
import re
import urllib.parse
from dataclasses import dataclass, field

from hifigan_rt.errors import DatasetError

S3_SCHEMES = frozenset({"s3", "s3fs"})

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://([^/?]*)/?([^?]*)(\?.*)?", re.DOTALL)


def is_url(name: str) -> bool:
    """Whether a name is a URL, and not that of a file whose folder ends in a colon."""
    return _URL.fullmatch(name) is not None and not os.path.lexists(name)


@dataclass(frozen=True)
class StoreUrl:
    """A URL with all that it says; only `root` is for people."""

    scheme: str
    host: str = field(repr=False)
    """Host with its credentials, if there are any."""
    key: str
    """Key without slashes at its ends, percent signs resolved."""
    options: str = field(repr=False)
    """Options with their question mark, if there are any."""

    @property
    def address(self) -> str:
        """What opens the store, without options."""
        return f"{self.scheme}://{self.host}"

    @property
    def is_s3(self) -> bool:
        """Whether S3's client opens it."""
        return self.scheme.lower() in S3_SCHEMES

    @property
    def root(self) -> str:
        """The URL up to its host, without credentials; in other schemes than S3's a name before the @ is address."""
        user, at, host = self.host.rpartition("@")
        name = "" if self.is_s3 else user.partition(":")[0]
        return f"{self.scheme}://{name}{at if name else ''}{host}"


def parse_url(url: str) -> StoreUrl:
    """Take a URL apart.

    Raises:
        DatasetError: it is none, or climbs, or has a secret that is cut by its own characters.
    """
    found = _URL.fullmatch(url)
    if found is None:
        raise DatasetError(f"{url!r} is no URL: write SCHEME://HOST/PATH, as in s3://bucket/folder")
    scheme, host, path, options = found.groups()
    parts = [part for part in urllib.parse.unquote(path).split("/") if part not in ("", ".")]
    parsed = StoreUrl(scheme, host, "/".join(parts), options or "")
    # Else the first part of the secret would count as a port, and be shown.
    port = host.rpartition(":")[2].isdecimal() or host.endswith("]")
    if ":" in host and "@" not in host and (parsed.is_s3 or not port):
        raise DatasetError(
            f"the URL that begins with {scheme}:// has a colon in its host, and no @ behind it: if a secret is in it, "
            "write its / as %2F, its ? as %3F and its @ as %40"
        )
    if ".." in parts:
        raise DatasetError(f"'{parsed.root}/{path}' has '..' in it, and objects have no folders to climb: leave it out")
    return parsed
