import base64
import gzip
import json
import tracemalloc
from typing import Any

import pytest

from notifications_operator.catalog import ParsedSource, parse_source
from notifications_operator.catalog.decoding import UndecodableKey, decode_binary
from notifications_operator.catalog.parsing import MAX_PROBLEMS, Damage, DocumentProblem, SourceKey
from tests.unit.catalog.builders import (
    config_map,
    entity,
    group,
    gzipped,
    messages,
    names,
    parse,
    ref,
    stream,
    user,
)


def only(parsed: ParsedSource) -> Any:
    ((found,),) = parsed.entities.values()
    return found


def test_a_user_as_people_write_it() -> None:
    parsed = parse(
        """
        apiVersion: backstage.io/v1alpha1
        kind: User
        metadata:
          name: Jane.Doe
          annotations:
            slack.com/bot-notify: U123
            example.com/other: x
        spec:
          profile: {displayName: Jane Doe, email: " Jane@Example.com ", picture: x}
          memberOf: [team-a, Other/Team-B, group:default/team-a]
        """.replace("\n        ", "\n")
    )
    jane = only(parsed)
    assert messages(parsed) == []
    assert jane.ref == ref("user:default/jane.doe")
    assert (jane.kind, jane.display_name, jane.email) == ("user", "Jane Doe", " Jane@Example.com ")
    assert dict(jane.annotations) == {"slack.com/bot-notify": "U123"}
    assert jane.member_of == (ref("group:team-a"), ref("group:other/team-b"))


def test_refs_default_to_the_namespace_of_their_entity_and_the_kind_of_their_field() -> None:
    document = group("a", "jane", "other/joe", "user:default/ann", children=["b"], parent="top")
    document["metadata"]["namespace"] = "Team"
    found = only(parse(stream([document])))
    assert [str(member) for member in found.members] == [
        "user:team/jane",
        "user:other/joe",
        "user:default/ann",
    ]
    assert [str(child) for child in found.children] == ["group:team/b"]
    assert [str(parent) for parent in found.parents] == ["group:team/top"]
    assert str(only(parse(stream([entity("Component", "c", owner="t")]))).owners[0]) == (
        "group:default/t"
    )
    by_user = only(parse(stream([entity("API", "c", owner="user:jane")])))
    assert by_user.owners == (ref("user:jane"),)


def test_relations_of_an_export_are_added_to_the_spec() -> None:
    relations = [
        {"type": "hasMember", "targetRef": "user:default/jane"},
        {"type": "hasMember", "targetRef": "user:default/joe"},
        {"type": "parentOf", "targetRef": "group:default/b"},
        {"type": "childOf", "targetRef": "group:default/top"},
        {"type": "ownerOf", "targetRef": "component:default/c"},
        {"type": "dependsOn", "targetRef": 5},
    ]
    found = only(parse(stream([group("a", "jane", relations=relations)])))
    assert found.members == (ref("user:jane"), ref("user:joe"))
    assert found.children == (ref("group:b"),)
    assert found.parents == (ref("group:top"),)
    assert found.owner_of == (ref("component:c"),)
    owned = entity(
        "Component",
        "c",
        owner="z",
        relations=[
            {"type": "ownedBy", "targetRef": "group:default/a"},
            {"type": "ownedBy", "targetRef": "group:default/z"},
        ],
    )
    assert only(parse(stream([owned]))).owners == (ref("group:z"), ref("group:a"))


def test_specs_of_other_kinds_may_use_the_same_words_for_other_things() -> None:
    document = entity(
        "Resource", "db", owner="a", members=5, children="x", parent=[], profile="p", memberOf={}
    )
    assert messages(parse(stream([document]))) == []


