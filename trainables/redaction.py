"""Redaction of secrets in all text for a log, a screen, an artifact or a tracking server.

Hidden are user and password in URLs, values named like a secret (``api_key=...``, ``"token": "..."``) and what
authenticates a request. The values of environment variables and settings that are named like a secret are hidden
wherever they stand, also percent-encoded, as JSON or in base64. ``${NAME}``, which only names a variable, stays.
"""

import functools
import json
import os
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus, unquote

HIDDEN = "***"

_SHORTEST = 6  # of what is hidden wherever it stands: shorter values are words such as `true`
_KEYS = "access|account|api|auth|encryption|private|secret|service|shared|signing|ssh|storage"
_NAME = re.compile(
    rf"""(?!.*(?:bos|cls|eos|mask|pad|sep|unk)_token$)  # words of a tokenizer
    (?:.*[._-])?(?:token|secret|creds|credentials?|authorization|(?:{_KEYS})_?key)
    |.*(?:password|passwd|passphrase)|(?:.*[._-])?(?:admin|db|ftp|key|mail|my|pg|root|smtp|sql|ssh|user)_?pass
    |(?-i:[A-Z][A-Z0-9_]*_(?:AUTH|KEY|PASS|PAT|PWD|SAS))  # of environment variables only""",
    re.IGNORECASE | re.VERBOSE,
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_IN_TEXT = re.compile(r"(?:pwd|pass|(?<=[?&])(?:[\w-]*-)?(?i:sig|signature)) *=")  # secrets only before this sign
_REFERENCE = re.compile(r"\$\{\w+\}")
_IN_URL = re.compile(r"(?<=://)(?![^\s/@]*\$\{\w+\}@)[^\s/'\"<>]*@")
_PASSWORD = re.compile(r"://[^\s/:@]*:([^\s/]+)@")
_BEARER = re.compile(r"(?<=\bBearer )[^\s'\"]+", re.IGNORECASE)
_ASSIGNED = re.compile(
    r"""(?P<outer>["'])?(?<![\w.])(?P<name>[a-z_][\w.-]*+)(?P<closed>\\?["'])?(?P<sign>\s*[=:]\s*+)
    (?P<quote>\\?["'])?+(?:(?:Basic|Bearer|Digest|Token)\s+)?+(?!\*|\$\{\w+\})""",
    re.IGNORECASE | re.VERBOSE,
)
_NO_VALUE = r"(?!(?:[0-9.]+|true|false|null|none|must)\b|[{\[(<])"
_PLAIN = re.compile(rf"{_NO_VALUE}[^\s&\"',;}}\])]{{4,}}", re.IGNORECASE)

_remembered: set[str] = set()
"""Secrets that settings hold, of all trials that this process has seen."""


def redact(text: str) -> str:
    """``text`` with ``***`` where it holds a secret, and escaped where it is no UTF-8 or a database refuses it."""
    text = text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
    if secrets := frozenset(_remembered | _environment()):
        text = _anywhere(secrets).sub(HIDDEN, text)
    text = _IN_URL.sub(f"{HIDDEN}@", text)
    text = _BEARER.sub(HIDDEN, text)
    return _hide_assigned(text)


def redact_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Flat values by name, with ``***`` for text that is named like a secret, or holds one."""
    return {
        name: value if not isinstance(value, str) else HIDDEN if _is_held(name, value) else redact(value)
        for name, value in values.items()
    }


def holds_secret(values: Mapping[str, Any]) -> bool:
    """True if one of the flat values is a secret, or holds a URL's password; the name of a variable is none."""
    texts = ((name, value) for name, value in values.items() if isinstance(value, str))
    return any(_is_held(name, text) or _secrets_of(name, text) for name, text in texts)


def remember(values: Mapping[str, Any]) -> None:
    """Hide from here on, in this process, what ``values`` holds as text under a name that says secret, or in a URL."""
    for name, value in values.items():
        if isinstance(value, str):
            take_over(_secrets_of(name, value))


def remembered() -> list[str]:
    """The secrets of settings that this process has seen, for a process that it starts."""
    return sorted(_remembered)


def take_over(secrets: Iterable[str]) -> None:
    """Hide what another process has :func:`remembered`."""
    _remembered.update(secret for secret in secrets if len(secret) >= _SHORTEST)


def is_secret(name: str) -> bool:
    """True if ``name`` (of a variable, or a dotted parameter) says that its value is a secret: ``llm.api_key``."""
    return _says_secret(name)


@functools.lru_cache(maxsize=4096)
def _says_secret(name: str) -> bool:
    return any(_NAME.fullmatch(each) for each in (name, _CAMEL.sub("_", name)))


def _is_held(name: str, value: object) -> bool:
    return isinstance(value, str) and bool(value) and is_secret(name) and not _REFERENCE.fullmatch(value)


def _hide_assigned(text: str) -> str:
    shown, position = [], 0
    while match := _ASSIGNED.search(text, position):
        start, end = match.start("name"), match.end()
        is_path = ":" in match["sign"] and text[start - 1 : start] == "/"  # /etc/passwd: a message
        if not is_path and (is_secret(match["name"]) or _IN_TEXT.match(text, start)):
            value = _value_after(match["quote"], None if match["closed"] else match["outer"]).match(text, end)
        else:
            value = None
        end = match.end("sign") if value is None else end  # what is no secret may hold a name, too
        shown += [text[position:end], HIDDEN if value else ""]
        position = value.end() if value else end
    return "".join(shown) + text[position:]


@functools.cache
def _value_after(quote: str | None, outer: str | None) -> re.Pattern[str]:
    """The pattern of a value in quotes, in quotes with its name, or in none."""
    if mark := quote or outer:
        inside = rf"(?:(?!{re.escape(mark)})(?:\\.|[^\n]))"
        return re.compile(rf"{inside}+" if quote else rf"{_NO_VALUE}{inside}{{4,}}", re.IGNORECASE)
    return _PLAIN


def _environment() -> set[str]:
    """Secrets in environment variables."""
    found: set[str] = set()
    return found.union(*(_secrets_of(name, value) for name, value in os.environ.items()))


@functools.lru_cache(maxsize=4096)
def _secrets_of(name: str, value: str) -> frozenset[str]:
    """Secrets in the text of a variable or a setting; a URL's password is one, decoded or not."""
    passwords = [each for each in _PASSWORD.findall(value) if not _REFERENCE.search(each)]
    found = {value} if _is_held(name, value) else set()
    found |= {*passwords, *map(unquote, passwords)}
    return frozenset(secret for secret in found if len(secret) >= _SHORTEST)


@functools.lru_cache(maxsize=8)
def _anywhere(secrets: frozenset[str]) -> re.Pattern[str]:
    """The pattern that finds the secrets in all their forms, the longest first."""
    forms = sorted({form for secret in secrets for form in _forms(secret)}, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, forms)))


def _forms(secret: str) -> set[str]:
    """A secret as text, percent-encoded, as JSON, and the characters of base64 that stand for it alone."""
    content = secret.encode("utf-8", "surrogateescape")
    encoded = {quote(content, safe=""), quote(content), quote_plus(content)}
    encoded |= {re.sub("%..", lambda code: code[0].lower(), form) for form in encoded}
    forms = {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], *encoded}
    for before, mixed in enumerate((0, 2, 3)):  # bytes before it in a group of three, and their characters
        whole = b64encode(bytes(before) + content).decode()
        core = whole[mixed:] if not whole.endswith("=") else whole.rstrip("=")[mixed:-1]
        forms |= {core, core.translate(str.maketrans("+/", "-_"))} if len(core) >= _SHORTEST else set()
    return forms
