import pytest

from mtmedformer_monai.transforms import LoadRadiographd, UnsupportedModalityError

starlette = pytest.importorskip("starlette.exceptions", reason="comes with MLflow and MONAI Label")


@pytest.fixture
def load():
    return LoadRadiographd("image", modalities=["MG"])


def test_message_is_the_response_to_a_request(load, make_dicom):
    """Starlette responds to an HTTPException with its status and {"detail": ...}, to other errors with a bare 500."""
    path = make_dicom(modality="CT")
    with pytest.raises(starlette.HTTPException) as answer:
        load({"image": path, "image_path": path, "model": "a"})
    assert answer.value.status_code == 422
    assert "its modality is CT, but only MG" in answer.value.detail
    assert isinstance(answer.value.__cause__, UnsupportedModalityError)


def test_error_is_unchanged_outside_a_request(load, make_dicom):
    with pytest.raises(UnsupportedModalityError):
        load({"image": make_dicom(modality="CT")})


def test_error_is_unchanged_without_a_server(load, make_dicom, monkeypatch):
    monkeypatch.delitem(__import__("sys").modules, "starlette.exceptions")
    path = make_dicom(modality="CT")
    with pytest.raises(UnsupportedModalityError):
        load({"image": path, "image_path": path})


def test_a_real_application_responds_with_the_message(load, make_dicom):
    """Uses FastAPI's own error handling, called through its ASGI interface."""
    import asyncio

    from fastapi import FastAPI

    path, app, sent = make_dicom(modality="CT"), FastAPI(), []

    @app.get("/infer")
    def infer():
        return load({"image": path, "image_path": path})

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/infer",
        "headers": [],
        "query_string": b"",
        "http_version": "1.1",
    }
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 422
    assert b'{"detail":"' in sent[1]["body"]
    assert b"its modality is CT, but only MG" in sent[1]["body"]
