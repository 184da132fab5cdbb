"""A YAML text with the line of every key: plain values for the models, line numbers for the mistakes.
Composed nodes are enough for both; no round-trip library is needed.
"""

from dataclasses import dataclass
from typing import Any

import yaml

KeyPath = tuple[str | int, ...]
_Loader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake: `homeserver.yaml:12: database.pool_size: must be greater than 0`. Line 0 means no line."""

    file: str
    line: int
    key: str
    sentence: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(part for part in (place, self.key, self.sentence) if part)


def key_text(path: KeyPath) -> str:
    """`("listeners", 0, "port")` as `listeners[0].port`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


class YamlDocument:
    """The values of one YAML text; `mistakes` holds what is wrong with the text itself."""

    def __init__(self, text: str, file_name: str) -> None:
        self.file_name = file_name
        self.mistakes: list[Mistake] = []
        self.value: Any = None
        self._lines: dict[KeyPath, int] = {}
        try:
            self._loader = _Loader(text)
            node = self._loader.get_single_node()
            if node is not None:
                self.value = self._convert(node, (), ())
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 0
            self.mistakes.append(Mistake(file_name, line, "", f"is not YAML: {error.problem}"))
            self.value = None
        except yaml.YAMLError as error:
            self.mistakes.append(Mistake(file_name, 0, "", f"is not YAML: {error}"))

    def mistake(self, path: KeyPath, sentence: str) -> Mistake:
        """A mistake at a key path, on the line of the nearest key that is written down."""
        place = path
        while place and place not in self._lines:
            place = place[:-1]
        return Mistake(self.file_name, self._lines.get(place, 0), key_text(path), sentence)

    def _convert(self, node: yaml.Node, path: KeyPath, above: tuple[yaml.Node, ...]) -> Any:
        if node in above:
            self.mistakes.append(self.mistake(path, "refers to itself"))
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, (*above, node))
        if isinstance(node, yaml.SequenceNode):
            return [self._item(item, (*path, index), (*above, node)) for index, item in enumerate(node.value)]
        return self._loader.construct_object(node)

    def _item(self, node: yaml.Node, path: KeyPath, above: tuple[yaml.Node, ...]) -> Any:
        self._lines[path] = node.start_mark.line + 1
        return self._convert(node, path, above)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath, above: tuple[yaml.Node, ...]) -> dict[str, Any]:
        written = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        self._loader.flatten_mapping(node)
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                line = key_node.start_mark.line + 1
                self.mistakes.append(Mistake(self.file_name, line, key_text(path), "has a key that is not a text"))
                continue
            key: str = key_node.value
            place = (*path, key)
            if key in values and written.count(key) > 1:
                line = key_node.start_mark.line + 1
                self.mistakes.append(Mistake(self.file_name, line, key_text(place), "is written twice"))
            self._lines[place] = key_node.start_mark.line + 1
            values[key] = self._convert(value_node, place, above)
        return values
