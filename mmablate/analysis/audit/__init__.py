"""Auditing a published table: does each Δ and each Mean follow from the numbers printed beside it?"""

from mmablate.analysis.audit.auditing import audit_file
from mmablate.analysis.audit.model import Audit, Finding, PublishedTable

__all__ = ["Audit", "Finding", "PublishedTable", "audit_file"]
