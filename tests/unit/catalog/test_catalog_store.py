import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications_operator.catalog import CatalogStore, Directory, parse_source
from tests.unit.catalog.builders import config_map, entity, group, names, parse, ref, stream, user


@pytest.fixture
def store() -> CatalogStore:
    """A store that is synced and settled at time 0, with user a in ConfigMap catalog."""
    store = CatalogStore(settle=2, removal_settle=30)
    store.apply(parse(stream([user("a")])), 0)
    store.mark_synced(0)
    assert store.rebuild(0) is not None
    return store


def served(directory: Directory | None) -> list[str]:
    assert directory is not None
    return [each.ref.name for each in directory.users()]


def test_nothing_is_served_before_the_first_sync_and_everything_right_after() -> None:
    store = CatalogStore(settle=2, removal_settle=30)
    store.apply(parse(stream([user("a")]), name="one"), 0)
    store.apply(parse(stream([user("b")]), name="two"), 100)
    store.remove(config_map(name="one").key, 101)
    assert store.due(102) is None
    assert store.rebuild(102) is None
    assert store.directory is None
    store.mark_synced(102)
    assert store.due(102) == 0
    assert served(store.rebuild(102)) == ["b"]
    assert served(store.directory) == ["b"]
    assert store.due(102) is None
    store.mark_synced(300)
    assert store.due(300) is None


def test_an_empty_catalog_is_served_too() -> None:
    store = CatalogStore()
    store.mark_synced(5)
    assert served(store.rebuild(5)) == []


def test_changes_rest_before_they_are_served(store: CatalogStore) -> None:
    store.apply(parse(stream([user("a"), user("b")]), version=2), 10)
    assert store.due(10) == 2
    assert store.rebuild(11.9) is None
    store.apply(parse(stream([user("c")]), name="more"), 11)
    assert store.due(11) == 2
    assert store.due(12) == 1
    assert store.rebuild(12.9) is None
    assert served(store.directory) == ["a"]
    assert served(store.rebuild(13)) == ["a", "b", "c"]
    assert store.due(13) is None


def test_changes_that_never_rest_are_served_all_the_same(store: CatalogStore) -> None:
    rebuilt = []
    for second in range(100, 130):
        store.apply(parse(stream([user(f"u{second}")]), version=second), second)
        if store.rebuild(second) is not None:
            rebuilt.append(second)
    assert rebuilt == [110, 121]


def test_a_version_that_says_the_same_changes_nothing(store: CatalogStore) -> None:
    store.apply(parse(stream([user("a")]) + "\n# a comment", version=2), 10)
    assert store.due(10) is None


def test_versions_are_told_apart(store: CatalogStore) -> None:
    assert store.is_current(config_map())
    assert not store.is_current(config_map(version=2))
    assert not store.is_current(config_map(name="other"))
    store.remove(config_map().key, 1)
    assert not store.is_current(config_map())


def test_a_removed_config_map_is_served_on_for_a_while(store: CatalogStore) -> None:
    store.remove(config_map().key, 10)
    store.remove(config_map().key, 20)
    assert store.due(10) == 30
    store.apply(parse(stream([user("b")]), name="other"), 15)
    assert store.due(15) == 2
    assert served(store.rebuild(17)) == ["a", "b"]
    assert store.due(17) == 23
    assert store.rebuild(39) is None
    assert served(store.rebuild(40)) == ["b"]
    assert store.due(40) is None
    assert store.problems(config_map().key) == ()


def test_a_config_map_that_comes_back_in_time_was_never_gone(store: CatalogStore) -> None:
    store.remove(config_map().key, 10)
    store.apply(parse(stream([user("a")]), version=7), 39)
    assert store.due(39) is None
    store.remove(config_map().key, 50)
    store.apply(parse(stream([user("b")]), version=8), 60)
    assert served(store.rebuild(62)) == ["b"]
    assert store.due(62) is None


def test_removing_what_is_unknown_does_nothing(store: CatalogStore) -> None:
    store.remove(config_map(name="other").key, 10)
    assert store.due(10) is None


def test_a_clock_that_is_read_late_makes_things_due_not_negative(store: CatalogStore) -> None:
    store.remove(config_map().key, 10)
    assert store.due(1000) == 0


BROKEN = "kind: ["


def test_what_is_broken_goes_on_being_served_as_it_was(store: CatalogStore) -> None:
    store.apply(parse(stream([user("a"), user("b"), group("g", "a")]), version=2), 1)
    store.apply(parse(f"{stream([group('g', 'b')])}\n---\n{BROKEN}", version=3), 2)
    catalog = store.rebuild(10)
    assert served(catalog) == ["a", "b"]
    assert catalog is not None
    assert catalog.members_of(ref("group:g")) == (ref("user:b"),), "what is fine is new"
    broken, kept = store.problems(config_map().key)
    assert "did not find expected node content" in broken.message
    assert str(kept) == (
        "catalog.yaml: 2 of its entities are served as they were before it broke, "
        "until 1970-01-02T00:00:02Z at the latest"
    )


