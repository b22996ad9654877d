"""Who may run what, and where: leases, and the runs that came of them."""
