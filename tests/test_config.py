"""Settings: names, defaults, ranges, and the messages of a start that is refused."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest

from rkyc.config import Settings, data_dir_default, describe_settings, load_settings, validate_encryption_key
from rkyc.errors import ConfigError

HEX_KEY = "0123456789abcdefABCDEF0123456789abcdefABCDEF0123456789abcdefABCD"

# The settings of the source documents: name, default, another value.
NAMED = [
    ("WEBHOOK_MAX_RETRIES", 3, 5),
    ("WEBHOOK_TIMEOUT_SECONDS", 10, 20),
    ("WEBHOOK_RETRY_DELAY_SECONDS", 1.0, 2.5),
    ("STORAGE_MAX_RETRIES", 3, 0),
    ("STORAGE_TIMEOUT_SECONDS", 30, 31),
    ("LLM_TIMEOUT_SECONDS", 120, 600),
    ("LLM_CONNECT_TIMEOUT_SECONDS", 10, 3),
    ("LLM_MAX_RETRIES", 2, 4),
    ("EMBEDDING_MAX_RETRIES", 3, 1),
    ("EMBEDDING_TIMEOUT_SECONDS", 60, 90),
    ("EMBEDDING_RETRY_BASE_WAIT", 1.0, 0.5),
    ("EMBEDDING_RETRY_MAX_WAIT", 10.0, 20.0),
    ("CHUNK_MAX_STRUCTURED_CHARS", 2000, 1000),
    ("CHUNK_MAX_RAW_FULL_CHARS", 8000, 4000),
    ("CHUNK_RAW_SECTION_SIZE", 1500, 1000),
    ("CHUNK_RAW_SECTION_OVERLAP", 300, 0),
    ("CHUNK_KOREAN_THRESHOLD", 0.5, 0.3),
    ("CHUNK_KOREAN_SIZE", 2000, 1800),
    ("CHUNK_KOREAN_OVERLAP", 500, 100),
    ("LOG_LEVEL", "INFO", "DEBUG"),
    ("TASK_MAX_RETRIES", 3, 0),
    ("RKYC_SLOTS", 200, 8),
    ("RKYC_GRACE_S", 30.0, 5.0),
    ("RKYC_FROZEN_AFTER_S", 120.0, 60.0),
    ("RKYC_BEAT_S", 10.0, 5.0),
]
NAMES = [row[0] for row in NAMED]


def attribute(name: str) -> str:
    return name.removeprefix("RKYC_").lower()


@pytest.mark.parametrize(("name", "default", "other"), NAMED, ids=NAMES)
def test_setting_has_its_default(name: str, default: object, other: object) -> None:
    assert getattr(load_settings({}), attribute(name)) == default


@pytest.mark.parametrize(("name", "default", "other"), NAMED, ids=NAMES)
def test_variable_overrides_default(name: str, default: object, other: object) -> None:
    settings = load_settings({name: str(other)})
    assert getattr(settings, attribute(name)) == other
    assert type(getattr(settings, attribute(name))) is type(default)


@pytest.mark.parametrize(("name", "default", "other"), NAMED, ids=NAMES)
def test_settings_class_reads_the_process_environment(
    name: str, default: object, other: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, str(other))
    assert getattr(Settings(), attribute(name)) == other


def test_a_given_mapping_is_all_that_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RKYC_SLOTS", "7")
    assert load_settings({}).slots == 200


def test_empty_variable_counts_as_not_set() -> None:
    settings = load_settings({"RKYC_SLOTS": "", "RKYC_DSN": "  ", "ENCRYPTION_KEY": ""})
    assert (settings.slots, settings.dsn, settings.encryption_key) == (200, None, None)


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings({}).slots = 3


def test_every_setting_is_described() -> None:
    rows = list(describe_settings(load_settings({})))
    assert all(row.description and row.expected for row in rows)
    assert len({row.name for row in rows}) == len(rows) == len(Settings.model_fields)


WRONG = [
    ("LLM_TIMEOUT_SECONDS", "abc", "a whole number from 1 to 3600"),
    ("LLM_TIMEOUT_SECONDS", "0", "a whole number from 1 to 3600"),
    ("LLM_TIMEOUT_SECONDS", "1.5", "a whole number from 1 to 3600"),
    ("LLM_MAX_RETRIES", "-1", "a whole number from 0 to 20"),
    ("CHUNK_KOREAN_THRESHOLD", "50", "a number from 0 to 1"),
    ("CHUNK_KOREAN_THRESHOLD", "nan", "a number from 0 to 1"),
    ("CHUNK_KOREAN_OVERLAP", "2000", "less than CHUNK_KOREAN_SIZE"),
    ("CHUNK_RAW_SECTION_OVERLAP", "1500", "less than CHUNK_RAW_SECTION_SIZE"),
    ("RKYC_ENV", "prod", "one of production, staging, development"),
    ("RKYC_DSN", "mysql://host/database", "postgresql://user:password@host:port/database"),
    ("RKYC_DSN", "host=localhost dbname=x", "postgresql://user:password@host:port/database"),
    ("RKYC_LIMITS", "claude", "claude=5,openai=5"),
    ("RKYC_LIMITS", "claude=0", "each number from 1 to 10000"),
    ("RKYC_LIMITS", "claude=99999", "each number from 1 to 10000"),
    ("RKYC_DOSSIER_ROOT", "/no/such/folder", "a folder that exists"),
    ("RKYC_API_KEYS_FILE", "/no/such/file", "a file"),
    ("RKYC_LOG_FORMAT", "xml", "one of text, json"),
    ("ANTHROPIC_BASE_URL", "api.anthropic.com", "an http:// or https:// address"),
    ("INTERNAL_LLM_BASE_URL", "ftp://host", "an http:// or https:// address"),
]


@pytest.mark.parametrize(("name", "value", "expected"), WRONG)
def test_wrong_value_is_named_with_what_was_given_and_what_is_allowed(
    name: str, value: str, expected: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings({name: value})
    message = caught.value.message
    assert message.startswith(f"{name} can't be used: got '{value}', expected ")
    assert expected in message
    assert message.count("\n") == 0


def test_every_bad_variable_gets_one_line() -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings({"RKYC_SLOTS": "many", "LLM_TIMEOUT_SECONDS": "0", "RKYC_ENV": "staging"})
    lines = caught.value.message.splitlines()
    assert sorted(line.split()[0] for line in lines) == [
        "ENCRYPTION_KEY",
        "LLM_TIMEOUT_SECONDS",
        "RKYC_SLOTS",
    ]
    assert caught.value.details == {"variables": ["ENCRYPTION_KEY", "LLM_TIMEOUT_SECONDS", "RKYC_SLOTS"]}


@pytest.mark.parametrize(
    "environ",
    [
        {"RKYC_DSN": "mysql://me:hunter2@host/database"},
        {"RKYC_DSN": "host=h user=me password=hunter2"},
        {"ANTHROPIC_BASE_URL": "ftp://me:hunter2@host"},
        {"RKYC_ENV": "production", "ENCRYPTION_KEY": "hunter2"},
        {"RKYC_ENV": "production", "ENCRYPTION_KEY": HEX_KEY, "ENCRYPTION_KEY_V1": "hunter2"},
    ],
)
def test_message_holds_no_secret(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(environ)
    assert "hunter2" not in str(caught.value)


def test_settings_show_no_secret() -> None:
    settings = load_settings(
        {
            "RKYC_DSN": "postgresql://me:hunter2@host/database",
            "RKYC_DIRECT_DSN": "postgresql://me:hunter2@host/database",
            "ENCRYPTION_KEY": "hunter2",
            "ENCRYPTION_KEY_V1": "hunter2",
            "ANTHROPIC_API_KEY": "hunter2",
            "OPENAI_API_KEY": "hunter2",
            "PERPLEXITY_API_KEY": "hunter2",
            "INTERNAL_LLM_API_KEY": "hunter2",
            "INTERNAL_LLM_BASE_URL": "http://me:hunter2@host/v1",
        }
    )
    shown = {row.name: row.value for row in describe_settings(settings)}
    assert "hunter2" not in str(shown)
    assert shown["RKYC_DSN"] == "postgresql://***@host/database"
    assert shown["OPENAI_API_KEY"] == "***"
    assert "hunter2" not in repr(settings)
    assert settings.anthropic_api_key is not None
    assert settings.anthropic_api_key.get_secret_value() == "hunter2"


def test_prefetch_is_one_number_or_numbers_by_lane() -> None:
    assert load_settings({"RKYC_PREFETCH": "500"}).prefetch == 500
    assert load_settings({"RKYC_PREFETCH": "low=500, batch=20"}).prefetch == {"low": 500, "batch": 20}
    with pytest.raises(ConfigError, match=r"RKYC_PREFETCH.*lane=number pairs"):
        load_settings({"RKYC_PREFETCH": "many"})


def test_limits_are_read_as_numbers_by_name() -> None:
    assert load_settings({"RKYC_LIMITS": " claude=5, openai = 12 ,"}).limits == {"claude": 5, "openai": 12}


def test_rates_are_read_by_provider_and_for_each_tenant() -> None:
    settings = load_settings({"LLM_TOKENS_PER_MINUTE": "claude=100000, claude/tenant=2.5"})
    assert settings.llm_tokens_per_minute == {"claude": 100_000.0, "claude/tenant": 2.5}
    with pytest.raises(ConfigError, match="LLM_USD_PER_DAY"):
        load_settings({"LLM_USD_PER_DAY": "claude=0"})


def test_beat_keeps_up_with_a_lowered_frozen_limit() -> None:
    assert load_settings({"RKYC_FROZEN_AFTER_S": "3"}).beat_s == 1.0
    assert load_settings({"RKYC_FROZEN_AFTER_S": "3", "RKYC_BEAT_S": "0.5"}).beat_s == 0.5


def test_base_url_loses_its_last_slash() -> None:
    assert load_settings({"OPENAI_BASE_URL": "http://host:1/v1/"}).openai_base_url == "http://host:1/v1"


@pytest.mark.parametrize(
    ("environ", "env"),
    [
        ({}, "development"),
        ({"ENV": "staging"}, "staging"),
        ({"ENV": "staging", "RKYC_ENV": "production"}, "production"),
        ({"ENV": "/root/.shinit"}, "development"),
    ],
)
def test_env_is_read_from_both_names_but_not_from_a_start_up_file(environ: dict[str, str], env: str) -> None:
    assert load_settings({**environ, "ENCRYPTION_KEY": HEX_KEY}).env == env


@pytest.mark.parametrize(
    ("environ", "platform", "folder"),
    [
        ({"HOME": "/home/김"}, "linux", "/home/김/.local/share/rkyc"),
        ({"HOME": "/home/a", "XDG_DATA_HOME": "/data"}, "linux", "/data/rkyc"),
        ({"HOME": "/home/a", "XDG_DATA_HOME": "relative"}, "linux", "/home/a/.local/share/rkyc"),
        ({"HOME": "/Users/a"}, "darwin", "/Users/a/Library/Application Support/rkyc"),
    ],
)
def test_data_folder_follows_the_platform(environ: dict[str, str], platform: str, folder: str) -> None:
    assert data_dir_default(environ, platform) == Path(folder)


def test_data_folder_can_be_chosen() -> None:
    assert load_settings({"RKYC_DATA_DIR": "/srv/rkyc data"}).data_dir == Path("/srv/rkyc data")


def test_production_without_dsn_refuses_the_embedded_database() -> None:
    settings = load_settings({"RKYC_ENV": "production", "ENCRYPTION_KEY": HEX_KEY})
    with pytest.raises(ConfigError, match="RKYC_DSN is required in production"):
        settings.require_dsn()
    assert settings.require_dsn("postgresql:///given") == "postgresql:///given"
    assert load_settings({}).require_dsn() is None


# The key of personal data. These five names are promised.


def test_valid_key_production() -> None:
    validate_encryption_key("a" * 64, "production")


def test_missing_key_production() -> None:
    with pytest.raises(ValueError, match=r"required in production.*openssl rand -hex 32"):
        validate_encryption_key("", "production")


def test_short_key_production() -> None:
    with pytest.raises(ValueError, match=r"64 hex characters \(got 32\)"):
        validate_encryption_key("a" * 32, "production")


def test_invalid_hex_production() -> None:
    with pytest.raises(ValueError, match="hexadecimal"):
        validate_encryption_key("g" * 64, "production")


def test_missing_key_development() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        validate_encryption_key("", "development")
    assert [warning.category for warning in caught] == [RuntimeWarning]
    assert "not set or invalid" in str(caught[0].message)


def test_development_looks_at_presence_and_length_only() -> None:
    validate_encryption_key("g" * 64, "development")
    with pytest.warns(RuntimeWarning, match="not set or invalid"):
        validate_encryption_key("a" * 32, "development")


@pytest.mark.parametrize("key", ["A" * 64, "a" * 64, HEX_KEY])
def test_both_cases_of_hexadecimal_pass(key: str) -> None:
    validate_encryption_key(key, "staging")


BAD_KEYS = ["", "a" * 32, "a" * 63, "a" * 65, "g" * 64, "a" * 63 + "가"]


@pytest.mark.parametrize("env", ["production", "staging"])
@pytest.mark.parametrize("key", BAD_KEYS)
def test_bad_key_refuses_the_start(key: str, env: str) -> None:
    with pytest.raises(ConfigError, match=re.escape("ENCRYPTION_KEY")):
        load_settings({"RKYC_ENV": env, "ENCRYPTION_KEY": key})


def test_older_keys_are_read_by_version_and_checked_like_the_newest() -> None:
    environ = {
        "RKYC_ENV": "staging",
        "ENCRYPTION_KEY": HEX_KEY,
        "ENCRYPTION_KEY_V3": "b" * 64,
        "ENCRYPTION_KEY_VX": "?",
    }
    settings = load_settings(environ)
    assert {version: key.get_secret_value() for version, key in settings.encryption_keys.items()} == {
        3: "b" * 64
    }
    with pytest.raises(ConfigError, match="ENCRYPTION_KEY_V3 must be 64 hex characters"):
        load_settings({**environ, "ENCRYPTION_KEY_V3": "short"})
