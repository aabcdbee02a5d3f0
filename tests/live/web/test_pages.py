from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from reconciler.live.web import labels
from reconciler.live.web.finding import NotUnderstood, labelled, pressed
from reconciler.live.web.html import read_page
from reconciler.live.web.installation import (
    finish_import,
    is_new_key,
    kind_of_new_key,
    read_create,
    read_export,
    read_import,
    read_request_data,
)
from reconciler.live.web.labels import Label, normal
from reconciler.live.web.pages import is_sign_in, read_certificates, read_sign_in

if TYPE_CHECKING:
    from reconciler.live.web.page import Page

URL = "https://east-1.example.com/appliance"
NAME, BOX = Label(("Name",)), Label(("Include It",))
HEADERS = ("Friendly Name", "Issued To", "Issued By", "Expiration", "Alternative Name(s)", "Private Key?", "Default")


def page(markup: str) -> Page:
    return read_page(markup.encode(), URL)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("Security :: Certificates", True),
        ("SECURITY  >  certificates:", True),
        ("Security / Certificates", True),
        ("Security \u00bb Certificates *", True),
        ("Security \u2192 Certificates", True),
        ("Security Certificates", False),
        ("Security :: Certificates :: Export", False),
        ("Security :: Certificates" + " " * 500, False),
    ],
)
def test_texts_that_are_a_label(text: str, same: bool) -> None:  # noqa: FBT001 - the case's verdict
    assert labels.CERTIFICATES_SECTION.matches(text) is same


def test_how_labels_are_compared_and_called() -> None:
    assert normal("Let\u2019s  Encrypt\u2026") == "let's encrypt..."
    assert str(labels.USERNAME) == "Username"
    assert not labels.USERNAME.verified
    assert labels.FRIENDLY_NAME.verified


@pytest.mark.parametrize(
    ("markup", "found"),
    [
        ("<label for=x>Name</label><input id=x name=yes>", "yes"),
        ("<label>Name <input name=yes></label>", "yes"),
        ("<input aria-label=name: name=yes>", "yes"),
        ("Name: <input name=yes>", "yes"),
        ("<table><tr><td>Name</td><td><input name=yes></td></tr></table>", "yes"),
        ("<dl><dt>Name<dd><small>a hint</small><input type=hidden name=no><input name=yes></dl>", "yes"),
        ("<label>Name <input name=a></label><label>Name <input name=b></label>", None),
        ("<p>Name <input name=a></p><p>Name <input name=b></p>", None),
        ("Name <input name=no aria-label=Other>", None),
        ("Name <input type=checkbox name=no>", None),
        ("Name <input name=no disabled>", None),
        ("Name <p>1<p>2<p>3<p>4<p>5<p>6<p><input name=no>", None),
        ("<input name=no> Name", None),
        ("Nothing <input name=no>", None),
        ("Name", None),
    ],
)
def test_the_field_that_a_label_names(markup: str, found: str | None) -> None:
    control = labelled(page(f"<form>{markup}</form>"), NAME, {"text"})
    assert (control.name if control else None) == found


@pytest.mark.parametrize(
    ("markup", "found"),
    [
        ("<p><input type=checkbox name=yes> Include It</p><p><input type=checkbox name=no> Other</p>", "yes"),
        ("<p>Include It <input type=checkbox name=yes></p><p>Other <input type=checkbox name=no></p>", "yes"),
        (
            "<table><tr><td>Include It<td>hint<td><input type=checkbox name=yes><tr><td><input type=checkbox></table>",
            "yes",
        ),
        ("<p>Include It</p><p><input type=checkbox name=yes></p>", "yes"),
        ("<p><input type=checkbox name=a> Include It</p><p><input type=checkbox name=b> Include It</p>", None),
        (
            "<table><tr><td>Include It<td>x<td><input type=checkbox name=a title=x><td><input type=checkbox></table>",
            None,
        ),
        ("<table><tr><td>Include It<td><input name=no></table>", None),
    ],
)
def test_the_box_that_a_label_names(markup: str, found: str | None) -> None:
    control = labelled(page(f"<form>{markup}</form>"), BOX, {"checkbox"})
    assert (control.name if control else None) == found


def test_buttons_come_before_links() -> None:
    both = page("<a href=x>Name</a><button name=b>Name</button><button type=button>Name</button>")
    assert getattr(pressed(both, NAME), "name", None) == "b"
    assert getattr(pressed(page("<a href=/x>Name</a>"), NAME), "url", None) == "https://east-1.example.com/x"
    assert pressed(page("<button type=button>Name</button>"), NAME) is None


