"""market: grams pooled into tonnes, and what becomes of them. I/O: terminal, files, the database."""

import csv
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from hub.commands.console import AS_JSON, opened_hub, out, print_json, progress_bars, table
from hub.db import reading, writing
from hub.errors import UsageProblem
from hub.market import blocks as of_blocks
from hub.market import cadtrust
from hub.market.export import load_cadtrust
from hub.market.income import describe_income, load_payouts, share_income
from hub.market.pool import MOST_BLOCKS, Pooled, Wanted, pool, require_pooler
from hub.market.pooling import MOST_FEN
from hub.market.tables import CreditBlock
from hub.records.races import try_again

market = typer.Typer(
    help="Held grams pooled into blocks of one tonne, and what markets do with them.", no_args_is_help=True
)
Blocks = Annotated[
    list[str], typer.Argument(metavar="BLOCK...", help="Ids of blocks, from `market blocks`; all or none.")
]
Block = Annotated[str, typer.Argument(metavar="BLOCK", help="A block's id, from `market blocks`.")]
Participant = Annotated[str | None, typer.Option("--participant", help="Only this market's.")]
Days = Annotated[
    int | None,
    typer.Option(min=1, max=of_blocks.MOST.days, help=f"Days until it is held again; else {of_blocks.USUAL.days}."),
]


class Format(StrEnum):
    """Form of an export."""

    JSON = "json"
    CSV = "csv"


@market.command("pool")
def pool_grams(
    participant: Annotated[str, typer.Argument(metavar="PARTICIPANT", help="The market.")],
    client: Annotated[
        str | None, typer.Option(help="The client to whom people allow it, if the market has several.")
    ] = None,
    year: Annotated[int | None, typer.Option(min=2000, max=9000, help="Only acts of this year.")] = None,
    most: Annotated[int | None, typer.Option(min=1, max=MOST_BLOCKS, help="At most so many blocks.")] = None,
    as_json: bool = AS_JSON,
) -> None:
    """Pool held grams of everybody who allows it: whole tonnes, the oldest acts first; what is left over stays with people."""
    with opened_hub() as hub, progress_bars(quiet=as_json) as bars:
        bars.add_task(f"pooling for {participant}", total=None)

        def once() -> Pooled:
            with writing(hub.engine) as session:
                client_id = require_pooler(session, participant, client)
                wanted = Wanted(year=year, most=most)
                return pool(session, participant=participant, client_id=client_id, wanted=wanted, now=hub.clock())

        done = try_again(once)
    if as_json:
        print_json({"blocks": [of_blocks.describe(block) for block in done.blocks]})
        return
    for one in done.issuances:
        first, last = (
            of_blocks.write_serial(participant, one.vintage_year, n) for n in (one.serial_first, one.serial_last)
        )
        out.print(f"{one.serial_last - one.serial_first + 1:,} t of {one.vintage_year}: {first} to {last}")
    if not done.issuances:
        out.print("nothing was pooled: of no year is there a whole tonne that people allow")


@market.command("blocks")
def list_blocks(
    participant: Participant = None,
    state: Annotated[of_blocks.State | None, typer.Option(help="Only blocks of this state.")] = None,
    year: Annotated[int | None, typer.Option(min=2000, max=9000, help="Only blocks of this vintage year.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most, the oldest first.")] = 50,
    as_json: bool = AS_JSON,
) -> None:
    """List blocks; whose grams they are made of is not shown."""
    with opened_hub() as hub, reading(hub.engine) as session:
        found = of_blocks.load_blocks(session, participant=participant, state=state, year=year, limit=limit)
    if as_json:
        print_json([of_blocks.describe(block) for block in found])
        return
    names = ("block_id", "serial", "state", "purpose", "beneficiary", "expires_at")
    rows = [[of_blocks.describe(block)[name] or "" for name in names] for block in found]
    table("Blocks", [name.removesuffix("_id") for name in names], rows)


@market.command("show")
def show(block: Block, as_json: bool = AS_JSON) -> None:
    """Show one block, and of how many people and days it is."""
    with opened_hub() as hub, reading(hub.engine) as session:
        row = of_blocks.find_block(session, block)
        shares = of_blocks.load_shares(session, [row.number])
    told = of_blocks.describe(row) | {
        "shares": len(shares), "people": shares["subject_id"].n_unique(),
        "first_vintage": shares["vintage"].min(), "last_vintage": shares["vintage"].max(),
    }  # fmt: skip
    if as_json:
        print_json(told)
        return
    table(told["serial"], ["", ""], [[name, "" if value is None else value] for name, value in told.items()])


