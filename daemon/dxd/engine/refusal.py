"""Why a container does not start, where the engine's words are known: as errors that say what to do. Pure."""

import re

from dxd.engine.answer import Answer
from dxd.errors import EngineError, PortTaken, Refused

_TAKEN = re.compile(r"address already in use|port is already allocated", re.IGNORECASE)
_ADDRESS = re.compile(r"(\[[0-9a-f:]+\]|[0-9.]+|):([0-9]+)(?![0-9.])")
_NO_GPU = re.compile(r"could not select device driver|nvidia-container-cli", re.IGNORECASE)
_NO_DEVICE = re.compile(r'error gathering device information.*?"(/[^"]+)"', re.IGNORECASE)
_NO_ADDRESS = re.compile(r"cannot assign requested address", re.IGNORECASE)


def explained(answer: Answer) -> EngineError | Refused:
    """The answer itself where its words are not known."""
    words = answer.reason
    if _TAKEN.search(words):
        found = _ADDRESS.search(words)
        port = f"port {found[1] or '*'}:{found[2]} of this machine" if found else "a port of the tool"
        who = f"see who has it: ss -lntup 'sport = :{found[2]}'" if found else "see who listens: ss -lntup"
        return PortTaken(f"{port} is taken by another program", who)
    if _NO_ADDRESS.search(words):
        return Refused(f"a port cannot be published: {words}", "the address before the port is none of this machine")
    if _NO_GPU.search(words):
        return Refused(
            f"the engine cannot give a GPU: {words}",
            "install the NVIDIA Container Toolkit on the engine's machine, or leave gpus out",
        )
    if found := _NO_DEVICE.search(words):
        return Refused(f"the engine has no device {found[1]}", "see: ls -l /dev")
    return answer
