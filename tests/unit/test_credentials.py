"""Credentials in texts: found wherever they stand, and nothing else is taken for one."""

import pickle
import time

import pytest

from lens_core.credentials import holds_secret, masked, masked_address, names_secret
from lens_core.errors import LensError, first_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:PW@host", "http://***@host"),
        ("see 'https://me:PW@host:5000/x?a=b' there", "see 'https://***@host:5000/x?a=b' there"),
        ("http://me:p@ss/PW@host:5000", "http://***@host:5000"),
        ("http://me:it'sPW@host", "http://***@host"),
        ("http://me:12PW@host", "http://***@host"),
        ("http://PW@host", "http://***@host"),
        ("postgresql+psycopg://me:PW@db/mlflow", "postgresql+psycopg://***@db/mlflow"),
        ("redis://:PW@host", "redis://***@host"),
        ("git+https://me:PW@github.com/a/b", "git+https://***@github.com/a/b"),
        ("a://b:PW@c and d://e:PW@f", "a://***@c and d://***@f"),
        ("postgresql://db/x?user=me&password=PW&a=b", "postgresql://db/x?user=me&password=***&a=b"),
        ("https://s3/x?X-Amz-Signature=PW", "https://s3/x?X-Amz-Signature=***"),
        ("host=db password=PW", "host=db password=***"),
        ("AWS_SECRET_ACCESS_KEY=PW", "AWS_SECRET_ACCESS_KEY=***"),
        ("Authorization: Bearer PWPWPWPW", "Authorization: Bearer ***"),
        ("hf_PWPWPWPWPWPWPWPWPWPWPW", "***"),
    ],
)
def test_secrets_are_masked(text: str, shown: str) -> None:
    assert masked(text) == shown
    assert "PW" not in masked(text)
    assert holds_secret(text)
    assert masked(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "http://host:5000",
        "http://localhost:5000/models/x@champion",
        "http://[::1]:5000/a@b",
        "https://huggingface.co/org/model@main",
        "models:/lens-demo@champion",
        "sqlite:////home/me@work/mlflow.db",
        "postgresql://mlflow@db/mlflow",
        "ghcr.io/lens/lens:1@sha256:0123",
        "lens:1@sha256:0123",
        "train.max_tokens=5",
        "evaluation.token_logprobs=false",
        "verifier package.module:function",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert masked(text) == masked_address(text) == text
    assert not holds_secret(text)


def test_addresses_may_lack_their_scheme() -> None:
    assert masked_address("me:PW@proxy:3128") == "***@proxy:3128"
    assert masked("me:PW@proxy:3128") == "me:PW@proxy:3128"  # in a text this is any two words


@pytest.mark.parametrize(
    "name",
    [
        *("PGPASS", "PGPASSWORD", "MYSQL_PWD", "SSHPASS", "DATABASE_URL", "SQLALCHEMY_DATABASE_URI", "SENTRY_DSN"),
        *("HF_TOKEN", "MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY", "REDISCLI_AUTH"),
        *("AZURE_STORAGE_CONNECTION_STRING", "KFP_COOKIE", "--token", "--api-key", "db_passphrase"),
    ],
)
def test_names_of_secrets_are_known(name: str) -> None:
    assert names_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        "TOKENIZERS_PARALLELISM",
        "MAX_TOKENS",
        "PGPASSFILE",
        "PWD",
        "PASSTHROUGH",
        "RAY_AUTH_MODE",
        "MLFLOW_TRACKING_URI",
    ],
)
def test_names_of_other_things_are_not_secrets(name: str) -> None:
    assert not names_secret(name)


def test_errors_carry_no_secrets_wherever_their_words_come_from() -> None:
    cause = OSError("connection to http://me:PW@host failed\nat line 2")
    assert first_line(cause) == "connection to http://***@host failed"
    error = LensError(f"MLflow: {cause}")
    assert "PW" not in f"{error} {error!r} {pickle.loads(pickle.dumps(error))}"


@pytest.mark.parametrize("piece", ["://a:", "a:", "x://", "@x://", "http://a:1/", "://a:1'"])
def test_long_texts_take_no_longer_than_they_are_long(piece: str) -> None:
    before = time.process_time()
    masked("http://" + piece * 50_000)
    masked_address(piece * 50_000)
    assert time.process_time() - before < 2
