"""Regular expressions for the words by which servers say whom they refuse, over lower case.

Every gap is bounded, so that the time a search takes grows with the length of the text only.
"""

from __future__ import annotations


def near(first: str, second: str, *, gap: int = 60) -> str:
    """Return a pattern for one thing that stands shortly before another."""
    return rf"(?:{first}).{{0,{gap}}}?(?:{second})"


def either(*patterns: str) -> str:
    """Return a pattern for any of several."""
    return "|".join(f"(?:{pattern})" for pattern in patterns)


_NOT = r"(?:not |n't |cannot |un|dis)(?:be )?"
_ALLOWED = r"(?:allow|authori[sz]|permit|accept|welcom)"
_REFUSED = rf"block|bann?ed|den[iy]|refus|reject|defer|forbid|listed|{_NOT}{_ALLOWED}"
_IP = r"\b\d{1,3}(?:\.(?:\d{1,3}|[x*]{1,4})){3}\b"

# The sender ---------------------------------------------------------------------------------

_FROM = either(
    r"\bsenders?\b|\bsending (?:domain|address|email|user)|\benvelope[- ](?:from|sender)",
    r"\bmail ?from\b|\breturn[- ]path\b|\bfrom[ -](?:address|domain|header|field|e?-?mail)",
    r"\bfrom: ?(?:address|domain|header|field|is\b)",
)
_WRONG = either(
    r"not (?:been )?(?:verified|exist|found|valid|known|owned|resolve|registered|match|belong)",
    r"n['o]t (?:exist|match|resolve|belong)|verif\w{0,12} fail|must (?:match|be)\b",
    r"unverified|unknown|invalid|malformed|syntax|no such|non-?existent|undeliverable|unrout",
    r"mismatch|spoof|forged|need fully|bad (?:sender|address)|not a valid|no longer",
)

WRONG_SENDER = either(
    near(_FROM, _WRONG, gap=50), near(_WRONG, _FROM, gap=30), r"spoofed|anti-?spoof"
)
"""The sender's address is invalid, unknown, or not the account's."""

REFUSED_SENDER = either(near(_FROM, _REFUSED, gap=40), near(_REFUSED, _FROM, gap=30))
"""The sender's address is not let in."""

WRONG = _WRONG
"""An address or a domain is invalid or unknown; the text does not say whose."""

SENDER = either(
    _FROM,
    rf"{_NOT}(?:{_ALLOWED}\w{{0,12}}|able|have permissions?) to (?:send|submit|use|impersonate)",
    r"permissions? to send|send ?as|sendonbehalf|blocked from sending|not allowed as",
)
"""The sender, or what the account may send."""

SENDER_VERIFICATION = r"sender verif\w{0,12} fail"
"""Exim's refusal of a sender, which follows the words of the sender's own server."""

UNVERIFIED = r"(?:address|domain|identit(?:y|ies)) (?:is|are|was) not verified|failed the check"
NOT_AUTHORIZED = r"not authorized to perform"

SENDER_DOMAIN = either(
    r"\b(?:spf|dkim|dmarc)\b|sender policy framework|sender is unauthenticated",
    r"unauthenticated e?-?mail|authentication (?:information|checks|level)",
)
"""SPF, DKIM and DMARC of the sender's domain (RFC 7208, 6376, 7489)."""

# The client's host --------------------------------------------------------------------------

HELLO = either(
    r"(?:helo|ehlo) (?:command|name|host|domain|denied|reject|not\b)",
    r"(?:bad|invalid|your|in|of) (?:helo|ehlo)\b",
)
"""What the machine that sends calls itself."""

HOST = either(
    r"client host|host network",
    r"\byour (?:ip|host|server|network|mail ?server|mta|isp|smtp|connection|reverse|dns|sending)\b",
    r"(?:sending|connecting|client|sender) (?:mta|server)\b",
    # Not as a part of a URL.
    r"(?<![=&?/])\bips?\b(?![=&/])",
    r"\byour access\b|allowed to connect",
    r"from (?:the |this |your )?(?:ip|host|server|machine|network)s?\b",
    r"reverse dns|\br-?dns\b|\bptr\b|smtp server of your",
)
"""The machine that sends."""

