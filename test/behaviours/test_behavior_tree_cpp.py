"""The BehaviorTree.CPP files: every node and port is declared, and they say the same as the py_trees side."""

from __future__ import annotations

import inspect
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from states import START, ns, persons, snapshot

import emotion_perception.behaviours as behaviours
from emotion_perception.behaviours import ACTIONS, EmotionCondition, PersonCondition, Resting, create_root
from emotion_perception.behaviours.conditions import ScoreCondition
from emotion_perception.behaviours.decision import Judge, Newcomer, OnStale, Rest, Snapshot, Verdict
from emotion_perception.behaviours.person_decision import PersonJudge, PersonsSnapshot
from emotion_perception.emotions import emotion_index
from emotion_perception.resources import config_path
from emotion_perception.types import Engagement

TREE = config_path("behaviour_trees/empathetic.xml")
MODEL = config_path("behaviour_trees/emotion_nodes.xml")
BUILT_IN = {"ReactiveFallback", "ReactiveSequence", "Inverter"}  # BehaviorTree.CPP's own that the tree uses
PERSON_CONDITIONS = ("IsEngaged", "IsAttending", "IsSpeaking", "PersonApproaches")
CONDITIONS = (
    *("IsEmotion", "IsUpset", "IsSatisfied", "HasEvidence", "IsGrowingUnhappy", "EmotionTrend", "IsNewcomer"),
    *PERSON_CONDITIONS,
)


def used(path: Path = TREE) -> list[ElementTree.Element]:
    """Every node of the trees in a file."""
    trees = ElementTree.parse(path).getroot().findall("BehaviorTree")
    return [node for tree in trees for node in tree.iter() if node is not tree]


def models() -> dict[str, ElementTree.Element]:
    """Declared nodes by id."""
    found = ElementTree.parse(MODEL).getroot().find("TreeNodesModel")
    assert found is not None
    return {str(model.get("ID")): model for model in found}


def ports(model: ElementTree.Element) -> dict[str, ElementTree.Element]:
    """Declared ports by name."""
    return {str(port.get("name")): port for port in model.findall("input_port")}


def arguments(node: ElementTree.Element) -> dict[str, Any]:
    """What a node of the tree is given, with the model's defaults, of the model's types."""
    given: dict[str, Any] = {}
    for name, port in ports(models()[node.tag]).items():
        text = node.get(name, port.get("default"))
        assert text is not None, f"{node.tag} needs {name}"
        given[name] = float(text) if port.get("type") == "double" else text
    return given


def test_every_node_of_the_tree_is_declared_with_its_ports() -> None:
    declared = models()
    for node in used():
        if node.tag in BUILT_IN:
            assert set(node.attrib) <= {"name"}
            continue
        assert node.tag in declared, f"{node.tag} is in no model"
        unknown = set(node.attrib) - {"name"} - set(ports(declared[node.tag]))
        assert not unknown, f"{node.tag} {node.get('name')!r} is given {unknown}"
        arguments(node)  # no port is missing, every number reads as one


def test_names_are_unique_so_that_a_log_can_be_read() -> None:
    names = [node.get("name") for node in used()]
    assert len(names) == len(set(names))


def test_every_model_and_port_is_described() -> None:
    for name, model in models().items():
        words = model.find("MetadataFields/Metadata")
        assert words is not None, name
        assert words.get("description"), name
        for port in ports(model).values():
            assert (port.text or "").strip(), f"{name} {port.get('name')}"
            assert port.get("type") in {"double", "std::string"}


def constructor_arguments(behaviour: type) -> dict[str, Any]:
    """Name and default of each argument; those passed on by keyword have the defaults of ``ScoreCondition``."""
    taken = inspect.signature(behaviour.__init__).parameters
    if "limits" not in taken:
        return {name: parameter.default for name, parameter in taken.items()}
    (passed_on,) = get_args(get_type_hints(behaviour.__init__)["limits"])
    base = PersonCondition if issubclass(behaviour, PersonCondition) else ScoreCondition
    inherited = inspect.signature(base.__init__).parameters
    passed = get_type_hints(passed_on)
    names = [name for name in inherited if name in passed]
    own = {name: parameter.default for name, parameter in taken.items() if name != "limits"}
    return own | {name: inherited[name].default for name in names}


