from tests.fakes.real_engine import engine, make_engine, workshop

__all__ = ["engine", "make_engine", "workshop"]
