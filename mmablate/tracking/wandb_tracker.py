"""Weights & Biases: a project a study, a run a run; offline unless asked, in files that `wandb sync` can upload later.

Asked is `--track wandb:online` or WANDB_MODE=online; without an account the runs stay on this disk all the same.
What W&B collects of its own accord (code, git, environment, machine, packages, console) is switched off.
"""

from __future__ import annotations

import contextlib
import hashlib
import html
import netrc
import os
import shlex
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # to its makers

import wandb

from mmablate.errors import StoreError
from mmablate.results.files import write_atomic
from mmablate.tracking.logs import RunLog, TableLog
from mmablate.tracking.naming import marked_name, safe_name, without_secrets
from mmablate.tracking.trackers import FOLDER, TABLE

_MARK = "mmablate.digest"  # in a run's folder, written last
_PROJECT = r"\w.+=-"
_LONGEST = 128
_QUIET = {
    "console": "off",
    "silent": True,
    "host": "-",  # an empty one is filled in
    "disable_git": True,
    "disable_code": True,
    "disable_job_creation": True,
    "save_code": False,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_disable_machine_info": True,
    "x_save_requirements": False,
}

# Seconds to wait for the server, unless WANDB_INIT_TIMEOUT says so.
_TIMEOUT = 30.0
# W&B has one service a process, which all trackers share: the last one ends it.
_users = 0
_lock = threading.Lock()


def open_wandb(study: str, folder: Path, *, online: bool, say: Callable[[str], None]) -> WandbTracker | None:
    """The tracker; None under WANDB_MODE=disabled.

    Args:
        online: asked for on the command line.
        say: told why nothing is sent although it was asked for.
    """
    mode = os.environ.get("WANDB_MODE", "").lower()
    if mode == "disabled" and not online:
        say("wandb: WANDB_MODE=disabled: nothing is logged")
        return None
    online = online or mode in ("online", "run")
    if online and not _has_account():
        say("wandb: no account here (`wandb login`, or WANDB_API_KEY): the runs stay on this disk, nothing is sent")
        online = False
    return WandbTracker(study, folder, online=online, say=say)


