"""Credentials in texts: how they are recognised, and how a text is shown without them."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

_HIDDEN = "***"
_NAME = re.compile(
    r"PASSWORD|PASSWD|PASSPHRASE|PASS(?![A-Z])|(?<=_)PWD|SECRET|TOKEN(?!S|IZ)|CREDENTIAL|BEARER|COOKIE|JWT"
    r"|(ACCESS|ACCOUNT|API|AUTH|ENCRYPTION|MASTER|PRIVATE|SIGNING|SSH)_?KEY"
    r"|(?<=_)KEY$|WEBHOOK|(?<![A-Z])PAT(?![A-Z])"
    r"|(?<![A-Z])AUTH$|AUTHORIZATION|(?<![A-Z])DSN(?![A-Z])|(DATABASE|DB)_?UR[IL]|CONN(ECTION)?_?STR",
    re.IGNORECASE,
)
_USERINFO = re.compile(
    r"(?P<head>://)"
    r"(?:"
    r"(?!\[)[^\s/@:]*:(?!\d+(?:[/?#\s'\"]|$))\S*@"  # a password, which may hold @ and /; not a host's port
    r"|[^\s/@:]*:[^\s/@]*@"
    r"|(?<=(?i:http)://)[^\s/]*@|(?<=(?i:https)://)[^\s/]*@"  # a name alone is a token often enough there
    r")"
)
_VALUE = re.compile(
    r"(?P<head>(?:^|[^\w-])[\w-]*"
    r"(?:password|passwd|passphrase|pwd|secret|token|api_?key|access_?key|account_?key|signature|\bsig)=)"
    r"[^\s&;,'\"]+",
    re.IGNORECASE,
)
_QUOTED = re.compile(
    r"(?P<head>['\"](?:[\w-]{0,40}(?:password|passwd|passphrase|secret|api[_-]?key|access[_-]?key|cookie)"
    r"|(?:[\w-]{0,40}(?:access|api|auth|hub|refresh|session)[_-])?token)['\"]\s{0,9}:\s{0,9}['\"])[^'\"]+",
    re.IGNORECASE,
)
"""In JSON, or in a dictionary as Python shows it. Prose may say `a password: leave it out`."""
_HEADER = re.compile(
    r"(?P<head>\b(?:Authorization['\"]?\s{0,9}:\s{0,9}['\"]?(?:Basic|Digest|Negotiate|Token) "
    r"|(?:[\w-]{1,40}-)?(?:Api-Key|Cookie): ))[^\s'\"]+",
    re.IGNORECASE,
)
_OPTION = re.compile(r"(?P<head>--(?:[\w-]{1,40}-)?(?:password|passwd|secret|token|api-key) )[^\s-]\S*", re.IGNORECASE)
_KNOWN = re.compile(
    r"(?P<head>\bBearer )[\w.~+/=-]{8,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)"
    r"|\b(?:hf_[A-Za-z0-9]{20,}|gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}|AKIA[0-9A-Z]{16}"
    r"|xox[abprs]-[\w-]{10,}|sk-[\w-]{20,}|AIza[\w-]{30,}|npm_[A-Za-z0-9]{30,}|pypi-[\w-]{30,}|dapi[0-9a-f]{32}"
    r"|(?<!-)eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+|hooks\.slack\.com/services/[\w/]+)",
    re.DOTALL,
)
_UP_TO_AT = re.compile(r"(?<!\S)\S*@")
"""Where userinfo is looked for: without this bound `://a:`, again and again, takes the square of its length."""
_WITHOUT_SCHEME = re.compile(r"[^/\s@:]*:[^/\s]*@(?!sha256:)")  # which an image's digest follows


def masked(text: str) -> str:
    """`text` with `***` in place of what is secret in it: `http://me:pw@host` is `http://***@host`.

    Hidden are names and passwords in addresses, values of `password=`, `"token":`, `--api-key` and the like, headers
    that authorise, private keys, and tokens of known forms.
    """
    text = _UP_TO_AT.sub(lambda found: _USERINFO.sub(_shown, found[0]), text)
    for pattern in (_VALUE, _QUOTED, _HEADER, _OPTION, _KNOWN):
        text = pattern.sub(_shown, text)
    return text


def holds_secret(text: str) -> bool:
    """Whether `masked` would hide something of `text`."""
    return masked(text) != text


def names_secret(name: str) -> bool:
    """Whether a variable or option of this name holds a secret: `PGPASSWORD`, `--api-key`, `DATABASE_URL`."""
    return _NAME.search(name.replace("-", "_")) is not None


def masked_address(address: str) -> str:
    """`masked`, for what is an address even without a scheme: `me:pw@host:5000` is `***@host:5000`."""
    return masked(_WITHOUT_SCHEME.sub(f"{_HIDDEN}@", address, count=1) if _WITHOUT_SCHEME.match(address) else address)


def mask_log_records() -> None:
    """From now on the log records of this process, those of libraries too, are made without what `masked` hides.

    Message and traceback are masked where a record is made, whatever handlers write it.
    """
    make = logging.getLogRecordFactory()
    if not isinstance(make, _Masked):
        logging.setLogRecordFactory(_Masked(make))


class _Masked:
    """A factory of log records."""

    def __init__(self, make: Callable[..., logging.LogRecord]) -> None:
        self._make = make

    def __call__(self, *arguments: object, **keywords: object) -> logging.LogRecord:
        record = self._make(*arguments, **keywords)
        try:
            said = record.getMessage()
        except Exception:  # arguments that do not fit, of which logging itself tells
            return record
        if holds_secret(said):
            record.msg, record.args = masked(said), None
        if record.exc_info and record.exc_info[0] is not None:
            trace = logging.Formatter().formatException(record.exc_info)
            if holds_secret(trace):
                record.exc_info, record.exc_text = None, masked(trace)
        return record


def _shown(found: re.Match[str]) -> str:
    head = found["head"] or ""
    return f"{head}{_HIDDEN}@" if head == "://" else f"{head}{_HIDDEN}"
