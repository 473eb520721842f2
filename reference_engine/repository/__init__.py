"""Recovery points at rest: write-once objects, one log, and nothing that needs a clock or a lock.

A repository lives behind `ports.blob_store`; `FORMAT.md` has the bytes of its objects:

- `repository.json`, three times, says that this is a repository, and its block size and key;
- `packs/<session>-<n>` hold blocks and pieces of blocks, compressed a megabyte at a time;
- `maps/<session>-<n>`, twice, hold pages of block maps: for each block its digest and its place;
- `points/<id>`, twice, is the manifest of one point: its record, and of every disk the root of its
  map, which refers to pages of this run and of earlier ones, but to no other manifest;
- `log/<number>`, twice, is the history: runs opened, points committed and expired, objects
  condemned and swept, each entry naming the digest of the one before;
- `index/<session>-<n>` tells later runs what is stored already, of whatever disk or machine;
- `wanted/<token>` and `mends/<token>` say what was found damaged, and where it stands again.

Order of publication: packs, pages, manifest, its copy, then the log entry. Each is durable before
the next begins, and only the log entry makes a point exist: a crash at any moment leaves the point
absent or whole, and at worst some objects that nothing refers to. A portion of the index comes as
soon as its packs are durable: a run that is killed leaves blocks that the next one finds. From then
on the session deletes those packs no more, so nobody builds on what may vanish.

An incremental run stores the changed pieces (4 KiB) of a block and lays them over the block's base,
as long as less than half of it is overlaid by earlier runs; then it stores the block anew. A piece
has one place and no history, so reading costs the same however many points came before.

Create-if-absent of the *next* log number is the only step at which two writers can meet, and one of
them wins. The loser reads what the winner wrote and decides again: a run finds out there that a
newer epoch of its machine was opened, and may no longer commit. Because numbers have no gaps, a
delayed write of a run that was given up for dead lands on a number that is taken, or lands before
its successor is opened and is seen by it. A create whose answer was lost is settled by reading the
number again: it was ours if and only if the bytes are equal, and a session's token makes the bytes
of every run its own.

Space is given back in the same log: what no point uses is *condemned*, then *swept*, deleted, and
*released*. A commit lands behind a history in which nothing that the point uses is swept; a sweep
lands behind one whose points it spares; whichever comes later knows the other. A run that slept
through a sweep finds its number taken, and copies what was swept, or starts over where it is
deleted already. Each rule is one step:

| rule | step |
|---|---|
| an object is whole before it has its name, and its name is durable before the answer | `create` |
| what was read of the log is durable before anything is built on it | `Log.settle` |
| an entry lands behind exactly the history that it was decided on | `Log.append_after` |
| a run builds on nothing that is condemned or swept | `BlockStorer._lasting` |
| a commit uses nothing that is swept | `Reliance.check` |
| what a run wrote is nobody's garbage while the run may commit | `Survey._is_over` |
| nothing is condemned or swept while a point's needs cannot be told | `Survey.used` |
| a sweep spares what was committed since | `Reclaim.sweep` |
| only what is swept is deleted | `Reclaim.delete` |
| a repack moves only points that are as it read them, while its run is open | `RepackRun.commit` |
| what is copied was read back under its digest | `VerifiedBlocks` |
| a copy is shown only where it was seen to be right | `PageMover._copied` |
| a run knows its base by the manifest that it read | `Reliance.check` |
| what a lost entry may have committed is nobody's garbage | `History.may_have_committed` |
| numbers at which an engine of before would append are taken before a renewal | `Log.take` |

Where little of a pack is used, a *repack* copies that into packs of its own, writes the pages and
manifests of the points concerned anew, and one entry of the log gives all of these points their
new manifests at once; what is not used any more behind it goes the way of all garbage. `repack_run`
says why nothing is lost by it, and `standing` how a reader goes on that had read the old manifest.

Where entries of the log are lost in both copies, what the others say is still true, and manifests
tell of points. A *renewal* is one entry that says what stands; from it the history goes on
(`renewal`, `remains`, `found_points`). Until then points are read as it would find them.

Encryption and parity are features that a header names (`opening`). Both are the matter of one
store between the engine and the blob store, `segmented_store`: whoever reads and writes objects
through it knows neither. It cuts them into segments with a tag each, so that damage is found
wherever a range is read, and is mended there if there is parity.

An encrypted repository may be parted into *domains* (`domains`). What a session of one writes is
named after it and sealed under its key too, and nobody outside of it refers to it; so a domain is
destroyed by one entry of the log and the deletion of that key.

Invariants: a listed point's manifest has the digest that the log states; a manifest refers only to
packs that were durable before it; a block is returned only if its digest is right; nothing listed
is ever rewritten.

| module | owns |
|---|---|
| `header` | what a repository says of itself |
| `codec` | the bytes of log entries and manifests |
| `pages`, `columns` | the bytes of pages and index segments |
| `reclaim_entries`, `key_entries`, `domain_entries` | what entries say |
| `history` | what they come to |
| `log` | reading the history, appending to it |
| `publish` | one object, durable and ours, whatever became of the answers |
| `block_map` | which stored block stands at which place of a disk |
| `pack` | compressing frames into packs |
| `dedup` | finding a block that is stored already |
| `known_index` | the index of all sessions, kept from run to run |
| `index_cache` | the same on a local disk, for memory's sake; nothing depends on it |
| `index_writer` | telling later runs what is stored, portion by portion |
| `storing` | hashing, finding and compressing the blocks of one run |
| `map_writer` | gathering pages into objects |
| `write_session` | one run's writing, up to its commit |
| `reliance` | what a run builds on that others wrote, and what if it is swept |
| `manifests` | composing and reading manifests |
| `survey` | which objects points use, and which nobody does |
| `reclaim` | removing points, and giving their space back |
| `usage`, `repack_rule` | how much of each object is used, and what is worth being copied |
| `repack`, `repack_run` | moving what is used, and letting points refer to it |
| `page_mover`, `verified_blocks` | copying the blocks of a page, each read back before |
| `standing` | the manifest that a point has now |
| `fetching` | which frames a block needs |
| `read_ahead`, `together` | fetching pages, or whole objects, some at a time |
| `frames` | fetching and decompressing them, a few at a time |
| `assembling` | a block out of its frames, checked |
| `mending` | what was lost, and where it was found again |
| `reader` | reading a point, with every digest checked |
| `opening` | features: from a header to the store that objects go through |
| `segmented_store` | sealing on the way in, opening and mending on the way out |
| `envelope`, `encryption` | the bytes of segments, in clear or under AES-256-GCM |
| `keys` | secrets, key slots, and what is derived from a master key |
| `access` | adding, removing and rotating keys, decided by the log |
| `domain_names`, `domain_keys` | of which domain an object is, and that domain's key |
| `domains` | adding domains, choosing a run's, destroying one |
| `parity`, `group_parity` | Reed-Solomon within an object, one pack more for several |
| `repository` | the front door |
"""
