"""Definitions: what tools there are, which commands they offer, and the shims for those."""
