"""Item-level recovery: single files out of a point, and no disk restored for it.

```
point reader -> disk view -> volumes (partitions, LVM) -> a file tree -> browse -> extract
```

- Every byte comes through the point's reader, so each block was checked before anybody parses it.
  Only what is needed is read: tables, directories, and the extents of the files that are asked for.
- The file systems are read by code of our own. What reads a disk for an investigator passes over
  what it does not understand; here a directory is either whole or an error that names it.
- What lies in an image was written by a stranger. Every number is checked before it is used, every
  loop has a bound that follows from the volume's size, and a name is a name and never a path.
- What is not known is refused by name: a feature, a reparse tag, a volume. No listing is shorter
  than the truth without saying so.
- Journals are not replayed. A tree says whether the file system was at rest; if it was not, what
  only its journal holds is missing, and whoever lists is told.
"""