def test_what_is_broken_for_long_keeps_what_it_had_first(store: CatalogStore) -> None:
    store.apply(parse(f"{stream([user('b')])}\n---\n{BROKEN}", version=2), 1)
    store.apply(parse(f"{stream([user('c')])}\n---\n{BROKEN}", version=3), 2)
    store.apply(parse(BROKEN, version=4), 3)
    assert served(store.rebuild(10)) == ["a", "b", "c"]
    store.apply(parse(stream([user("c")]), version=5), 20)
    assert served(store.rebuild(30)) == ["c"], "mended, so what was taken out is gone"
    assert store.problems(config_map().key) == ()


def test_a_broken_entity_keeps_its_old_version(store: CatalogStore) -> None:
    text = stream([user("a", profile={"email": ["a@b"]}), user("b")])
    store.apply(parse(text, version=2), 1)
    assert served(store.rebuild(10)) == ["a", "b"]


def test_what_vanished_cleanly_is_gone(store: CatalogStore) -> None:
    store.apply(parse(stream([user("b")]), version=2), 1)
    assert served(store.rebuild(10)) == ["b"]


DAY = 24 * 3600


def names_of(directory: Directory | None) -> list[str]:
    return [] if directory is None else served(directory)


def said(store: CatalogStore) -> list[str]:
    return [str(problem) for problem in store.problems(config_map().key)]


def test_what_is_kept_is_kept_for_a_day(store: CatalogStore) -> None:
    store.apply(parse(BROKEN, version=2), 100)
    store.rebuild(102)
    store.apply(parse(f"{BROKEN}  # still", version=3), DAY / 2)
    store.rebuild(DAY / 2 + 2)
    assert store.due(DAY / 2 + 2) == DAY / 2 + 98, "another version does not prolong it"
    assert said(store)[-1].endswith("before it broke, until 1970-01-02T00:01:40Z at the latest")
    assert store.rebuild(DAY + 99) is None
    assert served(store.directory) == ["a"]
    assert served(store.rebuild(DAY + 100)) == []
    assert store.due(DAY + 100) is None
    assert said(store)[-1] == (
        "catalog.yaml: 1 of the entities that it held before it broke are not kept any longer"
    )
    store.apply(parse(f"{BROKEN}  # for ever", version=4), 2 * DAY)
    assert "not kept any longer" in said(store)[-1]
    store.apply(parse(stream([user("a")]), version=5), 3 * DAY)
    assert served(store.rebuild(3 * DAY + 2)) == ["a"]
    assert said(store) == []


def test_who_leaves_a_key_that_stays_broken_is_gone_after_a_day() -> None:
    store = CatalogStore()
    store.apply(parse(f"{stream([user('ann'), user('bob')])}\n---\n{BROKEN}"), 0)
    store.mark_synced(0)
    store.rebuild(0)
    left: dict[int, list[str]] = {}
    for day in range(1, 31):
        store.apply(parse(f"{stream([user('ann')])}\n---\n{BROKEN}", version=day), day * DAY)
        store.rebuild(day * DAY + 2)
        left[day] = names_of(store.directory)
    assert left[1] == ["ann", "bob"]
    assert all(left[day] == ["ann"] for day in range(2, 31))


def test_a_broken_document_that_names_its_entity_keeps_nobody_else(store: CatalogStore) -> None:
    store.apply(parse(stream([user("a"), user("b"), user("c")]), version=2), 1)
    store.rebuild(3)
    broken = user("b", profile={"email": ["b@example.com"]})
    store.apply(parse(stream([user("a"), broken]), version=3), 10)
    assert served(store.rebuild(12)) == ["a", "b"], "c was taken out, b may be repaired"
    assert served(store.rebuild(DAY + 10)) == ["a"]


def test_a_mended_key_keeps_nothing(store: CatalogStore) -> None:
    store.apply(parse(BROKEN, version=2), 1)
    store.rebuild(3)
    store.apply(parse(stream([user("b")]), version=3), 10)
    assert served(store.rebuild(12)) == ["b"]
    assert store.due(12) is None


@pytest.mark.parametrize("removal", [5.0, DAY + 5.0])
def test_a_removed_config_map_keeps_nothing_of_its_broken_keys(
    store: CatalogStore, removal: float
) -> None:
    store.apply(parse(BROKEN, version=2), 1)
    store.rebuild(3)
    store.remove(config_map().key, removal)
    assert served(store.rebuild(removal + 30)) == []
    assert store.due(removal + 30) is None


