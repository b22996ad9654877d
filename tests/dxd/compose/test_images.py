from dataclasses import replace
from typing import Any

import pytest

from dxd.compose import images
from dxd.compose.images import Pulls
from dxd.compose.model import ProjectName, Service, ServiceName

P = ProjectName("p")
DB = Service(ServiceName("db"), image="db:1")
BUILT = Service(ServiceName("web"), build={"context": "/web"})
NAMED = replace(BUILT, image="web:1")
USER = Service(ServiceName("worker"), image="web:1")


def policy(service: Service, policy: str, **more: Any) -> Service:
    return replace(service, raw={"pull_policy": policy, **more})


@pytest.mark.parametrize(
    ("services", "there", "build", "pulls", "builds"),
    [
        ([DB], set(), False, Pulls(("db",)), []),  # type: ignore[arg-type]
        ([DB], {"db:1"}, False, Pulls(), []),
        ([policy(DB, "always")], {"db:1"}, True, Pulls(("db",)), []),  # type: ignore[arg-type]
        ([policy(DB, "never")], set(), False, Pulls(), []),
        ([policy(DB, "daily")], {"db:1"}, False, Pulls(), []),
        ([BUILT], set(), False, Pulls(), ["web"]),
        ([BUILT], {"p-web"}, False, Pulls(), []),
        ([BUILT], {"p_web"}, False, Pulls(), []),
        ([BUILT], {"p-web"}, True, Pulls(), ["web"]),
        ([policy(BUILT, "build")], {"p-web"}, False, Pulls(), ["web"]),
        ([NAMED], set(), False, Pulls(tried=("web",)), ["web"]),  # type: ignore[arg-type]
        ([NAMED], set(), True, Pulls(), ["web"]),
        ([policy(NAMED, "never")], set(), False, Pulls(), ["web"]),
        ([NAMED, USER], set(), False, Pulls(tried=("web", "worker")), ["web"]),  # type: ignore[arg-type]
    ],
)
def test_what_is_pulled_and_built_is_what_compose_would_pull_and_build(
    services: list[Service], there: set[str], *, build: bool, pulls: Pulls, builds: list[str]
) -> None:
    assert images.pulls(services, there, build=build) == pulls
    assert images.builds(P, services, there, build=build) == builds


def test_where_more_counts_than_whether_an_image_is_there_the_rest_is_composes() -> None:
    assert all(map(images.known, (DB, BUILT, policy(DB, "always"), policy(DB, "if_not_present"))))
    for each in ("daily", "weekly", "every_12h"):
        assert not images.known(policy(DB, each))
    assert not images.known(policy(DB, "missing", platform="linux/arm64"))
    assert not images.known(policy(DB, "missing", pre_start=[{"image": "x"}]))
