"""The section `server`: who this server is, and where it keeps its files.
The name is part of every user id and cannot be changed later.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field

from homeserver_config.values import BaseUrl, ByteSize, Duration, Section, ServerName


class ServerSettings(Section):
    """Who this server is, and where it keeps its files."""

    server_name: ServerName = Field(
        default="localhost",
        description="The name in user ids (@alice:example.org). It is part of every id and can never be changed.",
    )
    public_baseurl: BaseUrl | None = Field(
        default=None,
        description="Where clients reach this server, e.g. https://matrix.example.org. "
        "Without it: https:// and the server name.",
    )
    data_directory: Path = Field(
        default=Path("data"), description="The folder for the SQLite database, the media and the signing key."
    )
    signing_key_path: Path | None = Field(
        default=None,
        description="The file with the server's signing key; created on the first start. "
        "Without it: signing.key in the data directory.",
    )
    asgi: Literal["hypercorn", "uvicorn"] = Field(
        default="hypercorn",
        description="The ASGI server: hypercorn speaks HTTP/1.1 and HTTP/2; uvicorn (an extra to install) is faster.",
    )
    max_body_size: ByteSize = Field(
        default=ByteSize.parse("1M"), description="The largest request body accepted, media uploads aside."
    )
    shutdown_grace: Duration = Field(
        default=Duration.parse("10s"),
        description="How long requests under way may take to finish when the server stops.",
    )
