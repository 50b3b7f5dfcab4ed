"""The page about the quality of clearing: Markdown with the figures of one run, and its chart. I/O: writes two files."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from hub.bench.clearing.chart import quality_svg
from hub.bench.clearing.labels import TRUTH_MEANING
from hub.bench.clearing.measure import KERNEL, Quality, describe_machine
from hub.bench.clearing.peers import PEERS
from hub.bench.clearing.scoring import Rates

PAGE, PICTURE = "clearing-quality.md", "clearing-quality.svg"
WORST = 12
FACTS = {
    "records": "records",
    "people": "people",
    "platforms": "platforms",
    "redundant": "of these, tell of an act that another tells of too",
    "overlapped": "of these, belong to acts of different kinds that claim the same grams",
    "with_event_key": "carry a key of the act",
    "with_payment_key": "carry a key of the payment",
    "without_quantity": "tell no quantity",
    "to_the_minute": "tell the time to the minute",
    "by_the_day": "tell the day only",
}
TIERS = {
    "T1": "pairs from one platform with the same content",
    "T2": "pairs with a common event or payment key",
    "T4": "pairs with neither",
    "T3": "trips held because the person was on another",
    "T5": "units whose acts claim the same grams",
    "plausibility": "acts that cannot have been",
    "input": "bad rows",
}


def write_report(folder: Path, qualities: Sequence[Quality]) -> tuple[Path, Path]:
    """Write the page and its picture; an earlier one is replaced.

    Args:
        folder: is made if it is not there.
        qualities: corpora with the same ways of clearing; details are told of the second, or of the only one.

    Returns:
        The page and the picture.
    """
    folder.mkdir(parents=True, exist_ok=True)
    page, picture = folder / PAGE, folder / PICTURE
    picture.write_text(quality_svg(qualities), encoding="utf-8")
    page.write_text(report_page(qualities, day=datetime.now(UTC).date().isoformat()), encoding="utf-8")
    return page, picture


def report_page(qualities: Sequence[Quality], *, day: str) -> str:
    """Return the page as Markdown."""
    detailed = qualities[min(1, len(qualities) - 1)]
    parts = [
        _opening(qualities, day),
        "## Beside other ways\n\n" + _PEERS_WORDS + "\n\n" + _peer_list(),
        *(f"### {_title(quality)}\n\n{_results(quality)}" for quality in qualities),
        f"## By behaviour\n\nThe kernel on the corpus `{detailed.corpus}`; pairs of records.\n\n{_behaviours(detailed)}",
        f"## By tier\n\n{_TIER_WORDS}\n\n{_tiers(detailed)}",
        f"## Acts that claim the same grams\n\n{_OVERLAP_WORDS}\n\n{_overlaps(qualities)}\n\n{_ACCEPTED}",
        f"## What is still wrong\n\n{_errors(qualities)}",
        f"## What the corpora hold\n\n{_CORPUS_WORDS}\n\n{_facts(qualities)}",
        f"## What the figures mean\n\n{_MEANING}",
        f"## Labelled records of your own\n\n{_LABELLED}\n\n{_truth_columns()}",
        f"## Measured on\n\n{_machine(qualities)}",
    ]
    return "\n\n".join(parts) + "\n"


def _opening(qualities: Sequence[Quality], day: str) -> str:
    first = qualities[0]
    sizes = ", ".join(f"`{quality.corpus}` ({quality.facts['records']:,.0f} records)" for quality in qualities)
    command = "tanlian bench clearing --report docs"
    return (
        "# How right clearing is\n\n"
        f"This page was written by `{command}` on {day}; no figure in it was typed in.\n"
        f"Policy `{first.policy}`, methodology `{first.methodology}`;\n"
        f"labelled corpora {sizes}.\n\n"
        f"![F1, milligrams counted twice and wrongly removed, for {KERNEL} and its peers]({PICTURE})\n\n"
        "The corpora are invented, by a generator in the same repository as the rules. They show that the rules do what\n"
        "they are meant to do under stated difficulties, and that a change makes nothing worse. They do not show how right\n"
        "clearing is on the records of real platforms. Cases that nobody could decide were made rarer after a first look at\n"
        "what the rules got wrong; thresholds of peers were chosen on other seeds (ADR 0026)."
    )


_PEERS_WORDS = (
    "Peers clear the same records. They only say which records are one act; what counts of it is decided for all alike, and\n"
    "none of them knows acts of different kinds that claim the same grams, or holds anything. So double counting is told for\n"
    "acts that no other kind of act contests. Rows that break the schema are kept from them. Keys that more than three\n"
    "people carry are taken for constants, and both matchers are given what common keys join. Seconds are of the wall clock,\n"
    "reading and writing of files only in the kernel's; the first corpus pays for loading compiled code."
)
_TIER_WORDS = (
    "A pair belongs to the tier of the evidence that its records have, whoever decided. T3, T5, plausibility and input decide\n"
    "about single records and units. T3 has no recall: the truth does not say which trips should be held."
)
_OVERLAP_WORDS = "The kernel on every corpus; a unit is right if its total lies in the range below."
_ACCEPTED = """| Unit | What may count |
|---|---|
| one act, however often told | once |
| no-drive day and its trips; charge and the kilometres driven with it | one side |
| day of steps and the walks in it | 0.75 to 1.08 of the day |
| day total and the rides in it | the rides of that day, give or take a tenth |
| ride shared by two people | one ride, give or take a tenth; both, where a record leaves the ride's key out |
| once-only act, claimed again | once |
| implausible act, bad row | nothing |"""
_CORPUS_WORDS = (
    "Every setting, with its meaning, is in `hub/bench/clearing/profiles.py`: which acts, how each platform's clock, keys,\n"
    "quantities and mistakes are, and which real acts follow each other so closely that they look like one. Shares are of\n"
    "all records. The same profile, seed and size give the same records."
)
_MEANING = """- **Precision**: of pairs of records that were put into one event, the share that is one act. **Recall**: of pairs
  that are one act, the share that was put into one event. **F1**: their harmonic mean. Pairs are made within a family of
  behaviours (bus with metro, bike with e-bike). Day totals, repeated once-only acts and implausible acts are in no pair.
