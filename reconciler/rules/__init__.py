"""The guide's rules as small pure functions over desired state, or desired and live state and the time."""

from reconciler.rules.acknowledgements import acknowledge
from reconciler.rules.offline import OFFLINE, check
from reconciler.rules.stopped import Stopped, stopped
from reconciler.rules.stores import shared_stores

__all__ = ["OFFLINE", "Stopped", "acknowledge", "check", "shared_stores", "stopped"]
