"""The YAML file that lists the sites of a federation, and the file in which a site keeps its own settings.

sites:
  - name: hospital_a
    datalist: /data/a/datalist.json
  - name: hospital_b
    dataset_dir: /data/b            # its datalist.json
    overrides: {batch_size: 4}
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mtmedformer_monai.io.config_text import config_text

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
TAKEN = re.compile(r"(?i)global|server|pooled|everything|mlruns|.*\.(pt|json|png|db)")
"""Names of other things in a federation's folders and metrics, of which a site would take the place."""
PATHS = ("bundle", "datalist", "dataset_dir", "output")


@dataclass(frozen=True)
class Site:
    """What a site keeps to itself. Empty paths stand for the defaults of the engine or of the bundle.

    Attributes:
        name: of the site.
        bundle: folder of the bundle.
        datalist: file.
        dataset_dir: folder of the images; the bundle's default datalist is its `datalist.json`.
        output: folder for the site's state and results.
        num_threads: number of threads of torch; 0 leaves it to torch.
        options: `ClientOptions`, by name.
        overrides: of the bundle's config: {id: value}.
    """

    name: str = ""
    bundle: str = ""
    datalist: str = ""
    dataset_dir: str = ""
    output: str = ""
    num_threads: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def data_overrides(self) -> dict[str, Any]:
        """Returns the overrides of the bundle's config that select the site's images."""
        return {name: config_text(getattr(self, name)) for name in ("dataset_dir", "datalist") if getattr(self, name)}


def read_sites(path: str | Path) -> list[Site]:
    """Reads the sites of a federation; relative paths are relative to the file.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it is not a list of sites with different names.
    """
    content = _read(path)
    listed = content.get("sites") if isinstance(content, Mapping) else None
    if not isinstance(listed, list) or not listed:
        raise ValueError(f"{path} expects a list of sites under 'sites', each with a name; see docs/flare.md.")
    sites = [_site(each, Path(path)) for each in listed]
    names = [site.name for site in sites]
    for name in names:
        if not NAME.fullmatch(name):
            raise ValueError(f"{path} expects site names of letters, digits, '_', '.' and '-', got {name!r}.")
        if TAKEN.fullmatch(name):
            raise ValueError(f"{path} has a site {name!r}, which a federation calls something else; rename the site.")
    if len({name.casefold() for name in names}) < len(names):
        raise ValueError(f"{path} expects different names of sites, got {', '.join(sorted(names))}.")
    return sites


def read_site(path: str | Path) -> Site:
    """Reads a site's own settings, the entries of `Site`; relative paths are relative to the file.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it holds something else.
    """
    return _site(_read(path), Path(path))


def site_text(site: Site) -> str:
    """Returns a site's settings as YAML, for `read_site`."""
    import yaml

    return yaml.safe_dump({name: value for name, value in dataclasses.asdict(site).items() if value}, sort_keys=False)


def _read(path: str | Path) -> Any:
    import yaml

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"a file with sites is expected at {path}; see docs/flare.md for its entries.")
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"{path} expects YAML: {error}") from error


def _site(content: Any, path: Path) -> Site:
    known = {each.name for each in dataclasses.fields(Site)}
    if not isinstance(content, Mapping) or set(content) - known:
        unknown = sorted(set(content) - known) if isinstance(content, Mapping) else content
        raise ValueError(f"{path} expects the entries {', '.join(sorted(known))} of a site, got {unknown}.")
    values = dict(content)
    for name in PATHS:
        if values.get(name):
            values[name] = str((path.resolve().parent / str(values[name])).resolve())
    for name in ("options", "overrides"):
        if not isinstance(values.get(name, {}), Mapping):
            raise ValueError(f"{path} expects values by name under {name!r}, got {values[name]!r}.")
    return Site(**{**values, "name": str(values.get("name", ""))})
