"""The file that stands for the world outside: steps and parked workflows write a line each."""

import os

from processes import until


class Outside:
    """Read as it grows."""

    def __init__(self, file):
        self.file = file
        self.clear()

    def clear(self):
        """Forgets all lines. Those who write append, so that they go on at the begin."""
        self.file.write_bytes(b"")

    def wait_for_lines(self, count, seconds):
        """Until there are so many lines."""
        until(lambda: self._lines() >= count, seconds, interval=0.02)

    def wait_for_number(self, number, seconds):
        """Until there is this number, or a later one."""
        until(lambda: self.last() >= number, seconds)

    def last(self):
        """The number in the last whole line; -1 where there is none. Reads the end alone: to look
        often must not cost those who are measured."""
        with open(self.file, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 64))
            lines = file.read().rpartition(b"\n")[0]
        return int(lines.split()[-1]) if lines else -1

    def _lines(self):
        return self.file.read_bytes().count(b"\n")
