"""What lets a person into a device over SSH: a key of this one device, and its host key, pinned."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


@dataclass(frozen=True)
class ClientKey:
    """An Ed25519 key pair in OpenSSH's formats."""

    private: bytes
    public: str

    @classmethod
    def generate(cls) -> ClientKey:
        key = Ed25519PrivateKey.generate()
        return cls(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.OpenSSH,
                serialization.NoEncryption(),
            ),
            key.public_key()
            .public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
            .decode(),
        )


def write_config(folder: Path, port: int, key: ClientKey, host_key: str) -> Path:
    """Write all that OpenSSH needs to get into a device: a key, the pinned host key, a host.

    @param port: on 127.0.0.1.
    @return: the file for `ssh -F`, whose host is `router` (ssh_config(5)).
    """
    identity, known, config = folder / "ssh_key", folder / "known_hosts", folder / "ssh_config"
    host = f"[127.0.0.1]:{port} {host_key}\n".encode()
    for path, data in ((identity, key.private), (known, host)):
        path.touch(mode=0o600)
        path.write_bytes(data)
    config.write_text(
        f"Host router\n  HostName 127.0.0.1\n  Port {port}\n  User root\n"
        f"  IdentityFile {_word(identity)}\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {_word(known)}\n"
        "  StrictHostKeyChecking yes\n"
    )
    return config


def command(config: Path) -> str:
    """What a person types to get into the device of a configuration."""
    return f"ssh -F {shlex.quote(str(config))} router"


def _word(path: Path) -> str:
    """A path as ssh_config(5) reads it back: one word, without its tokens and variables.

    A `${` can't be written at all: it is left as it is.
    """
    text = os.fspath(path).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{text}"'
