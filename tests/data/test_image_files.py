import pytest

from mtmedformer_monai.data import find_images


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_only_images_are_found_in_a_folder(tmp_path):
    wanted = ["1.2.840.113", "IM0001", "a.dcm", "b/c.PNG", "d.nii.gz", "e.jpeg"]
    touch(tmp_path, *wanted, "notes.txt", "README", "DICOMDIR", ".hidden.png", "datalist.json", "x.gz")
    assert find_images(tmp_path) == [{"image": str(tmp_path / name)} for name in wanted]


def test_a_single_file_may_have_any_name(tmp_path):
    touch(tmp_path, "image.bin")
    assert find_images(str(tmp_path / "image.bin")) == [{"image": str(tmp_path / "image.bin")}]


def test_several_sources_keep_their_order(tmp_path):
    touch(tmp_path, "z.png", "folder/a.png", "folder/b.png")
    found = find_images([tmp_path / "z.png", tmp_path / "folder"])
    assert [item["image"][len(str(tmp_path)) + 1 :] for item in found] == ["z.png", "folder/a.png", "folder/b.png"]


def test_missing_paths_are_reported(tmp_path):
    with pytest.raises(FileNotFoundError, match="no image at"):
        find_images(tmp_path / "none.png")
    with pytest.raises(FileNotFoundError, match=r"contains no \.dcm"):
        find_images(tmp_path)


def test_linked_folders_are_searched(tmp_path):
    touch(tmp_path, "store/a.png", "in/here/b.png")
    (tmp_path / "in/linked").symlink_to(tmp_path / "store")
    (tmp_path / "in/here/circle").symlink_to(tmp_path / "in")
    found = [item["image"] for item in find_images(tmp_path / "in")]
    assert found == [str(tmp_path / "in" / name) for name in ("here/b.png", "linked/a.png")]


def test_dicom_files_with_any_extension_are_found(tmp_path, make_dicom):
    paths = [make_dicom(name=name) for name in ("a.ima", "b.bak", "c.DCM", "d")]
    touch(tmp_path, "e.bak", "dicomdir", "Readme")
    assert [item["image"] for item in find_images(tmp_path)] == [str(path) for path in sorted(paths)]


def test_unsupported_formats_are_logged(tmp_path, caplog):
    touch(tmp_path, "a.png", "b.tif", "c.TIF", "d.dcm.gz", "notes.txt")
    assert len(find_images(tmp_path)) == 1
    assert "are ignored: 2 .tif, 1 .gz; convert or unpack them" in caplog.text


@pytest.mark.parametrize("name", ["[a-c]*", "run 1?b=2", "ward#3", "100%", 'it\'s "q" größe', "$HOME", "a:b@c"])
def test_special_characters_in_folder_names_are_literal(tmp_path, name):
    for folder in (tmp_path / name, tmp_path / "b"):
        folder.mkdir()
        (folder / f"{name}.png").write_bytes(b"")
    assert find_images(str(tmp_path / name)) == [{"image": str(tmp_path / name / f"{name}.png")}]
    assert find_images(str(tmp_path / name / f"{name}.png")) == [{"image": str(tmp_path / name / f"{name}.png")}]
