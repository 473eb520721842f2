"""The backup engine: full once, then changed blocks for ever, each recovery point exact.

Data flows one way: ports, tracking, sync, reconcile, repository, catalogue, restore, verification.
Stages meet in `jobs`; ports meet the real world in `app`. Engine code awaits ports only, so that
the same coroutines run on real hosts, on plain disk files and under the simulator.
"""
