from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from no_time_to_train.adapters.label_studio_images import TaskImages
from no_time_to_train.data.images import UnreadableImageError
from no_time_to_train.errors import InputError, InputFileNotFoundError

PERSONAL_TOKEN = "header.content.signature"


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (6, 4), (1, 2, 3)).save(buffer, "PNG")
    return buffer.getvalue()


class Handler(BaseHTTPRequestHandler):
    """Label Studio's server: images, the exchange of tokens, and redirections."""

    server: ImageServer

    def do_GET(self) -> None:
        self.server.seen.append((self.path, self.headers.get("Authorization")))
        if self.path.startswith("/away"):
            self.send_response(302)
            self.send_header("Location", self.server.leads_to)
            self.end_headers()
        elif self.path.startswith("/forbidden"):
            self.send_error(401)
        else:
            self._answer(b"text" if self.path.startswith("/text") else png())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert (self.path, body) == ("/api/token/refresh", {"refresh": PERSONAL_TOKEN})
        self._answer(self.server.token_answer)

    def _answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        """Quiet."""


class ImageServer(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[str, str | None]] = []
        self.leads_to = ""
        self.token_answer = b'{"access": "of-minutes"}'

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def server() -> Iterator[ImageServer]:
    with ImageServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("key", "header"), [("abc", "Token abc"), (PERSONAL_TOKEN, "Bearer of-minutes"), (None, None), ("", None)]
)
def test_uploads_are_fetched_with_the_key(server: ImageServer, key: str | None, header: str | None) -> None:
    images = TaskImages(f"{server.url}/", key)
    for location in ("/data/upload/1/b b.png", f"{server.url}/data/upload/1/b%20b.png"):
        assert np.array_equal(images.read(location), np.full((4, 6, 3), (1, 2, 3)))
    assert server.seen == [("/data/upload/1/b%20b.png", header)] * 2


def test_local_files_are_fetched_where_no_folder_is_given(server: ImageServer) -> None:
    TaskImages(server.url, "abc").read("/data/local-files/?d=photos/a.png")
    assert server.seen == [("/data/local-files/?d=photos/a.png", "Token abc")]


def test_the_key_goes_to_no_other_host(server: ImageServer) -> None:
    images = TaskImages("http://127.0.0.1:1", "abc", image_hosts=[server.url])
    images.read(f"{server.url}/a.png")
    assert server.seen == [("/a.png", None)]


def test_a_redirection_within_the_server_is_followed_and_none_to_another(server: ImageServer) -> None:
    images = TaskImages(server.url, "abc")
    server.leads_to = "/a.png"
    assert images.read("/away").shape == (4, 6, 3)
    server.leads_to = "http://127.0.0.1:1/a.png"
    with pytest.raises(InputError, match="leads to another server"):
        images.read("/away")
    server.leads_to = "file:///etc/passwd"
    with pytest.raises(InputError):
        images.read("/away")


@pytest.mark.parametrize(
    "location",
    [
        "http://example.org/a.png",
        "https://127.0.0.1:8080/a.png",
        "http://127.0.0.1:8081/a.png",
        "http://127.0.0.1:8080@example.org/a.png",
        "http://example.org@127.0.0.1:8080/a.png",
        "http://127.0.0.1:8080.example.org/a.png",
        "http://127.0.0.1:port/a.png",
        "file:///etc/hostname",
        "ftp://127.0.0.1:8080/a.png",
        "s3://bucket/a.png",
        "data:image/png;base64,AAAA",
        "a.png",
        "",
    ],
)
def test_anything_else_is_refused(location: str) -> None:
    with pytest.raises(InputError, match="is not read|no address to read"):
        TaskImages("http://127.0.0.1:8080", "abc").read(location)


@pytest.mark.parametrize("location", ["/etc/hostname", "//example.org/a.png", "/data/local-files/?d=a.png"])
def test_without_a_server_nothing_is_fetched(location: str) -> None:
    with pytest.raises(InputError, match="is not read"):
        TaskImages().read(location)


def test_a_path_of_the_server_never_leads_to_another_host(server: ImageServer) -> None:
    TaskImages(server.url).read("//example.org/a.png")
    assert server.seen == [("/example.org/a.png", None)]


def test_local_files_are_read_in_the_folder_and_nowhere_else(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    (folder / "trip").mkdir(parents=True)
    (folder / "trip" / "b b.png").write_bytes(png())
    (tmp_path / "secret.png").write_bytes(png())
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    images = TaskImages(folder=folder)
    for name in ("trip/b%20b.png", "/trip/b%20b.png", "trip/../trip/b+b.png"):
        assert images.read(f"/data/local-files/?d={name}").shape == (4, 6, 3)
    for name in ("../secret.png", "trip/../../secret.png", "%2e%2e/secret.png", "link.png"):
        with pytest.raises(InputError, match="is not in"):
            images.read(f"/data/local-files/?d={name}")
    with pytest.raises(InputFileNotFoundError, match="no such image file"):  # a path from the root is one in the folder
        images.read(f"/data/local-files/?d={tmp_path}/secret.png")


def test_what_is_wrong_is_said(server: ImageServer) -> None:
    images = TaskImages(server.url)
    with pytest.raises(InputError, match="LABEL_STUDIO_API_KEY"):
        images.read("/forbidden")
    with pytest.raises(InputError, match="/text.png cannot be read"):
        images.read("/text.png")
    with pytest.raises(InputError, match="cannot be fetched"):
        TaskImages("http://127.0.0.1:1").read("/a.png")
    with pytest.raises(InputError, match="no address to read"):
        TaskImages("localhost:8080")


def test_an_unreadable_file_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(UnreadableImageError, match=r"a\.png"):
        TaskImages(folder=tmp_path).read("/data/local-files/?d=a.png")


@pytest.mark.parametrize("answer", [b"<html>", b"{}", b"[]"])
def test_a_server_that_gives_no_token_is_said(server: ImageServer, answer: bytes) -> None:
    server.token_answer = answer
    with pytest.raises(InputError, match="gave no access token"):
        TaskImages(server.url, PERSONAL_TOKEN).read(f"{server.url}/a.png")
