"""The web driver: the /appliance web interface of a real appliance, worked as a person would.

Pages are understood by what is visible on them, never by field names or positions, since the vendor publishes no
interface for certificates and markup changes between releases. `html` reads a page as a person sees it, `labels` says
which words to look for, `pages` makes values of what is found there, `session` signs in and carries requests, and
`driver` makes a driver of it. `trust` decides whom to talk to. Nothing heavy is imported before a store is opened.
"""

from reconciler.live.web.configuration import DRIVER, Trust, WebConfiguration

__all__ = ["DRIVER", "Trust", "WebConfiguration"]
