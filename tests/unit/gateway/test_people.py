"""Who has an e-mail address."""

from __future__ import annotations

from typing import Any

import pytest

from notifications_operator.api.errors import KubernetesError
from notifications_operator.gateway.people import People

USER = """
apiVersion: backstage.io/v1alpha1
kind: User
metadata: {{name: {name}}}
spec: {{profile: {{email: {email}}}, memberOf: []}}
"""


class Catalog:
    """One ConfigMap with users; may be away."""

    def __init__(self) -> None:
        self.users: dict[str, str] = {}
        self.version = 0
        self.away = False

    def set(self, **users: str) -> None:
        self.users, self.version = users, self.version + 1

    async def list_catalog(self, namespace: str) -> tuple[list[dict[str, Any]], str]:
        if self.away:
            raise KubernetesError("no answer")
        metadata = {
            "namespace": namespace,
            "name": "users",
            "uid": "1",
            "resourceVersion": str(self.version),
        }
        documents = [USER.format(name=name, email=email) for name, email in self.users.items()]
        return [{"metadata": metadata, "data": {"users.yaml": "---".join(documents)}}], "1"


async def test_one_user_has_an_address_in_any_case() -> None:
    catalog = Catalog()
    people = People(catalog, ["n"])
    assert (people.find("ada@example.com"), people.problem) == (None, "not read yet")
    catalog.set(ada="Ada@Example.com", grace="grace@example.com")
    await people.look()
    assert people.find("ada@EXAMPLE.com") == "user:default/ada"
    assert people.find("nobody@example.com") is None
    assert people.problem is None


@pytest.mark.parametrize(
    "address",
    ["ada@faß.example", "ada@fa\u017f\u017f.example", "\u212alaus@example.com"],
)
async def test_an_address_of_other_letters_is_another(address: str) -> None:
    """Case folding makes ß two s, and the Kelvin sign a k; mail knows them apart."""
    catalog = Catalog()
    people = People(catalog, ["n"])
    catalog.set(ada="ada@fass.example", klaus="klaus@example.com")
    await people.look()
    assert people.find(address) is None
    assert people.find("Ada@FASS.example") == "user:default/ada"


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("ada@münchen.example", True),
        ("Ada@XN--MNCHEN-3ya.Example", True),
        ("ada@münchen。example", False),
        ("ada@mu\u0308nchen.example", False),
        ("ada@" + "ü" * 60 + ".example", False),
    ],
)
async def test_a_domain_outside_ascii_equals_its_form_in_ascii(address: str, found: bool) -> None:
    """Addresses decide who somebody is, so that no other mapping of letters is applied."""
    for known in ("ADA@münchen.example", "ada@xn--mnchen-3ya.example"):
        catalog = Catalog()
        people = People(catalog, ["n"])
        catalog.set(ada=known)
        await people.look()
        assert people.find(address) == ("user:default/ada" if found else None)


async def test_an_address_of_two_is_nobodys() -> None:
    catalog = Catalog()
    people = People(catalog, ["n"])
    catalog.set(ada="team@example.com", grace="TEAM@example.com", edsger="team@example.com")
    await people.look()
    assert people.find("team@example.com") is None
    catalog.set(ada="team@example.com")
    await people.look()
    assert people.find("team@example.com") == "user:default/ada"


async def test_what_was_known_stays_while_the_catalog_is_away() -> None:
    catalog = Catalog()
    people = People(catalog, ["n"])
    catalog.set(ada="ada@example.com")
    await people.look()
    catalog.away = True
    await people.look()
    assert people.find("ada@example.com") == "user:default/ada"
    assert people.problem == "the catalog cannot be read: no answer"
    catalog.away = False
    await people.look()
    assert people.problem is None
