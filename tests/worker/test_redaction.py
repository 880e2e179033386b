"""Secrets are found where they stand, and nothing else is hidden."""

import json
import os
import re
import string
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from unittest.mock import patch
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trainables.redaction import HIDDEN, is_secret, redact, redact_values, remember, remembered


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:secret@host:5000/path", "https://***@host:5000/path"),
        ("postgresql://me:p@ss@db/mlflow failed", "postgresql://***@db/mlflow failed"),
        ("'mysql+pymysql://me@db/x'", "'mysql+pymysql://***@db/x'"),
        ("GET https://h/x?token=abcd1234&page=2", "GET https://h/x?token=***&page=2"),
        ("--set parameters.hub.api_key=abcd1234 --set seed=1", "--set parameters.hub.api_key=*** --set seed=1"),
        ('{"access_token": "abcd1234", "expires": 5}', '{"access_token": "***", "expires": 5}'),
        ("password: hunter22", "password: ***"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
        ("Authorization: Basic bWU6c2VjcmV0MTIz", "Authorization: Basic ***"),
        ("{'Authorization': 'Basic bWU6c2VjcmV0', 'x': 1}", "{'Authorization': 'Basic ***', 'x': 1}"),
        ("-H 'authorization: token gho_12345678' h", "-H 'authorization: token ***' h"),
        ("host=h pwd=hunter22 user=me", "host=h pwd=*** user=me"),
        ("https://h/x?sv=1&sig=a%2Fb3cdef&se=2", "https://h/x?sv=1&sig=***&se=2"),
        ("https://h/x?X-Amz-Signature=0a1b2c3d4e&y", "https://h/x?X-Amz-Signature=***&y"),
        ('password="two words here" user', 'password="***" user'),
        ("'hub.password': 'it\\'s two words', 5", "'hub.password': '***', 5"),
        ("--set 'hub.api_key=two words here' --set seed=1", "--set 'hub.api_key=***' --set seed=1"),
        (r"{\"authToken\": \"abcd1234\", \"n\": 5}", r"{\"authToken\": \"***\", \"n\": 5}"),
        ("PGPASSWORD=hunter22 pg_dump; GH_PAT=hunter22", "PGPASSWORD=*** pg_dump; GH_PAT=***"),
        ("authToken: hunter22, apiKey=hunter22", "authToken: ***, apiKey=***"),
    ],
)
def test_a_secret_is_hidden(text: str, shown: str) -> None:
    assert redact(text) == shown
    assert redact(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "lr=0.1 max_tokens=512 tokens: 20 token=3",
        "sqlite:////tmp/runs/mlflow.db",
        "me@example.org wrote to a@b",
        "tokenizer=qwen2 password_hash_rounds=12000",
        "https://host/path@1.2 and secretary: Anne",
        "data.text=/etc/passwd: must be a model's path",
        "/etc/passwd: No such file; parameters.hub.api_key: must be text, but got 5",
        "PWD=/srv/sweeps OLDPWD=/srv bypass=always compass: north pass: 12 tests, sig=0.05",
        "pad_token='<pad>' eos_token: </s> is_secret=False use_token: true, token=None",
        "Basic usage: see the key: value pairs of fit.key=abcdef",
        "hub.api_key: ${HUB_KEY}, postgresql://me:${PGPASS}@db/x, api_key: {values: [${A}, ${B}]}",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


def test_the_value_of_a_secret_variable_is_hidden_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_0123456789")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "open sesame")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("SOME_TOKEN", "true")
    assert redact("x=hf_0123456789, said 'open sesame' to a true token") == "x=***, said '***' to a true token"


def test_the_password_of_a_url_in_a_variable_is_hidden_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:open%20sesame@host")
    assert redact("no such user: open sesame, open%20sesame") == "no such user: ***, ***"


@pytest.mark.parametrize(
    "name",
    ["token", "hub.api_key", "HF_TOKEN", "db.password", "AWS_SECRET_ACCESS_KEY", "credentials", "PGPASSWORD",
     "MYSQL_PWD", "DBPASS", "GH_PAT", "WANDB_KEY", "REDISCLI_AUTH", "authToken", "apiKey", "HFToken", "SMTP_PASS"],
)  # fmt: skip
def test_a_name_that_says_secret_is_one(name: str) -> None:
    assert is_secret(name)
    assert redact_values({name: "abc"}) == {name: "***"}


@pytest.mark.parametrize(
    "name",
    ["max_tokens", "tokenizer.name", "fit.key", "secretary", "RAY_AUTH_TOKEN_PATH", "PWD", "OLDPWD", "RAY_AUTH_MODE",
     "bypass", "fit.two_pass", "llm.pad_token", "SSH_AUTH_SOCK", "PGPASSFILE"],
)  # fmt: skip
def test_other_names_are_not(name: str) -> None:
    assert not is_secret(name)


def test_of_flat_values_only_text_is_hidden() -> None:
    given_ = {"llm.pad_token": 0, "llm.token": None, "x": 0.5, "uri": "http://a:b@c", "flag": True, "hub.token": "",
              "hub.key": "${A}", "hub.secret": "${HUB_SECRET}"}  # fmt: skip
    assert redact_values(given_) == {**given_, "uri": "http://***@c"}


SECRETS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=6, max_size=30)
SHAPES: list[Callable[[str, str], str]] = [
    lambda secret, around: f"{around} {secret} {around}",
    lambda secret, around: f"h/x?{quote(secret, safe='')}&{around}",
    lambda secret, around: f"h/x?{quote(secret)}&{quote_plus(secret)}",
    lambda secret, around: re.sub("%..", lambda code: code[0].lower(), quote_plus(f"{around}={secret}")),
    lambda secret, around: json.dumps({around: secret}),
    lambda secret, around: b64encode(f"{around}{secret}{around}".encode()).decode(),
    lambda secret, around: urlsafe_b64encode(f"{around}:{secret}".encode()).decode(),
]


