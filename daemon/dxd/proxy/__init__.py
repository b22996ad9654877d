"""TCP ports that are dx's own: a connection wakes its service, waits until that is ready, and is passed through.

The sockets belong to a small process of its own (`python -m dxd.proxy`), so that connections live on while the daemon
is killed, restarted or upgraded. `proxy` is the daemon's side of it: it starts or adopts the process, and answers when
a service has to be woken. `control`, `serving`, `door`, `flow`, `head`, `uses` and `loop` are the process, which
imports little; `wire` is what the two say to each other.
"""
