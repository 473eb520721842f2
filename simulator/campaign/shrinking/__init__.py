"""From a failure that nobody understands to a scenario that a person can read.

Everything in a scenario is data, and faults are addressed by meaning (which machine, which step,
which occurrence), so taking things out leaves the rest where it was. What counts is that the same
invariant still breaks; how is for the reader.
"""
