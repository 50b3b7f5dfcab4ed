"""The standards over HTTP and by command: public, kept and asked again with an ETag, exact, and clear about bad input."""

import json
from datetime import date
from hashlib import sha256
from pathlib import Path

import pytest
import tests_support.terminal as terminal
import typer
from tests_support.terminal import Terminal
from tests_support.web import Caller, count

from hub.commands.console import told_errors
from hub.commands.exporting import export, validate
from hub.context import Hub
from standards.behaviours import accepted_behaviours, load_behaviours
from standards.datafile import DATA
from standards.documents.catalogue import load_documents
from standards.explain import Act, explain
from standards.factors import load_factors
from standards.methodology import CURRENT_METHODOLOGY, load_methodology, methodology_versions
from standards.rates import day_of
from standards.schema import Role

EXPLAIN = "/v1/standards/explain"
WUHAN = {"behaviour": "MOB-BIKE", "quantity": "4.2", "region": "420100", "on": "2026-11-20"}
ANSWERS = [
    "/standards", "/standards/factors.csv", "/v1/standards/behaviours", "/v1/standards/factors?behaviour=MOB-BIKE",
    f"/v1/standards/methodologies/{CURRENT_METHODOLOGY}", f"{EXPLAIN}?behaviour=MOB-BIKE&quantity=4.2&on=2026-11-20",
]  # fmt: skip
TYPES = {
    ".csv": "text/csv; charset=utf-8", ".md": "text/markdown; charset=utf-8", ".schema.json": "application/schema+json",
    ".arrow": "application/vnd.apache.arrow.file", ".arrow.json": "application/json",
}  # fmt: skip


@pytest.fixture
def caller(hub: Hub) -> Caller:
    return Caller(hub)


# Documents and the page that lists them.


def test_every_document_is_served_as_it_is_built_and_by_its_media_type(caller: Caller):
    for name, document in load_documents().items():
        answer = caller.get(f"/standards/{name}")
        assert (answer.status_code, answer.content) == (200, document.content), name
        ending = max((end for end in TYPES if name.endswith(end)), key=len)
        assert answer.headers["content-type"] == TYPES[ending], name
        assert "set-cookie" not in answer.headers


def test_the_page_lists_every_document_and_works_without_scripts(hub: Hub, caller: Caller):
    before = count(hub, "web_session")
    answer = caller.get("/standards", headers={"accept": "text/html"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    for name in load_documents():
        assert f'href="/standards/{name}"' in answer.text
    assert "<script" not in answer.text
    assert "script-src" not in answer.headers["content-security-policy"]
    assert "set-cookie" not in answer.headers
    assert count(hub, "web_session") == before


def test_what_the_page_links_to_is_there(caller: Caller):
    text = caller.get("/standards").text
    links = [part.split('"')[0].replace("&amp;", "&") for part in text.split('href="')[1:]]
    assert len(links) > 18
    for link in links:
        if link != "/":
            assert caller.get(link).status_code == 200, link


def test_every_answer_may_be_kept_and_is_not_sent_twice(caller: Caller):
    etags = set()
    for path in ANSWERS:
        answer = caller.get(path)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "public, max-age=3600"), path
        etag = answer.headers["etag"]
        assert etag == f'"{sha256(answer.content).hexdigest()[:32]}"'
        etags.add(etag)
        for shown in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            again = caller.get(path, headers={"if-none-match": shown})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag), (path, shown)
            assert again.headers["cache-control"] == "public, max-age=3600"
            assert again.headers["x-frame-options"] == "DENY"
        for shown in ('"other"', etag.strip('"'), ""):
            assert caller.get(path, headers={"if-none-match": shown}).status_code == 200, (path, shown)
    assert len(etags) == len(ANSWERS)


@pytest.mark.parametrize("name", ["nothing.csv", "..%2f..%2fpyproject.toml", "factors.toml", "%00", "FACTORS.CSV"])
def test_a_document_that_is_not_there_is_a_problem_that_lists_what_there_is(caller: Caller, name: str):
    answer = caller.get(f"/standards/{name}")
    assert answer.status_code == 404
    assert answer.headers["cache-control"] == "no-store"
    if "%2f" not in name:
        assert answer.headers["content-type"] == "application/problem+json"
        assert "factors.csv" in answer.json()["title"]
        assert name not in answer.text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_written(caller: Caller, method: str):
    for path in ANSWERS:
        assert caller.call(method, path).status_code == 405, path


