"""What the daemon remembers: one SQLite file, and a log beside it for each build. Losing it never loses a tool.

`Database` is the file and the one thread that touches it; `Builds` the table of builds and their logs; `policy` says
which of them go.
"""
