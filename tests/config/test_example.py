"""The generated example and manual: in step with the models, complete, and the example is valid."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from homeserver_config import Settings, read_settings
from homeserver_config.example import generated_files, render_example
from homeserver_config.sections import __path__ as sections_path

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", sorted(generated_files()))
def test_generated_files_are_in_step(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == generated_files()[name], "run: python3 tasks.py generate"


def test_the_example_as_it_is_means_the_defaults() -> None:
    assert read_settings(render_example()) == Settings()


def test_the_example_with_every_key_taken_in_means_the_defaults_too() -> None:
    text = render_example().split("\n#plugins:")[0]
    text = re.sub(r"(?m)^( *)#((?:  +(?:- )?)?\w+:)", r"\1\2", text)
    assert text.count("\n") > 200
    assert read_settings(text) == Settings()


def models() -> list[type[BaseModel]]:
    found: list[type[BaseModel]] = []
    waiting: list[object] = [Settings]
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind not in found:
            found.append(kind)
            waiting.extend(field.annotation for field in kind.model_fields.values())
        waiting.extend(getattr(kind, "__args__", ()))
    return found


def test_every_key_and_section_says_what_it_is_for() -> None:
    assert len(models()) > len(list(Path(next(iter(sections_path))).glob("*.py"))) - 2
    for model in models():
        assert model.__doc__, model
        assert model.model_config.get("frozen"), model
        assert model.model_config.get("extra") == "forbid", model
        for name, field in model.model_fields.items():
            if model is not Settings:
                assert field.description, f"{model.__name__}.{name}"
                assert field.description.endswith("."), f"{model.__name__}.{name}"
                assert "|" not in field.description, "a bar would end the table's cell"
