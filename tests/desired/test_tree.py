"""Files from a work tree and from git revisions: the same content, the same bounds, the same refusals."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from reconciler.base.errors import UnreadableInput
from reconciler.desired.revision import read_revision
from reconciler.desired.tree import Hindrance, Limits, Obstacle, Snapshot, open_tree, read_work_tree

if TYPE_CHECKING:
    from pathlib import Path


def git(folder: Path, *words: str) -> str:
    environment = {
        **os.environ,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@example.com",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@example.com",
    }
    done = subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True, env=environment)
    return done.stdout.decode().strip()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with a desired state in a folder, links and odd names included."""
    folder = tmp_path / "repository" / "desired state"
    (folder / "sites").mkdir(parents=True)
    (folder / "certificates" / "v2").mkdir(parents=True)
    (folder / "fleet.yaml").write_bytes(b"policy: {}\r\n")
    (folder / "sites" / "ä \n.yaml").write_bytes(b"\xff\x00")
    (folder / "certificates" / "v2" / "leaf.pem").write_bytes(b"leaf")
    (folder / "certificates" / "empty").write_bytes(b"")
    (folder / "certificates" / "current").symlink_to("v2")
    (folder / "certificates" / "leaf.pem").symlink_to("current/leaf.pem")
    (folder / "out").symlink_to("../secret")
    (folder / "absolute").symlink_to("/etc/passwd")
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("nowhere")
    (tmp_path / "repository" / "secret").write_bytes(b"secret")
    git(folder.parent, "init", "-q", "-b", "main")
    git(folder.parent, "add", "-A")
    git(folder.parent, "-c", "commit.gpgsign=false", "commit", "-q", "-m", "first")
    return folder


def hindrance(tree: Snapshot, path: str) -> Hindrance:
    found = tree.look_up(path)
    assert isinstance(found, Obstacle)
    assert found.message.isprintable()
    assert found.remedy
    return found.hindrance


@pytest.fixture(params=["work tree", "revision"])
def tree(request: pytest.FixtureRequest, root: Path) -> Snapshot:
    return open_tree(root, None if request.param == "work tree" else "HEAD")


def test_files_are_read_and_links_inside_are_followed(tree: Snapshot) -> None:
    assert tree.read("fleet.yaml") == b"policy: {}\r\n"
    assert tree.read("sites/ä \n.yaml") == b"\xff\x00"
    assert tree.read("certificates/leaf.pem") == b"leaf"
    assert tree.read("certificates/current/leaf.pem") == b"leaf"
    assert tree.read("./sites/../certificates//empty") == b""
    assert tree.trace("certificates/leaf.pem") == (
        "certificates/leaf.pem",
        "certificates/current",
        "certificates/v2/leaf.pem",
    )
    assert tree.is_folder("certificates/current")
    assert not tree.is_folder("fleet.yaml")


def test_nothing_leads_out(tree: Snapshot) -> None:
    assert hindrance(tree, "out") is Hindrance.OUTSIDE
    assert hindrance(tree, "absolute") is Hindrance.OUTSIDE
    assert hindrance(tree, "../secret") is Hindrance.OUTSIDE
    assert hindrance(tree, "certificates/current/../../../secret") is Hindrance.OUTSIDE
    assert hindrance(tree, "loop") is Hindrance.UNREADABLE
    assert hindrance(tree, "loop/x") is Hindrance.UNREADABLE
    assert tree.trace("out") == ("out",)


def test_an_absolute_path_is_not_taken_for_one_inside(tree: Snapshot) -> None:
    inside = next(iter(tree.files))
    assert isinstance(tree.look_up(inside), bytes)
    assert isinstance(tree.look_up(f"/{inside}"), Obstacle)


def test_what_is_not_there_is_said(tree: Snapshot) -> None:
    assert hindrance(tree, "dangling") is Hindrance.MISSING
    assert hindrance(tree, "x\0y\x1b") is Hindrance.MISSING
    assert hindrance(tree, "sites") is Hindrance.MISSING
    assert hindrance(tree, "") is Hindrance.MISSING
    with pytest.raises(UnreadableInput, match="is a folder - name a file in it"):
        tree.read("certificates/current")


def test_a_work_tree_and_its_commit_have_one_digest(root: Path) -> None:
    committed, lying = open_tree(root, "main"), open_tree(root)
    assert committed.digest == lying.digest
    assert lying.revision is None
    assert committed.revision == git(root, "rev-parse", "HEAD")
    assert committed.files == lying.files
    assert committed.links == lying.links


@pytest.mark.parametrize("change", ["content", "name", "link", "new", "gone"])
def test_every_change_changes_the_digest(root: Path, change: str) -> None:
    before = open_tree(root).digest
    match change:
        case "content":
            (root / "fleet.yaml").write_bytes(b"policy: {} \r\n")
        case "name":
            (root / "fleet.yaml").rename(root / "fleet2.yaml")
        case "link":
            (root / "out").unlink()
            (root / "out").symlink_to("../secret2")
        case "new":
            (root / ".hidden").write_bytes(b"")
        case _:
            (root / "certificates" / "empty").unlink()
    assert open_tree(root).digest != before


def test_what_was_read_stays_as_it_was(root: Path) -> None:
    tree = open_tree(root)
    (root / "fleet.yaml").write_bytes(b"other")
    assert tree.read("fleet.yaml") == b"policy: {}\r\n"
    assert b"policy" not in repr(tree).encode()


