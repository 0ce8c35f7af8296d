from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications_operator.catalog import Directory, Entity, EntityRef, resolve, resolve_broadcast
from tests.unit.catalog.builders import directory, entity, group, ref, resolved, user, users


def refs(found: tuple[EntityRef, ...]) -> list[str]:
    return [str(each) for each in found]


def test_a_user_means_itself_and_a_group_its_members_and_those_below() -> None:
    catalog = directory(
        user("ann", "top"),
        user("bob", "left"),
        user("cid", "bottom"),
        user("dan", "elsewhere"),
        group("top", children=["left", "right"]),
        group("left"),
        group("right"),
        group("bottom", parent="right"),
        group("elsewhere"),
    )
    assert users(resolved(catalog, ["user:dan"])) == ["dan"]
    assert users(resolved(catalog, ["group:top"])) == ["ann", "bob", "cid"]
    assert users(resolved(catalog, ["group:right"])) == ["cid"]
    assert users(resolved(catalog, ["group:left", "USER:Default/DAN", "user:dan"])) == [
        "bob",
        "dan",
    ]


def test_anything_else_means_its_first_owner() -> None:
    catalog = directory(
        user("ann", "team"),
        user("bob"),
        group("team", children=["sub"]),
        group("sub", "bob"),
        entity("Component", "app", owner="team"),
        entity("API", "api", owner="user:bob"),
        entity("System", "outer", owner="component:default/app"),
    )
    assert users(resolved(catalog, ["component:app"])) == ["ann", "bob"]
    assert users(resolved(catalog, ["api:api"])) == ["bob"]
    assert users(resolved(catalog, ["system:outer"])) == ["ann", "bob"]


def test_cycles_end() -> None:
    catalog = directory(
        user("ann", "a"),
        user("bob", "b"),
        user("cid", "c"),
        group("a", children=["b", "a"]),
        group("b", children=["c"]),
        group("c", children=["a"]),
        entity("Component", "x", owner="component:y"),
        entity("Component", "y", owner="component:x"),
    )
    for start in ("group:a", "group:b", "group:c"):
        assert users(resolved(catalog, [start])) == ["ann", "bob", "cid"]
    assert resolved(catalog, ["component:x"]).users == ()


def test_a_deep_chain_of_groups() -> None:
    depth = 5000
    catalog = directory(
        *(group(f"g{level}", f"u{level}", children=[f"g{level + 1}"]) for level in range(depth)),
        group(f"g{depth}"),
        *(user(f"u{level}") for level in range(depth)),
    )
    assert len(resolved(catalog, ["group:g0"]).users) == depth
    assert users(resolved(catalog, [f"group:g{depth - 2}"])) == [f"u{depth - 2}", f"u{depth - 1}"]


def test_exclusions_prune_what_they_name_and_nothing_more() -> None:
    catalog = directory(
        user("ann", "left"),
        user("bob", "left", "right"),
        user("cid", "below-left"),
        user("dan", "right"),
        group("top", children=["left", "right"]),
        group("left", children=["below-left"]),
        group("below-left"),
        group("right"),
        entity("Component", "app", owner="top"),
    )
    assert users(resolved(catalog, ["group:top"], ["group:left"])) == ["bob", "dan"]
    assert users(resolved(catalog, ["group:top"], ["GROUP:Default/Left"])) == ["bob", "dan"]
    assert users(resolved(catalog, ["group:top", "user:ann"], ["group:left"])) == [
        "ann",
        "bob",
        "dan",
    ]
    assert users(resolved(catalog, ["group:top", "user:bob"], ["user:bob"])) == [
        "ann",
        "cid",
        "dan",
    ]
    assert users(resolved(catalog, ["group:left"], ["group:top"])) == ["ann", "bob", "cid"]
    assert users(resolved(catalog, ["component:app"], ["group:right"])) == ["ann", "bob", "cid"]
    for excluded in ("component:app", "group:top"):
        nothing = resolved(catalog, ["component:app"], [excluded])
        assert (nothing.users, nothing.unresolved, nothing.ownerless) == ((), (), ())


def test_unknown_refs_are_named_in_the_order_asked() -> None:
    found = resolved(
        directory(user("ann"), group("g", "ann")),
        ["user:nobody", "group:g", "group:none", "component:c", "user:nobody", "USER:Nobody"],
    )
    assert users(found) == ["ann"]
    assert refs(found.unresolved) == [
        "user:default/nobody",
        "group:default/none",
        "component:default/c",
    ]
    assert found.dangling == ()


def test_an_excluded_ref_that_is_unknown_is_not_missed() -> None:
    catalog = directory(group("g", "ghost", children=["none"]), entity("API", "a", owner="gone"))
    found = resolved(
        catalog,
        ["user:nobody", "group:g", "api:a"],
        ["user:nobody", "user:ghost", "group:none", "group:gone"],
    )
    assert (found.users, found.unresolved, found.dangling) == ((), (), ())


