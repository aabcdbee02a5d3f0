"""From files to a `DesiredState`: all problems of all files in one run, each at its place.

What cannot be read or understood is left out of the state and told in its findings; everything else is loaded, so that
one broken site does not keep the fleet from its plan.
"""

from __future__ import annotations

import operator
import posixpath
from dataclasses import replace
from functools import lru_cache, reduce
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, cast

from pydantic import BaseModel, Field, ValidationError, create_model

from reconciler.base.findings import Finding, Kind, ObjectName, Rule, Stops, found, sort_key
from reconciler.base.position import Position
from reconciler.base.text import printable
from reconciler.desired import rules
from reconciler.desired.compose import compose
from reconciler.desired.explain import explain
from reconciler.desired.hints import Hints, nearest
from reconciler.desired.material import RULES, MaterialReader, clear_key, committed
from reconciler.desired.models import NAME, Appliance, Certificate, Fleet, Policy, Site
from reconciler.desired.named import material_named, texts
from reconciler.desired.nodes import Document, plain
from reconciler.desired.relations import Relations
from reconciler.desired.state import Build, Declared, DesiredState
from reconciler.desired.tree import Hindrance, Obstacle, Snapshot, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from collections.abc import Mapping as MappingOf

    from reconciler.base.references import StoreConfiguration

FLEET_FILE = "fleet.yaml"
FOLDERS = {"sites": Kind.SITE, "appliances": Kind.APPLIANCE, "certificates": Kind.CERTIFICATE}
_YAML = (".yaml", ".yml")


def load(tree: Snapshot, drivers: MappingOf[str, type[StoreConfiguration]], *, display_root: str) -> DesiredState:
    """Read a desired state. Whatever is wrong with the files becomes a finding; nothing is raised.

    Args:
        tree: The files; see `reconciler.desired.tree.open_tree`.
        drivers: The options of each installed driver, by its name.
        display_root: The folder as people name it, for findings.
    """
    return _Loader(tree, appliance_model(drivers), display_root).load()


def appliance_model(drivers: MappingOf[str, type[StoreConfiguration]]) -> type[Appliance]:
    """The model of an appliance whose `store` has the options of one of these drivers."""
    return _narrowed(tuple(drivers[name] for name in sorted(drivers)))


@lru_cache(maxsize=8)
def _narrowed(configurations: tuple[type[StoreConfiguration], ...]) -> type[Appliance]:
    own = Appliance.model_fields["store"]
    field: Any = (store_options(configurations), Field(description=own.description))
    return create_model("Appliance", __base__=Appliance, __doc__=Appliance.__doc__, store=field)


def store_options(configurations: Sequence[type[StoreConfiguration]]) -> Any:  # noqa: ANN401 - a type made at run time
    """What may stand at `store`: the options of one of these drivers."""
    either: Any = reduce(operator.or_, configurations)
    return Annotated[either, Field(discriminator="driver")] if len(configurations) > 1 else either


class _Place(NamedTuple):
    """A file that declares something."""

    path: str
    about: ObjectName
    acceptable: bool
    """Whether file name and extension are as they should be."""


