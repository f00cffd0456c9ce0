"""The images of Label Studio's tasks: from its server, from a folder, or from hosts that are permitted.

A task may name any address. Nothing else than these three is read, so that whoever can write tasks reaches neither
other files of this machine nor other machines of its network.
"""

from __future__ import annotations

import json
import tempfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO
from urllib.parse import parse_qs, quote, unquote, urlsplit

import numpy as np

from no_time_to_train.data.images import read_image
from no_time_to_train.errors import InputError

_LOCAL_FILES = "/data/local-files/"
_TIMEOUT_SECONDS = 30
_MAX_BYTES = 512 * 1024**2
_KEPT = "%/:=&?~#+!$,;'@()*[]"
"""Characters of an address that mean something; others, such as spaces, are written as it needs them."""


class TaskImages:
    """Read the images that tasks name.

    Args:
        label_studio_url: of its server, such as ``http://localhost:8080``; None: nothing is fetched from it.
        api_key: of an account there: a legacy token or a personal access token.
        folder: what Label Studio's local files are relative to (LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT); they are then
            read there, and not fetched.
        image_hosts: further addresses to fetch from, such as ``https://example.org``. The key is not sent to them.

    Raises:
        InputError: an address is none.
    """

    def __init__(
        self,
        label_studio_url: str | None = None,
        api_key: str | None = None,
        folder: Path | None = None,
        image_hosts: Sequence[str] = (),
    ) -> None:
        self._url = label_studio_url and label_studio_url.rstrip("/")
        self._own_origin = _origin(self._url) if self._url else None
        self._key = api_key
        self._folder = folder and folder.resolve()
        self._origins = {_origin(host) for host in image_hosts}

    def read(self, location: str) -> np.ndarray:
        """Return the image (H, W, 3) uint8 that a task names.

        Raises:
            InputError: it may not be read, cannot be fetched, or is no image.
            InputFileNotFoundError: the folder has no such file.
        """
        if not isinstance(location, str) or "\0" in unquote(location):
            raise InputError(f"an image must be named by an address, got {location!r}.")
        try:
            parts = urlsplit(location)
        except ValueError as error:
            raise InputError(f"{location!r} is no address ({error}).") from error
        if self._folder is not None and not parts.netloc and parts.path == _LOCAL_FILES:
            return read_image(self._local_file(parse_qs(parts.query).get("d", [""])[-1]))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"image{Path(parts.path).suffix}"
            path.write_bytes(self._fetch(location))
            try:
                return read_image(path)
            except InputError as error:
                raise InputError(str(error).replace(str(path), location)) from error

    def _local_file(self, name: str) -> Path:
        assert self._folder is not None
        path = (self._folder / name.lstrip("/")).resolve()
        if not path.is_relative_to(self._folder):
            raise InputError(f"{name} is not in {self._folder}: it is not read.")
        return path

    def _fetch(self, location: str) -> bytes:
        if location.startswith("/") and self._url:
            location = f"{self._url}/{location.lstrip('/')}"
        origin = _origin(location) if location.startswith(("http://", "https://")) else None
        if origin is None or origin not in {self._own_origin, *self._origins}:
            raise InputError(
                f"{location} is not read: it is neither on Label Studio's server ({self._url or 'none is given'}) nor "
                "on another host that is permitted."
            )
        return _download(quote(location, safe=_KEPT), self._authorization() if origin == self._own_origin else {})

    def _authorization(self) -> dict[str, str]:
        """Return the header that says who asks; a personal access token is exchanged for one of some minutes."""
        if not self._key:
            return {}
        if self._key.count(".") != 2:
            return {"Authorization": f"Token {self._key}"}
        body = json.dumps({"refresh": self._key}).encode()
        address = f"{self._url}/api/token/refresh"
        answer = _download(address, {"Content-Type": "application/json"}, body)
        try:
            return {"Authorization": f"Bearer {json.loads(answer)['access']}"}
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{address} gave no access token: is this Label Studio's address?") from error


def _origin(address: str) -> str:
    """Return scheme, host and port."""
    parts = urlsplit(address)
    try:
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        if not parts.hostname or "@" in parts.netloc:
            raise ValueError
    except (KeyError, ValueError) as error:
        raise InputError(f"{address!r} is no address to read: one such as http://localhost:8080 is.") from error
    return f"{parts.scheme}://{parts.hostname}:{port}"


class _SameOrigin(urllib.request.HTTPRedirectHandler):
    """Follow no redirection to another server: it could be any."""

    def redirect_request(
        self,
        request: urllib.request.Request,
        body: IO[bytes],
        code: int,
        message: str,
        headers: HTTPMessage,
        address: str,
    ) -> urllib.request.Request | None:
        """Return the request to make in place of the first."""
        if _origin(address) != _origin(request.full_url):
            raise InputError(f"{request.full_url} is not read: it leads to another server.")
        return super().redirect_request(request, body, code, message, headers, address)


def _download(address: str, headers: dict[str, str], body: bytes | None = None) -> bytes:
    request = urllib.request.Request(address, data=body, headers=headers)
    try:
        with urllib.request.build_opener(_SameOrigin).open(request, timeout=_TIMEOUT_SECONDS) as answer:
            content: bytes = answer.read(_MAX_BYTES + 1)
    except (OSError, HTTPException) as error:
        refused = isinstance(error, urllib.error.HTTPError) and error.code in (401, 403)
        hint = " Set LABEL_STUDIO_API_KEY to the access token of an account there." if refused else ""
        raise InputError(f"{address} cannot be fetched ({error}).{hint}") from error
    if len(content) > _MAX_BYTES:
        raise InputError(f"{address} is larger than {_MAX_BYTES // 1024**2} MiB: it is not read.")
    return content
