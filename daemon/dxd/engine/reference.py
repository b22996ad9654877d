"""Names of images, by the grammar of github.com/distribution/reference; pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_HOST = re.compile(r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]+)?", re.ASCII)
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(
    rf"(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}}))?"
    r"(?:@(?P<digest>[a-z0-9]+(?:[+._-][a-z0-9]+)*:[0-9a-fA-F]{32,}))?",
    re.ASCII,
)
_ID = re.compile(r"(?:sha256:)?[0-9a-f]{6,64}", re.ASCII)
_WHOLE_ID = re.compile(r"sha256:[0-9a-f]{6,64}|[0-9a-f]{64}", re.ASCII)
MAX_CHARACTERS = 512


@dataclass(frozen=True, slots=True)
class Reference:
    """A name that can be pulled."""

    repository: str
    """With the registry's host, where one was given."""
    host: str
    """The registry; empty is the engine's default one."""
    tag: str
    """A tag or, where the name has one, a digest."""

    @property
    def is_digest(self) -> bool:
        """Whether the name means the same image for ever."""
        return ":" in self.tag

    def at(self, digest: str) -> str:
        """The name of the image of this repository that has the digest."""
        return f"{self.repository}@{digest}"


def parse(text: str) -> Reference | None:
    """Take a name apart; None where it is no name of an image, but perhaps the id of one."""
    if len(text) > MAX_CHARACTERS or _WHOLE_ID.fullmatch(text):
        return None
    host, slash, rest = text.partition("/")
    # The same guess that Docker makes: what has a dot, a port or capitals is a host, anything else part of the path.
    if not slash or not (host == "localhost" or any(each in host for each in ".:") or host != host.lower()):
        host, rest = "", text
    match = _NAME.fullmatch(rest)
    if not match or (host and not _HOST.fullmatch(host)):
        return None
    repository = f"{host}/{match['path']}" if host else match["path"]
    return Reference(repository, host, match["digest"] or match["tag"] or "latest")


def digest_in(digests: Sequence[str], name: Reference) -> str | None:
    """Of an image's digests the one of that repository, which its registry would give; None where there is none."""
    for each in digests:
        repository, _, digest = each.partition("@")
        if _familiar(repository) == _familiar(name.repository):
            return digest
    return None


def _familiar(repository: str) -> str:
    """As Docker shows names: without what stands for its default registry."""
    for host in ("docker.io/", "index.docker.io/"):
        repository = repository.removeprefix(host)
    return repository.removeprefix("library/")


def may_be_local(text: str) -> bool:
    """Whether the engine may be asked for an image by that text: a name, or an id or the beginning of one."""
    return bool(_ID.fullmatch(text)) or parse(text) is not None
