"""The service's settings; the only reader of the environment."""

from __future__ import annotations

import os
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from rockbank.core.errors import InputError
from rockbank.generator.windows import SIDE_MAX

PREFIX = "ROCKBANK_"
MIB = 1024**2
# Old names of settings, which the environment may have for one version more.
_RENAMED = {"notice_seconds": "shutdown_delay_seconds"}
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+")
_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}@[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class SettingsError(InputError):
    """A setting has a value that cannot be used."""


class Settings(BaseSettings):
    """What configures the service, by `ROCKBANK_<NAME>` in the environment or by keyword."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 for every one of the machine")
    port: int = Field(8000, ge=0, le=65535, description="port for HTTP; 0 takes a free one")
    grpc_port: int | None = Field(None, ge=0, le=65535, description="port for gRPC (extra `grpc`); unset, none")
    tls_cert_file: Path | None = Field(
        None,
        description="PEM of the certificate, and of those between it and its root, for HTTP and gRPC; unset, plain",
    )
    tls_key_file: Path | None = Field(None, description="PEM of the certificate's key, without a password")
    models: Annotated[tuple[str, ...], NoDecode] = Field(
        ("shale@champion", "channels@champion"), description="what is served, NAME@ALIAS, separated by commas"
    )
    tracking_uri: str | None = Field(
        None, description="MLflow's server or store; unset, MLFLOW_TRACKING_URI, else sqlite in the working folder"
    )
    cache: Path = Field(
        Path(".serving"),
        description="folder of pulled versions, of this service alone; verified at a load, serves while MLflow is down",
    )
    poll_seconds: float = Field(10.0, gt=0, description="between two reads of the aliases")
    alias_timeout_seconds: float = Field(5.0, gt=0, description="after which a read of an alias is given up")
    load_timeout_seconds: float = Field(300.0, gt=0, description="after which a load of a version is given up")
    threads: int = Field(0, ge=0, le=1024, description="of onnxruntime for one batch; 0 for one a core")
    require_gpu: bool = Field(False, description="refuse a version whose session does not run on CUDA")
    cuda_graphs: bool = Field(False, description="replay one CUDA graph a bucket; where a GPU is")
    max_batch: int = Field(16, ge=1, le=1024, description="samples computed at once, at most")
    max_wait_ms: float = Field(2.0, ge=0, le=1000, description="a batch waits this long for requests on their way, ms")
    max_queue: int = Field(256, ge=1, description="samples waiting for computation in one model; more get 429")
    deadline_seconds: float = Field(30.0, gt=0, description="to the first samples, and between blocks of a stream; 504")
    send_seconds: float = Field(30.0, gt=0, description="a client that takes no bytes for this long is cut off")
    max_n: int = Field(10_000, ge=1, description="samples of one request, at most")
    max_jobs: int = Field(16, ge=1, description="jobs that wait, at most; more get 429")
    max_job_n: int = Field(1_000_000, ge=1, description="samples of one job, at most")
    max_job_bytes: int = Field(
        16 * 1024 * MIB, ge=1024, description="of a job's file, and of all of them together; the oldest are removed"
    )
    job_seconds: float = Field(24 * 3600.0, gt=0, description="that a job's file is kept after the job was sent")
    max_tries: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="samples of which a request with a condition keeps its own, at most; 422",
    )
    max_side: int = Field(
        SIDE_MAX,
        ge=1,
        le=SIDE_MAX,
        description="pixels of an endless image's side, at most; a request has at most its square",
    )
    max_body_bytes: int = Field(
        64 * MIB, ge=1024, description="of a request's body, also once decompressed; more get 413"
    )
    max_buffered_bytes: int = Field(
        64 * MIB, ge=1024, description="of float32 samples in a response that cannot be streamed (infer, png); 413"
    )
    max_message_bytes: int = Field(
        4 * MIB, ge=1024, description="of a gRPC message, which is taken whole before its size is known"
    )
    max_memory_bytes: int | None = Field(
        None,
        ge=1024,
        description="of all requests' bodies and answers together, more get 503; unset, 8 times what one may have",
    )
    max_connections: int = Field(
        1000,
        ge=1,
        description="at once, for HTTP and for gRPC each; the limit of open files lowers it; over HTTP more get 503",
    )
    trusted_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="names of this service in its clients' URLs, besides addresses, localhost and the machine's own; "
        "* for any",
    )
    trusted_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="whose web pages may ask, such as https://rock.example.org, besides the service's own"
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="addresses or networks whose X-Forwarded-For is believed; unset, nobody's"
    )
    keys_file: Path | None = Field(
        None, description="lines of name:sha256[:user|admin][:requests a minute][:limit=value..]; unset, open"
    )
    rate_per_minute: float | None = Field(
        None, gt=0, description="requests a minute for each key, or for each address in an open service; unset, any"
    )
    samples_per_minute: float | None = Field(None, gt=0, description="samples a minute, likewise; unset, any")
    max_concurrent: int | None = Field(None, ge=1, description="requests at once, likewise; unset, any")
    signing_key_file: Path | None = Field(
        None, description="PEM of the Ed25519 key that signs bundles of versions; unset, they are not signed"
    )
    webhook_secret: SecretStr | None = Field(
        None, description="shared with MLflow's webhook; unset, the webhook is off"
    )
    canary_weight: float = Field(0.0, ge=0, le=1, description="part of the requests that the canary answers")
    canary_alias: str = Field("candidate", description="whose version is the canary")
    canary_promotes: bool = Field(
        False, description="a canary that keeps its rules becomes champion; unset, that is only logged and counted"
    )
    canary_seconds: float = Field(600.0, gt=0, description="that a canary is compared with the champion")
    canary_requests: int = Field(200, ge=1, description="of canary and champion each, before a rule counts")
    canary_error_gain: float = Field(
        0.01, ge=0, le=1, description="by which the canary's part of failed requests may exceed the champion's"
    )
    canary_latency_ratio: float = Field(
        1.5, ge=1, description="of the canary's 95 % latency to the champion's, at most"
    )
    canary_statistics_ratio: float = Field(
        1.5, ge=1, description="of a statistic's distance to its limit, or to the champion's distance, at most"
    )
    audit_file: Path | None = Field(
        None, description="a line of JSON for each admin's call is appended to it; they are logged in any case"
    )
    shadow_fraction: float = Field(0.0, ge=0, le=1, description="part of the requests that the shadow computes too")
    shadow_alias: str = Field("candidate", description="whose version is the shadow")
    shutdown_delay_seconds: float = Field(
        1.0, ge=0, description="between SIGTERM, when `ready` turns 503, and the end of taking connections"
    )
    drain_seconds: float = Field(20.0, gt=0, description="for requests that are being answered when the service stops")
    statistics_fraction: float = Field(0.1, ge=0, le=1, description="part of the samples whose statistics are watched")
    statistics_window: int = Field(256, ge=16, description="samples of one window of the watched statistics")
    golden_seconds: float = Field(3600.0, gt=0, description="between two runs of the golden latent")
    traces_endpoint: str | None = Field(None, description="OTLP over HTTP for traces (extra `otel`); unset, none")
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR")

    @field_validator("models", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        return tuple(each if "@" in each or "/" in each else f"{each}@champion" for each in map(str, value))

    @field_validator("trusted_hosts", "trusted_origins", "trusted_proxies", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("trusted_origins")
    @classmethod
    def _known_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(map(_ORIGIN.fullmatch, value)):
            raise ValueError("name each by scheme, host and port, such as https://rock.example.org")
        return tuple(each.lower() for each in value)

    @field_validator("trusted_proxies")
    @classmethod
    def _known_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            ip_network(each)
        return value

    @field_validator("models")
    @classmethod
    def _known_references(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        names = [reference.split("@")[0] for reference in value]
        # They become names of folders in the cache.
        if not value or not all(map(_REFERENCE.fullmatch, value)) or len(set(names)) != len(names):
            raise ValueError("name each model once, by an alias, such as shale@champion,channels@champion")
        return value

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        if value.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
            raise ValueError("use DEBUG, INFO, WARNING or ERROR")
        return value.upper()

    @model_validator(mode="after")
    def _fitting(self) -> Settings:
        if self.max_queue < self.max_batch:
            raise ValueError(f"max_queue {self.max_queue} is less than max_batch {self.max_batch}; raise max_queue")
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("tls_cert_file and tls_key_file go together; set both, or none")
        if self.max_memory_bytes is not None and self.max_memory_bytes < self._largest:
            raise ValueError(
                f"max_memory_bytes {self.max_memory_bytes} is less than what one request may have, {self._largest}; "
                "raise it, or lower max_body_bytes, max_buffered_bytes and max_message_bytes"
            )
        return self

    @property
    def memory_bytes(self) -> int:
        """Of the bodies and answers of all requests together."""
        return self.max_memory_bytes or 8 * self._largest

    @property
    def _largest(self) -> int:
        return max(self.max_body_bytes, self.max_buffered_bytes, self.max_message_bytes)

    @property
    def names(self) -> tuple[str, ...]:
        """The models' names, without their aliases."""
        return tuple(reference.split("@")[0] for reference in self.models)


def load_settings(**given: Any) -> Settings:
    """The settings of the environment, where `given` (those that are not None) takes precedence.

    Raises:
        SettingsError: a line for each setting that cannot be used, with the value got.
    """
    by_old_name = {
        name: os.environ[_variable(old)]
        for old, name in _RENAMED.items()
        if _variable(old) in os.environ and _variable(name) not in os.environ
    }
    try:
        return Settings(**by_old_name | {key: value for key, value in given.items() if value is not None})
    except ValidationError as error:
        lines = []
        for each in error.errors(include_url=False):
            name = str(each["loc"][0]) if each["loc"] else ""
            about = Settings.model_fields[name].description if name in Settings.model_fields else "no such setting"
            got = "" if name in ("webhook_secret", "") else f", got {each['input']!r}"
            lines.append(f"{_variable(name) if name else 'settings'}: {each['msg'].lower()}{got} ({about})")
        raise SettingsError("; ".join(lines)) from error


def unknown_variables() -> list[str]:
    """Variables of the environment that look like settings and are none: a misspelt one would act by its silence."""
    # The client's own, see rockbank.client; and the commands'.
    others = {"ROCKBANK_URL", "ROCKBANK_API_KEY", "ROCKBANK_EXECUTOR"}
    known = {_variable(name) for name in (*Settings.model_fields, *_RENAMED)} | others
    return sorted(name for name in os.environ if name.startswith(PREFIX) and name.upper() not in known)


def renamed_variables() -> dict[str, str]:
    """Variables of the environment by old names of settings, each with its new name."""
    return {_variable(old): _variable(name) for old, name in _RENAMED.items() if _variable(old) in os.environ}


def _variable(name: str) -> str:
    return PREFIX + name.upper()
