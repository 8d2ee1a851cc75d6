"""The configuration of the worker, `serve.yaml`; docs/clinic.md shows one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from .config_values import build

CR_DX_MG = (
    "1.2.840.10008.5.1.4.1.1.1",  # Computed Radiography
    "1.2.840.10008.5.1.4.1.1.1.1",  # Digital X-Ray, For Presentation
    "1.2.840.10008.5.1.4.1.1.1.1.1",  # Digital X-Ray, For Processing
    "1.2.840.10008.5.1.4.1.1.1.2",  # Digital Mammography X-Ray, For Presentation
    "1.2.840.10008.5.1.4.1.1.1.2.1",  # Digital Mammography X-Ray, For Processing
)
"""SOP classes of 2D projection radiographs (DICOM PS3.4 B.5)."""


@dataclass(frozen=True)
class TlsConfig:
    """Transport Layer Security of one connection or port.

    Attributes:
        ca: file with the certificates of the authorities that are trusted; None trusts those of the system.
        certificate: file with the worker's own certificate, which the other side asks for; None presents none.
        key: file with the private key of `certificate`.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        """Checks that the files exist; raises FileNotFoundError or ValueError."""
        for item in fields(self):
            path = getattr(self, item.name)
            if path is not None and not path.is_file():
                raise FileNotFoundError(f"tls.{item.name} expects a file, found none at {path}.")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("tls expects certificate and key together; add the missing one.")


@dataclass(frozen=True)
class AuthConfig:
    """HTTP authentication to the archive. The secret itself is never in the file.

    Attributes:
        kind: 'none', 'basic' (user name and password), or 'bearer' (token).
        username: user name of 'basic'.
        secret_env: name of the environment variable with the password or token.
        secret_file: file with the password or token; surrounding white space is ignored.
    """

    kind: Literal["none", "basic", "bearer"] = "none"
    username: str = ""
    secret_env: str = ""
    secret_file: Path | None = None

    def __post_init__(self) -> None:
        """Checks that exactly one source of the secret is named."""
        if self.kind != "none" and bool(self.secret_env) == bool(self.secret_file):
            raise ValueError(f"auth of kind {self.kind!r} expects either secret_env or secret_file; name one of them.")


@dataclass(frozen=True)
class ArchiveConfig:
    """The archive that is watched.

    Attributes:
        url: root of the archive's DICOMweb service, such as http://127.0.0.1:8042/dicom-web; '' watches none, for a
            worker that only receives images.
        feed: 'orthanc' follows Orthanc's change log, 'qido' searches repeatedly, 'none' only receives images.
        orthanc_url: root of Orthanc's REST API; '' takes `url` without its last part.
        start: where the very first start begins: 'now', or 'beginning' to process all that the archive holds.
        lookback_days: with 'qido', how many days of studies (by Study Date) each search covers.
        poll_seconds: pause between two looks at the archive.
        page: number of entries that are asked for at once.
        timeout_seconds: how long an answer may take.
        auth: HTTP authentication.
        tls: certificates for https.
    """

    url: str = ""
    feed: Literal["orthanc", "qido", "none"] = "orthanc"
    orthanc_url: str = ""
    start: Literal["now", "beginning"] = "now"
    lookback_days: int = 7
    poll_seconds: float = 5.0
    page: int = 100
    timeout_seconds: float = 30.0
    auth: AuthConfig = field(default_factory=AuthConfig)
    tls: TlsConfig = field(default_factory=TlsConfig)

    def __post_init__(self) -> None:
        """Checks the addresses and numbers."""
        for name in ("url", "orthanc_url"):
            parts = urlsplit(getattr(self, name))
            if getattr(self, name) and (parts.scheme not in ("http", "https") or not parts.hostname):
                raise ValueError(f"archive.{name} expects http://HOST:PORT/PATH or https://..., got another address.")
            if parts.username or parts.password:
                raise ValueError(f"archive.{name} contains a user name or password; use archive.auth instead.")
        if self.url == "" and self.feed != "none":
            raise ValueError("archive.url is missing; add it, or set archive.feed to none to only receive images.")
        _check_positive(self, "archive", "lookback_days", "poll_seconds", "page", "timeout_seconds")


@dataclass(frozen=True)
class StoreConfig:
    """Where results go.

    Attributes:
        by: 'stow' (DICOMweb, to `archive.url`) or 'cstore' (DIMSE, to the host below).
        host: host of the C-STORE receiver.
        port: port of the C-STORE receiver.
        called_ae: its application entity title.
        calling_ae: the worker's application entity title.
        tls: certificates; None connects without TLS.
    """

    by: Literal["stow", "cstore"] = "stow"
    host: str = "127.0.0.1"
    port: int = 4242
    called_ae: str = "ORTHANC"
    calling_ae: str = "MTMEDFORMER"
    tls: TlsConfig | None = None


