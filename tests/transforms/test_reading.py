import nibabel
import numpy as np
import pytest
from PIL import Image

from mtmedformer_monai.transforms import errors, read_radiograph
from mtmedformer_monai.transforms.reading import sniff

ARRAY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20


@pytest.fixture
def files(tmp_path, make_dicom):
    """Writes one image in every file type, with names that do not reveal the type."""
    paths = {kind: tmp_path / f"{kind}.bin" for kind in ("png", "nifti")}
    Image.fromarray(ARRAY).save(paths["png"], format="PNG")
    nibabel.Nifti1Image(ARRAY.T, np.eye(4)).to_filename(tmp_path / "x.nii")
    (tmp_path / "x.nii").rename(paths["nifti"])
    paths["dicom"] = make_dicom(pixels=ARRAY, bits=8, name="dicom.bin")
    paths["bare"] = tmp_path / "bare.bin"
    paths["bare"].write_bytes(paths["dicom"].read_bytes()[132:])
    return paths


@pytest.mark.parametrize(
    ("name", "kind"), [("png", "picture"), ("nifti", "nifti"), ("dicom", "dicom"), ("bare", "dicom")]
)
def test_type_is_detected_from_the_content(files, name, kind):
    assert sniff(files[name]) == kind


@pytest.mark.parametrize("name", ["png", "dicom", "bare"])
def test_every_kind_gives_the_same_image(files, name):
    image, meta = read_radiograph(files[name])
    np.testing.assert_allclose(image, ARRAY / 255, atol=1e-6)
    assert image.flags["C_CONTIGUOUS"]
    assert image.flags["WRITEABLE"]
    assert meta["filename_or_obj"] == str(files[name])


@pytest.mark.parametrize("content", [b"", b"hello", bytes(1000)])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "a.dcm").write_bytes(content)
    with pytest.raises(errors.UnreadableFileError, match=r"a.dcm: it is (empty|neither DICOM, PNG, JPEG nor NIfTI)"):
        read_radiograph(tmp_path / "a.dcm")


def test_noise_after_a_preamble(tmp_path):
    noise = np.random.default_rng(0).bytes(500)
    (tmp_path / "a.dcm").write_bytes(bytes(128) + b"DICM" + noise)
    with pytest.raises(errors.RadiographError, match=r"a.dcm: "):
        read_radiograph(tmp_path / "a.dcm")


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_radiograph(tmp_path / "a.dcm")


def test_folder_of_one_file(tmp_path, make_dicom):
    path = make_dicom(pixels=ARRAY, bits=8)
    assert read_radiograph(tmp_path)[1]["filename_or_obj"] == str(path)
    make_dicom(name="second.dcm")
    with pytest.raises(errors.UnreadableFileError, match="it is a folder of 2 files; name one file"):
        read_radiograph(tmp_path)


@pytest.mark.parametrize("modalities", [None, "any", ["CT"]])
def test_admitting_other_modalities(make_dicom, modalities):
    path = make_dicom(modality="CT")
    assert read_radiograph(path, modalities=modalities)[1]["modality"] == "CT"
    with pytest.raises(errors.UnsupportedModalityError):
        read_radiograph(path)
