"""What a survey remembers depends on the points that there are, not on those that there were."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.repository.manifests import ManifestReader
from reference_engine.repository.survey import Survey
from tests.strategies.repacks import image
from tests.strategies.repositories import commit, new_repository

RUNS = 330
MOST = 270
"""Of two points that there are: twice as many, and those that are spared."""


def test_points_that_are_gone_are_forgotten() -> None:
    """After many runs no more is remembered than after few, and what is needed is told as well."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await new_repository(store)
        reader = ManifestReader(store, repository.header)
        survey = Survey(store, repository.header, reader)
        most = 0

        for number in range(RUNS):
            await commit(repository, image(1, 2 + number, 3 + number // 2), f"point-{number}")
            newest = (await repository.commits())[-2:]
            used = await survey.used(newest)
            most = max(most, len(survey))
            if number > MOST - 12:
                fresh = Survey(store, repository.header, reader)
                assert used == await fresh.used(newest), number

        assert most < MOST

    asyncio.run(scenario())
