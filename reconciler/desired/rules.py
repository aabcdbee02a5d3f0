"""The rules of form: what one run over the committed files checks without knowing any live store or the time.

They are declared here and checked in this room. Rules that weigh what is declared against the vendor's guide are in
`reconciler.rules`.
"""

from __future__ import annotations

from reconciler.base.findings import Severity, rule

_ERROR, _WARNING = Severity.ERROR, Severity.WARNING
_YAML = "YAML 1.2"
_FORM = "Desired state"

YAML_SYNTAX = rule("yaml-syntax", _ERROR, _YAML, "A file is one YAML document in UTF-8.")
YAML_LIMIT = rule("yaml-limit", _ERROR, _YAML, "Nesting, aliases and the number of values are bounded.")
YAML_TAG = rule("yaml-tag", _ERROR, _YAML, "Explicit tags are not used.")
YAML_ANCHOR = rule("yaml-anchor", _ERROR, _YAML, "An alias names an anchor that is complete before it.")
YAML_KEY = rule("yaml-key", _ERROR, _YAML, "Keys are text; merge keys (`<<`) are not used.")
DUPLICATE_KEY = rule("duplicate-key", _ERROR, _YAML, "A key stands once in its mapping.")

UNKNOWN_KEY = rule("unknown-key", _ERROR, _FORM, "Only keys that mean something are used.")
MISSING_KEY = rule("missing-key", _ERROR, _FORM, "Required keys are there.")
INVALID_VALUE = rule("invalid-value", _ERROR, _FORM, "Every value is of the kind that its key asks for.")
SECRET_LITERAL = rule("secret-literal", _ERROR, _FORM, "Secrets are referred to, never written down.")
CLEAR_KEY = rule("clear-key", _ERROR, _FORM, "No unencrypted private key is committed, in any file or format.")

UNKNOWN_FILE = rule("unknown-file", _ERROR, _FORM, "YAML files lie where they are read and end in `.yaml`.")
OBJECT_NAME = rule("object-name", _ERROR, _FORM, "A file's name can serve as the name of what it declares.")
NOTHING_DECLARED = rule("nothing-declared", _ERROR, _FORM, "A desired state declares something.")
TOO_MANY_FILES = rule("too-many-files", _ERROR, _FORM, "The number and total size of committed files are bounded.")
FILE_TOO_LARGE = rule("file-too-large", _ERROR, _FORM, "The size of a committed file is bounded.")
FILE_UNREADABLE = rule(
    "file-unreadable", _ERROR, _FORM, "Everything beneath the root is a readable file, folder or link."
)
UNUSED_FILE = rule("unused-file", _WARNING, _FORM, "Something refers to every committed file.")

MATERIAL_MISSING = rule("material-missing", _ERROR, _FORM, "Committed material is where it is said to be.")
MATERIAL_OUTSIDE = rule("material-outside", _ERROR, _FORM, "Nothing leads out of the desired state, links included.")
MATERIAL_UNREADABLE = rule("material-unreadable", _ERROR, _FORM, "Committed material holds what its key asks for.")
SEVERAL_KEYS = rule(
    "several-keys", _ERROR, _FORM, "The file of a private key holds no other, since only the first can be read."
)

UNKNOWN_REFERENCE = rule("unknown-reference", _ERROR, _FORM, "What is referred to by name is declared.")
TOPOLOGY_MEMBERS = rule("topology-members", _ERROR, _FORM, "A site names the members that its topology has, no others.")
MEMBER_TWICE = rule("member-twice", _ERROR, _FORM, "A site names each of its appliances once.")
SHARED_APPLIANCE = rule("shared-appliance", _ERROR, _FORM, "An appliance belongs to one site at most.")
CLIENT_SOFTWARE = rule(
    "client-software",
    _ERROR,
    _FORM,
    "`client_software` is said once: by the site, or by an appliance outside any site.",
)
BUILDS_ORDER = rule("builds-order", _ERROR, _FORM, "Software builds are listed oldest first.")
