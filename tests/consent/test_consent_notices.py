"""Notices: kept for ever under the digest of their words, in both languages, complete for every sensitive class."""

from hashlib import sha256

import pytest

from consent.notices import (
    FILES,
    LANGUAGES,
    NoticeUnknown,
    blanks,
    current_notice,
    fill_in,
    find_notice,
    notice_by_digest,
    parse_notice,
)
from consent.terms import Sensitive

# Every notice that people were ever shown. A line is added with each new one and none is ever changed: what a grant or a
# receipt names has to be shown word for word for as long as anybody has it.
SHOWN = {
    "care-1.en.toml": "5ca8c205089934da9f01c4007bd2a2c3bce396c92f06a0119f6db4397288ef84",
    "care-1.zh-CN.toml": "220af111700c053348c53b9ef3daac324663e816f7650e3435c85ef72dfd6de1",
    "link-2.en.toml": "7ee741e3f5b94fc696e089e877e9f83e2241739199cd1394a0949473a2c2c684",
    "link-2.zh-CN.toml": "e18b458ece19d58aa82a45ab1d389263694adc034c0b0278e1d827757558ed3c",
    "renew-1.en.toml": "82a8050b619bacefdf3796ca9df1c816db66f3ed2f2c6edf8c25cf2ab021e1e0",
    "renew-1.zh-CN.toml": "afb0153d2452b447489b88693d0dcdf33b92f536185a3131b3cbba744403710e",
    "share-1.en.toml": "1dbe1c233bad2c56335548cd4d07dcdbe3e24de9978f91972445f470eb659962",
    "share-1.zh-CN.toml": "053e4a2141cb2bae803b4936688b1c0dbb5944b7cedfff84f80202d0b43deb3f",
    "ward-1.en.toml": "9dd299badc2593d71f06e55251f2117991c0b791eb8bbf6af0a08f21857aff8e",
    "ward-1.zh-CN.toml": "7c7bfdf38aa6505ff05912317846c060d3f37a8093ee1ff7e8d46ec97813c316",
}
PATHS = sorted(FILES.glob("*.toml"))
NAMES = sorted({path.name.split("-")[0] for path in PATHS})


def test_no_notice_that_was_ever_shown_was_changed_or_lost() -> None:
    kept = {path.name: sha256(path.read_bytes()).hexdigest() for path in PATHS}
    assert kept == SHOWN


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_a_file_is_named_for_what_it_is_and_found_by_its_digest(path) -> None:
    notice = parse_notice(path.read_bytes())
    assert path.name == f"{notice.name}-{notice.number}.{notice.language}.toml"
    assert notice_by_digest(SHOWN[path.name]) == find_notice(notice.version) == notice
    assert len(notice.version) <= 80  # as a grant keeps it
    assert set(notice.sensitive) == set(Sensitive)
    assert all(notice.words())


@pytest.mark.parametrize("name", NAMES)
def test_both_languages_ask_the_same(name: str) -> None:
    notices = [current_notice(name, language) for language in LANGUAGES]
    assert len({one.number for one in notices}) == 1
    assert len({len(one.points) for one in notices}) == 1
    assert blanks(notices[0]) - {"name_en"} == blanks(notices[1]) - {"name_en"}


def test_an_unknown_language_is_english_and_an_unknown_notice_is_none() -> None:
    assert current_notice("link", "fr").language == "en"
    with pytest.raises(NoticeUnknown):
        current_notice("nothing", "en")
    with pytest.raises(NoticeUnknown):
        notice_by_digest("0" * 64)
    assert find_notice("link-1") is None


def test_what_is_put_in_is_taken_as_it_is_and_classes_that_are_not_asked_are_left_out() -> None:
    notice = current_notice("link", "en")
    values = dict.fromkeys(blanks(notice), "{name_en} {0}")
    filled = fill_in(notice, values, classes=frozenset({Sensitive.WHEREABOUTS}))
    assert "{name_en} {0}" in filled.heading
    assert set(filled.sensitive) == {Sensitive.WHEREABOUTS}
    with pytest.raises(KeyError):
        fill_in(notice, {}, classes=frozenset())
