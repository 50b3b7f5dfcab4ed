"""What the authorization server and the API publish about themselves: RFC 8414, RFC 9728, RFC 7517. Pure."""

from typing import Any

from consent import assertions, dpop
from consent.clients import GRANT_TYPES, SCOPES
from consent.details import TYPE
from consent.keyring import KeyRing


def server_metadata(issuer: str, *, mtls: bool) -> dict[str, Any]:
    """The RFC 8414 document. It names what is there and nothing else."""
    signing = list(assertions.ALGORITHMS)
    endpoints = {
        "pushed_authorization_request_endpoint": "par", "authorization_endpoint": "authorize", "token_endpoint": "token",
        "introspection_endpoint": "introspect", "revocation_endpoint": "revoke", "registration_endpoint": "register",
        "grant_management_endpoint": "grants", "jwks_uri": "jwks",
    }  # fmt: skip
    return {
        "issuer": issuer,
        **{name: f"{issuer}/oauth/{path}" for name, path in endpoints.items()},
        "scopes_supported": list(SCOPES),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": list(GRANT_TYPES),
        "code_challenge_methods_supported": ["S256"],
        "require_pushed_authorization_requests": True,
        "authorization_response_iss_parameter_supported": True,
        "authorization_details_types_supported": [TYPE],
        "dpop_signing_alg_values_supported": list(dpop.ALGORITHMS),
        "tls_client_certificate_bound_access_tokens": mtls,
        "grant_management_actions_supported": ["create", "merge", "replace", "query", "revoke"],
        "grant_management_action_required": False,
        **{
            f"{name}_endpoint_auth_{what}_supported": values
            for name in ("token", "introspection", "revocation")
            for what, values in (("methods", ["private_key_jwt"]), ("signing_alg_values", signing))
        },
    }


def resource_metadata(issuer: str, *, mtls: bool) -> dict[str, Any]:
    """The RFC 9728 document of the API, whose resource identifier is the base address."""
    return {
        "resource": issuer,
        "authorization_servers": [issuer],
        "scopes_supported": list(SCOPES),
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": list(dpop.ALGORITHMS),
        "dpop_bound_access_tokens_required": not mtls,
        "tls_client_certificate_bound_access_tokens": mtls,
        "authorization_details_types_supported": [TYPE],
        "resource_name": "Tanlian 碳联",
    }


def server_jwks(keyring: KeyRing) -> dict[str, Any]:
    """Public halves of all signing keys, retired ones too, so that what an older one signed still verifies."""
    return {"keys": keyring.published()}
