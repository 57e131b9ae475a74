"""The journal of a search: which trials were asked, by whom, and what became of them.

One file holds every search of a study, each under its own key, and is only ever appended to. Processes that search
together share it: who asks holds a lock for that moment, and each process holds a lock of its own for as long as it
lives, by which the others know a trial that nobody works on any more.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import statistics
import uuid
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from filelock import FileLock, Timeout

from mmablate.errors import StoreError
from mmablate.results import StudyStore
from mmablate.results.files import telling
from mmablate.study.searching import Space

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, Trial

JOURNAL = "optuna.journal"
_OWNER, _RETRY = "owner", "retry_of"
_MEDIAN_FROM_STEP, _MEDIAN_FROM_TRIALS = 1, 5  # two seeds, and five complete trials to compare with

Sampler = Literal["tpe", "random"]


class Journal:
    """One search in a study's journal.

    Use it as a context manager: leaving it, in whatever way, gives up the trials that were asked and not told.

    Args:
        store: of the study, prepared.
        key: identity of the search: equal for equal spaces, settings, seeds and rules.
        space: what is searched.
        sampler: "tpe" or "random".
        direction: "max" or "min".
        prune: "none", "median" or "wilcoxon".

    Raises:
        StoreError: the journal is damaged, or cannot be written.
    """

    def __init__(
        self, store: StudyStore, key: str, space: Space, *, sampler: Sampler, direction: str, prune: str
    ) -> None:
        self.store, self.key, self.space, self.sampler = store, key, space, sampler
        self.direction, self.prune = direction, prune
        self.path = store.folder / JOURNAL
        self.me = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._alive = FileLock(self._owner_lock(self.me))
        self._distributions = {d.name: _distribution(d) for d in space.dimensions}
        with telling(self.path), _quiet():
            self.study = self._open()

    def __enter__(self) -> Journal:
        with telling(self.path):
            self._alive.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self._alive.release()
        Path(self._alive.lock_file).unlink(missing_ok=True)

    # --- asking ---------------------------------------------------------------------------------------------

    def take(self, n_trials: int, batch: int, *, retry_failed: bool = False) -> list[Trial]:
        """The next trials for this process, in the order of their numbers; [] where none is left for it.

        First those that a dead process has left behind, as they were asked; then new ones.

        Args:
            n_trials: that the whole search shall have; failed ones count, unless they are tried again.
            batch: most trials to take.
            retry_failed: ask failed points once more.
        """
        with self.store.locked(f"search-{self.store.name}"), telling(self.path), _quiet():
            self._enqueue(retry_failed=retry_failed)
            left = [trial for trial in self.trials() if self._is_left_behind(trial)]
            taken = [self._resume(trial) for trial in left[:batch]]
            retried = {trial.user_attrs.get(_RETRY) for trial in self.trials()}
            counted = sum(t.state.name != "WAITING" and t.number not in retried for t in self.trials())
            for _ in range(min(batch - len(taken), n_trials - counted)):
                taken.append(self._ask())  # noqa: PERF401 (each is asked in the knowledge of those before it)
        return taken

    def others_work(self) -> bool:
        """Whether a trial is with another process, living or dead."""
        return any(trial.state.name == "RUNNING" for trial in self.trials())

    def trials(self) -> list[FrozenTrial]:
        """All trials with all of their parameters or none of them yet, by number."""
        with telling(self.path), _quiet():
            return self.study.get_trials(deepcopy=False)

    def asked(self) -> list[tuple[FrozenTrial, dict[str, Any]]]:
        """The trials whose parameters are known, each with the values of its row."""
        names = set(self._distributions)
        known = [trial for trial in self.trials() if set(trial.params) == names]
        return [(trial, self.space.point(trial.params)) for trial in known]

    # --- telling --------------------------------------------------------------------------------------------

    def report(self, trial: Trial, value: float, step: int) -> bool:
        """Notes the value after a seed; whether the trial should stop here."""
        with telling(self.path), _quiet():
            if step not in self._frozen(trial).intermediate_values:
                trial.report(value, step)
            return self._below_median(value, step) if self.prune == "median" else trial.should_prune()

    def _below_median(self, value: float, step: int) -> bool:
        """Whether the value is worse than the median of the complete trials after as many seeds.

        Optuna's median pruner takes the best value that the trial ever had, which for means over more and more seeds
        is that of its luckiest first seeds.
        """
        complete = [trial.intermediate_values for trial in self.trials() if trial.state.name == "COMPLETE"]
        values = [found[step] for found in complete if step in found]
        if step < _MEDIAN_FROM_STEP or len(values) < _MEDIAN_FROM_TRIALS:
            return False
        middle = statistics.median(values)
        return value < middle if self.direction == "max" else value > middle

    def tell(self, trial: Trial, value: float | None, state: Literal["COMPLETE", "PRUNED", "FAIL"]) -> None:
        """Ends a trial; what another process has ended stays as it is."""
        from optuna.trial import TrialState

        with telling(self.path), _quiet():
            self.study.tell(trial.number, value, state=TrialState[state], skip_if_finished=True)

    # --- inside ---------------------------------------------------------------------------------------------

    def _open(self) -> optuna.Study:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        lock = _JournalLock(self.path, self.store.out / ".locks" / f"journal-{self.store.name}.lock")
        try:
            with lock:  # a torn end is cut off before anything is read
                pass
            return optuna.create_study(
                storage=JournalStorage(JournalFileBackend(str(self.path), lock_obj=cast(Any, lock))),
                study_name=self.key,
                direction="maximize" if self.direction == "max" else "minimize",
                sampler=self._seeded(0),
                pruner=_pruner(self.prune),
                load_if_exists=True,
            )
        except (ValueError, KeyError, TypeError, AssertionError) as error:
            raise StoreError(
                f"{self.path}: not the journal of a search ({error}); moved away, the search begins anew and takes "
                "over the runs that are finished"
            ) from error

    def _seeded(self, number: int) -> optuna.samplers.BaseSampler:
        """A sampler for one trial: its stream is keyed by the search's seed and the trial's number.

        So a search that was interrupted goes on with the trials that it would have asked anyway; only a kill between
        two parameters of one trial, which are drawn within a millisecond, makes the second one another.
        """
        from optuna.samplers import RandomSampler, TPESampler

        digest = hashlib.sha256(f"search {self.space.rules.seed} {number}".encode()).digest()
        seed = int.from_bytes(digest[:4], "little")
        return TPESampler(seed=seed) if self.sampler == "tpe" else RandomSampler(seed=seed)

    def _enqueue(self, *, retry_failed: bool) -> None:
        """The recipe's own values come first; failed points again where that is asked for."""
        trials = self.trials()
        own = self.space.own_point()
        if not trials and own is not None:
            self.study.enqueue_trial(own)
        if retry_failed:
            retried = {trial.user_attrs.get(_RETRY) for trial in trials}
            for trial in trials:
                if trial.state.name == "FAIL" and trial.number not in retried:
                    self.study.enqueue_trial(trial.params, user_attrs={_RETRY: trial.number})

    def _ask(self) -> Trial:
        self.study.sampler = self._seeded(len([t for t in self.trials() if t.state.name != "WAITING"]))
        trial = self.study.ask()
        self._finish_asking(trial)
        return trial

    def _resume(self, frozen: FrozenTrial) -> Trial:
        """A trial as its dead process asked it; parameters that it had not come to are drawn anew."""
        from optuna.trial import Trial

        self.study.sampler = self._seeded(frozen.number)
        trial = Trial(self.study, frozen._trial_id)
        self._finish_asking(trial)
        return trial

    def _finish_asking(self, trial: Trial) -> None:
        trial.set_user_attr(_OWNER, self.me)
        for d in self.space.dimensions:
            if d.kind == "choice":
                trial.suggest_categorical(d.name, list(d.choices))
            elif d.kind == "integer":
                trial.suggest_int(d.name, int(d.low or 0), int(d.high or 0), log=d.log)
            else:
                trial.suggest_float(d.name, float(d.low or 0), float(d.high or 0), log=d.log)

    def _is_left_behind(self, trial: FrozenTrial) -> bool:
        owner = trial.user_attrs.get(_OWNER)
        if trial.state.name != "RUNNING" or owner == self.me:
            return False
        if owner is None:  # killed before it could say so; the living ask under the lock that we hold
            return True
        path = self._owner_lock(str(owner))
        if not path.exists():
            return True
        try:
            with FileLock(path, timeout=0):
                pass
        except Timeout:
            return False
        path.unlink(missing_ok=True)
        return True

    def _owner_lock(self, owner: str) -> Path:
        name = "".join(c if c.isalnum() or c in "-." else "_" for c in owner)
        return self.store.out / ".locks" / f"searcher-{name}.lock"

    def _frozen(self, trial: Trial) -> FrozenTrial:
        return next(frozen for frozen in self.trials() if frozen.number == trial.number)


