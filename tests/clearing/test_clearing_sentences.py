"""What is said of a decision: every reason in both languages, every place filled, and the words themselves."""

import pytest
from tests_support.explaining import BIKES, explained, frame_of, meters, ride

from consent.guard import Refusal
from hub.clearing.explain.explanation import redact
from hub.clearing.explain.sentences import LANGUAGES, Name, contest, load_texts, notes, places_in, sentence, word
from hub.clearing.kernel.vocabulary import REASON_WORDS
from hub.explain import BEFORE_KERNEL
from standards.behaviours import accepted_behaviours
from standards.overlap import load_overlaps
from standards.policy import load_policy
from standards.schema import Role, Verdict

NAMES = {"operator-a": Name(en="Town Bikes", zh="小镇单车"), "aggregator-a": Name(en="Green City", zh="绿色城市")}
CODES = ("T1", "T2", "T3", "T4", "T5", "MOB-", "_", "{", "}", "None", "null")


def both(told: object) -> tuple[str, str]:
    return tuple(sentence(told, language, NAMES) for language in LANGUAGES)  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize("reason", [*REASON_WORDS, *BEFORE_KERNEL, *map(str, Refusal)])
def test_every_reason_can_be_told_in_both_languages(reason: str) -> None:
    texts = load_texts()["reason", reason]
    assert set(texts) == set(LANGUAGES)
    # A sentence for every case: the last one asks only for what every decision has, or what its rule always gives.
    always = {"act", "when", "platform", "grams", "outcome", "because"}
    for said in texts.values():
        assert places_in(said[-1]) <= always
    assert [places_in(one) for one in texts["en"]] == [places_in(one) for one in texts["zh-CN"]]


def test_every_overlap_rule_and_every_exclusivity_group_has_its_reason_in_words() -> None:
    needed = {rule.id for rule in load_policy().overlaps} | set(load_overlaps().groups)
    assert needed <= {name for table, name in load_texts() if table == "because"}


@pytest.mark.parametrize(
    ("table", "needed"),
    [
        ("act", set(accepted_behaviours())),
        ("unit", {unit for one in accepted_behaviours().values() for unit in one.units}),
        ("role", set(map(str, Role))),
        ("first", set(map(str, Role))),
        ("verdict", set(map(str, Verdict))),
    ],
)
def test_every_word_of_the_closed_lists_has_a_name_in_both_languages(table: str, needed: set[str]) -> None:
    assert needed <= {name for known, name in load_texts() if known == table}
    assert word(table, "no such word", "en") == "no such word"


# One golden sentence for each way to decide: what is told, which record is asked about, what is said.
DUPLICATE_T4 = (
    (
        "Green City told of your ride on a shared bike on 5 October 2026 at 08:01 and Town Bikes told of the same, "
        "1 minute 10 seconds apart, so both are one act: it counts once, 67.76 g, from Town Bikes."
    ),
    (
        "绿色城市报告了您2026年10月5日08:01的共享单车骑行，小镇单车报告的也是它，时间相差1分钟10秒，两者是同一行为："
        "只计一次，计67.76克，以小镇单车的记录为准。"
    ),
)
GOLDEN = {
    "single": (
        [ride(1, "operator-a")],
        1,
        (
            "Your ride on a shared bike on 5 October 2026 at 08:00 counts 67.76 g, because Town Bikes told of it and it is "
            "like no other act of yours."
        ),
        "您2026年10月5日08:00的共享单车骑行计67.76克：小镇单车报告了这一行为，它与您的其他行为都不重复。",
    ),
    "T1": (
        [ride(1, "operator-a"), ride(2, "operator-a")],
        2,
        (
            "Town Bikes told of your ride on a shared bike on 5 October 2026 at 08:00 twice in exactly the same way, so this "
            "copy adds nothing: it counts once, 67.76 g, from another report of its own."
        ),
        (
            "小镇单车把您2026年10月5日08:00的共享单车骑行一模一样地报告了两次，这一条是重复：只计一次，计67.76克，"
            "以该平台自己的另一条记录为准。"
        ),
    ),
    "T2": (
        [ride(1, "operator-a", event_key=7), ride(2, "aggregator-a", event_key=7, minute=20)],
        2,
        (
            "Green City told of your ride on a shared bike on 5 October 2026 at 08:20 under the same order, trip or bill "
            "number as Town Bikes, so both are one act: it counts once, 67.76 g, from Town Bikes."
        ),
        (
            "绿色城市报告的您2026年10月5日08:20的共享单车骑行与小镇单车带有相同的订单、行程或账单编号，两者是同一行为："
            "只计一次，计67.76克，以小镇单车的记录为准。"
        ),
    ),
    "canonical": (
        [ride(1, "operator-a"), ride(2, "aggregator-a", second=70)],
        1,
        (
            "Your ride on a shared bike on 5 October 2026 at 08:00 counts once, 67.76 g, from Town Bikes, because it ran the "
            "service itself; Green City told of the same act, which adds nothing more."
        ),
        (
            "您2026年10月5日08:00的共享单车骑行只计一次，计67.76克，以小镇单车的记录为准，因为服务由它提供；绿色城市报告的"
            "是同一行为，不再重复计入。"
        ),
    ),
    "T4": ([ride(1, "operator-a"), ride(2, "aggregator-a", second=70)], 2, *DUPLICATE_T4),
    "T3": (
        [ride(1, "operator-a"), ride(2, "operator-b", minute=2, behaviour="MOB-BUS", quantity_micro=None)],
        2,
        (
            "Your bus trip on 5 October 2026 at 08:02, told by operator-b, would have been at the same time as your ride on a "
            "shared bike on 5 October 2026 at 08:00, told by Town Bikes, and a person makes one trip at a time: it is held for "
            "review and counts nothing until then."
        ),
        (
            "operator-b报告的您2026年10月5日08:02的公交出行与小镇单车报告的您2026年10月5日08:00的共享单车骑行时间重叠，而一个"
            "人同一时间只能进行一次出行：它正等待复核，在此之前不计入。"
        ),
    ),
    "T5": (
        [ride(1, "operator-a"), ride(2, "aggregator-a", behaviour="MOB-NODRIVE", precision="day", quantity_micro=None)],
        2,
        (
            "Your day without your car on 5 October 2026, told by Green City, does not count beside your ride on a shared bike "
            "on 5 October 2026 at 08:00, told by Town Bikes, because a day without your car and that day's trips save the same "
            "drive."
        ),
        (
            "绿色城市报告的您2026年10月5日的绿色停驶不再计入，因为绿色停驶与当天的绿色出行减少的是同一段驾车，而小镇单车报告"
            "的您2026年10月5日08:00的共享单车骑行已经计入。"
        ),
    ),
    "plausibility": (
        [ride(1, "operator-a", quantity_micro=meters(120_000), lasts=180)],
        1,
        (
            "Town Bikes told of 120 km for your ride on a shared bike on 5 October 2026 at 08:00, more than the 100 km that one "
            "can be: it is held for review and counts nothing until then."
        ),
        (
            "小镇单车报告的您2026年10月5日08:00的共享单车骑行为120公里，超过了一次合理的上限100公里：它正等待复核，在此之前"
            "不计入。"
        ),
    ),
    "input": (
        [ride(1, "operator-a", lasts=-5)],
        1,
        (
            "Town Bikes told that your ride on a shared bike on 5 October 2026 at 08:00 ended before it began, so the report "
            "cannot be used."
        ),
        "小镇单车报告的您2026年10月5日08:00的共享单车骑行的结束时间早于开始时间，因此这条报告无法使用。",
    ),
    "rest": (
        [
            ride(1, "operator-a", behaviour="MOB-WALK", quantity_micro=meters(1_000)),
            ride(2, "aggregator-a", behaviour="MOB-WALK", precision="day", quantity_micro=8_000_000_000),
        ],
        2,
        (
            "Your walking on 5 October 2026, told by Green City as one sum, counts 108.24 g for the remaining 6,600 steps: the "
            "rest of it, 1,400 steps, was told one by one and counts there."
        ),
        "绿色城市把您2026年10月5日的步行作为一个总数报告，其中1,400步已逐次报告并单独计入，余下的6,600步计108.24克。",
    ),
}


