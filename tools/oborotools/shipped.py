"""The files that users get, as a build lists them (oboro_ship() in cmake/Oboro.cmake)."""

import dataclasses
import os

from .cache import ToolError


@dataclasses.dataclass(frozen=True)
class File:
    kind: str  # program, static (a program that needs no libraries), plugin
    name: str  # in the build folder
    path: str


def listed(build):
    """The files of the build in the folder `build`, built or not."""
    try:
        with open(os.path.join(build, "shipped.txt")) as handle:
            lines = [line.split() for line in handle]
    except FileNotFoundError:
        raise ToolError(f"{build} is no build folder: there is no shipped.txt in it")
    if not lines:
        raise ToolError(f"{build}/shipped.txt names no file")
    return sorted((File(kind, name, os.path.join(build, name)) for kind, name in lines), key=lambda one: one.name)


def files(build):
    """The same; each must be there."""
    for one in (found := listed(build)):
        if not os.path.exists(one.path):
            raise ToolError(f"{one.path} is not built")
    return found