class _Loader:
    """One run."""

    def __init__(self, tree: Snapshot, appliance: type[Appliance], display_root: str) -> None:
        self._tree = tree
        self._models: dict[Kind, type[BaseModel]] = {
            Kind.FLEET: Fleet,
            Kind.SITE: Site,
            Kind.APPLIANCE: appliance,
            Kind.CERTIFICATE: Certificate,
        }
        self._root = display_root
        self._hints = Hints()
        self._findings: list[Finding] = []
        self._objects: dict[Kind, dict[str, Declared[Any]]] = {kind: {} for kind in Kind}
        self._names: dict[Kind, set[str]] = {kind: set() for kind in Kind}
        self._declaring: dict[str, ObjectName] = {}
        self._documents: dict[ObjectName, Document] = {}
        self._broken: list[Document] = []
        self._illegible = False
        self._reader = MaterialReader(tree, self._hints)

    def load(self) -> DesiredState:
        """Everything, in the order in which it depends on each other."""
        material: dict[str, Any] = {}
        builds: dict[ObjectName, tuple[Build, ...]] = {}
        if self._tree.excess:
            self._report(rules.TOO_MANY_FILES, self._tree.excess, "take out what is not desired state", "")
        else:
            for place in sorted(self._places()):
                self._declare(place)
            if not self._declaring:
                message = "nothing is declared here"
                remedy = f"name a folder that holds {FLEET_FILE}, sites/, appliances/ or certificates/"
                self._report(rules.NOTHING_DECLARED, message, remedy, "")
            self._relate()
            material, builds = self._read_material()
            self._sweep()
        findings = sorted(dict.fromkeys((*self._findings, *self._reader.findings)), key=sort_key)
        fleet = cast("Declared[Fleet] | None", self._objects[Kind.FLEET].get(Kind.FLEET.value))
        return DesiredState(
            root=self._root,
            policy=fleet.model.policy if fleet else Policy(),
            sites=self._objects[Kind.SITE],
            appliances=self._objects[Kind.APPLIANCE],
            certificates=self._objects[Kind.CERTIFICATE],
            material=material,
            builds=builds,
            findings=tuple(findings),
            digest=self._tree.digest,
            revision=self._tree.revision,
            tree=self._tree,
            fleet=fleet,
        )

    def _file(self, path: str) -> str:
        """A path as people name it."""
        return printable(posixpath.normpath(posixpath.join(self._root, path)))

    def _report(self, rule: Rule, message: str, remedy: str, path: str, about: ObjectName | None = None) -> None:
        """A finding about a file as a whole."""
        self._find(found(rule, message, remedy, position=Position(self._file(path)), about=about))

    def _find(self, finding: Finding) -> None:
        """Keep a finding. One that is about no declared object is told, but no site has to wait for it."""
        self._findings.append(finding if finding.about else replace(finding, stops=Stops.NOTHING))

    # Files

    def _places(self) -> Iterator[_Place]:
        """The files that declare something; those that look like it and do not are reported."""
        for path in (*self._tree.files, *self._tree.links, *self._tree.obstacles):
            if _is_hidden(path):
                continue
            stem, extension = posixpath.splitext(path)
            if extension.lower() not in _YAML:
                continue
            folder, _, name = stem.rpartition("/")
            if path in self._tree.links and self._tree.is_folder(path):
                continue
            if folder in FOLDERS:
                # A name that no encoding knows is refused below; it has to be told of all the same.
                yield self._object(path, ObjectName(FOLDERS[folder], printable(name)), extension)
            elif stem == Kind.FLEET.value:
                yield self._object(path, ObjectName(Kind.FLEET, Kind.FLEET.value), extension)
            else:
                self._report(rules.UNKNOWN_FILE, "no YAML is read from here", _better_place(folder, name), path)

    def _object(self, path: str, about: ObjectName, extension: str) -> _Place:
        acceptable = True
        if extension != ".yaml":
            self._report(rules.UNKNOWN_FILE, f"the file ends in {extension}", "let it end in .yaml", path, about)
            acceptable = False
        if not NAME.fullmatch(about.name):
            message = f"'{shown(about.name)}' cannot be the name of what the file declares"
            remedy = "use lower-case letters, digits, and dots, dashes and underscores between them"
            self._report(rules.OBJECT_NAME, message, remedy, path, about)
            acceptable = False
        self._names[about.kind].add(about.name)
        self._declaring[path] = about
        return _Place(path, about, acceptable)

    def _declare(self, place: _Place) -> None:
        """Read one file into a model, if that is possible."""
        path, about, acceptable = place
        self._reader.used.update(self._tree.trace(path))
        content = self._tree.look_up(path)
        if isinstance(content, Obstacle):
            self._report(RULES[content.hindrance], content.message, content.remedy, path, about)
            self._illegible = True
            return
        composed = compose(content)
        file = self._file(path)
        for flaw in composed.flaws:
            position = Position(file, flaw.line, flaw.column)
            self._find(found(flaw.rule, flaw.message, flaw.remedy, position=position, about=about))
        if composed.root is None:
            self._illegible = True
            return
        document = Document(path, file, composed.root)
        model = self._validate(document, about)
        self._documents.setdefault(about, document)
        if model is None or composed.flaws or not acceptable:
            self._broken.append(document)
            self._reader.refer(material_named(document, about.kind), about, document)
        else:
            self._objects[about.kind][about.name] = Declared(about, model, document)
            self._reader.refer(committed(model), about, document)

    def _validate(self, document: Document, about: ObjectName) -> BaseModel | None:
        model = self._models[about.kind]
        try:
            return model.model_validate(plain(document.root), context={"file": document.path})
        except ValidationError as error:
            for told in explain(error, model, document, self._hints):
                self._find(found(told.rule, told.message, told.remedy, position=told.position, about=about))
            return None

    # What files say of each other

    def _relate(self) -> None:
        relations = Relations(
            self._documents, self._objects[Kind.SITE], self._objects[Kind.APPLIANCE], self._names, self._hints
        )
        self._findings.extend(relations.findings())

    def _read_material(self) -> tuple[dict[str, Any], dict[ObjectName, tuple[Build, ...]]]:
        material = {name: self._reader.material(each) for name, each in self._objects[Kind.CERTIFICATE].items()}
        builds = {}
        for each in (*self._objects[Kind.SITE].values(), *self._objects[Kind.APPLIANCE].values()):
            declared = self._reader.builds(each)
            if declared:
                builds[each.about] = declared
        return material, builds

    # What nothing refers to

    def _sweep(self) -> None:
        """Look at every file once more: keys in clear, what cannot be read, what nobody uses."""
        used = self._used()
        for path, obstacle in self._tree.obstacles.items():
            if path not in used:
                self._report(RULES[obstacle.hindrance], obstacle.message, obstacle.remedy, path)
        for path in self._tree.links:
            target = self._tree.look_up(path)
            if path in used or isinstance(target, bytes) or self._tree.is_folder(path):
                continue
            if target.hindrance is Hindrance.MISSING:
                self._report(rules.FILE_UNREADABLE, "the link leads nowhere", target.remedy, path)
            else:
                self._report(RULES[target.hindrance], target.message, target.remedy, path)
        for path, content in self._tree.files.items():
            if self._reader.is_clear_key(path) and (path not in self._reader.used or path in self._declaring):
                position = Position(self._file(path), _line_of_key(content))
                self._find(clear_key("the file holds", position, self._declaring.get(path)))
        if not self._illegible:
            self._report_unused(used)

    def _used(self) -> set[str]:
        """What somebody refers to, broken objects included: whatever text in them may be a path counts as one."""
        used = set(self._reader.used)
        for document in self._broken:
            folder = posixpath.dirname(document.path)
            for text in texts(document.root):
                used.update(self._tree.trace(posixpath.normpath(posixpath.join(folder, text))))
        return used

    def _report_unused(self, used: set[str]) -> None:
        """What a file that cannot be read refers to is unknown; so this is only asked where there is none."""
        remedy = "refer to it, or take it out"
        for path in (*self._tree.files, *self._tree.links):
            if path not in used and not _is_hidden(path) and not path.endswith((".md", *_YAML)):
                self._report(rules.UNUSED_FILE, "nothing refers to this file", remedy, path)
        listed = {name for document in self._broken for name in texts(document.root)}
        for each in (*self._objects[Kind.SITE].values(), *self._objects[Kind.APPLIANCE].values()):
            listed.update(each.model.certificates)
        for name, certificate in self._objects[Kind.CERTIFICATE].items():
            if name not in listed:
                message = "no site and no appliance lists this certificate"
                remedy = "list it under `certificates:` of one, or take it out"
                self._report(rules.UNUSED_FILE, message, remedy, certificate.document.path, certificate.about)


def _is_hidden(path: str) -> bool:
    return path.startswith(".") or "/." in path


def _better_place(folder: str, name: str) -> str:
    if folder and "/" not in folder:
        match = nearest(folder, FOLDERS)
        return f"did you mean `{match}/{shown(name)}.yaml`?" if match else _EVERY_PLACE
    return f"did you mean `{FLEET_FILE}`?" if not folder and nearest(name, [Kind.FLEET.value]) else _EVERY_PLACE


_EVERY_PLACE = f"declarations are {FLEET_FILE} and the files directly in {', '.join(f'{each}/' for each in FOLDERS)}"


def _line_of_key(content: bytes) -> int:
    """The line on which the key begins in a text file; the first one in any other."""
    place = content.find(b"PRIVATE KEY-----")
    return content.count(b"\n", 0, max(place, 0)) + 1
