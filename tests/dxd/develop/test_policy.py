import pytest

from dxd.compose.model import OnChange
from dxd.develop.policy import Do, Picture, decide

APPLY, BUILD, TELL = OnChange


@pytest.mark.parametrize(
    ("it", "do"),
    [
        (Picture(None, None, None, True, APPLY), Do.NOTHING),
        (Picture("a", None, None, True, APPLY), Do.BUILD),
        (Picture("a", "a", None, True, APPLY), Do.NOTHING),
        (Picture("b", "a", None, True, APPLY), Do.BUILD),
        (Picture("b", "a", None, True, BUILD), Do.BUILD),
        (Picture("b", "a", "b", True, APPLY), Do.NOTHING),
        (Picture("c", "a", "b", True, APPLY), Do.BUILD),
        (Picture("b", "a", None, False, APPLY), Do.NOTHING),
        (Picture("b", "a", None, True, TELL), Do.TELL),
        (Picture("b", None, None, True, TELL), Do.NOTHING),
    ],
)
def test_what_has_changed_is_built_once(it: Picture, do: Do) -> None:
    assert decide(it).do is do
