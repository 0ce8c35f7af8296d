import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications_operator.catalog import Directory, ParsedSource, parse_source
from tests.unit.catalog.builders import (
    config_map,
    directory,
    entity,
    group,
    parse,
    ref,
    stream,
    user,
)


def relation(type_: str, target: str) -> dict[str, str]:
    return {"type": type_, "targetRef": target}


@pytest.mark.parametrize(
    "documents",
    [
        [group("g", "a")],
        [group("g"), user("a", "g")],
        [user("a", "group:default/g")],
        [group("g", "a"), user("a", "g")],
        [group("g", relations=[relation("hasMember", "user:default/a")])],
        [user("a", relations=[relation("memberOf", "group:default/g")])],
        [group("G", "A"), user("a", "G")],
    ],
)
def test_membership_holds_whichever_side_states_it(documents: list[object]) -> None:
    assert directory(*documents).members_of(ref("group:g")) == (ref("user:a"),)


@pytest.mark.parametrize(
    "documents",
    [
        [group("g", children=["c"])],
        [group("c", parent="g")],
        [group("g", children=["c"]), group("c", parent="g")],
        [group("g", relations=[relation("parentOf", "group:default/c")])],
        [group("c", relations=[relation("childOf", "group:default/g")])],
    ],
)
def test_descent_holds_whichever_side_states_it(documents: list[object]) -> None:
    catalog = directory(*documents)
    assert catalog.children_of(ref("group:g")) == (ref("group:c"),)
    assert catalog.children_of(ref("group:c")) == ()


@pytest.mark.parametrize(
    ("documents", "owner"),
    [
        ([entity("Component", "c", owner="g")], "group:g"),
        (
            [
                entity(
                    "Component",
                    "c",
                    relations=[
                        relation("ownedBy", "user:default/z"),
                        relation("ownedBy", "group:default/a"),
                    ],
                )
            ],
            "user:z",
        ),
        (
            [entity("Component", "c", owner="g", relations=[relation("ownedBy", "group:x/a")])],
            "group:g",
        ),
        (
            [
                entity("Component", "c"),
                group("b", relations=[relation("ownerOf", "component:default/c")]),
                group("a", relations=[relation("ownerOf", "component:default/c")]),
            ],
            "group:a",
        ),
        (
            [
                entity("Component", "c", owner="g"),
                group("a", relations=[relation("ownerOf", "component:default/c")]),
            ],
            "group:g",
        ),
        ([entity("Component", "c")], None),
    ],
)
def test_the_first_owner(documents: list[object], owner: str | None) -> None:
    found = directory(*documents).owner_of(ref("component:c"))
    assert found == (None if owner is None else ref(owner))


def test_entities_are_found_in_any_case_and_listed_in_order() -> None:
    catalog = directory(user("b"), group("z"), user("A"), user("c"))
    assert [str(found.ref) for found in catalog.users()] == [
        "user:default/a",
        "user:default/b",
        "user:default/c",
    ]
    assert catalog.user_count == 3
    assert len(catalog) == 4
    assert catalog.get(ref("USER:Default/a")) is catalog.users()[0]
    assert catalog.get(ref("user:nobody")) is None
    assert ref("group:z") in catalog
    assert catalog.members_of(ref("group:nobody")) == ()


def test_the_first_definition_is_served_and_the_others_are_reported() -> None:
    def defining(source: str, key: str, email: str) -> ParsedSource:
        text = stream([user("jane", profile={"email": email}), user(email[0] + "-own")])
        return parse_source(config_map({key: text}, name=source))

    first, second = defining("a", "z.yaml", "a@a"), defining("b", "a.yaml", "b@b")
    for sources in ([first, second], [second, first]):
        catalog = Directory.build(sources)
        jane = catalog.get(ref("user:jane"))
        assert jane is not None
        assert jane.email == "a@a"
        assert catalog.user_count == 3
        (conflict,) = catalog.conflicts
        assert str(conflict.ignored) == "notifications/b"
        assert conflict.ignored_key == "a.yaml"
        assert str(conflict) == (
            "user:default/jane is defined in notifications/a (z.yaml) too; that one is served"
        )


def test_a_definition_repeated_in_one_source_is_a_conflict_too() -> None:
    source = config_map(
        {"b": stream([user("jane", title=1)]), "a": stream([user("jane"), user("JANE")])}
    )
    catalog = Directory.build([parse_source(source)])
    assert [conflict.ignored_key for conflict in catalog.conflicts] == ["a", "b"]
    assert {conflict.served_key for conflict in catalog.conflicts} == {"a"}


names = st.sampled_from(["a", "b", "c", "d"])
documents = st.one_of(
    st.builds(user, names, names),
    st.builds(group, names, names, parent=names),
    st.builds(lambda name, owner: entity("Component", name, owner=owner), names, names),
)


@given(
    contents=st.lists(st.lists(documents, max_size=4), max_size=5),
    data=st.data(),
)
def test_the_order_of_sources_does_not_matter(
    contents: list[list[object]], data: st.DataObject
) -> None:
    sources = [parse(stream(content), name=f"s{n}") for n, content in enumerate(contents)]
    built = Directory.build(sources)
    assert Directory.build(data.draw(st.permutations(sources))) == built
    everything = [document for content in contents for document in content]
    assert len(built) + len(built.conflicts) == len(everything)
    for name in "abcd":
        assert sorted(built.members_of(ref(f"group:{name}"))) == list(
            built.members_of(ref(f"group:{name}"))
        )


@given(
    content=st.lists(documents, max_size=6, unique_by=lambda d: (d["kind"], d["metadata"]["name"]))
)
def test_how_entities_are_spread_over_sources_does_not_matter(content: list[object]) -> None:
    together = Directory.build([parse(stream(content))])
    apart = Directory.build(
        parse(stream([document]), name=f"s{n}") for n, document in enumerate(content)
    )
    assert apart == together
