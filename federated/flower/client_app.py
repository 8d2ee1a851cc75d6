"""Flower's app of a site. Flower may start a new process for each message, so the client's state is on disk.

The node's configuration names the site's own file (`site-file`), a YAML file with the entries of `Site`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from mtmedformer_monai.federated.job.local_file import local_site
from mtmedformer_monai.federated.job.settings import JobSettings
from mtmedformer_monai.federated.simulation.worker import make_client
from mtmedformer_monai.federated.site_session import SiteSession
from mtmedformer_monai.federated.sites_file import NAME, Site

from .messages import MEASURE, SETTINGS, SITE, STEP, TRAIN, from_record, read_json, to_record

SITE_FILE: Final = "site-file"

app = ClientApp()


@app.train()  # type: ignore[untyped-decorator]
def answer(task: Message, context: Context) -> Message:
    """Returns a site's answer to a task: its initial losses, or its message of a round.

    Raises:
        ValueError: the task or the site's own file is not valid; Flower reports it to the server.
    """
    broadcast, entries = from_record(task.content)
    site = own_site(context)
    settings = JobSettings.from_dict(read_json(entries[SETTINGS], SETTINGS))
    if site.num_threads:
        torch.set_num_threads(site.num_threads)
    spec = settings.spec(site)
    session = SiteSession(lambda: make_client(spec), spec.folder / "client")
    steps = {MEASURE: session.measure, TRAIN: session.train}
    if entries[STEP] not in steps:
        raise ValueError(f"a task expects one of {sorted(steps)}, got {entries[STEP]!r}.")
    return Message(to_record(steps[entries[STEP]](broadcast), **{SITE: site.name}), reply_to=task)


def own_site(context: Context) -> Site:
    """Returns the settings in the site's own file.

    Raises:
        ValueError: the node's configuration names no file, or the file no site.
    """
    path = Path(str(context.node_config.get(SITE_FILE, "")))
    if not path.is_file():
        raise ValueError(f"""the node expects its file: flower-supernode --node-config '{SITE_FILE}="FILE"'.""")
    site = local_site(path, path.with_suffix(""))  # sites whose files share a folder have outputs of their own
    if not NAME.fullmatch(site.name):
        raise ValueError(f"{path} expects a name of letters, digits, '_', '.' and '-', got {site.name!r}.")
    return site
