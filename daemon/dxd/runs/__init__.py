"""Who may run what, where: leases, and the runs that come of them."""
