"""Have services ready for somebody who is about to use them: a run, or another project.

Where they are ready already nothing is done: no file is read again, and neither engine nor Compose is called. Owns
nothing. Raises what `Services` raises.
"""

from collections.abc import Collection, Sequence

from dxd.compose.model import Source
from dxd.kit.progress import Progress
from dxd.services.model import Phase, ProjectView, ServiceView
from dxd.services.services import Services

_THERE = (Phase.READY, Phase.DONE)


def missing(view: ProjectView, needs: Sequence[str]) -> tuple[list[str], list[str]]:
    """Which of the services are not ready, and which of those have no container."""
    known = {str(each.name): each for each in view.services}
    late = [each for each in needs if not _is_there(known.get(each))]
    return late, [each for each in late if each not in known or not known[each].containers]


def _is_there(service: ServiceView | None) -> bool:
    return service is not None and service.phase in _THERE


async def wake(
    services: Services,
    view: ProjectView | None,
    source: Source,
    needs: Sequence[str],
    progress: Progress,
    *,
    made: Collection[str],
) -> ProjectView:
    """Return when they are ready or done, with the project as it is then.

    With `view` None the project is not known yet. Only services of `made` get containers where they have none, from
    what the files of `source` say now: what starts by itself is only ever what somebody has looked at and begun.
    """
    if view is None:
        return await services.up(source, needs, progress, wait=True, awake=True)
    late, bare = missing(view, needs)
    if not late:
        return view
    progress.progress(f"waiting for {', '.join(late)}")
    if bare and set(bare) <= set(made):
        return await services.up(source, late, progress, wait=True, awake=True)
    return await services.start(view.name, late, progress, wait=True)
