"""All tools that there are: the user's, and those of projects as far as the user has allowed them.

Inside a project its tools come first. A tool's name means one tool everywhere: a project's has its project's mark.
"""

from collections.abc import Sequence
from pathlib import Path

from dxd.errors import BadDefinition, UnknownTool
from dxd.tools.catalogue import Catalogue
from dxd.tools.model import MARK, Tool
from dxd.trust.projects import Projects


class Tools:
    """Has no state of its own."""

    def __init__(self, *, user: Catalogue, projects: Projects) -> None:
        self.user = user
        self._projects = projects

    @property
    def problem(self) -> str | None:
        """What is wrong with the user's file now, on one line; None if nothing."""
        return self.user.problem

    def get(self, name: str) -> Tool:
        """The tool of that name, a project's by its whole name.

        Raises `UnknownTool`, `NotTrusted`, or what is wrong with the tool if it never was right.
        """
        word, is_project, mark = name.partition(MARK)
        if not is_project:
            return self.user.get(name)
        if (directory := self._projects.marked(mark)) is None:
            raise UnknownTool(f"no tool is called {name}", "dx ls, in its project, shows what there is")
        tool = self._projects.tools(directory).get(word)
        self._projects.check(tool)
        return tool

    def named(self, name: str, cwd: bytes) -> Tool:
        """The tool that a name, or a command, means in that directory; raises as `get`."""
        if (found := self.of_project(name, cwd)) is not None:
            return found
        return self.user.by_command(name) or self.get(name)

    def of_project(self, command: str, cwd: bytes) -> Tool | None:
        """The tool of the project around a directory that offers the command, or has the name.

        Raises `NotTrusted` where it asks for what is not allowed, and what is wrong with it if it never was right. What
        is wrong with a project's file as a whole counts only if it is trusted.
        """
        directory = self._projects.at(cwd)
        if directory is None:
            return None
        file = self._projects.tools(directory)
        tool = file.by_command(command)
        if tool is None and (error := file.broken(command)):
            raise error
        if tool is None:
            tool = next((each for each in file.all() if command in {each.word, each.name}), None)
        if tool is None:
            if directory in self._projects.known() and (error := file.unreadable()):
                raise error
            return None
        self._projects.check(tool)
        return tool

    def elsewhere(self, command: str) -> Path | None:
        """A project in which the command would be one."""
        for directory in self._projects.known():
            if any(command in each.offers for each in self._projects.allowed(directory)):
                return directory
        return None

    def all(self) -> tuple[Tool, ...]:
        """The user's in the order of the file, and those of every known project that ask for nothing new."""
        return (*self.user.all(), *(each for known in self._projects.known() for each in self._projects.allowed(known)))

    def defined(self, project: Path | None) -> Sequence[Tool]:
        """The tools of a project by its directory, or the user's; raises `NotTrusted` where one may not be used, and
        `BadDefinition` where one is wrong.
        """
        file = self.user if project is None else self._projects.tools(project)
        for each in file.all():
            self._projects.check(each)
        if problem := file.problem:
            raise BadDefinition(problem)
        return file.all()

    def here(self, cwd: bytes) -> Sequence[Tool]:
        """Those that are meant in a directory: its project's, and those of the user's that they leave."""
        directory = self._projects.at(cwd)
        of_project = self._projects.tools(directory).all() if directory is not None else ()
        taken = {word for each in of_project for word in (*each.offers, each.word)}
        return [*of_project, *(each for each in self.user.all() if taken.isdisjoint((*each.offers, each.name)))]

    def commands(self) -> tuple[str, ...]:
        """Every command on offer somewhere: what shims there should be."""
        return tuple(dict.fromkeys(command for tool in self.all() for command in tool.offers))
