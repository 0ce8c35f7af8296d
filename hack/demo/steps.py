"""The demo itself, step by step."""

import os
import sys
import time

from hack.cluster import Cluster, ClusterError, Source, clusters, tools, versions
from hack.cluster.sources import existing, kind
from hack.demo import local_operator, mail_catcher, mails, values
from hack.demo.commands import Commands, with_home
from hack.demo.errors import DemoError
from hack.demo.mail_catcher import MailCatcher
from hack.demo.place import CHART, EXAMPLES, NAMESPACE, RELEASE, TEAM_NAMESPACE, Place
from hack.demo.screen import Screen
from hack.image.layout import REPOSITORY, TAG

_IMAGE = REPOSITORY / "dist" / "image.tar"
_DESCRIBED = "certificate-expires"
"""The Notification that is described: one of its two recipients has no address."""


def play(name: str, *, pods: bool | None, screen: Screen) -> None:
    """Bring a demo up, or find it running, and send the example Notifications.

    Parameters
    ----------
    pods
        Whether the operator must run as a pod; None if it shall where that is possible.

    Raises
    ------
    DemoError, ClusterError
        With what went wrong and what to do about it. What runs goes on running.
    """
    started = time.monotonic()
    place = Place(name)
    place.prepare()
    screen.title("A cluster with a mail server")
    cluster, with_pods = _cluster(name, pods, screen)
    commands = _commands(cluster, screen)
    _check_existing(cluster, place, commands)
    if with_pods:
        _image(cluster, commands)
    with screen.step("mail catcher") as step:
        catcher = mail_catcher.ensure(place, cluster.host_address)
        step.text = f"mail server at {catcher.host}:{catcher.port}: STARTTLS, login asked for"
    screen.title("The operator, installed by Helm")
    _prepare_namespaces(catcher, commands)
    _install(place, catcher, commands, with_pods=with_pods)
    screen.title("Notifications")
    before = len(mails.read(place.mails))
    _send(commands)
    screen.title("What became of them")
    _show_status(commands)
    screen.title("What arrived")
    _show_mails(place, screen, before)
    screen.note(f"\nThe whole took {time.monotonic() - started:.0f} s.")
    _show_ways_on(name, cluster, screen, with_pods=with_pods)


def stop(name: str, screen: Screen) -> None:
    """Stop a demo and remove all of it."""
    place = Place(name)
    with screen.step(f"demo {name}") as step:
        found = place.directory.exists()
        local_operator.stop(place)
        mail_catcher.stop(place)
        _uninstall_from_existing(place, screen)
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
    """Return the cluster and whether the operator shall run in it as a pod."""
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
    screen.note(f"  The operator will run as a process of this machine: {obstacle}")
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


def _commands(cluster: Cluster, screen: Screen) -> Commands:
    programs = tools()
    return Commands(
        screen=screen,
        environment={"KUBECONFIG": str(cluster.kubeconfig)},
        programs={"kubectl": programs.kubectl, "helm": programs.helm},
    )


def _image(cluster: Cluster, commands: Commands) -> None:
    with commands.screen.step(f"image {TAG}, in the node"):
        commands.run("python", "-m", "hack.image", "build")
        commands.run("python", "-m", "hack.cluster", "load-image", cluster.name, _IMAGE)


def _prepare_namespaces(catcher: MailCatcher, commands: Commands) -> None:
    with commands.screen.step("the catalog of people, and the mail server's authority"):
        for namespace in (NAMESPACE, TEAM_NAMESPACE):
            _apply_created(commands, "namespace", namespace)
        _apply_created(
            commands,
            *("secret", "generic", values.AUTHORITY_SECRET, "--namespace", NAMESPACE),
            f"--from-file={values.AUTHORITY_KEY}={catcher.authority}",
        )
        commands.run("kubectl", "apply", "-f", EXAMPLES / "catalog.yaml")


def _apply_created(commands: Commands, *what: str) -> None:
    """Create an object, or bring the one that is there up to date."""
    commands.show("kubectl", "create", *what)
    document = commands.run(
        "kubectl", "create", *what, "--dry-run=client", "-o", "yaml", shown=False
    )
    commands.run("kubectl", "apply", "-f", "-", text=document, shown=False)


def _install(place: Place, catcher: MailCatcher, commands: Commands, *, with_pods: bool) -> None:
    with commands.screen.step("chart installed"):
        values.write(place.values, catcher, _IMAGE if with_pods else None)
        wait = ("--wait", "--timeout=2m") if with_pods else ()
        commands.run(
            *("helm", "upgrade", "--install", RELEASE),
            CHART,
            f"--namespace={NAMESPACE}",
            f"--values={(EXAMPLES / 'values.yaml').relative_to(REPOSITORY)}",
            f"--values={place.values}",
            *wait,
        )
    if not with_pods:
        with commands.screen.step("operator started, with the ServiceAccount of the chart"):
            local_operator.restart(place, commands)
    with commands.screen.step("logged in to the mail server"):
        commands.run(
            *("kubectl", "wait", "notificationprocessor/email", "--namespace", NAMESPACE),
            *("--for=condition=Ready", "--timeout=60s"),
        )


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


def _check_existing(cluster: Cluster, place: Place, commands: Commands) -> None:
    """Make sure that nothing of the user's is replaced in a cluster of theirs.

    Raises
    ------
    DemoError
        If the namespace is there and not this demo's.
    """
    if cluster.source is not Source.EXISTING or place.values.exists():
        return
    options = ("--ignore-not-found", "--output=name")
    if commands.run("kubectl", "get", "namespace", NAMESPACE, *options, shown=False):
        raise DemoError(
            f"namespace {NAMESPACE} is in the cluster of KUBECONFIG={cluster.kubeconfig} already, "
            "and the demo would replace what is in it. Unset KUBECONFIG to get a new cluster."
        )


def _uninstall_from_existing(place: Place, screen: Screen) -> None:
    """Take out of a cluster of the user's what the demo put into it; the CRDs stay."""
    try:
        cluster = clusters.find(place.name)
    except ClusterError:
        return
    if cluster.source is not Source.EXISTING or not place.values.exists():
        return
    commands = _commands(cluster, screen)
    namespaces = (TEAM_NAMESPACE, NAMESPACE)
    try:
        commands.run("helm", "uninstall", RELEASE, "--namespace", NAMESPACE, "--ignore-not-found")
        commands.run("kubectl", "delete", "namespace", *namespaces, "--ignore-not-found")
    except DemoError as error:
        screen.note(f"  What is left in the cluster of KUBECONFIG={cluster.kubeconfig}: {error}")


def _show_ways_on(name: str, cluster: Cluster, screen: Screen, *, with_pods: bool) -> None:
    programs = tools().kubectl.parent
    screen.title("Go on")
    screen.output(
        f"""\
export KUBECONFIG={with_home(cluster.kubeconfig)}
export PATH={with_home(programs)}:$PATH

kubectl get ntf -n {TEAM_NAMESPACE} --watch
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
        log = Place(name).directory / "log" / "operator.log"
        return f"less {with_home(log)}\n"
    return (
        f"kubectl logs -n {NAMESPACE} deployment/{RELEASE}\n"
        f"helm test {RELEASE} -n {NAMESPACE}    # sends one notification\n"
    )


def _make(target: str, name: str) -> str:
    return f"make {target}" if name == "demo" else f"make {target} NAME={name}"
