"""Every table of consent/. I/O: none here; a table class validates nothing, the functions beside it do.

Who could falsify a row: whoever writes the database. That is why each change also becomes a log leaf, why sealed
columns are bound to their row, and why what the hub issues (tokens, codes, sessions) is kept only as a hash.
"""

from datetime import date, datetime

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Text, text
from sqlmodel import Field, SQLModel

from consent.types import UtcDateTime


class Person(SQLModel, table=True):
    """One individual. Erasure clears the sealed data key and the name; the row stays so that entries keep an owner."""

    __tablename__ = "person"

    subject_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    username: str | None = Field(default=None, max_length=64, unique=True)
    password_hash: str | None = Field(default=None, max_length=255)
    display_name: str | None = Field(default=None, max_length=120)
    created_at: datetime = Field(sa_type=UtcDateTime)
    data_key: bytes | None = None
    kek_id: str | None = Field(default=None, max_length=32, index=True)
    erased_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    born_sealed: bytes | None = None
    guarded_until: date | None = Field(default=None, description="until this day only the guardian can say yes")
    guardian_id: int | None = Field(default=None, sa_type=BigInteger, index=True)


class WebSession(SQLModel, table=True):
    """A browser session; the cookie holds the token, the row only its hash."""

    __tablename__ = "web_session"

    token_hash: str = Field(primary_key=True, max_length=64)
    subject_id: int | None = Field(default=None, sa_type=BigInteger, index=True, foreign_key="person.subject_id")
    csrf: str = Field(max_length=64)
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
    state: str = Field(default="{}", sa_type=Text)
    used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    proved_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    proof_method: str | None = Field(default=None, max_length=16)


class SignInThrottle(SQLModel, table=True):
    """Failed sign-ins per username (kept as a keyed hash: the name may be no account's, or someone's password)."""

    __tablename__ = "sign_in_throttle"

    name_hash: str = Field(primary_key=True, max_length=64)
    failures: int = 0
    blocked_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime, index=True)


class OAuthClient(SQLModel, table=True):
    """A registered confidential client of the hub's authorization server."""

    __tablename__ = "oauth_client"

    client_id: str = Field(primary_key=True, max_length=64)
    participant: str | None = Field(default=None, max_length=64, index=True)
    client_name: str = Field(max_length=120)
    scope: str = Field(max_length=400)
    grant_types: str = Field(sa_type=Text)
    redirect_uris: str = Field(sa_type=Text)
    jwks: str = Field(sa_type=Text)
    registration: str = Field(sa_type=Text)
    management_hash: str | None = Field(default=None, max_length=64, description="hash of the token of RFC 7592")
    software_id: str | None = Field(default=None, max_length=120)
    shows_certificate: bool = Field(default=False, description="its tokens are bound to its TLS certificate (RFC 8705)")
    created_at: datetime = Field(sa_type=UtcDateTime)
    suspended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class ParRequest(SQLModel, table=True):
    """A pushed authorization request, found by the hash of its request_uri."""

    __tablename__ = "par_request"

    request_hash: str = Field(primary_key=True, max_length=64)
    client_id: str = Field(max_length=64, foreign_key="oauth_client.client_id")
    parameters: str = Field(sa_type=Text)
    dpop_jkt: str | None = Field(default=None, max_length=64)
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
    used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class GuardianRequest(SQLModel, table=True):
    """What a client asks of a child, put to the guardian: no answer yet, a yes that waits for the child, or a no.

    A yes is used up by the grant that it gives; that row has no end any more and is the record of who decided.
    """

    __tablename__ = "guardian_request"
    __table_args__ = (
        # A client asks the guardian of one child for one thing at a time.
        Index(
            "uq_guardian_request_waiting",
            "subject_id",
            "client_id",
            unique=True,
            sqlite_where=text("decided_at IS NULL"),
            postgresql_where=text("decided_at IS NULL"),
        ),
    )

    request_id: str = Field(primary_key=True, max_length=32)
    subject_id: int = Field(sa_type=BigInteger, index=True, foreign_key="person.subject_id", description="the child")
    client_id: str = Field(max_length=64, foreign_key="oauth_client.client_id")
    digest: str = Field(max_length=64, description="of what was asked, as the client wrote it")
    asked: str = Field(sa_type=Text, description="what was asked, as the guardian is shown it")
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime, index=True)
    guardian_id: int | None = Field(default=None, sa_type=BigInteger, description="who decided")
    decided_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    answer: str | None = Field(default=None, max_length=16)
    agreed: str = Field(default="{}", sa_type=Text, description="what the yes was to, and the notice that was read")
    used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    grant_id: str | None = Field(default=None, max_length=32, index=True)
    grant_version: int | None = None


