"""Put first on PYTHONPATH, writes a line for each optimiser step of each run, of workers too, to $STEP_LOG."""

import importlib.abc
import importlib.util
import os
import sys
import time

TRAINEE = "mmablate.training.trainee"


class Counting(importlib.abc.MetaPathFinder):
    """Lets `Trainee.update` tell of each step once it is taken."""

    def find_spec(self, name, path, target=None):
        if name != TRAINEE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        real = spec.loader.exec_module

        def exec_module(module):
            real(module)
            counted(module.Trainee)

        spec.loader.exec_module = exec_module
        return spec


def counted(trainee):
    update = trainee.update
    log = os.open(os.environ["STEP_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def updating(self):
        update(self)
        os.write(log, f"{self.spec.run_id} {self.steps} {os.getpid()} {time.monotonic()}\n".encode())

    trainee.update = updating


if "STEP_LOG" in os.environ:
    sys.meta_path.insert(0, Counting())