def test_a_revision_is_read_from_anywhere_in_its_repository(root: Path) -> None:
    assert "repository/x" not in read_revision(root.parent, "HEAD").files
    assert "desired state/fleet.yaml" in read_revision(root.parent, "HEAD").files
    link = root.parent.parent / "link"
    link.symlink_to(root)
    assert read_revision(link, "HEAD").digest == read_revision(root, "HEAD").digest
    git(root.parent, "mv", "desired state", "elsewhere")
    assert "fleet.yaml" in read_revision(root, "HEAD").files


@pytest.mark.parametrize("revision", ["nowhere", "--all", "", "HEAD:desired state", "HEAD\n", "a\0b"])
def test_a_revision_that_is_none_is_refused(root: Path, revision: str) -> None:
    with pytest.raises(UnreadableInput, match="there is no revision"):
        open_tree(root, revision)


def test_a_folder_that_the_revision_has_not_is_refused(root: Path) -> None:
    with pytest.raises(UnreadableInput, match="there is no folder other in revision 'HEAD'"):
        open_tree(root.parent / "other", "HEAD")
    with pytest.raises(UnreadableInput, match="there is no folder secret"):
        open_tree(root.parent / "secret", "HEAD")


def test_without_a_repository_there_is_no_revision(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInput, match="is not in a git repository"):
        open_tree(tmp_path, "HEAD")


def test_a_bare_repository_is_refused(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--bare", "bare")
    with pytest.raises(UnreadableInput, match="bare git repository"):
        open_tree(tmp_path / "bare", "HEAD")


def test_without_git_only_revisions_cannot_be_read(root: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from reconciler.base.errors import UnreadableInput\n"
        "from reconciler.desired.tree import open_tree\n"
        "open_tree(Path(sys.argv[1]))\n"
        "try: open_tree(Path(sys.argv[1]), 'HEAD')\n"
        "except UnreadableInput as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(root)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": "/nonexistent"},
    )
    assert done.stdout == "there is no git program - install git\n"


@pytest.mark.parametrize("damage", ["missing", "cut short"])
def test_a_damaged_repository_is_said(root: Path, damage: str) -> None:
    blob = git(root, "rev-parse", "HEAD:desired state/fleet.yaml")
    file = root.parent / ".git" / "objects" / blob[:2] / blob[2:]
    content = file.read_bytes()
    file.unlink()
    if damage == "cut short":
        file.write_bytes(content[:-6])
    with pytest.raises(UnreadableInput, match=r"git cannot read .* - check the repository"):
        open_tree(root, "HEAD")


def test_a_submodule_is_no_file(root: Path) -> None:
    head = git(root, "rev-parse", "HEAD")
    git(root, "update-index", "--add", "--cacheinfo", f"160000,{head},desired state/module")
    git(root, "-c", "commit.gpgsign=false", "commit", "-q", "-m", "second")
    assert hindrance(open_tree(root, "HEAD"), "module") is Hindrance.UNREADABLE


@pytest.mark.parametrize("read", [read_work_tree, lambda root, limits: read_revision(root, "HEAD", limits)])
def test_sizes_and_numbers_are_bounded(root: Path, read: object) -> None:
    assert callable(read)
    assert hindrance(read(root, Limits(file_bytes=3)), "certificates/leaf.pem") is Hindrance.TOO_LARGE
    assert read(root, Limits(file_bytes=4)).read("certificates/leaf.pem") == b"leaf"
    assert read(root, Limits(files=9)).excess == "there are more than 9 files"
    assert read(root, Limits(files=10)).excess == ""
    assert read(root, Limits(total_bytes=10)).excess == "there are more than 10 bytes in all files together"


def test_a_hundred_megabytes_are_not_read(root: Path) -> None:
    with (root / "film.bin").open("wb") as file:
        file.truncate(100 << 20)
    assert hindrance(open_tree(root), "film.bin") is Hindrance.TOO_LARGE


def test_pipes_and_sockets_are_not_waited_for(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(root / "pipe")
    monkeypatch.chdir(root)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
        tree = open_tree(root)
    assert hindrance(tree, "pipe") is Hindrance.UNREADABLE
    assert hindrance(tree, "socket") is Hindrance.UNREADABLE
    assert tree.digest != open_tree(root, "HEAD").digest


def test_a_folder_that_cannot_be_listed_is_said(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nobody is refused who runs as root, so a path is made too long to be opened by name.
    monkeypatch.chdir(root)
    for _ in range(22):
        os.mkdir("x" * 200)  # noqa: PTH102 - a Path would be absolute, and too long
        os.chdir("x" * 200)
    tree = open_tree(root)
    os.chdir(root)
    assert [each.hindrance for each in tree.obstacles.values()] == [Hindrance.UNREADABLE]
    assert tree.read("fleet.yaml")


def test_a_root_that_is_no_folder_is_refused(root: Path) -> None:
    with pytest.raises(UnreadableInput, match="does not exist - name the folder"):
        open_tree(root / "nowhere")
    with pytest.raises(UnreadableInput, match="is not a folder"):
        open_tree(root / "fleet.yaml")


def test_a_root_that_cannot_be_listed_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(UnreadableInput, match="Permission denied"):
        open_tree(root)


def test_the_repository_itself_is_passed_over(root: Path) -> None:
    assert not [path for path in open_tree(root.parent).files if path.startswith(".git")]
