"""One request to the daemon, and what comes back: an answer or many, as JSON. All that goes wrong is a `ClientError`.

`Client` is made of it; nobody else sends requests.
"""

import json
from collections.abc import Callable, Iterator
from os import PathLike, fspath
from typing import Any

from dx import __version__, http
from dx.errors import ApiError, BadAnswer, ClientError, Unreachable, WrongVersion

TIMEOUT_S = 30.0
"""How long to wait for an answer: longer than the daemon waits for the engine."""
MAX_SHOWN = 200


class Asking:
    """A daemon that can be asked."""

    def __init__(
        self, socket: str | PathLike[str], *, start: Callable[[], None] | None = None, timeout_s: float = TIMEOUT_S
    ) -> None:
        self.socket = fspath(socket)
        self.start = start
        self.timeout_s = timeout_s

    def _ask(self, method: str, target: str, body: object = None, *, any_version: bool = False) -> Any:
        """The one way of every request that has one answer."""
        data = self._ask_bytes(method, target, body, any_version=any_version)
        return _decode(data) if data else None

    def _ask_bytes(self, method: str, target: str, body: object = None, *, any_version: bool = False) -> bytes:
        with self._send(method, target, body, any_version=any_version) as response:
            try:
                data = response.read()
            except (OSError, http.BadResponse) as error:
                raise self._bad_answer(error) from error
        if response.status >= 400:
            raise _refusal(response.status, data)
        return data

    def _stream(self, method: str, target: str, body: object = None, *, last: str | None = None) -> Iterator[Any]:
        """The one way of every request that has many; the key `last` marks the end, without it there is none."""
        with self._send(method, target, body) as response:
            try:
                if response.status >= 400:
                    raise _refusal(response.status, response.read())
                for line in response.lines():
                    item = _decode(line)
                    if not isinstance(item, dict):
                        raise BadAnswer(*_NO_SENSE)
                    if "error" in item:
                        raise _refusal(response.status, line)
                    yield item
                    if last in item:
                        return
            except (OSError, http.BadResponse) as error:
                raise self._bad_answer(error) from error
        if last is not None:
            raise BadAnswer("the daemon ended before the work was done", "see: dx daemon logs")

    def _send(self, method: str, target: str, body: object, *, any_version: bool = False) -> http.Response:
        headers = {"Accept": "application/json", "User-Agent": f"dx/{__version__}"}
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = _encode(body)
        for attempt in ("first", "last"):
            try:
                response = http.request(
                    self.socket, method, target, headers=headers, body=data, timeout_s=self.timeout_s
                )
                break
            except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError) as error:
                if attempt == "last" or not self.start:
                    raise Unreachable("the daemon is not running", "start it with: dx daemon start") from error
                self.start()
            except PermissionError as error:
                raise Unreachable(f"{self.socket} may not be used by you", "it belongs to another user") from error
            except (OSError, http.BadResponse) as error:
                raise self._bad_answer(error) from error
        if not any_version and (theirs := response.headers.get("dx-version")) and not compatible(theirs):
            with response:
                raise WrongVersion(f"the daemon is dx {theirs}, this is dx {__version__}", "run: dx daemon restart")
        return response

    def _bad_answer(self, error: Exception) -> BadAnswer:
        if isinstance(error, TimeoutError):
            return BadAnswer(f"the daemon does not answer within {self.timeout_s:g} s", "run: dx daemon restart")
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return BadAnswer(f"no answer from the daemon: {reason}", "try again, or see: dx daemon logs")


def compatible(theirs: str, ours: str = __version__) -> bool:
    """Whether a client can talk to a daemon: the same major version, and at most one minor version apart."""
    try:
        their_major, their_minor = (int(part) for part in theirs.split(".")[:2])
        major, minor = (int(part) for part in ours.split(".")[:2])
    except ValueError:
        return theirs == ours
    return their_major == major and abs(their_minor - minor) <= 1


_NO_SENSE = ("the daemon's answer makes no sense", "run: dx daemon restart")


def _encode(body: object) -> bytes:
    try:
        return json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ClientError("an argument is not UTF-8", "definitions are text; rename the file or write it out") from None


def _decode(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        raise BadAnswer(*_NO_SENSE) from None


def _refusal(status: int, data: bytes) -> ClientError:
    try:
        error = json.loads(data)["error"]
        return ApiError(status, str(error["code"]), str(error["message"]), str(error.get("hint", "")))
    except (ValueError, LookupError, TypeError, AttributeError):
        text = " ".join(data[:MAX_SHOWN].decode(errors="replace").split())
        return BadAnswer(f"the daemon answered with status {status}: {text}", "run: dx daemon restart")
