"""The directory driver: a certificate directory that a real TLS front end serves as it is (HAProxy: `crt DIR/`).

`snapshot` reads a directory, `change` derives steps from what it holds and what it should hold, `commit` carries them
out, `operations` says what each operation wants, `looking` takes looks one after another, `driver` makes a driver of
it. The layout is described in `snapshot`.
"""

from reconciler.live.directory.driver import DRIVER, DirectoryConfiguration, DirectoryDriver, create_store

__all__ = ["DRIVER", "DirectoryConfiguration", "DirectoryDriver", "create_store"]
