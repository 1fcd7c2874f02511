"""What all nodes share: a managed node with autostart, diagnostics and a clean shutdown, and the main function."""

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
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.context import Context
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher, LifecycleState, TransitionCallbackReturn

from emotion_perception import __version__
from emotion_perception.compliance.audit import AuditLog
from emotion_perception.compliance.deployment import check_deployment
from emotion_perception.errors import ModelError
from emotion_perception.ros import diagnostics, qos
from emotion_perception.ros.conversions import ConversionError, make_header
from emotion_perception.ros.distributions import RCLError, refuse_invalid_transitions, state_label
from emotion_perception.ros.executor import NodeExecutor
from emotion_perception.ros.node_settings import CommonSettings
from emotion_perception.ros.parameters import NodeParameters
from emotion_perception.ros.private_files import make_new_files_private
from emotion_perception.ros.shared_memory import tidy_shared_memory
from emotion_perception.ros.worker import Worker
from emotion_perception.settings import Setting, settings_of
from emotion_perception.types import SECOND

EXIT_BROKEN = 1
EXIT_BAD_ARGUMENT = 2  # a parameter or argument that a restart does not make right
NOT_CONFIGURED: Any = None  # value of an attribute that configure() sets; callbacks run only in configured nodes
GRACE = 1.5  # s between the signal to end and the exit, even if models are still loading
STALE_AFTER = 2.0  # s without work before an active node warns
JUMP_BACK = SECOND // 2  # ns; a stamp older than the previous one by this much means that the clock was set back


