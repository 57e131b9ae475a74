"""mmablate: ablation studies of multimodal learning, from one YAML recipe to the Δ table."""

__version__ = "0.1.0"
