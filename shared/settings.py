"""The only reader of the environment: every setting, its default, its check and its documentation."""

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from riskline.shared.access.api_keys import ApiKey, parse_keys
from riskline.shared.access.rate import Rate, parse_rate
from riskline.shared.domain.capacity import Target
from riskline.shared.errors import SettingsError
from riskline.shared.store.connect.url import (
    CLUSTER_SCHEMES,
    SENTINEL_SCHEMES,
    check_plain_url,
    is_cluster_url,
    is_sentinel_url,
    parse_cluster_url,
    parse_sentinel_url,
)
from riskline.shared.webhooks.schedule import SPEC_SCHEDULE, Schedule
from riskline.shared.webhooks.signing import parse_secrets
from riskline.shared.webhooks.url import Allowed, parse_callback_url

UNSIGNED = "a callback could not be signed; `riskline keys new --webhook` makes a secret for it"

ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s?#@]+")
"""An origin as browsers spell it (RFC 6454)."""

ALLOWED_HOST = re.compile(r"(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*", re.IGNORECASE)
"""A host name, or `*.` and a domain, for every name below it."""

REDIS_SCHEMES = ("redis://", "rediss://", "unix://", *SENTINEL_SCHEMES)

STORE_SCHEMES = (*REDIS_SCHEMES, *CLUSTER_SCHEMES)

MOST_SHARDS = 64
"""Each worker and API process checks each shard once a second, and keeps connections to it."""

SHORTEST_HISTORY_SECRET = 16
"""Characters; card numbers are few enough to be tried one after another against a key that can be guessed."""