@pytest.mark.parametrize(
    ("kind", "api_version", "accepted"),
    [
        ("User", "backstage.io/v1alpha1", True),
        ("User", "backstage.io/v1beta1", True),
        ("User", "backstage.io/v1beta2", False),
        ("Group", "scaffolder.backstage.io/v1beta3", False),
        ("Location", "backstage.io/v1alpha1", True),
        ("API", "backstage.io/v1alpha2", True),
        ("Template", "scaffolder.backstage.io/v1beta3", True),
        ("Function", "kartverket.dev/v1alpha1", True),
        ("System", "our.very.own/v1", True),
        ("Deployment", "apps/v1", True),
        ("ConfigMap", "v1", True),
        ("Component", "evilbackstage.io/v1", True),
        ("User", "example.com/v1", False),
        ("Group", "user.openshift.io/v1", False),
        ("User", "backstage.io/v1", False),
        ("Component", "backstage.io/v1\n", False),
        ("Component", "backstage.io/", False),
        ("Component", "/v1", False),
        ("Component", "a/b/v1", False),
        ("Component", "example..com/v1", False),
    ],
)
def test_api_versions(kind: str, api_version: str, accepted: bool) -> None:
    document = entity(kind, "x") | {"apiVersion": api_version}
    parsed = parse(stream([document]))
    assert bool(names(parsed)) == accepted
    if not accepted:
        (message,) = messages(parsed)
        assert f"{kind.lower()}:default/x: apiVersion is {api_version!a}; it must be " in message


def of_group(group: str, kind: str, name: str, **fields: object) -> dict[str, Any]:
    """A document of somebody's own API group, with any fields."""
    return {"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": name}, **fields}


@pytest.mark.parametrize(
    ("fields", "owners"),
    [
        ({"spec": {"owner": "group:default/maps-team"}}, ["group:default/maps-team"]),
        ({"spec": {"owner": "maps-team"}}, ["group:default/maps-team"]),
        (
            {"relations": [{"type": "ownedBy", "targetRef": "user:default/ann"}]},
            ["user:default/ann"],
        ),
        (
            {
                "spec": {"owner": {"team": "maps"}},
                "relations": [{"type": "ownedBy", "targetRef": "group:default/maps-team"}],
            },
            ["group:default/maps-team"],
        ),
        ({"spec": {"owner": ["ann", "bob"]}}, []),
        ({"spec": {"owner": 5, "memberOf": 5, "profile": "x"}}, []),
        ({"spec": ["free", "form"]}, []),
        ({"spec": "text", "relations": [{"type": "hasMember", "targetRef": "api:a"}]}, []),
        ({}, []),
    ],
)
def test_a_kind_of_ones_own_is_no_fault(fields: dict[str, Any], owners: list[str]) -> None:
    parsed = parse(stream([of_group("kartverket.dev", "Function", "maps", **fields)]))
    assert messages(parsed) == []
    assert [str(owner) for owner in only(parsed).owners] == owners


def test_an_owner_of_a_kind_of_ones_own_that_is_no_ref_is_named() -> None:
    parsed = parse(stream([of_group("acme.io", "Function", "maps", spec={"owner": "Maps <m@x>"})]))
    assert only(parsed).owners == ()
    assert parsed.damage == {}
    (message,) = messages(parsed)
    assert "function:default/maps: spec.owner: 'Maps <m@x>' is not an entity ref" in message
    assert message.endswith("left out")


