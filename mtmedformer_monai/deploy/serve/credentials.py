"""HTTP sessions with authentication and TLS; secrets come from the environment or a file, and are never logged."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from .config import ArchiveConfig, AuthConfig, TlsConfig

if TYPE_CHECKING:
    import requests


def read_secret(config: AuthConfig) -> str:
    """Reads the password or token.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the environment variable is not set, or the secret is empty.
    """
    if config.secret_file is not None:
        if not config.secret_file.is_file():
            raise FileNotFoundError(f"archive.auth.secret_file expects a file, found none at {config.secret_file}.")
        where, secret = f"the file {config.secret_file}", config.secret_file.read_text(encoding="utf-8").strip()
    else:
        where, secret = f"the environment variable {config.secret_env}", os.environ.get(config.secret_env, "")
    if not secret:
        raise ValueError(f"archive.auth expects a secret in {where}, found none; set it.")
    return secret


def open_session(config: ArchiveConfig) -> requests.Session:
    """Opens an HTTP session to the archive.

    Settings of the environment (proxies, .netrc) are not used, so that images take no way that the file does not name.

    Raises:
        FileNotFoundError: a file with a secret does not exist.
        ValueError: a secret is missing.
    """
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util.retry import Retry

    session = requests.Session()
    once_more = Retry(total=1, status=0, backoff_factor=0.2, allowed_methods=("GET",))
    for scheme in ("http://", "https://"):  # Orthanc resets a connection now and then
        session.mount(scheme, HTTPAdapter(max_retries=once_more))
    session.trust_env = False
    session.headers["Connection"] = "close"  # archives close idle connections: a request on one would fail
    if config.auth.kind == "basic":
        session.auth = (config.auth.username, read_secret(config.auth))
    elif config.auth.kind == "bearer":
        session.headers["Authorization"] = f"Bearer {read_secret(config.auth)}"
    if config.tls.ca is not None:
        session.verify = str(config.tls.ca)
    if config.tls.certificate is not None and config.tls.key is not None:
        session.cert = (str(config.tls.certificate), str(config.tls.key))
    return session


def client_context(config: TlsConfig) -> ssl.SSLContext:
    """Returns the TLS settings of a DIMSE connection that the worker opens."""
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=_text(config.ca))
    return _with_certificate(context, config)


def server_context(config: TlsConfig) -> ssl.SSLContext:
    """Returns the TLS settings of the worker's port; with `ca`, callers must present a certificate.

    Raises:
        ValueError: no certificate is configured.
    """
    if config.certificate is None:
        raise ValueError("receiver.tls expects certificate and key; add them, or remove tls.")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=_text(config.ca))
    context.verify_mode = ssl.CERT_NONE if config.ca is None else ssl.CERT_REQUIRED
    return _with_certificate(context, config)


def _with_certificate(context: ssl.SSLContext, config: TlsConfig) -> ssl.SSLContext:
    if config.certificate is not None:
        context.load_cert_chain(config.certificate, config.key)
    return context


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
