"""Things that happen at their time: commands (cron), and the rotation of logs (logrotate)."""

import re
import shlex

from croniter import CroniterError, croniter

from slap.recipes.common.partition import InstancePart, PartReader
from slap.recipes.service import Script, read_script

_FREQUENCIES = ("hourly", "daily", "weekly", "monthly", "yearly")
_UNFIT_FOR_LOGROTATE = re.compile(r"[\"'\\\n{}]")


class Cron(InstancePart):
    """slap:cron. A line in etc/cron.d that runs bin/NAME. Options: time, and those of slap:wrapper but for its files."""

    guide = "cron"

    def read(self, options: PartReader) -> None:
        self._name = self.file_name(options)
        self._time = _read_time(options, None)
        self._script = read_script(options, self.folder)

    def install(self) -> list[str]:
        return _place_cron(self, self._name, self._time, self._script)


class Logrotate(InstancePart):
    """slap:logrotate. Options: logrotate, logs, time, frequency, keep, size, compress, copy-truncate, post-rotate."""

    guide = "logrotate"

    def read(self, options: PartReader) -> None:
        self._name = self.file_name(options)
        self._time = _read_time(options, "10 0 * * *")
        self._config = self.folder / "etc/logrotate.d" / self._name
        self._text = self._read_config(options)
        program = options.text("logrotate", what="the path of the logrotate program, as of a slap:deb part")
        state = self.folder / "var" / f"{self._name}.logrotate-state"
        self._script = Script((program, "--state", str(state), str(self._config)), self.folder, {})

    def install(self) -> list[str]:
        config = self.place(self._config, self._text)
        return [config, *_place_cron(self, self._name, self._time, self._script)]

    def _read_config(self, options: PartReader) -> str:
        logs = self._read_logs(options)
        size, after = options.size("size"), options.shell_words("post-rotate")
        if "\n" in "".join(after):
            options.problem("post-rotate", "has a line break in a word: logrotate cannot be given that")
        lines = [
            self._read_frequency(options),
            f"rotate {options.number('keep', 30)}",
            *((f"size {size}",) if size else ()),
            *(("compress", "delaycompress") if options.flag("compress", True) else ("nocompress",)),
            *(("copytruncate",) if options.flag("copy-truncate") else ()),
            *("missingok", "notifempty", "sharedscripts", "nomail"),
            *(("postrotate", f"  {shlex.join(after)}", "endscript") if after else ()),
        ]
        return "\n".join((*(f'"{log}"' for log in logs), "{", *(f"  {line}" for line in lines), "}", ""))

    def _read_logs(self, options: PartReader) -> list[str]:
        logs = [str(self.folder / line) for line in options.lines("logs")]
        if not logs:
            options.problem("logs", "is missing: the files to rotate, one a line; * and ? are understood")
        for log in logs:
            if not log.startswith(f"{self.folder}/") or ".." in log or _UNFIT_FOR_LOGROTATE.search(log):
                options.problem("logs", f"has {log!r}: write paths below {self.folder}, without quotes and braces")
        return logs

    def _read_frequency(self, options: PartReader) -> str:
        return options.matching("frequency", "|".join(_FREQUENCIES), f"one of {', '.join(_FREQUENCIES)}", "daily")


def _place_cron(part: InstancePart, name: str, time: str, script: Script) -> list[str]:
    """The program, and the line that runs it: what is in the program needs no quoting as crontab has it."""
    program = part.place(part.folder / "bin" / name, script.text(), 0o700)
    return [program, part.place(part.folder / "etc/cron.d" / name, f"{time} {shlex.quote(program)}\n")]


def _read_time(options: PartReader, default: str | None) -> str:
    time = " ".join(options.text("time", default, "minute, hour, day of month, month, day of week").split())
    try:
        if time and len(time.split(" ")) != 5:
            options.problem("time", f"is {time!r}: write five fields, as 30 4 * * 1-5")
        elif time:
            croniter(time).get_next()
    except CroniterError as error:
        options.problem("time", f"is {time!r}: {error}")
    return time
