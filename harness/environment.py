"""What a child process is told of the shell that we were started from: what is named here.

A setting, a locale or a proxy of the shell changes what a child does, and so what a test says of a
device. Each child gets the search paths of programs and of libraries, the locale C.UTF-8, the
groups of variables that it needs, and what its starter sets; nothing else.
"""

from __future__ import annotations

import os
import site
from collections.abc import Iterable
from pathlib import Path

UMASK = 0o022
"""Of each child that is not given another."""

PYTHON = ("PYTHONHOME", "PYTHONPATH")
"""Where Python finds itself, and its modules."""

NETWORK = (
    *("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"),
    *("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "APT_CONFIG"),
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CERT", "PIP_PROXY", "PIP_CONFIG_FILE"),
)
"""How the world is reached, for what downloads."""

PERSON = ("HOME", "SSH_AUTH_SOCK")
"""Who we are for others: the user's own configuration and keys of SSH."""

_LIBRARIES = "LD_LIBRARY_PATH"
"""Where programs find their shared libraries, if not where the system has them."""

_SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def search_path() -> str:
    """Where programs are found; users other than root may have no `sbin` in theirs."""
    folders = [Path(each).absolute() for each in _entries("PATH", os.defpath)]
    everywhere = (*map(str, folders), *_SYSTEM_FOLDERS)
    return os.pathsep.join(dict.fromkeys(everywhere))


def of(names: Iterable[str] = (), **own: str) -> dict[str, str]:
    """The environment of a child.

    @param names: variables that it shares with us, if we have them: the groups above.
    @param own: variables of its own.
    """
    ours = {name: os.environ[name] for name in (_LIBRARIES, *names) if os.environ.get(name)}
    if "PYTHONPATH" in ours:  # it may be in another folder
        folders = (str(Path(each).absolute()) for each in _entries("PYTHONPATH", ""))
        ours["PYTHONPATH"] = os.pathsep.join(folders)
    return {"PATH": search_path(), "LANG": "C.UTF-8"} | ours | own


def of_python(modules: Path | None = None, **own: str) -> dict[str, str]:
    """The environment of a child that runs Python, with the packages that we have ourselves.

    @param modules: a folder whose modules come before others of their names. One where Python
        looks by itself is left to it.
    @param own: as for `of`.
    """
    environment = of(PYTHON) | {"PYTHONUNBUFFERED": "1"}  # evidence must not wait for a full buffer
    if site.ENABLE_USER_SITE:  # below HOME, which the child may have another of
        environment["PYTHONUSERBASE"] = site.getuserbase()
    if modules is not None and str(modules) not in site.getsitepackages():
        folders = [str(modules), *filter(None, [environment.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(folders)
    return environment | own


def _entries(variable: str, default: str) -> list[str]:
    return [each for each in os.environ.get(variable, default).split(os.pathsep) if each]
