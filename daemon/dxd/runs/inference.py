"""Which paths of the host a run gets because its arguments name them."""

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field

from dxd.errors import CannotGrant
from dxd.runs.closed import Closed, is_in
from dxd.runs.walk import Walk, walk
from dxd.runs.words import MAX_PATH, Candidate, Form, candidates


@dataclass(frozen=True, slots=True)
class Named:
    """A path to grant."""

    path: bytes
    """Physical."""
    directory: bool
    readonly: bool
    new: bytes
    """Where the argument names something that does not exist in it, its name."""
    why: str


@dataclass(slots=True)
class Inference:
    """Goes through the arguments; what came of it is in the fields.

    `covered` are the directories and files that the run has in any case.
    """

    cwd: bytes
    closed: Closed
    covered: tuple[bytes, ...]
    named: dict[bytes, Named] = field(default_factory=dict)
    links: dict[bytes, bytes] = field(default_factory=dict)
    """Links to make in the run's root, and what is written in each."""
    left: set[bytes] = field(default_factory=set)
    """Directories that have to be there for a `..` to leave them."""
    refused: list[str] = field(default_factory=list)
    """What was named and is not granted, each with its reason, as sentences."""

    def arguments(self, words: Iterable[bytes]) -> None:
        """Take in arguments; raises `CannotGrant` where one clearly names what is never granted unasked."""
        for number, word in enumerate(words, 1):
            for candidate, walks in self._readings(word):
                for each in walks:
                    self._take(each, candidate, number)

    def place(self, path: bytes) -> bool:
        """Have the links on the way to a path; False where one would lie in what is the image's."""
        found = walk(path, b"/")
        if found is None or any(self.closed.is_images(place) for place, _ in found.links):
            return False
        self._follow(found)
        return True

    def _readings(self, word: bytes) -> list[tuple[Candidate, list[Walk]]]:
        readings: list[tuple[Candidate, list[Walk]]] = []
        for candidate in candidates(word, self.closed.home):
            walks = self._walk(candidate)
            if walks is None:
                continue
            if candidate.form is Form.LIST:  # rather than one new thing with colons in its name
                readings = [each for each in readings if each[1][0].mode is not None]
            readings.append((candidate, walks))
            if candidate.form is not Form.LIST and walks[0].mode is not None:
                break  # it exists by this reading
        return readings

    def _walk(self, candidate: Candidate) -> list[Walk] | None:
        """Where all of it leads; None where it names nothing that the run does not have anyway."""
        walks = []
        for path in candidate.paths:
            if len(path) > MAX_PATH:
                return None
            if b"/" not in path and self._is_plain(path):
                if candidate.form is not Form.LIST or not os.path.lexists(self.cwd + b"/" + path):
                    return None
                continue
            found = walk(path, self.cwd)
            if found is None or (found.mode is None and candidate.form is Form.LIST):
                return None
            walks.append(found)
        return walks or None

    def _is_plain(self, name: bytes) -> bool:
        """Whether a name without a slash is no link, so that it leads nowhere but into the current directory."""
        if not is_in(self.cwd, self.covered) or name in (b".", b".."):
            return False
        try:
            return not stat.S_ISLNK(os.lstat(self.cwd + b"/" + name).st_mode)
        except OSError:
            return True

    def _take(self, found: Walk, candidate: Candidate, number: int) -> None:
        whole = found.end.rstrip(b"/") + b"/" + found.new if found.new else found.end
        if is_in(whole, self.covered):
            self._follow(found)
            return
        # A link of the image's names may lead elsewhere there; those of /proc do so for each process, /dev/stdin too.
        by_images = any(self.closed.is_images(place) for place, _ in found.links)
        if found.new and (by_images or self.closed.is_images(found.end)):
            return  # most likely no path at all, or one of the image
        why = f"argument {number}" if candidate.form is Form.WHOLE else f"{candidate.form.value} {number}"
        if found.new:
            why += f", which names {show(found.new)} in it, not there yet"
        if by_images or self.closed.is_images(found.end):
            self._follow(found)
            if not by_images and found.mode is not None and stat.S_ISSOCK(found.mode):
                self._refuse(whole, self.closed.reason(found.end) or "is a socket of the system", candidate, found)
            self.refused.append(f"{show(whole)} ({why}): that name is the image's own")
            return
        reason = self.closed.reason(found.end)
        if not reason:
            reason = next(filter(None, (self.closed.reason(place) for place, _ in found.links)), "")
        if reason:
            self._refuse(whole, reason, candidate, found)
            self.refused.append(f"{show(found.end)} ({why}): {reason}")
            return
        self._follow(found)
        old = self.named.get(found.end)
        if old is None or (old.new and not found.new):
            self.named[found.end] = Named(
                found.end, found.is_directory or bool(found.new), _is_readonly(found), found.new, why
            )

    def _refuse(self, path: bytes, reason: str, candidate: Candidate, found: Walk) -> None:
        """Say no before the tool finds something else there; a guess that may well be none is passed over."""
        if candidate.form is Form.LIST or candidate.tilde or not (b"/" in candidate.paths[0] or found.left):
            return
        if found.end in self.closed.homes:
            if not found.new and candidate.form is not Form.WHOLE:
                return  # said to tell where home is, and there is one in the run
        elif self.closed.holds_home(found.end):
            return  # a /home of the image's own
        name = show(path)
        if found.new:
            reason = f"would be new in {show(found.end)}, which {reason}"
        raise CannotGrant(
            f"{name} {reason}",
            f"allow it once: dx run --mount {show(found.end)} ..., or see mounts and paths in: dx help tools",
        )

    def _follow(self, found: Walk) -> None:
        for place, target in found.links:
            if not is_in(place, self.covered) and not self.closed.is_images(place):
                self.links[place] = target
        for directory in found.left:
            is_there = is_in(directory, self.covered) or is_in(self.cwd, (directory,))
            if not is_there and not self.closed.is_images(directory):
                self.left.add(directory)


def _is_readonly(found: Walk) -> bool:
    """Whether the caller may neither write to a file nor make it writable; in directories the kernel decides."""
    if found.mode is None or found.is_directory or stat.S_ISSOCK(found.mode):
        return False
    return found.owner != os.geteuid() and not os.access(found.end, os.W_OK)


def show(path: bytes) -> str:
    """A path as one line of text."""
    text = path.decode(errors="backslashreplace")
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
