"""Running scenarios: one night, many seeds, planted bugs; and what came of them.

A composition root: here the engine's ports are joined to the facade, and what the engine restores
is handed to the oracle.
"""
