from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.base.references import StoreConfiguration
from reconciler.desired.state import Declared
from reconciler.live.directory import DirectoryConfiguration
from reconciler.live.web import WebConfiguration
from reconciler.rules import check, shared_stores, stopped
from tests.rules.fleet import Broken
from tests.support.authority import NOW

if TYPE_CHECKING:
    import pytest

    from reconciler.desired.models import Appliance
    from reconciler.desired.state import DesiredState


def fleet(**stores: StoreConfiguration) -> DesiredState:
    """The fleet, some of whose appliances have these stores."""
    state = Broken().state()
    return replace(
        state,
        appliances={
            name: replace(each, model=each.model.model_copy(update={"store": stores[name]})) if name in stores else each
            for name, each in state.appliances.items()
        },
    )


def directory(path: str) -> DirectoryConfiguration:
    return DirectoryConfiguration(driver="directory", path=path)


def web(url: str, user: str = "USER") -> WebConfiguration:
    return WebConfiguration.model_validate(
        {"driver": "web", "url": url, "username": {"env": user}, "password": {"env": "PASSWORD"}}
    )


def shared(**stores: StoreConfiguration) -> set[str]:
    """The appliances at whose `store` it is told."""
    found = [each for each in check(fleet(**stores), NOW) if each.rule == "same-store"]
    for each in found:
        assert each.about
        assert each.position == fleet().appliances[each.about.name].position("store")
    return {each.about.name for each in found if each.about}


def test_one_directory() -> None:
    assert shared(lone=directory("../stores/lone"), solo=directory("../stores/lone")) == {"lone", "solo"}


def test_one_directory_however_its_path_is_written() -> None:
    assert shared(lone=directory("/stores/lone"), solo=directory("/stores/solo/..//lone/")) == {"lone", "solo"}


def test_two_directories() -> None:
    assert shared(lone=directory("../stores/lone"), solo=directory("../stores/solo")) == set()


def test_one_interface_whoever_signs_in() -> None:
    one, other = web("https://a.example.com/appliance", "ONE"), web("https://A.Example.com:443/", "OTHER")
    assert shared(lone=one, solo=other) == {"lone", "solo"}


def test_interfaces_of_several_hosts_and_ports() -> None:
    lone, solo = web("https://a.example.com/appliance"), web("https://a.example.com:8443/appliance")
    assert shared(lone=lone, solo=solo, east=web("https://b.example.com/appliance")) == set()


def test_stores_of_which_a_driver_says_nothing() -> None:
    assert shared(lone=StoreConfiguration(driver="other"), solo=StoreConfiguration(driver="other")) == set()


def test_each_names_the_others_with_their_place_and_all_are_stopped_with_their_sites() -> None:
    state = fleet(lone=directory("x"), solo=directory("x"), east=directory("x"))
    findings = check(state, NOW)
    [east, lone, _] = (each.message for each in findings if each.rule == "same-store")
    assert east.startswith(
        "its store is that of lone (appliances/lone.yaml:7:8) and solo (appliances/solo.yaml:2:8) too, so"
    )
    assert lone.startswith("its store is that of east (appliances/east.yaml:2:8) and solo (")
    assert stopped(state, findings).appliances == {"lone", "solo", "east", "west"}


def test_however_many_name_one_store_each_is_put_into_words_once(monkeypatch: pytest.MonkeyPatch) -> None:
    state = fleet(lone=directory("x"))
    appliances = {f"a{number:03}": state.appliances["lone"] for number in range(300)}
    asked = []
    position = Declared.position

    def counted(self: Declared[Appliance], *path: str) -> object:
        asked.append(path)
        return position(self, *path)

    monkeypatch.setattr(Declared, "position", counted)
    same = {name: each.model.store for name, each in appliances.items()}
    found = list(shared_stores(replace(state, appliances=appliances), same, str))
    assert len(found) == len(appliances)
    assert len(asked) == 2 * len(appliances)
    assert all(each.message.count("lone (") == 4 and " and 295 more too, so" in each.message for each in found)