class PerceptionNode(LifecycleNode):
    """A managed node. Subclasses fill in :meth:`configure`, :meth:`activate`, :meth:`deactivate`, :meth:`cleanup`.

    ============ ========================================= ================================================
    transition   what happens                              a problem leads to
    ============ ========================================= ================================================
    configure    parameters read, models loaded,           FAILURE: unconfigured, the reason (with the path
                 publishers made                           tried) in the log and on /diagnostics
    activate     subscriptions, timers, worker made        FAILURE: inactive
    deactivate   they are destroyed: no processing         -
    cleanup      publishers destroyed, models freed        -
    shutdown     both of the above, from any state         -
    ============ ========================================= ================================================

    Any exception outside ``expected_problems`` leads to ERROR: everything is freed and the node is unconfigured again.
    """

    # Faults of the set-up rather than of the program.
    expected_problems: tuple[type[Exception], ...] = (ModelError, OSError, ValueError)

    def __init__(self, name: str, settings: Iterable[Setting], **options: Any) -> None:
        super().__init__(name, **options)
        refuse_invalid_transitions(self)
        self.parameters = NodeParameters(self, (*settings_of(CommonSettings), *settings))
        self.meter = diagnostics.WorkMeter()
        self.reporter = diagnostics.BurstReporter(self.get_logger().warning)
        self.problem = ""  # why the last transition failed
        self.model_name = "none"
        self.audit = AuditLog(None)
        self._audited = False  # the start of processing is in the audit log
        self.exit_code: int | None = None  # set by a node that wants its process to end
        self._worker: Worker[Any] | None = None
        self._active_entities: list[Callable[[], Any]] = []  # how to destroy what on_activate made
        self._subscriptions_made: list[Any] = []
        self._publishers_made: list[LifecyclePublisher] = []
        self._last_stamp: dict[str, int] = {}
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)  # runs under simulated time too
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.profile("diagnostics"))
        self.create_timer(self.parameters["diagnostics_period"], self._publish_diagnostics, clock=self._steady)
        self._autostart_timer = None
        if self.parameters["autostart"]:
            self._autostart_timer = self.create_timer(0.0, self._autostart, clock=self._steady)

    # To be implemented by subclasses. configure and activate may raise any of `expected_problems`.

    def configure(self) -> None:
        """Read parameters, load models, make publishers."""

    def activate(self) -> None:
        """Make subscriptions, timers and the worker."""

    def deactivate(self) -> None:
        """Stop what :meth:`activate` started. Subscriptions, timers and the worker are stopped by the base class."""

    def cleanup(self) -> None:
        """Release what :meth:`configure` loaded."""

    def extra_diagnostics(self) -> dict[str, str]:
        """More key-value pairs for /diagnostics."""
        return {}

    def input_failure(self) -> str:
        """Why no input arrives, for /diagnostics (ERROR); empty if it does."""
        return ""

    def input_problem(self) -> str:
        """What is wrong with the input although it arrives, for /diagnostics (WARN); empty if nothing is."""
        return ""

    # For subclasses.

    @property
    def now_ns(self) -> int:
        """ROS time, ns."""
        return self.get_clock().now().nanoseconds

    @property
    def state_label(self) -> str:
        """``unconfigured``, ``inactive``, ``active`` or ``finalized``."""
        return state_label(self)

    def publish_to(self, message_type: type, topic: str, use: str) -> LifecyclePublisher:
        """A publisher that exists until cleanup and publishes only while the node is active."""
        publisher = self.create_lifecycle_publisher(
            message_type, topic, qos.profile(use), qos_overriding_options=qos.overrides()
        )
        self._publishers_made.append(publisher)
        return publisher

    def subscribe_to(self, message_type: type, topic: str, callback: Callable[[Any], None], use: str) -> Any:
        """A subscription that exists until deactivate; a message that raises ConversionError is rejected."""

        def guarded(message: Any) -> None:
            try:
                callback(message)
            except ConversionError as error:
                self.reject(str(error))

        subscription = self.create_subscription(
            message_type, topic, guarded, qos.profile(use), qos_overriding_options=qos.overrides()
        )
        self._subscriptions_made.append(subscription)
        return subscription

    def unsubscribe(self, subscription: Any) -> None:
        """Destroy a subscription of :meth:`subscribe_to` before the node is deactivated."""
        if subscription in self._subscriptions_made:
            self._subscriptions_made.remove(subscription)
            self.destroy_subscription(subscription)

    def every(self, period: float, callback: Callable[[], object], steady: bool = False) -> None:
        """A timer that runs until deactivate, on the ROS clock or on a steady one that simulated time does not stop."""
        timer = self.create_timer(period, callback, clock=self._steady if steady else None)
        self._active_entities.append(lambda: self.destroy_timer(timer))

    def process(self, callback: Callable[[Any], None], depth: int = 1) -> Worker[Any]:
        """A worker thread that runs until deactivate; see :class:`Worker`."""
        self._worker = Worker(callback, depth, self.meter.drop, self._on_worker_error)
        return self._worker

    def run_in_background(self, job: Callable[[], None]) -> None:
        """Run something once in its own thread, because processing can start before it is done."""
        threading.Thread(target=job, name="background", daemon=True).start()

    def reject(self, problem: str, kind: str | None = None) -> None:
        """Count an input that cannot be used, and report it once per burst."""
        self.meter.reject()
        self.reporter.report(problem, kind)

    def check_stamp(self, stamp_ns: int, stream: str) -> str:
        """Compare a stamp with the previous one: ``"new"``, ``"old"`` (drop the input) or ``"jump"`` (start over).

        The last two are counted and reported here.
        """
        last = self._last_stamp.get(stream)
        if last is not None and stamp_ns <= last:
            if last - stamp_ns < JUMP_BACK:
                self.reject(f"{stream}: stamp is not newer than the previous one; dropped", f"{stream} order")
                return "old"
            self.reject(f"{stream}: stamps jumped back by {(last - stamp_ns) / SECOND:.3f} s; starting over", stream)
            self._last_stamp[stream] = stamp_ns
            return "jump"
        self._last_stamp[stream] = stamp_ns
        return "new"

    def end_process(self, exit_code: int) -> None:
        """Make :func:`run` end the process with this exit code; callable from any thread."""
        self.exit_code = exit_code
        end_ros(self.context)

    # Transitions.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load models and make publishers; on FAILURE the reason is reported."""
        return self._attempt("configure", self._configure, lambda: super(PerceptionNode, self).on_configure(state))

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start processing."""
        self.meter.restart()
        self._last_stamp.clear()
        super().on_activate(state)  # publishers first: input may arrive while subscriptions are being made
        return self._attempt("activate", self.activate, self._record_start)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop processing: afterwards no callback runs and the worker thread has ended."""
        self._stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free models, publishers and memory."""
        self._free()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free, from any state."""
        self._stop()
        self._free()
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After an unexpected exception: stop, free, and become unconfigured."""
        self._stop()
        self._free()
        return TransitionCallbackReturn.SUCCESS

    def destroy_node(self) -> None:
        """Stop the worker before the handles it uses are destroyed."""
        self._stop()
        super().destroy_node()

    def _configure(self) -> None:
        """Configure, unless emotions may not be inferred in this place."""
        check_deployment(self.parameters["deployment_context"], self.parameters["deployment_reason"])
        path = self.parameters["audit_log"]
        self.audit = AuditLog(Path(path).expanduser() if path else None, self.get_logger().warning)
        self.configure()

    def _record_start(self) -> TransitionCallbackReturn:
        place = (self.parameters["deployment_context"], self.parameters["deployment_reason"])
        prior = str(self.get_parameter("emotion_prior").value) if self.has_parameter("emotion_prior") else ""
        self.audit.started(self.get_fully_qualified_name(), __version__, self.model_name, prior, *place)
        self._audited = True
        return TransitionCallbackReturn.SUCCESS

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
                raise  # the process is shutting down
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
        if self._audited:
            self._audited = False
            self.audit.stopped(self.get_fully_qualified_name())
        self.deactivate()
        while self._subscriptions_made:
            self.destroy_subscription(self._subscriptions_made.pop())
        while self._active_entities:
            self._active_entities.pop()()
        if self._worker is not None and not self._worker.stop():
            self.get_logger().warning("the worker did not finish its current item within 2 s")
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

    def _autostart(self) -> None:
        if self._autostart_timer is not None:
            self._autostart_timer.cancel()
        if self.state_label != "unconfigured":  # a manager was faster
            return
        try:
            if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
                self.trigger_activate()
        except RCLError:
            if self.context.ok():
                raise
            # Otherwise the process is shutting down while models are still loading.

    def _on_worker_error(self, error: Exception) -> None:
        if not self.context.ok():
            return  # the process is shutting down and the publishers are gone
        if isinstance(error, ConversionError):
            self.reject(str(error))
        else:
            self.reject(f"unexpected {type(error).__name__} in the worker: {error}", type(error).__name__)

    def _publish_diagnostics(self) -> None:
        state = self.state_label
        level, message = diagnostics.OK, state
        if self.problem:
            level, message = diagnostics.ERROR, self.problem
        elif state == "active" and self.input_failure():
            level, message = diagnostics.ERROR, self.input_failure()
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
    """Limit every library to one thread: the nodes share few cores, and small networks gain nothing from more."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(1)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def _end_anyway(nodes: Sequence[PerceptionNode]) -> None:
    """End the process even while it is loading models, which no signal interrupts."""
    while rclpy.ok():
        time.sleep(0.1)
    time.sleep(GRACE)
    os._exit(_exit_code(nodes))


