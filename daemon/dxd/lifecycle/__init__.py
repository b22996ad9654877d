"""Start, readiness and the staged stop of the daemon; who may be the daemon at all."""
