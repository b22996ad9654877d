"""Which ports dx listens at in a service's place, so that it may sleep: pure. Raises `BadCompose`.

Compose is told that such a service does not publish them. UDP ports stay published as they are: nobody can hold what
is sent to one.
"""

from dxd.compose.model import Port, Service
from dxd.errors import BadCompose


def doors(service: Service) -> tuple[Port, ...]:
    """Of its ports, those at which dx listens."""
    return tuple(each for each in service.ports if service.extras.sleeps and each.protocol == "tcp")


def targets(service: Service) -> tuple[int, ...]:
    """The ports in its container that dx leads connections to."""
    named = () if service.extras.http is None else (service.extras.http,)
    return tuple(dict.fromkeys((*(each.target for each in doors(service)), *named)))


def check(service: Service) -> None:
    """Raises `BadCompose` where it asks for what cannot be: to sleep, or to have a name."""
    own = service.extras
    asked = [key for key, on in (("lazy", own.lazy), ("idle", own.idle_s is not None), ("http", own.http)) if on]
    if not asked:
        return
    where = f"services.{service.name}.x-dx.{asked[0]}"
    if service.provider is not None:
        raise BadCompose(f"{where}: a provider keeps it, so dx cannot", f"take x-dx from {service.name}")
    mode, hint = str(service.raw.get("network_mode", "")), "take network_mode from it, or this key"
    if mode == "host":
        raise BadCompose(f"{where}: with network_mode host it listens by itself, and dx cannot in its place", hint)
    if targets(service) and mode.startswith(("none", "service:", "container:")):
        raise BadCompose(f"{where}: with network_mode {mode} it has no address of its own to lead to", hint)
    if service.replicas > 1 and (own.http or doors(service)):
        raise BadCompose(f"{where}: it has {service.replicas} containers, and a door leads to one", "let it have one")
    if own.sleeps and service.ports and not doors(service):
        raise BadCompose(f"{where}: it has UDP ports only, of which nobody can see whether they are used")