BLOCK_LIST = either(
    r"(?:black|block|deny|drop|reject)[ -]?list|\b(?:dns)?r?bls?\b|realtime block|blocked using",
    r"spamhaus|spamcop|sorbs|barracudacentral|uceprotect|abuseat|senderscore|spfbl|ipcheck",
    r"\blisted (?:at|in|by|on)\b|\breputation\b|spam abuse|unsolicited mail originating",
    r"spam(?:ming)? sender",
)
"""Public lists of hosts and senders, and what receivers remember of them."""

REFUSED_IP = either(near(rf"(?<![=/]){_IP}", _REFUSED), near(_REFUSED, rf"(?<![=/]){_IP}"))
"""An address of a machine, and that something is refused."""

# The account --------------------------------------------------------------------------------

_LIMIT = r"limit|quota|allowance|credit|threshold|maximum|exceed|reached"
_LONG = r"\bdaily\b|\bmonthly\b|(?:per|a|this) (?:day|month|week)|24[ -]?h|\btoday\b|\bday'?s\b"
OUTGOING = r"(?:messag|send|submi|outgoing|outbound|relay|plan)\w{0,12}"
"""Outgoing mail."""

QUOTA = either(
    near(_LONG, _LIMIT, gap=40),
    near(_LIMIT, _LONG, gap=40),
    r"credits? (?:limit )?(?:exceeded|exhausted|used)|out of credits|not enough credits",
    near(OUTGOING, r"(?:limit|quota|threshold)s?\b.{0,20}?(?:exceed|reach|exhaust|used)", gap=20),
    near(r"exceed|reach|exhaust", rf"{OUTGOING} (?:limit|quota|threshold)", gap=30),
    r"sending activity|tenant has exceeded|limited to \d",
)
"""The account has used up its limit of a day or a month."""

SHORT = r"thread|concurren|connection|hour|minute|second\b|rate limit"
"""Limits that pass soon."""

ACCOUNT = either(
    r"\byour [\w@. -]{0,30}?(?:account|subscription|tenant)\b|\btenant",
    near(
        r"(?:sending|sender|outbound|smtp) (?:account|user|service)",
        r"suspend|disabl|block|lock|restrict|hold",
        gap=20,
    ),
    near(r"sending|outbound mail|outgoing mail", r"suspended|disabled|paused|restricted", gap=30),
    r"(?:block|restrict|suspend|bann|prevent|disabl)\w{0,6} from sending",
    r"authorized recipients|sandbox|test purposes|unregistered domain",
)
"""The account with a provider, and whether it may send."""

RATE = either(
    r"throttl|\brate\b|\bfrequen(?:t|cy)\b|slow down|thread limit|concurren|\bflood",
    r"too (?:fast|quick|much|often)|(?:unexpected|excessive|high) volume",
    r"max\w{0,12} (?:messages?|connections?|recipients?) per",
    r"too many (?:concurrent |simultaneous |bad |invalid |unknown |recent )*"
    r"(?:connection|message|mail|e-mail|login|session|request|command|error|auth)",
    r"too many (?:bad|invalid|unknown) recipients|too many recipients from\b",
    r"(?:recipient|message|mail)s? .{0,12}?hour",
    r"per (?:hour|minute|second)|hour(?:ly)? limit",
    r"limits? (?:has been |was )?exceeded|exceed\w{0,12} .{0,40}?limit",
)
"""Too much in too short a time."""

_OUR_SIDE = either(
    r"throttl|\bsend|\bconnect|\byou\b|\byour\b|client|account|\bips?\b|hour|overlimit",
    r"too many (?:\w{1,12} )?(?:message|mail|e-mail|command|error|session|recipients)",
    _IP,
)
RATE_OF_OURS = rf"\A(?=.*?(?:{RATE})).*?(?:{_OUR_SIDE})"
"""The same, of the sender, the account or the host."""

