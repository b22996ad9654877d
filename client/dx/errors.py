"""Why a request to the daemon came to nothing, in one tree.

ClientError
├── Unreachable · NotStarted     there is no daemon to ask
├── BadAnswer · WrongVersion     there is one that cannot be talked to
├── ApiError                     it refused: its own code, message and hint
└── RunFailed                    a run did not begin, or dx lost it: with the exit status that says so

`dx.api`, `dx.client` and `dx.launcher` raise them; the command line shows them, and exits with 125 or what `RunFailed`
says.
"""


class ClientError(Exception):
    """A request that came to nothing: `message` says why, `hint` what to do."""

    code = "client"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Unreachable(ClientError):
    """Nobody listens on the daemon's socket."""

    code = "unreachable"


class NotStarted(ClientError):
    """The daemon could not be started."""

    code = "not-started"


class BadAnswer(ClientError):
    """The daemon does not answer, or not in a way that makes sense."""

    code = "bad-answer"


class WrongVersion(ClientError):
    """The daemon is too old or too new for this client."""

    code = "wrong-version"


class ApiError(ClientError):
    """The daemon's own error; `code` is stable, see the API's reference."""

    def __init__(self, status: int, code: str, message: str, hint: str) -> None:
        super().__init__(message, hint)
        self.status = status
        self.code = code


class RunFailed(ClientError):
    """A run that dx or the engine failed, or whose command is not there."""

    code = "run-failed"

    def __init__(self, message: str, exit_code: int = 125) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        """125 dx or the engine failed, 126 found but not executable, 127 not found in the image."""
