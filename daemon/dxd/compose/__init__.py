"""Docker Compose: the one door to it, and projects as it understands their files."""
