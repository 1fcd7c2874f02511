"""Conversations: ``emotion_state`` to ``interaction/arc`` and, at the end of each, ``interaction/summary``.

The services ``interaction/start`` and ``interaction/stop`` start and end one on request. ``emotion_context`` states in
English, for language models, what is known about everybody in front of the robot. Rules about the stored conversations
are evaluated at the end of each; what they find is published on ``interaction/alerts``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rclpy.lifecycle import LifecyclePublisher
from std_msgs.msg import String

from emotion_msgs.msg import (
    Alert,
    EmotionArc,
    EmotionState,
    EmotionStateArray,
    FaceEmotionArray,
    InteractionSummary,
    PersonStateArray,
)
from emotion_msgs.srv import StartInteraction, StopInteraction
from emotion_perception.interaction.arc import ArcSample
from emotion_perception.interaction.context import ContextConfig, ContextTracker
from emotion_perception.interaction.conversation import ConversationConfig, ConversationError
from emotion_perception.interaction.conversation_store import ConversationStore
from emotion_perception.interaction.history import NotStored
from emotion_perception.interaction.rule_checker import RuleChecker
from emotion_perception.interaction.rules import Alert as FoundAlert
from emotion_perception.interaction.sessions import Conversations
from emotion_perception.interaction.storage_choice import ChoiceFile
from emotion_perception.interaction.store_database import StoreError
from emotion_perception.interaction.store_records import Deletion
from emotion_perception.interaction.summary import ConversationSummary
from emotion_perception.interaction.upkeep import StoreUpkeep
from emotion_perception.interaction.webhook import WebhookConfig
from emotion_perception.reports.conversation import write_files
from emotion_perception.ros import conversions
from emotion_perception.ros.lifecycle import NOT_CONFIGURED, PerceptionNode, run
from emotion_perception.ros.node_settings import node_settings
from emotion_perception.ros.worker import Worker
from emotion_perception.types import SECOND

MAX_AGE = 2 * SECOND  # ns; an older state is a latched one from before, not news
MAX_ENDED = 16  # ended conversations that wait for the evaluation of rules


class InteractionNode(PerceptionNode):
    """Keeps the course of the conversation that is going on, and stores it where a folder is configured."""

    def __init__(self, **options: Any) -> None:
        super().__init__("interaction_node", node_settings("interaction_node"), **options)
        self._conversations: Conversations = NOT_CONFIGURED
        self._config = ConversationConfig()
        self._choice: ChoiceFile | None = None  # made on the web page; None: the parameters decide
        self._store: ConversationStore | None = None
        self._upkeep: StoreUpkeep | None = None
        self._arc: LifecyclePublisher = NOT_CONFIGURED
        self._summary: LifecyclePublisher = NOT_CONFIGURED
        self._people_context: LifecyclePublisher = NOT_CONFIGURED
        self._alerts: LifecyclePublisher = NOT_CONFIGURED
        self._rules: RuleChecker = NOT_CONFIGURED
        self._ended: Worker[ConversationSummary] = NOT_CONFIGURED
        self._tracker = ContextTracker()
        self._summarized = 0  # ended conversations whose summary was published
        self._services: list[Any] = []
        self._published_ns = 0

    def configure(self) -> None:
        """Finish what a killed process left behind; make publisher and services; start the upkeep of the store."""
        log = self.get_logger()
        self._config = self.parameters.config(ConversationConfig)
        data_directory = "" if self._config.directory else self.parameters["data_directory"]
        self._choice = ChoiceFile(data_directory) if data_directory else None
        self._rules = RuleChecker(self.parameters.config(WebhookConfig), self._publish_alert, log.warning)
        config = self._config_in_use()
        self._open_store(config)
        self._conversations = Conversations(config, self._write_files, log.info, log.warning)
        self._conversations.recover()
        self._start_upkeep(config)
        self._arc = self.publish_to(EmotionArc, "interaction/arc", "state")
        self._summary = self.publish_to(InteractionSummary, "interaction/summary", "state")
        self._summarized = self._conversations.completed
        self._people_context = self.publish_to(String, "emotion_context", "state")
        self._alerts = self.publish_to(Alert, "interaction/alerts", "alerts")
        self._tracker = ContextTracker(self.parameters.config(ContextConfig))
        self._services = [
            self.create_service(StartInteraction, "interaction/start", self._on_start),
            self.create_service(StopInteraction, "interaction/stop", self._on_stop),
        ]

    def activate(self) -> None:
        """Listen; whoever is there now has just come."""
        self._conversations.forget("the node starts to listen")
        self._tracker.forget()
        self._published_ns = 0
        self._ended = self.process(self._check_rules, MAX_ENDED)
        self.subscribe_to(EmotionState, "emotion_state", self._on_state, "state")
        self.subscribe_to(EmotionStateArray, "emotion_states", self._on_states, "state")
        self.subscribe_to(FaceEmotionArray, "faces/emotions", self._on_faces, "estimates")
        self.subscribe_to(PersonStateArray, "person_states", self._on_person_states, "state")
        self.every(min(1.0, self.parameters["arc_period"]), self._on_tick)
        self.every(self.parameters["context_period"], self._publish_context)

    def deactivate(self) -> None:
        """End the running conversation, because no more states will arrive."""
        if self._conversations is not NOT_CONFIGURED:
            self._conversations.close(self.now_ns, "the node was stopped")
            self._publish_summary()

    def cleanup(self) -> None:
        """Free everything; records that could not be stored are reported and lost."""
        while self._services:
            self.destroy_service(self._services.pop())
        if self._conversations is not NOT_CONFIGURED and self._conversations.unsaved:
            self.get_logger().error(f"not stored: {self._conversations.problem}")
        self._conversations = self._arc = self._summary = self._people_context = NOT_CONFIGURED
        self._close_store()
        self._alerts = self._rules = self._ended = NOT_CONFIGURED

    def extra_diagnostics(self) -> dict[str, str]:
        """The interaction going on, and what is wrong with the disk."""
        if self._conversations is NOT_CONFIGURED:
            return {}
        running = self._conversations.running
        return {
            "interaction": running.interaction_id if running else "none",
            "samples": str(running.samples if running else 0),
            "completed": str(self._conversations.completed),
            "waiting for the disk": str(self._conversations.unsaved),
            "storage": self._conversations.problem or self._conversations.config.directory or "off",
            "alerts": str(self._rules.alerts),
            "rules": self._rules.rules_problem or "ok",
            "webhook": self._rules.webhook_problem or ("ok" if self.parameters["webhook_url"] else "off"),
        }

    def _write_files(
        self, folder: Path, summary: ConversationSummary, samples: Iterator[ArcSample]
    ) -> tuple[Path, ...]:
        """Write the files of an ended conversation and index it."""
        files = write_files(folder, summary, samples)
        if self._store is not None:
            try:
                self._store.add(summary.interaction_id)
            except (StoreError, NotStored) as error:  # the files are the source of truth; the next start indexes them
                self.get_logger().warning(f"interaction {summary.interaction_id} is not indexed yet: {error}")
            self._store.close()
        return files

    def _record_deletion(self, done: Deletion) -> None:
        self.audit.deletion(done.what, done.asked_by, done.conversations, done.pictures, done.start, done.end)
        self.get_logger().info(f"{done.conversations} conversations older than retention_days were deleted")

    def _on_state(self, message: EmotionState) -> None:
        state = conversions.state_from_message(message)
        latency = conversions.duration_to_seconds(message.latency)
        made_ns = state.stamp_ns + round(latency * SECOND)
        if abs(self.now_ns - made_ns) > MAX_AGE:
            self.reject("emotion_state: made more than 2 s from now by this node's clock; dropped", "emotion_state age")
            return
        self._conversations.add(state, made_ns)
        self.meter.done(latency)

    def _on_states(self, message: EmotionStateArray) -> None:
        self._tracker.add_states([conversions.state_from_message(state) for state in message.states])

    def _on_faces(self, message: FaceEmotionArray) -> None:
        # Only positions are needed; this is cheaper than a conversion of landmarks and blendshapes.
        centres = {face.face_id: face.roi.x_offset + face.roi.width / 2 for face in message.faces}
        self._tracker.add_faces(conversions.stamp_to_ns(message.header.stamp), centres)

    def _on_person_states(self, message: PersonStateArray) -> None:
        self._tracker.add_persons(conversions.persons_from_message(message))

    def _publish_context(self) -> None:
        self._people_context.publish(String(data=self._tracker.context(self.now_ns).to_json()))

    def _on_tick(self) -> None:
        now = self.now_ns
        self._conversations.tick(now)
        self._publish_summary()
        self._follow_choice()
        if not 0 <= now - self._published_ns < self.parameters["arc_period"] * SECOND * 0.95:
            interaction_id, person_id, arc = self._conversations.arc(now)
            self._arc.publish(conversions.arc_to_message(arc, interaction_id, person_id))
            self._published_ns = now

    def _publish_summary(self) -> None:
        """Publish the summary of a conversation that has just ended."""
        if self._conversations.completed != self._summarized and self._conversations.last is not None:
            self._summarized = self._conversations.completed
            if not self.context.ok():
                return  # a signal has shut ROS down; the stored summary remains
            self._summary.publish(conversions.outcome_to_message(self._conversations.last))
            if self._conversations.last.files:
                self._ended.submit(self._conversations.last.summary)

    def _config_in_use(self) -> ConversationConfig:
        """The parameters, with what was chosen on the web page if they do not set a folder."""
        if self._choice is None:
            return self._config
        choice = self._choice.read()
        directory = str(self._choice.conversations) if choice.keep_numbers else ""
        return replace(self._config, directory=directory, retention_days=float(choice.retention_days))

    def _follow_choice(self) -> None:
        """Put a new choice into effect, between conversations."""
        config = self._config_in_use()
        if config != self._conversations.config and self._conversations.reconfigure(config):
            self._close_store()
            self._open_store(config)
            self._start_upkeep(config)
            self.get_logger().info(f"conversations are stored: {config.directory or 'no'}")

    def _open_store(self, config: ConversationConfig) -> None:
        folder = config.folder
        if folder is None and self._choice is not None and self._choice.conversations.is_dir():
            folder = self._choice.conversations  # nothing is added, but what is there is deleted when it is old
        if folder is not None:
            self._store = ConversationStore(folder, self.get_logger().warning, self.get_logger().info)

    def _start_upkeep(self, config: ConversationConfig) -> None:
        if self._store is not None:
            clock, warn = (lambda: self.now_ns / SECOND), self.get_logger().warning
            self._upkeep = StoreUpkeep(self._store, config.retention_days, clock, self._record_deletion, warn)
            self._upkeep.start()

    def _close_store(self) -> None:
        if self._upkeep is not None:
            self._upkeep.stop()
        self._store = self._upkeep = None

    def _check_rules(self, summary: ConversationSummary) -> None:
        """Evaluate the rules; in the worker thread."""
        store = self._store
        if store is not None:
            self._rules.check(store, summary.start_ns / SECOND, self.now_ns / SECOND)

    def _publish_alert(self, alert: FoundAlert) -> None:
        if self.context.ok():
            self._alerts.publish(conversions.alert_to_message(alert))

    def _on_start(
        self, request: StartInteraction.Request, response: StartInteraction.Response
    ) -> StartInteraction.Response:
        if self.state_label != "active":
            response.message = f"interaction_node is {self.state_label}, not active"
            return response
        try:
            started = self._conversations.start(self.now_ns, request.person_id, request.name)
        except ConversationError as error:
            response.message = str(error)
            return response
        response.success = True
        response.interaction_id = started.interaction_id
        response.start = conversions.ns_to_stamp(started.start_ns)
        problem = self._conversations.problem
        response.message = f"kept in memory for now: {problem}" if problem else ""
        return response

    def _on_stop(
        self, request: StopInteraction.Request, response: StopInteraction.Response
    ) -> StopInteraction.Response:
        if self._conversations is NOT_CONFIGURED:
            response.message = f"interaction_node is {self.state_label}"
            return response
        try:
            outcome = self._conversations.stop(self.now_ns, request.interaction_id)
        except ConversationError as error:
            response.message = str(error)
            return response
        self._publish_summary()
        response.success = True
        response.summary = conversions.outcome_to_message(outcome)
        response.message = f"not stored yet: {outcome.problem}" if outcome.problem else ""
        return response


def main() -> int:
    """Console script ``interaction_node``."""
    return run(InteractionNode)


if __name__ == "__main__":
    sys.exit(main())