@market.command("freeze")
def freeze(
    blocks: Blocks,
    purpose: Annotated[str, typer.Option(help="quota_offset, neutrality, voluntary or compensation.")],
    days: Days = None,
    as_json: bool = AS_JSON,
) -> None:
    """Set blocks aside for one use until they are retired, released or out of time."""
    with opened_hub() as hub, writing(hub.engine) as session:
        done = of_blocks.freeze(session, blocks, purpose=purpose, timeout=_timeout(days), now=hub.clock())
    _tell(done, as_json=as_json)


@market.command("pending")
def pending(
    blocks: Blocks,
    reference: Annotated[str, typer.Option(help="The number in the other registry.")],
    days: Days = None,
    as_json: bool = AS_JSON,
) -> None:
    """Note that the other registry has taken frozen blocks up (待抵销); the time begins anew."""
    with opened_hub() as hub, writing(hub.engine) as session:
        done = of_blocks.mark_pending(session, blocks, reference=reference, timeout=_timeout(days), now=hub.clock())
    _tell(done, as_json=as_json)


@market.command("retire")
def retire(
    blocks: Blocks,
    beneficiary: Annotated[str, typer.Option(help="The enterprise or event that they are used for; never a person.")],
    reference: Annotated[str | None, typer.Option(help="The number in the other registry, if it is another.")] = None,
    as_json: bool = AS_JSON,
) -> None:
    """Use blocks for good. This cannot be undone."""
    with opened_hub() as hub, writing(hub.engine) as session:
        done = of_blocks.retire(session, blocks, beneficiary=beneficiary, reference=reference, now=hub.clock())
    _tell(done, as_json=as_json)


@market.command("release")
def release(blocks: Blocks, as_json: bool = AS_JSON) -> None:
    """Let blocks that were set aside be held again."""
    with opened_hub() as hub, writing(hub.engine) as session:
        done = of_blocks.release(session, blocks, now=hub.clock())
    _tell(done, as_json=as_json)


@market.command("income")
def income(
    block: Block,
    amount_fen: Annotated[int, typer.Option(min=1, max=MOST_FEN, help="What the block brought, in fen.")],
    reference: Annotated[
        str, typer.Option(help="The market's own name of the payment; told again it changes nothing.")
    ],
    payouts: Annotated[
        Path | None, typer.Option("--csv", help="Write what is owed to whom to this CSV file (subject, fen).")
    ] = None,
    as_json: bool = AS_JSON,
) -> None:
    """Share what a block brought among the people whose grams it is made of, to the fen."""
    with opened_hub() as hub:
        with writing(hub.engine) as session:
            done = share_income(session, block, amount_fen=amount_fen, reference=reference, now=hub.clock())
        with reading(hub.engine) as session:
            owed = list(load_payouts(session, hub.ring, done.income.income_id))
    if payouts is not None:
        with payouts.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=["subject", "fen"], lineterminator="\n")
            writer.writeheader()
            writer.writerows(owed)
    if as_json:
        print_json(describe_income(done) | {"is_new": done.is_new, "payouts": owed})
        return
    again = "" if done.is_new else "; it was told before, and nothing was changed"
    out.print(f"{amount_fen:,} fen are owed to {done.people:,} people{again}")
    if payouts is not None:
        out.print(f"written: {payouts}")


@market.command("export")
def export(
    form: Annotated[Format, typer.Option("--format", help="json: issuances and units; csv: units only.")] = Format.JSON,
    model: Annotated[int, typer.Option(min=1, max=2, help="Version of the CAD Trust data model.")] = 1,
    participant: Participant = None,
    to: Annotated[Path | None, typer.Option("--out", help="Write to this file instead of the terminal.")] = None,
    as_json: bool = AS_JSON,
) -> None:
    """Export blocks in the words of the Climate Action Data Trust; blocks that stand alike side by side are one row."""
    if as_json and form is Format.CSV:
        raise UsageProblem("--json and --format csv exclude each other")
    with opened_hub() as hub, reading(hub.engine) as session:
        told = load_cadtrust(session, hub.settings.issuer, cadtrust.Model(model), participant)
    if to is None:
        if form is Format.CSV:
            typer.echo(cadtrust.format_units(told["units"]), nl=False)
        else:
            print_json(told)
        return
    text = cadtrust.format_units(told["units"]) if form is Format.CSV else cadtrust.format_all(told)
    with to.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
    out.print(f"written: {to}")


def _timeout(days: int | None) -> timedelta | None:
    return None if days is None else timedelta(days=days)


def _tell(done: list[CreditBlock], *, as_json: bool) -> None:
    told: list[dict[str, Any]] = [of_blocks.describe(block) for block in done]
    if as_json:
        print_json(told)
        return
    for one in told:
        until = f" until {one['expires_at']}" if one["expires_at"] else ""
        out.print(f"{one['serial']} is {one['state']}{until}")
