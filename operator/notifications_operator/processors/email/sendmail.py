"""``transport: sendmail``: mail is handed to a local program."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence

from ...api.email import SendmailTransport as SendmailConfig
from ...api.reasons import Reason
from ..errors import DeliveryError, InvalidProcessorConfig, Receipt, Scope
from .text import one_line
from .transport import Mail, MaySend, check

SENDMAIL_TIMEOUT = 120.0
"""Seconds that the program may take; it only queues."""

MAX_ERROR_OUTPUT = 4096
"""Octets of its error output that are kept."""

MAX_OUTPUT_TEXT = 256
"""Characters of it that a message repeats."""

_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C"}
"""The program's environment; the operator's own is none of its business."""

_Meaning = tuple[Reason, Scope, bool]

_EXIT_STATUS: dict[int, _Meaning] = {
    64: (Reason.INVALID_CONFIG, Scope.PROCESSOR, True),  # EX_USAGE: knows no -i, -f or --
    65: (Reason.CONTENT_REJECTED, Scope.MESSAGE, False),  # EX_DATAERR
    66: (Reason.CONTENT_REJECTED, Scope.MESSAGE, False),  # EX_NOINPUT
    67: (Reason.RECIPIENT_REJECTED, Scope.RECIPIENT, False),  # EX_NOUSER
    68: (Reason.RECIPIENT_REJECTED, Scope.RECIPIENT, False),  # EX_NOHOST
    69: (Reason.SERVER_BUSY, Scope.RECIPIENT, True),  # EX_UNAVAILABLE: also "mail system is down"
    70: (Reason.SERVER_BUSY, Scope.RECIPIENT, True),  # EX_SOFTWARE
    71: (Reason.SERVER_BUSY, Scope.RECIPIENT, True),  # EX_OSERR
    72: (Reason.INVALID_CONFIG, Scope.PROCESSOR, True),  # EX_OSFILE: a system file is missing
    73: (Reason.SERVER_BUSY, Scope.RECIPIENT, True),  # EX_CANTCREAT: no queue file
    74: (Reason.SERVER_BUSY, Scope.RECIPIENT, True),  # EX_IOERR
    75: (Reason.SERVER_BUSY, Scope.RECIPIENT, True),  # EX_TEMPFAIL
    76: (Reason.SERVER_BUSY, Scope.RECIPIENT, True),  # EX_PROTOCOL
    77: (Reason.POLICY_DENIED, Scope.PROCESSOR, True),  # EX_NOPERM: may not send
    78: (Reason.INVALID_CONFIG, Scope.PROCESSOR, True),  # EX_CONFIG: the program's own
}
"""What the exit statuses of ``sysexits.h`` mean; any other is tried again."""

_OTHER_EXIT: _Meaning = (Reason.UNKNOWN, Scope.RECIPIENT, True)


class SendmailTransport:
    """Runs the program once per mail, without a shell.

    Raises
    ------
    InvalidProcessorConfig
        If the operator's settings do not list the program.
    """

    def __init__(
        self,
        config: SendmailConfig,
        allowed_paths: Sequence[str],
        *,
        timeout: float = SENDMAIL_TIMEOUT,
    ) -> None:
        if config.path not in allowed_paths:
            valid = ", ".join(allowed_paths) or "none"
            raise InvalidProcessorConfig(
                f"spec.email.transportConfig.path: {config.path!r} is not one of the programs that "
                f"the operator may run (setting sendmailPaths); valid: {valid}"
            )
        self._path = config.path
        self._newline = b"\r\n" if config.newline == "windows" else b"\n"
        self._timeout = timeout

    async def verify(self) -> None:
        """Check that the program is there.

        Raises
        ------
        DeliveryError
            If it cannot be run.
        """
        if not await asyncio.to_thread(os.access, self._path, os.X_OK):
            raise self._not_runnable("it is missing or not executable")

    async def deliver(self, mail: Mail, *, may_send: MaySend) -> Receipt:
        """Run the program with the mail on its standard input.

        Raises
        ------
        DeliveryError
            What its exit status means; ambiguous if it had the whole message and then neither
            ended by itself nor in time. `LeaseLost` if it was not started.
        """
        check(may_send)
        run = await self._start(mail)
        try:
            async with asyncio.timeout(self._timeout):
                status = await run.feed(mail.data.replace(b"\r\n", self._newline))
        except TimeoutError as error:
            raise self._broken_off(run, Reason.TIMEOUT, "did not end in time") from error
        finally:
            await run.end()
        return self._outcome(run, status)

    async def close(self) -> None:
        """Nothing is open."""

    async def _start(self, mail: Mail) -> _Run:
        # Not PIPE: asyncio would wait for what the program leaves in the background.
        output, program_end = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                self._path,
                "-i",
                "-f",
                mail.sender,
                "--",
                mail.recipient,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=program_end,
                env=_ENVIRONMENT,
                # A group of its own, so that its children end with it.
                start_new_session=True,
            )
        except BaseException as error:
            os.close(output)
            if isinstance(error, OSError):
                raise self._not_runnable(os.strerror(error.errno or 0).lower()) from error
            raise
        finally:
            os.close(program_end)
        return _Run(process, output)

    def _outcome(self, run: _Run, status: int) -> Receipt:
        if status < 0:
            raise self._broken_off(
                run, Reason.SERVER_BUSY, f"was ended by {signal.Signals(-status).name}"
            )
        if status == 0 and run.complete:
            return Receipt(message=f"handed to {self._path}")
        reason, scope, retryable = _EXIT_STATUS.get(status, _OTHER_EXIT)
        said = one_line(run.output.decode("utf-8", "replace"), MAX_OUTPUT_TEXT)
        early = "" if run.complete else " before it had read the message"
        raise DeliveryError(
            reason,
            f"{self._path} ended with exit status {status}{early}" + (f": {said}" if said else ""),
            scope=scope,
            retryable=retryable,
            code=status,
        )

    def _broken_off(self, run: _Run, reason: Reason, what: str) -> DeliveryError:
        if run.complete:
            return DeliveryError(
                Reason.AMBIGUOUS,
                f"{self._path} {what} after it had the whole message; it may have queued it",
                scope=Scope.RECIPIENT,
                retryable=True,
            )
        return DeliveryError(reason, f"{self._path} {what}", scope=Scope.RECIPIENT, retryable=True)

    def _not_runnable(self, problem: str) -> DeliveryError:
        return DeliveryError(
            Reason.INVALID_CONFIG,
            f"cannot run {self._path}: {problem}",
            scope=Scope.PROCESSOR,
            retryable=True,
        )


class _Run:
    """One run of the program.

    Attributes
    ----------
    complete
        Whether the program was given the whole message, and could have queued it.
    output
        The beginning of its error output.
    """

    def __init__(self, process: asyncio.subprocess.Process, output: int) -> None:
        self.complete = False
        self.output = b""
        self._process = process
        self._listening = asyncio.get_running_loop().create_task(self._listen(output))

    async def feed(self, data: bytes) -> int:
        """Write the message and return the exit status."""
        stdin = self._process.stdin
        assert stdin is not None, "started with a pipe"
        stdin.transport.set_write_buffer_limits(high=0)
        # A program that ends early breaks the pipe; its exit status says why.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            stdin.write(data)
            await stdin.drain()
            self.complete = not stdin.is_closing()
        stdin.close()
        return await self._process.wait()

    async def end(self) -> None:
        """See that nothing of it is left."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()
        # Not to its end: what it left in the background may hold it open.
        await asyncio.wait({self._listening}, timeout=_LAST_WORDS)
        self._listening.cancel()
        await asyncio.wait({self._listening})

    async def _listen(self, output: int) -> None:
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(output, "rb", buffering=0)
        )
        try:
            while block := await reader.read(MAX_ERROR_OUTPUT):
                self.output = (self.output + block)[:MAX_ERROR_OUTPUT]
        finally:
            transport.close()


_LAST_WORDS = 0.25
"""Seconds that an ended program's error output is still read."""
