"""From a recipe to the runs that its table needs."""

from mmablate.study.opening import open_study
from mmablate.study.plan import Row, RunSpec, Study, plan_study
from mmablate.study.programs import ProgramRow, ProgramStudy

AnyStudy = Study | ProgramStudy

__all__ = ["AnyStudy", "ProgramRow", "ProgramStudy", "Row", "RunSpec", "Study", "open_study", "plan_study"]
