"""FLARE's client component: runs `client.py` of the installed package, so that a job ships no code."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from nvflare.apis.event_type import EventType
from nvflare.apis.executor import Executor
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal
from nvflare.app_common.executors.client_api_executor import ClientAPIExecutor, ExecutionMode
from nvflare.client.config import ExchangeFormat

from mtmedformer_monai.federated.job.local_file import LOCAL_FILE

from .scope_filters import as_sums, take_over

SCRIPT = Path(__file__).with_name("client.py")


class SiteExecutor(Executor):
    """Wraps FLARE's `ClientAPIExecutor`, in the job's process at the site, with tensors exchanged as tensors.

    Args:
        site_file: the site's own settings; default `local/mtmedformer.yaml` of its workspace.
    """

    def __init__(self, site_file: str = "") -> None:
        super().__init__()
        self.site_file = site_file
        self._wrapped: ClientAPIExecutor | None = None

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Builds the wrapped executor when the job starts, and passes all events on to it."""
        if event_type == EventType.START_RUN:
            self._wrapped = self._build(fl_ctx)
        if self._wrapped is not None:
            self._wrapped.handle_event(event_type, fl_ctx)

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        """Returns the script's result of a task."""
        if self._wrapped is None:
            raise RuntimeError("execute is called before the job has started.")
        take_over(fl_ctx)
        return as_sums(self._wrapped.execute(task_name, shareable, fl_ctx, abort_signal))

    def _build(self, fl_ctx: FLContext) -> ClientAPIExecutor:
        workspace: Any = fl_ctx.get_prop(FLContextKey.WORKSPACE_OBJECT)
        file = self.site_file or str(Path(workspace.get_site_config_dir()) / LOCAL_FILE)
        return ClientAPIExecutor(
            ExecutionMode.IN_PROCESS,
            task_script_path=str(SCRIPT),
            task_script_args=f"{quote(file)} {quote(str(Path(workspace.get_root_dir()).resolve()))}",
            params_exchange_format=ExchangeFormat.PYTORCH,
            server_expected_format=ExchangeFormat.PYTORCH,
        )
