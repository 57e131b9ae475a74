"""From a file to grids of cells: the format is told by the content, the ending only breaks ties."""

from mmablate.analysis.audit.reading.opening import read_grids

__all__ = ["read_grids"]
