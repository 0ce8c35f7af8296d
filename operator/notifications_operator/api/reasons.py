"""The closed set of reasons why a delivery is in the state it is in."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a delivery was not simply sent; also the ``reason`` label of metrics and Events.

    The set is closed (DESIGN section 5): a user can write alerts and documentation against it.
    """

    RECIPIENT_REJECTED = "RecipientRejected"
    INVALID_ADDRESS = "InvalidAddress"
    DUPLICATE_ADDRESS = "DuplicateAddress"
    NO_ADDRESS = "NoAddress"
    MAILBOX_FULL = "MailboxFull"
    GREYLISTED = "Greylisted"
    RATE_LIMITED = "RateLimited"
    CONTENT_REJECTED = "ContentRejected"
    TOO_LARGE = "TooLarge"
    AUTH_FAILED = "AuthFailed"
    TLS_FAILED = "TLSFailed"
    CONNECT_FAILED = "ConnectFailed"
    DNS_FAILED = "DNSFailed"
    TIMEOUT = "Timeout"
    SERVER_BUSY = "ServerBusy"
    POLICY_DENIED = "PolicyDenied"
    TEMPLATE_ERROR = "TemplateError"
    INVALID_CONFIG = "InvalidConfig"
    PROCESSOR_NOT_FOUND = "ProcessorNotFound"
    UNKNOWN_ENTITIES = "UnknownEntities"
    BLOCKED = "Blocked"
    FILTERED = "Filtered"
    OPTED_OUT = "OptedOut"
    EXPIRED = "Expired"
    CANCELLED = "Cancelled"
    SUPERSEDED = "Superseded"
    AMBIGUOUS = "Ambiguous"
    UNKNOWN = "Unknown"
