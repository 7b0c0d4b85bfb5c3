"""Python fedmsg's configuration: files that it executes, of which one has to name endpoints before it starts at all."""

import tempfile
import warnings

import fedmsg.config

warnings.filterwarnings("ignore", category=DeprecationWarning)


def load(endpoints):
    """fedmsg's defaults and these endpoints, {NAME: [ENDPOINT..]}, from a file as it wants it. It keeps them for later calls."""
    with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
        file.write(f"config = {dict(endpoints=endpoints)!r}\n")
        file.flush()
        return dict(fedmsg.config.load_config(filenames=[file.name]))
