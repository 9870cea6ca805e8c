"""bench/run: from its command line to its exit status."""

import os
import shutil

from ..cache import ToolError
from . import hide, kvm, trace
from .options import parse


def main(arguments=None):
    options = parse(arguments)
    if not os.path.exists(options.oboro):
        raise ToolError(f"{options.oboro}: not there; build it or set OBORO")
    if not shutil.which("setpriv"):
        raise ToolError("setpriv is not installed")
    if options.what == "kvm":
        return kvm.inside(options) if options.inside else kvm.measure(options)
    return (hide if options.what == "hide" else trace).measure(options)
