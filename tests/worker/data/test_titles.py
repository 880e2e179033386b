"""Titles as dumps have them: what is none, what is cleaned, and what stays."""

import pytest

from trainables.data.titles import SOURCE, SPACES, TAGS, TWICE, WORD, clean, told, wrong_titles

SCRIPT = '<span id="productTitle" class="a-size-large">\n\n var aPageStart = (new Date()).getTime();\n</span>'


@pytest.mark.parametrize(
    ("title", "text", "wrong"),
    [
        (SCRIPT, "", SOURCE),
        ("var aPageStart = (new Date()).getTime();", "", SOURCE),
        ("Tea <script>track()</script>", "", SOURCE),
        (".a-box-inner{background-color:#fff}", "", SOURCE),
        ("<br/>", "", SOURCE),
        ('<span id="productTitle" class="a-size', "", SOURCE),
        *((word, "", WORD) for word in ("nan", "NaN", "None", " null ", "N/A")),
        ("<b>Tea</b> for&nbsp;<i>two</i>", "Tea for two", TAGS),
        ("&lt;b&gt;Tea&lt;/b&gt;", "Tea", TAGS),
        ("Salt &amp;amp; Pepper", "Salt & Pepper", TWICE),
        ("Salt &amp;amp;amp; Pepper", "Salt & Pepper", TWICE),
        ("Tea\tfor\n two", "Tea for two", SPACES),
        ("Salt &amp; Pepper", "Salt & Pepper", None),
        ("  Tea  for two ", "Tea for two", None),
        *((title, title, None) for title in ("None of us", "1 < 2 and 3 > 2", "A <3 B", "AT&T", "Nan bread",
                                             "Learn <canvas> now", "Multi-function (Black)", "#1{sic}", "x = y")),
        ("", "", None),
    ],
)  # fmt: skip
def test_a_title_is_cleaned_or_none_by_a_stated_rule(title: str, text: str, wrong: str | None) -> None:
    assert clean(title) == (text, wrong)
    assert clean(text)[0] == text, "nothing is left to clean"


def test_what_is_wrong_is_counted_by_kind() -> None:
    counts = wrong_titles(["Tea", SCRIPT, "nan", "None", "<b>x</b>"])
    assert told(counts) == ("1 page source (untitled), 2 nan, None and the like (untitled), 1 with tags (left out)")
    assert wrong_titles(["Tea", ""]) == {}
