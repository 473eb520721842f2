"""Scenario files as things of their own: listed, drawn, checked, begun, described to editors.

`commands` are the subcommands of `twinshot scenario`; `drawing` makes text of a scenario,
`template` is a file to begin with, `json_schema` the vocabulary for editors.
"""
