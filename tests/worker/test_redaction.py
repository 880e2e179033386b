"""Secrets are found where they stand, and nothing else is hidden."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.redaction import is_secret, redact, redact_values


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
    "name", ["token", "hub.api_key", "HF_TOKEN", "db.password", "AWS_SECRET_ACCESS_KEY", "credentials"]
)
def test_a_name_that_says_secret_is_one(name: str) -> None:
    assert is_secret(name)
    assert redact_values({name: "abc"}) == {name: "***"}


@pytest.mark.parametrize("name", ["max_tokens", "tokenizer.name", "fit.key", "secretary", "RAY_AUTH_TOKEN_PATH"])
def test_other_names_are_not(name: str) -> None:
    assert not is_secret(name)


def test_of_flat_values_only_text_is_hidden() -> None:
    given_ = {"llm.pad_token": 0, "llm.token": None, "x": 0.5, "uri": "http://a:b@c", "flag": True, "hub.token": ""}
    assert redact_values(given_) == {**given_, "uri": "http://***@c"}


@given(st.text(max_size=200))
def test_hiding_twice_is_hiding_once(text: str) -> None:
    assert redact(redact(text)) == redact(text)
