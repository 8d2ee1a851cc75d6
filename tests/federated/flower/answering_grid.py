"""Flower's grid with nodes that answer in this process."""

from __future__ import annotations

from abc import ABC, abstractmethod


class AnsweringGrid(ABC):
    """Passes each message to its node, when it is sent or, after `push_messages`, when its answer is looked for.

    Attributes:
        late: {node: how often its answers to pushed messages are looked for in vain}.
    """

    def __init__(self):
        self.late = {}
        self._sent = {}

    @abstractmethod
    def get_node_ids(self):
        """Returns the connected nodes."""

    @abstractmethod
    def answer(self, message):
        """Returns a node's reply."""

    def send_and_receive(self, messages, *, timeout=None):
        return [self.answer(message) for message in messages]

    def push_messages(self, messages):
        for message in messages:
            message.metadata.__dict__["_message_id"] = f"message {len(self._sent)}"  # as Flower's own grids do
            self._sent[message.metadata.message_id] = message
        return [message.metadata.message_id for message in messages]

    def pull_messages(self, message_ids):
        return [self.answer(self._sent[name]) for name in message_ids if self._has_answered(self._sent[name])]

    def _has_answered(self, message):
        node = message.metadata.dst_node_id
        self.late[node] = self.late.get(node, 0) - 1
        return self.late[node] < 0