class AuthorizationCode(SQLModel, table=True):
    """A one-time code. A used one stays until it expires, so that a replay is recognised and answered by revocation."""

    __tablename__ = "authorization_code"

    code_hash: str = Field(primary_key=True, max_length=64)
    client_id: str = Field(max_length=64, foreign_key="oauth_client.client_id")
    subject_id: int = Field(sa_type=BigInteger, foreign_key="person.subject_id")
    grant_id: str = Field(max_length=32)
    redirect_uri: str = Field(sa_type=Text)
    code_challenge: str = Field(max_length=64)
    dpop_jkt: str | None = Field(default=None, max_length=64)
    scope: str = Field(max_length=400)
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
    used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class AccessToken(SQLModel, table=True):
    """An opaque access token the hub issued, by hash; checked here on every request, so revoking is immediate."""

    __tablename__ = "access_token"

    token_hash: str = Field(primary_key=True, max_length=64)
    client_id: str = Field(max_length=64, index=True, foreign_key="oauth_client.client_id")
    subject_id: int | None = Field(default=None, sa_type=BigInteger, foreign_key="person.subject_id")
    grant_id: str | None = Field(default=None, max_length=32, index=True)
    scope: str = Field(max_length=400)
    dpop_jkt: str | None = Field(default=None, max_length=64)
    certificate_thumbprint: str | None = Field(default=None, max_length=64)
    code_hash: str | None = Field(default=None, max_length=64, index=True)
    issued_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class RefreshToken(SQLModel, table=True):
    """A refresh token by hash. It is not rotated (FAPI 2.0 5.3.2.1-9): bound to client and key, it lives as its grant does.

    `code_hash` names the code that it came from, so that a code used twice ends what the first use gave.
    """

    __tablename__ = "refresh_token"

    token_hash: str = Field(primary_key=True, max_length=64)
    client_id: str = Field(max_length=64, foreign_key="oauth_client.client_id")
    subject_id: int = Field(sa_type=BigInteger, foreign_key="person.subject_id")
    grant_id: str = Field(max_length=32, index=True)
    scope: str = Field(max_length=400)
    dpop_jkt: str | None = Field(default=None, max_length=64)
    certificate_thumbprint: str | None = Field(default=None, max_length=64)
    code_hash: str | None = Field(default=None, max_length=64, index=True)
    issued_at: datetime = Field(sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class UsedJti(SQLModel, table=True):
    """A one-time identifier already seen, per issuer of it; the primary key is what makes a replay lose the race."""

    __tablename__ = "used_jti"

    issuer: str = Field(primary_key=True, max_length=80)
    jti_hash: str = Field(primary_key=True, max_length=64)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)


class GrantVersion(SQLModel, table=True):
    """One version of what a subject allowed. Append-only; versions of a grant are dense from 1, the highest holds."""

    __tablename__ = "grant_version"
    __table_args__ = (Index("ix_grant_version_subject", "subject_id", "recipient"),)

    grant_id: str = Field(primary_key=True, max_length=32)
    version: int = Field(primary_key=True)
    subject_id: int = Field(sa_type=BigInteger, foreign_key="person.subject_id")
    recipient: str = Field(max_length=64)
    purposes: str = Field(sa_type=Text)
    behaviours: str = Field(sa_type=Text)
    platforms: str = Field(sa_type=Text)
    valid_from: datetime = Field(sa_type=UtcDateTime)
    valid_until: datetime = Field(sa_type=UtcDateTime)
    state: str = Field(max_length=16)
    notice_version: str = Field(max_length=80)
    language: str = Field(max_length=16)
    sensitive: str = Field(default="[]", sa_type=Text)
    frequency: str = Field(default="always", max_length=16)
    data_life_days: int | None = None
    purpose_text: str = Field(default="", sa_type=Text)
    client_id: str | None = Field(default=None, max_length=64, index=True)
    scope: str = Field(default="", max_length=400)
    details: str = Field(default="[]", sa_type=Text, description="authorization_details as granted (RFC 9396)")
    assurance: str = Field(default="none", max_length=16)
    created_at: datetime = Field(sa_type=UtcDateTime)
    reason: str = Field(max_length=80)
    schema_version: int = 1


