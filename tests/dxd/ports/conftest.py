from tests.dxd.proxy.conftest import directory, service
from tests.fakes.real_engine import engine, make_engine, workshop

__all__ = ["directory", "engine", "make_engine", "service", "workshop"]
