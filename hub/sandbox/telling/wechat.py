"""wechat-sports tells of steps: each upload carries the days so far, the last of them not over yet. Pure."""

from datetime import datetime, timedelta

from hub.sandbox import acts
from hub.sandbox.acts import BEIJING_TIME, Act
from hub.sandbox.people import WECHAT, Person
from hub.sandbox.telling.report import Note, Report, acts_told, json_text, voice_of
from hub.sandbox.town import Town

_UPLOAD_ODDS = 0.9  # a phone that was not opened in a part uploads in the next one
_DAYS_LISTED = 31  # wx.getWeRunData: the past thirty days and today


def tell_wechat(town: Town, person: Person) -> list[Report]:
    """Return every entry of every upload of one person; one upload is the rows of one part."""
    if WECHAT not in person.accounts:
        return []
    rng, told = voice_of(town, WECHAT, person), []
    days = acts_told(town, person, frozenset({acts.WALK}))
    said: dict[int, int] = {}  # act -> steps as last told
    for part in range(1, town.parts + 1):
        uploads, share = rng.random() < _UPLOAD_ODDS or part == town.parts, float(rng.uniform(0.35, 0.9))
        if not uploads:
            continue
        # The phone is opened in the last evening of the part, and after the month when everything is over.
        opened_at = town.ends_at + timedelta(hours=1)
        if part < town.parts:
            opened_at = town.part_ends_at(part) - timedelta(hours=3)
        for act in [day for day in days if day.start_at < opened_at][-_DAYS_LISTED:]:
            steps = act.quantity_micro // 1_000_000
            if act.end_at > opened_at:
                steps = int(steps * share)
            told.append(_report(town, person, act, part, opened_at, steps, said))
            said[act.act_id] = steps
    return told


def _report(
    town: Town, person: Person, act: Act, part: int, opened_at: datetime, steps: int, said: dict[int, int]
) -> Report:
    note, version = Note.PLAIN, 1
    if act.act_id in said:
        corrected = said[act.act_id] != steps
        note, version = (Note.CORRECTION, 2) if corrected else (Note.REPLAY, 1)
    elif act.end_at > opened_at:
        note = Note.PARTIAL
    elif town.part_of(act.start_at) < part:
        note = Note.LATE
    openid, day = person.accounts[WECHAT], f"{act.start_at.astimezone(BEIJING_TIME):%Y-%m-%d}"
    row = {"openid": openid, "date": day, "timestamp": int(act.start_at.timestamp()), "step": steps}
    return Report(
        platform=WECHAT,
        part=part,
        person=person.index,
        account=openid,
        act_id=act.act_id,
        source_id=f"{openid}|{day}",
        version=version,
        delivered_at=opened_at,
        body=json_text(row),
        note=note,
    )
