"""Datasets on their real on-disk layouts, random streams, batches and modality masks."""
