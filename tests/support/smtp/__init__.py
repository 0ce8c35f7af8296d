"""An SMTP server for tests: strict in what it accepts, as faulty as it is told to be.

What the operator sent is judged by this server's ledger and by nothing else::

    async with SMTPPeer(tls=TLSMode.STARTTLS, certificate=certificate) as peer:
        peer.fail(Step.END, Reset(), recorded=True)
        ...
        assert peer.ledger.message_ids == [...]

``python -m tests.support.smtp --help`` runs it as a process of its own: the mail catcher of the
e2e tests and of the demo, whose ledger outlives a ``kill -9`` of anything else.
"""

from .authentication import LoginStyle
from .certificates import Certificate, CertificateAuthority, TLSMode
from .ledger import Ledger, Message, read_ledger
from .peer import SMTPPeer
from .script import Drop, Hang, Pause, Raw, Reply, Reset, Script, Step

__all__ = (
    "Certificate",
    "CertificateAuthority",
    "Drop",
    "Hang",
    "Ledger",
    "LoginStyle",
    "Message",
    "Pause",
    "Raw",
    "Reply",
    "Reset",
    "SMTPPeer",
    "Script",
    "Step",
    "TLSMode",
    "read_ledger",
)
