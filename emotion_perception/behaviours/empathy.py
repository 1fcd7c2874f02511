"""Example tree of an empathetic service robot, and the behaviours that publish its choice.

At every tick it chooses one of :data:`ACTIONS`, most urgent first, and publishes its name on a topic when it changes.
Speech, base and light drivers subscribe to that topic, or your own behaviours are added to the tree (``own_actions``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import py_trees
from py_trees.common import Access, ParallelPolicy, Status

from emotion_perception.behaviours.conditions import (
    EmotionTrend,
    HasEvidence,
    IsEmotion,
    IsGrowingUnhappy,
    IsNewcomer,
    IsUpset,
    Resting,
)
from emotion_perception.behaviours.person_conditions import IsAttending, IsEngaged, IsSpeaking, PersonApproaches
from emotion_perception.behaviours.to_blackboard import NAMESPACE, PersonsToBlackboard, ToBlackboard, node_from

# Action names, most urgent first, and what the robot should do.
ACTIONS: dict[str, str] = {
    "soften_and_step_back": "Angry or fearful: lower voice and speed, keep distance, no jokes.",
    "apologise_and_offer_staff": "The customer becomes or stays unhappy: apologise, offer a human.",
    "greet": "A person arrived or walks up: look at them and say hello.",
    "celebrate": "Happy: share the joy with voice, light or motion.",
    "attend": "A person is present, no other reaction applies or the person is speaking: listen.",
    "idle": "Nobody is present, or there is no evidence: do not react.",
}


class ChooseAction(py_trees.behaviour.Behaviour):
    """Writes the name of an action to the blackboard; always SUCCESS.

    Usage::

        py_trees.composites.Sequence("Celebrate", memory=False, children=[happy, ChooseAction("celebrate")])

    Args:
        action: its name, not empty.
        namespace: blackboard namespace.

    Blackboard Variables:
        * /emotion/action: the action (w)
    """

    def __init__(self, action: str, namespace: str = NAMESPACE) -> None:
        if not action:
            raise ValueError("an action must have a name")
        super().__init__(name=action)
        self.action = action
        self.blackboard = self.attach_blackboard_client(name=action, namespace=namespace)
        self.blackboard.register_key(key="action", access=Access.WRITE)

    def update(self) -> Status:
        """Write the action."""
        self.blackboard.action = self.action
        return Status.SUCCESS


class PublishAction(py_trees.behaviour.Behaviour):
    """Publishes the chosen action as ``std_msgs/String`` when it changes; latched for late subscribers.

    Always SUCCESS. Publishes ``idle`` when the tree is shut down.

    Usage::

        root.add_children([ToBlackboard(), reactions, PublishAction()])  # last: publishes the choice of this tick

    Args:
        name: name of the behaviour.
        topic_name: relative, so that namespaces and remappings apply.
        namespace: blackboard namespace.

    Blackboard Variables:
        * /emotion/action: the action (r)
    """

    def __init__(
        self, name: str = "PublishAction", topic_name: str = "emotion/action", namespace: str = NAMESPACE
    ) -> None:
        super().__init__(name=name)
        self.topic_name = topic_name
        self.published = ""  # the last published action
        self._node: Any = None
        self._publisher: Any = None
        self.blackboard = self.attach_blackboard_client(name=name, namespace=namespace)
        self.blackboard.register_key(key="action", access=Access.READ)

    def setup(self, **kwargs: Any) -> None:
        """Create the publisher.

        Raises:
            KeyError: ``setup`` was called without ``node=``.
        """
        self._node = node_from(self, kwargs)
        from std_msgs.msg import String

        from emotion_perception.ros import qos

        self._publisher = self._node.create_publisher(String, self.topic_name, qos.profile("state"))

    def update(self) -> Status:
        """Publish the action if it changed."""
        action = self.blackboard.action if self.blackboard.exists("action") else "idle"
        if action != self.published:
            self._publish(action)
        self.feedback_message = self.published
        return Status.SUCCESS

    def shutdown(self) -> None:
        """Publish ``idle``, so that no outdated action stays latched."""
        if self._publisher is None:
            return
        from rclpy.duration import Duration

        if self.published != "idle" and self._node.context.ok():
            self._publish("idle")
            self._publisher.wait_for_all_acked(Duration(seconds=0.5))
        self._node.destroy_publisher(self._publisher)
        self._publisher = None

    def _publish(self, action: str) -> None:
        from std_msgs.msg import String

        self._publisher.publish(String(data=action))
        self.published = action


def create_root(
    max_age: float = 2.0,
    own_actions: Mapping[str, py_trees.behaviour.Behaviour] | None = None,
    topic_name: str = "emotion_state",
    action_topic: str = "emotion/action",
    namespace: str = NAMESPACE,
    persons_topic: str = "person_states",
) -> py_trees.behaviour.Behaviour:
    """The example tree; independent of ROS until ``setup(node=...)``.

    Args:
        max_age: s since capture; older states cause no reaction. 2 s suits a robot with a camera. A robot with only a
            microphone may use 5 s, the time for which the fusion node uses an utterance as evidence.
        own_actions: behaviours by action name (:data:`ACTIONS`), ticked after the action was chosen. A behaviour is
            stopped when a more urgent action is chosen; if it fails, the next less urgent action is tried.
        topic_name: topic with ``emotion_msgs/EmotionState``.
        action_topic: topic for the chosen action, ``std_msgs/String``.
        namespace: blackboard namespace; one per person or robot.
        persons_topic: topic with ``emotion_msgs/PersonStateArray``. Without it, the tree reacts to emotions alone.

    Raises:
        ValueError: an unknown action in ``own_actions``.
    """
    own = dict(own_actions or {})
    unknown = set(own) - set(ACTIONS)
    if unknown:
        raise ValueError(f"unknown action {', '.join(sorted(unknown))}; actions are {', '.join(ACTIONS)}")
    trust: dict[str, Any] = {"max_age": max_age, "namespace": namespace}

    def reaction(action: str, *conditions: py_trees.behaviour.Behaviour) -> py_trees.behaviour.Behaviour:
        leaves = [ChooseAction(action, namespace), *([own[action]] if action in own else [])]
        if len(leaves) == 1 and not conditions:
            return leaves[0]
        name = action.replace("_", " ").capitalize()
        return py_trees.composites.Sequence(name, memory=False, children=[*conditions, *leaves])

    def sequence(name: str, *children: py_trees.behaviour.Behaviour) -> py_trees.behaviour.Behaviour:
        return py_trees.composites.Sequence(name, memory=False, children=list(children))

    def silent(name: str) -> py_trees.behaviour.Behaviour:
        """The partner is not speaking; also if that is not known. Last in a sequence, so that conditions keep time."""
        return py_trees.decorators.Inverter(name, IsSpeaking(name.replace("Silent", "Speaking"), **trust))

    # Stepping back too late is worse than stepping back needlessly: lower threshold, short hold, no rest.
    threatened = IsEmotion(
        "Angry or fearful?", ("angry", "fearful"), enter=0.5, leave=0.35, hold=0.3, dwell=2.0, **trust
    )
    unhappy = py_trees.composites.Selector(
        "Unhappy?",
        memory=False,
        children=[
            IsUpset("Upset for 3 s?", hold=3.0, **trust),
            IsGrowingUnhappy(dwell=3.0, **trust),
            EmotionTrend("Valence falling for 20 s?", dwell=3.0, **trust),
        ],
    )
    # Where attention is not known, every newcomer is greeted.
    arrives = py_trees.composites.Selector(
        "Arrives?",
        memory=False,
        children=[
            sequence(
                "Newcomer who looks here?",
                IsNewcomer(**trust),
                IsAttending("Looks here?", hold=0.0, on_stale="SUCCESS", **trust),
            ),
            sequence(
                "Walks up?",
                PersonApproaches(**trust),
                py_trees.decorators.Inverter("Not yet in conversation?", IsEngaged("In conversation?", **trust)),
            ),
        ],
    )
    happy = IsEmotion("Happy?", "happy", enter=0.6, leave=0.4, hold=0.7, dwell=2.0, **trust)
    here = IsEngaged("Happy with the robot?", on_stale="SUCCESS", **trust)
    apology = sequence("Unhappy and silent?", unhappy, silent("Silent while unhappy?"))
    arrival = sequence("Arrives in silence?", arrives, silent("Silent on arrival?"))
    joy = sequence("Happy and silent?", happy, here, silent("Silent while happy?"))
    react = py_trees.composites.Selector(
        "React",
        memory=False,
        children=[
            reaction("soften_and_step_back", threatened),
            reaction("apologise_and_offer_staff", Resting("Not again for 60 s", apology, 60.0, namespace)),
            reaction("greet", Resting("No second greeting for 60 s", arrival, 60.0, namespace)),
            reaction("celebrate", Resting("Not again for 20 s", joy, 20.0, namespace)),
            reaction("attend", HasEvidence(**trust)),
            reaction("idle"),
        ],
    )
    return py_trees.composites.Parallel(
        "Empathy",
        policy=ParallelPolicy.SuccessOnAll(synchronise=False),
        children=[
            ToBlackboard(topic_name=topic_name, max_age=max_age, namespace=namespace),
            PersonsToBlackboard(topic_name=persons_topic, max_age=max_age, namespace=namespace),
            react,
            PublishAction(topic_name=action_topic, namespace=namespace),
        ],
    )
