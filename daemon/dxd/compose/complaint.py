"""What Compose says on its standard error: warnings to pass on, and the error as one of ours, with file and line."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from dxd.compose.files import candidates, line_of
from dxd.errors import BadCompose, ComposeFailed, DxError, EngineDown, ImageMissing, PortTaken

_VALIDATING = re.compile(
    r"^validating (?P<file>/.+?): (?:(?P<keys>[A-Za-z0-9_$-]+(?:\.[A-Za-z0-9_$-]+)+) )?(?P<what>.*)$", re.DOTALL
)
_YAML = re.compile(r"(?:at )?L(?P<line>\d+)\.C\d+(?:-L\d+\.C\d+)?:? ?|line (?P<other>\d+)(?:, column \d+)?: ?")
_PLACE = re.compile(r"\b(?P<keys>(?:services|networks|volumes|configs|secrets)\.[A-Za-z0-9_.$-]+)")
_SERVICE = re.compile(r'service "(?P<name>[^"]+)"')
_CYCLE = re.compile(r"dependency cycle detected: (?P<first>\S+) ->")
_MISSING = re.compile(r"required variable (?P<name>\w+) is missing a value(?:: (?P<why>.*))?", re.DOTALL)
_NO_IMAGE = re.compile(
    r"pull access denied|manifest unknown|not found: manifest|repository does not exist|No such image"
)
_NO_ENGINE = re.compile(r"Cannot connect to the Docker daemon|error during connect|connection reset by peer|\bEOF$")
_NO_FILE = re.compile(r"no configuration file provided")


def warnings(stderr: str) -> list[str]:
    """The lines that warn of something, each once."""
    found: dict[str, None] = {}
    for record in _records(stderr):
        if record.get("level") == "warning":
            found[str(record.get("msg", ""))] = None
    return [each for each in found if each]


def failure(stderr: str, *, directory: Path, files: Sequence[str], doing: str) -> DxError:
    """Why it failed, in Compose's own words; `doing` is what it was asked for."""
    words = _last_words(stderr)
    where = candidates(directory, files)
    if _NO_FILE.search(words):
        return BadCompose(f"there is no compose file in {directory} or above it", "name one with --file")
    if doing == "config":
        return _bad_file(words, where)
    if _NO_ENGINE.search(words):
        return EngineDown(f"compose {doing}: {words}", "try again when the engine runs")
    if "port is already allocated" in words or "address already in use" in words:
        return PortTaken(f"compose {doing}: {words}", "see who has it: ss -lntup")
    if _NO_IMAGE.search(words):
        return ImageMissing(f"compose {doing}: {words}", "check the image's name, or give the service a build")
    return ComposeFailed(f"compose {doing} failed: {words}", "")


def placed(error: BadCompose, files: Sequence[Path]) -> BadCompose:
    """The same with file and line, where its message begins with a key that is found: `services.db.x-dx.idle: `."""
    keys = error.message.partition(": ")[0].split(".")
    place = _place(keys, files)
    return BadCompose(f"{place}{error.message}", error.hint)


def _bad_file(words: str, where: Sequence[Path]) -> BadCompose:
    if missing := _MISSING.search(words):
        keys = _keys(words)
        place = _place(keys, where)
        why = f": {missing['why'].strip()}" if missing["why"] else ""
        hint = f"set {missing['name']} in your environment or in .env"
        return BadCompose(f"{place}the variable {missing['name']} is not set, and the file needs it{why}", hint)
    if match := _VALIDATING.match(words):
        return _invalid(Path(match["file"]), match["keys"] or "", match["what"].strip())
    if cycle := _CYCLE.search(words):
        place = _place(["services", cycle["first"], "depends_on"], where)
        return BadCompose(f"{place}{words}", "take one of them out of depends_on")
    if yaml := _YAML.search(words):
        file = next((each for each in where if str(each) in words), where[0] if where else None)
        text = _YAML.sub("", words).strip()
        line = yaml["line"] or yaml["other"]
        return BadCompose(f"{file}:{line}: {text}" if file else words, "mend the YAML there")
    keys = _keys(words)
    if not keys and (service := _SERVICE.search(words)):
        keys = ["services", service["name"]]
    return BadCompose(f"{_place(keys, where)}{words}")


def _invalid(file: Path, dotted: str, what: str) -> BadCompose:
    """A file that does not hold to the schema."""
    if names := re.match(r"additional properties ('.+') not allowed", what):
        name = names[1].split("'")[1]
        dotted, what = f"{dotted}.{name}" if dotted else name, "false schema"
    keys = dotted.split(".") if dotted else []
    found = line_of(keys, [file])
    place = f"{file}:{found[1]}" if found else str(file)
    if what == "false schema":
        return BadCompose(
            f"{place}: {dotted}: unknown key", "Compose knows none of that name; keys of your own begin with x-"
        )
    return BadCompose(f"{place}: {dotted} {what}".strip())


def _place(keys: Sequence[str], where: Sequence[Path]) -> str:
    found = line_of(keys, where) if keys else None
    return f"{found[0]}:{found[1]}: " if found else ""


def _keys(words: str) -> list[str]:
    match = _PLACE.search(words)
    return [each for each in match["keys"].split(".") if each] if match else []


def _last_words(stderr: str) -> str:
    """The error that it ended with."""
    found = ""
    for record in _records(stderr):
        if record.get("error"):
            found = str(record.get("message", ""))
        elif record.get("level") in ("error", "fatal"):
            found = str(record.get("msg", ""))
        elif record.get("status") == "Error" or record.get("text") == "Error":
            found = found or f"{record.get('id', '')}: {record.get('details') or record.get('text', '')}"
    if not found:
        plain = [line for line in stderr.splitlines() if line.strip() and not line.startswith("{")]
        found = plain[-1] if plain else "it did not say why"
    return " ".join(found.split())


def _records(stderr: str) -> list[dict[str, object]]:
    records = []
    for line in stderr.splitlines():
        if line.startswith("{"):
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict):
                records.append(record)
    return records
