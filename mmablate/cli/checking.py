"""`check`: do the claims of a study's recipe hold?"""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console

from mmablate.analysis.claims import check_study
from mmablate.errors import UsageError
from mmablate.report.claims import print_claims
from mmablate.results import find_studies


def check(path: Path, format: str) -> int:
    """Prints a verdict for every claim of the study at `path`, or of every study in it.

    Returns:
        0 where all hold, 1 otherwise.

    Raises:
        UsageError: no study there has a claim.
    """
    stores = find_studies(path)
    single = (path / "study.json").is_file()
    checked = [found for store in stores if (found := check_study(store)).verdicts]
    if not checked:
        where = "its recipe" if single else "no recipe of the studies there"
        raise UsageError(f"{path}: {where} has {'no ' if single else ''}claims (`claims:` of a recipe lists them)")
    if format == "json":
        objects = [one.to_json_dict() for one in checked]
        document = objects[0] if single else {"schema": 1, "studies": objects}
        print(json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False))
    else:
        print_claims(checked, Console())
    return 0 if all(one.all_hold for one in checked) else 1
