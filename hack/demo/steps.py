"""The demo itself, step by step."""

import asyncio
import os
import sys
import time

from hack.cluster import Cluster, ClusterError, Source, clusters, versions
from hack.cluster.sources import existing, kind
from hack.demo import (
    access,
    gateway,
    identity_provider,
    installation,
    local_operator,
    mail_catcher,
    mails,
    posting,
    ways_on,
)
from hack.demo.access import Access
from hack.demo.commands import Commands
from hack.demo.errors import DemoError
from hack.demo.identity_provider import USER
from hack.demo.installation import IMAGE, Surroundings
from hack.demo.place import EXAMPLES, INBOX_NAMESPACE, TEAM_NAMESPACE, Place
from hack.demo.screen import Screen
from hack.image.layout import TAG

_DESCRIBED = "certificate-expires"
"""The Notification that is described: one of its two recipients has no address."""


def play(name: str, *, pods: bool | None, screen: Screen) -> None:
    """Bring a demo up, or find it running, and send the example Notifications.

    Parameters
    ----------
    pods
        Whether operator and gateway must run as pods; None if they shall where that is possible.

    Raises
    ------
    DemoError, ClusterError
        With what went wrong and what to do about it. What runs goes on running.
    """
    started = time.monotonic()
    place = Place(name)
    place.prepare()
    screen.title("A cluster, a mail server and an OpenID provider")
    cluster, with_pods = _cluster(name, pods, screen)
    commands = installation.commands_for(cluster, screen)
    installation.check_existing(cluster, place, commands)
    if with_pods:
        _image(cluster, commands)
    surroundings = _surroundings(place, cluster, screen)
    screen.title("The operator and its gateway, installed by Helm")
    installation.prepare_namespaces(surroundings.catcher, commands)
    installation.install(place, surroundings, cluster, commands, with_pods=with_pods)
    screen.title("Notifications")
    before = len(mails.read(place.mails))
    _send(commands)
    screen.title("What became of them")
    _show_status(commands)
    screen.title("What arrived")
    _show_mails(place, screen, before)
    screen.title("Posted as to Backstage")
    before = len(mails.read(place.mails))
    posted = _post(surroundings.access, commands)
    screen.title("In the mailboxes and in the inbox")
    _show_mails(place, screen, before)
    _show_inbox(posted, surroundings.access, screen)
    screen.note(f"\nThe whole took {time.monotonic() - started:.0f} s.")
    ways_on.show(name, cluster, surroundings.access, screen, with_pods=with_pods)


def stop(name: str, screen: Screen) -> None:
    """Stop a demo and remove all of it."""
    place = Place(name)
    with screen.step(f"demo {name}") as step:
        found = place.directory.exists()
        local_operator.stop(place)
        gateway.stop(place)
        identity_provider.stop(place)
        mail_catcher.stop(place)
        installation.uninstall_from_existing(place, screen)
        found |= clusters.down(name)
        place.remove()
        step.text = f"demo {name}: " + ("stopped and removed" if found else "there is none")


def watch_mails(name: str, screen: Screen, *, follow: bool) -> None:
    """Show the mails that a demo has received, and those to come."""
    place = Place(name)
    if not place.directory.exists():
        raise DemoError(f"no demo {name!r}; start it with: make demo")
    seen = 0
    while True:
        new = mails.read(place.mails, after=seen)
        seen += len(new)
        for mail in new:
            screen.output(mails.letter(mail, [mail.recipient]))
            screen.note("")
        if not follow:
            return
        time.sleep(0.3)


def pods_can_run() -> str | None:
    """Return why no pods of ours can run here, or None if they should be able to."""
    if existing.requested() is not None:
        return "the cluster of KUBECONFIG is not ours to load an image into"
    if kind.docker_answers():
        return None
    if sys.platform != "linux" or os.geteuid() != 0:
        return "without Docker a node needs root on Linux"
    return None


def _cluster(name: str, pods: bool | None, screen: Screen) -> tuple[Cluster, bool]:
    """Return the cluster and whether pods shall run in it."""
    obstacle = pods_can_run() if pods is not False else "--no-node was given"
    if pods and obstacle is not None:
        raise DemoError(f"--node: {obstacle}")
    if obstacle is None:
        try:
            return _up(name, screen, node=True), True
        except (ClusterError, DemoError) as error:
            if pods:
                raise
            obstacle = str(error)
    screen.note(f"  Operator and gateway will run as processes of this machine: {obstacle}")
    return _up(name, screen, node=False), False


