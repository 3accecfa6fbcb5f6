"""What docs/howto/incident.md has operators type after a compromise, typed here."""

from pathlib import Path

from tests.system.cloud import HELLOWORLD, Result, eventually
from tests.system.secure_cloud import SecureCloud, secure_cloud


def operate(cloud: SecureCloud, *words: str) -> Result:
    """A command where the master's database is."""
    return cloud.slapos("master", *words, "--cfg", "master.cfg")


def new_certificate(cloud: SecureCloud) -> None:
    operate(cloud, "user", "alice", "--certificate", "alice.pem")


def is_refused(cloud: SecureCloud) -> bool:
    return "revoked" in cloud.slapos("service", "list", check=False).stderr


def partition_profile(cloud: SecureCloud) -> str:
    (path,) = Path(cloud.folder, "node").glob("**/slappart0/buildout.cfg")
    return path.read_text()


def partition_token(cloud: SecureCloud) -> str:
    """The line with the credentials of a partition."""
    return next(line for line in partition_profile(cloud).splitlines() if "server-url" in line)


def test_the_commands_of_the_page_about_incidents(tmp_path: Path) -> None:
    with secure_cloud() as cloud:
        with cloud.serving():
            cloud.configure()
            cloud.register(cloud.slapos("computer", "token", "--title", "box").stdout)
            cloud.slapos("node", "format", "--cfg", str(cloud.node_cfg))
            with cloud.agent():
                cloud.slapos("supply", str(HELLOWORLD), "box", "--wait")
                cloud.slapos("request", "web", str(HELLOWORLD), "--timeout", "120")
                stop_a_partition(cloud)
                replace_credentials_of_a_user(cloud)
                cloud.register(cloud.slapos("computer", "token", "box").stdout)
                replace_credentials_of_a_computer(cloud)
                former = partition_token(cloud)
                operate(cloud, "rotate", "--partition-secret")
                cloud.master().bang_computer("box", "news, so that the agent asks")
                eventually(lambda: partition_token(cloud) != former, 70)
                (cloud.folder / "ca.pem").write_text(operate(cloud, "rotate", "--authority").stdout)
        with cloud.serving(), cloud.agent():
            new_certificate(cloud)
            assert "web" in cloud.slapos("service", "list").stdout
            cloud.register(cloud.slapos("computer", "token", "box").stdout)
            cloud.slapos("request", "web", str(HELLOWORLD), "--parameters", "greeting=Again", "--timeout", "120")


def stop_a_partition(cloud: SecureCloud) -> None:
    cfg = ("--cfg", str(cloud.node_cfg))
    (process,) = cloud.slapos("node", "status", *cfg, "-f", "json").json
    assert process["State"] in ("STARTING", "RUNNING")
    cloud.slapos("node", "stop", "slappart0", *cfg)
    assert "STOPPED" in cloud.slapos("node", "status", *cfg).stdout
    cloud.slapos("node", "tail", f"slappart0:{process['Process']}", "-n", "200", *cfg)
    cloud.slapos("service", "stop", "web")
    for what in ("logs", "history"):
        assert cloud.slapos("service", what, "web").stdout
    cloud.slapos("service", "start", "web")


def replace_credentials_of_a_user(cloud: SecureCloud) -> None:
    assert "alice" in operate(cloud, "credentials").stdout
    operate(cloud, "revoke", "--user", "alice")
    eventually(lambda: is_refused(cloud))
    cloud.slapos("master", "user", "alice", "--cfg", "master.cfg", "--token-file", "alice.token")
    new_certificate(cloud)
    assert "web" in cloud.slapos("service", "list").stdout


def replace_credentials_of_a_computer(cloud: SecureCloud) -> None:
    guid = cloud.master().computers()[0].guid
    operate(cloud, "revoke", "--computer", guid)
    cloud.register(cloud.slapos("computer", "token", guid).stdout)
    assert cloud.slapos("computer", "info", "box").stdout