def test_broken_documents_are_known_by_name_where_they_say_it() -> None:
    named = [
        user("ann", profile={"email": 5}),
        of_group("acme.io", "User", "bob"),
        entity("API", "a") | {"relations": 5},
    ]
    parsed = parse(stream([user("zoe"), *named]))
    damage = parsed.damage["catalog.yaml"]
    assert damage == Damage(
        refs=frozenset({ref("user:ann"), ref("user:bob"), ref("api:a")}), nameless=False
    )
    assert damage.may_hold(ref("user:bob"))
    assert not damage.may_hold(ref("user:dan"))
    for nameless in ("kind: [", "5", json.dumps({"kind": "User"}), json.dumps(user("a b"))):
        parsed = parse(f"{stream(named)}\n---\n{nameless}")
        assert parsed.damage["catalog.yaml"].may_hold(ref("user:dan"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_byte_order_mark_is_no_content(encoding: str, line_end: str) -> None:
    mark = "" if encoding in ("utf-16", "utf-32") else "\ufeff"
    documents = [user("ann", profile={"displayName": "\u00c5nn"}), user("bob")]
    for text in (json.dumps(documents), f"# ours\n---\n{stream(documents)}\n...\n---\n"):
        content = (mark + text.replace("\n", line_end)).encode(encoding)
        for packed in (content, gzip.compress(content, mtime=0)):
            parsed = parse_source(config_map(binary={"k": packed}))
            assert messages(parsed) == []
            assert names(parsed) == ["user:default/ann", "user:default/bob"]


@pytest.mark.parametrize("marker", ["---\n\ufeff", "\ufeff---\n", "---\n\ufeff# ours\n"])
def test_files_with_marks_may_be_put_together(marker: str) -> None:
    parsed = parse(f"\ufeff{stream([user('ann')])}\n{marker}{json.dumps([user('bob')])}")
    assert messages(parsed) == []
    assert names(parsed) == ["user:default/ann", "user:default/bob"]


@pytest.mark.parametrize(
    "text",
    [
        stream([user("a"), user("b")]),
        json.dumps([user("a"), user("b")]),
        json.dumps({"apiVersion": "v1", "kind": "List", "items": [user("a"), user("b")]}),
        json.dumps({"items": [user("a"), user("b")], "totalItems": 2}),
    ],
)
def test_many_entities_in_one_text(text: str) -> None:
    assert names(parse(text)) == ["user:default/a", "user:default/b"]


BROKEN = [
    ("kind: [", "did not find expected node content"),
    ("- - -\n  - x: 'y", "found unexpected end of stream"),
    ("just words", "the document is the string 'just words'; it must be a mapping"),
    ("42", "the document is the number 42"),
    ("yes: no", "apiVersion is missing"),
    ('{"a": 1, "a": 2}', "the document cannot be used: the key 'a' occurs twice"),
    (stream([user("x") | {"kind": None}]), "kind is missing"),
    (stream([user("x") | {"kind": 5}]), "kind is the number 5 (in quotes it would be a string)"),
    (stream([user("x") | {"kind": "No Kind"}]), "the kind 'No Kind' must be a letter"),
    (stream([user("x") | {"metadata": []}]), "metadata is a list; it must be a mapping"),
    (stream([user("x") | {"metadata": {}}]), "metadata.name is missing"),
    (stream([user("x") | {"spec": "s"}]), "user:default/x: spec is the string 's'"),
    (stream([user("")]), "metadata.name is missing"),
    (stream([user("Jane Doe")]), "the name 'Jane Doe' must be letters"),
    (stream([user("x" * 64)]), "must be letters, digits"),
    (stream([user("\u202e</script>\r\nx")]), r"the name '\u202e</script>\r\nx' must be"),
    (stream([user("x")]).replace('"x"', "7"), "metadata.name is the number 7"),
    (stream([user("x")]).replace('"x"', "true"), "metadata.name is the boolean true"),
    (stream([user("x", profile=[])]), "spec.profile is a list; it must be a mapping"),
    (stream([user("x", profile={"email": ["a@b"]})]), "spec.profile.email is a list; it must be a"),
    (stream([user("x", profile={"email": 5})]), "spec.profile.email is the number 5"),
    (stream([user("x", profile={"email": "\ud800"})]), "surrogate"),
    (stream([entity("User", "x", memberOf="a, b")]), "spec.memberOf is the string 'a, b'"),
    (stream([entity("Group", "x", members={"a": 1})]), "spec.members is a mapping; it must be a l"),
    (stream([entity("Group", "x", parent=["a"])]), "spec.parent is a list; it must be an entity r"),
    (stream([entity("Component", "x", owner="A B")]), "spec.owner: 'A B' is not an entity ref"),
    (stream([group("x", relations={})]), "relations is a mapping; it must be a list of relations"),
    ("apiVersion: backstage.io/v1alpha1\nkind: User\nkind: Group", "the key 'kind' occurs twice"),
    ("apiVersion: backstage.io/v1alpha1\nkind: User\nmetadata: {<<: {name: a}}", "merge keys"),
]


@pytest.mark.parametrize(("broken", "message"), BROKEN)
def test_a_broken_document_is_named_and_the_others_are_served(broken: str, message: str) -> None:
    lines = broken.count("\n") + 1
    text = f"{stream([user('before')])}\n---\n{broken}\n---\n{stream([user('after')])}\n"
    parsed = parse(text)
    assert names(parsed) == ["user:default/before", "user:default/after"]
    (problem,) = parsed.problems
    assert message in problem.message
    assert (problem.key, problem.document_index) == ("catalog.yaml", 1)
    assert problem.line is not None
    assert 2 <= problem.line <= 3 + lines
    assert str(problem).startswith(f"catalog.yaml, document 2, line {problem.line}: ")
    assert str(problem).isprintable()
    assert parsed.damage.keys() == {"catalog.yaml"}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (group("g", "ann", "Bad Name"), "spec.members[1]: 'Bad Name' is not an entity ref"),
        (entity("Group", "g", members=["ann", 5]), "spec.members[1] is the number 5"),
        (entity("Group", "g", members=["ann", None]), "spec.members[1] is empty"),
        (entity("Group", "g", members=["ann", ["x"]]), "spec.members[1] is a list"),
        (group("g", "ann", "group:other"), "the member group:default/other is no user; groups bel"),
        (group("g", "ann", relations=["x"]), "relations[0] is the string 'x'; it must be a mapp"),
        (group("g", "ann", relations=[{"type": "hasMember"}]), "relations[0].targetRef is empty"),
        (group("g", "ann", profile={"displayName": 5}), "spec.profile.displayName is the number 5"),
    ],
)
def test_a_bad_item_costs_only_itself(document: dict[str, Any], message: str) -> None:
    parsed = parse(stream([document]))
    assert only(parsed).members == (ref("user:ann"),)
    (problem,) = parsed.problems
    assert problem.message.startswith("group:default/g: ")
    assert message in problem.message
    assert problem.message.endswith("left out")
    assert parsed.damage == {}