class Settings(BaseSettings):
    """The settings, read from `RISKLINE_*` variables (and `REDIS_URL`)."""

    model_config = SettingsConfigDict(env_prefix="RISKLINE_", frozen=True, extra="ignore")

    redis_url: str | None = Field(
        default=None,
        validation_alias=AliasChoices("redis_url", "REDIS_URL"),
        description="The Redis to use (`redis://`, `rediss://`, `unix://`), or its sentinels "
        "(`redis+sentinel://host:26379,host:26379/master`, `rediss+sentinel://`). Unset, `riskline up` "
        "starts one.",
    )
    store_url: str | None = Field(
        default=None,
        description="The Redis of the transactions, in the same forms or as nodes of a Redis Cluster "
        "(`redis+cluster://host:6379,host:6379`, `rediss+cluster://`). Unset, they are in the Redis of "
        "`REDIS_URL`, which always has RQ's tickets.",
    )
    shards: Annotated[int, Field(ge=1, le=MOST_SHARDS)] = Field(
        default=1,
        description="The number of shards of the store: the number of nodes of its Redis Cluster, or a few times that, "
        "so that nodes can be added. It is fixed when the store is made, and checked at each start.",
    )
    history: Literal["preferred", "required"] = Field(
        default="preferred",
        description="What happens to a transaction while its history cannot be read. `preferred`: the version's model "
        "without history decides it, and the decision says so. `required`: it is answered 503.",
    )
    history_url: str | None = Field(
        default=None,
        description="The Redis of the history, in the same forms as `RISKLINE_STORE_URL`. Unset, it is in the Redis "
        "of the transactions.",
    )
    history_timeout: Annotated[float, Field(gt=0)] = Field(
        default=0.01, description="Seconds after which the history is treated as away."
    )
    history_secret: SecretStr | None = Field(
        default=None,
        description="The key of the hashes by which the history names cards and other entities, at least 16 "
        "characters: the same for all API processes. With another key everything kept so far is unknown. Unset, it is "
        "in the file `history_secret` of the data directory, which is made once.",
    )
    data: Path = Field(
        default=Path(".riskline"), description="The directory of this installation's state: models and Redis's files."
    )
    models: Path | None = Field(
        default=None, description="The directory of model bundles. Unset, `models` in the data directory."
    )
    model_version: str | None = Field(
        default=None,
        description="The model version to serve in place of the active one; for bundles baked into an image.",
    )
    transaction: str = Field(
        default="riskline:Transaction",
        description="The transaction class, as `package.module:Class`.",
    )
    host: str = Field(default="127.0.0.1", description="The address on which the API listens.")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(default=8000, description="The port on which the API listens.")
    processes: Annotated[int, Field(ge=1, le=256)] = Field(
        default=1, description="The number of API processes that share the port."
    )
    auth: Literal["keys", "off"] = Field(
        default="keys",
        description="`off` accepts every caller that reaches the port. `keys` asks for a key once there is one; "
        "without any key the API serves loopback only.",
    )
    api_keys: SecretStr | None = Field(
        default=None,
        description="API keys, as the lines with hashes that `riskline keys new --print-setting` prints, separated by "
        "commas or whitespace.",
    )
    api_keys_file: Path | None = Field(
        default=None,
        description="The file of such lines, which must exist and is checked every second. Unset, `api_keys` in the "
        "data directory, once `riskline keys new` has made it.",
    )
    rate_limit: str | None = Field(
        default=None,
        description="The rate of each API key, like `100/s`, `6000/min` or `30/10s`, counted in requests and in rows "
        "of a batch. As many may come at once; any above the rate is answered 429. A key may have a rate "
        "of its own (`riskline keys new --rate`). Where no keys are asked for, all callers share one rate.",
    )
    api_key: SecretStr | None = Field(
        default=None,
        description="The API key with which `riskline score --url` calls a service. The service does not use it.",
    )
    result_ttl: Annotated[int, Field(ge=1)] = Field(
        default=86_400,
        description="Seconds for which a decision is kept, and with it the idempotency of its submission.",
    )
    failed_ttl: Annotated[int, Field(ge=1)] = Field(
        default=604_800,
        description="Seconds for which a failed transaction is kept, to be inspected and replayed.",
    )
    feed_length: Annotated[int, Field(ge=1)] = Field(
        default=1_000_000, description="The number of decisions kept in the feed; older ones leave it."
    )
    queue_limit: Annotated[int, Field(ge=1)] = Field(
        default=1_000_000, description="The most undecided transactions; further submissions are answered 503."
    )
    max_body_bytes: Annotated[int, Field(ge=1024)] = Field(
        default=65_536, description="The largest request body of a single transaction, in bytes."
    )
    max_batch_rows: Annotated[int, Field(ge=1)] = Field(
        default=10_000,
        description="The most rows of one batch; each row may have as many bytes as a single transaction.",
    )
    max_connections: Annotated[int, Field(ge=1)] = Field(
        default=10_000, description="The most connections of one API process; further ones are answered 503."
    )
    max_in_flight: Annotated[int, Field(ge=1)] = Field(
        default=4_000,
        description="The most unanswered requests to the synchronous door of one API process; further ones are "
        "answered 503.",
    )
    max_waits: Annotated[int, Field(ge=0)] = Field(
        default=5_000,
        description="The most clients of one API process that wait at a time (`wait`, `Prefer: wait`); a further one "
        "is answered at once.",
    )
    request_timeout: Annotated[float, Field(gt=0)] = Field(
        default=15.0,
        description="Seconds in which a client must send the next 1,000 bytes of a request, else it is answered 408; "
        "also the limit for the first byte on a new connection.",
    )
    stop_delay: Annotated[float, Field(ge=0)] = Field(
        default=5.0,
        description="Seconds for which an API process goes on answering after SIGTERM. Each answer closes its "
        "connection and `/health/ready` is 503, so that clients and load balancers go elsewhere first.",
    )
    keep_alive: Annotated[int, Field(ge=1)] = Field(
        default=75,
        description="Seconds after which a connection without requests is closed. Set it above the idle timeout of a "
        "load balancer in front, which is often 60.",
    )
    cors_origins: str = Field(
        default="",
        description="Origins whose pages may call the API from a browser, separated by commas (`https://ops.example`), "
        "or `*`. None by default.",
    )
    allowed_hosts: str = Field(
        default="",
        description="Host names, beside `localhost` and addresses, by which an API that asks for no key may be called, "
        "separated by commas: `riskline.internal`, `*.ops.example` for all names below it, `*` for any. "
        "Without this check a web page could point its own name at the API and call it from a browser.",
    )
    record: Literal["best-effort", "strict"] = Field(
        default="best-effort",
        description="The time of the synchronous door's answer. `best-effort`: at once, and the decision is recorded "
        "afterwards. `strict`: after the record is safe in Redis; while Redis is away the answer is 503, "
        "as for the queue.",
    )
    record_buffer: Annotated[int, Field(ge=0)] = Field(
        default=100_000,
        description="The most synchronous decisions kept in memory while Redis is away, to be recorded later.",
    )
    redis_timeout: Annotated[float, Field(gt=0)] = Field(
        default=2.0, description="Seconds after which the API treats a silent Redis as unreachable."
    )
    replicas: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="The number of Redis replicas that must confirm a submission before it is answered 202, and a "
        "decision under `RISKLINE_RECORD=strict`. With fewer confirmations within half of "
        "`RISKLINE_REDIS_TIMEOUT` the answer is 503.",
    )
    callback_secret: SecretStr | None = Field(
        default=None,
        description="The `whsec_…` secret that signs callbacks (`riskline keys new --webhook` makes one). While it is "
        "replaced, several separated by commas: all sign, in this order. Without a secret callbacks are "
        "refused.",
    )
    callback_allow: str = Field(
        default="",
        description="Private hosts and networks that callbacks may reach, by http too and on any port: "
        "`127.0.0.1/32,hooks.internal`.",
    )
    callback_schedule: str = Field(
        default=SPEC_SCHEDULE,
        description="Seconds before each attempt to deliver a callback, counted from the end of the attempt before and "
        "varied by a fifth. After the last attempt the callback is a dead letter.",
    )
    callback_url: str | None = Field(
        default=None,
        description="The URL for the decisions of submissions without a `callback_url` of their own. Clients see its "
        "host only.",
    )
    callback_host_limit: Annotated[int, Field(ge=1, le=500)] = Field(
        default=150, description="The most simultaneous deliveries to one host by one delivery worker."
    )
    console_columns: str | None = Field(
        default=None,
        description="Fields of a transaction in the console's list of decisions, separated by commas, for users who "
        "ask to see values. Unset, the first two.",
    )
    alive_file: Path | None = Field(
        default=None,
        description="A file that a worker touches once a second, for a health check (`python -m riskline.worker.alive "
        "FILE`).",
    )
    scale_utilisation: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.7,
        description="The share of time that each worker should be busy, for `riskline_workers_needed` and `riskline "
        "scale`.",
    )
    scale_drain: Annotated[float, Field(gt=0)] = Field(
        default=60.0, description="Seconds in which the proposed workers should decide a backlog."
    )
    scale_min: Annotated[int, Field(ge=1)] = Field(default=1, description="The smallest number of workers to propose.")
    scale_max: Annotated[int, Field(ge=1)] = Field(default=100, description="The largest number of workers to propose.")
    traces: Literal["off", "otlp"] = Field(
        default="off",
        description="`otlp` sends traces, configured by OpenTelemetry's own variables (`OTEL_EXPORTER_OTLP_ENDPOINT`, "
        "`OTEL_TRACES_SAMPLER`, …), which its SDK reads. It needs the packages of the extra `otel`.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="The lowest log level shown."
    )
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="`auto` is `console` on a terminal and `json` elsewhere."
    )

    @field_validator("redis_url")
    @classmethod
    def _known_scheme(cls, value: str | None) -> str | None:
        if value is not None and is_cluster_url(value):
            raise ValueError(
                "must name one Redis, or its sentinels, for RQ's tickets; a cluster is named in RISKLINE_STORE_URL"
            )
        return _checked_url(value, REDIS_SCHEMES)

    @field_validator("store_url", "history_url")
    @classmethod
    def _known_store_scheme(cls, value: str | None) -> str | None:
        return _checked_url(value, STORE_SCHEMES)

    @field_validator("api_keys")
    @classmethod
    def _good_keys(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value().strip():
            return None
        if not parse_keys(value.get_secret_value()):
            raise ValueError("has no key: give it the lines of keys, or nothing")
        return value

    @field_validator("api_keys_file", "api_key", "alive_file", mode="before")
    @classmethod
    def _some(cls, value: object) -> object:
        # a compose file sets an unset variable to the empty string
        return value or None

    @field_validator("history_secret")
    @classmethod
    def _long_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():
            return None
        if len(value.get_secret_value()) < SHORTEST_HISTORY_SECRET:
            raise ValueError(f"is shorter than {SHORTEST_HISTORY_SECRET} characters: `openssl rand -hex 32` makes one")
        return value

    @field_validator("callback_secret")
    @classmethod
    def _good_secrets(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():
            return None
        parse_secrets(value.get_secret_value())
        return value

    @field_validator("rate_limit")
    @classmethod
    def _good_rate(cls, value: str | None) -> str | None:
        if not value:
            return None
        return str(parse_rate(value))

    @field_validator("callback_allow")
    @classmethod
    def _hosts_and_networks(cls, value: str) -> str:
        Allowed.parse(value)
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: str) -> str:
        for origin in parse_origins(value):
            if origin != "*" and not ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin} is no origin: write https://host or https://host:port, without a path")
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _host_names(cls, value: str) -> str:
        for name in parse_origins(value):
            if name != "*" and not ALLOWED_HOST.fullmatch(name):
                raise ValueError(
                    f"{name} is no host name: write riskline.internal, *.ops.example or *, without a scheme or a port"
                )
        return value

    @field_validator("callback_schedule")
    @classmethod
    def _seconds(cls, value: str) -> str:
        # a compose file sets an unset variable to the empty string
        Schedule.parse(value or SPEC_SCHEDULE)
        return value or SPEC_SCHEDULE

    @model_validator(mode="after")
    def _default_callback_can_be_made(self) -> Self:
        if self.callback_url:
            if self.callback_secret is None:
                raise ValueError(f"RISKLINE_CALLBACK_URL is set and RISKLINE_CALLBACK_SECRET is not: {UNSIGNED}")
            try:
                parse_callback_url(self.callback_url, self.allowed)
            except ValueError as error:
                raise ValueError(f"RISKLINE_CALLBACK_URL: {error}") from None
        return self

    @model_validator(mode="after")
    def _least_is_no_more_than_most(self) -> Self:
        if self.scale_min > self.scale_max:
            raise ValueError(f"RISKLINE_SCALE_MIN is {self.scale_min}, more than RISKLINE_SCALE_MAX, {self.scale_max}")
        return self

    @property
    def scale_target(self) -> Target:
        """The target for the number of workers."""
        return Target(self.scale_utilisation, self.scale_drain, self.scale_min, self.scale_max)

    @property
    def models_dir(self) -> Path:
        """The directory of model bundles."""
        return self.models if self.models is not None else self.data / "models"

    @property
    def keys_file(self) -> Path:
        """The file of API keys that `riskline keys new` makes."""
        return self.api_keys_file if self.api_keys_file is not None else self.data / "api_keys"

    @property
    def own_keys(self) -> tuple[ApiKey, ...]:
        """The API keys among the settings."""
        return () if self.api_keys is None else parse_keys(self.api_keys.get_secret_value())

    @property
    def rate(self) -> Rate | None:
        """The rate of a key without a rate of its own."""
        return None if self.rate_limit is None else parse_rate(self.rate_limit)

    @property
    def is_loopback(self) -> bool:
        """True where only this machine reaches the API."""
        return _is_loopback(self.host)

    @property
    def required_redis_url(self) -> str:
        """The Redis URL of a process that needs one.

        Raises:
            SettingsError: REDIS_URL is not set.
        """
        if self.redis_url is None:
            raise SettingsError("REDIS_URL is not set: name a Redis, or use `riskline up`, which starts one")
        return self.redis_url

    @property
    def required_store_url(self) -> str:
        """The URL of the Redis with the transactions.

        Raises:
            SettingsError: REDIS_URL is not set.
        """
        return self.required_redis_url if self.store_url is None else self.store_url

    @property
    def required_history_url(self) -> str:
        """The URL of the Redis with the history.

        Raises:
            SettingsError: REDIS_URL is not set.
        """
        return self.required_store_url if self.history_url is None else self.history_url

    @property
    def callback_secrets(self) -> tuple[str, ...]:
        """The secrets that sign callbacks; empty where none is set."""
        return () if self.callback_secret is None else parse_secrets(self.callback_secret.get_secret_value())

    @property
    def default_callback_url(self) -> str | None:
        """The default callback URL in its canonical spelling."""
        return parse_callback_url(self.callback_url, self.allowed).url if self.callback_url else None

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names by which an API without keys may be called, including the name on which it listens."""
        return (*parse_origins(self.allowed_hosts), self.host)

    @property
    def cors(self) -> tuple[str, ...]:
        """The origins whose pages may call the API."""
        return parse_origins(self.cors_origins)

    @property
    def console_fields(self) -> tuple[str, ...] | None:
        """The fields that the console's list of decisions shows; None where none are named."""
        named = tuple(each.strip() for each in (self.console_columns or "").split(",") if each.strip())
        return named or None

    @property
    def allowed(self) -> Allowed:
        """Private hosts and networks that callbacks may reach."""
        return Allowed.parse(self.callback_allow)

    def environment(self) -> dict[str, str]:
        """The environment in which another process has these settings."""
        return {variable_name(name): _spelled(value) for name, value in self if value is not None}