def test_the_api_describes_the_standards(caller: Caller):
    paths = caller.get("/openapi.json").json()["paths"]
    assert {
        "/standards", "/standards/{name}", "/v1/standards/behaviours", "/v1/standards/factors",
        "/v1/standards/methodologies/{version}", EXPLAIN,
    } <= set(paths)  # fmt: skip
    parameters = {one["name"]: one for one in paths[EXPLAIN]["get"]["parameters"]}
    assert {"behaviour", "quantity", "unit", "region", "on", "role", "methodology"} == set(parameters)
    assert parameters["role"]["schema"]["enum"] == list(Role)
    assert "304" in paths[EXPLAIN]["get"]["responses"]


# JSON.


def test_behaviours_factors_and_methodologies_are_told_in_full(caller: Caller):
    told = caller.get("/v1/standards/behaviours").json()
    assert [(one["code"], one["accepted"]) for one in told] == [
        (b.code, b.accepted) for b in load_behaviours().values()
    ]
    every = caller.get("/v1/standards/factors").json()
    assert [one["factor_id"] for one in every] == load_factors()["factor_id"].to_list()
    bikes = caller.get("/v1/standards/factors?behaviour=MOB-BIKE").json()
    assert bikes == [one for one in every if one["behaviour"] == "MOB-BIKE"]
    assert all(isinstance(one["grams"], str) and one["source_title"] for one in every)
    for version in methodology_versions():
        told = caller.get(f"/v1/standards/methodologies/{version}").json()
        assert [one["id"] for one in told["methods"]] == [m.id for m in load_methodology(version).methods.values()]
        assert all(one["examples"] for one in told["methods"])


