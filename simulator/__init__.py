"""A failover cluster as a discrete-event simulation, and the harness that judges the engine in it.

The world knows the truth; the facade shows the engine as much of it as a real host would, through
one door where faults enter; the oracle compares what the engine claims with what was true.
"""
