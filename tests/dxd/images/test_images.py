import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest

from dxd.engine import events
from dxd.engine.docker import Engine
from dxd.engine.model import EngineEvent, ImageId
from dxd.errors import BuildFailed, EngineDown, EngineTimeout, ImageMissing, WrongArchitecture
from dxd.images.context import ContextMoved
from dxd.images.identity import Identity, Memory, identify
from dxd.images.images import Images, tag_of
from dxd.tools.model import Build, Tool, ToolName
from tests.fakes.proxy import Proxy
from tests.fakes.real_engine import BUSYBOX, EngineMaker, Listener, Workshop
from tests.fakes.registry import Registry
from tests.waiting import until_turned

NEWS = EngineEvent("image", "tag", "sha256:1", {}, 1)


@pytest.fixture
async def images(proxy: Proxy, make_engine: EngineMaker) -> AsyncIterator[Images]:
    """Images of an engine behind the proxy, which hangs for good after half a second."""
    images = Images(make_engine(proxy.address, deadline_s=0.5))
    yield images
    await images.close()


@pytest.fixture
def registry(workshop: Workshop) -> Iterator[Registry]:
    with Registry(name=workshop.word, content=workshop.word.encode()) as registry:
        workshop.forget(registry.ref)
        yield registry


@pytest.fixture
def tool(workshop: Workshop, tmp_path: Path) -> Tool:
    """A tool with a build of its own."""
    context = tmp_path / "context"
    context.mkdir()
    shutil.copy(BUSYBOX, context)
    (context / "Dockerfile").write_text(f"FROM scratch\nCOPY busybox /bin/busybox\nENV V=1 IT={workshop.word}\n")
    tool = Tool(ToolName(workshop.word), build=Build(context))
    workshop.forget(tag_of(tool.name))
    return tool


def _change(tool: Tool, workshop: Workshop, line: str) -> None:
    assert tool.build
    file = tool.build.context / "Dockerfile"
    file.write_text(f"{file.read_text()}{line}\n")


async def _built(
    tool: Tool, images: Images, workshop: Workshop, listener: Listener | None = None, found: Identity | None = None
) -> ImageId:
    assert tool.build
    found = found or identify(tool.build, platform="linux/amd64", bases={}, memory=Memory())
    image = await images.build(tool.name, tool.build, found, listener or Listener(), builder="b" * 16, attempt="1")
    workshop.forget(image)
    return image


async def _is(images: Images, name: str, image: str) -> bool:
    return (await images.resolve(name)).id == image


async def test_a_hit_asks_nobody(workshop: Workshop, images: Images, proxy: Proxy) -> None:
    image_id = await workshop.image()
    first = await images.resolve(workshop.name())
    assert first.id == image_id
    asked = len(proxy.requests)
    assert await images.resolve(workshop.name()) is first
    assert await images.find(workshop.name()) is first
    assert len(proxy.requests) == asked


async def test_an_image_may_be_named_by_its_id(workshop: Workshop, images: Images) -> None:
    image_id = await workshop.image()
    assert (await images.resolve(image_id)).id == image_id
    assert (await images.resolve(image_id.removeprefix("sha256:")[:12])).id == image_id


async def test_news_of_images_make_it_look_again(workshop: Workshop, images: Images) -> None:
    await workshop.image()
    await images.resolve(workshop.name())
    other = await workshop.image("ENV OTHER=1")
    images.on_event(EngineEvent("container", "start", "1", {}, 1))
    assert (await images.resolve(workshop.name())).id != other
    images.on_event(NEWS)
    assert (await images.resolve(workshop.name())).id == other


async def test_the_engines_own_events_do(workshop: Workshop, engine: Engine) -> None:
    await workshop.image()
    images, gaps = Images(engine), []

    async def gap() -> None:
        gaps.append(1)
        images.clear()

    task = asyncio.create_task(events.follow(engine, images.on_event, gap))
    await until_turned(lambda: gaps)
    await images.resolve(workshop.name())
    other = await workshop.image("ENV OTHER=1")
    await until_turned(partial(_is, images, workshop.name(), other))
    task.cancel()
    await asyncio.wait({task})
    await images.close()


async def test_news_that_come_while_it_looks_are_not_lost(workshop: Workshop, images: Images, proxy: Proxy) -> None:
    await workshop.image()
    proxy.hang()
    looking = asyncio.create_task(images.resolve(workshop.name()))
    await until_turned(lambda: proxy.waiting)
    images.on_event(NEWS)
    proxy.resume()
    await looking
    asked = len(proxy.requests)
    await images.resolve(workshop.name())
    assert len(proxy.requests) > asked