SIGN_IN = "<title>BeyondTrust</title><form method=post>Username <input name=u> Password <input type=password name=p>"


@pytest.mark.parametrize("button", ["<button>Sign In</button>", "<input type=submit value='Log in'>"])
def test_the_sign_in_page(button: str) -> None:
    found = page(f"{SIGN_IN}{button}</form>")
    assert is_sign_in(found)
    signing = read_sign_in(found)
    assert (signing.username.name, signing.password.name) == ("u", "p")


@pytest.mark.parametrize(
    "markup",
    [
        f"{SIGN_IN}</form>",
        f"{SIGN_IN}<button>Sign In</button></form><a href=x>Sign Out</a>",
        f"{SIGN_IN}<button>Sign In</button><input type=file></form>",
        f"{SIGN_IN}<input type=password><button>Sign In</button></form>",
        f"{SIGN_IN}</form><form><button>Sign In</button></form>",
        "<form><button>Sign In</button></form>",
    ],
)
def test_pages_that_ask_nobody_in(markup: str) -> None:
    assert not is_sign_in(page(markup))


@pytest.mark.parametrize(
    ("markup", "wanted"),
    [
        (SIGN_IN.replace("BeyondTrust", "Printer") + "<button>Sign In</button>", "'BeyondTrust' or 'Bomgar'"),
        (SIGN_IN.replace("Password", "Geheim") + "<button>Sign In</button>", "'Password'"),
        (SIGN_IN.replace("Username", "Wer") + "<button>Sign In</button>", "'Username'"),
        (SIGN_IN + "<button>Hinein</button>", "'Sign In'"),
        (SIGN_IN.replace(" Password", "</form><form>Password") + "<button>Sign In</button>", "one form"),
    ],
)
def test_what_a_sign_in_page_must_have(markup: str, wanted: str) -> None:
    with pytest.raises(NotUnderstood, match=wanted):
        read_sign_in(page(markup))


def table(rows: str = "", headers: tuple[str, ...] = HEADERS) -> str:
    return f"<form><table><tr>{''.join(f'<th>{each}' for each in headers)}{rows}</table></form>"


ROW = (
    "<tr><td>{name}<td>to<td>by<td>2027-01-02 03:04:05 GMT<td>dNSName - a.example.com<br>dNSName - b.example.com"
    "<td>{key}<td><input type=radio name=d>"
)


def test_rows_of_certificates() -> None:
    rows = ROW.format(name="one<br>1 Warning(s)", key="Yes") + ROW.format(name="two", key="no").replace("GMT", "MEZ")
    found = read_certificates(page("<h2>Security :: Certificates</h2>" + table(rows)))
    one, two = found.rows
    assert (one.friendly_name, one.has_key, two.friendly_name, two.has_key) == ("one", True, "two", False)
    assert one.names == ("dNSName - a.example.com", "dNSName - b.example.com")
    assert one.expiration
    assert one.expiration.isoformat() == "2027-01-02T03:04:05+00:00"
    assert two.expiration is None
    assert (found.actions, found.create, found.import_, found.shows_requests) == ((None, None), None, None, False)
    assert found.save_default is None
    assert found.actions_of(one) is None


def test_columns_are_found_in_any_order_among_others() -> None:
    headers = ("Notes", *reversed(HEADERS))
    row = "<tr><td>n<td>*<td>Yes<td>names<td>2027-13-01 00:00:00 GMT<td>by<td>to<td>name"
    (found,) = read_certificates(page("<h2>Security :: Certificates</h2>" + table(row, headers))).rows
    assert (found.friendly_name, found.issued_to, found.has_key, found.is_default) == ("name", "to", True, True)
    assert found.expiration is None
    assert found.radio is None


def test_a_row_that_says_something_of_the_table_is_none() -> None:
    rows = "<tr><td colspan=7>There are no certificates."
    assert not read_certificates(page("<h2>Security :: Certificates</h2>" + table(rows))).rows


