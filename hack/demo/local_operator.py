"""The operator as a process of this machine, where no pods can run."""

from typing import Final

from hack.demo import services, stand_ins
from hack.demo.commands import Commands
from hack.demo.place import RELEASE, Place

_NAME: Final = "operator"
_AUDIENCE: Final = "notifications-gateway"
"""Of the tokens that the gateway takes from the operator; the chart's."""


def restart(place: Place, commands: Commands, gateway: str) -> None:
    """Start the operator, in place of one that runs.

    Parameters
    ----------
    gateway
        URL of the gateway's internal port.

    Raises
    ------
    hack.demo.errors.DemoError
        If the cluster does not give what is needed.
    """
    token = stand_ins.make_token(commands, RELEASE, audience=_AUDIENCE)
    settings = {
        # Other demos and tests are on this machine too.
        "NOTIFICATIONS_SERVER__HOST": "127.0.0.1",
        "NOTIFICATIONS_SERVER__PORT": "0",
        "NOTIFICATIONS_GATEWAY__URL": gateway,
        "NOTIFICATIONS_GATEWAY__TOKEN_FILE": str(place.keep_secret("operator.token", token)),
    }
    stand_ins.restart(place, commands, _NAME, RELEASE, settings)


def stop(place: Place) -> None:
    """Stop the operator, if it runs."""
    services.stop(place.directory, _NAME)
