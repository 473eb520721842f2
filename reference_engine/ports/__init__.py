"""What the engine may ask of the world, one file for each capability.

A port is a protocol of coroutines. Whoever answers (a Hyper-V host, a disk file, the simulator)
passes the port's contract suite in `tests/contracts/`. Engine code holds ports, never adapters.
"""