@pytest.mark.parametrize(
    ("markup", "wanted"),
    [
        ("", "^'Security :: Certificates'$"),
        (table(), "^'Security :: Certificates'$"),
        ("<h2>Security :: Certificates</h2>" + table(headers=HEADERS[1:]), "a table with the columns 'Friendly Name'"),
        ("<h2>Security :: Certificates</h2>" + table(ROW.format(name="a", key="perhaps")), "'Yes' or 'No'"),
        ("<h2>Security :: Certificates</h2>" * 60 + table(), "each heading once"),
        (
            "<h2>Security :: Certificates</h2>" + table() + "<h2>Security :: Certificate Requests</h2><table>"
            "<tr><th>Subject<th>Alternative Name(s)<th>Fingerprint<tr><td>CN=a<td>x<td>y</table>",
            "a link beneath 'Subject'",
        ),
        ("<h2>Security :: Certificates</h2>" + table().replace("</table>", ""), "the end of each table"),
    ],
)
def test_what_the_page_of_certificates_must_have(markup: str, wanted: str) -> None:
    with pytest.raises(NotUnderstood, match=wanted):
        read_certificates(page(markup))


def test_actions_that_cannot_be_applied_are_none() -> None:
    choice = "<select name=a><option>-- Select Action --<option>Export</select>"
    for rest in ("", "</form><form><button>Apply</button>"):
        markup = f"<h2>Security :: Certificates</h2>{table()}<form>{choice}{rest}</form>"
        assert read_certificates(page(markup)).actions == (None, None)
    (actions, _) = read_certificates(
        page(f"<h2>Security :: Certificates</h2>{table()}<form>{choice}<button>Apply</button></form>")
    ).actions
    assert actions
    assert [getattr(actions.option(each), "text", None) for each in (labels.EXPORT_ACTION, labels.REMOVE_ACTION)] == [
        "Export",
        None,
    ]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("2048 bits", "rsa-2048"),
        ("New 3072-bit key", "rsa-3072"),
        ("RSA 4096", "rsa-4096"),
        ("New Key: RSA (4096 Bits)", "rsa-4096"),
        ("Generate RSA private key, size 2048", "rsa-2048"),
        ("4096", "rsa-4096"),
        ("EC P-256", "ec-p256"),
        ("ECDSA (NIST P-384)", "ec-p384"),
        ("P-384", "ec-p384"),
        ("Elliptic Curve 256 bits", "ec-p256"),
        ("secp384r1 EC", "ec-p384"),
        ("256", ""),
        ("EC 2048", ""),
        ("1024", ""),
        ("12048", ""),
        ("", ""),
        ("-- Select --", ""),
        ("Existing key: ec 256 foo", ""),
        ("Existing key: access.example.com", ""),
        ("rsa 2048 (in use by access.example.com)", ""),
        ("New York 2048", ""),
    ],
)
def test_the_kind_of_key_that_a_choice_makes(text: str, kind: str) -> None:
    assert kind_of_new_key(text) == kind


def test_a_choice_with_a_name_of_its_own_is_an_existing_key() -> None:
    assert not is_new_key("Existing key: ec 256 foo")
    assert not is_new_key("Existing key: 2048")
    assert is_new_key("New key, RSA 2048 bits")


CREATE = """<form><p>Certificate Friendly Name <input name=f>
<p>Key <select name=k><option>2048 bits<option value=1>Existing key: a<option value=''>Existing key: none</select>
<p>Country <input><p>State/Province <input><p>City (Locality) <input><p>Organization <input>
<p>Organizational Unit <input><p>Name (Common Name) <input name=cn>
<p>Subject Alternative Names <input name=san><button>Add</button>
<p><button name=self>Create Self-Signed Certificate</button><button name=request>Create Certificate Request</button>
</form>"""


def test_the_page_for_new_certificates() -> None:
    found = read_create(page(CREATE))
    assert found.self_signed
    assert found.request
    assert found.new_key("rsa-2048")
    assert found.new_key("ec-p256") is None
    assert [each.text for each in found.existing_keys] == ["Existing key: a"]


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("<p>Key ", "<p>Schl\u00fcssel ", "'Key'"),
        ("State/Province", "Bundesland", "'State/Province'"),
        ("Certificate Friendly Name", "Name", "'Certificate Friendly Name'"),
        ("Subject Alternative Names", "Names", "'Subject Alternative Names'"),
        ("<button>Add", "<button>Plus", "'Add'"),
        ("<p>Name (Common Name)", "</form><form><p>Name (Common Name)", "in one form|'Add'"),
        ("<p>Country", "</form><form><p>Country", "in one form"),
    ],
)
def test_what_the_page_for_new_certificates_must_have(old: str, new: str, wanted: str) -> None:
    assert old in CREATE
    with pytest.raises(NotUnderstood, match=wanted):
        read_create(page(CREATE.replace(old, new)))