@dataclass(frozen=True)
class ReceiverConfig:
    """The worker's own C-STORE port (Storage SCP).

    Attributes:
        enabled: whether the port is open.
        host: address to listen on; '' listens on all.
        port: port; 0 takes a free one.
        ae_title: the worker's application entity title.
        callers: titles of the application entities that may send; empty admits all.
        max_associations: how many may send at the same time.
        tls: certificates; None listens without TLS.
    """

    enabled: bool = False
    host: str = "127.0.0.1"
    port: int = 11112
    ae_title: str = "MTMEDFORMER"
    callers: tuple[str, ...] = ()
    max_associations: int = 4
    tls: TlsConfig | None = None


@dataclass(frozen=True)
class RulesConfig:
    """Which images are processed; see `rules.py`.

    Attributes:
        sop_classes: SOP Class UIDs.
        modalities: values of Modality; empty takes those of the bundle.
        intents: values of Presentation Intent Type; images that state none (computed radiography) are processed.
        admission: {rule: 'pass', 'flag' or 'refuse'}, changes of the bundle's admission rules.
    """

    sop_classes: tuple[str, ...] = CR_DX_MG
    modalities: tuple[str, ...] = ()
    intents: tuple[str, ...] = ("FOR PRESENTATION",)
    admission: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LimitsConfig:
    """Bounds on disk space and repetition.

    Attributes:
        spool_mb: size of the spool at which no more images are taken.
        min_free_mb: free disk space below which no more images are taken.
        max_object_mb: largest image that is taken.
        max_attempts: attempts of one step before a case is given up as failed.
        retry_seconds: pause before the first repetition; it doubles with each further one.
        max_retry_seconds: longest pause.
    """

    spool_mb: int = 4096
    min_free_mb: int = 1024
    max_object_mb: int = 1024
    max_attempts: int = 8
    retry_seconds: float = 5.0
    max_retry_seconds: float = 900.0

    def __post_init__(self) -> None:
        """Checks the numbers."""
        _check_positive(self, "limits", *(item.name for item in fields(self) if item.name != "min_free_mb"))


@dataclass(frozen=True)
class DeidentifyConfig:
    """De-identification of images before inference; results then carry pseudonyms instead of the patient.

    Attributes:
        enabled: whether images are de-identified.
        key_file: file with the secret key of the pseudonyms, 16 bytes or more.
        uids: 'keep' the UIDs, so that results are filed with their study, or 'replace' them.
    """

    enabled: bool = False
    key_file: Path | None = None
    uids: Literal["keep", "replace"] = "keep"

    def __post_init__(self) -> None:
        """Checks that the key is named."""
        if self.enabled and self.key_file is None:
            raise ValueError("deidentify.enabled expects deidentify.key_file; write a key by 'openssl rand -hex 32'.")


@dataclass(frozen=True)
class HealthConfig:
    """The port of /health and /metrics; it needs no authentication and shows no patient attribute."""

    host: str = "127.0.0.1"
    port: int = 9108


@dataclass(frozen=True)
class AuditConfig:
    """The audit log.

    Attributes:
        file: JSON lines; None writes `audit.jsonl` in the worker's folder.
        hash_uids: whether UIDs are replaced by keyed hashes (HMAC-SHA256).
        key_env: name of the environment variable with the key of the hashes.
    """

    file: Path | None = None
    hash_uids: bool = False
    key_env: str = "MTMEDFORMER_AUDIT_KEY"


@dataclass(frozen=True)
class ServeConfig:
    """The whole configuration.

    Attributes:
        bundle: folder of the bundle.
        folder: the worker's own folder: state, spool and audit log.
        archive, store, receiver, rules, limits, health, audit, deidentify: see their classes.
    """

    bundle: Path
    folder: Path
    archive: ArchiveConfig = field(default_factory=lambda: ArchiveConfig(feed="none"))
    store: StoreConfig = field(default_factory=StoreConfig)
    receiver: ReceiverConfig = field(default_factory=ReceiverConfig)
    rules: RulesConfig = field(default_factory=RulesConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    health: HealthConfig = field(default_factory=HealthConfig)
    audit: AuditConfig = field(default_factory=AuditConfig)
    deidentify: DeidentifyConfig = field(default_factory=DeidentifyConfig)

    def __post_init__(self) -> None:
        """Checks that images can come and results can go."""
        if self.archive.feed == "none" and not self.receiver.enabled:
            raise ValueError("no source of images: set archive.feed and archive.url, or receiver.enabled.")
        if self.store.by == "stow" and not self.archive.url:
            raise ValueError("store.by stow needs archive.url; add it, or set store.by to cstore.")


def load_config(path: str | Path) -> ServeConfig:
    """Reads `serve.yaml`; relative paths are relative to its folder.

    Raises:
        FileNotFoundError: the file, or a file that it names, does not exist.
        ValueError: the file is not YAML, or a key or value is wrong; the message names it.
    """
    import yaml

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"--config expects a file, found none at {path}; docs/clinic.md shows one.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        line = getattr(getattr(error, "problem_mark", None), "line", -1) + 1
        raise ValueError(f"{path} is not YAML (line {line}: {getattr(error, 'problem', None)}); correct it.") from None
    return build(ServeConfig, content, "", path.resolve().parent)


def _check_positive(config: object, where: str, *names: str) -> None:
    for name in names:
        if getattr(config, name) <= 0:
            raise ValueError(f"{where}.{name} expects a positive number, got {getattr(config, name)}.")
