"""Plain HTML forms as a person meets them: where they lead, what can be filled in and what can be pressed. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One form: its address, the values it already has, and what can be filled and pressed."""

    action: str
    method: str
    values: Mapping[str, str]
    fillable: frozenset[str]
    buttons: tuple[tuple[str, str], ...]
    boxes: Mapping[str, str] = field(default_factory=dict)
    """Checkboxes that nobody has ticked yet, with the value that a tick sends."""

    def has(self, *names: str) -> bool:
        """Say whether a person can fill in all of these."""
        return self.fillable.issuperset(names)

    def decides(self) -> bool:
        """Say whether the form asks for a yes or a no."""
        return any(name == "decision" for name, _ in self.buttons)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What the person sees; `seen` are the addresses that led here."""

    url: str
    status: int
    forms: tuple[Form, ...]
    text: str = field(repr=False)
    seen: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    def form_to(self, path: str) -> Form | None:
        """Return the first form that leads to this path."""
        return next((form for form in self.forms if urlsplit(form.action).path == path), None)


def parse_page(url: str, status: int, text: str, seen: tuple[str, ...] = ()) -> Page:
    """Read the forms of an HTML page.

    Example:
        >>> page = parse_page("http://127.0.0.1/a", 200, '<form action="b" method="post"><input name="x" value="1">')
        >>> page.forms[0].action, page.forms[0].method, dict(page.forms[0].values)
        ('http://127.0.0.1/b', 'POST', {'x': '1'})
    """
    reader = _FormReader(url)
    reader.feed(text)
    reader.close()
    forms = tuple(
        Form(
            action=form.action,
            method=form.method,
            values=form.values,
            fillable=frozenset(form.fillable),
            buttons=tuple(form.buttons),
            boxes=form.boxes,
        )
        for form in reader.forms
    )
    return Page(url=url, status=status, forms=forms, text=text, seen=seen)


@dataclass(slots=True)
class _OpenForm:
    action: str
    method: str
    values: dict[str, str] = field(default_factory=dict)
    fillable: set[str] = field(default_factory=set)
    buttons: list[tuple[str, str]] = field(default_factory=list)
    boxes: dict[str, str] = field(default_factory=dict)


class _FormReader(HTMLParser):
    """Collects forms and their controls in the order of the page."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self._form: _OpenForm | None = None
        self._select: str | None = None
        self.forms: list[_OpenForm] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            action = urljoin(self._url, given["action"]) if given.get("action") else self._url
            self._form = _OpenForm(action, given.get("method", "get").upper())
            self.forms.append(self._form)
        elif self._form is not None and "disabled" not in given:
            self._control(self._form, tag, given)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        elif tag == "select":
            self._select = None

    def _control(self, form: _OpenForm, tag: str, given: Mapping[str, str]) -> None:
        name, kind = given.get("name", ""), given.get("type", "submit" if tag == "button" else "text").lower()
        if tag == "option" and self._select is not None:
            if "selected" in given or self._select not in form.values:  # without a mark, the first one counts
                form.values[self._select] = given.get("value", "")
        elif not name:
            return
        elif tag == "select":
            self._select = name
            form.fillable.add(name)
        elif tag in ("button", "input") and kind in ("submit", "image"):
            form.buttons.append((name, given.get("value", "")))
        elif tag == "input" and kind in ("checkbox", "radio"):
            form.fillable.add(name)
            if "checked" in given:
                form.values[name] = given.get("value", "on")
            elif kind == "checkbox":
                form.boxes[name] = given.get("value", "on")
        elif tag in ("input", "textarea"):
            form.values[name] = given.get("value", "")
            if kind != "hidden":
                form.fillable.add(name)
