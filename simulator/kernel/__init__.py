"""Virtual time over SimPy: tasks, nodes that lose power, shared bandwidth, keyed chance, digests.

The only package that imports `simpy`. SimPy keeps the event heap; our own `SimTask` drives native
coroutines, because `simpy.Process` rebuilds exceptions as `type(e)(*e.args)` and lets `finally`
blocks run when the garbage collector finds a task after its power cut. Time is whole microseconds,
and events of one instant are ordered by a seeded draw: in the order of scheduling, a race would
always end the same way.
"""
