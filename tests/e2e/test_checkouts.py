"""Two checkouts of one repository, side by side and untouched, whatever their file says that the project is called."""

import json
from concurrent.futures import ThreadPoolExecutor

from tests.e2e.ports import free_port, port_of, says, told, web
from tests.e2e.shop import Shop
from tests.house import House


def test_two_checkouts_of_one_repository_are_two_projects(house: House) -> None:
    """Though the file says what the project is called, and which port it has."""
    wanted = free_port()
    with Shop(house) as main, Shop(house) as other:
        name = main.name
        for shop, word in ((main, "first"), (other, "second")):
            shop.write({"name": name}, web=web(f"{wanted}:80", says=word, network_mode=None))
        other.name = f"{name}-{other.root.name}"
        main.dx("up", "--wait")
        done = other.dx("up", "--wait")
        assert f"the project {name} is that of {main.root}, so this one is {other.name}" in done.stderr
        own = port_of(other)
        line = f"web: port {wanted} is of the container {name}-web-1, web of {name}, so it is {own}"
        assert told(done.stderr).endswith(line)
        assert (port_of(main), says(wanted), says(own)) == (wanted, "first", "second")
        assert other.container("web") in other.compose("ps", "--format", "{{.Name}}", bare=True)
        listed = {each["name"] for each in json.loads(main.dx("services", "--all", "--json").stdout)["projects"]}
        assert listed == {name, other.name}
        before = other.inspect("web")["Id"]
        again = other.dx("up", "--wait")
        assert "so this one is" not in again.stderr
        shop_restarted = other.dx("restart", "--wait")
        assert shop_restarted.returncode == 0
        main.dx("down")
        house.stop()
        other.dx("up", "--wait")
        assert (other.inspect("web")["Id"], port_of(other)) == (before, own)
        other.dx("down")
        line = f"port {wanted} is of the service web of {name} in {main.root}, so it is {own}"
        assert told(other.dx("up", "--wait").stderr).endswith(f"{line}; dx forget --project {name} gives it back")
        main.dx("forget")
        other.dx("up", "--wait", "--recreate")
        assert port_of(other) == wanted


def test_a_second_checkout_keeps_its_name_when_it_is_forgotten_and_begun_again(house: House) -> None:
    with Shop(house) as main, Shop(house) as other:
        name = main.name
        for shop in (main, other):
            shop.write({"name": name}, web={})
        other.name = f"{name}-{other.root.name}"
        main.dx("up", "--wait")
        other.dx("up", "--wait")
        other.dx("forget")
        main.dx("down")
        main.dx("forget")
        assert other.container("web") in other.dx("up", "--json").stdout


def test_inside_of_a_checkout_the_one_around_it_is_not_meant(house: House) -> None:
    """As with worktrees below the repository's own directory."""
    with Shop(house, web={}) as main, Shop(house) as other:
        main.dx("up", "--wait")
        other.root = main.root / ".worktrees" / "login"
        other.root.mkdir(parents=True)
        other.file = other.root / "compose.yaml"
        (other.root / ".git").write_text("gitdir: elsewhere")
        other.write({"name": main.name}, web={})
        other.name = f"{main.name}-login"
        assert f"no project is known for {other.root}" in other.dx("down", ok=False).stderr
        other.dx("up", "--wait")
        other.dx("down")
        assert (main.states(), other.states()) == ({"web": "ready"}, {"web": "absent"})


def test_a_container_name_can_be_only_one_checkouts(house: House) -> None:
    with Shop(house) as main, Shop(house) as other:
        fixed = f"{main.name}-fixed"
        for shop in (main, other):
            shop.write({"name": main.name}, db={"container_name": fixed}, web={})
        other.name = f"{main.name}-{other.root.name}"
        main.dx("up", "--wait")
        said = other.dx("up", ok=False).stderr
        line = f"dx: db has the container_name {fixed}, which is that of {main.name} in {main.root}; "
        assert f"{line}take it out of the file, or: dx down --project {main.name}" in said
        other.dx("up", "--wait", "web")
        main.dx("down")
        other.dx("up", "--wait")
        assert other.states() == {"db": "ready", "web": "ready"}


def test_a_project_whose_directory_has_moved_is_not_begun_anew(house: House) -> None:
    with Shop(house) as main, Shop(house) as other:
        for shop in (main, other):
            shop.write({"name": main.name}, web={})
        main.dx("up", "--wait")
        gone = main.root.rename(main.root.with_name(f"{main.root.name}-gone"))
        said = other.dx("up", ok=False).stderr
        assert f"dx: the project {main.name} is that of {main.root}, which is gone; to go on with it here: " in said
        other.dx("forget", "--project", main.name)
        other.name = main.name
        other.dx("up", "--wait")
        assert other.states() == {"web": "ready"}
        gone.rename(main.root)


def test_of_two_checkouts_that_are_begun_at_once_one_gets_another_name(house: House) -> None:
    wanted = free_port()
    house.start()
    with Shop(house) as one, Shop(house) as two:
        name = one.name
        shops = {each.root.name: each for each in (one, two)}
        for shop in shops.values():
            shop.write({"name": name}, web=web(f"{wanted}:80", says=shop.root.name))
        with ThreadPoolExecutor() as pool:
            done = [*pool.map(lambda shop: shop.dx("up", "--wait", "--json").stdout.splitlines()[-1], shops.values())]
        one.name, two.name = (json.loads(each)["name"] for each in done)
        assert (one.name == name) + (two.name == name) == 1
        assert one.name != two.name
        places = {port_of(each): each.root.name for each in shops.values()}
        assert wanted in places
        assert {says(port): port for port in places} == {text: port for port, text in places.items()}
