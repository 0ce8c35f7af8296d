"""The demo's OpenID provider: a real one, in which everybody of the catalog has an account."""

import json
from collections.abc import Mapping
from typing import Any, Final

import yaml

from hack import openid
from hack.demo import services
from hack.demo.errors import DemoError
from hack.demo.place import EXAMPLES, Place
from hack.node_packages import NodePackagesError

CLIENT: Final = "notifications"
"""The gateway's client id; it is a public client, which PKCE protects."""

USER: Final = "ada.lovelace"
"""Who is named as the one to log in as."""

_NAME: Final = "identity-provider"


def ensure(place: Place, host: str, gateway: str) -> str:
    """Start the provider, or find it running; return its issuer.

    Parameters
    ----------
    host
        The address at which the cluster's pods reach this machine.
    gateway
        The URL that browsers are sent back to.

    Raises
    ------
    DemoError
        If Node.js or its packages cannot be had.
    hack.cluster.errors.ClusterError
        If it does not start.
    """
    issuer = place.directory / "issuer"
    file = place.directory / "identity-provider.json"
    wanted = json.dumps(
        openid.configuration(
            clients=[_client(gateway)], accounts=accounts(), host=host, ready_file=issuer
        )
    )
    if services.runs(place.directory, _NAME) and issuer.exists() and file.read_text() == wanted:
        return issuer.read_text().strip()
    services.stop(place.directory, _NAME)
    issuer.unlink(missing_ok=True)
    file.write_text(wanted)
    try:
        argv = [*openid.command(), str(file)]
    except NodePackagesError as error:
        raise DemoError(f"the OpenID provider: {error}") from error
    services.start(place.directory, _NAME, argv, {})
    return services.wait_for_file(place.directory, _NAME, issuer)


def stop(place: Place) -> None:
    """Stop the provider, if it runs."""
    services.stop(place.directory, _NAME)


def accounts() -> Mapping[str, Mapping[str, Any]]:
    """Return the claims of each user of `examples/catalog.yaml`, by name."""
    catalog = yaml.safe_load((EXAMPLES / "catalog.yaml").read_text(encoding="utf-8"))
    names = [user["metadata"]["name"] for user in yaml.safe_load_all(catalog["data"]["users.yaml"])]
    return {name: {"backstage_entity_ref": f"user:default/{name}"} for name in names}


def _client(gateway: str) -> dict[str, Any]:
    return {
        "client_id": CLIENT,
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code"],
        "response_types": ["code"],
        "redirect_uris": [f"{gateway}/auth/callback"],
    }
