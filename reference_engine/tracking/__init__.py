"""What changed since the base, and whether that answer may be believed.

Change tracking belongs to the disk: the delta is the union over every tracker that may have seen a
write since the base, joined with R, the bytes in which the base's image already differed from the
live disk when its tracker was switched. An incremental is a privilege: `trust` grants it only when
nothing speaks against it, and says why when it does not.
"""
