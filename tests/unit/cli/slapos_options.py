"""The options of slapos.core 1.26.1's node commands, as its own help lists them."""

_PASS = {
    "--cfg", "--instance-root", "--software-root", "--master-url", "--computer-id", "--supervisord-socket",
    "--supervisord-configuration-path", "--buildout", "--pidfile", "--key_file", "--cert_file",
    "--signature_private_key_file", "--master_ca_file", "--certificate_repository_path", "--maximum-periodicity",
    "--promise-timeout", "--partition-timeout", "--now", "--maximal_delay",
}  # fmt: skip

NODE_OPTIONS: dict[str, set[str]] = {
    "software": _PASS | {"--buildout-debug", "--garbage-collect", "--force", "--all", "--only-sr", "--only"},
    "instance": _PASS | {"--buildout-debug", "--force-stop", "--force", "--all", "--only-cp", "--only"},
    "report": _PASS,
    "promise": _PASS | {"--only-cp", "--only"},
    "format": {
        "--cfg", "-x", "--computer_xml", "--computer_json", "-i", "--input_definition_file", "-o",
        "--output_definition_file", "--alter_user", "--alter_network", "--now", "-n", "--dry_run", "-c", "--console",
    },
    "bang": {"--cfg", "-m", "--message"},
    "boot": {"--cfg", "-m", "--message"},
    "prune": {"--cfg", "--dry-run", "--additional-software-directory"},
    "collect": {"--cfg"},
    "status": {"--cfg"},
    "start": {"--cfg"},
    "stop": {"--cfg"},
    "restart": {"--cfg"},
    "tail": {"--cfg"},
    "supervisorctl": {"--cfg"},
    "supervisord": {"--cfg", "-n", "--nodaemon"},
    "register": {
        "--cfg", "--interface-name", "--master-url", "--master-url-web", "--partition-number", "--ipv4-local-network",
        "--software-root", "--instance-root", "--token", "--create-tap", "-t", "--dry-run", "-n",
    },
}  # fmt: skip

# Those that take no value, and those that take one of a few.
FLAGS = {
    "--now", "--buildout-debug", "--garbage-collect", "--force", "--all", "--force-stop", "-n", "--dry_run", "--dry-run",
    "--nodaemon", "--create-tap", "-t",
}  # fmt: skip
VALUES = {"--alter_user": "True", "--alter_network": "False", "--ipv4-local-network": "10.0.0.0/16"}
NUMBERS = {"--maximum-periodicity", "--promise-timeout", "--partition-timeout", "--partition-number"}
ARGUMENTS = {
    "start": ["slappart0:web", "all"], "stop": ["slappart0:*"], "restart": ["slappart0"], "status": ["all"],
    "tail": ["slappart0:web", "stderr"], "supervisorctl": ["tail", "-f", "slappart0:web"], "register": ["name"],
}  # fmt: skip