def test_items_of_lists_are_isolated_like_documents() -> None:
    for text in (
        json.dumps([user("a"), 5, user("b")]),
        json.dumps({"kind": "List", "items": [user("a"), 5, user("b")]}),
        "- " + "\n- ".join([json.dumps(user("a")), "5", json.dumps(user("b"))]),
    ):
        parsed = parse(text)
        assert names(parsed) == ["user:default/a", "user:default/b"]
        (problem,) = parsed.problems
        assert problem.message.startswith("item 2: the document is the number 5")


def test_optional_fields_may_be_empty() -> None:
    text = stream([user("a", profile=None), group("b", parent=None, children=None)])
    parsed = parse(text + "\n---\n" + json.dumps(user("c") | {"spec": None, "relations": None}))
    assert names(parsed) == ["user:default/a", "group:default/b", "user:default/c"]
    assert messages(parsed) == []


def test_hostile_strings_are_kept_as_data_and_not_as_messages() -> None:
    hostile = "x\r\nBcc: all@example.com\u202e</script>" + "y" * 1_000_000
    parsed = parse(stream([user("a", profile={"email": hostile, "displayName": hostile})]))
    assert (only(parsed).email, only(parsed).display_name) == (hostile, hostile)
    refused = parse(stream([user(hostile), user("a", hostile), user("b") | {"kind": hostile}]))
    assert names(refused) == ["user:default/a"]
    assert len(refused.problems) == 3
    assert all(str(problem).isprintable() for problem in refused.problems)
    assert all(len(str(problem)) < 1000 for problem in refused.problems)


