"""Scenarios are data: TOML files, decoded strictly, each opening with one sentence of why.

`schema` is the vocabulary, `reading` turns a file into a scenario or into every complaint about it
at once, with file, line and key; `building` makes a world of it; `swarm` draws random ones.
"""
