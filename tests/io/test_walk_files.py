import os

import pytest

from mtmedformer_monai.io.walk_files import list_files


@pytest.fixture
def tree(tmp_path):
    """Returns a function, `tree("in/a.png", "in/link -> store")`, that creates files and links in the test folder."""

    def make(*entries):
        for entry in entries:
            name, _, target = entry.partition(" -> ")
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if target:
                path.symlink_to(tmp_path / target)
            else:
                path.touch()
        return tmp_path

    return make


def names(folder, files):
    return [file.relative_to(folder).as_posix() for file in files]


def test_links_to_folders_and_to_files_are_followed(tree):
    root = tree("store/a.png", "store/deep/b.png", "in/c.png", "in/linked -> store", "in/d.png -> store/a.png")
    assert names(root / "in", list_files(root / "in")) == ["c.png", "d.png", "linked/a.png", "linked/deep/b.png"]


def test_the_folder_itself_may_be_a_link(tree):
    root = tree("store/a.png", "in -> store")
    assert names(root, list_files(root / "in")) == ["in/a.png"]


def test_links_of_links(tree):
    root = tree("far/a.png", "near/second -> far", "in/first -> near")
    assert names(root, list_files(root / "in")) == ["in/first/second/a.png"]


def test_circular_links_terminate(tree):
    root = tree("in/a.png", "in/b/up -> in", "in/b/self -> in/b", "in/x/y -> in/z", "in/z/w -> in/x", "in/z/c.png")
    assert names(root, list_files(root / "in")) == ["in/a.png", "in/z/c.png"]


def test_each_real_folder_is_listed_once_by_its_own_path(tree):
    root = tree("in/a_link -> in/z", "in/z/1.png", "in/m -> store", "in/n -> store", "store/2.png")
    assert names(root, list_files(root / "in")) == ["in/m/2.png", "in/z/1.png"]


def test_hidden_files_are_excluded(tree):
    root = tree("in/.git/a.png", "in/.b.png", "in/c.png", "in/.link -> store", "store/d.png")
    assert names(root, list_files(root / "in")) == ["in/c.png"]


def test_broken_links_are_logged(tree, caplog):
    root = tree("in/a.png", "in/gone.png -> none.png", "in/self -> in/self")
    assert names(root, list_files(root / "in")) == ["in/a.png"]
    assert "the contents of 2 broken or circular links are missing" in caplog.text
    assert "gone.png" in caplog.text


def test_unreadable_folders_are_logged(tree, caplog, monkeypatch):
    """The permission error is simulated, since a superuser can read all folders."""
    root = tree("in/a.png", "in/locked/b.png", "in/open/c.png")
    scan = os.scandir

    def refuse(path):
        if os.fspath(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert names(root, list_files(root / "in")) == ["in/a.png", "in/open/c.png"]
    assert "the contents of 1 folders that cannot be read are missing; fix their permissions" in caplog.text
    assert "locked" in caplog.text


def test_nothing_is_logged_without_problems(tree, caplog):
    list_files(tree("a.png", "b/c.png"))
    assert not caplog.text