class _JournalLock:
    """The lock of optuna's journal: dies with its process, where optuna's own waits half a minute for the dead.

    A line that a killed process left half written is cut off, so that the next one does not run into it.
    """

    def __init__(self, journal: Path, lock: Path) -> None:
        self.journal, self.lock = journal, FileLock(lock)

    def acquire(self) -> bool:
        self.lock.acquire()
        try:
            _cut_torn_line(self.journal)
        except BaseException:
            self.lock.release()
            raise
        return True

    def release(self) -> None:
        self.lock.release()

    def __enter__(self) -> _JournalLock:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _cut_torn_line(path: Path) -> None:
    if not path.exists():
        return
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        end = size
        while end:
            start = max(0, end - 65536)
            file.seek(start)
            place = file.read(end - start).rfind(b"\n")
            if place >= 0:
                end = start + place + 1
                break
            end = start
        if end < size:
            file.truncate(end)


def search_key(content: Mapping[str, Any]) -> str:
    """Name of a search in its journal: equal for equal content, whatever the order of the keys."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _distribution(dimension: Any) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if dimension.kind == "choice":
        return CategoricalDistribution(list(dimension.choices))
    if dimension.kind == "integer":
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)


def _pruner(name: str) -> optuna.pruners.BasePruner:
    from optuna.pruners import NopPruner, WilcoxonPruner

    with _quiet():
        return WilcoxonPruner(p_threshold=0.1) if name == "wilcoxon" else NopPruner()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without optuna's remarks on what is experimental, or on a pruner that waits for more steps."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
