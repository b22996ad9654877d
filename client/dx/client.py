"""What a Python program uses: all that the daemon answers, and runs of its own.

    client = Client()
    done = client.run(["jq", ".name", "package.json"], capture_output=True, check=True)

Uses the standard library only. A client holds no connection, so there is nothing to close; threads may share it.
"""

import _socket
import os
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import TypedDict, Unpack

from dx import api
from dx.asking import TIMEOUT_S
from dx.errors import ClientError, RunFailed, Unreachable
from dx.launcher import caller, daemon, lease, unix
from dx.places import NoHome, Places
from dx.process import Process, Stream

Word = str | bytes | PathLike[str] | PathLike[bytes]


class How(TypedDict, total=False):
    """What `Client.popen` takes besides the command; see there."""

    stdin: Stream
    stdout: Stream
    stderr: Stream
    cwd: str | bytes | PathLike[str] | None
    env: Mapping[str, str] | None
    variables: Iterable[str]
    mounts: Iterable[str]
    network: str | None
    ports: Iterable[str]
    devices: Iterable[str]
    shares: Iterable[str]
    pass_fds: Iterable[int]
    notes: Callable[[str], None] | None


def start_daemon() -> None:
    """Start the daemon of this user, if it does not run, and wait until it answers.

    Raises `NotStarted` with its last words, or `RunFailed` where it may not be started.
    """
    daemon.connect().close()


class Client(api.Client):
    """Requests to one daemon, and runs through it."""

    def __init__(
        self,
        socket: str | PathLike[str] | None = None,
        *,
        start: Callable[[], None] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Of this user's daemon, which is started when it is needed; or of the one at `socket`.

        `start` is called when nobody listens, once for a request, which is then tried again. `timeout_s` is for
        answers, not for runs. Raises `ClientError` where the environment does not say where the daemon is.
        """
        if socket is None:
            try:
                socket, start = Places.of().socket, start or start_daemon
            except NoHome as error:
                raise ClientError(str(error)) from None
        super().__init__(socket, start=start, timeout_s=timeout_s)

    def run(
        self,
        command: Sequence[Word],
        *,
        input: bytes | None = None,  # noqa: A002 - as subprocess.run has it
        capture_output: bool = False,
        timeout: float | None = None,
        check: bool = False,
        **how: Unpack[How],
    ) -> "subprocess.CompletedProcess[bytes]":
        """Run a command to its end, as `subprocess.run` does; the rest is as for `popen`.

        Raises `subprocess.TimeoutExpired` after `timeout` seconds, and with `check` `subprocess.CalledProcessError`
        where its status is not 0; in both `output` and `stderr` hold what came so far. However it is left, nothing
        goes on running.
        """
        if input is not None:
            if how.get("stdin") is not None:
                raise ValueError("stdin and input may not both be used")
            how["stdin"] = subprocess.PIPE
        if capture_output:
            if how.get("stdout") is not None or how.get("stderr") is not None:
                raise ValueError("stdout and stderr may not be used with capture_output")
            how["stdout"] = how["stderr"] = subprocess.PIPE
        process = self.popen(command, **how)
        with process:
            try:
                out, err = process.communicate(input, timeout)
            except BaseException:
                with suppress(ClientError):
                    process.kill()
                raise
        done = subprocess.CompletedProcess(command, process.returncode or 0, out, err)
        if check:
            done.check_returncode()
        return done

    def popen(
        self,
        command: Sequence[Word],
        *,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        cwd: str | bytes | PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        variables: Iterable[str] = (),
        mounts: Iterable[str] = (),
        network: str | None = None,
        ports: Iterable[str] = (),
        devices: Iterable[str] = (),
        shares: Iterable[str] = (),
        pass_fds: Iterable[int] = (),
        notes: Callable[[str], None] | None = None,
    ) -> Process:
        """Begin a run; returns once its command is executed, or raises `RunFailed` with what `dx run` would print.

        `command` is a tool, a command of a tool, or an image, with its arguments. Streams are as for
        `subprocess.Popen`, in bytes; `pass_fds` keep their numbers in the run. `cwd` decides which directories the run
        sees. `env` (default: this program's) is what the tool's patterns choose from; `variables` ("K=V" or a
        pattern), `mounts` ("SRC[:DST][:ro]"), `network`, `ports`, `devices` and `shares` are the options of `dx run`.
        `notes` gets what dx has to say meanwhile, of a pull for example.
        """
        if isinstance(command, str | bytes) or not command:
            raise TypeError("the command has to be a list of words, as for subprocess.Popen without a shell")
        given = {"env": variables, "mount": mounts, "port": ports, "device": devices, "share": shares}
        options = [f"{name}={each}" for name, values in given.items() for each in values]
        if network is not None:
            options.append(f"network={network}")
        others = tuple(pass_fds)
        words = [os.fsencode(each) for each in command]
        environment = os.environb if env is None else {os.fsencode(k): os.fsencode(v) for k, v in env.items()}
        request = lease.Request(
            words[0],
            words[1:],
            caller.deeper([b"%s=%s" % item for item in environment.items()]),
            caller.directory() if cwd is None else os.fsencode(Path(os.fsdecode(cwd)).absolute()),
            [each.encode() for each in options],
            framed=not [fd for fd in others if fd > 2],
        )
        if any(b"\0" in each for each in (*words, *request.env, request.cwd, *request.options)):
            raise ValueError("embedded null byte")

        def tell(text: bytes, passing: bool) -> None:
            if notes and not passing:
                notes(text.decode(errors="backslashreplace"))

        def ask(late: int | None, bind: int | None) -> lease.Lease:
            request.bind = request.bind if bind is None else bind
            return lease.ask(request, self._connect, tell, late)

        return Process(
            words,
            ask,
            self._connect,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=others,
        )

    def _connect(self) -> _socket.socket:
        path = os.fsencode(self.socket)
        try:
            try:
                return unix.connect(path, "daemon")
            except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
                if not self.start:
                    raise Unreachable("the daemon is not running", "start it with: dx daemon start") from None
                self.start()
                return unix.connect(path, "daemon")
        except OSError as error:
            raise RunFailed(f"cannot connect to {self.socket}: {error.strerror}") from error
