"""Running zc.buildout for releases and partitions in forked processes, and reading what it installed."""