def _checked_url(value: str | None, schemes: tuple[str, ...]) -> str | None:
    if not value:
        # a compose file sets an unset variable to the empty string
        return None
    if not value.startswith(schemes):
        raise ValueError(f"must begin with one of {', '.join(schemes)}")
    if is_cluster_url(value):
        parse_cluster_url(value)
    elif is_sentinel_url(value):
        parse_sentinel_url(value)
    else:
        check_plain_url(value)
    return value


def parse_origins(listed: str) -> tuple[str, ...]:
    """The origins of a comma-separated list."""
    return tuple(filter(None, map(str.strip, listed.split(","))))


def _spelled(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


PLAIN_WORDS = {
    "be a valid integer": "be a whole number",
    "be a valid number": "be a number",
    "be a valid boolean": "be true or false",
    "be greater than or equal to": "be at least",
    "be less than or equal to": "be at most",
}
"""Messages in place of the validation library's own."""


def load_settings(**overrides: object) -> Settings:
    """The settings from the environment; an override that is not None outranks it.

    Raises:
        SettingsError: names each variable with a wrong value, what is wrong with it, and the default.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        raise SettingsError("; ".join(_explain(problem["loc"], problem["msg"]) for problem in error.errors())) from None


def variable_name(field: str) -> str:
    """The environment variable of a settings field."""
    return "REDIS_URL" if field == "redis_url" else f"RISKLINE_{field.upper()}"


def _explain(location: tuple[int | str, ...], message: str) -> str:
    message = _plain(message.removeprefix("Value error, "))
    if not location:
        return message
    field = str(location[0]).lower()
    default = Settings.model_fields[field].default
    return (
        f"{variable_name(field)}: {message[0].lower()}{message[1:]} (default: {'none' if default is None else default})"
    )


def _plain(message: str) -> str:
    """The validation library's message without its own terms."""
    message = message.partition(", unable to parse")[0].replace("Input should", "must")
    for its_own, plain in PLAIN_WORDS.items():
        message = message.replace(its_own, plain)
    return message


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
