import pytest

from dxd.engine.model import ContainerId, EngineEvent
from dxd.services.news import ONEOFF, SERVICE, Attribution, What

DB = ContainerId("db")


def event(action: str, container: str = "db", **more: str) -> EngineEvent:
    return EngineEvent("container", action, container, {SERVICE: "db", **more}, 1)


def what(attribution: Attribution, *actions: str) -> list[What | None]:
    found = [attribution.read(event(each)) for each in actions]
    return [each.what if each else None for each in found]


def test_what_nobody_announced_is_somebody_elses_doing() -> None:
    assert what(Attribution(), "kill", "die", "stop", "start", "destroy") == [
        None,
        What.NOTHING,
        What.STOPPED,
        What.STARTED,
        What.REMOVED,
    ]


def test_what_dx_announced_is_its_own_once() -> None:
    attribution = Attribution()
    attribution.announce(DB, "stop")
    attribution.announce(DB, "start")
    assert what(attribution, "die", "stop", "start") == [What.NOTHING] * 3
    assert what(attribution, "stop", "start") == [What.STOPPED, What.STARTED]


def test_news_that_come_late_do_not_use_up_what_is_announced_for_later() -> None:
    """The end of a restart may be told after its start was asked for."""
    attribution = Attribution()
    attribution.announce(DB, "stop")
    attribution.announce(DB, "start")
    assert what(attribution, "die", "stop", "start") == [What.NOTHING] * 3


def test_what_was_not_done_after_all_is_not_expected() -> None:
    attribution = Attribution()
    attribution.announce(DB, "stop")
    attribution.retract(DB, "stop")
    assert what(attribution, "stop") == [What.STOPPED]


def test_nothing_matters_of_a_container_that_dx_had_replaced() -> None:
    attribution = Attribution()
    attribution.vanished(DB)
    assert what(attribution, "stop", "destroy") == [None, None]
    found = attribution.read(event("start", "new"))
    assert found is not None
    assert found.what is What.STARTED


@pytest.mark.parametrize("action", ["exec_create: true", "exec_start: true", "exec_die", "attach", "resize", "update"])
def test_what_says_nothing_of_a_service_is_left_out(action: str) -> None:
    assert what(Attribution(), action) == [None]


def test_health_has_its_result_in_the_actions_name() -> None:
    assert what(Attribution(), "health_status: unhealthy") == [What.NOTHING]


def test_one_off_containers_are_no_services() -> None:
    assert Attribution().read(event("die", **{ONEOFF: "True"})) is None


def test_what_the_engine_did_not_answer_may_be_told_until_the_opposite_is() -> None:
    for actions in (("start",), ("die", "stop")):
        attribution = Attribution()
        attribution.announce(DB, actions[-1])
        attribution.unanswered(DB, actions[-1])
        assert what(attribution, *actions) == [What.NOTHING] * len(actions)
        assert what(attribution, "start", "stop") == [What.STARTED, What.STOPPED]


def test_what_the_engine_never_did_hides_nothing_of_what_others_do() -> None:
    attribution = Attribution()
    for _ in range(2):
        attribution.announce(DB, "start")
        attribution.unanswered(DB, "start")
    attribution.announce(DB, "start")
    assert what(attribution, "start", "die", "start") == [What.NOTHING, What.NOTHING, What.STARTED]
    attribution.announce(DB, "stop")
    attribution.unanswered(DB, "stop")
    assert what(attribution, "start", "die", "stop") == [What.STARTED, What.NOTHING, What.STOPPED]


def test_what_was_told_is_not_waited_for_once_more() -> None:
    """The next stop is announced, and the start before it told, in any order."""
    attribution = Attribution()
    attribution.announce(DB, "stop")
    attribution.unanswered(DB, "stop")
    attribution.announce(DB, "start")
    assert what(attribution, "die", "stop") == [What.NOTHING] * 2
    attribution.announce(DB, "stop")
    assert what(attribution, "start", "die", "stop") == [What.NOTHING] * 3
