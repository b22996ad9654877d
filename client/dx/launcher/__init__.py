"""`python -m dx run`: what the launcher does, in Python, for where the C program is not to be had.

The same parts as in client/launcher, by the same names; each says there why it does what it does:

    main     the options of `dx run`, and the order of things
    places   where the daemon's socket is
    daemon   connect to the daemon, start it where none answers
    lease    ask for a run: one HTTP request, records both ways
    caller   what a run inherits besides argv and environment
    grants   open the paths of the lease as detached mounts
    opener   the same for a program that has to stay in its namespaces
    link     hand all that to the agent, and hear from it
    relay    signals to the run, its end back
    terminal the caller's terminal, its modes, and bytes between it and the run's
    guard    a process that restores the terminal where this one was killed
    kernel   the system calls that the standard library has no names for

`dx.process` uses the same for runs of a Python program's own. Importing is most of what a start costs, so these
modules do without `typing`, `socket`, `signal` and whatever imports them: 4 to 8 ms each where all has to be done in
25. What fails raises `dx.errors.RunFailed`, or another `ClientError`.
"""
