"""What the daemon remembers: one SQLite file, and a log beside it for each build. Losing it never loses a tool.

`Database` is the file and the one thread that touches it, `schema` its tables; `Builds` the table of builds and their
logs, of which `policy` says which go; `PortRows` and `SeedRows` are what services had.
"""
