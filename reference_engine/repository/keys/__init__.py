"""Keys of an encrypted repository: how one secret opens it, and what is derived from that secret.

A repository has one *master key*, 32 bytes of chance, in generations: a new one seals what is
written from then on, and opens the one before. A *slot* wraps the newest generation under one
credential: a passphrase, or a random key that is printed (recovery key) or kept in a file. Every
slot is stored twice, each copy under a checksum of its own, so that one damaged copy locks nobody
out. Slots are created and deleted, never changed.

Everything else follows from the master key by HKDF-SHA-256: the key of all digests, the key that
authenticates the header, and for every object its own key (`envelope`). Chance is needed for
master keys, random keys and salts only, and comes from a `RandomStream`.

Invariants: a slot opens only in the repository that it was made for, and only if the master key in
it authenticates the header; what a slot asks of memory and time is bounded before it is spent; the
log, which decides between two writers, never lets the last slot be removed.

| module | owns |
|---|---|
| `material` | secrets that nothing shows, and how a random key is printed |
| `derivation` | HKDF and Argon2id, with the bounds of what a slot may ask for |
| `slots` | the bytes of a slot |
| `keyring` | the master key in its generations, and what is derived from it |
| `unlocking` | from a credential to the keyring |
"""