def _up(name: str, screen: Screen, *, node: bool) -> Cluster:
    with screen.step(f"cluster {name}") as step:
        options = ("--node",) if node else ()
        Commands(screen=screen).run("python", "-m", "hack.cluster", "up", "--name", name, *options)
        cluster = clusters.find(name)
        what = "with a node that runs pods" if node else "without a node"
        if cluster.source is Source.EXISTING:
            step.text = f"the cluster of KUBECONFIG={cluster.kubeconfig}"
        else:
            step.text = f"cluster {name}: Kubernetes {versions.KUBERNETES}, {what}"
    return cluster


def _image(cluster: Cluster, commands: Commands) -> None:
    with commands.screen.step(f"image {TAG}, in the node"):
        commands.run("python", "-m", "hack.image", "build")
        commands.run("python", "-m", "hack.cluster", "load-image", cluster.name, IMAGE)


def _surroundings(place: Place, cluster: Cluster, screen: Screen) -> Surroundings:
    """Have on this machine what the cluster's pods are to reach."""
    with screen.step("mail catcher") as step:
        catcher = mail_catcher.ensure(place, cluster.host_address)
        step.text = f"mail server at {catcher.host}:{catcher.port}: STARTTLS, login asked for"
    with screen.step("OpenID provider") as step:
        gateway.stop(place)
        chosen = access.ensure(place)
        issuer = identity_provider.ensure(place, cluster.host_address, chosen.url)
        step.text = f"OpenID provider at {issuer}"
    return Surroundings(catcher=catcher, access=chosen, issuer=issuer)


def _send(commands: Commands) -> None:
    examples = EXAMPLES / "notifications"
    with commands.screen.step("applied"):
        commands.run(
            *("kubectl", "delete", "-n", TEAM_NAMESPACE, "-f", examples, "--ignore-not-found"),
        )
        commands.run("kubectl", "apply", "-n", TEAM_NAMESPACE, "-f", examples)
    with commands.screen.step("every delivery ended"):
        commands.run(
            *("kubectl", "wait", "-n", TEAM_NAMESPACE, "--for=condition=Complete"),
            *("notifications", "--all", "--timeout=60s"),
        )


def _show_status(commands: Commands) -> None:
    commands.screen.output(commands.run("kubectl", "get", "ntf", "-A"))
    commands.screen.note("")
    described = commands.run("kubectl", "describe", "ntf", "-n", TEAM_NAMESPACE, _DESCRIBED)
    commands.screen.output(described)


def _show_mails(place: Place, screen: Screen, before: int) -> None:
    received = mails.read(place.mails, after=before)
    if not received:
        raise DemoError(f"no mail arrived; what the mail server saw: {place.directory / 'log'}")
    for text in mails.letters(received):
        screen.output(text)
        screen.note("")
    secured = all(mail.encrypted and mail.user for mail in received)
    how = "all over TLS, by a client that had logged in" if secured else "NOT all over TLS"
    screen.note(f"{len(received)} mails, one to each recipient, {how}.")


def _post(chosen: Access, commands: Commands) -> posting.Stored:
    """Post by curl, wait until it is delivered, and return it as it was answered."""
    before = _names_in_inbox(commands)
    with commands.screen.step("posted: it is a Notification"):
        posted = posting.post(commands, chosen)
        new = sorted(_names_in_inbox(commands) - before)
    with commands.screen.step("every delivery ended"):
        commands.run(
            *("kubectl", "wait", "-n", INBOX_NAMESPACE, "--for=condition=Complete", *new),
            "--timeout=60s",
        )
    shown = commands.run("kubectl", "get", "-n", INBOX_NAMESPACE, *new)
    commands.screen.output(shown)
    return posted


def _names_in_inbox(commands: Commands) -> set[str]:
    listed = ("kubectl", "get", "notifications", "-n", INBOX_NAMESPACE, "-o", "name")
    lines = commands.run(*listed, shown=False).split()
    return {f"notification/{line.rpartition('/')[2]}" for line in lines}


def _show_inbox(posted: posting.Stored, chosen: Access, screen: Screen) -> None:
    with screen.step(f"logged in to {chosen.url} as {USER}, through the OpenID provider's forms"):
        inbox = asyncio.run(posting.read_inbox(chosen, USER))
    found = next((item for item in inbox if item["id"] == posted["id"]), None)
    if found is None:
        raise DemoError(f"{posted['id']} is not in the inbox of {USER}, but {inbox}")
    screen.output(posting.entry(found))
