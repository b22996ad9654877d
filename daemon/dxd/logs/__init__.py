"""What services print, kept by the daemon: it outlives their containers, and is read back in order.

`logs.Logs` is the owner: it follows containers and answers queries. Nobody else writes below its directory.
"""
