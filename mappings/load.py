"""Mapping files to checked mappings. I/O: reads the package's own files and those of the operator's directory.

The directory is named once, at start. A mapping that comes with the hub cannot be replaced by a file of the same name:
its name stands in records and in the log, and has to mean the same rules at every hub.
"""

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path as File
from types import MappingProxyType

from mappings import model
from mappings.model import Mapping
from mappings.reader import Path, Paths, build_tree
from mappings.reasons import STATED, Reason
from mappings.section import MappingError, Section
from mappings.vocabulary import FIELDS, REQUIRED, parse_case, parse_condition
from standards.canonical import digest

FILES = File(__file__).parent / "files"
_added: dict[str, File] = {}  # by name, the operator's own files
_NAME = re.compile(r"([a-z][a-z0-9-]{1,31})\.([a-z][a-z0-9_]{0,31})\.v([1-9][0-9]{0,3})", re.ASCII)


@cache
def load_mapping(name: str) -> Mapping:
    """Return the mapping of this id, such as `beijing-green-life.acts.v1`.

    Raises:
        MappingError: there is no such mapping, or its file breaks the rules.
    """
    if name not in list_mappings():
        raise MappingError(f"{name!r}: there is no such mapping; there are {', '.join(list_mappings())}")
    return parse_mapping(name, _added.get(name, FILES / f"{name}.toml").read_bytes())


def list_mappings() -> tuple[str, ...]:
    """Return the ids of all mappings, those that come with the hub and those that were added, in order."""
    return tuple(sorted({*_names_in(FILES), *_added}))


def use_mappings_from(directory: File | None) -> None:
    """Add the operator's own mapping files; None takes away what was added before. To be called once, at start.

    Raises:
        MappingError: there is no such directory, or a file in it has the name of a mapping that comes with the hub or
            breaks the rules: found out now and not with the first record.
    """
    found: dict[str, File] = {}
    if directory is not None:
        if not directory.is_dir():
            raise MappingError(f"{directory}: there is no such directory of mappings")
        found = {name: directory / f"{name}.toml" for name in _names_in(directory)}
    if shadowed := sorted(found.keys() & set(_names_in(FILES))):
        raise MappingError(f"{shadowed[0]}.toml: a mapping of this name comes with the hub and cannot be replaced")
    for name, file in found.items():
        parse_mapping(name, file.read_bytes())
    _added.clear()
    _added.update(found)
    load_mapping.cache_clear()


def _names_in(directory: File) -> list[str]:
    return [file.name.removesuffix(".toml") for file in directory.glob("*.toml")]


def parse_mapping(name: str, content: bytes) -> Mapping:
    """Check a mapping file that may come from anywhere.

    Args:
        name: the id that the file must also say; `<platform>.<stream>.v<N>`.
        content: the file.

    Raises:
        MappingError: the text names file and field.
    """
    parts = _NAME.fullmatch(name)
    if parts is None:
        raise MappingError(f"{name!r}: a mapping is named <platform>.<stream>.v<N>")
    file = f"{name}.toml"
    try:
        # Numbers with a fraction come as text, so that no amount ever passes through a float.
        document = tomllib.loads(content.decode(), parse_float=str)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as cause:
        raise MappingError(f"{file}: not TOML: {cause}") from cause
    top = Section(file=file, place="", values=document)
    top.word("mapping", (name,))
    keep = top.path_list("keep")
    drop = top.path_list("drop") if top.has("drop") else ()
    stated = tuple(_parse_stated(part) for part in top.sections("quarantine")) if top.has("quarantine") else ()
    mapping = Mapping(
        id=name,
        platform=parts[1],
        stream=parts[2],
        version=int(parts[3]),
        about=top.text("about"),
        sources=top.texts("sources"),
        digest=digest(content),
        keep=keep,
        drop=drop,
        stated=stated,
        fields=_parse_fields(top.section("fields")),
        tree=build_tree(keep),
    )
    top.finish()
    _require_kept(top, mapping)
    return mapping


def _parse_stated(section: Section) -> model.Stated:
    reason = Reason[section.word("reason", STATED).upper()]
    stated = model.Stated(reason=reason, when=parse_condition(section.section("when")))
    section.finish()
    return stated


def _parse_fields(section: Section) -> MappingProxyType[str, tuple[model.Case, ...]]:
    missing = [name for name in REQUIRED if not section.has(name)]
    if missing:
        raise section.error(missing[0], "is missing")
    fields = {name: _parse_cases(section, name) for name in FIELDS if section.has(name)}
    section.finish()
    return MappingProxyType(fields)


def _parse_cases(section: Section, name: str) -> tuple[model.Case, ...]:
    cases = tuple(parse_case(part, name) for part in section.sections(name))
    if any(case.when is None for case in cases[:-1]):
        raise section.error(name, "only the last case may be without `when`; what follows it is never reached")
    nobody = any(isinstance(case.transform, model.Nobody) for case in cases)
    if nobody and (len(cases) > 1 or cases[0].when is not None):
        raise section.error(name, "a format names people or nobody, not both")
    return cases


def _require_kept(top: Section, mapping: Mapping) -> None:
    """Refuse a file whose kept documents would not translate as the full ones, or would carry what is to be dropped."""
    for path in mapping.keep:
        if any(path != other and path == other[: len(path)] for other in mapping.keep):
            raise top.error("keep", f"{'.'.join(path)} contains another kept path: keep names single values")
        if any(path[: len(out)] == out or out[: len(path)] == path for out in mapping.drop):
            raise top.error("keep", f"{'.'.join(path)} is also to be dropped")
    for place, paths, readable in _paths_read(mapping):
        for path in paths:
            if path not in readable:
                raise top.error(place, f"reads {'.'.join(path)}, which `keep` does not name")


def _paths_read(mapping: Mapping) -> Iterator[tuple[str, Paths, tuple[Path, ...]]]:
    """All paths that are read, by whom, and among which they must be: `absent` may also ask about a parent."""
    for name, cases in mapping.fields.items():
        for case in cases:
            yield from ((f"fields.{name}", paths, mapping.keep) for paths in _of_transform(case.transform))
            if case.when is not None:
                yield from ((f"fields.{name}.when", *read) for read in _of_condition(case.when, mapping))
    for stated in mapping.stated:
        yield from (("quarantine.when", *read) for read in _of_condition(stated.when, mapping))


def _of_transform(transform: model.Transform) -> tuple[Paths, ...]:
    match transform:
        case model.Constant() | model.Link() | model.Nobody():
            return ()
        case model.Join():
            return transform.parts
        case model.Token():
            return _of_transform(transform.source)
        case _:
            return (transform.paths,)


def _of_condition(condition: model.Condition, mapping: Mapping) -> tuple[tuple[Paths, tuple[Path, ...]], ...]:
    match condition:
        case model.Not():
            return _of_condition(condition.condition, mapping)
        case model.AllOf() | model.AnyOf():
            return tuple(read for part in condition.conditions for read in _of_condition(part, mapping))
        case model.SameAs():
            return ((condition.paths, mapping.keep), (condition.others, mapping.keep))
        case model.IsAbsent():
            return ((condition.paths, mapping.tree.nodes),)
        case _:
            return ((condition.paths, mapping.keep),)