def test_an_act_is_explained_as_the_command_line_does_it(caller: Caller):
    answer = caller.get(EXPLAIN, params=WUHAN)
    act = Act(behaviour="MOB-BIKE", quantity_micro=4_200_000, region=420100, day=date(2026, 11, 20))
    assert answer.json() == json.loads(json.dumps(explain(act).to_dict()))
    alone = caller.get(EXPLAIN, params=WUHAN | {"role": "self_report", "unit": "km"}).json()
    assert alone["inputs"][0]["figure"] == "hello-bike"
    older = caller.get(EXPLAIN, params=WUHAN | {"methodology": "hub-2026.1"}).json()
    assert (older["methodology"], older["reference_mg"]) == ("hub-2026.1", 33_880 * 42 // 10)


def test_without_a_day_it_is_today_and_the_answer_is_asked_for_again(hub: Hub, caller: Caller):
    answer = caller.get(EXPLAIN, params={"behaviour": "MOB-BUS"})
    assert answer.json()["day"] == day_of(int(hub.clock().timestamp() * 1_000_000)).isoformat()
    assert answer.headers["cache-control"] == "public, no-cache"
    again = caller.get(EXPLAIN, params={"behaviour": "MOB-BUS"}, headers={"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304


BAD = {
    "no behaviour": ({"behaviour": None}, "behaviour", "MOB-BUS"),
    "an unknown behaviour": ({"behaviour": "MOB-<script>"}, "behaviour", "MOB-BIKE"),
    "one that is not accepted": ({"behaviour": "CLO-SUSTAIN"}, "behaviour", "MOB-BIKE"),
    "another unit": ({"unit": "trip"}, "unit", "km"),
    "no quantity": ({"quantity": None}, "quantity", "a decimal number, zero or more"),
    "a negative quantity": ({"quantity": "-1"}, "quantity", "a decimal number, zero or more"),
    "no number": ({"quantity": "NaN"}, "quantity", "a decimal number, zero or more"),
    "too much": ({"quantity": "1e20"}, "quantity", "a decimal number, zero or more"),
    "an amount that does not fit": (
        {"behaviour": "CLO-RECYCLE", "quantity": "9000000000000"}, "quantity", "a decimal number, zero or more",
    ),
    "no region": ({"region": "990000"}, "region", "110000 北京 Beijing"),
    "a region in other digits": ({"region": "４２０１００"}, "region", "110000 北京 Beijing"),
    "a long region": ({"region": "1" * 5000}, "region", "110000 北京 Beijing"),
    "no day": ({"on": "2026-02-30"}, "on", "YYYY-MM-DD"),
    "a day in other words": ({"on": "20261120"}, "on", "YYYY-MM-DD"),
    "before all acts": ({"on": "2014-12-31"}, "on", "2015-01-01 or later"),
    "an unknown role": ({"role": "bystander"}, "role", "operator"),
    "an unknown methodology": ({"methodology": "../hub-2026.2"}, "methodology", "hub-2026.2"),
    "an older one that lacks it": (
        {"methodology": "hub-2026.1", "behaviour": "HOME-HOTEL", "quantity": "1"}, "behaviour", "MOB-BIKE",
    ),
    "a misspelt parameter": ({"regoin": "420100"}, "query", "region"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_a_problem_that_lists_what_is_valid(caller: Caller, name: str):
    change, parameter, valid = BAD[name]
    asked = {key: value for key, value in (WUHAN | change).items() if value is not None}
    answer = caller.get(EXPLAIN, params=asked)
    told = answer.json()
    assert (answer.status_code, told["status"], told["parameter"]) == (422, 422, parameter), told
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert (told["type"], bool(told["title"])) == ("urn:tanlian:problem:usage_problem", True)
    assert valid in told["valid"]
    if parameter == "behaviour" and "methodology" not in change:
        assert told["valid"] == list(accepted_behaviours())


def test_a_parameter_given_twice_or_to_a_list_without_parameters_is_refused(caller: Caller):
    twice = caller.get(f"{EXPLAIN}?behaviour=MOB-BUS&behaviour=MOB-BIKE&quantity=1")
    assert (twice.status_code, twice.json()["parameter"]) == (422, "behaviour")
    assert caller.get("/v1/standards/behaviours?code=MOB-BUS").status_code == 422
    unknown = caller.get("/v1/standards/factors?behaviour=MOB-TELEPORT")
    assert (unknown.status_code, unknown.json()["valid"]) == (422, list(load_behaviours()))
    absent = caller.get("/v1/standards/methodologies/hub-1999.1")
    assert (absent.status_code, absent.json()["valid"]) == (404, list(methodology_versions()))


# By command.


@pytest.fixture
def command(bare: Terminal, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal that knows the two commands alone."""
    app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command("export")(export)
    app.command("validate")(validate)
    monkeypatch.setattr(terminal, "main", lambda: told_errors(app))
    return bare


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_documents_are_written_as_they_are_served_and_once_more_over_themselves(command: Terminal):
    expected = {name: document.content for name, document in load_documents().items()}
    ran = command("export", "--dir", "deep/documents", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert {one["name"]: one["sha256"] for one in ran.json["documents"]} == {
        name: sha256(content).hexdigest() for name, content in expected.items()
    }
    folder = command.folder / "deep" / "documents"
    assert files(folder) == expected
    shown = command("export", "--dir", folder, "--methodology", "hub-2026.1")
    assert "methodology-hub-2026.1.md" in shown.out
    assert files(folder) == {name: content for name, content in expected.items() if name != "methodology-hub-2026.2.md"}
    assert [path.name for path in folder.parent.iterdir()] == ["documents"]


def test_an_export_is_all_or_nothing_and_never_over_somebody_else_s_files(
    command: Terminal, monkeypatch: pytest.MonkeyPatch
):
    folder = command.folder / "mine"
    folder.mkdir()
    (folder / "diary.txt").write_text("keep me")
    assert "diary.txt" in command("export", "--dir", folder).complaint
    assert files(folder) == {"diary.txt": b"keep me"}
    assert "not a folder" in command("export", "--dir", folder / "diary.txt").complaint
    assert "hub-2026.2" in command("export", "--dir", "new", "--methodology", "hub-1999.1").complaint
    (folder / "diary.txt").unlink()
    assert command("export", "--dir", folder).code == 0
    before, write = files(folder), Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if path.name == "overlap.md":
            raise OSError(28, "No space left on device", str(path))
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    for target in (folder, command.folder / "new"):
        assert "No space left" in command("export", "--dir", target).complaint
    assert files(folder) == before
    assert [path.name for path in command.folder.iterdir()] == ["mine"]


def test_all_data_files_are_checked_and_a_wrong_draft_is_told_with_file_and_line(command: Terminal):
    ran = command("validate", "--json")
    assert (ran.code, ran.json["valid"]) == (0, True)
    assert ran.json["entries"]["factors"] == len(load_factors())
    assert "methods of hub-2026.2" in command("validate").out
    text = (DATA / "methodology-hub-2026.2.toml").read_text(encoding="utf-8")
    good = command.write("good.toml", text)
    wrong = command.write("wrong.toml", text.replace('unit = "trip"', 'unit = "lap"', 1))
    passed = command("validate", good)
    assert (passed.code, "methodology, 26 entries" in passed.out) == (0, True)
    complaint = command("validate", wrong).complaint
    line = 1 + text[: text.index("[[method]]")].count("\n")
    assert complaint.startswith(f"{wrong}:{line}: MOB-BUS per lap")
    both = command("validate", good, wrong, "--json")
    assert (both.code, both.json["valid"]) == (1, False)
    assert [one["problem"] is None for one in both.json["files"]] == [True, False]
    assert "No such file" in command("validate", "nowhere.toml").complaint
