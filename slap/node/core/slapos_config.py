"""slapos.cfg of SlapOS's node: options that are ignored here, and options with another meaning.

Whoever puts our node in the place of SlapOS's keeps the file. An option that neither knows stays a mistake.
"""

from collections.abc import Mapping
from pathlib import Path

# SlapOS's `node format` reads both sections as one, so each option may be in either.
_WORDS = """
    alter_network alter_user build_time_part_list buildout buildout_debug buildout-debug
    certificate_repository_path chown_tree cert_file collect computer_json create_tun develop
    dry_run download_cache firewall force_stop forbid_supervisord_automatic_launch garbage_collect
    input_definition_file instance_min_free_space instance_storage_home ipv4_global_network ipv6_interface
    ipv6_prefixshift key_file log_file logfile master_rest_url maximal_delay maximum_periodicity no_bridge now
    only-cp only-sr only_cp only_sr output_definition_file partition-timeout partition_has_ipv6_range
    partition_timeout pidfile pidfile_instance pidfile_report pidfile_software promise-timeout proxy root_check
    shared_part_list signature-certificate-list signature-private-key-file signature_private_key_file
    software_min_free_space supervisord_configuration_path supervisord_socket tap_gateway_interface
    tap_ipv6 tun_ipv6 usage_report_periodicity verbose virtual_machine_check
"""
_UNUSED = frozenset(_WORDS.split())

# What SlapOS's node does when nothing is said; ours leaves users and the network alone.
_FORMAT_DEFAULTS = {"alter_user": "true", "alter_network": "true"}

# Services of one tree may know each other by private addresses, which SlapOS's node closes to nobody.
_NODE_DEFAULTS = {"partition_firewall": "false"}

SYSTEM_PARTITIONS = Path("/srv/slapgrid")


def is_inherited(own: Mapping[str, str]) -> bool:
    """Whether slapos.cfg was written for SlapOS's node: it has no `root`, but an `instance_root`."""
    return "root" not in own and "instance_root" in own


def own_root(own: Mapping[str, str]) -> dict[str, str]:
    """The root for the node's own files, apart from what SlapOS's node left beside the partitions."""
    partitions = Path(own["instance_root"])
    return {} if partitions == SYSTEM_PARTITIONS else {"root": str(partitions / "var/slap")}


def meant(
    node: Mapping[str, str], form: Mapping[str, str], ours: frozenset[str], ours_of_format: frozenset[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """[slapos] and [slapformat] without options that have no meaning here; unknown ones stay, to be refused."""
    if not is_inherited(node):
        return _used(node, ours), _used(form, ours_of_format)
    timeout = node.get("partition_timeout", node.get("partition-timeout", ""))
    moved = {name: node[name] for name in node if name in ours_of_format - ours}
    return (
        _NODE_DEFAULTS | ({"instance_timeout": timeout} if timeout else {}) | _used(node, ours, ours_of_format),
        _FORMAT_DEFAULTS | moved | _used(form, ours_of_format, ours),
    )


def _used(section: Mapping[str, str], here: frozenset[str], elsewhere: frozenset[str] = frozenset()) -> dict[str, str]:
    return {name: value for name, value in section.items() if name in here or name not in _UNUSED | elsewhere}
