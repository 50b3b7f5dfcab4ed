"""Settings from the environment (`TANLIAN_*`) and `.env`. I/O: reads those two, once, at start."""

from datetime import timedelta
from pathlib import Path

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from standards.methodology import CURRENT_METHODOLOGY


class Settings(BaseSettings):
    """Everything an operator may set; defaults run the embedded hub under `./var/`."""

    model_config = SettingsConfigDict(env_prefix="TANLIAN_", env_file=".env", extra="ignore", frozen=True)

    database_url: str = "sqlite:///var/tanlian.db"
    issuer: str = Field(default="http://127.0.0.1:8000", description="the base address; also the OAuth issuer")
    keys_dir: Path = Path("var/keys")
    log_origin: str = Field(default="tanlian.local/log", description="name of the interconnection log and of its key")
    log_sign_every: timedelta = Field(
        default=timedelta(seconds=1),
        gt=timedelta(0),
        le=timedelta(seconds=5),
        description="the worker sequences and signs waiting leaves so often",
    )
    log_alarm_after: timedelta = Field(
        default=timedelta(seconds=60),
        gt=timedelta(0),
        description="alarm when a leaf has waited so long for its checkpoint",
    )
    log_stop_after: timedelta = Field(
        default=timedelta(hours=4), description="nothing more that needs a leaf is accepted when one has waited so long"
    )
    witness_policy: Path | None = Field(
        default=None, description="tlog-policy file: the witnesses that are asked to cosign the log, and their quorum"
    )
    host: str = "127.0.0.1"
    port: int = 8000
    allow_loopback: bool = Field(
        default=False, description="participants may mark loopback origins (sandbox and tests only)"
    )
    mappings_dir: Path | None = Field(default=None, description="the operator's own mapping files, beside the hub's")
    methodology: str = CURRENT_METHODOLOGY
    max_body_bytes: int = 16 * 1024 * 1024
    max_rows_per_delivery: int = 100_000
    max_statement_bytes: int = Field(
        default=128 * 1024 * 1024, description="lines of a stream's statement, about a hundred bytes each"
    )
    challenge_period: timedelta = Field(
        default=timedelta(days=7), description="a window may be final this long after it became provisional"
    )
    window_length: timedelta = Field(default=timedelta(days=1), description="the worker seals an older open window")
    consent_look_back: timedelta = Field(
        default=timedelta(days=92), description="acts this far back may be fetched when an account is linked"
    )
    worker_idle: timedelta = Field(default=timedelta(seconds=1), description="pause of a worker that found no work")
    lease: timedelta = Field(default=timedelta(seconds=60), description="how long a worker may keep a link unheard")
    max_pages_per_fetch: int = 10_000
    links_a_group: int = Field(default=64, ge=1, le=1000, description="links of one feed that a worker reads together")
    clear_group_records: int = Field(default=100_000, description="about how many records one clearing step holds")
    session_idle: timedelta = Field(
        default=timedelta(hours=1), description="a person who does nothing for so long has to sign in again"
    )
    trusted_proxies: int = Field(
        default=0, ge=0, le=10, description="how many proxies of the operator's own add to X-Forwarded-For"
    )
    dpop_nonce: bool = Field(default=True, description="proofs of keys need a fresh nonce of this server")
    trusted_registries: Path | None = Field(
        default=None, description="JSON file: issuer of software statements -> its JWKS; without it nobody registers"
    )
    client_certificate_header: str | None = Field(
        default=None,
        description="header in which the operator's own proxy tells the client's TLS certificate (RFC 9440)",
    )
    ask_again_after: timedelta = Field(
        default=timedelta(days=1), description="a recipient that was refused may not ask the same person again sooner"
    )
    key_overlap: timedelta = Field(
        default=timedelta(days=1), description="a new signing key is published this long before it signs"
    )
    precheck_calls_per_minute: int = Field(
        default=60, ge=1, description="how often a platform may ask what is claimed already"
    )
    precheck_events_per_day: int = Field(
        default=100_000, ge=0, description="about how many acts a platform may ask in a day; 0 lets nobody ask"
    )
    totals_k: int = Field(default=10, ge=10, le=1000, description="totals are told of so many people or more")
    totals_p_percent: int = Field(
        default=25,
        ge=5,
        le=100,
        description="p% rule of totals; 25: nobody has more than 80 % of a figure that is told",
    )
    totals_of_months_under_way: bool = Field(
        default=True, description="false: a month's totals are told when it is over, in fewer and larger parts"
    )
    dispute_acknowledge_weekdays: int = Field(
        default=1, ge=1, le=60, description="Monday to Friday in Asia/Shanghai, from the opening of a dispute"
    )
    dispute_evidence_weekdays: int = Field(
        default=5, ge=1, le=60, description="how long both sides of a dispute may write, in such days"
    )
    dispute_decision_weekdays: int = Field(
        default=15, ge=1, le=250, description="after so many such days a dispute that is not decided is overdue"
    )

    @property
    def log_head_file(self) -> Path:
        """Return where the log's signer remembers what it signed last."""
        return self.keys_dir / "log-head"

    @model_validator(mode="after")
    def _alarm_before_stopping(self) -> "Settings":
        if self.log_stop_after <= self.log_alarm_after:
            raise ValueError("TANLIAN_LOG_STOP_AFTER must be longer than TANLIAN_LOG_ALARM_AFTER")
        return self
