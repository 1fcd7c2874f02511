"""``emotion-mcp``: let a language model ask the running graph about people, over the Model Context Protocol."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from emotion_perception import __version__

EXIT_BAD_ARGUMENT = 2
MAX_BODY = 64 * 1024  # bytes of a request
EPILOG = """examples:
  emotion-mcp                                              stdio: started by the language model's own client
  emotion-mcp --http --token-file ~/.config/emotion_mcp    http://127.0.0.1:8765/mcp, with a bearer token
  emotion-mcp --namespace robot1

Start the graph first: ros2 launch emotion_perception robot.launch.py interaction:=true (docs/language_models.md)."""


def build_parser() -> argparse.ArgumentParser:
    """The arguments of ``emotion-mcp``."""
    parser = argparse.ArgumentParser(
        "emotion-mcp", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--namespace", default="", help="namespace of the graph [none]")
    parser.add_argument("--http", action="store_true", help="serve HTTP instead of stdio; needs a token")
    parser.add_argument(
        "--address",
        default="127.0.0.1",
        help="address to listen on with --http [127.0.0.1]; any other can be reached from other machines, unencrypted",
    )
    parser.add_argument("--port", type=int, default=8765, help="port with --http [8765]; 0: any free port")
    parser.add_argument(
        "--token-file", default="", help="text file (mode 0600) with the secret that clients must send with --http; "
        "without it, the environment variable EMOTION_MCP_TOKEN",
    )  # fmt: skip
    parser.add_argument("--audit-log", type=Path, help="file of the audit log, as the parameter audit_log of the nodes")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Console script ``emotion-mcp``; returns the exit code."""
    args = build_parser().parse_args(argv)
    try:
        import mcp  # noqa: F401
    except ImportError:
        print("emotion-mcp: the package mcp is not installed: pip install mcp", file=sys.stderr)
        return EXIT_BAD_ARGUMENT
    from emotion_perception.language.access import make_gate

    try:
        gate = make_gate(args.address, args.token_file) if args.http else None
    except ValueError as error:
        print(f"emotion-mcp: {error}", file=sys.stderr)
        return EXIT_BAD_ARGUMENT
    from emotion_perception.bringup.language_bridge import LanguageBridge
    from emotion_perception.language.server import make_server

    bridge = LanguageBridge(args.namespace)
    try:
        server = make_server(bridge, __version__)
        if gate is None:
            asyncio.run(server.run_stdio_async())
            return 0
        return asyncio.run(_serve_http(server, gate, args.port, args.audit_log))
    except KeyboardInterrupt:
        return 0
    finally:
        bridge.close()


async def _serve_http(server: Any, gate: Any, port: int, audit_log: Path | None) -> int:
    import uvicorn
    from mcp.server.transport_security import TransportSecuritySettings

    from emotion_perception.compliance.audit import AuditLog
    from emotion_perception.dashboard.token_limit import TokenLimiter
    from emotion_perception.language.access import TokenGuard

    def warn(text: str) -> None:
        print(f"emotion-mcp: {text}", file=sys.stderr)

    app = server.streamable_http_app(
        json_response=True,
        stateless_http=True,
        max_request_body_size=MAX_BODY,
        # Hosts and origins are checked by the guard.
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        host=gate.address,
    )
    audit = AuditLog(audit_log.expanduser() if audit_log else None, warn)
    guard = TokenGuard(app, gate, TokenLimiter(warn), partial(audit.access_granted, "mcp"))
    config = uvicorn.Config(
        guard,
        host=gate.address,
        port=port,
        log_level="error",
        access_log=False,
        limit_concurrency=100,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=1,
        server_header=False,
        ws="none",
    )
    # uvicorn stops on this signal and then raises it again, which would kill the process before it leaves the graph.
    signal.signal(signal.SIGTERM, lambda *_: None)
    http = uvicorn.Server(config)
    serving = asyncio.create_task(http.serve())
    while not http.started and not serving.done():
        await asyncio.sleep(0.05)
    if http.started:
        host = f"[{gate.address}]" if ":" in gate.address else gate.address
        warn(f"serving http://{host}:{http.servers[0].sockets[0].getsockname()[1]}/mcp")
    try:
        await serving
    except SystemExit:  # uvicorn's way to say that it cannot listen; it has printed the reason
        return EXIT_BAD_ARGUMENT
    return 0


if __name__ == "__main__":
    sys.exit(main())
