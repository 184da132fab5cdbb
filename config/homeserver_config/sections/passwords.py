"""The section `passwords`: what a password must be, and how much it costs to check one.
The argon2id defaults follow the second recommendation of RFC 9106.
"""

from pydantic import Field

from homeserver_config.values import ByteSize, Secret, Section


class PasswordSettings(Section):
    """What a password must be, and what checking one costs (argon2id)."""

    minimum_length: int = Field(default=8, ge=1, le=512, description="The shortest password accepted, in characters.")
    require_digit: bool = Field(default=False, description="Whether a password needs a digit.")
    require_symbol: bool = Field(
        default=False, description="Whether a password needs a character that is no letter or digit."
    )
    require_lowercase: bool = Field(default=False, description="Whether a password needs a lower-case letter.")
    require_uppercase: bool = Field(default=False, description="Whether a password needs an upper-case letter.")
    pepper: Secret | None = Field(
        default=None, description="A secret mixed into every hash. Changing it makes all passwords useless."
    )
    argon2_memory: ByteSize = Field(default=ByteSize.parse("64M"), ge=8 * 1024, description="Memory for one hash.")
    argon2_iterations: int = Field(default=3, ge=1, le=100, description="Passes over the memory.")
    argon2_parallelism: int = Field(default=1, ge=1, le=64, description="Lanes of one hash.")
    concurrent_hashes: int = Field(default=2, ge=1, le=64, description="How many hashes are computed side by side.")
