"""The HTTP edge: routes, their types, the OpenAPI document, and how errors look from outside."""

from dxd.kit.lean import without

# aiohttp reads the machine's certificates, twice, as soon as it is imported: 40 ms. Nothing here speaks TLS.
with without("ssl"):
    import aiohttp as aiohttp
