"""From a tool to an image that the engine holds: looked up, pulled or built."""
