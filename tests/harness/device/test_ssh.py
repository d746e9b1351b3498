"""What a person gets to reach a device over SSH, whatever the folder is called."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from harness.device import ssh


@pytest.mark.parametrize(
    "name", ["plain", "a b", "50%", "%h", 'a"b', "it's", "a\\b", "ü", "#x", "a,b"]
)
def test_openssh_reads_the_folders_as_they_are(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    config = ssh.write_config(folder, 1, ssh.ClientKey.generate(), "ssh-ed25519 AAAA")
    words = shlex.split(ssh.command(config))
    assert words == ["ssh", "-F", str(config), "router"]
    shown = subprocess.run([words[0], "-G", *words[1:]], capture_output=True, text=True, check=True)
    found = dict(line.split(" ", 1) for line in shown.stdout.splitlines() if " " in line)
    assert found["userknownhostsfile"] == str(folder / "known_hosts")
    # of this one it shows the tokens, and reads them when it connects
    assert found["identityfile"].replace("%%", "%") == str(folder / "ssh_key")
