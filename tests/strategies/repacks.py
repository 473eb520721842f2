"""Packs of which little is used, and moving that out of them."""

import itertools

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.repository.repack import Repacked
from reference_engine.repository.repack_rule import RepackRule
from reference_engine.repository.repository import Repository
from tests.strategies.reclaims import NOW, reclaim_without
from tests.strategies.repositories import block, commit, new_repository

EVERYTHING = RepackRule(unused_share=0.0)
tokens = itertools.count(1)


def image(*fills: int) -> bytes:
    """Return a disk of these blocks."""
    return b"".join(block(fill) for fill in fills)


async def repack(repository: Repository, rule: RepackRule = EVERYTHING) -> Repacked:
    """Move what the rule asks for, and give back the space."""
    plan = await repository.repack.plan(rule, at=NOW)
    done = await repository.repack.run(plan, token=lambda: f"repack-{next(tokens)}", at=NOW)
    await repository.reclaim.reclaim(at=NOW)
    return done


async def scattered(store: MemoryStore) -> Repository:
    """Return a repository in which point `b` needs one block of `a`'s pack, and `a` is gone."""
    repository = await new_repository(store)
    await commit(repository, image(1, 2, 3, 4), "a")
    await commit(repository, image(1, 5, 6, 7), "b")
    await reclaim_without(repository, "a")
    return repository
