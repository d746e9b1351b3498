"""What is on the router: paths, owners, modes, processes, sockets, space and time.

Files and folders are judged after the daemon has made all of them anew: see `anew`.
"""

from __future__ import annotations

import secrets
import time

import pytest
import yaml


@pytest.fixture
def anew(blank):
    """The device, started with nothing in its home but what an installation puts there."""
    blank.daemon("stop")
    blank.erase_identity()
    folders = " ".join(str(blank.config_home / name) for name in ("keys", "logs", "misc"))
    blank.succeed(f"rm -rf {folders}")
    blank.daemon("start")
    blank.wait_blank()
    return blank


@pytest.fixture(params=["by itself", "by hand"])
def provisioned(request, bench, anew, node):
    """The identity that the daemon, or its command, has written."""
    if request.param == "by itself":
        return bench.provision_itself(anew)
    pdid = f"pd-{secrets.token_hex(4)}"
    anew.provision(pdid, bench.router_url(anew), node.enroll(pdid))
    bench.operator.wait_joined(pdid)
    return pdid


def test_folders(anew, host):
    """The daemon's folders are its own, closed to others; its keys are nobody else's."""
    for name, closed in (("keys", 0o077), ("logs", 0o027), ("misc", 0o027), ("", 0o027)):
        folder = host.file(str(anew.config_home / name))
        assert folder.is_directory
        assert folder.user == anew.daemon_user
        assert folder.mode & closed == 0, f"{folder.path} has mode {folder.mode:o}"


def test_configuration(anew, host, provisioned):
    """The configuration names the identity, and only the daemon may read it."""
    config = host.file(str(anew.config_home / "config"))
    assert config.user == anew.daemon_user
    assert config.mode & 0o137 == 0, f"it has mode {config.mode:o}"
    content = yaml.safe_load(config.content_string)
    assert content["pdid"] == provisioned
    assert set(content) >= {"version", "pdid", "pdserver", "wampRouter"}


def test_keys(anew, host, provisioned):
    """A key is read by nobody but the daemon."""
    key = host.file(str(anew.config_home / "keys" / "apitoken"))
    assert f"{key.mode:o}" == "600"
    assert key.user == anew.daemon_user
    assert key.size > 16
    assert host.file(str(anew.config_home / "keys")).mode & 0o077 == 0


def test_log_file(bench, anew, host, operator, log):
    """Today's log is the daemon's, closed to others, and grows."""
    file = host.file(str(anew.config_home / "logs" / "log"))
    assert file.user == anew.daemon_user
    assert file.mode & 0o137 == 0, f"it has mode {file.mode:o}"
    before = file.size
    operator.publish(bench.provision_itself(anew), "updatesPending")
    log.wait_for("updates.pending")
    assert file.size > before > 0


@pytest.mark.smoke
@pytest.mark.needs("rootfs")
def test_one_daemon_and_not_as_root(device, host, pdid):
    """Exactly one daemon runs, as its own user."""
    pid = host.run(f"cat {device.runtime_home}/paradropd.pid").stdout.strip()
    assert host.file(f"/proc/{pid}/comm").content_string
    owner = host.run(f"stat -c %U /proc/{pid}").stdout.strip()
    assert owner == device.daemon_user != "root"
    daemons = host.run("grep -la '[p]aradropd' /proc/[0-9]*/cmdline").stdout.split()
    assert daemons == [f"/proc/{pid}/cmdline"]


@pytest.mark.needs("rootfs")
def test_init_restarts_a_daemon_that_dies(device, host, operator, pdid, rejoins):
    """A daemon that is killed is started again by the router's init."""
    with rejoins(after="daemon killed"):
        host.run(f"kill -9 $(cat {device.runtime_home}/paradropd.pid)")


@pytest.mark.needs("rootfs")
def test_listening_sockets(host, pdid):
    """While its daemon is at work, nothing listens but SSH, and that on mgmt alone."""
    listening = host.run("netstat -lntu | awk 'NR > 2 { print $4 }'").stdout.split()
    assert listening == ["10.0.2.15:22"]


@pytest.mark.needs("rootfs")
def test_firewall(host):
    """What nobody asked for is dropped; only ICMP, and SSH on mgmt, may be asked for."""
    chain = host.run("nft list chain inet filter input").stdout
    rules = [line.strip() for line in chain.splitlines() if line.startswith("\t\t")]
    assert rules == [
        "type filter hook input priority filter; policy drop;",
        'iif "lo" accept',
        "ct state vmap { invalid : drop, established : accept, related : accept }",
        "ip protocol 1 accept",  # ICMP
        'iifname "eth0" tcp dport 22 accept',
    ]


def test_installed_version(device, operator, pdid, log):
    """The daemon that runs is the one that is installed, and says so also when it starts."""
    installed = device.succeed("paradropd --version").split()[-1]
    assert operator.status(pdid)["version"] == installed
    device.daemon("restart")
    assert log.wait_for("daemon.started")["extra"]["version"] == installed


@pytest.mark.needs("rootfs")
def test_only_what_a_router_needs(host):
    """Neither the harness nor a WAMP router is on the device."""
    names = ["autobahn", "crossbar", "harness", "pytest"]
    program = f"from importlib.util import find_spec as f; print([n for n in {names} if f(n)])"
    assert host.run(f'python3 -c "{program}"').stdout.strip() == "['autobahn']"


@pytest.mark.needs("rootfs")
def test_root_is_read_only(host):
    """The image can't be changed from the running system."""
    root = [line.split() for line in host.file("/proc/mounts").content_string.splitlines()]
    squashfs = [mount for mount in root if mount[2] == "squashfs"]
    assert squashfs
    assert all("ro" in mount[3].split(",") for mount in squashfs)
    for folder in ("/", "/usr/bin", "/rom/root", "/rom/library"):
        assert host.run(f"touch {folder}/written").rc != 0


@pytest.mark.needs("rootfs")
def test_free_space(device, host):
    """At least half of the state disk is free."""
    line = host.run(f"df -k {device.config_home} | tail -1").stdout.split()
    assert int(line[-3]) > int(line[-5]) / 2


def test_clock(operator, pdid, log):
    """The clock that the daemon goes by is right."""
    before = time.time()
    operator.publish(pdid, "updatesPending")
    assert before - 5 < log.wait_for("updates.pending")["timestamp"] < time.time() + 5


@pytest.mark.needs("rootfs")
def test_machine_is_itself(host):
    """A router has a machine id and a host key of its own."""
    assert len(host.file("/etc/machine-id").content_string.strip()) == 32
    assert host.file("/etc/dropbear/dropbear_ed25519_host_key").mode == 0o600
