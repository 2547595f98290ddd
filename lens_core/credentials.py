"""Credentials in texts: how they are recognised, and how a text is shown without them."""

from __future__ import annotations

import re

_HIDDEN = "***"
_NAME = re.compile(
    r"PASSWORD|PASSWD|PASSPHRASE|PASS(?![A-Z])|(?<=_)PWD|SECRET|TOKEN(?!S|IZ)|CREDENTIAL|BEARER|COOKIE|JWT"
    r"|(ACCESS|ACCOUNT|API|AUTH|ENCRYPTION|MASTER|PRIVATE|SIGNING|SSH)_?KEY"
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
    r"(?P<head>(?:^|[^\w-])[\w-]*(?:password|passwd|passphrase|pwd|secret|token|api_?key|access_?key|signature|\bsig)=)"
    r"[^\s&;,'\"]+",
    re.IGNORECASE,
)
_KNOWN = re.compile(
    r"(?P<head>\bBearer )[\w.~+/=-]{8,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)"
    r"|\b(?:hf_[A-Za-z0-9]{20,}|gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}|AKIA[0-9A-Z]{16}"
    r"|xox[abprs]-[\w-]{10,})",
    re.DOTALL,
)
_UP_TO_AT = re.compile(r"(?<!\S)\S*@")
"""Where userinfo is looked for: without this bound `://a:`, again and again, takes the square of its length."""
_WITHOUT_SCHEME = re.compile(r"[^/\s@:]*:[^/\s]*@(?!sha256:)")  # which an image's digest follows


def masked(text: str) -> str:
    """`text` with `***` in place of what is secret in it: `http://me:pw@host` is `http://***@host`.

    Hidden are names and passwords in addresses, values of `password=`, `token=` and the like, private keys, and tokens
    of known forms.
    """
    text = _UP_TO_AT.sub(lambda found: _USERINFO.sub(_shown, found[0]), text)
    for pattern in (_VALUE, _KNOWN):
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


def _shown(found: re.Match[str]) -> str:
    head = found["head"] or ""
    return f"{head}{_HIDDEN}@" if head == "://" else f"{head}{_HIDDEN}"
