"""dx: commands that live in images, run as if they were native."""

__version__ = "0.1.0"
