"""Following references to secrets: found, or said by the reference's name and never by a value."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from reconciler.base.errors import SecretUnavailable
from reconciler.base.references import EnvironmentSecret, FileSecret
from reconciler.base.secrets import resolve

if TYPE_CHECKING:
    from pathlib import Path


def test_from_the_environment(tmp_path: Path) -> None:
    environment = {"KEY": "pass wörd "}
    assert resolve(EnvironmentSecret(env="KEY"), environment, tmp_path) == "pass wörd ".encode()


@pytest.mark.parametrize("environment", [{}, {"KEY": ""}])
def test_a_variable_that_is_not_set_or_empty(environment: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(SecretUnavailable, match="the environment variable KEY is not set") as caught:
        resolve(EnvironmentSecret(env="KEY"), environment, tmp_path)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("content", "secret"),
    [(b"s", b"s"), (b"s\n", b"s"), (b"s\r\n", b"s"), (b" s \n\n", b" s \n"), (b"\xff\x00", b"\xff\x00")],
)
def test_from_a_file_without_its_final_line_break(content: bytes, secret: bytes, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(content)
    assert resolve(FileSecret(file="secret"), {}, tmp_path) == secret


def test_a_path_starts_where_the_file_that_names_it_lies(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"s")
    (tmp_path / "certificates").mkdir()
    assert resolve(FileSecret(file="../secret"), {}, tmp_path / "certificates") == b"s"
    assert resolve(FileSecret(file=str(tmp_path / "secret")), {}, tmp_path / "elsewhere") == b"s"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SecretUnavailable, match="the secret in missing cannot be read: No such file") as caught:
        resolve(FileSecret(file="missing"), {}, tmp_path)
    assert caught.value.__cause__ is None


def test_a_folder_is_no_secret(tmp_path: Path) -> None:
    with pytest.raises(SecretUnavailable, match="Is a directory"):
        resolve(FileSecret(file="."), {}, tmp_path)


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n"])
def test_an_empty_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(content)
    with pytest.raises(SecretUnavailable, match="the secret in secret is empty"):
        resolve(FileSecret(file="secret"), {}, tmp_path)


def test_bytes_that_are_no_text_arrive_as_they_were_set(tmp_path: Path) -> None:
    environment = {"KEY": b"caf\xe9".decode(errors="surrogateescape")}
    assert resolve(EnvironmentSecret(env="KEY"), environment, tmp_path) == b"caf\xe9"


def test_a_path_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(SecretUnavailable, match="cannot be read"):
        resolve(FileSecret(file="a\0b"), {}, tmp_path)


def test_what_never_ends_or_makes_its_reader_wait_is_no_secret(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"x" * 65_537)
    for path in ("pipe", "large", "/dev/zero"):
        with pytest.raises(SecretUnavailable, match="no regular file of some size"):
            resolve(FileSecret(file=path), {}, tmp_path)
