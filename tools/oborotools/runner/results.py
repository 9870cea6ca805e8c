"""The result of a case."""

import dataclasses
import json


class CaseFailed(Exception):
    """The case failed before there was anything to compare."""


class NeverBegan(CaseFailed):
    """The guest's kernel did not come as far as its first program, up to which Oboro only waits for it, and QEMU was not held up: it
    ended when told to."""


@dataclasses.dataclass
class Result:
    name: str
    file: str
    kernel: str
    outcome: str = "passed"  # or failed, skipped
    reason: str = ""
    seconds: float = 0.0
    failures: list = dataclasses.field(default_factory=list)
    again: str = ""  # why the guest was booted a second time
    logs: str = ""

    def line(self):
        return json.dumps(dataclasses.asdict(self)) + "\n"

    @property
    def run(self):
        """The run that this is the result of."""
        return self.file, self.kernel


def from_lines(text):
    """The results in a report of Result.line(); a line that is not yet complete is left out."""
    return [Result(**json.loads(line)) for line in text.split("\n")[:-1]]
