"""Features that somebody else computed: one file a modality, rows matched by order or by an id."""
