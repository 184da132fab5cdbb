"""The section `admin_contact`: whom to turn to, shown at /.well-known/matrix/support."""

from typing import Literal, Self

from pydantic import Field, model_validator

from homeserver_config.values import Section


class Contact(Section):
    """One person or address to turn to."""

    role: Literal["m.role.admin", "m.role.security", "m.role.dpo", "m.role.moderator"] = Field(
        default="m.role.admin", description="What the contact is for."
    )
    matrix_id: str | None = Field(default=None, description="A user id.")
    email_address: str | None = Field(default=None, description="An e-mail address.")

    @model_validator(mode="after")
    def _can_be_reached(self) -> Self:
        if self.matrix_id is None and self.email_address is None:
            raise ValueError("needs matrix_id or email_address")
        return self


class AdminContactSettings(Section):
    """Whom to turn to, shown at /.well-known/matrix/support."""

    contacts: list[Contact] = Field(default=[], description="A list of {role, matrix_id, email_address}.")
    support_page: str | None = Field(default=None, description="The address of a web page with help.")
