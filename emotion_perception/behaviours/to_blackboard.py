"""Subscribers of emotion and attention: they write to the py_trees blackboard, where the conditions read."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any

import py_trees
from py_trees.common import Access, Status

from emotion_perception.behaviours.decision import Snapshot
from emotion_perception.behaviours.freshness import Freshness, StateWatch, describe_freshness
from emotion_perception.behaviours.person_decision import PersonsSnapshot

NAMESPACE = "/emotion"


def node_from(behaviour: py_trees.behaviour.Behaviour, kwargs: dict[str, Any]) -> Any:
    """The node passed to ``setup``, by the convention of py_trees_ros.

    Raises:
        KeyError: ``setup`` was called without ``node=``.
    """
    if "node" not in kwargs:
        raise KeyError(f"didn't find 'node' in setup's kwargs [{behaviour.name}][{type(behaviour).__name__}]")
    return kwargs["node"]


def clock_of(node: Any) -> Callable[[], int]:
    """The node's clock, ns; simulated time if the node uses it."""
    return lambda: int(node.get_clock().now().nanoseconds)


class _Subscriber(py_trees.behaviour.Behaviour):
    """Base: subscribes to a topic and writes the newest message to the blackboard at every tick.

    RUNNING until the first message, then SUCCESS whatever its age. Invalid messages are dropped, counted in
    ``rejected`` and reported in the feedback message.
    """

    def __init__(
        self,
        name: str,
        topic_name: str,
        qos_profile: Any,
        max_age: float,
        future_tolerance: float,
        namespace: str,
        keys: tuple[str, ...],
    ) -> None:
        super().__init__(name=name)
        self.topic_name = topic_name
        self.qos_profile = qos_profile
        self.rejected = 0
        self._watch: StateWatch[Any] = StateWatch(max_age, future_tolerance)
        self._inbox: deque[Any] = deque(maxlen=1)  # the newest message and its time of arrival; written from any thread
        self._message: Any = None
        self._received = False
        self._problem = ""
        self._now: Callable[[], int] | None = None
        self._node: Any = None
        self._subscription: Any = None
        self.blackboard = self.attach_blackboard_client(name=name, namespace=namespace)
        for key in keys:
            self.blackboard.register_key(key=key, access=Access.WRITE)
        self._write(Freshness.NOTHING_YET, math.inf)

    def setup(self, **kwargs: Any) -> None:
        """Subscribe.

        Raises:
            KeyError: ``setup`` was called without ``node=``.
        """
        self._node = node_from(self, kwargs)
        self._now = clock_of(self._node)
        from emotion_perception.ros import qos

        self._subscription = self._node.create_subscription(
            self._message_type(), self.topic_name, self._on_message, self.qos_profile or qos.profile("state")
        )

    def update(self) -> Status:
        """Write the newest message and its current age."""
        assert self._now is not None, "call setup(node=...) first"
        if self._inbox:
            self._take(*self._inbox.pop())
        freshness, age = self._watch.look(self._now())
        if self._watch.snapshot is None:  # none yet, or dropped after a clock jump
            self._message = None
        self._write(freshness, age)
        self.feedback_message = self._problem or describe_freshness(freshness, age)
        if freshness is Freshness.FRESH and not self._problem:
            self.feedback_message = f"{self._summary()}, {age:.1f} s old"
        return Status.SUCCESS if self._received else Status.RUNNING

    def shutdown(self) -> None:
        """Unsubscribe."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    def _on_message(self, message: Any) -> None:
        assert self._now is not None
        self._inbox.append((message, self._now()))

    def _take(self, message: Any, received_ns: int) -> None:
        from emotion_perception.ros.conversions import ConversionError

        try:
            snapshot = self._convert(message, received_ns)
        except ConversionError as error:
            self.rejected += 1
            self._problem = f"message dropped: {error}"
            return
        self._watch.offer(snapshot, received_ns)
        self._message, self._received, self._problem = message, True, ""

    @abstractmethod
    def _message_type(self) -> type[Any]: ...

    @abstractmethod
    def _convert(self, message: Any, received_ns: int) -> Any:
        """The snapshot in a message; raises ConversionError."""

    @abstractmethod
    def _write(self, freshness: Freshness, age: float) -> None:
        """Write to the blackboard."""

    @abstractmethod
    def _summary(self) -> str:
        """A fresh message in a few words."""


class ToBlackboard(_Subscriber):
    """Subscribes to the emotion state and writes it to the blackboard at every tick.

    RUNNING until the first message, then SUCCESS whatever its age; the conditions check the age.

    Usage::

        both = py_trees.common.ParallelPolicy.SuccessOnAll(synchronise=False)
        root = py_trees.composites.Parallel("Root", policy=both)
        root.add_children([ToBlackboard(), my_reactions])  # a selector whose last child never fails
        tree = py_trees.trees.BehaviourTree(root)
        tree.setup(node=node)

    Args:
        name: name of the behaviour.
        topic_name: topic of type ``emotion_msgs/EmotionState``; relative, so that namespaces and remappings apply.
        qos_profile: default: reliable, transient_local, depth 1, as published by the fusion node.
        max_age: s; an older state is marked stale on the blackboard.
        future_tolerance: s a stamp may be ahead of the node's clock.
        namespace: blackboard namespace.

    Blackboard Variables:
        * /emotion/snapshot: the last state and its time of arrival, ``decision.Snapshot``, None before the first
        message (w)
        * /emotion/message: the message itself, ``emotion_msgs/EmotionState``, or None (w)
        * /emotion/age: s since capture, ``inf`` without a state (w)
        * /emotion/freshness: ``fresh``, ``stale``, ``from the future`` or ``nothing received yet`` (w)
        * /emotion/label: name of the emotion; empty without evidence or if not fresh (w)

    Invalid messages are dropped, counted in ``rejected`` and reported in the feedback message.
    """

    def __init__(
        self,
        name: str = "EmotionToBlackboard",
        topic_name: str = "emotion_state",
        qos_profile: Any = None,
        max_age: float = 2.0,
        future_tolerance: float = 0.5,
        namespace: str = NAMESPACE,
    ) -> None:
        keys = ("snapshot", "message", "age", "freshness", "label")
        super().__init__(name, topic_name, qos_profile, max_age, future_tolerance, namespace, keys)

    def _message_type(self) -> type[Any]:
        from emotion_msgs.msg import EmotionState

        return EmotionState

    def _convert(self, message: Any, received_ns: int) -> Snapshot:
        from emotion_perception.ros.conversions import state_from_message

        return Snapshot(state_from_message(message), received_ns)

    def _write(self, freshness: Freshness, age: float) -> None:
        snapshot: Snapshot | None = self._watch.snapshot
        usable = snapshot is not None and freshness is Freshness.FRESH and snapshot.has_evidence
        self.blackboard.snapshot = snapshot
        self.blackboard.message = self._message
        self.blackboard.age = age
        self.blackboard.freshness = freshness.value
        self.blackboard.label = snapshot.state.emotion.name if usable and snapshot is not None else ""

    def _summary(self) -> str:
        return self.blackboard.label or "no evidence"


class PersonsToBlackboard(_Subscriber):
    """Subscribes to the attention of all persons and writes it to the blackboard at every tick.

    Always SUCCESS, as attention is optional: a tree also runs where it is not published. The conditions check the age.

    Usage::

        root.add_children([ToBlackboard(), PersonsToBlackboard(), my_reactions])

    Args:
        name: name of the behaviour.
        topic_name: topic of type ``emotion_msgs/PersonStateArray``; relative.
        qos_profile, max_age, future_tolerance, namespace: as for :class:`ToBlackboard`.

    Blackboard Variables:
        * /emotion/persons: the last array and its time of arrival, ``person_decision.PersonsSnapshot``, None before
        the first message (w)
    """

    def __init__(
        self,
        name: str = "PersonsToBlackboard",
        topic_name: str = "person_states",
        qos_profile: Any = None,
        max_age: float = 2.0,
        future_tolerance: float = 0.5,
        namespace: str = NAMESPACE,
    ) -> None:
        super().__init__(name, topic_name, qos_profile, max_age, future_tolerance, namespace, ("persons",))

    def update(self) -> Status:
        """Write the newest array."""
        super().update()
        return Status.SUCCESS

    def _message_type(self) -> type[Any]:
        from emotion_msgs.msg import PersonStateArray

        return PersonStateArray

    def _convert(self, message: Any, received_ns: int) -> PersonsSnapshot:
        from emotion_perception.ros.conversions import persons_from_message, stamp_to_ns

        return PersonsSnapshot(persons_from_message(message), stamp_to_ns(message.header.stamp), received_ns)

    def _write(self, freshness: Freshness, age: float) -> None:
        self.blackboard.persons = self._watch.snapshot

    def _summary(self) -> str:
        states = self._watch.snapshot.states if self._watch.snapshot is not None else ()
        names = (f"{state.person_id or state.face_id} {state.engagement.name.lower()}" for state in states)
        return ", ".join(names) or "nobody"