async def test_a_stale_image_serves_while_the_engine_is_down(workshop: Workshop, images: Images, proxy: Proxy) -> None:
    first_id = await workshop.image()
    await images.resolve(workshop.name())
    await proxy.stop()
    assert (await images.resolve(workshop.name())).id == first_id
    images.clear()
    assert (await images.resolve(workshop.name())).id == first_id
    with pytest.raises(EngineDown):
        await images.resolve(f"{workshop.word}-other")
    other = await workshop.image("ENV OTHER=1")
    await proxy.start()
    assert (await images.resolve(workshop.name())).id == other


async def test_a_stale_image_serves_while_the_engine_hangs_and_only_the_first_run_waits(
    workshop: Workshop, proxy: Proxy, make_engine: EngineMaker
) -> None:
    first_id = await workshop.image()
    images = Images(make_engine(proxy.address), patience_s=0.2)
    await images.resolve(workshop.name())
    proxy.hang()
    images.clear()
    loop = asyncio.get_running_loop()
    started = loop.time()
    assert (await images.resolve(workshop.name())).id == first_id
    assert loop.time() - started >= 0.2
    started = loop.time()
    for _ in range(100):
        assert (await images.resolve(workshop.name())).id == first_id
    assert loop.time() - started < 0.2
    other = await workshop.image("ENV OTHER=1")
    proxy.resume()
    await until_turned(partial(_is, images, workshop.name(), other))
    await images.close()


async def test_an_image_never_seen_waits_for_a_hung_engine_until_the_deadline(images: Images, proxy: Proxy) -> None:
    proxy.hang()
    with pytest.raises(EngineTimeout):
        await images.resolve("dx-test-never-seen")


async def test_many_who_ask_for_the_same_ask_once(workshop: Workshop, images: Images, proxy: Proxy) -> None:
    await workshop.image()
    await asyncio.gather(*(images.resolve(workshop.name()) for _ in range(50)))
    assert sum(f"/images/{workshop.word}" in request for request in proxy.requests) == 1


async def test_an_image_of_this_engine_only_is_never_pulled(workshop: Workshop, images: Images, proxy: Proxy) -> None:
    await workshop.image()
    await images.resolve(workshop.name())
    images.clear()
    await images.resolve(workshop.name())
    assert not any("/images/create" in request for request in proxy.requests)


async def test_an_image_that_is_gone_is_missing_though_it_was_known(workshop: Workshop, images: Images) -> None:
    await workshop.image()
    ref = workshop.name()
    await images.resolve(ref)
    await workshop.docker.images.delete(ref)
    images.on_event(NEWS)
    with pytest.raises(ImageMissing) as raised:
        await images.resolve(ref)
    assert ref in raised.value.message
    assert raised.value.hint


async def test_a_missing_image_is_pulled_once_for_all_who_wait(
    registry: Registry, images: Images, proxy: Proxy
) -> None:
    registry.gate.clear()
    listeners = [Listener() for _ in range(3)]
    tasks = [asyncio.create_task(images.resolve(registry.ref, each)) for each in listeners]
    await until_turned(lambda: sum("/blobs/" in request for request in registry.requests) >= 2)
    tasks[0].cancel()
    await asyncio.wait({tasks[0]})
    registry.gate.set()
    pulled = await asyncio.gather(*tasks[1:])
    assert [image.labels for image in pulled] == [{"pulled": "yes"}] * 2
    assert [listener.notes for listener in listeners] == [[], *[[f"pulled {registry.ref}"]] * 2]
    assert sum("/images/create" in request for request in proxy.requests) == 1


async def test_a_pull_ends_with_the_last_who_waits(registry: Registry, images: Images) -> None:
    registry.gate.clear()
    tasks = [asyncio.create_task(images.resolve(registry.ref)) for _ in range(2)]
    await until_turned(lambda: sum("/blobs/" in request for request in registry.requests) >= 2)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    registry.gate.set()
    assert (await images.resolve(registry.ref)).labels == {"pulled": "yes"}


async def test_an_image_for_another_machine_is_refused(workshop: Workshop, engine: Engine, tmp_path: Path) -> None:
    images = Images(engine, binfmt=tmp_path)
    with Registry(name=workshop.word, content=workshop.word.encode(), architecture="s390x") as registry:
        workshop.forget(registry.ref)
        with pytest.raises(WrongArchitecture, match="is for s390x"):
            await images.resolve(registry.ref)
        (tmp_path / "qemu-s390x").write_text("enabled\n")
        assert (await images.resolve(registry.ref)).architecture == "s390x"
    await images.close()