# The recipient ------------------------------------------------------------------------------

ADDRESS_REJECTED = r"recipient address rejected"
"""Beginning of Postfix's refusals of a recipient."""

PROBED = r"address rejected: (?:undeliverable|unverified) address"
"""Beginning of another server's answer to a probe, which Postfix repeats."""

RECEIVING = either(
    r"receiving (?:mail|messages?|e-?mail)s?\b.{0,20}?(?:too|at a rate)",
    r"recipient (?:has|is|was) .{0,30}?(?:rate|limit|too many)|recipient thread limit",
    r"recipient'?s .{0,20}?limit|\breceive limit|messages they can (?:receive|send to this)",
)
"""Limits on what a recipient may receive in a time."""

ALLOW_LIST = r"(?:allow|white|safe)[ -]?list"
"""A list of those who are let in."""

NOT_ALLOWED = rf"{_NOT}(?:{_ALLOWED}\w{{0,12}}|able|have permissions?) to (?:send|submit|use|post)"

HOST_OR_IP = either(HOST, _IP)
"""The machine that sends, or an address of one."""

HOST_NAMED = either(_IP, _FROM)
"""A host's address, or the sender."""

RESTRICTED = either(
    r"resolver\.rst|allowed[- ]senders|restricted (?:to|recipient|address|group|list)|rcpt domain",
    r"(?:block|bann|den[iy]|refus|reject|filter|blacklist)\w{0,12} by (?:the |this |that )?"
    r"(?:recipient|user|addressee|destination|mailbox owner)s?\b",
    r"recipient'?s? (?:policy|preferences|organi[sz]ation|admin|domain|server|filter)",
    r"\b(?:recipient|user|addressee|owner)'?s? (?:personal )?"
    r"(?:block|black|deny|reject|allow|white|safe)(?:ed)?[ -]?(?:senders? )?list",
    r"\b(?:recipient|user|addressee|owner) has (?:block|bann|reject)",
    r"(?<!sender )(?<!from )"
    r"\b(?:recipient|user|addressee|owner|mailbox|address|account|group|list) "
    r"(?:does not|doesn't|do not|will not|won't|only) accept",
    r"banned recipient|\b(?:external|outside) senders?\b(?!.{0,40}?(?:domain|spoof|imperson))",
    near(
        rf"not (?:{_ALLOWED}\w{{0,12}}|authenticated)",
        r"(?:to|for|by) (?:this |the |that )?(?:mailing |distribution )?"
        r"(?:recipient|group|mailbox|list|public folder|organi[sz]ation)\b",
        gap=20,
    ),
    r"\bnon-?members?\b|(?:not|n't) (?:an? )?(?:subscri|(?:list )?member\b)",
    near(
        r"only|members",
        r"(?:may|can|allowed to|accepts?\w{0,12}) (?:post|send|mail|messages?)",
        gap=30,
    ),
)
"""A recipient who does not take mail from everybody."""

_MAILBOX = (
    r"\b(?:users?|recipients?|mailbox(?:es)?|address(?:es)?|accounts?|alias(?:es)?|inbox|addressee"
    r"|person|local[- ]part)\b"
)
_GONE = (
    r"unknown|not (?:be )?(?:found|exist|known|valid|active|available|local|listed|here|accept)"
    r"|n[o']t exist|unavailable|disabled|inactive|suspended|deactivated|discontinued|invalid|frozen"
    r"|blocked|closed|expired|no longer|undeliverable|unrout|rejected"
)

UNKNOWN = either(
    rf"{_MAILBOX}[^.,;]{{0,50}}?(?:{_GONE})",
    near(
        r"\b(?:unknown|no such|no valid|not a valid|invalid|bad|illegal|non-?existent)\b",
        _MAILBOX,
        gap=20,
    ),
    r"\baddress rejected|\bname not allowed|n[o']t have an? .{0,30}?account|permanent failure for",
)
"""There is no such mailbox, or it is out of use."""

