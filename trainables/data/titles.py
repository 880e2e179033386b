"""Titles as dumps have them: which are none, and how the others are cleaned.

Entities are unescaped until nothing changes, and HTML tags are left out. A page's script or style is no title, nor is a
word that programs write for an absent one (`nan`, `None`). White space becomes single spaces.
"""

import html
import re
from collections import Counter
from collections.abc import Iterable

ABSENT = ("nan", "none", "null", "n/a", "<na>", "undefined")

_ODD = re.compile(r"[<&{=\t\r\n]|getTime")
_SOURCE = re.compile(
    r"getTime\s*\(|<\s*/?(script|style)\b|\bfunction\s*\w*\([^()]*\)\s*\{|\bvar \w+\s*=|[.#][a-z][\w-]*\s*\{[^{}]*[:;]",
    re.I,
)
_NAMES = (
    "a|abbr|b|big|blockquote|body|br|center|code|dd|div|dl|dt|em|font|form|h[1-6]|head|hr|html|i|iframe|img|input|label|"
    "li|link|meta|nobr|ol|option|p|pre|s|select|small|span|strike|strong|sub|sup|table|tbody|td|th|thead|tr|tt|u|ul|wbr"
)
_TAG = re.compile(rf"</?({_NAMES})((\s[^<>]*)?/?>|\s[^<>]*=[^<>]*$)|<!--.*?-->|<!doctype[^>]*>", re.I | re.S)

SOURCE = "page source (untitled)"
WORD = "nan, None and the like (untitled)"
TAGS = "with tags (left out)"
TWICE = "escaped twice or more (unescaped)"
SPACES = "with a tab or a line break (a space)"


def clean(title: str) -> tuple[str, str | None]:
    """The title on one line, "" if it is none, and what was wrong with it, if anything was."""
    bare = title.strip()
    if bare.casefold() in ABSENT:
        return "", WORD
    if not _ODD.search(bare):
        return " ".join(bare.split()), None
    text, wrong = title, SPACES if re.search(r"[\t\r\n]", bare) else None
    while (plain := html.unescape(text)) != text:
        text, wrong = plain, wrong if text is title else TWICE
    if _SOURCE.search(text):
        return "", SOURCE
    if (bare := _TAG.sub(" ", text)) != text:
        text, wrong = bare, TAGS if bare.strip() else SOURCE
    return " ".join(text.split()), wrong


def wrong_titles(titles: Iterable[str]) -> dict[str, int]:
    """Count the titles of which something is wrong, by what it is."""
    return dict(Counter(wrong for title in titles if (wrong := clean(title)[1])))


def told(counts: dict[str, int]) -> str:
    """The numbers in a phrase."""
    return ", ".join(f"{count} {wrong}" for wrong, count in counts.items())