@given(secret=SECRETS.filter(lambda text: text.strip() == text and "*" not in text), around=st.text("abc", max_size=4))
@example(secret='p"w/d+x=y', around="u")
@example(secret="päss wörd", around="us")
@pytest.mark.parametrize("shape", SHAPES)
def test_a_secret_of_the_environment_is_hidden_in_every_form(
    shape: Callable[[str, str], str], secret: str, around: str
) -> None:
    with patch.dict(os.environ, {"DBPASS": secret} if "\0" not in secret else {}):
        shown = redact(shape(secret, around))
    assert HIDDEN in shown
    encoded = [quote(secret, safe=""), quote_plus(secret), b64encode(secret.encode()).decode().rstrip("=")[:-1]]
    assert not [form for form in (secret, *encoded) if form in shown]


WORDS = st.lists(st.text(string.ascii_lowercase, min_size=1, max_size=8), max_size=12).map(" ".join)
NUMBERS = st.dictionaries(st.sampled_from(["lr", "max_tokens", "key", "pad_token", "author"]), st.floats(), max_size=4)


@given(WORDS, NUMBERS, st.sampled_from(["/etc/passwd", "s3://bucket/key", "https://h/token/x", "sqlite:////a/b.db"]))
def test_prose_numbers_and_paths_stay(words: str, numbers: dict[str, float], path: str) -> None:
    text = f"{words}. {path}: {words}; {json.dumps(numbers)} {' '.join(f'{n}={v}' for n, v in numbers.items())}"
    assert redact(text) == text


def test_what_a_setting_holds_is_remembered_with_the_password_of_a_url() -> None:
    remember({"hub.api_key": "of-a-setting", "study": "postgresql://me:of%20a-url@db/x", "hub.token": "${HUB_TOKEN}"})
    assert {"of-a-setting", "of a-url", "of%20a-url"} <= set(remembered())
    assert redact("of-a-setting, of a-url, ${HUB_TOKEN}") == "***, ***, ${HUB_TOKEN}"


@given(st.text(max_size=200))
def test_hiding_twice_is_hiding_once(text: str) -> None:
    assert redact(redact(text)) == redact(text)
