"""Warm containers: started, empty of work, ready for runs. `pool` owns them, `policy` decides about them."""