@pytest.mark.parametrize("name", [*CONDITIONS, "Resting"])
def test_ports_and_defaults_are_those_of_the_py_trees_class(name: str) -> None:
    taken = {
        name: default
        for name, default in constructor_arguments(getattr(behaviours, name)).items()
        if name not in ("self", "name", "namespace", "child")
    }
    declared = ports(models()[name])
    # The topic is the subscriber's in py_trees (ToBlackboard), each node's own in BehaviorTree.CPP.
    topic = "person_states" if name in PERSON_CONDITIONS else "emotion_state"
    assert declared.pop("topic_name").get("default") == topic
    assert list(declared) == list(taken)
    for argument, default in taken.items():
        text = declared[argument].get("default")
        if default is inspect.Parameter.empty:
            assert text is None
        elif isinstance(default, float):
            assert text is not None
            assert float(text) == default
        else:
            assert text == default


def test_both_trees_have_the_same_conditions_with_the_same_limits_in_the_same_order() -> None:
    # Composites count too, so that the nesting is compared; the subscriber's place in py_trees has no twin.
    react = next(b for b in create_root().iterate() if b.name == "React")
    ours = sorted(b.name for b in react.iterate())
    assert ours == sorted(str(node.get("name")) for node in used())
    by_name = {str(node.get("name")): node for node in used()}
    in_order = [str(node.get("name")) for node in used() if node.tag == "PublishAction"]
    assert in_order == list(ACTIONS)
    for behaviour in react.iterate():
        node = by_name[behaviour.name]
        assert [child.name for child in behaviour.children] == [child.get("name") for child in node]
        if isinstance(behaviour, Resting):
            assert arguments(node)["seconds"] == behaviour._rest.seconds
        elif isinstance(behaviour, EmotionCondition):
            twin = make_judge(node)
            assert node.tag == type(behaviour).__name__
            assert settings(twin) == settings(behaviour.judge), behaviour.name
            assert OnStale(arguments(node)["on_stale"]) is behaviour.on_stale


def make_judge(node: ElementTree.Element) -> Any:
    """The decision core for a condition of the XML tree."""
    given = arguments(node)
    given.pop("topic_name")
    return getattr(behaviours, node.tag)(str(node.get("name")), **given).judge


def settings(judge: Any) -> dict[str, Any]:
    """Everything that was set about a judge."""
    if isinstance(judge, Newcomer):
        return {key: value for key, value in vars(judge).items() if not key.startswith("_")}
    assert isinstance(judge, (Judge, PersonJudge))
    scorer = {key: value for key, value in vars(judge.scorer).items() if not key.startswith("_")}
    who = judge.who if isinstance(judge, PersonJudge) else ""
    return {"limits": judge.limits, "scorer": type(judge.scorer), "who": who, **scorer}


def test_emotions_and_choices_in_the_tree_exist() -> None:
    emotional = [node for node in used() if node.tag == "IsEmotion"]
    assert emotional
    for node in emotional:
        for name in node.attrib["emotions"].split(";"):
            emotion_index(name)
    assert {node.attrib["action"] for node in used() if node.tag == "PublishAction"} == set(ACTIONS)


# --- with the real BehaviorTree.CPP -------------------------------------------------------------------------------