def test_what_a_group_names_in_vain_is_told_apart() -> None:
    catalog = directory(user("ann"), group("g", "ann", "ghost", children=["none"]))
    found = resolved(catalog, ["group:g"])
    assert users(found) == ["ann"]
    assert found.unresolved == ()
    assert refs(found.members_without_entity) == ["user:default/ghost"]
    assert refs(found.dangling) == ["group:default/none"]
    both = resolved(catalog, ["group:g", "user:ghost"])
    assert refs(both.unresolved) == ["user:default/ghost"]
    assert (both.members_without_entity, refs(both.dangling)) == ((), ["group:default/none"])


def test_members_without_an_entity_are_found_however_deep() -> None:
    catalog = directory(
        user("ann"),
        group("top", "MixedCase", children=["sub"]),
        group("sub", "lower", "ann", "lower"),
        entity("Component", "app", owner="top"),
    )
    for start in ("group:top", "component:app"):
        found = resolved(catalog, [start])
        assert users(found) == ["ann"]
        assert refs(found.members_without_entity) == [
            "user:default/mixedcase",
            "user:default/lower",
        ]
    assert refs(resolved(catalog, ["group:top"], ["group:sub"]).members_without_entity) == [
        "user:default/mixedcase"
    ]
    excluded = resolved(catalog, ["group:top"], ["user:LOWER", "user:ann"])
    assert (users(excluded), refs(excluded.members_without_entity)) == (
        [],
        ["user:default/mixedcase"],
    )
    relied_on = resolved(catalog, ["group:top", "user:zoe"], ["user:ann"]).relying_on_members()
    assert relied_on.members_without_entity == ()
    assert refs(relied_on.unresolved) == [
        "user:default/zoe",
        "user:default/mixedcase",
        "user:default/lower",
    ]


def test_a_missing_owner_is_unresolved() -> None:
    catalog = directory(
        group("g", "ghost"),
        entity("Component", "app", owner="gone"),
        entity("Component", "haunted", owner="user:ghost"),
        entity("Location", "nowhere"),
    )
    assert refs(resolved(catalog, ["component:app"]).unresolved) == ["group:default/gone"]
    found = resolved(catalog, ["group:g", "component:haunted"])
    assert refs(found.unresolved) == ["user:default/ghost"]
    assert found.dangling == ()
    ownerless = resolved(catalog, ["location:nowhere", "group:g"])
    assert refs(ownerless.ownerless) == ["location:default/nowhere"]
    assert ownerless.unresolved == ()


def test_a_membership_in_a_group_that_does_not_exist_makes_no_group() -> None:
    found = resolved(directory(user("ann", "ghosts")), ["group:ghosts"])
    assert found.users == ()
    assert refs(found.unresolved) == ["group:default/ghosts"]


def test_a_broadcast_means_all_users() -> None:
    catalog = directory(user("bob"), group("g", "ghost"), user("ann"))
    found = resolve_broadcast(catalog)
    assert users(found) == ["ann", "bob"]
    assert (found.unresolved, found.dangling, found.ownerless) == ((), (), ())
    assert resolve_broadcast(directory()).users == ()


class Graph(NamedTuple):
    """A catalog as edges, of which it is told apart which side states them."""

    existing: frozenset[str]
    members: frozenset[tuple[str, str]]
    children: frozenset[tuple[str, str]]
    owners: dict[str, str]
    stated_by_target: frozenset[tuple[str, str]]

    def directory(self) -> Directory:
        def stated(pairs: frozenset[tuple[str, str]], source: str) -> tuple[EntityRef, ...]:
            return tuple(
                ref(b)
                for a, b in sorted(pairs)
                if a == source and ((a, b) not in self.stated_by_target or b not in self.existing)
            )

        def counterparts(pairs: frozenset[tuple[str, str]], target: str) -> tuple[EntityRef, ...]:
            return tuple(
                ref(a) for a, b in sorted(pairs) if b == target and (a, b) in self.stated_by_target
            )

        return Directory(
            Entity(
                ref=ref(name),
                members=stated(self.members, name),
                member_of=counterparts(self.members, name),
                children=stated(self.children, name),
                parents=counterparts(self.children, name),
                owners=(ref(self.owners[name]),) if name in self.owners else (),
            )
            for name in self.existing
        )

    def reachable(self, start: set[str], excluded: set[str]) -> set[str]:
        """All users, by walking every edge until nothing new comes up."""
        reached = (start & self.existing) - excluded
        while True:
            further = set(reached)
            for a, b in self.members | self.children:
                if a in reached:
                    further.add(b)
            for a, b in self.owners.items():
                if a in reached:
                    further.add(b)
            further = (further & self.existing) - excluded
            if further == reached:
                return {name for name in reached if name.startswith("user:")}
            reached = further


