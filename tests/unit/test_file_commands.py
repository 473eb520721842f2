"""The commands for disk files do what they say, or say in one sentence why not."""

import pytest

from tests.strategies.disk_places import MIB, Place, content_of, disk, place

__all__ = ["place"]


@pytest.mark.parametrize("suffix", [".raw", ".vhdx"])
def test_what_was_backed_up_is_restored(place: Place, suffix: str) -> None:
    """A restored image has every byte of its source, in either format."""
    place.back_up()
    target = place.root / f"restored{suffix}"
    code, out, _ = place.run("restore", "latest", "--repo", place.repo, "--to", target)

    assert code == 0
    assert "every block checked" in out
    assert content_of(target) == place.source.read_bytes()


def test_the_second_backup_stores_what_changed(place: Place) -> None:
    """One changed block is one new block, and both points can still be restored."""
    first = place.back_up()
    before = place.source.read_bytes()
    after = bytearray(before)
    after[300_000:300_004] = b"edit"
    place.source.write_bytes(after)
    second = place.back_up()

    assert first["base"] is None
    assert second["base"] == first["point"]
    assert second["bytes_sent"] == 65536
    for point, image in ((first["point"], before), (second["point"], bytes(after))):
        target = place.root / f"{point}.raw"
        assert place.run("restore", point[:12], "--repo", place.repo, "--to", target)[0] == 0
        assert target.read_bytes() == image


def test_what_became_zero_is_zero(place: Place) -> None:
    """Content that the source no longer has is not carried over from the base."""
    place.back_up()
    changed = bytes(disk(1)[:4096].ljust(MIB // 2, b"\0"))
    place.source.write_bytes(changed)
    place.back_up()

    target = place.root / "restored.raw"
    place.run("restore", "web", "--repo", place.repo, "--to", target)
    assert target.read_bytes() == changed


def test_a_machine_of_several_disks_is_restored_into_a_directory(place: Place) -> None:
    """All disks belong to one point, and come back side by side or one by one."""
    other = place.root / "data.img"
    other.write_bytes(disk(2))
    files = (place.source, other)
    place.records("backup", *files, "--repo", place.repo, "--name", "shop")
    target = place.root / "restored"

    assert "--disk" in place.refused(
        2, "restore", "shop", "--repo", place.repo, "--to", place.root / "one.raw"
    )
    assert place.run("restore", "shop", "--repo", place.repo, "--to", f"{target}/")[0] == 0
    for source in files:
        assert (target / source.name).read_bytes() == source.read_bytes()
    one = place.root / "one.raw"
    options = ("--repo", place.repo, "--to", one, "--disk", "data.img")
    assert place.run("restore", "shop", *options)[0] == 0
    assert one.read_bytes() == other.read_bytes()


def test_points_are_records_for_programs(place: Place) -> None:
    """Each line is one point with its provenance, and the last one is the summary."""
    summaries = [place.back_up(), place.back_up()]
    *points, summary = place.records("points", "--repo", place.repo)

    assert [point["id"] for point in points] == [each["point"] for each in summaries]
    assert [point["base"] for point in points] == [None, summaries[0]["point"]]
    assert [point["transfer"] for point in points] == ["full", "compare"]
    assert {point["type"] for point in points} == {"point"}
    assert {point["vm"] for point in points} == {"web"}
    assert {point["consistency"] for point in points} == {"crash"}
    assert {point["size"] for point in points} == {MIB}
    assert summary == {"type": "summary", "points": 2, "damaged": 0, "exit_code": 0}


def test_verification_tells_intact_from_damaged(place: Place) -> None:
    """A flipped bit is a finding that names point, disk and block; the listing stays usable."""
    point = place.back_up()["point"]
    assert place.run("verify", "--repo", place.repo)[0] == 0
    pack = next((place.repo / "packs").iterdir())
    content = bytearray(pack.read_bytes())
    content[20_000] ^= 1
    pack.write_bytes(content)

    code, out, _ = place.run("verify", point, "--repo", place.repo)
    assert code == 1
    assert f"block 0 of disk web.raw in point {point}" in out
    assert place.run("points", "--repo", place.repo)[0] == 0
    target = place.root / "restored.vhdx"
    before = place.files()
    place.refused(1, "restore", "latest", "--repo", place.repo, "--to", target)
    assert place.files() == before


def test_a_damaged_manifest_is_a_finding(place: Place) -> None:
    """Points that cannot be trusted are listed as damaged, the others as they are."""
    lost, kept = place.back_up()["point"], place.back_up()["point"]
    (place.repo / "points" / lost).write_bytes(b"")
    assert place.run("points", "--repo", place.repo)[0] == 0
    (place.repo / "copies" / "points" / lost).write_bytes(b"")

    code, out, _ = place.run("points", "--repo", place.repo)
    assert code == 1
    assert f"the manifest of point {lost} is damaged" in out
    assert kept in out
    assert place.run("verify", "--repo", place.repo)[0] == 1


def test_existing_images_are_replaced_on_request_only(place: Place) -> None:
    """Without the option an existing file is refused untouched."""
    place.back_up()
    target = place.root / "restored.raw"
    target.write_bytes(b"precious")
    command = ("restore", "latest", "--repo", place.repo, "--to", target)

    assert "exists already; choose another name, or replace it with --overwrite" in place.refused(
        2, *command
    )
    assert target.read_bytes() == b"precious"
    assert place.run(*command, "--overwrite")[0] == 0
    assert target.read_bytes() == place.source.read_bytes()


def test_a_change_map_is_all_that_is_read(place: Place) -> None:
    """With a change map only what it touches is read, and only pieces of 4 KiB are stored."""
    place.back_up()
    after = bytearray(place.source.read_bytes())
    after[300_000:300_004] = b"edit"
    place.source.write_bytes(after)
    changed = place.root / "changed.json"
    changed.write_text("[[300000, 4]]")
    summary = place.records(
        "backup", place.source, "--repo", place.repo, "--changed", changed, "--level", "best"
    )[-1]

    assert (summary["bytes_read"], summary["bytes_sent"]) == (65536, 4096)
    target = place.root / "restored.raw"
    assert place.run("restore", "latest", "--repo", place.repo, "--to", target)[0] == 0
    assert target.read_bytes() == bytes(after)
