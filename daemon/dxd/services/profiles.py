"""Profiles that stay in force: those of services that somebody wants, whether or not they are named again; pure."""

from collections.abc import Collection

from dxd.compose.model import Project, ServiceName
from dxd.services.ledger import Ledger
from dxd.services.model import Phase, Will

_OVER = (Phase.DONE, Phase.FAILED)


def in_force(ledger: Ledger, project: Project, given: Collection[str], now: float) -> list[str]:
    """Those that the project as it was read now lacks; of several of one service those that it was `given` before.

    What has done its work needs no profile any more.
    """
    found: dict[str, None] = {}
    for name, own in project.inactive.items():
        if _wanted(ledger, name) and ledger.phase(name, now)[0] is not Phase.DONE:
            found |= dict.fromkeys([each for each in own if each in given] or own[:1])
    return [*found]


def meant(ledger: Ledger, asked: Project, project: Project, now: float) -> frozenset[ServiceName]:
    """What is meant by all of a project's services: those that were asked for, and what runs of other profiles. None of
    those is done or tried once more, since nobody has asked for that.
    """
    more = [each for each in project.services if each not in asked.services]
    return frozenset(asked.services).union(
        each for each in more if _wanted(ledger, each) and ledger.phase(each, now)[0] not in _OVER
    )


def _wanted(ledger: Ledger, name: ServiceName) -> bool:
    return ledger.wanted.will(name) in (Will.UP, Will.ASLEEP)
