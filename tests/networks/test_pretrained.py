import pytest
import torch

from mtmedformer_monai.networks import HierarchicalTransformer, TransformerSize, load_pvt_v2
from mtmedformer_monai.networks.pretrained import fit_in_channels, rename_pvt_v2
from tests.networks.small import SMALL

NAMES = {
    "patch_embed.proj.weight": "stages.0.embedding.projection.weight",
    "patch_embed.norm.bias": "stages.0.embedding.norm.bias",
    "stages.1.downsample.proj.bias": "stages.1.embedding.projection.bias",
    "stages.0.blocks.1.norm1.weight": "stages.0.blocks.1.attention_norm.weight",
    "stages.0.blocks.0.attn.q.weight": "stages.0.blocks.0.attention.query.weight",
    "stages.0.blocks.0.attn.kv.bias": "stages.0.blocks.0.attention.key_value.bias",
    "stages.0.blocks.0.attn.proj.weight": "stages.0.blocks.0.attention.output.weight",
    "stages.0.blocks.0.attn.sr.weight": "stages.0.blocks.0.attention.shrink.weight",
    "stages.0.blocks.0.attn.norm.weight": "stages.0.blocks.0.attention.shrink_norm.weight",
    "stages.3.blocks.0.norm2.bias": "stages.3.blocks.0.mlp_norm.bias",
    "stages.3.blocks.0.mlp.fc1.weight": "stages.3.blocks.0.mlp.expand.weight",
    "stages.3.blocks.0.mlp.dwconv.weight": "stages.3.blocks.0.mlp.depthwise.weight",
    "stages.3.blocks.0.mlp.fc2.bias": "stages.3.blocks.0.mlp.contract.bias",
    "stages.2.norm.weight": "stages.2.norm.weight",
    "stages_2.norm.weight": "stages.2.norm.weight",  # as features_only=True names it
}


@pytest.mark.parametrize(("theirs", "ours"), NAMES.items(), ids=list(NAMES))
def test_a_name_of_timm_becomes_one_of_ours(theirs, ours):
    assert list(rename_pvt_v2({theirs: torch.zeros(1), "head.weight": torch.zeros(1)})) == [ours]
    assert ours in HierarchicalTransformer("tiny").state_dict()


def to_timm(name: str) -> str:
    """Converts the names of a whole model back to timm's, using the list above."""
    stage = name.split(".")[1]
    for theirs, ours in NAMES.items():
        mine, of_timm = (each.rsplit(".", 1)[0].split(".", 2)[-1] for each in (ours, theirs))
        mine, of_timm = (each.split(".", 2)[-1] if each.startswith("blocks") else each for each in (mine, of_timm))
        if "patch_embed" not in theirs and f".{mine}." in name and mine != "norm":
            return name.replace(f".{mine}.", f".{of_timm}.")
    if ".embedding." in name:
        name = name.replace(".embedding.projection.", ".downsample.proj.").replace(".embedding.", ".downsample.")
        return name.replace("stages.0.downsample", "patch_embed") if stage == "0" else name
    return name


def test_a_file_loads_into_a_gray_encoder_that_sees_a_gray_picture_alike(tmp_path):
    torch.manual_seed(0)
    color = HierarchicalTransformer(SMALL, in_channels=3).eval()
    torch.save({to_timm(name): value for name, value in color.state_dict().items()}, tmp_path / "pvt.pt")
    gray = load_pvt_v2(HierarchicalTransformer(SMALL).eval(), tmp_path / "pvt.pt")
    image = torch.rand(1, 1, 64, 64)
    for one, other in zip(gray(image), color(image.expand(-1, 3, -1, -1)), strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_weights_of_another_size_are_refused(tmp_path):
    state = HierarchicalTransformer(SMALL).state_dict()
    torch.save(state, tmp_path / "pvt.pt")
    deeper = TransformerSize(SMALL.widths, (1, 2, 1, 1))
    with pytest.raises(ValueError, match="only one of the two has"):
        load_pvt_v2(HierarchicalTransformer(deeper), tmp_path / "pvt.pt")
    wider = TransformerSize((16, 32, 40, 128), (1, 1, 1, 1))
    with pytest.raises(ValueError, match=r"has another size: .* tiny, small, base correspond to pvt_v2_b0, b1, b2"):
        load_pvt_v2(HierarchicalTransformer(wider), tmp_path / "pvt.pt")
    with pytest.raises(ValueError, match="after_stem=False"):
        load_pvt_v2(HierarchicalTransformer(SMALL, after_stem=True), tmp_path / "pvt.pt")
    with pytest.raises(ValueError, match="the weights expect 3 channels, the encoder has 2"):
        fit_in_channels(torch.zeros(8, 3, 7, 7), 2)