def test_one_of_both_buttons_suffices() -> None:
    only = read_create(page(CREATE.replace("Create Self-Signed Certificate", "-")))
    assert only.self_signed is None
    with pytest.raises(NotUnderstood, match="'Create Certificate Request'"):
        read_create(page(CREATE.replace("Create Self-Signed Certificate", "-").replace("Certificate Request", "-")))


def test_the_page_for_imports() -> None:
    found = read_import(
        page("<form method=post><input type=file>Password <input type=password name=p><button>Upload</button></form>")
    )
    assert found.password
    assert found.password.name == "p"
    upload = "<form method=post><input type=file><button>Upload</button></form>"
    elsewhere = f"{upload}<form>Password <input type=password></form>"
    assert read_import(page(elsewhere)).password is None
    for markup, wanted in (("", "one file"), ("<input type=file>" * 2, "one file"), ("<input type=file>", "'Upload'")):
        with pytest.raises(NotUnderstood, match=wanted):
            read_import(page(markup))
    with pytest.raises(NotUnderstood, match="sent by POST"):
        read_import(page(upload.replace("post", "get")))


def test_the_second_step_of_an_import() -> None:
    found = finish_import(page("<form><button name=no>Back</button><button name=yes>Import</button></form>"))
    assert found
    assert found.name == "yes"
    assert finish_import(page("<form><button>Back</button></form>")) is None
    assert finish_import(page("<form>New password <input type=password><button>Save</button></form>")) is None
    assert finish_import(page("<form><button>OK</button></form><form><button>OK</button></form>")) is None
    assert finish_import(page("<form><input type=file><button>Import</button></form>")) is None


def test_the_page_for_exports() -> None:
    markup = (
        "<form method=post><p><input type=checkbox name=c> Include Certificate"
        "<p><input type=checkbox name=x> Include Everything"
        "<p>Passphrase <input type=password><button>Export</button></form><form><input type=checkbox></form>"
    )
    found = read_export(page(markup))
    assert (found.certificate.name, [each.name for each in found.others]) == ("c", ["x"])
    assert (found.private_key, found.chain) == (None, None)
    with pytest.raises(NotUnderstood, match="'Include Certificate'"):
        read_export(page("<form><button>Export</button></form>"))
    with pytest.raises(NotUnderstood, match="sent by POST"):
        read_export(page(markup.replace("post", "get")))
    assert found.passphrase
    moved = markup.replace("<p>Passphrase <input type=password>", "").replace(
        "</form><form>", "</form><form>Passphrase <input type=password>"
    )
    assert read_export(page(moved)).passphrase is None
    with pytest.raises(NotUnderstood, match="'Export'"):
        read_export(page(markup.replace("Export</button>", "Go</button>")))


@pytest.mark.parametrize(
    "markup",
    [
        "<pre>-----BEGIN CERTIFICATE REQUEST-----\nAB\nCD==\n-----END CERTIFICATE REQUEST-----</pre>",
        "<textarea>-----BEGIN NEW CERTIFICATE REQUEST-----\nABCD==\n-----END NEW CERTIFICATE REQUEST-----</textarea>",
        "-----BEGIN CERTIFICATE REQUEST-----<br>AB<br>CD==<br>-----END CERTIFICATE REQUEST-----",
    ],
)
def test_request_data(markup: str) -> None:
    assert read_request_data(page(markup)) == "ABCD=="


def test_request_data_that_is_missing_or_has_no_end() -> None:
    begun = time.process_time()
    for markup in ("", "<p>" + "-----BEGIN CERTIFICATE REQUEST-----" * 50_000):
        with pytest.raises(NotUnderstood, match="'Request Data'"):
            read_request_data(page(markup))
    assert time.process_time() - begun < 5


@pytest.mark.parametrize(
    "markup",
    [
        "<table><tr><td>" + "<p>Include Certificate</p>" * 8_000 + "<input type=checkbox>" * 8_000 + "</table>",
        "<h2>Security :: Certificates</h2><table><tr><th>Friendly Name</table>" * 8_000,
        "<form><select><option>-- Select Action --<option>Export</select></form>" * 8_000,
        "<form><label>Key <select><option>2048</select></label><button>Add</button></form>" * 8_000,
    ],
    ids=["boxes in a row", "sections", "actions", "forms"],
)
def test_looking_takes_time_in_proportion(markup: str) -> None:
    found = page(markup)
    begun = time.process_time()
    for read in (read_sign_in, read_certificates, read_create, read_import, read_export, read_request_data):
        with pytest.raises(NotUnderstood):
            read(found)
    is_sign_in(found)
    finish_import(found)
    assert time.process_time() - begun < 5
