"""Settings: every number and address that an operator may choose; the only reader of the environment.

`load_settings(os.environ)` returns frozen `Settings`, or one `ConfigError` with a line for each bad
variable: its name, what was given (secrets masked) and what is allowed. An empty variable counts as
not set. The settings know nobody: `app` maps them to the options of each layer.
"""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import (
    AfterValidator,
    AliasGenerator,
    BeforeValidator,
    DirectoryPath,
    Field,
    FilePath,
    SecretStr,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from rkyc.errors import ConfigError
from rkyc.flow.numbers import (
    LIMITS_EXPECTED,
    PREFETCH_EXPECTED,
    RATES_EXPECTED,
    parse_prefetch,
    parse_rates,
    parse_sizes,
)

ENVIRONMENTS = ("production", "staging", "development")
DSN_EXPECTED = "postgresql://user:password@host:port/database"
URL_EXPECTED = "an http:// or https:// address"
KEY_EXPECTED = "64 hexadecimal digits"
HOOK_EXPECTED = "at least 32 characters"

# These keep the names that operators know; all others begin with RKYC_.
_KNOWN_NAMES = re.compile(
    r"(WEBHOOK|STORAGE|LLM|EMBEDDING|CHUNK|ENCRYPTION|ANTHROPIC|OPENAI|PERPLEXITY|INTERNAL_LLM|TASK)_.*|LOG_LEVEL"
)
# The older keys come from many variables, ENCRYPTION_KEY_V1, …; inside they are one setting.
_OLDER_KEYS = "ENCRYPTION_KEYS"
_OLDER_KEY = re.compile(r"ENCRYPTION_KEY_V([1-9][0-9]{0,3})")


def validate_encryption_key(key: str | None, env: str, *, name: str = "ENCRYPTION_KEY") -> None:
    """Check the key that personal data is encrypted with: 32 bytes, written as 64 hexadecimal digits.

    In development a missing key, or one of another length, only warns (RuntimeWarning), and other
    characters pass: there the first encryption fails with `EncryptionError`.

    Raises:
        ValueError: production or staging, and the key is missing, of another length, or not hexadecimal.
    """
    advice = "generate one with: openssl rand -hex 32"
    if env == "development":
        if not key or len(key) != 64:
            message = (
                f"{name} is not set or invalid in development: personal data can't be encrypted; {advice}"
            )
            warnings.warn(message, RuntimeWarning, stacklevel=2)
        return
    if not key:
        raise ValueError(f"{name} is required in {env}: {advice}")
    if len(key) != 64:
        raise ValueError(f"{name} must be 64 hex characters (got {len(key)}): {advice}")
    if not re.fullmatch(r"[0-9a-fA-F]{64}", key):
        raise ValueError(f"{name} must be hexadecimal, only 0-9 and a-f: {advice}")


def data_dir_default(environ: Mapping[str, str], platform: str = sys.platform) -> Path:
    """Return the user's folder for data on this platform; it need not exist yet."""
    home = Path(environ.get("HOME") or Path.home())
    if platform == "darwin":
        return home / "Library" / "Application Support" / "rkyc"
    if platform == "win32" and environ.get("LOCALAPPDATA"):
        return Path(environ["LOCALAPPDATA"]) / "rkyc"
    # A relative XDG_DATA_HOME is to be ignored. Source: XDG Base Directory Specification 0.8.
    xdg = environ.get("XDG_DATA_HOME", "")
    return (Path(xdg) if xdg.startswith("/") else home / ".local" / "share") / "rkyc"


def _check_url(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s/]+\S*", value):
        raise ValueError(URL_EXPECTED)
    return value.rstrip("/")


def _check_dsn(value: str) -> str:
    if not value.startswith(("postgresql://", "postgres://")):
        raise ValueError(DSN_EXPECTED)
    return value


Url = Annotated[str, AfterValidator(_check_url)]
Dsn = Annotated[str, AfterValidator(_check_dsn)]
UserPath = Annotated[Path, AfterValidator(Path.expanduser)]
Limits = Annotated[dict[str, int], BeforeValidator(parse_sizes)]
Rates = Annotated[dict[str, float], BeforeValidator(parse_rates)]
Prefetch = Annotated[int | dict[str, int], BeforeValidator(parse_prefetch)]


def _name_variable(attribute: str) -> str:
    name = attribute.upper()
    return name if _KNOWN_NAMES.fullmatch(name) else f"RKYC_{name}"


def _field(default: Any, description: str, expected: str = "text", **more: Any) -> Any:
    return Field(default=default, description=description, json_schema_extra={"expected": expected}, **more)


def _whole(default: int, low: int, high: int, description: str) -> Any:
    return _field(default, description, f"a whole number from {low} to {high}", ge=low, le=high)


def _number(default: float, low: float, high: float, description: str, **more: Any) -> Any:
    return _field(default, description, f"a number from {low:g} to {high:g}", ge=low, le=high, **more)


def _limit(description: str) -> Any:
    return _field(None, description, "seconds, more than 0 and at most 86400", gt=0, le=86_400)


class Settings(BaseSettings):
    """All settings; the variable of each is its name in capitals, mostly with RKYC_ in front.

    `Settings()` reads the process's environment, without the friendly messages of `load_settings`.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", alias_generator=AliasGenerator(validation_alias=_name_variable)
    )

    # The place.
    env: Literal["production", "staging", "development"] = _field(
        "development", "how strict the start is", f"one of {', '.join(ENVIRONMENTS)}"
    )
    dsn: Dsn | None = _field(
        None, "the Postgres to use; without it the embedded one", DSN_EXPECTED, repr=False
    )
    direct_dsn: Dsn | None = _field(
        None, "for LISTEN and presence, when RKYC_DSN leads through a pooler", DSN_EXPECTED, repr=False
    )
    data_dir: UserPath = _field(
        None, "holds the embedded Postgres; by default the user's data folder", "a path"
    )
    dossier_root: DirectoryPath | None = _field(
        None, "where dossiers named over HTTP must lie", "a folder that exists"
    )
    api_keys_file: FilePath | None = _field(None, "hashed API keys, to listen beyond the loopback", "a file")
    log_level: str = _field("INFO", "DEBUG, INFO, WARNING, ERROR or CRITICAL; any other counts as INFO")
    log_format: Literal["text", "json"] = _field("text", "how a log line is written", "one of text, json")

    # Personal data.
    encryption_key: SecretStr | None = _field(None, "required in production and staging", KEY_EXPECTED)
    encryption_keys: dict[int, SecretStr] = _field({}, "ENCRYPTION_KEY_V<n>: older ones", KEY_EXPECTED)
    seal_payloads: bool = _field(False, "seals inputs and outputs; needs ENCRYPTION_KEY", "true or false")

    # The engine. `_s` is seconds.
    slots: int = _whole(200, 1, 100_000, "tasks that a process runs at once")
    threads: int = _whole(32, 1, 10_000, "threads for steps that are plain functions")
    prefetch: Prefetch = _field(
        0, "tasks claimed beyond the free slots, for lanes of short steps", PREFETCH_EXPECTED
    )
    limits: Limits = _field(
        {}, "how many steps that name a resource run at once in the whole fleet", LIMITS_EXPECTED
    )
    llm_requests_per_minute: Rates = _field({}, "calls of a provider in the whole fleet", RATES_EXPECTED)
    llm_tokens_per_minute: Rates = _field({}, "tokens of a provider in the whole fleet", RATES_EXPECTED)
    llm_usd_per_day: Rates = _field({}, "money for a provider in the whole fleet", RATES_EXPECTED)
    frozen_after_s: float = _number(120.0, 0.1, 86_400, "seconds without a beat until a process is dead")
    beat_s: float = _number(
        10.0,
        0.05,
        600,
        "seconds between two beats; at most a third of RKYC_FROZEN_AFTER_S",
        validate_default=True,
    )
    presence_grace_s: float = _number(0.7, 0, 60, "seconds that a lost presence may take to come back")
    grace_s: float = _number(30.0, 0, 86_400, "seconds that running steps get to finish at SIGTERM")
    poll_s: float = _number(5.0, 0.05, 60, "seconds between looks for work without a NOTIFY")
    loop_blocked_s: float = _number(1.0, 0.05, 3600, "seconds until a blocked event loop is named in the log")
    horizon_warning_s: float = _number(
        60.0, 0.1, 86_400, "seconds that a transaction may hold back vacuum before the log names it"
    )
    save_timeout_s: float = _number(5.0, 0.1, 60, "seconds that a step's save may hold its transaction")
    pool_size: int = _whole(10, 1, 1000, "connections of a process for short work")
    statement_cache: int = _whole(
        256, 0, 10_000, "prepared statements by connection; behind a pooler none are kept"
    )
    # Of steps that declare none themselves.
    task_time_limit: float | None = _limit("seconds of an attempt until it is cut")
    task_soft_time_limit: float | None = _limit("seconds of an attempt until its body hears SoftTimeLimit")
    task_max_retries: int = _whole(3, 0, 999, "retries after the first try")
    task_default_retry_delay: float | None = _limit("seconds before each retry, in place of growing ones")
    retention_days: int = _whole(30, 1, 36_500, "days that ended jobs are kept")

    # What comes in.
    body_bytes_max: int = _whole(2_000_000, 1024, 2**31, "largest body of a request, in bytes")
    upload_bytes_max: int = _whole(52_428_800, 1024, 2**31, "largest uploaded file, in bytes")
    hook_secret: SecretStr | None = _field(
        None,
        "what the secrets of webhooks are made of; without it none are taken",
        HOOK_EXPECTED,
        min_length=32,
    )
    sse_clients_max: int = _whole(5000, 1, 100_000, "event streams that a process keeps open")

    # Vendors.
    anthropic_api_key: SecretStr | None = _field(None, "key for Claude")
    anthropic_base_url: Url = _field("https://api.anthropic.com", "Claude's API", URL_EXPECTED)
    anthropic_model: str = _field("claude-sonnet-5-5", "model that is asked first")
    openai_api_key: SecretStr | None = _field(None, "key for OpenAI")
    openai_base_url: Url = _field("https://api.openai.com/v1", "OpenAI's API", URL_EXPECTED)
    openai_model: str = _field("gpt-6.1-sol", "model that takes over when Claude fails")
    embedding_model: str = _field("text-embedding-3-small", "OpenAI's model for vectors")
    perplexity_api_key: SecretStr | None = _field(None, "key for the news search")
    perplexity_base_url: Url = _field("https://api.perplexity.ai", "the news search's API", URL_EXPECTED)
    internal_llm_base_url: Url | None = _field(
        None, "your own OpenAI-compatible server, alone in seeing INTERNAL data", URL_EXPECTED, repr=False
    )
    internal_llm_api_key: SecretStr | None = _field(None, "key for your own server, if it wants one")
    internal_llm_model: str | None = _field(None, "model of your own server")

    # Calls to others. A retry comes after the first try: 3 retries are 4 calls.
    webhook_max_retries: int = _whole(3, 0, 20, "retries of a webhook")
    webhook_timeout_seconds: int = _whole(10, 1, 3600, "seconds to wait for a webhook's answer")
    webhook_retry_delay_seconds: float = _number(1.0, 0, 3600, "seconds before the first retry of a webhook")
    storage_max_retries: int = _whole(3, 0, 20, "retries of a download from storage")
    storage_timeout_seconds: int = _whole(30, 1, 3600, "seconds to wait for storage")
    llm_timeout_seconds: int = _whole(120, 1, 3600, "seconds to wait for an LLM's answer")
    llm_connect_timeout_seconds: int = _whole(10, 1, 3600, "seconds to connect to an LLM")
    llm_max_retries: int = _whole(2, 0, 20, "retries of an LLM call without a policy of its own")
    embedding_max_retries: int = _whole(3, 0, 20, "retries of an embedding call")
    embedding_timeout_seconds: int = _whole(60, 1, 3600, "seconds to wait for embeddings")
    embedding_retry_base_wait: float = _number(1.0, 0, 3600, "seconds before the first retry; then doubled")
    embedding_retry_max_wait: float = _number(10.0, 0, 3600, "seconds that a retry waits at most")

    # How texts are cut, in characters. An overlap is what neighbours share.
    chunk_max_structured_chars: int = _whole(2000, 1, 1_000_000, "longest structured chunk")
    chunk_max_raw_full_chars: int = _whole(8000, 1, 1_000_000, "longest chunk of a whole text")
    chunk_raw_section_size: int = _whole(1500, 1, 1_000_000, "longest chunk of a section")
    chunk_raw_section_overlap: int = _whole(300, 0, 1_000_000, "overlap of sections, less than their size")
    chunk_korean_threshold: float = _number(0.5, 0, 1, "share of Hangul above which a text counts as Korean")
    chunk_korean_size: int = _whole(2000, 1, 1_000_000, "longest chunk of a Korean text")
    chunk_korean_overlap: int = _whole(500, 0, 1_000_000, "overlap of Korean chunks, less than their size")

    @field_validator("beat_s")
    @classmethod
    def _beat_often_enough(cls, value: float, info: ValidationInfo) -> float:
        """Keep three beats within the time after which a silent process counts as dead."""
        frozen_after_s: float = info.data.get("frozen_after_s", value * 3)
        return min(value, frozen_after_s / 3)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what was passed, and nothing else; if nothing was, the process's environment."""
        if init_settings():
            return (init_settings,)
        return (InitSettingsSource(settings_cls, _read(os.environ)),)

    def require_dsn(self, given: str | None = None) -> str | None:
        """Return the DSN (`given`, as by `--dsn`, wins), or None where the embedded Postgres may serve.

        Raises:
            ConfigError: none in production: an empty embedded database must not stand in for a lost setting.
        """
        dsn = given or self.dsn
        if dsn is None and self.env == "production":
            raise ConfigError(f"RKYC_DSN is required in production: set it to {DSN_EXPECTED}")
        return dsn


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Read and check all settings.

    In development a missing ENCRYPTION_KEY is no error here: a process that may need it calls
    `validate_encryption_key`, which warns.

    Raises:
        ConfigError: one line for each variable that can't be used; `details["variables"]` names them.
    """
    given = _read(environ)
    problems = _check_keys(given)
    try:
        settings = Settings(**given)
        problems |= _check_pairs(settings)
    except pydantic.ValidationError as error:
        problems |= dict(_explain(item, given) for item in error.errors(include_url=False))
    if problems:
        raise ConfigError("\n".join(problems.values()), {"variables": sorted(problems)})
    return settings


@dataclass(frozen=True, slots=True)
class SettingInfo:
    """One row of the list of settings for people; `value` is masked where it is secret."""

    name: str
    value: str
    default: str
    expected: str
    description: str


def describe_settings(settings: Settings) -> Iterator[SettingInfo]:
    """Yield every setting with its value, default, range and meaning, in the order of the class."""
    for attribute, field in Settings.model_fields.items():
        name = str(field.validation_alias)
        value = getattr(settings, attribute)
        shown = "" if value in (None, {}) else _mask(name, str(value))
        default = "" if field.default in (None, {}) else str(field.default)
        yield SettingInfo(name, shown, default, _expected(name), field.description or "")


def _read(environ: Mapping[str, str]) -> dict[str, Any]:
    """Pick our variables out of an environment, the versions of the key under one name."""
    names = [str(field.validation_alias) for field in Settings.model_fields.values()]
    given: dict[str, Any] = {name: value for name in names if (value := environ.get(name, "").strip())}
    # ENV also names a shell's start-up file: it counts only where it says one of the three.
    if "RKYC_ENV" not in given and environ.get("ENV") in ENVIRONMENTS:
        given["RKYC_ENV"] = environ["ENV"]
    given.setdefault("RKYC_DATA_DIR", data_dir_default(environ))
    older = {name: _OLDER_KEY.fullmatch(name) for name in environ}
    given[_OLDER_KEYS] = {int(match[1]): environ[name] for name, match in older.items() if match}
    return given


def _explain(error: Any, given: Mapping[str, Any]) -> tuple[str, str]:
    """Return which variable is wrong, and one line about it."""
    name = str(error["loc"][0])
    return name, f"{name} can't be used: got {_mask(name, str(given[name]))!r}, expected {_expected(name)}"


def _check_keys(given: Mapping[str, Any]) -> dict[str, str]:
    env = given.get("RKYC_ENV", "development")
    if env not in ("production", "staging"):
        return {}
    keys = {f"ENCRYPTION_KEY_V{version}": key for version, key in given[_OLDER_KEYS].items()}
    problems = {}
    for name, key in {"ENCRYPTION_KEY": given.get("ENCRYPTION_KEY"), **keys}.items():
        try:
            validate_encryption_key(key, env, name=name)
        except ValueError as error:
            problems[name] = str(error)
    return problems


def _check_pairs(settings: Settings) -> dict[str, str]:
    """Check the values that must be below another one."""
    pairs = (
        ("chunk_raw_section_overlap", "chunk_raw_section_size"),
        ("chunk_korean_overlap", "chunk_korean_size"),
        ("task_soft_time_limit", "task_time_limit"),
    )
    problems = {}
    for lower, upper in pairs:
        value, bound = getattr(settings, lower), getattr(settings, upper)
        if value is not None and bound is not None and value >= bound:
            name = _name_variable(lower)
            expected = f"less than {_name_variable(upper)} ({bound:g})"
            problems[name] = f"{name} can't be used: got '{value:g}', expected {expected}"
    return problems


def _mask(name: str, value: str) -> str:
    """Hide what is secret: keys whole, the login of an address."""
    if re.search(r"_(KEYS?(_V\d+)?|SECRET)\Z", name):
        return "***"
    if name.endswith(("DSN", "_URL")):
        if "password" in value.lower():
            return "***"
        return re.sub(r"\A([^/@]*//)?.*@", lambda match: f"{match[1] or ''}***@", value)
    return value if len(value) <= 80 else value[:80] + "…"


def _expected(name: str) -> str:
    field = next(field for field in Settings.model_fields.values() if field.validation_alias == name)
    extra = field.json_schema_extra
    return str(extra["expected"]) if isinstance(extra, dict) else "text"