def _exit_code(nodes: Sequence[PerceptionNode]) -> int:
    return next((node.exit_code for node in nodes if node.exit_code), 0)


def _spin(node: PerceptionNode) -> None:
    executor = NodeExecutor()
    executor.add_node(node)
    try:
        executor.spin()
    finally:
        executor.remove_node(node)


def _spin_in_thread(node: PerceptionNode) -> None:
    """Spin one of several nodes in its own thread; an unexpected exception ends the process, as with a single node."""
    try:
        _spin(node)
    except ExternalShutdownException:
        pass
    except Exception:
        if rclpy.ok():
            traceback.print_exc()
            node.end_process(EXIT_BROKEN)


def end_ros(context: Context | None = None) -> None:
    """Shut ROS down unless that has happened; callable from any thread."""
    with contextlib.suppress(RCLError):  # a signal may be faster than rclpy's check
        rclpy.try_shutdown(context=context)


def run(node_class: Callable[[], PerceptionNode], args: list[str] | None = None) -> int:
    """The ``main`` of a node: spin until SIGINT, SIGTERM or :meth:`PerceptionNode.end_process`, then exit."""
    return run_together([node_class], args)


def run_together(makers: Sequence[Callable[[], PerceptionNode]], args: list[str] | None = None) -> int:
    """Run nodes in one process, each with its own executor in its own thread, until a signal or ``end_process``.

    Args:
        makers: each returns a new node.
        args: command-line arguments of the process; None: ``sys.argv``.
    """
    one_thread_each()
    private = make_new_files_private()
    tidy_shared_memory()
    try:
        rclpy.init(args=args)
    except RCLError as error:
        print(f"bad argument: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_BAD_ARGUMENT
    nodes: list[PerceptionNode] = []
    threading.Thread(target=_end_anyway, args=(nodes,), daemon=True).start()
    threads: list[threading.Thread] = []
    try:
        for make in makers:
            nodes.append(make())
        if not private:
            nodes[0].get_logger().warning("other local users can read the shared memory of Fast DDS on this system")
        threads = [threading.Thread(target=_spin_in_thread, args=(node,), daemon=True) for node in nodes[1:]]
        for thread in threads:
            thread.start()
        _spin(nodes[0])
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except (InvalidParameterValueException, InvalidParameterTypeException) as error:
        print(f"bad parameter: {error}", file=sys.stderr)
        return EXIT_BAD_ARGUMENT
    except Exception:
        if rclpy.ok():
            raise
        # Otherwise a signal shut ROS down while a node was being made, or in a callback that could not publish.
    finally:
        end_ros()
        for thread in threads:
            thread.join(1.0)  # a node must outlive its executor
        for node in nodes:
            node.destroy_node()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(_exit_code(nodes))  # tearing down interpreter and models takes a second, and nothing is left to save
