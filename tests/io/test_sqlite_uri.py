import sqlite3

import pytest
from sqlalchemy import create_engine, text

from mtmedformer_monai.io.sqlite_uri import sqlite_file, sqlite_uri

NAMES = ["plain", "a b", "run 1?b=2", "a#b", "50%25", "100%", "a@b:c", 'it\'s "q"', "größe", "[a-b]*", "$HOME", "%3F"]


@pytest.mark.parametrize("name", NAMES)
def test_exactly_the_file_at_the_path_is_opened(tmp_path, name):
    path = tmp_path / name / "store.db"
    path.parent.mkdir()
    engine = create_engine(sqlite_uri(path))
    with engine.begin() as connection:
        connection.execute(text("create table t (x integer)"))
        connection.execute(text("insert into t values (7)"))
    engine.dispose()
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path]
    assert sqlite3.connect(path).execute("select x from t").fetchall() == [(7,)]
    assert sqlite_file(sqlite_uri(path)) == path


def test_a_plain_path_is_not_encoded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert sqlite_uri("output/mlflow.db") == f"sqlite:///{tmp_path}/output/mlflow.db"


@pytest.mark.parametrize("uri", ["http://tracker:5000", "sqlite:///:memory:", "postgresql://host/db", "sqlite://"])
def test_other_uris_have_no_file(uri):
    assert sqlite_file(uri) is None