class CppStage:
    """The XML tree in BehaviorTree.CPP itself, with this package's decisions behind its conditions.

    The binding cannot declare ports for its nodes, so they are taken out of the text that it loads and given to the
    decisions from here; control flow, loading and ticking are BehaviorTree.CPP's.
    """

    def __init__(self, binding: Any) -> None:
        self.status = binding.NodeStatus
        self.now, self.held, self.action = START, None, ""
        self.persons: PersonsSnapshot | None = None
        nodes = {str(node.get("name")): node for node in used()}
        judges = {name: make_judge(node) for name, node in nodes.items() if node.tag in CONDITIONS}
        rests = {name: Rest(arguments(n)["seconds"]) for name, n in nodes.items() if n.tag == "Resting"}

        def condition(node: Any) -> Any:
            about = self.persons if nodes[node.name()].tag in PERSON_CONDITIONS else self.held
            verdict: Verdict = judges[node.name()].judge(about, ns(self.now))
            if verdict.answer is None:
                return getattr(self.status, arguments(nodes[node.name()])["on_stale"])
            return self.status.SUCCESS if verdict.answer else self.status.FAILURE

        def resting(child: Any, node: Any) -> Any:
            if child != self.status.SUCCESS:
                return child
            person = self.held.state.person_id if self.held else ""
            return child if rests[node.name()].allow(person, ns(self.now)) else self.status.FAILURE

        def publish(node: Any) -> Any:
            self.action = arguments(nodes[node.name()])["action"]
            return self.status.SUCCESS

        factory = binding.BehaviorTreeFactory()
        for name in CONDITIONS:
            factory.register_simple_condition(name, condition)
        factory.register_simple_decorator("Resting", resting)
        factory.register_simple_action("PublishAction", publish)
        self._callbacks = (condition, resting, publish)
        tree = ElementTree.parse(TREE)
        for node in tree.getroot().iter():
            if node.tag not in ("root", "BehaviorTree"):
                for port in set(node.attrib) - {"name"}:
                    del node.attrib[port]
        self.tree = factory.create_tree_from_text(ElementTree.tostring(tree.getroot(), encoding="unicode"))

    def tick(self) -> str:
        assert self.tree.tick_once() == self.status.SUCCESS
        return self.action

    def play(self, emotion: str, seconds: float, **attention: Any) -> Iterator[str]:
        for _ in range(round(seconds * 10)):
            self.now += 0.1
            self.persons = persons(self.now, **attention) if attention else None
            self.held: Snapshot | None = snapshot(emotion, self.now)
            yield self.tick()


def test_behavior_tree_cpp_loads_the_tree_and_chooses_as_py_trees_does() -> None:
    binding = pytest.importorskip("behaviortreepy", reason="BehaviorTree.CPP's binding: pip install behaviortreepy")
    from .test_conditions import Stage

    cpp, ours = CppStage(binding), Stage()
    assert cpp.tick() == ours.tick() == "idle"  # before any message
    seen = set()
    visit = [("", 2), ("neutral", 6), ("happy", 1), ("neutral", 4), ("happy", 2), ("angry", 3), ("neutral", 4)]
    for emotion, seconds in [*visit, ("sad", 8), ("fearful", 2), ("sad", 5), ("", 7), ("happy", 9)]:
        for cpp_action in cpp.play(emotion, seconds):
            (our_action,) = ours.play(emotion, 0.1)
            assert cpp_action == our_action
            seen.add(cpp_action)
    engaged, comes = {"engagement": Engagement.ENGAGED}, {"approach_speed": 0.8, "distance": 3.0}
    for emotion, seconds, attention in [
        ("", 70, {}),
        ("neutral", 4, {"looking": 0.1}),
        ("neutral", 2, {"looking": 0.1, **comes}),
        ("neutral", 3, {"looking": 0.9, **engaged}),
        ("sad", 5, {"looking": 0.9, "speaking": 0.9, **engaged}),
        ("sad", 3, {"looking": 0.9, "speaking": 0.0, **engaged}),
        ("happy", 3, {"looking": 0.1, "engagement": Engagement.DISENGAGED}),
        ("happy", 3, {"looking": 0.9, **engaged}),
    ]:
        for cpp_action in cpp.play(emotion, seconds, **attention):
            (our_action,) = ours.play(emotion, 0.1, attention=attention)
            assert cpp_action == our_action, (emotion, attention)
    assert seen == set(ACTIONS)
    # A latched old state.
    cpp.held = snapshot("angry", cpp.now - 60, received=cpp.now)
    assert cpp.tick() == "idle"