async def test_a_build_has_labels_and_no_name(tool: Tool, images: Images, workshop: Workshop) -> None:
    assert tool.build
    found = identify(tool.build, platform="linux/amd64", bases={}, memory=Memory())
    built = await images.inspect(await _built(tool, images, workshop, found=found))
    assert built.labels == {
        "dev.dx.tool": tool.name,
        "dev.dx.build": found.digest,
        "dev.dx.builder": "b" * 16,
        "dev.dx.attempt": "1",
    }
    assert f"IT={workshop.word}" in built.env
    assert await images.find(tag_of(tool.name)) is None


async def test_that_a_mark_is_not_there_is_remembered(
    tool: Tool, images: Images, workshop: Workshop, proxy: Proxy
) -> None:
    """So that runs need not ask for it, until it is given or something happens to images."""
    mark = tag_of(tool.name, "at-0")
    built = await images.inspect(await _built(tool, images, workshop))
    assert await images.marked(mark) is None
    asked = len(proxy.requests)
    assert await images.marked(mark) is None
    assert len(proxy.requests) == asked
    images.named(mark, built)
    assert await images.marked(mark) is built
    images.unnamed(mark)
    assert await images.marked(mark) is None
    assert len(proxy.requests) == asked
    images.on_event(NEWS)
    assert await images.marked(mark) is None
    assert len(proxy.requests) > asked


async def test_what_was_named_is_found_at_once(tool: Tool, images: Images, workshop: Workshop, proxy: Proxy) -> None:
    built = await images.inspect(await _built(tool, images, workshop))
    images.named(tag_of(tool.name), built)
    asked = len(proxy.requests)
    assert await images.find(tag_of(tool.name)) is built
    assert len(proxy.requests) == asked


async def test_a_failed_build_tells_why(tool: Tool, images: Images, workshop: Workshop) -> None:
    listener = Listener()
    _change(tool, workshop, 'RUN ["/bin/busybox", "sh", "-c", "echo $((40 + 2)) reasons; exit 1"]')
    with pytest.raises(BuildFailed, match="42 reasons"):
        await _built(tool, images, workshop, listener)
    assert "  42 reasons" in listener.notes


async def test_what_is_no_longer_what_was_looked_at_is_not_built(
    tool: Tool, images: Images, workshop: Workshop
) -> None:
    assert tool.build
    found = identify(tool.build, platform="linux/amd64", bases={}, memory=Memory())
    _change(tool, workshop, "ENV LATER=1")
    with pytest.raises(ContextMoved, match="changed before they were sent"):
        await _built(tool, images, workshop, found=found)
    (tool.build.context / "Dockerfile").unlink()
    with pytest.raises(ContextMoved, match="there is no Dockerfile"):
        await _built(tool, images, workshop, found=found)
    assert not await images._engine.images({"dev.dx.tool": tool.name})


async def test_a_dockerfile_outside_of_the_context_is_built(
    tool: Tool, images: Images, workshop: Workshop, tmp_path: Path
) -> None:
    assert tool.build
    outside = (tool.build.context / "Dockerfile").rename(tmp_path / "elsewhere.Dockerfile")
    tool = Tool(tool.name, build=Build(tool.build.context, file=outside))
    assert f"IT={workshop.word}" in (await images.inspect(await _built(tool, images, workshop))).env


async def test_the_platform_is_the_engines(images: Images) -> None:
    assert await images.platform() in {"linux/amd64", "linux/arm64"}


async def test_closing_ends_lookups_that_nobody_waits_for(workshop: Workshop, images: Images, proxy: Proxy) -> None:
    await workshop.image()
    proxy.hang()
    looking = asyncio.create_task(images.resolve(workshop.name()))
    await until_turned(lambda: proxy.waiting)
    looking.cancel()
    await asyncio.wait({looking})
    await images.close()
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("look up")]


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("jq", "dx/jq:latest"),
        ("a-b_c.d", "dx/a-b_c.d:latest"),
        ("g++", "dx/g-137f828d9da3:latest"),
        ("R", "dx/r-8c2574892063:latest"),
        ("a..b", None),
        ("x" * 128, f"dx/{'x' * 128}:latest"),
    ],
)
def test_every_tool_has_a_tag_of_its_own(name: str, tag: str | None) -> None:
    assert tag is None or tag_of(name) == tag
    assert tag_of(name) == tag_of(name)
    others = {tag_of(other) for other in ("g", "r", "c++", "G++", "a.b", "jq.") if other != name}
    assert tag_of(name) not in others
