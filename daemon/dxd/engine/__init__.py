"""The only door to the container engine: raw answers of its API end here, as values and errors of our own.

`docker.Engine` is what other rooms use, `events.follow` tells them what happens in the engine. Neither imports
aiodocker before the first connection is made, because that import takes a quarter of a second.
"""
