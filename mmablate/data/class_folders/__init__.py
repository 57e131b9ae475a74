"""Pictures in folders of their classes, one file a modality, described by the recipe alone."""
