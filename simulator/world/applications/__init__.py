"""Applications that run inside simulated guests, and keep their data in the disks' real bytes.

A stamp proves that a cell holds the right write; an application proves that the right writes make
sense together. Each one keeps a log on one disk and tables on another, so that its data is sound
only where the disks come from one instant. It writes its cells one after the other in virtual time,
finishes and closes its files when a freeze reaches it, loses its memory with its machine's power,
and recovers from the disk alone.

- `application` is what they have in common: cells to write, milestones, what opening an image says;
- `ledger` is a double-entry ledger with a write-ahead log, `ledger_format` its bytes;
- `database` is SQLite itself, through the file system of `guest_files`;
- `hosting` writes for an application through its machine, and remembers what the oracle may ask;
- `opening` opens the data in a restored image.
"""
