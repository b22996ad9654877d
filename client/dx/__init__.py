"""dx: commands that live in images, run as if they were native.

    from dx import Client

    done = Client().run(["jq", ".name", "package.json"], capture_output=True, check=True)

What a Python program uses of it is in `__all__`; docs/reference/python.md tells of it.
"""

__version__ = "0.1.0"

__all__ = [
    "ApiError",
    "BadAnswer",
    "Client",
    "ClientError",
    "NotStarted",
    "Process",
    "RunFailed",
    "Unreachable",
    "WrongVersion",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dx.client import Client
    from dx.errors import ApiError, BadAnswer, ClientError, NotStarted, RunFailed, Unreachable, WrongVersion
    from dx.process import Process

_MODULES = {"Client": "dx.client", "Process": "dx.process"}


def __getattr__(name: str) -> object:
    """Import a name when it is asked for: every start of the command line imports this package."""
    if name not in __all__:
        raise AttributeError(f"module 'dx' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES.get(name, "dx.errors")), name)
