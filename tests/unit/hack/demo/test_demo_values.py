"""The values that lead the chart to what runs on this machine, and the gateway's address here."""

from __future__ import annotations

import dataclasses
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack.cluster import ports
from hack.demo import access, identity_provider, values
from hack.demo.access import Access
from hack.demo.mail_catcher import MailCatcher
from hack.demo.place import Place

CATCHER = MailCatcher(host="10.0.0.1", port=2525, authority=Path("ca.crt"))
ACCESS = Access(port=7007, token="demo-0123456789abcdef0123456789abcdef")
ISSUER = "http://10.0.0.1:4000"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    place = Place("demo")
    place.prepare()
    return place


def write(path: Path, *, image: Path | None = None, address: str | None = None) -> Any:
    """Return what is written."""
    values.write(path, CATCHER, ACCESS, ISSUER, image=image, gateway_address=address)
    return yaml.safe_load(path.read_text())


def test_values_lead_to_the_mail_catcher(tmp_path: Path) -> None:
    written = write(tmp_path / "values.yaml")

    transport = written["notifications"]["processors"]["email"]["transportConfig"]
    assert (transport["hostname"], transport["port"]) == ("10.0.0.1", 2525)
    assert transport["tls"] == {"caSecretRef": {"name": "mail-catcher-ca", "key": "ca.crt"}}


def test_values_say_who_may_post_and_who_may_log_in(tmp_path: Path) -> None:
    gateway = write(tmp_path / "values.yaml")["gateway"]

    assert gateway["enabled"] is True
    assert gateway["publicUrl"] == "http://127.0.0.1:7007"
    assert gateway["oidc"]["issuer"] == ISSUER
    [caller] = gateway["tokens"]["externalAccess"]
    assert caller["options"]["token"] == ACCESS.token
    assert caller["options"]["broadcast"] is True
    assert (tmp_path / "values.yaml").stat().st_mode & 0o077 == 0


def test_where_no_pods_run_there_are_none(tmp_path: Path) -> None:
    written = write(tmp_path / "values.yaml")

    assert (written["replicaCount"], written["gateway"]["replicaCount"]) == (0, 0)


@pytest.mark.parametrize("address", ["10.96.0.80", None])
def test_an_address_is_given_where_names_lead_nowhere(tmp_path: Path, address: str | None) -> None:
    gateway = write(tmp_path / "values.yaml", address=address)["gateway"]

    assert gateway.get("internalService") == (address and {"clusterIP": address})


def test_another_image_makes_other_pods(tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    annotations = []
    for content in ("one", "one", "two"):
        archive.write_text(content)
        written = write(tmp_path / "values.yaml", image=archive)
        annotations.append(written["podAnnotations"]["demo/image"])

    assert annotations[0] == annotations[1] != annotations[2]


def test_address_and_token_are_kept(place: Place) -> None:
    first = access.ensure(place)

    assert access.ensure(place) == first
    assert len(first.token) >= 32
    assert first.url == f"http://127.0.0.1:{first.port}"
    assert place.access.stat().st_mode & 0o077 == 0


def test_a_port_that_somebody_else_has_is_not_taken(place: Place) -> None:
    first = access.ensure(place)
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = dataclasses.replace(first, port=other.getsockname()[1])
        access.keep(place, taken)

        second = access.ensure(place)

    assert second.port != taken.port
    assert second.token == first.token


def test_without_the_usual_port_there_is_another(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "is_free", lambda port: port != 7007)

    assert ports.FIRST <= access.ensure(place).port <= ports.LAST


def test_everybody_of_the_catalog_has_an_account() -> None:
    accounts = identity_provider.accounts()

    assert len(accounts) == 5
    assert accounts[identity_provider.USER] == {"backstage_entity_ref": "user:default/ada.lovelace"}
