"""Credentials in texts: found wherever they stand, and nothing else is taken for one."""

import io
import logging
import pickle
import time
from collections.abc import Iterator

import pytest

from lens_core.credentials import holds_secret, mask_log_records, masked, masked_address, names_secret
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
        ("Authorization: Basic UFdQVw==", "Authorization: Basic ***"),
        ("{'Authorization': 'Basic PWPW='}", "{'Authorization': 'Basic ***'}"),
        ("X-Api-Key: PW", "X-Api-Key: ***"),
        ("Set-Cookie: session=PW", "Set-Cookie: ***"),
        ('{"db_password": "P W", "user": "me"}', '{"db_password": "***", "user": "me"}'),
        ("{'access_token': 'PW'}", "{'access_token': '***'}"),
        ("kfp --token PW run", "kfp --token *** run"),
        ("AccountName=a;AccountKey=PW==;x=y", "AccountName=a;AccountKey=***;x=y"),
        ("eyJPWPWPWPWPW.eyJPWPWPWPWPW.PW-PW", "***"),
        ("sk-ant-PWPWPWPWPWPWPWPWPWPWPW", "***"),
        ("dapi" + "0123456789abcdef" * 2, "***"),
        ("https://hooks.slack.com/services/T0/B0/PW", "https://***"),
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
        "leave the password: it is not asked for",
        '{"eos_token": "<s>", "max_tokens": "5"}',
        "Basic authentication, --tokens 5",
        "task-of-a-risk-management-system",
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
        *("OPENAI_KEY", "GITHUB_PAT", "SLACK_WEBHOOK"),
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
        "KEYS",
        "PYTHONPATH",
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


@pytest.mark.parametrize(
    "piece",
    ["://a:", "a:", "x://", "@x://", "http://a:1/", "://a:1'", "a-", "--a", "-", "eyJ-", "'a", "Cookie-", "'token' "],
)
def test_long_texts_take_no_longer_than_they_are_long(piece: str) -> None:
    before = time.process_time()
    masked("http://" + piece * 50_000)
    masked_address(piece * 50_000)
    assert time.process_time() - before < 2


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What a library's logger writes, by a handler of its own, once log records are masked."""
    before = logging.getLogRecordFactory()
    mask_log_records()
    written = io.StringIO()
    library = logging.getLogger("a.library")
    monkeypatch.setattr(library, "handlers", [logging.StreamHandler(written)])
    monkeypatch.setattr(library, "propagate", False)
    yield written
    logging.setLogRecordFactory(before)


def test_log_records_of_libraries_are_masked(log: io.StringIO) -> None:
    logging.getLogger("a.library").warning("retrying %s (%d left)", "http://me:PW@host/api", 3)
    logging.getLogger("a.library").warning("nothing %s here", "secret")
    assert log.getvalue() == "retrying http://***@host/api (3 left)\nnothing secret here\n"


def test_tracebacks_in_a_log_are_masked(log: io.StringIO) -> None:
    try:
        raise ConnectionError("no answer of http://me:PW@host")
    except ConnectionError:
        logging.getLogger("a.library").exception("it failed")
    assert "PW" not in log.getvalue()
    assert log.getvalue().endswith("ConnectionError: no answer of http://***@host\n")
    assert log.getvalue().startswith("it failed\nTraceback")


def test_traceback_without_a_secret_is_as_it_was(log: io.StringIO) -> None:
    logging.getLogger("a.library").error("no error at hand", exc_info=True)
    assert log.getvalue() == "no error at hand\nNoneType: None\n"


def test_log_record_with_wrong_arguments_is_left_to_logging(log: io.StringIO) -> None:
    record = logging.getLogRecordFactory()("name", logging.WARNING, "file", 1, "%d of %d", (1,), None)
    assert (record.msg, record.args) == ("%d of %d", (1,))


def test_log_records_are_masked_once(log: io.StringIO) -> None:
    factory = logging.getLogRecordFactory()
    mask_log_records()
    assert logging.getLogRecordFactory() is factory
