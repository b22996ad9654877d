from tests.fakes.real_buildx import buildx
from tests.fakes.real_engine import engine, make_engine, proxy, workshop

__all__ = ["buildx", "engine", "make_engine", "proxy", "workshop"]
