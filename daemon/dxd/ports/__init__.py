"""Which port of this machine a service gets, and who has one that it cannot get.

`policy` decides, `table` reads what the kernel knows, `ports` asks both and remembers in the store.
"""
