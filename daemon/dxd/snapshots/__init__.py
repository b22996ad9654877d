"""Copies of the named volumes of services, kept in volumes of their own, and put back.

`labels` says how a snapshot is written down, `policy` which volumes make one and which are left over, `helper` runs the
agent's `volumes` beside them, `snapshots` is what others use; `seeds` remembers which volumes were filled.
"""
