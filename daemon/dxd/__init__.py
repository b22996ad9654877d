"""dxd, the daemon of dx: warm containers, leases of runs, and the HTTP API on a Unix socket."""
