"""A small DICOMweb archive in this process whose failures a test chooses, with or without TLS."""

from __future__ import annotations

import json
import re
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from urllib.parse import parse_qs, urlsplit

import pydicom


class WebArchive:
    """Holds DICOM files in memory.

    Attributes:
        objects: {SOP Instance UID: bytes of the file}.
        requests: [(method, path, headers)] of all requests.
        fail: called with method and path; returns a status code to answer with, 'drop' to close the connection, 'store
            and drop' to close it after having stored, a body as dict, or None.
    """

    def __init__(self, certificate=None, ca=None):
        self.objects, self.requests, self.fail = {}, [], lambda method, path: None
        archive = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self._handle("GET", b"")

            def do_POST(self):
                blocks = []
                if self.headers.get("Transfer-Encoding") == "chunked":
                    while size := int(self.rfile.readline(), 16):
                        blocks.append(self.rfile.read(size))
                        self.rfile.readline()
                    self.rfile.readline()
                self._handle("POST", b"".join(blocks))

            def _handle(self, method, body):
                archive.requests.append((method, self.path, dict(self.headers)))
                failure = archive.fail(method, self.path)
                if failure == "drop":
                    self.close_connection = True
                    return
                if isinstance(failure, int):
                    self._answer(failure, "text/plain", b"")
                elif isinstance(failure, dict):
                    self._answer(409, "application/dicom+json", json.dumps(failure).encode())
                elif method == "POST":
                    stored = archive.add(body.partition(b"\r\n\r\n")[2].rpartition(b"\r\n--")[0])
                    if failure == "store and drop":
                        self.close_connection = True
                        return
                    content = {"00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": [stored]}}]}}
                    self._answer(200, "application/dicom+json", json.dumps(content).encode())
                else:
                    self._get(urlsplit(self.path))

            def _get(self, parts):
                wanted = re.fullmatch(r"/dicom-web/studies/[\d.]+/series/[\d.]+/instances/([\d.]+)", parts.path)
                if wanted is None:
                    query = {key: values[0] for key, values in parse_qs(parts.query).items()}
                    self._answer(200, "application/dicom+json", json.dumps(archive.find(query)).encode())
                elif wanted[1] not in archive.objects:
                    self._answer(404, "text/plain", b"")
                else:
                    body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + archive.objects[wanted[1]] + b"\r\n--b--"
                    self._answer(200, 'multipart/related; type="application/dicom"; boundary=b', body)

            def _answer(self, code, kind, body):
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            if ca:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(ca)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.url = f"http{'s' if certificate else ''}://127.0.0.1:{self._server.server_address[1]}"

    def add(self, content):
        """Stores a file; returns its SOP Instance UID."""
        header = pydicom.dcmread(BytesIO(content), stop_before_pixels=True)
        self.objects[str(header.SOPInstanceUID)] = content
        return str(header.SOPInstanceUID)

    def find(self, query):
        """Answers a search for images by SOP Instance UID, with limit and offset."""
        found = []
        for content in self.objects.values():
            header = pydicom.dcmread(BytesIO(content), stop_before_pixels=True)
            if query.get("SOPInstanceUID", header.SOPInstanceUID) == header.SOPInstanceUID:
                keywords = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality")
                entry = {
                    f"{header[word].tag:08X}": {"vr": header[word].VR, "Value": [header[word].value]}
                    for word in keywords
                }
                found.append(entry)
        offset = int(query.get("offset", 0))
        return found[offset : offset + int(query.get("limit", 1000))]

    def count(self, method, part=""):
        """Returns the number of requests with a method whose path contains `part`."""
        return sum(each[0] == method and part in each[1] for each in self.requests)

    def close(self):
        self._server.shutdown()
        self._server.server_close()
