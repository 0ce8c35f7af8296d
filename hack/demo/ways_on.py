"""What the user can do once the demo runs."""

from hack.cluster import Cluster, tools
from hack.demo.access import Access
from hack.demo.commands import with_home
from hack.demo.identity_provider import USER
from hack.demo.place import NAMESPACE, RELEASE, TEAM_NAMESPACE, Place
from hack.demo.screen import Screen


def show(name: str, cluster: Cluster, access: Access, screen: Screen, *, with_pods: bool) -> None:
    """Show them."""
    programs = tools().kubectl.parent
    screen.title("Go on")
    screen.output(
        f"""\
Inbox:   {access.url}
Log in:  {USER} (or another user of examples/catalog.yaml), with any password
Leave the page open and post again, by the curl above: it is there at once.

export KUBECONFIG={with_home(cluster.kubeconfig)}
export PATH={with_home(programs)}:$PATH

kubectl get ntf -A --watch
kubectl edit ntf -n {TEAM_NAMESPACE} incident-4711    # a new title is sent as an update
kubectl explain notification.spec
{_ways_to_look_closer(name, with_pods=with_pods)}
{_make("demo-mails", name)}    # in another terminal: mails as they arrive
{_make("demo", name)}          # everything again
{_make("demo-down", name)}     # stop it and remove all of it
"""
    )


def _ways_to_look_closer(name: str, *, with_pods: bool) -> str:
    if not with_pods:
        log = Place(name).directory / "log"
        return f"less {with_home(log / 'operator.log')} {with_home(log / 'gateway.log')}\n"
    return (
        f"kubectl logs -n {NAMESPACE} deployment/{RELEASE}\n"
        f"helm test {RELEASE} -n {NAMESPACE}    # sends one notification\n"
    )


def _make(target: str, name: str) -> str:
    return f"make {target}" if name == "demo" else f"make {target} NAME={name}"
