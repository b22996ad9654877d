"""An image registry on 127.0.0.1, as small as pulling needs: it holds one image, made of a few bytes.

Docker takes registries on 127.0.0.0/8 without TLS, so the real engine pulls from it.
"""

import base64
import gzip
import hashlib
import io
import json
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


class Registry:
    """Serves `name` in a thread, from `with` to its end. `requests` are the paths that were asked for."""

    def __init__(self, *, name: str, content: bytes, login: str = "", architecture: str = "amd64") -> None:
        """`content` makes the image one of its own; with `login` (`user:password`) nobody else may pull."""
        self.name = name
        self.requests: list[str] = []
        self.gate = threading.Event()
        """Layers are sent while it is set."""
        self.gate.set()
        self.broken = False
        """Layers are cut in the middle."""
        self.spoiled = False
        """Layers are as long as they should be, and others."""
        self.limited = False
        """Nobody may ask any more for now."""
        self._login = f"Basic {base64.b64encode(login.encode()).decode()}" if login else ""
        self._blobs: dict[str, bytes] = {}
        layer = _tar("content", content)
        config = {
            "architecture": architecture,
            "os": "linux",
            "config": {"Labels": {"pulled": "yes"}},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
        self._manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": self._blob(json.dumps(config).encode(), _CONFIG),
                "layers": [self._blob(gzip.compress(layer, mtime=0), _LAYER)],
            }
        ).encode()
        self._layer = list(self._blobs)[-1]
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def host(self) -> str:
        """Of the registry, with its port."""
        return f"127.0.0.1:{self._server.server_port}"

    @property
    def ref(self) -> str:
        """The image's name."""
        return f"{self.host}/{self.name}:1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _blob(self, data: bytes, media_type: str) -> dict[str, str | int]:
        self._blobs[_digest(data)] = data
        return {"mediaType": media_type, "size": len(data), "digest": _digest(data)}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                registry.requests.append(f"{self.command} {self.path}")
                if registry._login and self.headers.get("Authorization") != registry._login:
                    self._say(401, b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}')
                elif registry.limited and "/manifests/" in self.path:
                    self._say(429, b'{"errors":[{"code":"TOOMANYREQUESTS","message":"too many pulls"}]}')
                elif self.path == "/v2/":
                    self._say(200, b"{}")
                elif self.path in (
                    f"/v2/{registry.name}/manifests/1",
                    f"/v2/{registry.name}/manifests/{_digest(registry._manifest)}",
                ):
                    self._say(200, registry._manifest, _MANIFEST)
                elif (blob := registry._blobs.get(self.path.rpartition("/")[2])) is not None:
                    self._send_blob(blob)
                else:
                    self._say(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}')

            do_HEAD = do_GET

            def _send_blob(self, blob: bytes) -> None:
                if _digest(blob) == registry._layer:
                    registry.gate.wait()
                    if registry.broken:
                        self.close_connection = True
                        return
                    if registry.spoiled:
                        blob = blob[:-1] + bytes((blob[-1] ^ 1,))
                self._say(200, blob, "application/octet-stream")

            def _say(self, status: int, body: bytes, media_type: str = "application/json") -> None:
                self.send_response(status)
                self.send_header("Content-Type", media_type)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
                self.send_header("Docker-Content-Digest", _digest(body))
                if status == 401:
                    self.send_header("WWW-Authenticate", 'Basic realm="here"')
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                pass

        return Handler


def _tar(name: str, content: bytes) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return archive.getvalue()


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
