"""Why a request to the daemon came to nothing, in one tree.

ClientError
├── Unreachable · NotStarted     there is no daemon to ask
├── BadAnswer · WrongVersion     there is one that cannot be talked to
└── ApiError                     it refused: its own code, message and hint

`dx.api` raises them; the command line shows them, and exits with 125.
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
