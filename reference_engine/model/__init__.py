"""Values that every package shares: units, identities, extents, machines, recovery points, errors.

Nothing here acts. A value is frozen, its numbers carry a unit, and its meaning is the field's own
(see `GLOSSARY.md`).
"""
