from dxd.kit.progress import Fanout, Kind, Progress, Silent, Step


class _Lines:
    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, text: str) -> None:
        self.told.append(f"note {text}")

    def progress(self, text: str) -> None:
        self.told.append(f"progress {text}")

    def step(self, step: Step) -> None:
        self.told.append(f"step {step.name} {' '.join(step.lines)}".rstrip())


def test_silent_and_fanout_are_progress() -> None:
    kinds: list[Progress] = [Silent(), Fanout()]
    for each in kinds:
        each.note("a")
        each.progress("b")


def test_all_who_listen_are_told_and_who_stopped_is_not() -> None:
    fanout, one, two = Fanout(), _Lines(), _Lines()
    fanout.add(one)
    fanout.add(two)
    fanout.note("a")
    fanout.remove(one)
    fanout.progress("b")
    assert (one.told, two.told) == (["note a"], ["note a", "progress b"])


def test_who_comes_late_learns_the_latest() -> None:
    fanout, late = Fanout(), _Lines()
    fanout.note("a")
    fanout.progress("b")
    fanout.add(late)
    fanout.note("c")
    assert late.told == ["progress b", "note c"]


def test_who_listens_twice_stops_twice() -> None:
    fanout, one = Fanout(), _Lines()
    fanout.add(one)
    fanout.add(one)
    fanout.remove(one)
    fanout.note("a")
    assert one.told == ["note a"]


def test_who_comes_late_learns_how_each_step_is() -> None:
    fanout, late = Fanout(), _Lines()
    fanout.step(Step("1", Kind.STEP, "w", "one", lines=("printed",)))
    fanout.step(Step("2", Kind.STEP, "w", "two"))
    fanout.step(Step("1", Kind.STEP, "w", "one", cached=True))
    fanout.add(late)
    fanout.step(Step("2", Kind.STEP, "w", "two", lines=("more",)))
    assert late.told == ["step one", "step two", "step two more"]