- **Counted twice**, **wrongly removed**: milligrams counted above, and missing below, what a unit may have, per million
  true milligrams. What is missing because a record waits for review is **held** instead.
- Amounts are never compared with the generator's, because what a kilometre is worth is for the methodology to say: a
  counted record stands for its whole act. Where a part of an act may count, its share is what was counted over what that
  platform's undisputed records usually get in that region.
- Some pairs cannot be found by anybody: a clock an hour off and no key, or a booking by the day with three trips to
  choose from. 1.0 is not to be had."""
_LABELLED = (
    "`tanlian bench clearing --labelled DIR` scores records whose truth you know. DIR has two folders: records, with Parquet\n"
    "files of public records as `tanlian clear` reads them, and truth, with Parquet files of one row per record and these\n"
    "columns; others are not read. `tanlian bench clearing --town 40` scores what the platforms of the simulated town deliver\n"
    "in their own formats, by pairs and by what one act may have at the most."
)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1) -> str:
    """Return a Markdown table; all columns but the first are figures."""
    rule = ["---" if place < words else "--:" for place in range(len(head))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *rows))


def _title(quality: Quality) -> str:
    seed = f", seed {quality.seed}" if quality.seed is not None else ""
    return f"Corpus `{quality.corpus}`{seed}: {quality.about}"


def _peer_list() -> str:
    return "\n".join(f"- `{peer.name}`: {peer.about}" for peer in PEERS.values())


def _results(quality: Quality) -> str:
    head = ["", "precision", "recall", "F1", "counted twice", "wrongly removed", "held", "seconds"]
    rows = []
    for result in quality.results:
        score, mark = result.score, "**" if result.name == KERNEL else ""
        cells = [
            *_rates(score.pairs), _ppm(score.plain_double_ppm), _ppm(score.removed_ppm), _ppm(score.held_ppm),
            f"{result.seconds:.1f}",
        ]  # fmt: skip
        rows.append([f"{mark}{result.name}{mark}", *(f"{mark}{cell}{mark}" for cell in cells)])
    kernel = quality.kernel.score
    ratio = (
        f" Of what the best peer leaves wrong (1 - F1), {quality.ratio:.0%} is left."
        if quality.ratio is not None
        else ""
    )
    return (
        f"{_table(head, rows)}\n\nMilligrams per million. With contested acts, {KERNEL} counts {_ppm(kernel.double_ppm)} twice\n"
        f"per million, and {kernel.overlap_accuracy:.2%} of contested units have a right total.{ratio}"
    )


def _rates(rates: Rates) -> list[str]:
    return [f"{value:.4f}" for value in (rates.precision, rates.recall, rates.f1)]


def _ppm(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == 0 else f"{value:.1f}"


def _behaviours(quality: Quality) -> str:
    rows = [[code, f"{rates.true:,}", *_rates(rates)] for code, rates in quality.kernel.score.by_behaviour.items()]
    return _table(["behaviour", "true pairs", "precision", "recall", "F1"], rows)


def _tiers(quality: Quality) -> str:
    score = quality.kernel.score
    rows = []
    for tier, words in TIERS.items():
        if tier == "T3":
            share = f"{score.trips_rightly_held / score.trips_held:.4f}" if score.trips_held else "–"
            rows.append([tier, words, f"{score.trips_held:,}", "–", share, "–", "–"])
        else:
            found = score.by_tier[tier]
            rows.append([tier, words, f"{found.said:,}", f"{found.true:,}", *_rates(found)])
    return _table(["tier", "of", "said", "true", "precision", "recall", "F1"], rows, words=2)


def _overlaps(qualities: Sequence[Quality]) -> str:
    kinds = sorted({kind for quality in qualities for kind in quality.kernel.score.overlaps})
    rows = []
    for kind in kinds:
        cells = []
        for quality in qualities:
            units, share = quality.kernel.score.overlaps.get(kind, (0, 1.0))
            cells += [f"{units:,}", f"{share:.4f}" if units else "–"]
        rows.append([kind, *cells])
    head = ["", *(cell for quality in qualities for cell in (f"{quality.corpus}: units", "right"))]
    return _table(head, rows)


def _errors(qualities: Sequence[Quality]) -> str:
    parts = []
    for quality in qualities:
        rows = [
            [found.fault, found.behaviours, found.evidence, found.tellers, f"{found.pairs:,}"]
            for found in quality.errors[:WORST]
        ]
        if rows:
            table = _table(["", "acts", "evidence", "told by", "pairs"], rows, words=4)
            whole = sum(found.pairs for found in quality.errors)
            parts.append(f"Corpus `{quality.corpus}`, {whole:,} wrong pairs; the largest classes:\n\n{table}")
        else:
            parts.append(f"Corpus `{quality.corpus}`: no wrong pair.")
    return "\n\n".join(parts)


def _facts(qualities: Sequence[Quality]) -> str:
    rows = []
    for name, words in FACTS.items():
        values = [quality.facts[name] for quality in qualities]
        rows.append([words, *(f"{value:,.0f}" if isinstance(value, int) else f"{value:.1%}" for value in values)])
    return _table(["", *(quality.corpus for quality in qualities)], rows)


def _truth_columns() -> str:
    return "\n".join(["| Column | Meaning |", "|---|---|", *(f"| `{k}` | {v} |" for k, v in TRUTH_MEANING.items())])


def _machine(qualities: Sequence[Quality]) -> str:
    facts = describe_machine()
    for result in qualities[0].results:
        facts |= result.versions
    return _table(["", ""], [[name, value] for name, value in facts.items()], words=2)
