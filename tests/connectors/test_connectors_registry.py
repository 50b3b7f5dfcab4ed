"""The registry, and what holds for every connector."""

import ast
import base64
from pathlib import Path

import pytest
from tests_support.link_pulls import KEYS

import connectors
from connectors.base import CheckResult, Delivery, Inbound, LinkAccess, Reauthorise, Reply, Transport
from connectors.config import ConfigError
from connectors.registry import KINDS, build, list_connectors

KEY = base64.b64encode(bytes(32)).decode()
SETTINGS: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "signed_push": ({}, {"webhook_secrets": "whsec_" + KEY}),
    "cursor_pull": ({"records_url": "https://platform.example/records"}, {}),
    "tcec102": (
        {"operator_id": "123456789"},
        {
            "operator_secret": "canary-secret",
            "data_secret": "0123456789abcdef",
            "data_secret_iv": "0123456789abcdef",
            "sig_secret": "0123456789abcdef",
            "token_key": "canary-secret" * 3,
        },
    ),
    "werun": ({"appid": "wx0"}, {"app_secret": "canary-secret"}),
    "file_drop": ({"root": "/nowhere", "platform": "p", "public_keys": [KEY]}, {}),
    "szt_card": ({"root": "/nowhere", "platform": "p", "public_keys": [KEY]}, {}),
    "camt053": ({"root": "/nowhere", "platform": "p", "public_keys": [KEY]}, {}),
    "gbt32960": ({"root": "/nowhere", "platform": "p", "public_keys": [KEY]}, {"vin_key": "canary-secret" * 3}),
    "event_file": (
        {
            "root": "/nowhere",
            "platform": "p",
            "public_keys": [KEY],
            "event": "BJ2022",
            "event_since": "2022-01-01T00:00:00+08:00",
            "event_until": "2022-04-01T00:00:00+08:00",
        },
        {},
    ),
    "bill_csv": ({}, {}),
    "tcec102_pull": (
        {"base_url": "https://peer.example/evcs/v20161110", "operator_id": "MA5HUB001"},
        {
            "operator_secret": "canary-secret",
            "data_secret": "0123456789abcdef",
            "data_secret_iv": "0123456789abcdef",
            "sig_secret": "0123456789abcdef",
        },
    ),
    "takeaway_order": ({"developer_id": "100120"}, {"sign_keys": "canary-secret-16"}),
    "wechat_waybill": ({}, {"push_tokens": "canary-secret-16", "webhook_secrets": "whsec_" + KEY}),
    "kuaidi100_label": ({"key": "AbCdEf"}, {"sign_secrets": "canary-secret-16"}),
    "recycling": ({"send_by": "M0001"}, {"webhook_secrets": "whsec_" + KEY}),
    "ocpi_cdr": ({"cdrs_url": "https://platform.example/cdrs"}, {"token": "canary-secret"}),
    "mds_trips": ({"trips_url": "https://platform.example/trips"}, {"token": "canary-secret"}),
    "didi_es": ({"client_id": "c", "company_id": "1"}, {"client_secret": "canary-secret", "sign_key": "canary-secret"}),
    "baidu_track": (
        {"trips_url": "https://platform.example/trips", "service_id": "1"},
        {"ak": "canary", "sk": "canary-secret"},
    ),
    "alipay_green": (
        {"app_id": "2021", "city_code": "440300", "alipay_public_key": KEYS.alipay_public},
        {"app_private_key": KEYS.app_private},
    ),
    "psd2_card": ({"base_url": "https://bank.example/psd2"}, {}),
    "connected_car": ({"trips_url": "https://platform.example/v1/trips"}, {}),
    "espi": ({"resource_url": "https://platform.example/espi/Batch/Subscription/{account}"}, {}),
}


def test_every_kind_of_transport_has_a_connector() -> None:
    assert {kind.transport for kind in list_connectors()} == set(Transport)
    assert set(SETTINGS) == set(KINDS)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_connector_is_built_and_describes_itself_as_it_is_listed(name: str) -> None:
    config, secrets = SETTINGS[name]
    described = build(name, config, secrets).describe()
    kind = KINDS[name]
    assert (described.name, described.transport) == (kind.name, kind.transport)
    assert described.official is not kind.profile
    assert ("profile" in described.title) is kind.profile
    assert described.streams
    assert set(secrets) == set(kind.secrets)


@pytest.mark.parametrize("name", SETTINGS)
def test_an_unknown_or_missing_setting_is_named_and_no_secret_is(name: str) -> None:
    config, secrets = SETTINGS[name]
    with pytest.raises(ConfigError, match="misspelt"):
        build(name, config | {"misspelt": "canary-value"}, secrets)
    with pytest.raises(ConfigError, match="surplus") as refused:
        build(name, config, secrets | {"surplus": "canary-value"})
    assert "canary" not in str(refused.value)
    for field in secrets:
        with pytest.raises(ConfigError, match=field) as refused:
            build(name, config, {key: value for key, value in secrets.items() if key != field})
        assert "canary" not in str(refused.value)


@pytest.mark.parametrize("url", ["http://platform.example/r", "https://u:p@platform.example/r", "records", "ftp://x/r"])
def test_an_address_that_may_not_be_called_is_refused_when_the_participant_is_added(url: str) -> None:
    with pytest.raises(ConfigError):
        build("cursor_pull", {"records_url": url}, {})
    with pytest.raises(ConfigError):
        build("werun", {"appid": "wx0", "base_url": url}, {"app_secret": "s"})


def test_a_name_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="no connector"):
        build("ftp_pull", {}, {})


def test_a_check_has_a_verdict_for_a_folder_that_is_not_there() -> None:
    config, secrets = SETTINGS["file_drop"]
    connector = build("file_drop", config, secrets)
    assert hasattr(connector, "check")
    assert connector.check() == CheckResult(ok=False, findings=("root_missing",))


def test_an_error_tells_its_reason_and_nothing_else() -> None:
    assert str(Reauthorise("token_refused")) == "token_refused"


def test_what_a_platform_or_a_person_sent_does_not_show_when_a_value_is_printed() -> None:
    values = (
        Inbound(method="POST", path="/", query={"a": "canary"}, headers={"authorization": "canary"}, body=b"canary"),
        Reply(status=200, body=b"canary"),
        Delivery(delivery_id="d", stream="s", rows=(b"canary",), digest=b""),
        LinkAccess(link_id="1", account="a", access_token="canary"),
    )
    assert "canary" not in repr(values)


SOURCES = sorted(Path(connectors.__file__).parent.glob("*.py"))


def faults_of(text: str) -> list[str]:
    """What a connector's source may not know: mappings, the hub, databases, behaviours and masses."""
    tree = ast.parse(text)
    names = [
        alias
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names])
    ]
    words = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    words |= {str(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    forbidden = ("hub", "mappings", "sqlalchemy", "sqlmodel", "polars", "fastapi")
    found = [name for name in names if name.split(".")[0] in forbidden]
    return found + [
        word for word in words if word.startswith(("MOB-", "FOOD-", "FIN-", "USE-")) or word.endswith("_mg")
    ]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_bytes_go_out_and_no_carbon_is_inside(source: Path) -> None:
    assert faults_of(source.read_text()) == []


def test_the_search_for_carbon_finds_it() -> None:
    assert faults_of("import polars\nfrom mappings.engine import x\ny = 'MOB-BIKE'\nclaimed_mg = 1") != []
    assert len(faults_of("import polars\nfrom mappings.engine import x\ny = 'MOB-BIKE'\nclaimed_mg = 1")) == 4
