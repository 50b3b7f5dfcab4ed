"""Every document by its file name, with its media type and what it is for. Pure: the same data gives the same bytes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from standards.documents import lists, record
from standards.documents.methodology_page import methodology_page
from standards.documents.table import csv_bytes
from standards.methodology import load_methodology, methodology_versions

CSV = "text/csv; charset=utf-8"
MARKDOWN = "text/markdown; charset=utf-8"
JSON_SCHEMA = "application/schema+json"
JSON = "application/json"
ARROW = "application/vnd.apache.arrow.file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One file."""

    name: str
    media_type: str
    zh: str
    about: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    name: str
    media_type: str
    zh: str
    about: str
    build: Callable[[], bytes]


_PLANS = (
    _Plan(
        name="reduction-record.schema.json", media_type=JSON_SCHEMA, zh="减排记录：JSON 模式",
        about="one record as JSON (JSON Schema 2020-12), with the units of each behaviour and examples",
        build=record.record_json,
    ),
    _Plan(
        name="reduction-record.arrow", media_type=ARROW, zh="减排记录：Arrow 模式",
        about="the columns of files of records, as an Arrow IPC file without rows", build=record.record_arrow,
    ),
    _Plan(
        name="reduction-record.arrow.json", media_type=JSON, zh="减排记录：字段表",
        about="the same columns to read: name, type, null, meaning, values", build=record.record_arrow_json,
    ),
    _Plan(
        name="behaviours.csv", media_type=CSV, zh="低碳行为目录（表）", about="behaviours, their names, units and groups",
        build=lambda: csv_bytes(lists.behaviour_table()),
    ),
    _Plan(
        name="behaviours.md", media_type=MARKDOWN, zh="低碳行为目录（文档）", about="the same, by category, to read",
        build=lambda: lists.behaviour_page().encode(),
    ),
    _Plan(
        name="factors.csv", media_type=CSV, zh="减排因子", about="what each issuer says one unit of a behaviour saves",
        build=lambda: csv_bytes(lists.factor_table()),
    ),
    _Plan(
        name="grid-factors.csv", media_type=CSV, zh="电力排放因子", about="electricity factors by place, year and basis",
        build=lambda: csv_bytes(lists.grid_table()),
    ),
    _Plan(
        name="reference-values.csv", media_type=CSV, zh="参考值", about="numbers that derivations lean on",
        build=lambda: csv_bytes(lists.reference_table()),
    ),
    _Plan(
        name="rewards.csv", media_type=CSV, zh="奖励（不是克数）", about="what issuers pay in their own units: not grams",
        build=lambda: csv_bytes(lists.reward_table()),
    ),
    _Plan(
        name="schemes.csv", media_type=CSV, zh="各地方案",
        about="who values or rewards acts, by what rules, and what is not public",
        build=lambda: csv_bytes(lists.scheme_table()),
    ),
    _Plan(
        name="exchanges.csv", media_type=CSV, zh="兑换（不是克数）", about="what grams and points are exchanged for: not grams",
        build=lambda: csv_bytes(lists.exchange_table()),
    ),
    _Plan(
        name="sources.csv", media_type=CSV, zh="来源", about="where every figure comes from",
        build=lambda: csv_bytes(lists.source_table()),
    ),
    _Plan(
        name="regions.csv", media_type=CSV, zh="地区", about="GB/T 2260 codes and areas of the electricity grid",
        build=lambda: csv_bytes(lists.region_table()),
    ),
    _Plan(
        name="overlap.csv", media_type=CSV, zh="重叠矩阵（表）",
        about="which reports can claim the same grams, why, and what settles it",
        build=lambda: csv_bytes(lists.overlap_table()),
    ),
    _Plan(
        name="overlap.md", media_type=MARKDOWN, zh="重叠矩阵（文档）", about="the same, to read",
        build=lambda: lists.overlap_page().encode(),
    ),
)  # fmt: skip


def build_documents(*versions: str) -> Mapping[str, Document]:
    """Return the documents by name, in the order they are shown.

    Args:
        versions: of the methodology, that get a page; none means all.

    Raises:
        DataError: a data file breaks a rule, there is no such version, or an example does not hold.
    """
    pages = tuple(_page(version) for version in reversed(versions or methodology_versions()))
    plans = (*_PLANS, *pages)
    return MappingProxyType(
        {
            plan.name: Document(
                name=plan.name, media_type=plan.media_type, zh=plan.zh, about=plan.about, content=plan.build()
            )
            for plan in plans
        }
    )


@cache
def load_documents() -> Mapping[str, Document]:
    """Return all documents, built once."""
    return build_documents()


def _page(version: str) -> _Plan:
    methodology = load_methodology(version)
    return _Plan(
        name=f"methodology-{methodology.version}.md",
        media_type=MARKDOWN,
        zh=f"核算方法 {methodology.version}",
        about=f"rules, formulas, every figure with its source, and worked examples; from {methodology.valid_from}",
        build=lambda: methodology_page(version).encode(),
    )
