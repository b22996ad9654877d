import asyncio

from dxd.kit.quiet import Quiet
from tests.waiting import until_turned


async def test_a_burst_ends_in_one_call_after_the_quiet_period() -> None:
    calls: list[float] = []
    loop = asyncio.get_running_loop()
    quiet = Quiet(lambda: calls.append(loop.time()), quiet_s=0.05, cap_s=5)
    for _ in range(5):
        quiet.note()
        await asyncio.sleep(0.005)
    last = loop.time()
    await until_turned(lambda: calls)
    await asyncio.sleep(0.1)
    assert len(calls) == 1
    assert calls[0] - last > 0.04


async def test_a_burst_that_does_not_end_is_told_of_at_the_cap_and_then_more_seldom() -> None:
    calls: list[int] = []
    quiet = Quiet(lambda: calls.append(1), quiet_s=0.3, cap_s=0.4)
    end = asyncio.get_running_loop().time() + 1
    while asyncio.get_running_loop().time() < end:
        quiet.note()
        await asyncio.sleep(0.005)
    assert len(calls) == 1
    await until_turned(lambda: len(calls) == 2)


async def test_it_is_not_quiet_while_something_holds_it() -> None:
    calls: list[int] = []
    held = True
    quiet = Quiet(lambda: calls.append(1), quiet_s=0.01, cap_s=5, held=lambda: held)
    quiet.note()
    await asyncio.sleep(0.05)
    assert not calls
    held = False
    await until_turned(lambda: calls)


async def test_what_is_cancelled_is_not_told_of() -> None:
    calls: list[int] = []
    quiet = Quiet(lambda: calls.append(1), quiet_s=0.01, cap_s=5)
    quiet.note()
    quiet.cancel()
    await asyncio.sleep(0.05)
    assert not calls
