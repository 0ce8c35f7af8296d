"""The mail catcher: the SMTP peer as a process, with its ledger in a file."""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path

from .certificates import CertificateAuthority, TLSMode
from .ledger import Ledger
from .peer import SMTPPeer


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.support.smtp",
        description="Accept mail over SMTP and append each one as a line of JSON to a file, which "
        "is on disk before the sender hears that it was accepted.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (0: a free one)")
    parser.add_argument("--tls", type=TLSMode, choices=list(TLSMode), default=TLSMode.STARTTLS)
    parser.add_argument("--username", help="ask for credentials: this user name")
    parser.add_argument("--password", help="ask for credentials: this password")
    parser.add_argument("--ledger", type=Path, required=True, help="file for accepted mail")
    parser.add_argument(
        "--certificate-directory",
        type=Path,
        help="where to write ca.crt, the authority of the server's certificate",
    )
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        help="host name or address in the certificate, beside the address it listens on and "
        "localhost; may be repeated",
    )
    parser.add_argument(
        "--ready-file", type=Path, help="file that holds host:port once mail is accepted"
    )
    arguments = parser.parse_args()
    if (arguments.username is None) != (arguments.password is None):
        parser.error("--username and --password go together")
    return arguments


async def _serve(arguments: argparse.Namespace) -> None:
    authority = CertificateAuthority()
    if arguments.certificate_directory is not None:
        authority.write(arguments.certificate_directory)
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    names = {"127.0.0.1", "localhost", arguments.host, *arguments.name} - {"0.0.0.0", "::"}
    peer = SMTPPeer(
        host=arguments.host,
        port=arguments.port,
        tls=arguments.tls,
        certificate=authority.valid(*sorted(names)),
        username=arguments.username,
        password=arguments.password,
        ledger=Ledger(arguments.ledger),
    )
    async with peer:
        if arguments.ready_file is not None:
            temporary = arguments.ready_file.with_suffix(".partial")
            temporary.write_text(f"{peer.host}:{peer.port}\n")
            temporary.replace(arguments.ready_file)
        await stopped.wait()


asyncio.run(_serve(_arguments()))
