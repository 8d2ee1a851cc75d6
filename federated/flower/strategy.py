"""A Flower strategy that runs any strategy of this package: its server state is a `ServerSession`."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Sequence

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy
from monai.fl.utils.exchange_object import ExchangeObject

from mtmedformer_monai.federated.job.settings import JobSettings
from mtmedformer_monai.federated.server_session import ServerSession
from mtmedformer_monai.federated.sites_file import NAME

from .messages import MEASURE, SETTINGS, SITE, STEP, TRAIN, from_record, to_arrays, to_record

logger = logging.getLogger("mtmedformer")

PERIOD = 1.0
"""Seconds between two looks at the connected nodes, or at their answers."""

PATIENCE = 30.0
"""Seconds that a round waits at most for the names and tasks of nodes that are new."""


class SessionStrategy(Strategy):
    """Runs the rounds of a session over Flower. Each site gets its own broadcast.

    Args:
        session: server of the federation.
        settings: of the federation; without `min_sites`, all sites are needed.
        num_sites: number of nodes that must be connected.
    """

    def __init__(self, session: ServerSession, settings: JobSettings, num_sites: int) -> None:
        self._session, self._given, self._num_sites = session, settings, num_sites
        self._node_of: dict[str, int] = {}
        self._asked: dict[str, int] = {}

    def summary(self) -> None:
        """Logs the strategy."""
        logger.info("%s of %d sites, %d rounds", self._given.strategy, self._num_sites, self._given.num_rounds)

    def prepare(self, grid: Grid) -> None:
        """Waits for the nodes, and collects their names and initial losses.

        Raises:
            RuntimeError: too few sites answer, or two have the same name.
        """
        self._measure(grid, self._wait_for_nodes(grid))
        self._need(list(self._node_of), "initial losses")

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Returns the tasks of the sites whose message of this round is missing.

        Nodes that have connected since the last round are asked for their name and tasks first. One that is silent for
        longer than `PATIENCE` holds up this round only, and takes part once it has answered.
        """
        self._ask_new_nodes(grid)
        return [
            self._task(self._session.broadcast(site), TRAIN, self._node_of[site])
            for site in self._session.missing(sorted(self._node_of))
        ]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Adds the messages and closes the round.

        Returns:
            The next global weights, and the number of sites.

        Raises:
            RuntimeError: too few messages were accepted; start the app again to resume.
        """
        for reply in replies:
            self._accept(reply, self._session.add, named=True)
        sites = list(self._session.aggregator.clients)
        self._need(sites, f"round {self._session.aggregator.round + 1}")
        self._session.close_round()
        arrays = to_arrays(self._session.aggregator.broadcast().weights or {})
        return arrays, MetricRecord({"num_sites": len(sites)})

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Returns no tasks: the sites evaluate the final model as a bundle."""
        return []

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Returns no metrics."""
        return None

    def _measure(self, grid: Grid, nodes: Sequence[int]) -> None:
        """Collects the names of nodes and their initial losses or, if a federation resumes, the tasks of new sites."""
        for reply in grid.send_and_receive(self._questions(nodes), timeout=self._given.round_timeout or None):
            self._accept(reply, self._add_told, named=False)

    def _questions(self, nodes: Sequence[int]) -> list[Message]:
        broadcast = self._session.broadcast("")
        return [self._task(broadcast, MEASURE, node) for node in nodes]

    def _ask_new_nodes(self, grid: Grid) -> None:
        """Asks each new node once, and accepts the answers of all that were asked."""
        seen = {*self._node_of.values(), *self._asked.values()}
        nodes = [node for node in sorted(grid.get_node_ids()) if node not in seen]
        if nodes:
            sent = grid.push_messages(self._questions(nodes))
            self._asked |= {name: node for name, node in zip(sent, nodes, strict=False) if name}  # others: next round
        self._hear(grid)
        until = time.monotonic() + PATIENCE
        while nodes and set(nodes) & set(self._asked.values()) and time.monotonic() < until:
            time.sleep(PERIOD)
            self._hear(grid)

    def _hear(self, grid: Grid) -> None:
        """Accepts the answers that have arrived from new nodes."""
        for reply in grid.pull_messages(list(self._asked)) if self._asked else ():
            self._asked.pop(reply.metadata.reply_to_message_id, None)
            self._accept(reply, self._add_told, named=False)

    def _wait_for_nodes(self, grid: Grid) -> Sequence[int]:
        while len(nodes := sorted(grid.get_node_ids())) < self._num_sites:
            time.sleep(PERIOD)
        return nodes

    def _task(self, broadcast: ExchangeObject, step: str, node: int) -> Message:
        entries = {STEP: step, SETTINGS: json.dumps(self._given.to_dict())}
        return Message(to_record(broadcast, **entries), dst_node_id=node, message_type="train")

    def _accept(self, reply: Message, add: Callable[[ExchangeObject, str], object], named: bool) -> None:
        """Adds a reply, unless it is an error, or has no name of a site or another one than its node had before."""
        node = reply.metadata.src_node_id
        known = next((site for site, each in self._node_of.items() if each == node), "")
        label = known or f"node {node}"
        if reply.has_error():
            self._session.refuse(label, f"error {reply.error.code} at the site; see its log")
            return
        try:
            exchange, entries = from_record(reply.content)
        except (ValueError, TypeError) as error:
            self._session.refuse(label, str(error))
            return
        site = entries.get(SITE, "")
        if not NAME.fullmatch(site):
            self._session.refuse(label, f"it answers as {site!r}; names consist of letters, digits, '_', '.' and '-'")
            return
        if self._node_of.get(site, node) != node or (named and site != known):
            self._session.refuse(label, f"it answers as {site!r}, which is another node")
            return
        self._node_of[site] = node
        add(exchange, site)

    def _add_told(self, exchange: ExchangeObject, site: str) -> None:
        if self._session.aggregator.round == 0:
            if self._session.unmeasured([site]):
                self._session.add_losses(exchange, site)
        elif self._session.unknown([site]):
            self._session.introduce(exchange, site)

    def _need(self, sites: Sequence[str], step: str) -> None:
        needed = self._given.min_sites or self._num_sites
        if len(sites) < needed:
            raise RuntimeError(
                f"{step}: the messages of {needed} sites are needed, got {len(sites)} "
                f"(refused: {self._session.refused or 'none'}); start the app again to resume, or set min-sites."
            )
