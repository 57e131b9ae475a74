"""The segmentor of incomplete scans: sizes, missing modalities, independence of samples, derivatives, weights."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from mmablate.models.volumes import incomplete_segmentor
from mmablate.models.volumes.fusing import RegionFusion
from mmablate.models.volumes.layers import Conv, resized
from mmablate.training.building import initialise
from mmablate.training.device import _flat

DOUBLE = torch.float64
FOUR = ("flair", "t1ce", "t1", "t2")


def make(modalities=FOUR, *, dtype=torch.float32, seed=0, **options):
    torch.manual_seed(seed)
    defaults = {"n_classes": 3, "widths": (2, 4)}
    return incomplete_segmentor(modalities=modalities, **{**defaults, **options}).to(dtype)


def scans(n, size=(6, 5, 4), modalities=FOUR, *, dtype=torch.float32, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(n, 1, *size, generator=generator, dtype=dtype) for name in modalities}


def mask(*rows):
    return torch.tensor([[int(x) for x in row] for row in rows], dtype=torch.bool)


def test_the_published_size_has_the_published_number_of_parameters_and_no_buffers():
    with torch.device("meta"):
        model = incomplete_segmentor(n_classes=4, modalities=FOUR)
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(2.38e6, rel=0.005)
    assert not list(model.buffers())


@pytest.mark.parametrize("stem_stride", [1, 2])
@pytest.mark.parametrize("size", [(9, 9, 9), (12, 10, 11)])
def test_everything_has_the_size_that_is_promised_whether_or_not_the_strides_divide_it(size, stem_stride):
    model = make(widths=(2, 4, 6), stem_stride=stem_stride)
    out = model(scans(2, size), mask("1010", "0001"), separate=True, alone=True)
    assert out.fused.logits.shape == (2, 3, *size)
    assert out.fused.features.shape == (2, 2, *size)
    assert out.pairs.tolist() == [[0, 0], [0, 2], [1, 3]]
    assert out.separate.shape == out.alone.logits.shape == (3, 3, *size)
    edges = [tuple(-(-edge // (stem_stride * 2**level)) for edge in size) for level in range(3)]
    assert [tuple(x.shape) for x in out.fused.regions] == [(2, 3, *e) for e in edges]
    assert [tuple(x.shape) for x in out.alone.regions] == [(3, 3, *e) for e in edges]
    assert [tuple(x.shape[1:]) for x in model.encode(scans(2, size), mask("1010", "0001"))] == [
        (4, width, *e) for width, e in zip((2, 4, 6), edges, strict=True)
    ]


def test_nothing_that_is_not_asked_for_is_computed():
    out = make()(scans(1), mask("1100"))
    assert out.separate is None
    assert out.alone is None
    assert out.pairs.tolist() == [[0, 0], [0, 1]]


def test_features_of_missing_modalities_are_exactly_zero_and_their_inputs_are_not_looked_at():
    model, present = make(), mask("1010", "0110")
    inputs = scans(2)
    for row, column in (~present).nonzero().tolist():
        inputs[FOUR[column]][row] = float("nan")
    features = model.encode(inputs, present)
    for maps in features:
        assert (maps[~present] == 0).all()
        assert maps[present].isfinite().all()
    assert model(inputs, present).fused.logits.isfinite().all()


def test_a_modality_that_no_sample_has_is_not_run_and_the_others_on_their_own_samples_alone():
    model = make()
    seen = {}
    for name in FOUR:
        model.encoders[name].register_forward_hook(lambda m, args, out, name=name: seen.update({name: len(args[0])}))
    model(scans(3), mask("1100", "0100", "0101"), separate=True, alone=True)
    assert seen == {"flair": 1, "t1ce": 3, "t2": 1}


def test_decoding_a_subset_equals_encoding_that_subset():
    model, inputs, some = make(dtype=DOUBLE), scans(2, dtype=DOUBLE), mask("1101", "0100")
    cached = model.decode(model.encode(inputs, torch.ones(2, 4, dtype=torch.bool)), some, (6, 5, 4))
    fresh = model(inputs, some).fused
    for one, other in zip((*cached.levels, cached.features), (*fresh.levels, fresh.features), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(
        model.segment(model.encode(inputs, some), some, (6, 5, 4)), fresh.logits, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("stem_stride", [1, 2])
def test_the_fused_decoder_on_each_modality_alone_is_what_a_sample_of_that_modality_alone_gives(stem_stride):
    model, inputs = make(dtype=DOUBLE, stem_stride=stem_stride), scans(2, (6, 5, 5), dtype=DOUBLE)
    out = model(inputs, mask("1011", "0010"), alone=True)
    for row, (sample, modality) in enumerate(out.pairs.tolist()):
        single = torch.zeros(1, 4, dtype=torch.bool)
        single[0, modality] = True
        lone = model({name: x[sample : sample + 1] for name, x in inputs.items()}, single).fused
        found = out.alone.at(torch.tensor([row]))
        for one, other in zip((*found.levels, found.features), (*lone.levels, lone.features), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(out.alone.logits[3], out.fused.logits[1], rtol=1e-8, atol=1e-9)


def test_the_separate_decoder_sees_one_modality_and_never_the_others():
    model, inputs = make(dtype=DOUBLE), scans(1, dtype=DOUBLE)
    both = model(inputs, mask("1001"), separate=True).separate
    one = model(inputs, mask("0001"), separate=True).separate
    torch.testing.assert_close(both[1:], one, rtol=1e-8, atol=1e-9)
    features = model.encode(inputs, mask("0001"))
    torch.testing.assert_close(model.separate([maps[:, 3] for maps in features], (6, 5, 4)), one)


@given(st.lists(st.sampled_from([f"{i:04b}" for i in range(1, 16)]), min_size=2, max_size=4), st.integers(0, 3))
@settings(max_examples=15, deadline=None)
def test_no_sample_hangs_on_its_neighbours(rows, which):
    model, inputs = make(dtype=DOUBLE), scans(len(rows), (5, 4, 4), dtype=DOUBLE)
    which %= len(rows)
    together = model(inputs, mask(*rows), separate=True, alone=True)
    lone = model(
        {name: x[which : which + 1] for name, x in inputs.items()}, mask(rows[which]), separate=True, alone=True
    )
    own = together.pairs[:, 0] == which
    for one, other in [
        (together.fused.logits[which : which + 1], lone.fused.logits),
        (together.fused.regions[-1][which : which + 1], lone.fused.regions[-1]),
        (together.separate[own], lone.separate),
        (together.alone.logits[own], lone.alone.logits),
        (together.alone.features[own], lone.alone.features),
    ]:
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-9)


def test_the_fusion_is_the_formula_with_every_product_of_modality_and_region_written_out():
    torch.manual_seed(0)
    fusion = RegionFusion(3, 4, 2, negative_slope=0.2).double()
    x, logits = torch.randn(2, 3, 4, 3, 4, 2).double(), torch.randn(2, 2, 3, 4, 2).double()
    regions = []
    for r in range(2):
        p = logits.softmax(1)[:, r]
        products = x * p[:, None, None]
        share = p.mean((1, 2, 3)) + 1e-7
        seen = torch.cat([(products.mean((3, 4, 5)) / share[:, None, None]).flatten(1), share[:, None]], 1)
        hidden = F.leaky_relu(seen @ fusion.gates.hidden_weight[r] + fusion.gates.hidden_bias[r], 0.2)
        gates = torch.sigmoid(hidden @ fusion.gates.weight[r] + fusion.gates.bias[r])
        regions.append((products * gates[:, :, None, None, None, None]).sum(1))
    expected = torch.cat([fusion.fuse(torch.cat(regions, 1)), fusion.shortcut(x.flatten(1, 2))], 1)
    torch.testing.assert_close(fusion(x, logits), expected, rtol=1e-10, atol=1e-10)


def test_no_gradient_goes_from_the_fused_logits_to_the_prediction_of_regions():
    model = make()
    model(scans(1), mask("1110")).fused.logits.square().mean().backward()
    assert all(p.grad is None for p in model.fused.regions.parameters())
    assert all(p.grad is not None for p in model.fused.fusions.parameters())


@given(st.tuples(*[st.integers(1, 5)] * 3), st.tuples(*[st.integers(1, 7)] * 3))
@settings(max_examples=30, deadline=None)
def test_interpolation_is_torchs(edges, wanted):
    x = torch.randn(2, 3, *edges, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(x, size=wanted, mode="trilinear", align_corners=True)
    torch.testing.assert_close(resized(x, wanted), expected, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("size", [(5, 4, 6), (4, 4, 4), (7, 3, 3), (2, 2, 2)])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_border_is_the_reflection_of_what_lies_within(stride, size, samples):
    conv = Conv(2, 3, stride=stride)
    x = torch.randn(samples, 2, *size)
    theirs = torch.nn.Conv3d(2, 3, 3, stride, padding=1, padding_mode="reflect")
    theirs.load_state_dict(conv.state_dict())
    torch.testing.assert_close(conv(x), theirs(x))


# --- derivatives --------------------------------------------------------------------------------------------


def _loss_of(model, inputs, present):
    # Leaky ReLU has no second derivative: squares of what comes out have one.
    def loss(parameters):
        out = torch.func.functional_call(model, parameters, (inputs, present), {"separate": True, "alone": True})
        outputs = (*out.fused.levels, out.fused.features, out.separate, *out.alone.levels, out.alone.features)
        return sum((x * x * w).sum() for x, w in zip(outputs, _weights(outputs), strict=True))

    return loss


def _weights(outputs):
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(x.shape, generator=generator, dtype=DOUBLE) for x in outputs]


def _setting():
    model = make(("a", "b"), dtype=DOUBLE, stem_stride=2, seed=3)
    inputs = scans(2, (6, 5, 7), ("a", "b"), dtype=DOUBLE)
    loss = _loss_of(model, inputs, mask("11", "01"))
    parameters = {name: p.detach().clone() for name, p in model.named_parameters()}
    generator = torch.Generator().manual_seed(7)
    direction = {n: torch.randn(p.shape, generator=generator, dtype=DOUBLE) for n, p in parameters.items()}
    return loss, parameters, direction


def test_second_derivatives_are_those_of_finite_differences(monkeypatch):
    # Where gates are detached, a derivative of the gradient leaves out what the gates would change; here they count.
    monkeypatch.setattr(torch.Tensor, "detach", lambda self: self)
    loss, parameters, direction = _setting()

    def gradient(at, create_graph=False):
        leaves = {n: p.clone().requires_grad_() for n, p in at.items()}
        return leaves, torch.autograd.grad(loss(leaves), list(leaves.values()), create_graph=create_graph)

    leaves, first = gradient(parameters, create_graph=True)
    dot = sum((g * direction[n]).sum() for n, g in zip(leaves, first, strict=True))
    product = torch.autograd.grad(dot, list(leaves.values()))
    step = 1e-7
    ends = [gradient({n: p + s * step * direction[n] for n, p in parameters.items()})[1] for s in (1, -1)]
    numeric = [(a - b) / (2 * step) for a, b in zip(*ends, strict=True)]
    exact, numeric = torch.cat([g.flatten() for g in product]), torch.cat([g.flatten() for g in numeric])
    assert float((exact - numeric).norm() / numeric.norm()) < 1e-5


# Of torch, where it first enters forward mode.
@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")
def test_forward_mode_agrees_with_backward_mode():
    loss, parameters, direction = _setting()
    _, tangent = torch.func.jvp(loss, (parameters,), (direction,))
    gradients = torch.func.grad(loss)(parameters)
    expected = sum((gradients[n] * direction[n]).sum() for n in parameters)
    torch.testing.assert_close(tangent, expected, rtol=1e-9, atol=1e-9)


# --- initial weights ----------------------------------------------------------------------------------------


def test_initial_weights_hang_on_the_seed_and_on_the_names_of_modules_alone():
    one, two, other = make(seed=0), make(seed=1), make(FOUR[1:], seed=2)
    for model in (one, two, other):
        initialise(model, seed=4, role="model")
    torch.testing.assert_close(one.state_dict(), two.state_dict(), rtol=0, atol=0)
    theirs = other.state_dict()
    assert all(
        torch.equal(value, theirs[name]) for name, value in one.encoders.state_dict(prefix="encoders.").items()
        if not name.startswith("encoders.flair")
    )  # fmt: skip
    initialise(two, seed=5, role="model")
    drawn = [name for name, value in one.state_dict().items() if value.any()]
    assert all("bias" not in name for name in drawn)
    assert not any(torch.equal(one.state_dict()[name], two.state_dict()[name]) for name in drawn)


def test_initial_weights_are_kaimings():
    weight = Conv(16, 32).weight.detach()
    assert float(weight.std()) == pytest.approx((2 / (16 * 27)) ** 0.5, rel=0.05)


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"widths": (4,)}, "two stages"),
        ({"widths": (4, 5)}, "even"),
        ({"stem_stride": 0}, "stem_stride"),
        ({"depth": 0}, "depth"),
        ({"modalities": ("a", "a")}, "named once"),
        ({"modalities": ()}, "one or more"),
    ],
)
def test_a_model_that_cannot_be_built_says_why(options, says):
    with pytest.raises(ValueError, match=says):
        make(**options)


def test_scans_too_small_for_the_stages_are_refused_and_the_smallest_is_not():
    model = make(widths=(2, 4, 6), stem_stride=2)
    assert model.smallest_edge == 9
    model(scans(1, (9, 9, 9)), mask("1000"))
    with pytest.raises(ValueError, match="at least 9"):
        model(scans(1, (9, 8, 9)), mask("1000"))


def test_inputs_that_do_not_fit_the_masks_are_refused():
    with pytest.raises(ValueError, match="present must be"):
        make()(scans(2), mask("1000"))
    with pytest.raises(ValueError, match="no input of modality t2"):
        make()(scans(1, modalities=FOUR[:3]), mask("1000"))
    with pytest.raises(ValueError, match="no sample has any"):
        make()(scans(1), mask("0000"))


def test_its_weights_keep_their_layout_on_a_gpu():
    model = make()
    assert not _flat(model)
    assert _flat(torch.nn.Conv2d(2, 3, 3))
    with pytest.raises(RuntimeError, match="rank 4"):  # what would happen otherwise
        model.to(memory_format=torch.channels_last)


def test_half_precision_gives_about_the_same():
    model, inputs, present = make(), scans(1), mask("1101")
    exact = model(inputs, present).fused
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model(inputs, present, separate=True, alone=True)
    rough.alone.features.float().square().mean().backward()
    assert rough.fused.logits.dtype == torch.bfloat16
    away = (rough.fused.logits.float() - exact.logits).square().mean() / exact.logits.var()
    assert float(away.detach()) < 0.02
