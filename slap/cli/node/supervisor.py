"""`slapos node supervisorctl|supervisord`: supervisor's own client and daemon, on this node's configuration."""

import argparse

from slap.cli.local import NodeCommand
from slap.cli.output import Style, say
from slap.node.core.config import NodeConfig
from slap.node.partition.supervision import (
    become_supervisord,
    configuration_file,
    connect,
    ensure_running,
    is_running,
)
from slap.system.host.supervisorctl import run_client
from slap.system.supervisor import News


class NodeSupervisorctl(NodeCommand):
    """Run supervisor's own client: a shell, or one of its actions. Starts supervisord when it does not run."""

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument("action", nargs=argparse.REMAINDER, help="what supervisorctl shall do (a shell)")
        return parser

    def take_action(self, args: argparse.Namespace) -> int:
        config = _prepared(self.config(args))
        ensure_running(config, connect(config, News()))
        return run_client(configuration_file(config), args.action)


class NodeSupervisord(NodeCommand):
    """Start supervisord, and with it all services that were started before, unless it runs already."""

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(name)
        parser.add_argument(
            "-n", "--nodaemon", action="store_true", help="become supervisord, for systemd and the like"
        )
        return parser

    def take_action(self, args: argparse.Namespace) -> None:
        config = _prepared(self.config(args))
        supervisor = connect(config, News())
        if args.nodaemon and not is_running(supervisor):
            become_supervisord(config)
        started = ensure_running(config, supervisor)
        say("supervisord was started." if started else "supervisord runs already.", Style.GOOD)


def _prepared(config: NodeConfig) -> NodeConfig:
    config.make_folders()
    return config
