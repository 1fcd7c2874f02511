"""What all nodes share: a managed node that starts itself, reports on itself, and stops when told to."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.context import Context
from rclpy.exceptions import InvalidParameterValueException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher, LifecycleState, TransitionCallbackReturn

from emotion_perception.errors import ModelError
from emotion_perception.ros import diagnostics, qos
from emotion_perception.ros.conversions import ConversionError, make_header
from emotion_perception.ros.node_settings import CommonSettings
from emotion_perception.ros.parameters import NodeParameters
from emotion_perception.ros.private_files import make_new_files_private
from emotion_perception.ros.shared_memory import tidy_shared_memory
from emotion_perception.ros.worker import Worker
from emotion_perception.settings import Setting, settings_of
from emotion_perception.types import SECOND

EXIT_BROKEN = 1
GRACE = 1.5  # s between the signal to end and the end, whatever is going on
STALE_AFTER = 2.0  # s without work before an active node warns
JUMP_BACK = SECOND // 2  # a stamp this much older than the one before is a clock that was set back, not a late frame


class PerceptionNode(LifecycleNode):
    """A managed node. Subclasses fill in :meth:`configure`, :meth:`activate`, :meth:`deactivate`, :meth:`cleanup`.

    ============ ========================================= ================================================
    transition   what happens                              a problem leads to
    ============ ========================================= ================================================
    configure    parameters read, models loaded,           FAILURE: unconfigured, the reason (with the path
                 publishers made                           tried) in the log and on /diagnostics
    activate     subscriptions, timers, worker made        FAILURE: inactive
    deactivate   they are destroyed: no work is done       -
    cleanup      publishers destroyed, models freed        -
    shutdown     both of the above, from any state         -
    ============ ========================================= ================================================

    Any other exception than ``expected_problems`` leads to ERROR: all is freed and the node is unconfigured again.
    """

    # What is wrong with the set-up, not with the program.
    expected_problems: tuple[type[Exception], ...] = (ModelError, OSError, ValueError)

    def __init__(self, name: str, settings: Iterable[Setting], **options: Any) -> None:
        super().__init__(name, **options)
        self._guard_change_state()
        self.parameters = NodeParameters(self, (*settings_of(CommonSettings), *settings))
        self.meter = diagnostics.WorkMeter()
        self.reporter = diagnostics.BurstReporter(self.get_logger().warning)
        self.problem = ""  # why the last transition failed
        self.model_name = "none"
        self.exit_code: int | None = None  # set by a node that wants its process to end
        self._worker: Worker[Any] | None = None
        self._active_entities: list[Callable[[], Any]] = []  # how to destroy what on_activate made
        self._publishers_made: list[LifecyclePublisher] = []
        self._last_stamp: dict[str, int] = {}
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)  # runs under simulated time too
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.profile("diagnostics"))
        self.create_timer(self.parameters["diagnostics_period"], self._publish_diagnostics, clock=self._steady)
        self._autostart_timer = None
        if self.parameters["autostart"]:
            self._autostart_timer = self.create_timer(0.0, self._autostart, clock=self._steady)

    # What a subclass fills in. Any of `expected_problems` may be raised in configure and activate.

    def configure(self) -> None:
        """Read parameters, load models, make publishers."""

    def activate(self) -> None:
        """Make subscriptions, timers and the worker."""

    def deactivate(self) -> None:
        """Stop what :meth:`activate` started beyond its subscriptions, timers and worker, which stop by themselves."""

    def cleanup(self) -> None:
        """Let go of what :meth:`configure` loaded."""

    def extra_diagnostics(self) -> dict[str, str]:
        """More key-value pairs for /diagnostics."""
        return {}

    def input_problem(self) -> str:
        """What is wrong with the input although it arrives, for /diagnostics (WARN); empty if nothing is."""
        return ""

    # What a subclass uses.

    @property
    def now_ns(self) -> int:
        """ROS time, ns."""
        return self.get_clock().now().nanoseconds

    @property
    def state_label(self) -> str:
        """``unconfigured``, ``inactive``, ``active`` or ``finalized``."""
        return self._state_machine.current_state[1]

    def publish_to(self, message_type: type, topic: str, use: str) -> LifecyclePublisher:
        """A publisher that lives until cleanup and speaks only while the node is active."""
        publisher = self.create_lifecycle_publisher(
            message_type, topic, qos.profile(use), qos_overriding_options=qos.overrides()
        )
        self._publishers_made.append(publisher)
        return publisher

    def subscribe_to(self, message_type: type, topic: str, callback: Callable[[Any], None], use: str) -> Any:
        """A subscription that lives until deactivate; a message that the callback cannot convert is rejected."""

        def understood(message: Any) -> None:
            try:
                callback(message)
            except ConversionError as error:
                self.reject(str(error))

        subscription = self.create_subscription(
            message_type, topic, understood, qos.profile(use), qos_overriding_options=qos.overrides()
        )
        self._active_entities.append(lambda: self.destroy_subscription(subscription))
        return subscription

    def every(self, period: float, callback: Callable[[], None], steady: bool = False) -> None:
        """A timer on the ROS clock, or on one that simulated time does not stop, that lives until deactivate."""
        timer = self.create_timer(period, callback, clock=self._steady if steady else None)
        self._active_entities.append(lambda: self.destroy_timer(timer))

    def work_on(self, process: Callable[[Any], None], depth: int = 1) -> Worker[Any]:
        """A worker thread that lives until deactivate; see :class:`Worker`."""
        self._worker = Worker(process, depth, self.meter.drop, self._on_work_error)
        return self._worker

    def beside(self, job: Callable[[], None]) -> None:
        """Do once, in a thread of its own, what need not be done before work begins."""
        threading.Thread(target=job, name="beside", daemon=True).start()

    def reject(self, problem: str, kind: str | None = None) -> None:
        """Count and report, once per burst, an input that cannot be used."""
        self.meter.reject()
        self.reporter.report(problem, kind)

    def check_stamp(self, stamp_ns: int, stream: str) -> str:
        """How a stamp follows its stream's one before: ``"new"``, ``"old"`` (drop it) or ``"jump"`` (start afresh).

        Both other cases are counted and reported here.
        """
        last = self._last_stamp.get(stream)
        if last is not None and stamp_ns <= last:
            if last - stamp_ns < JUMP_BACK:
                self.reject(f"{stream}: stamp repeats or is older than the one before; dropped", f"{stream} order")
                return "old"
            self.reject(f"{stream}: stamps jumped back by {(last - stamp_ns) / SECOND:.3f} s; starting afresh", stream)
            self._last_stamp[stream] = stamp_ns
            return "jump"
        self._last_stamp[stream] = stamp_ns
        return "new"

    def end_process(self, exit_code: int) -> None:
        """Have :func:`run` end the process with this code; callable from any thread."""
        self.exit_code = exit_code
        end_ros(self.context)

    # The transitions.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load; FAILURE names what is missing."""
        return self._attempt("configure", self.configure, lambda: super(PerceptionNode, self).on_configure(state))

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start working."""
        self.meter.restart()
        self._last_stamp.clear()
        super().on_activate(state)  # publishers first: the first input may come while subscriptions are still made
        return self._attempt("activate", self.activate, lambda: TransitionCallbackReturn.SUCCESS)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop working: after this, no callback runs and the worker thread has ended."""
        self._stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free models, publishers and memory."""
        self._free()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free from whatever state."""
        self._stop()
        self._free()
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After an unforeseen exception: stop, free, and be unconfigured again."""
        self._stop()
        self._free()
        return TransitionCallbackReturn.SUCCESS

    def destroy_node(self) -> None:
        """Stop the worker before the handles that it uses go."""
        self._stop()
        super().destroy_node()

    def _attempt(
        self, name: str, action: Callable[[], None], then: Callable[[], TransitionCallbackReturn]
    ) -> TransitionCallbackReturn:
        try:
            action()
        except self.expected_problems as error:
            self.problem = " ".join(str(error).split())
            self.get_logger().error(f"cannot {name}: {self.problem}")
        except Exception as error:
            if not self.context.ok():
                raise  # the process was told to end meanwhile
            self.problem = f"{type(error).__name__}: {error}"
            self.get_logger().fatal(f"cannot {name}: {self.problem}")
            raise  # rclpy turns it into ERROR
        else:
            self.problem = ""
            self.parameters.frozen = True
            return then()
        self._stop()
        if name == "configure":
            self._free()
        return TransitionCallbackReturn.FAILURE

    def _stop(self) -> None:
        self.deactivate()
        while self._active_entities:
            self._active_entities.pop()()
        if self._worker is not None and not self._worker.stop():
            self.get_logger().warning("the work in hand takes longer than 2 s to end")
        self._worker = None

    def _free(self) -> None:
        self.cleanup()
        while self._publishers_made:
            self.destroy_lifecycle_publisher(self._publishers_made.pop())
        self.model_name = "none"
        self.parameters.frozen = False
        gc.collect()
        if sys.platform == "linux":  # glibc keeps freed memory otherwise; harmless where the call is missing
            getattr(ctypes.CDLL(None), "malloc_trim", lambda _: None)(0)

    def _guard_change_state(self) -> None:
        """Have the service refuse a transition that its state does not have: rclpy's own handler (Jazzy) ends the
        process at that, and so anybody's mistake would.
        """
        service = getattr(self, "_service_change_state", None)
        if service is None:
            return
        change = service.callback

        def guarded(request: Any, response: Any) -> Any:
            before = self.state_label
            try:
                return change(request, response)
            except rclpy_implementation.RCLError:
                if not self.context.ok() or self.state_label != before:
                    raise  # the process was told to end, or it was no mistake of whoever asked
                asked = request.transition.label or request.transition.id
                self.get_logger().warning(f"asked for the transition {asked}, which {before} does not have; refused")
                response.success = False
                return response

        service.callback = guarded

    def _autostart(self) -> None:
        self._autostart_timer.cancel()
        if self.state_label != "unconfigured":  # a manager was faster
            return
        try:
            if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
                self.trigger_activate()
        except rclpy_implementation.RCLError:
            if self.context.ok():
                raise
            # The process was told to end while models were still loading.

    def _on_work_error(self, error: Exception) -> None:
        if not self.context.ok():
            return  # the process is ending and the publishers are gone
        if isinstance(error, ConversionError):
            self.reject(str(error))
        else:
            self.reject(f"unexpected {type(error).__name__} while working: {error}", type(error).__name__)

    def _publish_diagnostics(self) -> None:
        state = self.state_label
        level, message = diagnostics.OK, state
        if self.problem:
            level, message = diagnostics.ERROR, self.problem
        elif state == "active" and self.meter.staleness > STALE_AFTER:
            level, message = diagnostics.WARN, f"no work for {self.meter.staleness:.0f} s"
        elif state == "active" and self.input_problem():
            level, message = diagnostics.WARN, self.input_problem()
        elif state != "active":
            level = diagnostics.WARN
        values = {"lifecycle state": state, "model": self.model_name, **self.meter.values(), **self.extra_diagnostics()}
        status = diagnostics.make_status(
            f"{self.get_fully_qualified_name().lstrip('/')}: emotion_perception", level, message, values, "none"
        )
        self._diagnostics.publish(diagnostics.make_array(make_header(self.now_ns), status))


def one_thread_each() -> None:
    """Keep every library in this process to one thread: the nodes share few cores, and small nets gain nothing."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(1)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def _end_anyway(nodes: Sequence[PerceptionNode]) -> None:
    """End the process although it is still loading models, which no signal interrupts."""
    while rclpy.ok():
        time.sleep(0.1)
    time.sleep(GRACE)
    os._exit(_exit_code(nodes))