user_names = st.sampled_from([f"user:default/u{n}" for n in range(5)])
group_names = st.sampled_from([f"group:default/g{n}" for n in range(5)])
other_names = st.sampled_from([f"component:default/c{n}" for n in range(3)])
any_names = st.one_of(user_names, group_names, other_names)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    members = draw(st.frozensets(st.tuples(group_names, user_names), max_size=12))
    children = draw(st.frozensets(st.tuples(group_names, group_names), max_size=12))
    edges = sorted(members | children)
    return Graph(
        existing=draw(st.frozensets(any_names, min_size=4)),
        members=members,
        children=children,
        owners=draw(st.dictionaries(other_names, any_names)),
        stated_by_target=draw(st.frozensets(st.sampled_from(edges))) if edges else frozenset(),
    )


starts = st.lists(any_names, max_size=4)
exclusions = st.lists(any_names, max_size=4)


def found_users(graph: Graph, start: list[str], excluded: list[str]) -> set[str]:
    found = resolved(graph.directory(), start, excluded).users
    assert list(found) == sorted(set(found), key=lambda each: each.ref)
    return {str(each.ref) for each in found}


@given(graph=graphs(), start=starts, excluded=exclusions)
def test_the_search_finds_what_walking_all_edges_finds(
    graph: Graph, start: list[str], excluded: list[str]
) -> None:
    assert found_users(graph, start, excluded) == graph.reachable(set(start), set(excluded))


@given(graph=graphs(), start=starts, excluded=exclusions)
def test_every_user_that_a_group_names_is_met(
    graph: Graph, start: list[str], excluded: list[str]
) -> None:
    """With or without an entity: nobody is left out silently, and nobody is met twice."""
    found = resolved(graph.directory(), start, excluded)
    everybody = graph._replace(
        existing=graph.existing | {name for _, name in graph.members if name.startswith("user:")}
    )
    met = [*(str(each.ref) for each in found.users), *refs(found.members_without_entity)]
    assert len(set(met)) == len(met)
    unnamed = everybody.reachable(set(start) & graph.existing, set(excluded))
    assert set(met) | {text for text in refs(found.unresolved) if text in unnamed} == unnamed


@given(graph=graphs(), start=starts, excluded=exclusions, more=any_names)
def test_excluding_more_never_reaches_more(
    graph: Graph, start: list[str], excluded: list[str], more: str
) -> None:
    fewer = found_users(graph, start, [*excluded, more])
    assert fewer <= found_users(graph, start, excluded)
    assert not fewer & {*excluded, more}
    assert found_users(graph, start, start) == set()


@given(graph=graphs(), first=starts, second=starts, excluded=exclusions)
def test_what_is_asked_together_is_found_together(
    graph: Graph, first: list[str], second: list[str], excluded: list[str]
) -> None:
    assert found_users(graph, first + second, excluded) == (
        found_users(graph, first, excluded) | found_users(graph, second, excluded)
    )


@given(graph=graphs(), start=starts, excluded=exclusions, data=st.data())
def test_order_case_and_repetition_do_not_matter(
    graph: Graph, start: list[str], excluded: list[str], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations([text.upper() for text in start] + start))
    catalog = graph.directory()
    once, again = resolved(catalog, start, excluded), resolved(catalog, shuffled, excluded * 2)
    assert again.users == once.users
    assert set(again.unresolved) == set(once.unresolved)
    assert set(again.dangling) == set(once.dangling)
    assert set(again.members_without_entity) == set(once.members_without_entity)
    assert set(again.ownerless) == set(once.ownerless)


@given(graph=graphs(), start=starts, excluded=exclusions)
def test_every_ref_asked_for_is_accounted_for(
    graph: Graph, start: list[str], excluded: list[str]
) -> None:
    found = resolved(graph.directory(), start, excluded)
    unknown = {text for text in start if text not in graph.existing and text not in excluded}
    named = {str(each) for each in found.unresolved}
    owners = set(graph.owners.values())
    assert unknown <= named <= unknown | (owners - graph.existing)
    assert not set(found.dangling) & set(found.unresolved)
    assert not {str(each) for each in found.dangling} & graph.existing


def test_ten_thousand_members_over_many_groups() -> None:
    entities: list[Any] = [
        Entity(
            ref=EntityRef(kind="group", namespace="default", name=f"g{n}"),
            parents=(ref(f"group:g{(n - 1) // 3}"),) if n else (),
        )
        for n in range(1000)
    ]
    entities += [
        Entity(
            ref=EntityRef(kind="user", namespace="default", name=f"u{n:05}"),
            member_of=(ref(f"group:g{n % 1000}"),),
        )
        for n in range(10_000)
    ]
    found = resolve(Directory(entities), refs=[ref("group:g0")])
    assert users(found) == [f"u{n:05}" for n in range(10_000)]


@pytest.mark.parametrize("asked", [[], ["user:ann"]])
def test_an_empty_catalog_reaches_nobody(asked: list[str]) -> None:
    found = resolved(directory(), asked)
    assert found.users == ()
    assert refs(found.unresolved) == ["user:default/ann"] * len(asked)