def test_a_key_that_is_gone_keeps_nothing() -> None:
    store = CatalogStore()
    store.apply(parse_source(config_map({"a": stream([user("a")]), "b": stream([user("b")])})), 0)
    store.mark_synced(0)
    store.rebuild(0)
    store.apply(parse_source(config_map({"a": stream([user("a")]), "b": BROKEN}, version=2)), 1)
    assert served(store.rebuild(3)) == ["a", "b"]
    store.apply(parse_source(config_map({"a": stream([user("a")])}, version=3)), 4)
    assert served(store.rebuild(6)) == ["a"]


LETTERS = st.frozensets(st.sampled_from("abcd"))


@given(
    versions=st.lists(
        st.tuples(
            st.integers(min_value=1, max_value=20),
            LETTERS,
            st.sampled_from(["clean", "nameless", "named"]),
            st.sampled_from("abcd"),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_nobody_is_kept_for_longer_than_a_day(
    versions: list[tuple[int, frozenset[str], str, str]],
) -> None:
    """Compare with a model that knows only when each user was last defined."""
    store = CatalogStore(settle=0)
    store.mark_synced(0)
    store.rebuild(0)
    now, known, lost = 0, frozenset[str](), dict[str, int]()
    for number, (hours, users, fault, named) in enumerate(versions):
        now += hours * 3600
        broken = {
            "clean": [],
            "nameless": [BROKEN],
            "named": [json.dumps(user(named, profile=5))],
        }[fault]
        defined = users - {named} if fault == "named" else users
        documents = [json.dumps(user(name)) for name in sorted(defined)]
        store.apply(parse("\n---\n".join([*documents, *broken]), version=number), now)
        store.rebuild(now)
        kept = {
            name: lost.get(name, now)
            for name in {*known, *lost} - defined
            if fault == "nameless" or (fault == "named" and name == named)
        }
        lost = {name: since for name, since in kept.items() if now - since < DAY}
        known = defined
        assert set(names_of(store.directory)) == defined | lost.keys()


def test_only_the_broken_key_keeps_what_it_held() -> None:
    store = CatalogStore()
    first = {name: stream([user(name), user(f"{name}2")]) for name in "abcd"}
    store.apply(parse_source(config_map(first)), 0)
    store.mark_synced(0)
    store.rebuild(0)
    second = {"a": stream([user("a")]), "b": BROKEN, "c": stream([user("c"), user("b2")])}
    store.apply(parse_source(config_map(second, version=2)), 1)
    catalog = store.rebuild(10)
    assert served(catalog) == ["a", "b", "b2", "c"]
    assert catalog is not None
    assert catalog.conflicts == ()


def test_a_key_that_cannot_be_decoded_keeps_what_it_held() -> None:
    store = CatalogStore()
    store.apply(parse_source(config_map(binary={"k": stream([user("a")]).encode()})), 0)
    store.mark_synced(0)
    store.rebuild(0)
    store.apply(parse_source(config_map(binary={"k": b"\xff"}, version=2)), 1)
    assert store.due(1) == 2
    assert served(store.rebuild(10)) == ["a"]


def test_what_is_defined_elsewhere_now_is_no_longer_kept(store: CatalogStore) -> None:
    store.apply(parse(BROKEN, version=2), 1)
    moved = user("a", profile={"email": "new@example.com"})
    store.apply(parse(stream([moved]), name="z-later-by-name"), 1)
    catalog = store.rebuild(10)
    assert catalog is not None
    (found,) = catalog.users()
    assert found.email == "new@example.com"
    assert catalog.conflicts == ()


def test_a_config_map_that_was_broken_from_the_start_serves_the_rest() -> None:
    store = CatalogStore()
    parsed = parse(f"{BROKEN}\n---\n{stream([user('a')])}")
    assert names(parsed) == ["user:default/a"]
    store.apply(parsed, 0)
    store.mark_synced(0)
    assert served(store.rebuild(0)) == ["a"]
    assert len(store.problems(config_map().key)) == 1


def test_conflicts_are_told_to_the_one_that_is_not_served(store: CatalogStore) -> None:
    other = config_map({"x.yaml": stream([user("A"), entity("API", "x")])}, name="other")
    store.apply(parse_source(other), 1)
    assert store.problems(other.key) == ()
    store.rebuild(10)
    assert [str(problem) for problem in store.problems(other.key)] == [
        "x.yaml: user:default/a is defined in notifications/catalog (catalog.yaml) too; "
        "that one is served"
    ]
    assert store.problems(config_map().key) == ()
    store.remove(config_map().key, 20)
    store.rebuild(50)
    assert store.problems(other.key) == ()


def test_building_elsewhere_is_the_same_as_rebuilding(store: CatalogStore) -> None:
    store.apply(parse(stream([user("b")]), version=2), 1)
    assert store.take_due(2) is None
    sources = store.take_due(3)
    assert sources is not None
    store.apply(parse(stream([user("c")]), version=3), 4)
    store.adopt(Directory.build(sources))
    assert served(store.directory) == ["b"]
    assert store.due(4) == 2
    assert served(store.rebuild(6)) == ["c"]
