"""Datasets of one label a sample that ship with mmablate or are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from mmablate.catalog.entries import DatasetEntry, Options

DATA = Path(__file__).resolve().parent.parent / "data"
Channel = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
MFEAT_VIEWS = {"fac": 216, "fou": 76, "kar": 64, "mor": 6, "pix": 240, "zer": 47}  # features of each
WEAKER = "makes the view weaker on purpose: noise, keep"


class GaussianView(Options):
    """Channels of one modality; those that are not decisive are noise."""

    channels: int = Field(ge=1, description="how many channels the modality has")
    decisive: tuple[Channel, Channel] = Field(
        description="latent channels that it copies: [first, last + 1]; equal: none"
    )
    at: Channel | None = Field(
        None, description="its own channel that copies the first of them; default: the number of the latent channel"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        first, last = self.decisive
        if last < first:
            raise ValueError(f"decisive must be [first, last + 1], not [{first}, {last}]")
        start = first if self.at is None else self.at
        if start + last - first > self.channels:
            raise ValueError(f"{last - first} decisive channels from {start} on do not fit into {self.channels}")
        return self


class GaussianOptions(Options):
    """How the data are drawn; what concerns one modality alone stands under its name."""

    xs: int = Field(20, ge=1, description="latent channels, all of which decide the label")
    x1: GaussianView | None = Field(None, description="channels of x1: channels, decisive, at")
    x2: GaussianView | None = Field(None, description="channels of x2: channels, decisive, at")
    normal: Literal["gaussian", "ones"] = Field("gaussian", description="a of y = 1[xs · a > 0]: drawn, or all ones")
    n_train: int = Field(200, ge=1, description="training samples")
    n_test: int = Field(1000, ge=1, description="test samples")
    n_val: int = Field(0, ge=0, description="validation samples; 0: no such split")
    draws: Literal["keyed", "released"] = Field(
        "keyed", description="keyed by seed, split and purpose, or in the order of the published scripts"
    )

    @model_validator(mode="after")
    def _decisive(self) -> Self:
        for name in ("x1", "x2"):
            view = getattr(self, name)
            if view is not None and view.decisive[1] > self.xs:
                raise ValueError(f"{name}.decisive {list(view.decisive)} must lie within the {self.xs} channels of xs")
        return self


class WeakView(Options):
    """How a view is made weaker on purpose."""

    noise: float = Field(
        0.0, ge=0, description="Gaussian noise on the standardised features, in their standard deviations"
    )
    keep: int | None = Field(None, ge=1, description="how many features are left, drawn at random")

    @model_validator(mode="after")
    def _weaker(self) -> Self:
        if not self.noise and self.keep is None:
            raise ValueError("noise above 0, or keep, must be given")
        return self


class MfeatOptions(Options):
    """How the digits are dealt to the splits; what concerns one view alone stands under its name."""

    fractions: tuple[Fraction, Fraction, Fraction] = Field(
        (0.5, 0.2, 0.3), description="share of train, val and test in every class; val 0: no such split"
    )
    split_seed: int = Field(0, ge=0, description="deals the samples; the same for every run seed")
    fac: WeakView | None = Field(None, description=WEAKER)
    fou: WeakView | None = Field(None, description=WEAKER)
    kar: WeakView | None = Field(None, description=WEAKER)
    mor: WeakView | None = Field(None, description=WEAKER)
    pix: WeakView | None = Field(None, description=WEAKER)
    zer: WeakView | None = Field(None, description=WEAKER)

    @model_serializer(mode="wrap")
    def _as_they_are(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Settings, and with them the ids of runs, know nothing of views that are left as they are."""
        return {name: value for name, value in handler(self).items() if name not in MFEAT_VIEWS or value is not None}

    @model_validator(mode="after")
    def _columns(self) -> Self:
        for name, width in MFEAT_VIEWS.items():
            view: WeakView | None = getattr(self, name)
            if view is not None and view.keep is not None and view.keep > width:
                raise ValueError(f"{name}.keep {view.keep} must be at most the {width} features of {name}")
        return self

    @model_validator(mode="after")
    def _sum(self) -> Self:
        if abs(sum(self.fractions) - 1) > 1e-6 or not (self.fractions[0] and self.fractions[2]):
            raise ValueError(f"fractions must sum to 1, train and test above 0, not {list(self.fractions)}")
        return self


def _mfeat_files(root: Path | None, settings: Mapping[str, Any]) -> list[Path]:
    return [DATA / "files" / "mfeat.npz"]


def _gaussian_files(root: Path | None, settings: Mapping[str, Any]) -> list[Path]:
    return [DATA / "gaussian.py"]  # what the numbers depend on


def _mfeat_shapes(options: Mapping[str, Any]) -> dict[str, tuple[int]]:
    kept = {name: (options.get(name) or {}).get("keep") for name in MFEAT_VIEWS}
    return {name: (kept[name] or width,) for name, width in MFEAT_VIEWS.items()}


CLASSIFICATION = (
    DatasetEntry(
        name="gaussian",
        summary="two modalities drawn from Gaussians that share a chosen part of what decides between two classes",
        options=GaussianOptions,
        target="mmablate.data.gaussian:open_gaussian",
        check_target="mmablate.data.gaussian:check_gaussian",
        source="Xue et al. 2023, arXiv:2206.06487, Figures 2 and 3",
        modalities=("x1", "x2"),
        files=_gaussian_files,
        synthetic=True,
        task="classification",
        seeded=True,
        together=lambda options: options.get("draws") == "released",  # one sequence of draws for both
        known_general=True,
    ),
    DatasetEntry(
        name="mfeat",
        summary="2,000 handwritten digits in six views: fac, fou, kar, mor, pix, zer",
        options=MfeatOptions,
        target="mmablate.data.mfeat:open_mfeat",
        check_target="mmablate.data.mfeat:check_mfeat",
        source="UCI Machine Learning Repository, doi:10.24432/C5HC70",
        modalities=tuple(MFEAT_VIEWS),
        files=_mfeat_files,
        attribution="R.P.W. Duin, Multiple Features, UCI Machine Learning Repository, CC BY 4.0",
        task="classification",
        shapes=_mfeat_shapes,
        n_classes=10,
    ),
)
