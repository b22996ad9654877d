"""Every error that dx tells a user, in one tree, grouped by whose turn it is to act.

    DxError
    ├── Refused          the request or the definition has to change
    │   ├── BadRequest · TooLarge · NotFound · UnknownTool · NotHere · BadName · BadDefinition
    │   ├── CannotGrant · NoCommand · NotTrusted · Conflict · PortTaken
    │   └── BadCompose · ComposeMissing · UnknownProject · UnknownService
    ├── ServiceTrouble   a service of a project has to change
    │   └── ComposeFailed · ServiceFailed
    ├── ImageTrouble     the image has to change, or be there
    │   └── ImageMissing · WrongArchitecture · BuildFailed · PushFailed
    ├── EngineTrouble    the engine has to be started or mended
    │   └── EngineDown · EngineTimeout · EngineError · EngineFull
    └── Internal         dx has to be mended, or is about to stop
        └── AgentFailed · ProxyFailed · Stopping

`code` is stable and goes over the API; `message` is one line without a full stop; `hint` says what to do.
HTTP statuses and exit codes are chosen in `api`, nowhere else. An error is raised or logged, never both.
"""

from pathlib import Path
from typing import ClassVar


def one_line(text: str) -> str:
    """Fit for a terminal, whoever chose the words: no line of its own, and no control character that works."""
    line = " ".join(text.split())
    return line if line.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


class DxError(Exception):
    """A failure that the user is told of: `message` says what, `hint` what to do about it."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def line(self) -> str:
        """Message and hint on one line, as the launcher prints them."""
        return one_line(f"{self.message}; {self.hint}" if self.hint else self.message)


class Refused(DxError):
    code = "refused"


class BadRequest(Refused):
    code = "bad-request"


class TooLarge(Refused):
    code = "too-large"


class NotFound(Refused):
    code = "not-found"


class UnknownTool(NotFound):
    code = "unknown-tool"


class NotHere(UnknownTool):
    """A command that is a tool's in some project, and not where it was asked for."""

    code = "not-here"


class BadName(Refused):
    code = "bad-name"


class BadDefinition(Refused):
    code = "bad-definition"


class CannotGrant(Refused):
    code = "cannot-grant"


class NoCommand(Refused):
    code = "no-command"


class NotTrusted(Refused):
    """A project asks for what the user has not allowed it."""

    code = "not-trusted"

    def __init__(self, message: str, hint: str = "", project: Path | None = None) -> None:
        super().__init__(message, hint)
        self.project = project
        """Of which it can be asked; None where it cannot."""


class Conflict(Refused):
    code = "conflict"


class PortTaken(Conflict):
    code = "port-taken"


class BadCompose(BadDefinition):
    code = "bad-compose"


class ComposeMissing(Refused):
    code = "compose-missing"


class UnknownProject(NotFound):
    code = "unknown-project"


class UnknownService(NotFound):
    code = "unknown-service"


class ServiceTrouble(DxError):
    code = "service"


class ComposeFailed(ServiceTrouble):
    code = "compose-failed"


class ServiceFailed(ServiceTrouble):
    code = "service-failed"


class ImageTrouble(DxError):
    code = "image"


class ImageMissing(ImageTrouble):
    code = "image-missing"


class WrongArchitecture(ImageTrouble):
    code = "wrong-architecture"


class BuildFailed(ImageTrouble):
    code = "build-failed"


class PushFailed(ImageTrouble):
    code = "push-failed"


class EngineTrouble(DxError):
    code = "engine"


class EngineDown(EngineTrouble):
    code = "engine-down"


class EngineTimeout(EngineTrouble):
    code = "engine-timeout"


class EngineError(EngineTrouble):
    code = "engine-error"


class EngineFull(EngineTrouble):
    code = "engine-full"


class Internal(DxError):
    code = "internal"


class AgentFailed(Internal):
    code = "agent-failed"


class ProxyFailed(Internal):
    code = "proxy-failed"


class Stopping(Internal):
    code = "stopping"