FULL = either(
    near(r"mailbox|inbox|user|account|maildir|recipient", r"\bfull\b|storage space", gap=30),
    r"over[ -]?quota|out of (?:storage|space)|(?:disk|storage|mailbox|mail) ?quota|quota exceeded",
    r"quota (?:is |has been )?(?:full|reached)|exceed\w{0,12} .{0,20}?(?:storage|mailbox|quota)",
    r"mailbox size",
)
"""A mailbox without room."""

RELAY = either(
    near(r"\brelay\w{0,12}", rf"{_REFUSED}|prohibit|disallow", gap=30),
    near(rf"{_REFUSED}|prohibit|unable to|not configured to|n['o]t", r"\brelay", gap=20),
    r"\bnon-accepted domain|\brcpthosts\b|as a relay\b",
)
"""A server does not pass mail on."""

# The session --------------------------------------------------------------------------------

TLS_OF_SESSION = r"starttls|session encryption"
TLS = (
    rf"{TLS_OF_SESSION}|tls required|requires? tls|must use tls|encryption (?:is )?(?:requir|need)"
)
TLS_OF_RECIPIENT = near(TLS, r"(?:rcpt|recipient|this|that)(?:'s)? (?:domain|recipient)")

SENDER_LOGIN = r"sender.{0,60}?not (?:logged in|authenticated)|unauthenticated sender"
"""A sender that wants a login, whoever the recipient is."""

LOGIN = either(
    r"authentication (?:is )?(?:required|needed)|must issue an auth|smtp auth",
    near(r"\bnot\b|n't|must|need to|have to|unless", r"authenticat|log(?:ged)? ?[io]n\b", gap=20),
    near(r"please", r"authenticat", gap=20),
    r"unauthenticated senders",
)

PASSWORDS_OFF = near(
    r"smtp ?client ?authentication|basic auth\w{0,12}",
    r"disabled|blocked|not (?:allowed|supported)",
)
"""An administrator or the provider lets nobody log in by a password."""

# The message --------------------------------------------------------------------------------

SIZE = either(
    near(r"\bmessage|\bmail\b|\bsize\b|\bcontent", r"too (?:big|large)|\bsize\b|larger than"),
    r"size .{0,20}?exceed|too (?:big|large)\b",
)

SIZE_FOR_MAILBOX = rf"\A(?=.*?(?:{SIZE})).*?\b(?:recipient|mailbox|inbox)"
"""The same, and a mailbox that takes no more."""

MALFORMED = either(
    r"rfc ?-?(?:2822|5322|822)\b|rfc complian|multiple .{0,20}?(?:headers?\b|from:)",
    r"headers? (?:error|syntax)|missing .{0,30}?header|(?:fail\w{0,12}|unable|cannot) to parse",
    r"duplicate header|malformed|line (?:limit|length|too long)|bare (?:lf|cr|line ?feed)|\bmime\b",
)

LISTED_LINK = r"uribl|surbl|\b(?:url|uri|link)s?\b.{0,30}?(?:list|block)"
"""A link in the message that is on a list."""

NOT_OF_MESSAGE = either(_FROM, _IP)
"""The sender or a machine, which are on lists as well as links are."""

HARMFUL = either(
    r"\bspam\b|\bjunk\b|virus|malware|phish|trojan|infected|\bcontent\b|attachment",
    rf"{LISTED_LINK}|unsolicited|bulk mail",
)

# Anything -----------------------------------------------------------------------------------

GREYLISTED = r"gr[ae]y.?list"

BUSY = r"temporar\w+ .{0,20}?(?:error|problem|failure|unavailable)|(?:system|server|local) problem"

DENIED = rf"polic(?:y|ies)|den(?:ied|y)|prohibit|forbidden|{_NOT}{_ALLOWED}"
