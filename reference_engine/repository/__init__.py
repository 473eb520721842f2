"""Recovery points at rest: write-once objects, one log, and nothing that needs a clock or a lock.

A repository lives behind `ports.blob_store` and is four kinds of object; `FORMAT.md` has the bytes:

- `repository.json` says that this is a repository, and with which block size and digest key;
- `packs/<session>-<n>` hold blocks, each compressed by itself;
- `points/<id>` is the manifest of one point: its record and the complete block map of every disk,
  so that no point needs another one's manifest;
- `log/<number>` is the history: runs opened and points committed, each entry naming the digest of
  the one before.

Order of publication: packs, then the manifest, then the log entry. Each is durable before the next
begins, and only the log entry makes a point exist: a crash at any moment leaves the point absent or
whole, and at worst some objects that nothing refers to.

Create-if-absent of the *next* log number is the only step at which two writers can meet, and one of
them wins. The loser reads what the winner wrote and decides again: a run finds out there that a
newer epoch of its machine was opened, and may no longer commit. Because numbers have no gaps, a
delayed write of a run that was given up for dead lands on a number that is taken, or lands before
its successor is opened and is seen by it. A create whose answer was lost is settled by reading the
number again: it was ours if and only if the bytes are equal, and a session's token makes the bytes
of every run its own.

Invariants: a listed point's manifest has the digest that the log states; a manifest refers only to
packs that were durable before it; a block is returned only if its digest is right; nothing listed
is ever rewritten.

| module | owns |
|---|---|
| `codec` | the bytes of header, log entries and manifests |
| `log` | reading the history, appending to it |
| `publish` | one object, durable and ours, whatever became of the answers |
| `block_map` | which stored block stands at which place of a disk |
| `pack` | compressing blocks into packs |
| `dedup` | finding a block that is stored already |
| `write_session` | one run's writing, up to its commit |
| `reader` | reading a point, with every digest checked |
| `repository` | the front door |
"""
