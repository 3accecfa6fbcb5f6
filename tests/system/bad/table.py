"""What people type that cannot be: each row ends with an exit status, and with a message that has certain words."""

from dataclasses import dataclass

FAILED, USAGE, CANNOT_BE_PLACED = 1, 2, 4


@dataclass(frozen=True)
class Row:
    """A command, the status it ends with, and what its message has to name.

    @NAME is a release with a mistake (releases.py), COMPUTER and HOST are the guid and title of the computer, PORT one
    that is taken.
    """

    what: str
    typed: str
    status: int
    words: tuple[str, ...]

    def __str__(self) -> str:
        return self.what.replace(" ", "-")


TABLE = (
    # What is not there.
    Row("a misspelt command", "requst a @good", USAGE, ("requst", "slapos request")),
    Row("a misspelt option", "request a @good --paramters a=1", USAGE, ("--paramters", "--parameters")),
    Row("a misspelt state", "request a @good --state runing", USAGE, ("runing", "started, stopped, destroyed")),
    Row("no name and no release", "request", USAGE, ("NAME, URL",)),
    Row("an impossible name", "request a/b @good", USAGE, ("a/b", "slashes")),
    Row("a path without release", "supply /no/where/software.cfg COMPUTER", FAILED, ("/no/where/software.cfg",)),
    Row(
        "a URL that nobody serves", "supply http://127.0.0.1:9/a/software.cfg HOST", FAILED, ("127.0.0.1:9", "refused")
    ),
    Row("a URL of a strange kind", "supply gopher://a/software.cfg COMPUTER", FAILED, ("'gopher'", "https:")),
    Row("an unsupplied release", "request a @unsupplied", FAILED, ("/unsupplied/software.cfg", "slapos supply")),
    Row("an unknown computer to supply", "supply @good COMPUTE", FAILED, ("COMPUTE", "HOST (COMPUTER)")),
    Row("an unknown computer to use", "request a @good --computer COMPUTE", FAILED, ("COMPUTE", "HOST (COMPUTER)")),
    Row("an unknown service", "service info bystandr", FAILED, ("bystandr", "Did you mean bystander")),
    Row("an unknown service to stop", "service stop nobody", FAILED, ("nobody", "slapos service list")),
    Row("an unknown partition", "node start slappart77", FAILED, ("slappart77", "slapos node status")),
    Row("an unknown software type", "request a @picky --type defalt", FAILED, ("defalt", "Did you mean default")),
    Row("an unknown label", "request a @good --node region=moon", CANNOT_BE_PLACED, ("HOST", "has no label region")),
    Row("an unknown capability", "request a @good --node capability=gpu", CANNOT_BE_PLACED, ("HOST", "gpu")),
    Row("a release in use to remove", "remove @good COMPUTER", FAILED, ("bystander", "slapos service destroy")),
    # Parameters.
    Row(
        "wrong parameters", "request a @picky --parameters port=0 colour=7 extra=1", FAILED, ("port", "colour", "extra")
    ),
    Row("a missing parameter", "request a @picky", FAILED, ('"port" is a required property',)),
    Row("bad JSON", "request a @picky --parameters '{\"port\": 80,}'", USAGE, ("--parameters", "column 13")),
    Row("no JSON file", "request a @picky --parameters-file nothing.json", FAILED, ("nothing.json",)),
    Row("a word that is no pair", "request a @picky --parameters port", USAGE, ("'port'", "key=value")),
    # Who and where.
    Row("a wrong token", "service list --cfg wrong-token.cfg", FAILED, ("token", "slapos configure client")),
    Row("a token for all to read", "service list --cfg open-token.cfg", FAILED, ("open.token", "chmod 600")),
    Row("a master that is not there", "service list --cfg no-master.cfg", FAILED, ("127.0.0.1:9", "refused")),
    Row("no client configuration", "service list --cfg nothing.cfg", FAILED, ("nothing.cfg",)),
    Row("no node configuration", "node status --cfg nothing.cfg", FAILED, ("nothing.cfg", "slapos node register")),
    Row("a folder as configuration", "node status --cfg etc", FAILED, ("etc", "directory")),
    Row("binary as configuration", "node status --cfg binary.cfg", FAILED, ("binary.cfg",)),
    Row("bad syntax in slapos.cfg", "node status --cfg syntax.cfg", FAILED, ("syntax.cfg", "line  2")),
    Row(
        "bad values in slapos.cfg", "node status --cfg values.cfg", FAILED, ("promise_grace", "format.partition_amount")
    ),
    Row("two nodes with one name", "node register --root second HOST", FAILED, ("HOST (COMPUTER)", "--replace")),
    Row(
        "a root that cannot be", "node register --root /proc/nowhere lost", FAILED, ("/proc/nowhere", "Check the path")
    ),
    # Releases whose description is wrong.
    Row("a schema that is no JSON", "supply @not-json COMPUTER", FAILED, ("schema.json", "Line 3, column 18")),
    Row("a schema that is none", "supply @not-a-schema COMPUTER", FAILED, ("schema.json", "$.type", "objekt")),
    Row("a schema that is missing", "supply @no-schema COMPUTER", FAILED, ("elsewhere.json",)),
    Row("types that are a list", "supply @not-a-description COMPUTER", FAILED, ("software.cfg.json", "software-type")),
    # Releases that cannot be built.
    Row("bad syntax", "supply @syntax COMPUTER --wait", FAILED, ("syntax/software.cfg", "line  3", "[a")),
    Row("an unknown section", "supply @section COMPUTER --wait", FAILED, ("'nowhere'", "a:output")),
    Row("an unknown recipe", "supply @recipe COMPUTER --wait", FAILED, ("slap:templat", "section a")),
    Row("an unknown package", "supply @package COMPUTER --wait", FAILED, ("no.such.recipe", "127.0.0.1:9")),
    Row("a missing file to extend", "supply @extends COMPUTER --wait", FAILED, ("extends/missing.cfg",)),
    Row("a missing option", "supply @option COMPUTER --wait", FAILED, ("[a]", "output is missing", "template.md")),
    Row("an error in a template", "supply @defect COMPUTER --wait", FAILED, ("[a]", "zero", "line 1")),
    Row("a release of nothing", "supply @no-instance COMPUTER --wait", FAILED, ("instance.cfg", "slap:template")),
    Row("an order of it", "request nothing @no-instance-later", FAILED, ("instance.cfg", "slapos supply")),
    # Instances that cannot be, or that do not live.
    Row("bad syntax in an instance", "request a1 @syntax-in-instance", FAILED, ("instance.cfg", "line  3")),
    Row("an unknown recipe in one", "request a2 @recipe-in-instance", FAILED, ("slap:servic", "section a")),
    Row("a misspelt option in one", "request a3 @option-in-instance", FAILED, ("[a]", "command-line", "service.md")),
    Row(
        "a parameter that it needs",
        "request a4 @parameter-in-instance",
        FAILED,
        ("parameter.seconds", "a:command-line"),
    ),
    Row("a service that exits", "request a5 @exits", FAILED, ("Service service", "I cannot find my data", "logs a5")),
    Row("one that exits silently", "request a6 @exits-silently", FAILED, ("Service service", "as soon as", "logs a6")),
    Row("one without program", "request a7 @no-program", FAILED, ("Service service", "/no/such/program")),
    Row("a program that fails", "request a8 @fails-once", FAILED, ("Program prepare", "status 7", "I cannot convert")),
    Row("a promise that hangs", "request a9 @hanging", FAILED, ("Promise promise", "did not end within 1 s")),
    Row("a port that is closed", "request a10 @closed-port", FAILED, ("Promise promise", "port 9")),
    Row("a port of others to check", "request a11 @foreign-port", FAILED, ("[promise]", "10.0.0.1", "check-port.md")),
    Row(
        "a promise that is no Python",
        "request a14 @python-promise",
        FAILED,
        ("sense", "NameError: name 'x'", "slapos service logs a14"),
    ),
    Row("a port that is taken", "request a12 @helloworld --parameters port=PORT", FAILED, ("PORT",)),
    Row("less time than it takes", "request a13 @good --timeout 0.1", FAILED, ("not started after 0.1 s", "goes on")),
)
