from dxd.services.idleness import Use
from dxd.services.uses import Uses


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_is_used_until_the_last_use_has_ended() -> None:
    clock = Clock()
    uses = Uses(clock)
    first, second = uses.begin("shop", ["db", "cache"]), uses.begin("shop", ["db"])
    assert uses.of("shop", "db", []) == Use(now=True)
    clock.now = 5
    first()
    first()
    assert uses.of("shop", "db", []) == Use(now=True, last=5)
    assert uses.of("shop", "cache", []) == Use(now=False, last=5)
    clock.now = 7
    second()
    assert uses.of("shop", "db", []) == Use(now=False, last=7)


def test_another_project_has_uses_of_its_own() -> None:
    uses = Uses()
    uses.begin("shop", ["db"])
    assert uses.of("other", "db", []) == Use()


def test_whoever_is_on_a_network_uses_all_that_is_on_it() -> None:
    clock = Clock()
    uses = Uses(clock)
    end = uses.begin_on("shop_default")
    assert uses.of("shop", "db", ["shop_default", "other"]).now
    assert not uses.of("shop", "db", ["other"]).now
    clock.now = 3
    end()
    assert uses.of("shop", "db", ["shop_default"]) == Use(now=False, last=3)
