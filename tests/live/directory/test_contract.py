from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import pytest

from reconciler.live.directory import DRIVER, DirectoryConfiguration, DirectoryDriver, create_store
from reconciler.live.driver import OpenContext, driver_types
from tests.live.contract import DriverContract, Harness, signature_differences
from tests.support.authority import NOW

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from reconciler.live.driver import Driver


@dataclass
class DirectoryHarness:
    root: Path
    sets_lifetime: bool = True

    def open(self) -> AbstractAsyncContextManager[Driver]:
        configuration = DirectoryConfiguration(driver="directory", path="store")
        return DRIVER.open(configuration, OpenContext("east-1", self.root, lambda: NOW))


class TestDirectoryContract(DriverContract):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> Harness:
        create_store(tmp_path / "store", lambda: NOW)
        return DirectoryHarness(tmp_path)


def test_every_installed_driver_is_typed_by_its_entry_point() -> None:
    assert driver_types()["directory"] is DRIVER
    for name, each in driver_types().items():
        assert get_args(each.configuration.model_fields["driver"].annotation) == (name,)


def test_methods_match_the_protocol() -> None:
    assert not signature_differences(DirectoryDriver)


def test_a_method_that_differs_is_noticed() -> None:
    class Other(DirectoryDriver):
        async def remove(self, name: str) -> None:
            """Its parameter is called otherwise."""

        export = None  # type: ignore[assignment]

    assert [each.partition(" ")[0] for each in signature_differences(Other)] == ["export", "remove(self,"]