def test_all_keys_of_a_config_map_are_read() -> None:
    source = config_map(
        {"b.yaml": stream([user("b")]), "a.yaml": stream([user("a")]), "empty": ""},
        binary={
            "plain": stream([user("c")]).encode(),
            "zipped": gzipped(stream([user("d\u00e9"), user("e", profile={"email": "\u00e9"})])),
            "twice": gzipped(stream([user("f")]) + "\n---\n") + gzipped(stream([user("g")])),
        },
    )
    parsed = parse_source(source)
    assert parsed.key == SourceKey(namespace="notifications", name="catalog")
    assert (parsed.uid, parsed.resource_version) == ("uid-of-catalog", "1")
    assert sorted(names(parsed)) == [f"user:default/{name}" for name in "abcefg"]
    assert parsed.damage.keys() == {"zipped"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzipped("kind: User")[:-4], "its gzip data is broken"),
        (gzipped("kind: User")[:-9] + b"123456789", "its gzip data is broken"),
        (b"\x1f\x8b", "its gzip data is broken"),
        (b"\x1f\x8b\x08" + b"\xff" * 100, "its gzip data is broken"),
        (
            gzip.compress(b"\xff\xfd", mtime=0),
            "neither gzip nor UTF-8 text: invalid start byte at byte 0",
        ),
        (b"\xff\xfea", "neither gzip nor UTF-16 text: truncated data at byte 2"),
        (b"ab\xff", "neither gzip nor UTF-8 text: invalid start byte at byte 2"),
    ],
)
def test_binary_data_that_is_no_text_is_named(content: bytes, message: str) -> None:
    parsed = parse_source(
        config_map({"good": stream([user("a")])}, binary={"bad": content, "fine": b"# nothing"})
    )
    assert names(parsed) == ["user:default/a"]
    (problem,) = parsed.problems
    assert problem.key == "bad"
    assert message in problem.message
    assert str(problem).startswith("bad: it")
    assert parsed.damage.keys() == {"bad"}


def test_what_is_not_base64_is_named() -> None:
    source = config_map()
    object.__setattr__(source, "binary_data", {"bad": "a\u00e9", "worse": "abc"})
    parsed = parse_source(source)
    assert parsed.damage.keys() == {"bad", "worse"}
    assert all("not base64" in message for message in messages(parsed))


def test_a_gzip_bomb_is_refused() -> None:
    bomb = gzip.compress(b"\n" * (64 * 2**20 + 1), compresslevel=1)
    parsed = parse_source(config_map(binary={"bomb": bomb, "good": gzipped(stream([user("a")]))}))
    assert names(parsed) == ["user:default/a"]
    (problem,) = parsed.problems
    assert problem.key == "bomb"
    assert "must not be larger than 67108864 bytes" in problem.message


def test_a_gzip_bomb_is_never_unpacked_as_a_whole() -> None:
    bomb = base64.b64encode(gzip.compress(b"\n" * (32 * 2**20), compresslevel=1)).decode()
    tracemalloc.start()
    try:
        with pytest.raises(UndecodableKey):
            decode_binary(bomb, limit=1000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * 2**20


def test_the_bound_on_gzip_is_for_all_keys_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("notifications_operator.catalog.parsing.MAX_DECOMPRESSED_BYTES", 250)
    contents = {name: gzipped(f"{stream([user(name)]):<120}") for name in "abc"}
    parsed = parse_source(config_map(binary=contents))
    assert names(parsed) == ["user:default/a", "user:default/b"]
    assert parsed.damage.keys() == {"c"}


def test_a_config_map_of_nothing_but_errors_is_bounded() -> None:
    parsed = parse("\n---\n".join(["x"] * 5000))
    assert parsed.problem_count == 5000
    assert len(parsed.problems) == MAX_PROBLEMS
    assert parsed.problems[99].document_index == 99


def test_ten_thousand_entities_in_a_megabyte() -> None:
    text = "---\n".join(
        "apiVersion: backstage.io/v1alpha1\n"
        "kind: User\n"
        f"metadata: {{name: u{number}}}\n"
        f"spec: {{memberOf: [team], profile: {{email: u{number}@example.com}}}}\n"
        for number in range(10_000)
    )
    assert 1_000_000 < len(text) < 2_000_000
    parsed = parse(text)
    assert names(parsed) == [f"user:default/u{number}" for number in range(10_000)]
    assert parsed.problem_count == 0
    users = parsed.entities["catalog.yaml"]
    assert len({id(user.member_of[0]) for user in users}) == 1, "equal refs share memory"


def test_problems_without_a_place_are_readable() -> None:
    assert str(DocumentProblem(key="a.yaml", message="gone")) == "a.yaml: gone"
