"""What a second project of one name is called: the pure part."""

from pathlib import Path

import pytest

from dxd.compose.model import ProjectName
from dxd.services.naming import candidates

SHOP = ProjectName("shop")


@pytest.mark.parametrize(
    ("directory", "name"),
    [
        ("/src/shop-2", "shop-2"),
        ("/src/shop_login", "shop_login"),
        ("/src/login", "shop-login"),
        ("/src/login/shop", "shop-login"),
        ("/src/Fix #12", "shop-fix12"),
        ("/src/shopping", "shop-shopping"),
        ("/src/.../shop", "shop-src"),
    ],
)
def test_the_directory_tells_it_from_the_first(directory: str, name: str) -> None:
    first, last = candidates(SHOP, Path(directory))
    assert first == name
    assert last.startswith("shop-")
    assert [*candidates(SHOP, Path(directory))] == [first, last]


def test_where_the_name_is_no_help_a_number_is_its_own() -> None:
    assert len([*candidates(SHOP, Path("/shop"))]) == 1
    assert [*candidates(SHOP, Path("/a/shop"))][-1] != [*candidates(SHOP, Path("/b/shop"))][-1]
