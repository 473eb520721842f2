"""Every order of a few happenings and the calls of a backup, in a world small enough for it.

A *schedule* says before, after or how long into which of the engine's calls each of a few
happenings begins. Calls are what the engine makes through the door, so a schedule is a scenario: it
is run by the ordinary night, judged by the ordinary oracle, and written as a file that `replay` and
`shrink` take. Nothing of the engine is replaced.

*Exhaustive*: depth first over all schedules, each run from the start. At the first call of each
step the run's state is held against those seen: everything of the world, where each task stands,
and all that the engine was told. A state with as many happenings left has the same future, so the
run is cut there, and the schedules below it are counted without being run. What a key leaves out:
when the cluster's own facts happened, and between which of the engine's, because no invariant asks
that; and how ties of one microsecond will be drawn. A test holds searches with and without the cut
against each other.

*Drawn*: `random` draws a call for each happening. `pct` draws at which few calls the engine has to
give way (depth minus one of them) and in which order the happenings then come, all that are left at
the last one: what needs few calls to be hit is found sooner than by independent draws.

World happenings are not offered around calls to the repository but for the commit: those commute.
"""
