"""From translated records to what the methodology and clearing make of them."""

import json
from datetime import UTC, datetime
from typing import Any

import polars as pl

from hub.clearing.kernel.clear import Cleared, clear
from mappings import Translation, kept_payloads, load_mapping
from standards.methodology import load_methodology
from standards.policy import load_policy
from standards.quantify import quantify
from standards.schema import RECORD_SCHEMA

ONE_PERSON = 1


def at(*moment: int) -> datetime:
    """An instant in UTC."""
    return datetime(*moment, tzinfo=UTC)  # type: ignore[arg-type,misc]


def only(translation: Translation) -> dict[str, Any]:
    """The one record of a translation in which nothing was set aside."""
    assert translation.quarantined.is_empty(), translation.quarantined["reason"].to_list()
    return translation.records.row(0, named=True)


def reasons(translation: Translation) -> list[str]:
    return translation.quarantined["reason"].to_list()


def records_of(*told: tuple[str, Translation]) -> pl.DataFrame:
    """RECORD of one person, from (platform, translation), numbered from 1 in the order in which they are given."""
    frames = [
        translation.records.with_columns(platform=pl.lit(platform), subject_id=pl.lit(ONE_PERSON, pl.Int64))
        for platform, translation in told
    ]
    joined = pl.concat(frames)
    numbered = joined.with_columns(record_id=pl.int_range(1, len(joined) + 1, dtype=pl.Int64))
    return numbered.select(list(RECORD_SCHEMA)).cast(dict(RECORD_SCHEMA))  # type: ignore[arg-type]


def quantified(*told: tuple[str, Translation]) -> pl.DataFrame:
    """QUANTIFIED of one person, by the current methodology."""
    return quantify(records_of(*told), load_methodology())


def reference(platform: str, translation: Translation) -> tuple[int | None, str | None]:
    """The methodology's milligrams of the one record, and the figure they come from."""
    row = quantified((platform, translation)).row(0, named=True)
    return row["reference_mg"], row["factor_id"]


def cleared(*told: tuple[str, Translation]) -> Cleared:
    """What clearing decides about the records of one person."""
    return clear(quantified(*told), None, load_policy())


def verdicts(result: Cleared) -> dict[int, tuple[str, str, str]]:
    """Verdict, rule and reason by number."""
    columns = ("record_id", "verdict", "rule", "reason")
    return {number: tuple(rest) for number, *rest in result.decisions.select(columns).iter_rows()}


def kept(name: str, *documents: dict[str, Any]) -> list[str]:
    """What a mapping lets into storage of each document."""
    written = pl.Series([json.dumps(document, ensure_ascii=False).encode() for document in documents])
    return [payload.decode() for payload in kept_payloads(load_mapping(name), written).to_list()]


def require_nothing_personal(name: str, document: dict[str, Any]) -> None:
    """Hide a secret in every field that is dropped, and inside every one that is kept: it must not survive."""
    mapping, secret = load_mapping(name), "SECRET-13800138000"
    dropped = [".".join(path) for path in mapping.drop]
    assert dropped, "a real format has personal fields"
    hidden = [document | dict.fromkeys(dropped, secret)]
    hidden += [document | {field: {dropped[0]: secret}} for field in document]
    hidden += [document | {field: [secret]} for field in document]
    for text in kept(name, *hidden):
        assert secret not in text
        assert not set(json.loads(text)) & set(dropped)
