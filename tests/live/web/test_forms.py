from __future__ import annotations

import pytest

from reconciler.live.web.forms import Filling, Submission
from reconciler.live.web.html import read_page
from reconciler.live.web.page import Control, Page

URL = "https://east-1.example.com/appliance/page?of=1"


def page(markup: str) -> Page:
    return read_page(markup.encode(), URL)


def control(page: Page, name: str, value: str | None = None) -> Control:
    found = (each for each in page.items if isinstance(each, Control) and each.name == name)
    return next(each for each in found if value is None or each.value == value)


def submit(markup: str, button: str = "go") -> Submission:
    found = page(markup)
    pressed = control(found, button)
    return Filling(found, pressed.form).press(pressed)


def fields(markup: str) -> dict[str, str]:
    return dict(submit(f"<form>{markup}<button name=go>Go</button></form>").fields)


@pytest.mark.parametrize(
    ("markup", "sent"),
    [
        ("<input name=a value=1>", {"a": "1"}),
        ("<input name=a>", {"a": ""}),
        ("<input type=hidden name=a value=' 1 '>", {"a": " 1 "}),
        ("<input value=1>", {}),
        ("<input name=a disabled>", {}),
        ("<fieldset disabled><input name=a></fieldset>", {}),
        ("<textarea name=a>1</textarea>", {"a": "1"}),
        ("<input type=checkbox name=a>", {}),
        ("<input type=checkbox name=a checked>", {"a": "on"}),
        ("<input type=checkbox name=a value=1 checked>", {"a": "1"}),
        ("<input type=radio name=a value=1><input type=radio name=a value=2 checked>", {"a": "2"}),
        ("<select name=a><option>1<option>2</select>", {"a": "1"}),
        ("<select name=a><option value=x>1<option value=y selected>2</select>", {"a": "y"}),
        ("<select name=a></select>", {}),
        ("<select name=a multiple><option>1</select>", {}),
        ("<button name=a value=1>Other</button><input type=submit name=b value=2>", {}),
        ("<input type=button name=a value=1>", {}),
        ("<input type=file name=a>", {}),
        ("<div hidden><input name=a value=1></div>", {"a": "1"}),
    ],
)
def test_what_is_sent_of_what_nobody_touched(markup: str, sent: dict[str, str]) -> None:
    assert fields(markup) == sent | {"go": ""}


def test_only_the_button_that_is_pressed_is_sent() -> None:
    markup = "<form method=post><input name=a value=1><button name=x value=2>X</button><button name=y>Y</button></form>"
    assert submit(markup, "x").fields == (("a", "1"), ("x", "2"))
    assert submit(markup, "y").fields == (("a", "1"), ("y", ""))


def test_names_may_repeat_and_keep_their_order() -> None:
    markup = (
        "<form><input name=b value=1><input name=a value=2><input name=b value=3><button name=go>Go</button></form>"
    )
    assert submit(markup).fields == (("b", "1"), ("a", "2"), ("b", "3"), ("go", ""))


@pytest.mark.parametrize(
    ("attributes", "method", "url"),
    [
        ("", "GET", URL),
        ("action='' method=post", "POST", URL),
        ("action=/x?y method=POST", "POST", "https://east-1.example.com/x?y"),
        ("action=x method=nonsense", "GET", "https://east-1.example.com/appliance/x"),
    ],
)
def test_where_a_form_goes(attributes: str, method: str, url: str) -> None:
    sent = submit(f"<form {attributes}><button name=go>Go</button></form>")
    assert (sent.method, sent.url) == (method, url)


def test_a_button_may_send_its_form_elsewhere() -> None:
    assert (
        submit("<form action=x><button name=go formaction=/y>Go</button></form>").url == "https://east-1.example.com/y"
    )


def test_a_form_that_is_asked_for_carries_its_fields_in_its_address() -> None:
    sent = submit("<form action='/x?old=1'><input name='a b' value='1&2 \u00e9'><button name=go>Go</button></form>")
    assert sent.address == "https://east-1.example.com/x?a+b=1%262+%C3%A9&go="
    posted = submit("<form action='/x?old=1' method=post><input name=a><button name=go>Go</button></form>")
    assert posted.address == "https://east-1.example.com/x?old=1"


def test_controls_outside_a_form_are_sent_with_the_form_that_they_name() -> None:
    sent = submit("<form id=f action=/x></form><input form=f name=a value=1><button form=f name=go>Go</button>")
    assert (sent.url, sent.fields) == ("https://east-1.example.com/x", (("a", "1"), ("go", "")))


def test_a_button_without_a_form_asks_for_its_own_page() -> None:
    sent = submit("<input name=a><button name=go>Go</button>")
    assert (sent.method, sent.url) == ("GET", URL)


def test_filling_in() -> None:
    found = page(
        "<form method=post><input name=text value=old><input type=checkbox name=box checked>"
        "<input type=radio name=r value=1 checked><input type=radio name=r value=2>"
        "<input type=radio name=s value=3 checked>"
        "<select name=choice><option value=a>A<option value=b>B</select><button name=go>Go</button></form>"
    )
    filling = Filling(found, 0)
    filling.enter(control(found, "text"), "new\r\nline \ud800")
    filling.tick(control(found, "box"), on=False)
    filling.tick(control(found, "r", "2"))
    choice = control(found, "choice")
    filling.choose(choice, choice.options[1])
    sent = filling.press(control(found, "go"))
    assert sent.fields == (("text", "newline ?"), ("r", "2"), ("s", "3"), ("choice", "b"), ("go", ""))
    assert not sent.multipart


def test_files_go_in_parts() -> None:
    found = page("<form method=post><input type=file name=f><input name=a><button name=go>Go</button></form>")
    filling = Filling(found, 0)
    assert filling.press(control(found, "go")).multipart
    filling.attach(control(found, "f"), "upload.cer", b"content")
    sent = filling.press(control(found, "go"))
    assert sent.files == (("f", "upload.cer", b"content"),)
    assert sent.fields == (("a", ""), ("go", ""))


def test_what_is_sent_is_not_shown() -> None:
    sent = Submission("POST", URL, (("password", "secret-1"),), (("f", "x", b"secret-2"),), multipart=True)
    assert "secret" not in repr(sent)