@pytest.mark.parametrize("case", GOLDEN)
def test_the_sentence_of_each_way_to_decide(case: str) -> None:
    rows, asked, en, zh = GOLDEN[case]
    assert both(explained(frame_of(rows), asked)) == (en, zh)


def test_no_sentence_holds_a_code_or_a_place_that_was_not_filled() -> None:
    for rows, asked, *_ in GOLDEN.values():
        told = explained(frame_of(rows), asked)
        for language in LANGUAGES:
            for said in (
                sentence(told, language, NAMES),
                *notes(told, language, NAMES),
                contest(told, language, NAMES),
            ):
                assert not [code for code in CODES if code in said], said
                assert said.count("。" if language == "zh-CN" else ". ") <= 1


def test_a_claim_below_the_method_is_said_beside() -> None:
    told = explained(frame_of([ride(1, "operator-a", claimed_mg=60_000)]), 1)
    assert notes(told, "en", NAMES)[0].startswith("The amount is what Town Bikes claims")
    assert "67.76 g" in notes(told, "en", NAMES)[0]
    assert told.amount is not None
    assert (told.amount.limited_by, told.amount.counted_mg) == ("claim", 60_000)


def test_what_a_platform_may_not_see_is_in_no_sentence_and_in_no_figure() -> None:
    for rows, asked, *_ in GOLDEN.values():
        told = explained(frame_of(rows), asked)
        mine = told.report.platform
        seen = redact(told, lambda report, mine=mine: report.platform == mine)  # type: ignore[misc]
        hidden = {one.platform for one in (*told.others, *told.related)} - {mine}
        numbers = {one.record_id for one in (*told.others, *told.related) if one.platform != mine}
        text = str(seen.to_dict()) + " ".join(both(seen)) + contest(seen, "en")
        assert not [
            name
            for name in hidden
            if name and (str(name) in text or NAMES.get(str(name), NAMES["operator-a"]).en in text)
        ]
        assert not [n for n in numbers if f"record_id': {n}," in text]


def test_a_platform_learns_that_its_report_is_one_of_several_and_not_from_whom() -> None:
    told = explained(frame_of(GOLDEN["T4"][0]), 2)
    assert sentence(redact(told, lambda report: report.platform == "aggregator-a"), "en") == (
        "aggregator-a told of your ride on a shared bike on 5 October 2026 at 08:01 at a time and with an amount that fit "
        "another report, so both are one act: only one of them can count."
    )


def test_bikes_are_one_family() -> None:
    assert set(BIKES) <= set(accepted_behaviours())