def _has_account() -> bool:
    """Whether W&B would find a key without asking for one; the key itself is not looked at."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    own = os.environ.get("WANDB_BASE_URL")  # a server of one's own has its own account
    hosts = {urlsplit(own).hostname} if own else {urlsplit(str(wandb.Settings().base_url)).hostname, "api.wandb.ai"}
    for name in (os.environ.get("NETRC"), "~/.netrc", "~/_netrc"):
        with contextlib.suppress(OSError, netrc.NetrcParseError, RuntimeError):
            if name and not hosts.isdisjoint(netrc.netrc(str(Path(name).expanduser())).hosts):
                return True
    return False


class WandbTracker:
    """One project.

    Args:
        study: its name, and the project's, unless WANDB_PROJECT names one for several studies.
        folder: of the study.
        online: send.
        say: told when nothing can be sent.
    """

    def __init__(self, study: str, folder: Path, *, online: bool, say: Callable[[str], None]) -> None:
        global _users
        self.study, self.online, self.say = study, online, say
        self.root = folder / FOLDER
        (self.root / "wandb").mkdir(parents=True, exist_ok=True)  # W&B goes to a temporary folder without it
        self.project = safe_name(os.environ.get("WANDB_PROJECT", ""), _PROJECT, _LONGEST) if _project_set() else ""
        # Ids are unique in a project: one for several studies may meet the same run twice.
        self.suffix = f"-{hashlib.sha256(study.encode()).hexdigest()[:8]}" if self.project else ""
        self.project = self.project or marked_name(study, _PROJECT, _LONGEST)
        with _lock:
            _users += 1

    def place(self) -> str:
        """See `Tracker`."""
        folder = self.root / "wandb"
        if self.online:
            return f"project {self.project}, sent to W&B; copies in {folder}"
        upload = f"wandb sync {shlex.quote(str(folder))}/offline-run-*"
        return f"project {self.project}, offline in {folder}: nothing is sent ({upload} does that)"

    def digest(self, run_id: str) -> str | None:
        """See `Tracker`."""
        marks = [folder / _MARK for folder in self._folders(run_id)]
        try:
            digest, project = marks[0].read_text(encoding="utf-8").split("\n") if len(marks) == 1 else ("", "")
            return digest if project == self.project else None
        except (OSError, ValueError):
            return None

    def follow(self, run: RunLog) -> None:
        """Nothing: W&B gets a run when it is over, since offline nobody could look at it before."""

    def write_run(self, run: RunLog) -> None:
        """See `Tracker`."""
        about = {"name": run.name[:_LONGEST], "job_type": str(run.config.get("role")), "notes": run.error or None}
        code = 0 if run.status == "ok" else 1
        with self._anew(run.run_id, run.digest, run.tags, run.config, about, code) as own:
            for place, point in enumerate(run.points):
                # Lines of one step become one row, which is written when the next step begins.
                last = place + 1 == len(run.points) or run.points[place + 1].step > point.step
                own.log(dict(point.values), step=point.step, commit=last)
            own.summary.update({**run.scores, "status": run.status, "error": run.error})

    def write_table(self, table: TableLog) -> None:
        """See `Tracker`."""
        about = {"name": TABLE, "job_type": TABLE, "notes": table.title}
        with self._anew(TABLE, table.digest, table.tags, {"study": table.study, "title": table.title}, about) as own:
            own.log({TABLE: wandb.Html(table.html, inject=False), "markdown": wandb.Html(_plain(table.markdown))})
            own.summary.update(dict(table.scores))

    def close(self) -> None:
        """See `Tracker`."""
        global _users
        with _lock:
            _users -= 1
            if _users == 0:
                wandb.teardown()

    def _folders(self, run_id: str) -> list[Path]:
        return sorted(
            (self.root / "wandb").glob(f"{'run' if self.online else 'offline-run'}-[0-9]*-{run_id}{self.suffix}")
        )

    @contextmanager
    def _anew(
        self, run_id: str, digest: str, tags: tuple[str, ...], config: Any, about: dict[str, Any], code: int = 0
    ) -> Iterator[Any]:
        """A run of that id in a folder of its own, which counts once all is written; the earlier one goes."""
        try:
            run = self._init(run_id, tags, config, about)
        except Exception as error:
            if not self.online:
                raise
            text = without_secrets(" ".join(f"{type(error).__name__}: {error}".split()))[:200]
            self.say(f"wandb: from here on the runs stay on this disk, nothing is sent ({text})")
            wandb.teardown()  # its service takes the run for begun
            self._clear(run_id)
            self.online = False
            run = self._init(run_id, tags, config, about)
        try:
            yield run
        except BaseException:
            run.finish(exit_code=1)
            raise
        run.finish(exit_code=code)
        folders = self._folders(run_id)
        if len(folders) != 1:
            raise StoreError(f"{self.root / 'wandb'}: W&B could not write there")
        write_atomic(folders[0] / _MARK, f"{digest}\n{self.project}".encode(), durable=False)

    def _clear(self, run_id: str) -> None:
        for earlier in self._folders(run_id):
            shutil.rmtree(earlier)

    def _init(self, run_id: str, tags: tuple[str, ...], config: Any, about: dict[str, Any]) -> Any:
        self._clear(run_id)
        known = wandb.Settings.model_fields
        settings = wandb.Settings(**{key: value for key, value in _QUIET.items() if key in known})
        if "WANDB_INIT_TIMEOUT" not in os.environ:
            settings.init_timeout = _TIMEOUT
        return wandb.init(
            mode="online" if self.online else "offline",
            dir=str(self.root),
            project=self.project,
            group=self.study[:_LONGEST],
            id=f"{run_id}{self.suffix}",
            tags=[tag[:64] for tag in tags],
            config=dict(config),
            settings=settings,
            reinit="create_new",
            **about,
        )


def _project_set() -> bool:
    return bool(os.environ.get("WANDB_PROJECT", "").strip())


def _plain(text: str) -> str:
    return f"<pre>{html.escape(text)}</pre>"
