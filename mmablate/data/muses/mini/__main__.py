"""One of the interpreters that share the worlds of a large set: jobs on stdin, entries of meta.json on stdout."""

from __future__ import annotations

import json
import sys

from mmablate.data.muses.mini import write_worlds

if __name__ == "__main__":
    json.dump(write_worlds(json.load(sys.stdin)), sys.stdout)
