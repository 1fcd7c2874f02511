"""Address of the page and access to it; reads the token and the TLS certificate."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from emotion_perception.dashboard.learning_job import LearningJob
from emotion_perception.dashboard.security import TOKEN_VARIABLE, Gate, check_listening, read_token
from emotion_perception.dashboard.sources import Places
from emotion_perception.dashboard.store import Store
from emotion_perception.dashboard.uploads import UploadAnalyzer
from emotion_perception.dashboard.video import VideoFeed
from emotion_perception.feedback.corrections import Corrections
from emotion_perception.feedback.pictures import Pictures
from emotion_perception.interaction.conversation_store import ConversationStore
from emotion_perception.interaction.storage_choice import ChoiceFile, StorageChoice
from emotion_perception.interaction.store_records import Deletion


@dataclass(frozen=True)
class ServerConfig:
    """Address, access and limits of the web server.

    The token is the first of: ``token_file``, ``token``, the environment variable ``EMOTION_DASHBOARD_TOKEN``.
    After construction ``token`` holds the one in use.

    Raises:
        ValueError: the address needs a token, the token is weak, or a file of token or certificate cannot be used.
    """

    address: str = "127.0.0.1"
    port: int = 8080  # 0: any free port
    token: str = field(default="", repr=False)
    token_file: str = ""  # text file that only its owner can read
    allowed_hosts: str = ""  # comma-separated host names
    trusted_proxies: str = ""  # comma-separated addresses of proxies whose X-Forwarded-For is believed
    tls_certificate: str = ""  # PEM file; empty: plain HTTP
    tls_key: str = ""  # PEM file; empty: the key is in tls_certificate
    max_upload_mb: float = 50.0  # MB (10^6 bytes)

    def __post_init__(self) -> None:
        if self.token_file and self.token:
            raise ValueError("token and token_file are both set; keep token_file, as parameters can be read by others")
        token = read_token(Path(self.token_file).expanduser()) if self.token_file else self.token
        object.__setattr__(self, "token", token or os.environ.get(TOKEN_VARIABLE, ""))
        check_listening(self.address, self.token)

    @property
    def gate(self) -> Gate:
        """Access control for requests."""
        return Gate(self.address, self.token, _split(self.allowed_hosts), _split(self.trusted_proxies))

    def tls_context(self) -> ssl.SSLContext | None:
        """TLS 1.2 or newer with the configured certificate; None without one.

        Raises:
            ValueError: certificate and key cannot be read or do not belong together.
        """
        if not self.tls_certificate:
            if self.tls_key:
                raise ValueError("tls_key is set without tls_certificate")
            return None
        certificate = Path(self.tls_certificate).expanduser()
        key = Path(self.tls_key).expanduser() if self.tls_key else None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            # Without a password function OpenSSL would ask for one on the terminal.
            context.load_cert_chain(certificate, key, password=lambda: "")
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            files = f"{certificate} and {key}" if key else str(certificate)
            raise ValueError(f"tls_certificate, tls_key: cannot use {files}: {error}") from None
        return context


@dataclass
class Parts:
    """Components that the server uses. If one is None, the page shows that the function is disabled."""

    store: Store
    video: VideoFeed | None = None  # live frames
    archive: ConversationStore | None = None  # stored conversations
    corrections: Corrections | None = None  # feedback on estimates
    analyzer: UploadAnalyzer | None = None  # analysis of visitors' files
    start_conversation: Callable[[str], str] | None = None  # takes a name; returns the reason of a failure, or ""
    stop_conversation: Callable[[], str] | None = None  # returns the reason of a failure, or ""
    access_granted: Callable[[str], object] = lambda client: None  # takes the address of a client that has the token
    pictures: Pictures | None = None  # face images for reports; without consent no report contains any
    learning: LearningJob | None = None  # training from accepted corrections
    deletion_done: Callable[[Deletion], object] = lambda deletion: None  # takes the proof of each deletion
    choice: ChoiceFile | None = None  # what the page's user lets the robot keep; None: parameters decide
    choose_storage: Callable[[StorageChoice], object] | None = None  # puts a choice into effect
    places: Places | None = None  # this robot beside others


def _split(names: str) -> tuple[str, ...]:
    return tuple(name.strip().lower() for name in names.split(",") if name.strip())
