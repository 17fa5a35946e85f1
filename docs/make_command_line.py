"""Write docs/reference/command-line.md from the parser.

python docs/make_command_line.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

from napari_limn.cli import make_parser

PAGE = Path(__file__).parent / "reference" / "command-line.md"

TEXT = """# Command line

*Written from the parser by `docs/make_command_line.py`; do not edit.*

`napari-limn VERB --help` prints the same. Results go to stdout, everything else to stderr.

| exit code | meaning |
| --- | --- |
| 0 | done |
| 1 | a problem, described in one sentence on stderr |
| 2 | a command that cannot be understood |
| 130, 143, 129 | ended by Ctrl-C, by SIGTERM, by a closed terminal; the same command goes on |
"""


def verbs(parser: argparse.ArgumentParser) -> dict[str, tuple[str, argparse.ArgumentParser]]:
    """Return the help and the parser of each verb."""
    (choices,) = (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    told = {each.dest: each.help or "" for each in choices._choices_actions}
    return {name: (told[name], verb) for name, verb in choices.choices.items()}


def section(name: str, summary: str, verb: argparse.ArgumentParser) -> str:
    """Describe one verb."""
    actions = [each for each in verb._actions if not isinstance(each, argparse._HelpAction)]
    needed = [each for each in actions if not each.option_strings or each.required]
    usage = " ".join(["napari-limn", name, *map(needed_words, needed)])
    rows = "\n".join(f"| {cell(name_of(each))} | {cell(help_of(each))} |" for each in actions)
    return f"""
## {name}

{summary[0].upper()}{summary[1:]}.

```text
{usage}
```

| argument or option | meaning |
| --- | --- |
{rows}
"""


def needed_words(action: argparse.Action) -> str:
    """Say how an argument is given that must be."""
    value = value_of(action)
    if action.option_strings:
        return f"{min(action.option_strings, key=len)} {value}"
    return {"*": f"[{value} …]", "?": f"[{value}]", "+": f"{value} …"}.get(str(action.nargs), value)


def name_of(action: argparse.Action) -> str:
    """Name an argument or option, with the value that it takes."""
    takes = "" if action.nargs == 0 else value_of(action)
    if not action.option_strings:
        return f"`{takes}`{' …' if action.nargs in ('*', '+') else ''}"
    return ", ".join(f"`{option}`" for option in action.option_strings) + (f" `{takes}`" if takes else "")


def value_of(action: argparse.Action) -> str:
    """Name the value of an argument or option."""
    name = action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper())
    return " ".join(name) if isinstance(name, tuple) else name


def help_of(action: argparse.Action) -> str:
    """Return the help of an action, as the terminal would show it."""
    return (action.help or "").replace("%%", "%")


def cell(text: str) -> str:
    """Make a text fit for the cell of a table."""
    return text.replace("|", "\\|")


def page() -> str:
    """Return the whole page."""
    return TEXT + "".join(section(name, *each) for name, each in verbs(make_parser()).items())


if __name__ == "__main__":
    PAGE.write_text(page())
