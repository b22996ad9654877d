"""What happens to a container, and what of it still counts: deaths, pauses, and what an end means. Pure.

The ledger tells each event to one of these, and keeps what comes back; `policy` reads it.
"""

import zlib
from collections.abc import Iterable
from dataclasses import replace

from dxd.compose.model import RestartKind
from dxd.engine.model import ContainerStatus, Health
from dxd.services.model import End, EndKind, History, Instance, Setback, Wanted

FIRST_S, LONGEST_S = 1.0, 60.0
"""The pause before a service that crashed is started again; it doubles with each time."""
JITTER = 0.2
WINDOW_S, MOST = 600.0, 5
"""So many deaths within so long are a failure."""
STABLE_S = 600.0
"""A service that was ready for so long is new again."""

SILENT_S, SILENCES = 5.0, 2
"""A health check has stuck when so often in a row there was no test for twice as long as one may take, or for so long.
Twice, because the first may be that of an engine, or a machine, that did nothing at all."""

_ENDED = {
    137: "killed (SIGKILL)",
    143: "ended by SIGTERM",
    139: "crashed (SIGSEGV)",
    134: "aborted (SIGABRT)",
    127: "its command was not found",
    126: "its command cannot be executed",
}


def ended(history: History, wanted: Wanted, each: Instance, now: float, *, excused: str = "") -> History:
    """What the end of a run means. `excused` is why it was not its own doing; empty where it was."""
    if history.end is not None and history.end.run == each.run:
        return history
    service = wanted.services[each.service]
    one_shot = wanted.one_shot(each.service)
    kind, attempts = service.restart.kind, service.restart.attempts
    good = each.exit_code == 0 and not each.oom_killed and not each.error
    always = kind in (RestartKind.ALWAYS, RestartKind.UNLESS_STOPPED)
    if good and (one_shot or (not excused and not always)):
        return replace(history, end=End(each.run, EndKind.DONE, "done", now))
    if excused:
        return replace(history, end=End(each.run, EndKind.EXCUSED, excused, now))
    reason = how_it_ended(each)
    if kind is RestartKind.NO or (one_shot and kind is RestartKind.UNSET):
        return replace(history, end=End(each.run, EndKind.FAILED, reason, now))
    history = _another(history, now)
    if attempts is not None and history.streak > attempts:
        why = f"{reason}; its restart policy allows {attempts} restarts"
        return replace(history, end=End(each.run, EndKind.FAILED, why, now))
    if len(history.deaths) >= MOST:
        why = f"{reason}, {MOST} times within {WINDOW_S / 60:.0f} minutes"
        return replace(history, end=End(each.run, EndKind.FAILED, why, now))
    return replace(history, end=End(each.run, EndKind.CRASHED, reason, now))


def restarted_for_health(history: History, each: Instance, now: float) -> History:
    """It is about to be stopped because it is unhealthy; once too often, it is left as it is."""
    if len(_recent(history.deaths, now)) + 1 >= MOST:
        words = f": {each.health_output}" if each.health_output else ""
        why = f"unhealthy {MOST} times within {WINDOW_S / 60:.0f} minutes{words}"
        # Whether it gets well by itself, and for how long, is counted from here on.
        return replace(history, gave_up=End(each.run, EndKind.FAILED, why, now), ready_at=None)
    return replace(_another(history, now), restarts=history.restarts + 1)


def fell_ill(history: History, each: Instance, now: float) -> History:
    """Its health has turned bad. One that was given up and has been well for long since then is new again."""
    ill = End(each.run, EndKind.CRASHED, why_ill(each), now)
    if history.gave_up is None or history.gave_up.run != each.run:
        return replace(history, ill=ill)
    if history.ready_at is not None and now - history.ready_at >= STABLE_S:
        return replace(history, ill=ill, gave_up=None, deaths=(), streak=0)
    return replace(history, ill=ill, ready_at=None)


def why_ill(each: Instance) -> str:
    """What is wrong with the health of one that is unhealthy."""
    return f"its health check fails: {each.health_output}" if each.health_output else "its health check fails"


def started(history: History) -> History:
    """It was started by dx; what was stopped for somebody, or by the engine, has not fallen."""
    restarts = history.restarts + (history.end is not None and history.end.kind is EndKind.CRASHED)
    return replace(history, ready_at=None, gave_up=None, restarts=restarts)


def asked_for(history: History) -> History:
    """Somebody wants it to run: what happened before does not count any more. That it is done does."""
    end = history.end
    if end is not None and end.kind is not EndKind.DONE:
        end = replace(end, kind=EndKind.EXCUSED, reason="it is wanted")
    return History(end=end)


def again(history: History) -> History:
    """Somebody wants it to run once more, though it is done."""
    end = history.end
    return History(end=None if end is None else replace(end, kind=EndKind.EXCUSED, reason="it is wanted again"))


def ready(history: History, now: float) -> History:
    """It is ready now; remembers since when it first was, in this run."""
    return replace(history, ready_at=now) if history.ready_at is None else history


def could_not_start(history: History, wanted: Wanted, each: Instance, reason: str, now: float) -> History:
    """The engine refused to start it, which counts as an end."""
    return ended(replace(history, end=None), wanted, replace(each, error=reason), now)


def heard(each: Instance, known: Instance, now: float) -> Instance:
    """The same run, seen again: how long its health check is silent.

    Engine 20.10 waits for ever for a test that does not end at its deadline, and goes on to call it healthy.
    """
    if each.last_test != known.last_test or ContainerStatus.PAUSED in (each.status, known.status):
        return replace(each, silent_since=now)
    silences, since = known.silences, known.silent_since
    if now >= silent_until(known):
        silences, since = silences + 1, now
    each = replace(each, silences=silences, silent_since=since)
    if silences < SILENCES:
        return each
    return replace(each, health=Health.UNHEALTHY, health_output="the test does not end")


def silent_until(each: Instance) -> float:
    """When to look again whether its health was tested."""
    return each.silent_since + max(SILENT_S, 2 * each.check_s)


def _another(history: History, now: float) -> History:
    """One more death."""
    was_stable = history.ready_at is not None and now - history.ready_at >= STABLE_S
    streak = 1 if was_stable else history.streak + 1
    return replace(history, deaths=(*_recent(history.deaths, now), now), streak=streak, ready_at=None)


def _recent(deaths: Iterable[float], now: float) -> tuple[float, ...]:
    return tuple(each for each in deaths if now - each < WINDOW_S)


def pause(streak: int, seed_text: str) -> float:
    """Seconds before the next start after so many deaths in a row; the same for the same seed."""
    if streak <= 0:
        return 0.0
    plain = min(LONGEST_S, FIRST_S * 2.0 ** min(streak - 1, 16))
    share = zlib.crc32(seed_text.encode()) / 0xFFFFFFFF
    return min(LONGEST_S, max(FIRST_S, plain * (1 - JITTER + 2 * JITTER * share)))


def again_at(setback: Setback) -> float:
    """When to ask the engine once more for what it has not done."""
    return setback.at + pause(setback.tries, f"{setback.run}/{setback.tries}")


def seed(each: Instance, history: History) -> str:
    """So that services that fell together do not rise together, and yet always in the same way."""
    return f"{each.id}/{history.streak}"


def how_it_ended(each: Instance) -> str:
    """In a few words."""
    if each.error:
        return f"it could not be started: {each.error}"
    if each.oom_killed:
        return "out of memory"
    return _ENDED.get(each.exit_code, f"ended with status {each.exit_code}")
