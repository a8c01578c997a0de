"""What the disk does by itself."""

import os
import time

RECORD = b"\x5a" * 4096
SECONDS = 1


def appends_per_second(folder):
    """How often a second 4 KiB can be appended to a file in a folder and synced, one after the other."""
    file = folder / "disk-probe"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        count, begun = 0, time.monotonic()
        while time.monotonic() - begun < SECONDS:
            os.write(descriptor, RECORD)
            os.fdatasync(descriptor)
            count += 1
        return count / (time.monotonic() - begun)
    finally:
        os.close(descriptor)
        file.unlink()
