from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.base.errors import StoreUnreachable, UnreadableInput, UsageError
from reconciler.engine.operator import VARIABLE, OperatorSettings, load_settings

if TYPE_CHECKING:
    from pathlib import Path


def written(folder: Path, text: str) -> Path:
    path = folder / "operator.yaml"
    path.write_text(text)
    return path


def test_without_a_file_no_host_and_no_command_is_allowed() -> None:
    assert load_settings(None, {}) == OperatorSettings(hosts=(), reload={}, concurrency=16)


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "~\n"])
def test_an_empty_file_says_nothing(tmp_path: Path, text: str) -> None:
    assert load_settings(written(tmp_path, text), {}).model_dump() == OperatorSettings().model_dump()


def test_the_option_comes_before_the_environment(tmp_path: Path) -> None:
    path = written(tmp_path, "hosts: [East-1.example.com]\nreload: {east-1: [systemctl, reload, haproxy]}\n")
    settings = load_settings(path, {VARIABLE: str(tmp_path / "other")})
    assert settings.hosts == ("east-1.example.com",)
    assert settings.reload == {"east-1": ("systemctl", "reload", "haproxy")}
    assert load_settings(None, {VARIABLE: str(path)}) == settings


def test_what_may_be_contacted_is_a_host_and_a_port(tmp_path: Path) -> None:
    hosts = "[East-1.example.com, 'b.example.com:8443', '192.0.2.1', '2001:DB8::1', '[2001:db8::1]:444']"
    network = load_settings(written(tmp_path, f"hosts: {hosts}\n"), {}).network
    assert network.hosts == {
        "east-1.example.com:443",
        "b.example.com:8443",
        "192.0.2.1:443",
        "[2001:db8::1]:443",
        "[2001:db8::1]:444",
    }
    assert network.address("2001:db8::1", 444) == ("2001:db8::1", 444)
    with pytest.raises(StoreUnreachable, match=r"east-1\.example\.com:8443 is not among"):
        network.address("east-1.example.com", 8443)


def test_everything_that_is_wrong_is_told_at_its_place(tmp_path: Path) -> None:
    path = written(tmp_path, "hosts: ['*.example.com']\nreload: {a: []}\nconcurency: 0\n")
    with pytest.raises(UsageError) as caught:
        load_settings(path, {})
    message = caught.value.message
    assert f"{path}:1:9 " in message
    assert f"{path}:2:13 " in message
    assert f"{path}:3:1 the key `concurency` means nothing here - did you mean `concurrency`?" in message


@pytest.mark.parametrize("text", ["{", "a: &x [*x]\n", "hosts: []\nhosts: []\n", "concurrency: !!int 3\n"])
def test_yaml_that_is_not_understood_is_told_at_its_place(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UsageError, match=rf"{path}:[12]:[0-9]+ "):
        load_settings(path, {})


def test_what_was_written_is_not_repeated_by_the_error_behind_the_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_settings(written(tmp_path, "password: correct horse\n"), {})
    assert caught.value.__cause__ is None
    assert "correct horse" not in str(caught.value)


@pytest.mark.parametrize("name", ["missing.yaml", ".", "nul\0byte"])
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnreadableInput, match="cannot be read"):
        load_settings(tmp_path / name, {})


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInput, match="larger than"):
        load_settings(written(tmp_path, "#" * (2 << 20)), {})


def test_a_file_in_the_reviewed_tree_is_refused_even_through_a_link(tmp_path: Path) -> None:
    desired_state = tmp_path / "desired-state"
    desired_state.mkdir()
    inside = written(desired_state, "concurrency: 1\n")
    link = tmp_path / "operator.yaml"
    link.symlink_to(inside)
    for path in (inside, link):
        with pytest.raises(UsageError, match="lie inside the desired state"):
            load_settings(path, {}, desired_state)
    assert load_settings(inside, {}).concurrency == 1


def test_who_may_sign_is_named_relative_to_the_file(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, "require_signed: keys/signers\n"), {})
    assert settings.require_signed == str(tmp_path / "keys/signers")
    assert load_settings(written(tmp_path, "require_signed: /etc/signers\n"), {}).require_signed == "/etc/signers"
