"""An executor that keeps its wait set between two waits.

For each message, rclpy's ``SingleThreadedExecutor`` collects all entities of its nodes, enters some forty handles,
makes a wait set and a task, and wakes up a second time: 0.6 ms of CPU time, more than most callbacks take. Here
entities are collected only after one was created or destroyed: 0.25 ms.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from rclpy.exceptions import InvalidHandle
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation

if TYPE_CHECKING:
    from rclpy.context import Context
    from rclpy.node import Node

# What a wait set must have space for, by the names of rclpy's NumberOfEntities.
COUNTS = (
    "num_subscriptions",
    "num_guard_conditions",
    "num_timers",
    "num_clients",
    "num_services",
    "num_events",
)


class NodeExecutor(SingleThreadedExecutor):
    """Runs the callbacks of nodes in the thread that calls :meth:`spin`.

    Subscriptions and timers, whose callbacks must be plain functions, are served directly. Services, clients, events
    and coroutines are left to ``SingleThreadedExecutor``, which is asked whenever one of them may be ready.
    """

    def __init__(self, *, context: Context | None = None) -> None:
        super().__init__(context=context)
        self._entities: _Entities | None = None
        self._changed = True

    def wake(self) -> None:
        """Called by rclpy from any thread when an entity was created or destroyed."""
        self._changed = True
        super().wake()

    def add_node(self, node: Node) -> bool:
        """Add a node, as ``rclpy.executors.Executor``."""
        self._changed = True
        return super().add_node(node)

    def remove_node(self, node: Node) -> None:
        """Remove a node, as ``rclpy.executors.Executor``."""
        self._changed = True
        super().remove_node(node)

    def spin(self) -> None:
        """Run callbacks until the executor or its context is shut down.

        Raises:
            ExternalShutdownException: the context was shut down.
        """
        try:
            while not self._is_shutdown:
                self._wait_and_run()
        finally:
            self._release()

    def _release(self) -> None:
        if self._entities is not None:
            self._entities.close()
            self._entities = None

    def _wait_and_run(self) -> None:
        if self._changed:
            self._changed = False
            self._release()
        if self._entities is None:
            self._entities = _Entities(self.get_nodes(), (self._guard, self._sigint_gc), self.context)
        timers, subscriptions, others = self._entities.wait()
        if not self.context.ok():
            raise ExternalShutdownException
        for timer in timers:
            if timer.handle.is_timer_ready():  # an earlier callback may have cancelled it
                _run(self._take_timer(timer))
        for subscription in subscriptions:
            _run(self._take_subscription(subscription))
        if others and not self._is_shutdown:
            self.spin_once(timeout_sec=0)


class _Entities:
    """The entities of the nodes, protected from destruction, and a wait set with space for them."""

    def __init__(self, nodes: list[Node], guards: tuple[Any, ...], context: Any) -> None:
        self._stack = ExitStack()
        self._timers = self._usable(timer for node in nodes for timer in node.timers)
        self._subscriptions = self._usable(one for node in nodes for one in node.subscriptions)
        self._services = self._usable(service for node in nodes for service in node.services)
        self._clients = self._usable(client for node in nodes for client in node.clients)
        self._guards = self._usable((*guards, *(guard for node in nodes for guard in node.guards)))
        self._waitables = []
        self._stack.enter_context(context.handle)
        entities: tuple[dict[int, Any], ...]
        entities = (self._subscriptions, self._guards, self._timers, self._clients, self._services, {})
        counts = [len(of_a_kind) for of_a_kind in entities]
        for waitable in (waitable for node in nodes for waitable in node.waitables):
            try:
                self._stack.enter_context(waitable)
            except InvalidHandle:
                continue
            self._waitables.append(waitable)
            more = waitable.get_num_entities()
            for kind, number in enumerate(COUNTS):
                counts[kind] += getattr(more, number)
        self._wait_set = wait_set = rclpy_implementation.WaitSet(*counts, context.handle)
        self._additions = [
            (add, [entity.handle for entity in entities.values()])
            for add, entities in (
                (wait_set.add_timer, self._timers),
                (wait_set.add_subscription, self._subscriptions),
                (wait_set.add_service, self._services),
                (wait_set.add_client, self._clients),
                (wait_set.add_guard_condition, self._guards),
            )
        ]

    def close(self) -> None:
        """Let entities be destroyed again."""
        self._stack.close()

    def wait(self) -> tuple[list[Any], list[Any], bool]:
        """Wait until something is ready: timers, subscriptions, and whether anything else may be."""
        wait_set = self._wait_set
        wait_set.clear_entities()  # waiting removes what was not ready
        for add, handles in self._additions:
            for handle in handles:
                add(handle)
        for waitable in self._waitables:
            waitable.add_to_wait_set(wait_set)
        wait_set.wait(-1)
        timers = [self._timers[at] for at in wait_set.get_ready_entities("timer") if at in self._timers]
        ready = wait_set.get_ready_entities("subscription")
        subscriptions = [self._subscriptions[at] for at in ready if at in self._subscriptions]
        # Events of QoS have no query of their own; if nothing else was ready, it was one of them.
        others = not (timers or subscriptions) or any(
            wait_set.get_ready_entities(kind) for kind in ("guard_condition", "service", "client")
        )
        for at in wait_set.get_ready_entities("guard_condition"):
            if at in self._guards:
                self._guards[at]._executor_triggered = True  # waiting has taken it; rclpy triggers it again
        return timers, subscriptions, others

    def _usable(self, entities: Any) -> dict[int, Any]:
        """By address of the handle."""
        usable = {}
        for entity in entities:
            try:
                self._stack.enter_context(entity.handle)
            except InvalidHandle:  # destroyed meanwhile
                continue
            usable[entity.handle.pointer] = entity
        return usable


def _run(taken: Callable[[], Any] | None) -> None:
    """Run the callback of what rclpy took; it wraps callbacks into coroutines."""
    if taken is None:
        return
    coroutine = taken()
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()
    raise TypeError("callbacks of subscriptions and timers must be plain functions, not coroutines")