class Receipt(SQLModel, table=True):
    """What the person was given in writing of one version of a grant: a signed statement, sealed under their data key.

    The digest is of the statement as it was signed; the log leaf of the change holds it too.
    """

    __tablename__ = "receipt"
    __table_args__ = (Index("uq_receipt_version", "grant_id", "version", unique=True),)

    receipt_id: str = Field(primary_key=True, max_length=32)
    grant_id: str = Field(max_length=32)
    version: int
    subject_id: int = Field(sa_type=BigInteger, index=True, foreign_key="person.subject_id")
    created_at: datetime = Field(sa_type=UtcDateTime)
    jws_sealed: bytes
    digest: bytes


class GrantTermsRow(SQLModel, table=True):
    """Sets of words that grants name, kept once each: the id is taken from the content, a row never changes."""

    __tablename__ = "grant_terms"

    terms_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    purposes: str = Field(sa_type=Text)
    behaviours: str = Field(sa_type=Text)
    platforms: str = Field(sa_type=Text)


class GrantCurrent(SQLModel, table=True):
    """The latest version of each grant, for the guard: everything it asks lies together, by person.

    A copy of `grant_version`, written by the same function in the same transaction; guard_copy.find_drift compares them.
    """

    __tablename__ = "grant_current"
    __table_args__ = ({"sqlite_with_rowid": False},)

    subject_id: int = Field(
        sa_column=Column(BigInteger, ForeignKey("person.subject_id"), primary_key=True, autoincrement=False)
    )
    recipient: str = Field(primary_key=True, max_length=64)
    grant_id: str = Field(primary_key=True, max_length=32)
    version: int
    state: str = Field(max_length=16)
    terms_id: int = Field(sa_type=BigInteger)
    valid_from_us: int = Field(sa_type=BigInteger)
    valid_until_us: int = Field(sa_type=BigInteger)


class Link(SQLModel, table=True):
    """A subject's account at a platform, with valid-time. The partial unique index keeps one owner at a time."""

    __tablename__ = "link"
    __table_args__ = (
        Index(
            "uq_link_owner",
            "platform",
            "account_key",
            unique=True,
            sqlite_where=text("valid_until IS NULL"),
            postgresql_where=text("valid_until IS NULL"),
        ),
        # Each holds all that its batch query asks, so that 50,000 people cost no visit to the rows themselves.
        Index("ix_link_account", "platform", "account_key", "valid_from", "valid_until", "subject_id", "link_id"),
        Index("ix_link_subject", "subject_id", "platform", "state", "valid_until"),
        # Few links wait at any time, however many there are.
        Index(
            "ix_link_give_back",
            "give_back_at",
            sqlite_where=text("give_back_at IS NOT NULL"),
            postgresql_where=text("give_back_at IS NOT NULL"),
        ),
    )

    link_id: str = Field(primary_key=True, max_length=32)
    subject_id: int = Field(sa_type=BigInteger, foreign_key="person.subject_id")
    platform: str = Field(max_length=64)
    account_key: str = Field(max_length=32)
    account_sealed: bytes
    grant_id: str = Field(max_length=32, index=True)
    state: str = Field(max_length=16)
    valid_from: datetime = Field(sa_type=UtcDateTime)
    valid_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    scope: str = Field(default="", max_length=400)
    token_sealed: bytes | None = None
    token_expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    token_version: int = 0
    lease_holder: str | None = Field(default=None, max_length=64)
    lease_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_error: str | None = Field(default=None, max_length=80)
    # Set while a token of an ended link waits to be given back: when to try next. Each worker moves it before it tries.
    give_back_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    give_back_tries: int = 0
    created_at: datetime = Field(sa_type=UtcDateTime)


class PlatformPin(SQLModel, table=True):
    """The endpoints of a platform's authorization server as they were when it joined; others are refused from then on."""

    __tablename__ = "platform_pin"

    platform: str = Field(primary_key=True, max_length=64)
    issuer: str = Field(sa_type=Text)
    endpoints: str = Field(sa_type=Text, description="the rest of the metadata that is used, as JSON")
    pinned_at: datetime = Field(sa_type=UtcDateTime)


class LinkAttempt(SQLModel, table=True):
    """A linking in flight: the one-time state, bound to the browser session and person that started it."""

    __tablename__ = "link_attempt"

    state_hash: str = Field(primary_key=True, max_length=64)
    session_hash: str = Field(max_length=64)
    subject_id: int = Field(sa_type=BigInteger, foreign_key="person.subject_id")
    platform: str = Field(max_length=64)
    issuer: str = Field(sa_type=Text)
    redirect_uri: str = Field(sa_type=Text)
    context: str = Field(default="", max_length=64, description="the registration that began it")
    verifier: bytes
    draft: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
    used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