def _exit_code(nodes: Sequence[PerceptionNode]) -> int:
    return next((node.exit_code for node in nodes if node.exit_code), 0)


def _spin_beside(node: PerceptionNode) -> None:
    """Spin one of several nodes in a thread of its own: what breaks it ends the process, as it would alone."""
    try:
        rclpy.spin(node, SingleThreadedExecutor())
    except ExternalShutdownException:
        pass
    except Exception:
        if rclpy.ok():
            traceback.print_exc()
            node.end_process(EXIT_BROKEN)


def end_ros(context: Context | None = None) -> None:
    """Shut ROS down, if it is not yet; callable from any thread."""
    with contextlib.suppress(rclpy_implementation.RCLError):  # a signal may do it between rclpy's look and its act
        rclpy.try_shutdown(context=context)


def run(node_class: Callable[[], PerceptionNode], args: list[str] | None = None) -> int:
    """The whole of a node's ``main``: spin until SIGINT, SIGTERM or the node's own end, then end the process."""
    return run_together([node_class], args)


def run_together(makers: Sequence[Callable[[], PerceptionNode]], args: list[str] | None = None) -> int:
    """Run nodes in one process, each with an executor in a thread of its own, until the process is told to end.

    Args:
        makers: each makes one node.
        args: the process' own arguments; ``sys.argv`` where None.
    """
    one_thread_each()
    private = make_new_files_private()
    tidy_shared_memory()
    rclpy.init(args=args)
    nodes: list[PerceptionNode] = []
    threading.Thread(target=_end_anyway, args=(nodes,), daemon=True).start()
    beside: list[threading.Thread] = []
    try:
        for make in makers:
            nodes.append(make())
        if not private:
            nodes[0].get_logger().warning("other local users can read the shared memory of Fast DDS on this system")
        beside = [threading.Thread(target=_spin_beside, args=(node,), daemon=True) for node in nodes[1:]]
        for thread in beside:
            thread.start()
        rclpy.spin(nodes[0])
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except InvalidParameterValueException as error:
        print(f"bad parameter: {error}", file=sys.stderr)
        return 2
    except Exception:
        if rclpy.ok():
            raise
        # A signal ended ROS while a node was being made, or in a callback that then could not publish.
    finally:
        end_ros()
        for thread in beside:
            thread.join(1.0)  # no node goes while its executor works on it
        for node in nodes:
            node.destroy_node()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(
        _exit_code(nodes)
    )  # taking the interpreter and the models apart takes a second, and nothing is left to save
